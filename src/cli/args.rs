//! The command line: options with their help, each value checked by itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, CommandFactory, Parser};

use super::config_file::When;
use super::manual::Shell;
use super::values::{
    AUTO_BACKEND, backend_names, parse_condition, parse_count, parse_duration, parse_files,
    parse_host_name, parse_id, parse_interval, parse_listen, parse_max_flows,
    parse_scrape_interval, parse_size, parse_top_n,
};
use crate::filter::Expr;
use crate::text::units::Units;
use crate::view::{CalendarPeriod, Column, Group, Preset, SortKey};

const ABOUT: &str = "A top for network flows, byte-exact, with the process of each flow.";
const EXAMPLES: &str = "\
Examples:
  sudo flowtop                     who uses this machine's network right now
  sudo flowtop -n 20 -x            the 20 largest flows each way, with host names
  sudo flowtop tcp and port 443    only these flows; the manual page explains filters
  sudo flowtop 'not process ssh and rate > 1MB'
  sudo flowtop -g process          the processes that move most
  sudo flowtop -c 5 | less         five intervals as plain text
  sudo flowtop --json -n 0 -i 10   every flow, every 10 s, one JSON object a line
  sudo flowtop run -- apt-get update   one command and its descendants (flowtop run --help)
  sudo flowtop --listen 9435 -q    serve metrics for Prometheus and print nothing
  sudo flowtop --record day.jsonl.zst   record, for flowtop --replay day.jsonl.zst

Bytes are what programs read from and wrote to their sockets: payload, not packets.
Rates divide by the measured length of the interval.

Exit codes: 0 done (also after Ctrl-C or a closed pipe), 1 a failure while running,
2 a wrong command line or configuration file, 3 the condition of --exit-when came true,
or recordings that were compared differ, 4 flowtop run --allow found something unexpected.";

/// Examples below the options of the short help.
const SHORT_EXAMPLES: &str = "\
Examples:
  sudo flowtop                     who uses this machine's network right now
  sudo flowtop -g process -x       by process, with host names
  sudo flowtop tcp and port 443    only these flows

--help lists all options, --man prints the manual page with the filter language.";

/// Arguments in the short help, each with one line of at most 80 columns.
const COMMON: [(&str, &str); 18] = [
    (
        "filter",
        "Count only matching flows, as in tcp and port 443",
    ),
    ("pids", "Count only these processes"),
    ("top_n", "Show the N largest rows each way, 0 for all"),
    (
        "group",
        "Group by program, process, user, container, port, ...",
    ),
    ("host_name", "Show host and service names"),
    ("sort", "Sort the live table, as in total or process"),
    ("units", "Units: bytes, bytes-iec, bits or bits-iec"),
    ("interval", "Length of an interval, as in 500ms or 2s"),
    ("count", "Stop after N intervals"),
    ("batch", "Print plain text instead of the live table"),
    ("json", "Print JSON Lines"),
    ("csv", "Print comma-separated values"),
    ("record", "Record every flow in a file"),
    ("replay", "Show recordings instead of this machine"),
    ("listen", "Serve metrics for Prometheus, as at 9435"),
    ("doctor", "Check whether flowtop works on this machine"),
    ("short_help", "Print the common options"),
    ("help", "Print all options"),
];

/// The arguments as typed, each checked by itself.
#[derive(Debug, Parser)]
#[command(
    name = "flowtop",
    version,
    about = "A top for network flows: who uses this machine's network right now, byte-exact, with the \
             process of each flow.",
    after_help = EXAMPLES,
    disable_help_flag = true,
    disable_version_flag = true
)]
pub(super) struct Args {
    /// Count only flows that match, as in tcp and port 443 and not process ssh; words as in
    /// pcap-filter. Quote characters that are special to the shell
    #[arg(value_name = "FILTER")]
    pub(super) filter: Vec<String>,

    /// Count only these processes. Repeat or separate with commas, at most 64
    #[arg(
        short = 'p',
        long = "pid",
        value_name = "PID",
        help_heading = "Selection",
        value_delimiter = ',',
        allow_negative_numbers = true,
        value_parser = parse_id
    )]
    pub(super) pids: Vec<u32>,

    /// Count only these threads (with --pid: these processes or these threads). Repeat or separate
    /// with commas, at most 64
    #[arg(
        short = 't',
        long = "tid",
        value_name = "TID",
        help_heading = "Selection",
        value_delimiter = ',',
        allow_negative_numbers = true,
        value_parser = parse_id
    )]
    pub(super) tids: Vec<u32>,

    /// Show the N largest rows each way, 0 for all [default: as many as fit in the live table, else
    /// 10]
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        help_heading = "Display",
        allow_negative_numbers = true,
        value_parser = parse_top_n
    )]
    pub(super) top_n: Option<usize>,

    /// Sum flows by flow, program, process, thread, user, container, pod, namespace, compose, job,
    /// unit, remote, net/24 (or net/24,64 for IPv4 and IPv6), port, class, zone or host, in every
    /// output
    #[arg(
        short = 'g',
        long,
        value_name = "BY",
        help_heading = "Display",
        value_parser = str::parse::<Group>
    )]
    pub(super) group: Option<Group>,

    /// Own zones of peers, a network a line: name, network and price per GB, as in internet
    /// 0.0.0.0/0 0.09; # begins a comment. In a replay they replace the recorded zones
    #[arg(long, value_name = "FILE", help_heading = "Display")]
    pub(super) zones: Option<PathBuf>,

    /// View of the live table: overview (flows in and out), programs, peers, tcp or containers;
    /// keys 1 to 5
    #[arg(
        long,
        value_name = "VIEW",
        help_heading = "Display",
        value_parser = str::parse::<Preset>
    )]
    pub(super) view: Option<Preset>,

    /// Show host and service names once they are known; flowtop never waits for one
    #[arg(short = 'x', long = "host-name", help_heading = "Display")]
    pub(super) host_name: bool,

    /// Sort rows by a column, as in total or process; the live table has more, as 60s. :asc or
    /// :desc sets the order
    #[arg(
        long,
        value_name = "COLUMN",
        help_heading = "Display",
        value_parser = str::parse::<SortKey>
    )]
    pub(super) sort: Option<SortKey>,

    /// Columns of the live table, separated by commas; --print-config lists them
    #[arg(
        long,
        value_name = "COLUMNS",
        help_heading = "Display",
        value_delimiter = ',',
        value_parser = str::parse::<Column>
    )]
    pub(super) columns: Option<Vec<Column>>,

    /// Units for people: bytes, bytes-iec, bits or bits-iec; JSON and CSV always have bytes
    #[arg(
        long,
        value_name = "UNITS",
        help_heading = "Display",
        value_parser = str::parse::<Units>
    )]
    pub(super) units: Option<Units>,

    /// Add user, container, round-trip time and retransmitted segments to plain text [default: if a
    /// line has 140 columns]
    #[arg(long, help_heading = "Display", conflicts_with = "json")]
    pub(super) wide: bool,

    /// Use colours: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(
        long,
        value_name = "WHEN",
        help_heading = "Display",
        value_parser = str::parse::<When>
    )]
    pub(super) color: Option<When>,

    /// Draw with ASCII only [default: if the locale is not UTF-8]
    #[arg(long, help_heading = "Display")]
    pub(super) ascii: bool,

    #[arg(
        short = 'i',
        long,
        value_name = "TIME",
        help_heading = "Interval and end",
        help = "Length of an interval in seconds, or with a unit, as in 500ms, 2s or 1m30s [default: 1; \
                in a replay: as recorded]",
        allow_negative_numbers = true,
        value_parser = parse_interval
    )]
    pub(super) interval: Option<Duration>,

    /// Stop after N intervals
    #[arg(
        short = 'c',
        long,
        value_name = "N",
        help_heading = "Interval and end",
        allow_negative_numbers = true,
        value_parser = parse_count
    )]
    pub(super) count: Option<u64>,

    /// Print one interval as text and stop, on a terminal too
    #[arg(long, help_heading = "Interval and end", conflicts_with = "count")]
    pub(super) once: bool,

    /// Stop after this long, in seconds or with a unit, as in 90s, 5m, 1h30m or 1d; the current,
    /// partial interval is still reported
    #[arg(
        long,
        value_name = "TIME",
        help_heading = "Interval and end",
        allow_negative_numbers = true,
        value_parser = parse_duration
    )]
    pub(super) duration: Option<Duration>,

    /// Exit with code 3 after the first interval whose total meets a condition on rate or bytes, as
    /// in 'rate > 1Gbps' or 'tx bytes > 1GB'
    #[arg(
        long,
        value_name = "CONDITION",
        help_heading = "Interval and end",
        value_parser = parse_condition
    )]
    pub(super) exit_when: Option<Expr>,

    /// Print plain text, the default if the output is not a terminal
    #[arg(long, help_heading = "Output", conflicts_with = "json")]
    pub(super) batch: bool,

    /// Print JSON Lines
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,

    /// Print comma-separated values with a header line, for spreadsheets
    #[arg(long, help_heading = "Output", conflicts_with_all = ["json", "batch"])]
    pub(super) csv: bool,

    /// Print nothing, not even on a terminal; use with --record, --listen, --publish or --exit-when
    #[arg(
        short = 'q',
        long,
        help_heading = "Output",
        conflicts_with_all = ["json", "csv", "batch", "replay"]
    )]
    pub(super) quiet: bool,

    /// Record every flow of every interval in a file as JSON Lines, compressed if its name ends in
    /// .zst
    #[arg(long, value_name = "FILE", help_heading = "Recording")]
    pub(super) record: Option<PathBuf>,

    /// Start a new file at this size, as in 100MB; file names get a timestamp
    #[arg(
        long,
        value_name = "SIZE",
        requires = "record",
        help_heading = "Recording",
        allow_negative_numbers = true,
        value_parser = parse_size
    )]
    pub(super) record_size: Option<u64>,

    /// Start a new file after this much time, as in 1h; file names get a timestamp
    #[arg(
        long,
        value_name = "TIME",
        requires = "record",
        help_heading = "Recording",
        allow_negative_numbers = true,
        value_parser = parse_duration
    )]
    pub(super) record_time: Option<Duration>,

    /// Keep only the N newest files of --record-size and --record-time
    #[arg(
        long,
        value_name = "N",
        requires = "record",
        help_heading = "Recording",
        allow_negative_numbers = true,
        value_parser = parse_files
    )]
    pub(super) record_files: Option<usize>,

    /// Record a ledger instead of flows: the sums of every program, user, container, unit and class
    /// of peers over each period of this length, as in 1h; flowtop usage adds it up
    #[arg(
        long,
        value_name = "TIME",
        requires = "record",
        help_heading = "Recording",
        allow_negative_numbers = true,
        value_parser = parse_duration
    )]
    pub(super) record_sums: Option<Duration>,

    /// Keep cumulative counters of every process in a file for other programs to map, of mode 0640
    /// (--man, and docs/PUBLISH.md: layout and readers)
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Recording",
        conflicts_with_all = ["replay", "diff", "usage"]
    )]
    pub(super) publish: Option<PathBuf>,

    /// Folder that the live table saves snapshots (w) and recordings (R) in. Without it, and unless
    /// root runs flowtop: ~/.local/state/flowtop/snapshots
    #[arg(long, value_name = "DIR", help_heading = "Recording")]
    pub(super) snapshot_dir: Option<PathBuf>,

    /// Show recordings, one after the other, instead of this machine; - is standard input. Put a
    /// FILTER before this option, or after --
    #[arg(
        long,
        value_name = "FILE",
        num_args = 1..,
        help_heading = "Recording",
        conflicts_with_all = ["record", "backend", "max_flows", "no_pushdown"]
    )]
    pub(super) replay: Vec<PathBuf>,

    /// Compare two recordings, or windows of time of them as in day.zst@10:00..11:00 (UTC), by -g
    /// (default: program): what is new, gone, grown or shrunk beyond the noise between intervals.
    /// flowtop diff A B is the same
    #[arg(
        long,
        value_names = ["BEFORE", "AFTER"],
        num_args = 2,
        help_heading = "Recording",
        conflicts_with_all = [
            "replay", "record", "listen", "quiet", "csv", "count", "once", "duration", "exit_when", "sort",
            "backend", "max_flows", "no_pushdown"
        ]
    )]
    pub(super) diff: Vec<String>,

    /// Add up recordings and ledgers by -g (default: program) and --by. flowtop usage FILE... is
    /// the same; put a FILTER, which needs recordings of flows, before it, or after --
    #[arg(
        long,
        value_name = "FILE",
        num_args = 1..,
        help_heading = "Recording",
        conflicts_with_all = [
            "replay", "record", "diff", "listen", "quiet", "count", "once", "duration", "exit_when", "sort",
            "backend", "max_flows", "no_pushdown", "interval"
        ]
    )]
    pub(super) usage: Vec<PathBuf>,

    /// Period of the sums of flowtop usage, in UTC: hour, day, month, year or all [default: day]
    #[arg(
        long,
        value_name = "PERIOD",
        requires = "usage",
        help_heading = "Recording"
    )]
    pub(super) by: Option<CalendarPeriod>,

    /// Serve metrics for Prometheus at 9435 (this machine only), :9435 (the network too) or
    /// [::1]:9435;
    /// -g picks what to group by (default: process name), -n how many groups
    #[allow(
        rustdoc::broken_intra_doc_links,
        reason = "help text with an address in brackets"
    )]
    #[arg(
        long,
        value_name = "ADDR",
        help_heading = "Metrics",
        conflicts_with = "replay",
        allow_negative_numbers = true,
        value_parser = parse_listen
    )]
    pub(super) listen: Option<SocketAddr>,

    /// Longest time between two scrapes of one Prometheus server, as in 15s: new series are shown
    /// as 0 for twice as long, so that every server sees their beginning [default: 1m]
    #[arg(
        long,
        value_name = "TIME",
        requires = "listen",
        help_heading = "Metrics",
        allow_negative_numbers = true,
        value_parser = parse_scrape_interval
    )]
    pub(super) scrape_interval: Option<Duration>,

    /// Further names of this machine that requests for metrics may use, as in metrics.example.org
    #[arg(
        long,
        value_name = "NAME",
        requires = "listen",
        help_heading = "Metrics",
        value_delimiter = ',',
        value_parser = parse_host_name
    )]
    pub(super) listen_host: Vec<String>,

    /// How to attach to the kernel; auto takes the best backend that works here, a named backend
    /// never falls back to another
    #[arg(
        long,
        value_name = "BACKEND",
        help_heading = "Kernel",
        default_value = AUTO_BACKEND,
        value_parser = backend_names()
    )]
    pub(super) backend: String,

    /// Flows that the kernel can hold in one interval, at most 3/4 of them of one process; the
    /// bytes of further flows are counted for their process
    #[arg(
        long,
        value_name = "N",
        help_heading = "Kernel",
        allow_negative_numbers = true,
        value_parser = parse_max_flows
    )]
    pub(super) max_flows: Option<u32>,

    /// Evaluate the whole filter in user space: the same flows, at a higher cost
    #[arg(long, help_heading = "Kernel")]
    pub(super) no_pushdown: bool,

    /// Do not read the answers of name servers that processes receive, which give flows the names
    /// that their programs resolved
    #[arg(long, help_heading = "Kernel", conflicts_with = "replay")]
    pub(super) no_dns_names: bool,

    /// Keep all privileges while running, for a debugger or to see the command lines of other users
    #[arg(long, help_heading = "Privileges")]
    pub(super) no_sandbox: bool,

    /// Read defaults from this file instead of ~/.config/flowtop/config.toml
    #[arg(long, value_name = "FILE", help_heading = "Configuration")]
    pub(super) config: Option<PathBuf>,

    /// Print a configuration file with the current settings
    #[arg(long, help_heading = "Configuration")]
    pub(super) print_config: bool,

    /// Check whether flowtop works on this machine and how to fix what does not; with --json for
    /// programs
    #[arg(long, help_heading = "Diagnosis")]
    pub(super) doctor: bool,

    /// Print which parts of the filter the kernel decides and which parts user space
    #[arg(long, help_heading = "Diagnosis")]
    pub(super) explain_filter: bool,

    /// Explain on standard error what flowtop does and why; -vv adds the messages of libbpf,
    /// thousands of lines
    #[arg(short = 'v', long, action = ArgAction::Count, help_heading = "Diagnosis")]
    pub(super) verbose: u8,

    /// Print the common options
    #[arg(short = 'h', action = ArgAction::Help, help_heading = "Help")]
    pub(super) short_help: Option<bool>,

    /// Print all options
    #[arg(long, action = ArgAction::Help, help_heading = "Help")]
    pub(super) help: Option<bool>,

    /// Print the manual page in roff, as in flowtop --man | man -l -
    #[arg(long, help_heading = "Help")]
    pub(super) man: bool,

    /// Print completions for a shell
    #[arg(long, value_enum, value_name = "SHELL", help_heading = "Help")]
    pub(super) completions: Option<Shell>,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Help")]
    pub(super) version: Option<bool>,
}

impl Args {
    /// Whether flows come from recordings, and not from this machine's kernel.
    pub(super) fn reads_recordings(&self) -> bool {
        !self.replay.is_empty() || !self.diff.is_empty() || !self.usage.is_empty()
    }

    /// Returns the command whose help has the common options only.
    pub(super) fn short_command() -> clap::Command {
        let command = Self::command().about(ABOUT).after_help(SHORT_EXAMPLES);
        command.mut_args(|arg| {
            let common = COMMON.iter().find(|(id, _)| arg.get_id() == id);
            let arg = arg.help_heading(None);
            match common {
                Some((_, help)) => arg.help(*help),
                None => arg.hide(true),
            }
        })
    }
}
