//! Turns arguments, the configuration file and the environment into one validated [`Config`]. Knows
//! nothing of the kernel or of drawing.

#[cfg(test)]
pub(super) mod tests;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, ValueEnum};

use super::config_file::{self, ConfigOrigin, Settings, When};
use super::environment::Environment;
use super::manual::{self, Shell};
use super::usage::{typed, usage_error};
use super::values::{
    parse_condition, parse_count, parse_duration, parse_files, parse_id, parse_interval,
    parse_listen, parse_max_flows, parse_size, parse_top_n,
};
use super::{filter_args, metrics_args, recording_args};
use crate::filter::Expr;
use crate::options::{BackendChoice, Config, Output};
use crate::text::sanitize::{sanitize, sanitize_lines};
use crate::text::units::Units;
use crate::view::{Column, Group, SortKey};

/// Length of an interval if nothing else is said.
const INTERVAL: Duration = Duration::from_secs(1);
/// Columns of a line from which on plain text is wide.
const WIDE: u16 = 140;

const EXAMPLES: &str = "\
Examples:
  sudo flowtop                     who is using this machine's network right now
  sudo flowtop -n 20 -x            the top 20 each way, with host names
  sudo flowtop tcp and port 443    only these; the README has the language of filters
  sudo flowtop 'not comm ssh and rate > 1MB'
  sudo flowtop -g process          the processes that move most
  sudo flowtop -c 5 | less         five intervals as plain text
  sudo flowtop --json -n 0 -i 10   every flow, every 10 s, one JSON object a line
  sudo flowtop --listen 9435 -q    metrics for Prometheus, and nothing else
  sudo flowtop --record day.jsonl.zst   keep what is shown, for flowtop --replay day.jsonl.zst

Bytes are what programs read from and wrote to their TCP and UDP sockets: payload, not packets.
Rates divide by the measured length of the interval.

Exit codes: 0 done (also when stopped by Ctrl-C or a closed pipe), 1 it could not go on,
2 the command line or the configuration file was wrong, 3 what --exit-when says came true.";

/// What can be typed, before it is checked as a whole.
#[derive(Debug, Parser)]
#[command(
    name = "flowtop",
    version,
    about = "A top for network flows: who is using this machine's network right now, byte-exact, \
             each flow with its process.",
    after_help = EXAMPLES,
    disable_help_flag = true
)]
pub(super) struct Args {
    /// Count only these flows, as in tcp and port 443 and not comm ssh; words as in pcap-filter, with
    /// local and remote for src and dst; quote what the shell would take for itself
    #[arg(value_name = "FILTER")]
    pub(super) filter: Vec<String>,

    /// Show the N largest flows each way; 0 shows all. Without it, the live table shows as many as fit,
    /// text and JSON show 10
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = parse_top_n
    )]
    pub(super) top_n: Option<usize>,

    /// Count only these processes, and what FILTER says; repeat or separate with commas, at most 64
    #[arg(
        short = 'p',
        long = "pid",
        value_name = "PID",
        value_delimiter = ',',
        allow_negative_numbers = true,
        value_parser = parse_id
    )]
    pub(super) pids: Vec<u32>,

    /// Count only these threads, or with --pid either; the same
    #[arg(
        short = 't',
        long = "tid",
        value_name = "TID",
        value_delimiter = ',',
        allow_negative_numbers = true,
        value_parser = parse_id
    )]
    pub(super) tids: Vec<u32>,

    /// Show names of hosts and services where known; never waits for one
    #[arg(short = 'x', long = "host-name")]
    pub(super) host_name: bool,

    #[arg(
        short = 'i',
        long,
        value_name = "TIME",
        help = "Length of an interval: seconds, or with a unit as in 500ms, 2s, 1m [default: 1; of a \
                replay: as recorded]",
        allow_negative_numbers = true,
        value_parser = parse_interval
    )]
    pub(super) interval: Option<Duration>,

    /// End after N intervals
    #[arg(
        short = 'c',
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = parse_count
    )]
    pub(super) count: Option<u64>,

    /// Write one interval as text and end, on a terminal too
    #[arg(long, conflicts_with = "count")]
    pub(super) once: bool,

    /// End after so long: seconds, or with a unit as in 90s, 5m, 1h, 1d; the interval under way is
    /// handed over
    #[arg(
        long,
        value_name = "TIME",
        allow_negative_numbers = true,
        value_parser = parse_duration
    )]
    pub(super) duration: Option<Duration>,

    /// End with exit code 3 after the first interval of which this is true of all that was counted
    /// together: rate or bytes, with rx or tx one way, as in 'tx rate > 1GB'
    #[arg(long, value_name = "CONDITION", value_parser = parse_condition)]
    pub(super) exit_when: Option<Expr>,

    /// Keep every flow of every interval in a file too, as JSON Lines; compressed if it ends in .zst
    #[arg(long, value_name = "FILE", help_heading = "Recordings")]
    pub(super) record: Option<PathBuf>,

    /// Begin a new file when one has this size, as in 100MB; files then have their time in their names
    #[arg(
        long,
        value_name = "SIZE",
        requires = "record",
        help_heading = "Recordings",
        allow_negative_numbers = true,
        value_parser = parse_size
    )]
    pub(super) record_size: Option<u64>,

    /// Begin a new file when one has so much time in it, as in 1h; the same
    #[arg(
        long,
        value_name = "TIME",
        requires = "record",
        help_heading = "Recordings",
        allow_negative_numbers = true,
        value_parser = parse_duration
    )]
    pub(super) record_time: Option<Duration>,

    /// Keep only the N newest of these files
    #[arg(
        long,
        value_name = "N",
        requires = "record",
        help_heading = "Recordings",
        allow_negative_numbers = true,
        value_parser = parse_files
    )]
    pub(super) record_files: Option<usize>,

    /// Show recordings instead of this machine, one after the other; - is standard input. A FILTER
    /// comes before it, or after --
    #[arg(
        long,
        value_name = "FILE",
        num_args = 1..,
        help_heading = "Recordings",
        conflicts_with_all = ["record", "backend", "max_flows", "no_pushdown"]
    )]
    pub(super) replay: Vec<PathBuf>,

    /// Serve metrics for Prometheus at this address, as in 9435 (for this machine only), :9435 (for
    /// the network too) or [::1]:9435; -g and -n say of what there are series, processes by name if
    /// nothing is said
    #[arg(
        long,
        value_name = "ADDR",
        conflicts_with = "replay",
        allow_negative_numbers = true,
        value_parser = parse_listen
    )]
    pub(super) listen: Option<SocketAddr>,

    /// How to attach to the kernel; auto takes the best that works here, a named one never falls back
    #[arg(long, value_enum, value_name = "HOW", default_value_t = BackendArg::Auto)]
    pub(super) backend: BackendArg,

    /// Flows the kernel can tell apart in one interval, at most 3/4 of them of one process; bytes of more flows are counted for their process
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = parse_max_flows
    )]
    pub(super) max_flows: Option<u32>,

    /// Write plain text, as when the output is no terminal
    #[arg(long, conflicts_with = "json")]
    pub(super) batch: bool,

    /// Write JSON Lines
    #[arg(long)]
    pub(super) json: bool,

    /// Write comma-separated values with a header line, for spreadsheets
    #[arg(long, conflicts_with_all = ["json", "batch"])]
    pub(super) csv: bool,

    /// Write nothing, on a terminal neither: only record, serve metrics or wait for what --exit-when says
    #[arg(short = 'q', long, conflicts_with_all = ["json", "csv", "batch", "replay"])]
    pub(super) quiet: bool,

    /// Sum flows by process, thread, user, container, unit, remote, net/24 (or net/24,64: IPv4, IPv6)
    /// or port, in every output
    #[arg(short = 'g', long, value_name = "BY", value_parser = str::parse::<Group>)]
    pub(super) group: Option<Group>,

    /// Order rows of the live table by a column, as in 60s, total or process; :asc or :desc turns
    /// it round
    #[arg(long, value_name = "COLUMN", value_parser = str::parse::<SortKey>)]
    pub(super) sort: Option<SortKey>,

    /// Columns of the live table, separated by commas; --print-config lists them
    #[arg(
        long,
        value_name = "COLUMNS",
        value_delimiter = ',',
        value_parser = str::parse::<Column>
    )]
    pub(super) columns: Option<Vec<Column>>,

    /// Units for people: bytes, bytes-iec, bits or bits-iec; JSON always has bytes
    #[arg(long, value_name = "UNITS", value_parser = str::parse::<Units>)]
    pub(super) units: Option<Units>,

    /// Write plain text with users, containers, round-trip times and retransmits, as where a line has
    /// 140 columns
    #[arg(long, conflicts_with = "json")]
    pub(super) wide: bool,

    /// Use colours: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(long, value_name = "WHEN", value_parser = str::parse::<When>)]
    pub(super) color: Option<When>,

    /// Draw with ASCII only, as where the locale is not one of UTF-8
    #[arg(long)]
    pub(super) ascii: bool,

    /// Read defaults from this file, not from ~/.config/flowtop/config.toml
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Print a configuration file that says what was asked for, and end
    #[arg(long)]
    pub(super) print_config: bool,

    /// Print what of the filter the kernel decides and what user space, and end
    #[arg(long)]
    pub(super) explain_filter: bool,

    /// Look whether flowtop works here, say what to do where not, and end; with --json for machines
    #[arg(long)]
    pub(super) doctor: bool,

    /// Let user space decide all of the filter: the same flows at a higher price
    #[arg(long)]
    pub(super) no_pushdown: bool,

    /// Keep all privileges while running, as to see which programs others run, or for a debugger
    #[arg(long)]
    pub(super) no_sandbox: bool,

    /// Print the manual page in roff, and end: flowtop --man | man -l -
    #[arg(long)]
    pub(super) man: bool,

    /// Print completions for a shell, and end
    #[arg(long, value_enum, value_name = "SHELL")]
    pub(super) completions: Option<Shell>,

    /// Say on standard error what is done and why
    #[arg(short = 'v', long)]
    pub(super) verbose: bool,

    /// Show this help
    #[arg(short = 'h', long, action = ArgAction::Help)]
    pub(super) help: Option<bool>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum BackendArg {
    Auto,
    Tracepoint,
    Fentry,
    Kprobe,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To run.
    Run(Box<Config>),
    /// To print this, and end.
    Print(String),
    /// To look whether that would run.
    Doctor(Box<Config>),
}

/// Turns arguments (the program's name first) into what was asked for.
///
/// # Errors
/// What clap returns for help, version and usage errors: print it and exit with its code, which is
/// 0 for the first two and 2 for an error, one in the configuration file included.
pub fn parse<I, T>(args: I, environment: &Environment) -> Result<Request, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let mut args = typed(args)?;
    if args.man {
        return Ok(Request::Print(manual::page(Args::command())));
    }
    if let Some(shell) = args.completions {
        return Ok(Request::Print(manual::completions(Args::command(), shell)));
    }
    if args.no_sandbox && environment.is_lent {
        return Err(Args::command().error(
            ErrorKind::ArgumentConflict,
            "--no-sandbox is for who has the privilege alone, and here the file lends it \
             (capabilities, or a set-user-ID bit): leave --no-sandbox out, or run flowtop as root",
        ));
    }
    // A recording has the ids that columns show.
    let pid_namespace = environment.pid_namespace.filter(|_| args.replay.is_empty());
    let plan = filter_args::plan(&mut args, pid_namespace)?;
    let (record, replay) = (
        recording_args::record(&args)?,
        recording_args::replay(&args)?,
    );
    if args.explain_filter {
        let text = filter_args::explained(&plan, pid_namespace);
        return Ok(Request::Print(sanitize_lines(&text)));
    }
    metrics_args::require_output(&args)?;
    let output = match (args.json, args.csv, args.batch || !environment.terminal) {
        _ if args.quiet => Output::Quiet,
        (true, _, _) => Output::Json,
        (_, true, _) => Output::Csv,
        // What is asked for once is to be read, and not to be gone with the screen.
        _ if args.once => Output::Text,
        (_, _, true) => Output::Text,
        (_, _, false) => Output::Table,
    };
    if !args.print_config && !args.doctor && output != Output::Table {
        only_in_the_table(&args)?;
    }
    if output == Output::Table {
        recording_args::must_be_files(replay.as_ref())?;
    }
    let settings = settings(&args, environment)?;
    if args.print_config {
        return Ok(Request::Print(settings.to_string()));
    }
    let group = match output {
        Output::Table => settings.group,
        // What others read does not hang on what someone likes to see.
        Output::Text | Output::Json | Output::Csv | Output::Quiet => args.group.unwrap_or_default(),
    };
    let listen = metrics_args::listen(&args);
    let config = Box::new(Config {
        top_n: match args.top_n {
            None => Config::default().top_n,
            Some(most) => (most > 0).then_some(most),
        },
        live_rows: args.top_n.filter(|&most| most > 0),
        by_thread: plan.needs_threads() || group == Group::Thread,
        filter: plan,
        host_names: args.host_name,
        interval: args.interval.unwrap_or(INTERVAL),
        count: args.once.then_some(1).or(args.count),
        duration: args.duration,
        exit_when: args.exit_when,
        record,
        replay,
        listen,
        backend: match args.backend {
            BackendArg::Auto => BackendChoice::Auto,
            BackendArg::Tracepoint => BackendChoice::Tracepoint,
            BackendArg::Fentry => BackendChoice::Fentry,
            BackendArg::Kprobe => BackendChoice::Kprobe,
        },
        max_flows: args.max_flows,
        output,
        sandbox: !args.no_sandbox,
        verbose: args.verbose,
        columns: settings.columns,
        units: settings.units,
        sort: settings.sort,
        group,
        wide: args.wide || environment.columns.is_some_and(|columns| columns >= WIDE),
        color: match settings.color {
            When::Auto => environment.terminal && !environment.no_color,
            When::Always => true,
            When::Never => false,
        },
        ascii: match settings.ascii {
            When::Auto => !environment.utf8,
            When::Always => true,
            When::Never => false,
        },
        palette: settings.palette,
        keys: settings.keys,
    });
    Ok(match args.doctor {
        true => Request::Doctor(config),
        false => Request::Run(config),
    })
}

/// What the file says, and over it what the arguments say.
fn settings(args: &Args, environment: &Environment) -> Result<Settings, clap::Error> {
    let asked = args.config.as_ref().map(|path| ConfigOrigin {
        path: path.clone(),
        owner: None,
        explicit: true,
    });
    let places = asked.map_or_else(|| environment.places.clone(), |place| vec![place]);
    let mut settings = config_file::read(&places).map_err(|error| {
        let text = format!("{error:#}");
        clap::Error::raw(ErrorKind::InvalidValue, format!("{}\n", sanitize(&text)))
    })?;
    if let Some(columns) = &args.columns {
        let mut unique: Vec<Column> = Vec::new();
        for &column in columns {
            if !unique.contains(&column) {
                unique.push(column);
            }
        }
        settings.columns = Some(unique);
    }
    settings.units = args.units.unwrap_or(settings.units);
    settings.sort = args.sort.unwrap_or(settings.sort);
    settings.group = args.group.unwrap_or(settings.group);
    settings.color = args.color.unwrap_or(settings.color);
    if args.ascii {
        settings.ascii = When::Always;
    }
    Ok(settings)
}

/// Text, JSON and CSV have their own order and columns: better to say so than to write something else than
/// was asked for. What the configuration file says of the table is no question here.
fn only_in_the_table(args: &Args) -> Result<(), clap::Error> {
    let asked = [
        ("--sort", args.sort.is_some()),
        ("--columns", args.columns.is_some()),
    ];
    match asked.into_iter().find(|(_, asked)| *asked) {
        None => Ok(()),
        Some((flag, _)) => Err(usage_error(
            ErrorKind::ArgumentConflict,
            format!(
                "{flag} is for the live table, and the output is text, JSON or CSV: leave {flag} \
                 out, or run flowtop on a terminal without --batch, --json and --csv"
            ),
        )),
    }
}
