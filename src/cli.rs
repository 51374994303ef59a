//! Turns arguments into one validated [`Config`]. Knows nothing of the kernel or of drawing.

use std::ffi::OsString;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, ValueEnum};

use crate::config::{BackendChoice, Config, MAX_ID, MAX_IDS, MAX_MAX_FLOWS, MIN_MAX_FLOWS, Output};
use crate::source::{MAX_INTERVAL, MIN_INTERVAL};

const EXAMPLES: &str = "\
Examples:
  sudo flowtop                     who is using this machine's network right now
  sudo flowtop -n 20 -x            the top 20 each way, with host names
  sudo flowtop -p 1234,5678        only what these two processes move
  sudo flowtop -c 5 | less         five intervals as plain text
  sudo flowtop --json -n 0 -i 10   every flow, every 10 s, one JSON object a line

Bytes are what programs read from and wrote to their TCP and UDP sockets: payload, not packets.
Rates divide by the measured length of the interval.

Exit codes: 0 done (also when stopped by Ctrl-C or a closed pipe), 1 it could not go on,
2 the command line was wrong.";

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
struct Args {
    /// Show the N largest flows each way; 0 shows all
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value = "10",
        allow_negative_numbers = true,
        value_parser = parse_top_n
    )]
    top_n: usize,

    /// Count only these processes; repeat or separate with commas, at most 64
    #[arg(
        short = 'p',
        long = "pid",
        value_name = "PID",
        value_delimiter = ',',
        allow_negative_numbers = true,
        value_parser = parse_id
    )]
    pids: Vec<u32>,

    /// Count only these threads; repeat or separate with commas, at most 64
    #[arg(
        short = 't',
        long = "tid",
        value_name = "TID",
        value_delimiter = ',',
        allow_negative_numbers = true,
        value_parser = parse_id
    )]
    tids: Vec<u32>,

    /// Show host names of the ends where DNS knows them; never waits for one
    #[arg(short = 'x', long = "host-name")]
    host_name: bool,

    /// Length of an interval: seconds, or with a unit as in 500ms, 2s, 1m
    #[arg(
        short = 'i',
        long,
        value_name = "TIME",
        default_value = "1",
        allow_negative_numbers = true,
        value_parser = parse_interval
    )]
    interval: Duration,

    /// End after N intervals
    #[arg(
        short = 'c',
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = parse_count
    )]
    count: Option<u64>,

    /// How to attach to the kernel; auto takes the best that works here, a named one never falls back
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Backend::Auto)]
    backend: Backend,

    /// Flows the kernel can tell apart in one interval; bytes of more are still counted, as untracked
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = parse_max_flows
    )]
    max_flows: Option<u32>,

    /// Write plain text, as when the output is no terminal
    #[arg(long, conflicts_with = "json")]
    batch: bool,

    /// Write JSON Lines
    #[arg(long)]
    json: bool,

    /// Say on standard error what is done and why
    #[arg(short = 'v', long)]
    verbose: bool,

    /// Show this help
    #[arg(short = 'h', long, action = ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Backend {
    Auto,
    Tracepoint,
    Fentry,
    Kprobe,
}

/// Turns arguments (the program's name first) into a configuration.
///
/// `terminal` says whether standard output is a terminal that can be drawn on: only then does the
/// live table come without being asked for.
///
/// # Errors
/// What clap returns for help, version and usage errors: print it and exit with its code, which is
/// 0 for the first two and 2 for a usage error.
pub fn parse<I, T>(args: I, terminal: bool) -> Result<Config, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let args = Args::try_parse_from(args)?;
    Ok(Config {
        top_n: (args.top_n > 0).then_some(args.top_n),
        pids: unique("--pid", args.pids)?,
        tids: unique("--tid", args.tids)?,
        host_names: args.host_name,
        interval: args.interval,
        count: args.count,
        backend: match args.backend {
            Backend::Auto => BackendChoice::Auto,
            Backend::Tracepoint => BackendChoice::Tracepoint,
            Backend::Fentry => BackendChoice::Fentry,
            Backend::Kprobe => BackendChoice::Kprobe,
        },
        max_flows: args.max_flows,
        output: match (args.json, args.batch || !terminal) {
            (true, _) => Output::Json,
            (false, true) => Output::Text,
            (false, false) => Output::Table,
        },
        verbose: args.verbose,
    })
}

/// Sorts ids and drops repeated ones, so that a list typed twice does not count against the limit.
fn unique(flag: &str, mut ids: Vec<u32>) -> Result<Vec<u32>, clap::Error> {
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > MAX_IDS {
        return Err(Args::command().error(
            ErrorKind::TooManyValues,
            format!(
                "{flag} takes at most {MAX_IDS} ids, {} were given: name fewer, or leave {flag} \
                 out and filter the output",
                ids.len()
            ),
        ));
    }
    Ok(ids)
}

fn parse_top_n(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| "give a number from 1 up, or 0 for all flows".to_owned())
}

fn parse_id(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(id) if (1..=MAX_ID).contains(&id) => Ok(id),
        _ => Err(format!("give a number from 1 to {MAX_ID}")),
    }
}

fn parse_count(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("give a number from 1 up, or leave --count out to run until stopped".to_owned()),
    }
}

fn parse_max_flows(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(flows) if (MIN_MAX_FLOWS..=MAX_MAX_FLOWS).contains(&flows) => Ok(flows),
        _ => Err(format!(
            "give a number from {MIN_MAX_FLOWS} to {MAX_MAX_FLOWS}"
        )),
    }
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(interval_help()),
    };
    // Not "inf", "nan" or "1e3": those begin with a letter or hold one, and are refused above.
    let seconds: f64 = number.parse::<f64>().map_err(|_| interval_help())? * seconds;
    match Duration::try_from_secs_f64(seconds) {
        Ok(interval) if (MIN_INTERVAL..=MAX_INTERVAL).contains(&interval) => Ok(interval),
        _ => Err(interval_help()),
    }
}

fn interval_help() -> String {
    format!(
        "give {} to {} seconds, as in 0.5, 2, 500ms or 1m",
        MIN_INTERVAL.as_secs_f64(),
        MAX_INTERVAL.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Config, String> {
        let all = std::iter::once("flowtop").chain(args.iter().copied());
        parse(all, true).map_err(|error| error.to_string())
    }

    #[test]
    fn without_arguments_a_terminal_gets_the_table_and_a_pipe_gets_text() {
        assert_eq!(
            parsed(&[]).unwrap(),
            Config {
                output: Output::Table,
                ..Config::default()
            }
        );
        assert_eq!(parse(["flowtop"], false).unwrap(), Config::default());
        assert_eq!(parsed(&["--batch"]).unwrap().output, Output::Text);
        assert_eq!(parsed(&["--json"]).unwrap().output, Output::Json);
    }

    #[test]
    fn zero_means_all_flows() {
        assert_eq!(parsed(&["-n", "0"]).unwrap().top_n, None);
        assert_eq!(parsed(&["-n3"]).unwrap().top_n, Some(3));
    }

    #[test]
    fn pids_and_tids_are_not_swapped() {
        let config = parsed(&["-p", "10", "-t", "20"]).unwrap();
        assert_eq!((config.pids, config.tids), (vec![10], vec![20]));
        let config = parsed(&["--tid", "7", "--pid", "5"]).unwrap();
        assert_eq!((config.pids, config.tids), (vec![5], vec![7]));
    }

    #[test]
    fn ids_can_be_repeated_and_separated_by_commas() {
        let config = parsed(&["-p", "3,1", "-p", "2", "-p", "1"]).unwrap();
        assert_eq!(config.pids, [1, 2, 3]);
    }

    #[test]
    fn at_most_64_ids_and_the_message_says_so() {
        let many = |n: u32| {
            (1..=n)
                .map(|id| id.to_string())
                .collect::<Vec<_>>()
                .join(",")
        };
        assert_eq!(parsed(&["-p", &many(64)]).unwrap().pids.len(), 64);
        let message = parsed(&["-t", &many(65)]).unwrap_err();
        assert!(message.contains("--tid takes at most 64 ids"), "{message}");
    }

    #[test]
    fn ids_outside_what_linux_gives_out_are_refused() {
        for bad in ["0", "-1", "4194305", "init", "", "1,,2", "4294967297"] {
            let message = parsed(&[&format!("--pid={bad}")]).unwrap_err();
            assert!(message.contains("from 1 to 4194304"), "{bad}: {message}");
        }
        assert_eq!(parsed(&["-p", "4194304"]).unwrap().pids, [4_194_304]);
    }

    #[test]
    fn intervals_take_fractions_and_units() {
        for (text, millis) in [
            ("0.01", 10),
            ("1", 1000),
            ("2.5", 2500),
            ("500ms", 500),
            ("2s", 2000),
            ("1m", 60_000),
            ("1.5min", 90_000),
            ("24h", 86_400_000),
            ("86400", 86_400_000),
        ] {
            assert_eq!(
                parsed(&["-i", text]).unwrap().interval,
                Duration::from_millis(millis),
                "{text}"
            );
        }
    }

    #[test]
    fn intervals_that_cannot_be_are_refused_with_the_range() {
        for bad in [
            "0", "0.009", "86401", "-1", "1x", "inf", "nan", "1e3", "", "s", "1 s", "25h",
        ] {
            let message = parsed(&[&format!("-i={bad}")]).unwrap_err();
            assert!(
                message.contains("give 0.01 to 86400 seconds"),
                "{bad}: {message}"
            );
        }
    }

    #[test]
    fn sizes_and_counts_have_limits() {
        assert_eq!(parsed(&["--max-flows", "16"]).unwrap().max_flows, Some(16));
        assert!(
            parsed(&["--max-flows", "15"])
                .unwrap_err()
                .contains("from 16 to 16777216")
        );
        assert!(parsed(&["--max-flows", "16777217"]).is_err());
        assert_eq!(parsed(&["-c", "1"]).unwrap().count, Some(1));
        assert!(parsed(&["-c", "0"]).unwrap_err().contains("from 1 up"));
    }

    #[test]
    fn batch_and_json_exclude_each_other() {
        let message = parsed(&["--batch", "--json"]).unwrap_err();
        assert!(message.contains("cannot be used with"), "{message}");
    }

    #[test]
    fn every_backend_has_its_name() {
        for name in ["auto", "tracepoint", "fentry", "kprobe"] {
            assert_eq!(parsed(&["--backend", name]).unwrap().backend.as_str(), name);
        }
        assert!(
            parsed(&["--backend", "xdp"])
                .unwrap_err()
                .contains("kprobe")
        );
    }

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }
}
