//! Parses `flowtop run`, and the file of its allow-list.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{ArgAction, Parser};

use super::usage::{one_line, usage_error};
use super::values::{AUTO_BACKEND, backend_names, backend_of, parse_max_flows, parse_top_n};
use super::zones_file;
use crate::filter::{self, Expr, NameTables, Term};
use crate::options::{AllowList, CaptureOptions, CommandOptions, Config, Output, SummaryForm};
use crate::text::sanitize::sanitize;

/// The first argument of `flowtop run`.
pub(super) const WORD: &str = "run";
/// Maximum size of an allow-list in bytes: a larger file is a mistake.
const MAX_ALLOW: u64 = 1 << 20;
/// Rows of each table of a summary for people.
const TOP_N: usize = 50;

const EXAMPLES: &str = "\
Examples:
  sudo flowtop run -- apt-get update
  sudo flowtop run --json -o traffic.json -- make test
  sudo flowtop run --allow expected.txt -- npm install

Every byte of the command and of all its descendants counts, from the first one on. The
command runs with the rights of whoever called flowtop, never with those of flowtop.

Exit codes: that of the command, or 128 and the number of the signal that ended it;
4 if --allow is given and anything else moved; 127 or 126 if there is no such command, or
it cannot be executed; 2 if flowtop cannot start the command, or the options are wrong.";

/// Counts what one command and its descendants move, and writes a summary when the command ends.
#[derive(Debug, Parser)]
#[command(
    name = "flowtop run",
    bin_name = "flowtop run",
    about = "Count what one command and all its descendants move, and write a summary when the command ends.",
    after_help = EXAMPLES,
    disable_version_flag = true
)]
struct RunArgs {
    /// Write the summary as one JSON object
    #[arg(long, conflicts_with = "markdown")]
    json: bool,

    /// Write the summary as Markdown tables
    #[arg(long)]
    markdown: bool,

    /// Write the summary to this file; standard error otherwise
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Expect only flows that match a line of this file, each a filter as in remote port 443; #
    /// begins a comment. Anything else is listed, and the exit code is 4
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,

    /// Show the N largest rows, 0 for all [default: 50; JSON: all]
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, value_parser = parse_top_n)]
    top_n: Option<usize>,

    /// Write the flows of each interval in which any moved bytes to standard error, while the
    /// command runs
    #[arg(long)]
    live: bool,

    /// Own zones of peers, a network a line: name, network and price per GB; # begins a comment
    #[arg(long, value_name = "FILE")]
    zones: Option<PathBuf>,

    /// Show host names by reverse DNS
    #[arg(short = 'x', long)]
    host_name: bool,

    /// How to count: auto takes the cheapest backend that is exact on this kernel
    #[arg(long, value_name = "BACKEND", default_value = AUTO_BACKEND, value_parser = backend_names())]
    backend: String,

    /// Flows that the kernel can hold in one interval
    #[arg(long, value_name = "N", value_parser = parse_max_flows)]
    max_flows: Option<u32>,

    /// Do not read the DNS answers that processes receive
    #[arg(long)]
    no_dns_names: bool,

    /// Explain on standard error what flowtop does and why
    #[arg(short, long, action = ArgAction::SetTrue)]
    verbose: bool,

    /// The command and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// Parses all arguments, of which the second is [`WORD`].
///
/// # Errors
/// Help, and usage errors, those of the allow-list included.
pub(super) fn parse(args: &[OsString]) -> Result<Box<Config>, clap::Error> {
    let typed = RunArgs::try_parse_from(args.iter().skip(1));
    let args = typed.map_err(|error| match error.use_stderr() {
        true => usage_error(error.kind(), one_line(&error)),
        false => error,
    })?;
    if args.command.is_empty() {
        return Err(usage_error(
            ErrorKind::MissingRequiredArgument,
            "run needs a command: flowtop run -- COMMAND [ARGS]",
        ));
    }
    let zones = args.zones.as_deref().map(zones_file::read).transpose();
    let zones = zones
        .map_err(|error| usage_error(ErrorKind::ValueValidation, format!("--zones {error}")))?;
    let facts = PeerFactsRead {
        zones: zones.is_some(),
        names: !args.no_dns_names,
    };
    let allow = args.allow.map(|file| read_allow(file, facts));
    let allow = allow.transpose()?;
    let form = match (args.json, args.markdown) {
        (true, _) => SummaryForm::Json,
        (_, true) => SummaryForm::Markdown,
        _ => SummaryForm::Text,
    };
    let top_n = match args.top_n {
        Some(most) => (most > 0).then_some(most),
        None => (form != SummaryForm::Json).then_some(TOP_N),
    };
    Ok(Box::new(Config {
        output: Output::Quiet,
        capture: CaptureOptions {
            backend: backend_of(&args.backend),
            dns_names: !args.no_dns_names,
            max_flows: args.max_flows,
            zones: zones.map(Arc::new),
            ..CaptureOptions::default()
        },
        command: Some(CommandOptions {
            argv: args.command,
            form,
            summary_file: args.output,
            allow,
            top_n,
            host_names: args.host_name,
            live: args.live,
        }),
        verbose: args.verbose,
        ..Config::default()
    }))
}

/// Reads an allow-list: a filter a line.
fn read_allow(file: PathBuf, facts: PeerFactsRead) -> Result<AllowList, clap::Error> {
    let shown = sanitize(&file.to_string_lossy()).into_owned();
    let refused = |message: String| usage_error(ErrorKind::ValueValidation, message);
    let text = read(&file).map_err(|error| refused(format!("--allow {shown}: {error}")))?;
    let name_tables = NameTables::system();
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let filter = line
            .split_once('#')
            .map_or(line, |(filter, _)| filter)
            .trim();
        if filter.is_empty() {
            continue;
        }
        let expr = filter::parse(filter, &name_tables).map_err(|error| error.to_string());
        let expr = expr.and_then(|expr| match why_not(&expr, facts) {
            Some(why) => Err(why.to_owned()),
            None => Ok(expr),
        });
        lines.push(
            expr.map_err(|error| refused(format!("{shown}: line {number}: {}", error.trim_end())))?,
        );
    }
    Ok(AllowList { file, lines })
}

fn read(file: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(file)?
        .take(MAX_ALLOW + 1)
        .read_to_string(&mut text)?;
    match read as u64 > MAX_ALLOW {
        true => Err(std::io::Error::other(
            "it is larger than 1 MiB: give a file of filters, one a line",
        )),
        false => Ok(text),
    }
}

/// What of peers is known beside their addresses.
#[derive(Clone, Copy)]
struct PeerFactsRead {
    zones: bool,
    names: bool,
}

/// Returns the reason for which a filter cannot be a line of an allow-list, if there is one.
fn why_not(expr: &Expr, facts: PeerFactsRead) -> Option<&'static str> {
    expr.terms().into_iter().find_map(|term| match term {
        Term::Moved(_) | Term::Compare(_) => Some(
            "rx, tx, src, dst, rate and bytes are about one interval, and an allow-list is about whole flows: use \
             local and remote",
        ),
        Term::HostNames(_) | Term::Domains(_) if !facts.names => {
            Some("host names need the answers of name servers: leave --no-dns-names out")
        }
        Term::Zone(_) if !facts.zones => Some("zone needs --zones FILE, a file of own zones"),
        Term::Tree(_) => Some("all flows are of one tree: leave tree out"),
        Term::Internal => Some(
            "internal and external take both ends of a flow, and only those of the command are counted: use loopback",
        ),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Box<Config>, String> {
        let args: Vec<OsString> = ["flowtop", "run"]
            .iter()
            .chain(args)
            .map(Into::into)
            .collect();
        parse(&args).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_after_the_command_is_its_own() {
        for args in [
            &["--json", "--", "sh", "-c", "x", "--json"][..],
            &["--json", "sh", "-c", "x", "--json"],
        ] {
            let command = parsed(args).unwrap().command.unwrap();
            assert_eq!(command.argv, ["sh", "-c", "x", "--json"]);
            assert_eq!(command.form, SummaryForm::Json);
        }
        assert!(parsed(&[]).unwrap_err().contains("run needs a command"));
        assert!(
            parsed(&["--nosuch", "--", "sh"])
                .unwrap_err()
                .contains("unknown option \"--nosuch\"")
        );
    }

    #[test]
    fn an_allow_list_names_its_wrong_line() {
        let folder = std::env::temp_dir().join(format!("flowtop-allow-{}", std::process::id()));
        let facts = PeerFactsRead {
            zones: false,
            names: false,
        };
        let list = |text: &str| {
            std::fs::write(&folder, text).unwrap();
            read_allow(folder.clone(), facts).map_err(|error| error.to_string())
        };
        let read = list("# all of it\n\nremote port 443 # TLS\nloopback\n").unwrap();
        assert_eq!(read.lines.len(), 2);
        assert_eq!(read.lines[0].to_string(), "remote port 443");
        assert!(list("# nothing\n").unwrap().lines.is_empty());
        let error = list("tcp\nport httpss\n").unwrap_err();
        assert!(
            error.contains(": line 2: ") && error.contains("httpss"),
            "{error}"
        );
        assert!(
            list("tx rate > 1MB\n")
                .unwrap_err()
                .contains("line 1: rx, tx")
        );
        assert!(list("tree 1\n").is_err());
        assert!(list("zone office\n").unwrap_err().contains("--zones"));
        for by_name in ["host api.example\n", "not domain example\n"] {
            assert!(list(by_name).unwrap_err().contains("--no-dns-names"));
        }
        std::fs::remove_file(&folder).unwrap();
        assert!(read_allow(folder, facts).is_err());
    }
}
