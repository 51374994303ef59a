//! The one validated configuration: what [`crate::cli::request`] turns arguments into. Every other
//! part of flowtop gets its part of it. Knows no arguments, no kernel and no presentation.

mod keys;
mod palette;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use self::keys::{
    Binding, COMMANDS, CTRL_C, Chapter, Command, DefaultBinding, Key, KeyCode, NoKey, effective,
};
pub use self::palette::{InvalidColor, Palette, PaletteColor};
use crate::filter::{Expr, FilterPlan};
use crate::model::peer_zone::ZoneTable;
use crate::text::units::Units;
use crate::view::{CalendarPeriod, Column, Group, Preset, SortKey};

/// Smallest accepted size of the flow map, in flows.
pub const MIN_MAX_FLOWS: u32 = 16;
/// Largest accepted size of the flow map, in flows.
pub const MAX_MAX_FLOWS: u32 = 16_777_216;

/// All options of a run, already checked. Each part of flowtop gets its part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Destination and format of the results.
    pub output: Output,
    pub capture: CaptureOptions,
    pub timing: TimingOptions,
    pub table: TableOptions,
    pub stream: StreamOptions,
    /// Record every interval in a file too.
    pub record: Option<RecordOptions>,
    /// Keep counters of processes in this file for other programs.
    pub publish: Option<PathBuf>,
    /// Folder that the live table saves snapshots and recordings in.
    pub snapshot_dir: Option<PathBuf>,
    /// The user's configuration file, if there is a path for it.
    pub config_file: Option<ConfigFile>,
    /// Show recordings instead of this machine.
    pub replay: Option<ReplayOptions>,
    /// Compare two recordings instead.
    pub diff: Option<DiffOptions>,
    /// Add up recordings and ledgers instead.
    pub usage: Option<UsageOptions>,
    /// Serve metrics over HTTP, beside the output.
    pub listen: Option<ListenOptions>,
    /// The command to run and count, instead of the machine.
    pub command: Option<CommandOptions>,
    /// Keep privileges that counting does not need.
    pub keep_privileges: bool,
    /// Explain on standard error what flowtop does and why.
    pub verbose: bool,
}

/// What is counted, and how flowtop attaches to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureOptions {
    /// `None` for the best backend that loads and attaches (`auto`).
    pub backend: Option<Backend>,
    /// Which flows are counted, and where that is decided.
    pub filter: FilterPlan,
    /// Whether threads and their flows are counted apart.
    pub by_thread: bool,
    /// The user's zones of peers; in a replay they replace the recorded ones. `None` where there
    /// are none.
    pub zones: Option<Arc<ZoneTable>>,
    /// Read the answers of name servers that processes receive, for the names of hosts.
    pub dns_names: bool,
    /// Maximum number of flows that the kernel can hold in one interval; `None` for the default of
    /// the kernel side.
    pub max_flows: Option<u32>,
    /// Write libbpf's messages to standard error.
    pub libbpf_log: bool,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            backend: None,
            filter: FilterPlan::default(),
            by_thread: false,
            dns_names: true,
            zones: None,
            max_flows: None,
            libbpf_log: false,
        }
    }
}

/// The configuration file that settings are saved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    pub path: PathBuf,
    /// The user that the file must belong to, if flowtop found the file by itself.
    pub owner: Option<u32>,
}

/// Settings that the live table can save in the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSettings {
    /// `None` leaves columns to the table's width.
    pub columns: Option<Vec<Column>>,
    pub units: Units,
    pub view: Preset,
    /// `None` for the order of the view.
    pub sort: SortKey,
    /// [`Group::Flow`] for the grouping of the view.
    pub group: Group,
}

/// When intervals end, and when the run does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimingOptions {
    /// Requested length of an interval; results report the measured one.
    pub interval: Duration,
    /// End after this many intervals; `None` for no limit.
    pub count: Option<u64>,
    /// End after this time, with the interval in progress; `None` for no limit.
    pub duration: Option<Duration>,
    /// End with the first interval whose total matches; the expression is about amounts only.
    pub exit_when: Option<Expr>,
}

impl Default for TimingOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            count: None,
            duration: None,
            exit_when: None,
        }
    }
}

/// How the live table looks, and its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOptions {
    /// Rows shown each way; `None` means as many as fit.
    pub rows: Option<usize>,
    /// Columns in this order; `None` leaves them to the table's width.
    pub columns: Option<Vec<Column>>,
    /// View at the start; the fields below override its grouping and order.
    pub view: Preset,
    /// Grouping of rows at the start.
    pub group: Group,
    /// The order of rows at the start.
    pub sort: SortKey,
    /// In which units rates and amounts are written.
    pub units: Units,
    /// Show names of hosts and services where they are known.
    pub host_names: bool,
    /// Whether colours may be used.
    pub color: bool,
    /// Whether only ASCII may be drawn.
    pub ascii: bool,
    pub palette: Palette,
    /// Keys that are not the default ones.
    pub keys: Vec<Binding>,
    /// File that keeps the texts of prompts for later runs; `None` keeps none.
    pub prompt_file: Option<PathBuf>,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            rows: None,
            columns: None,
            view: Preset::default(),
            group: Group::default(),
            sort: SortKey::default(),
            units: Units::default(),
            host_names: false,
            color: false,
            ascii: true,
            palette: Palette::default(),
            keys: Vec::new(),
            prompt_file: None,
        }
    }
}

/// Options of text, JSON and CSV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Rows shown each way; `None` means all.
    pub top_n: Option<usize>,
    /// Grouping of rows in the output.
    pub group: Group,
    /// The order of rows; `None` for the bytes of each direction.
    pub sort: Option<SortKey>,
    /// Units of rates and amounts in text.
    pub units: Units,
    /// Add names of hosts and services where they are known.
    pub host_names: bool,
    /// Whether text has the columns that need a wide page.
    pub wide: bool,
}

/// Rows shown each way without `-n`.
const TOP_N: usize = 10;

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            top_n: Some(TOP_N),
            group: Group::default(),
            sort: None,
            units: Units::default(),
            host_names: false,
            wide: false,
        }
    }
}

/// A way to attach to socket calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Raw tracepoints `sock_send_length` and `sock_recv_length`, kernel 6.3 and later.
    RawTracepoint,
    /// Perf-attached tracepoints `sock:sock_send_length` and `sock:sock_recv_length`, kernel 6.3
    /// and later.
    Tracepoint,
    /// Trampolines on the socket functions: fentry and fexit.
    Fentry,
    /// Entry and return probes on the socket functions.
    Kprobe,
}

impl Backend {
    /// All backends, in the order of help and doctor.
    pub const ALL: [Self; 4] = [
        Self::RawTracepoint,
        Self::Tracepoint,
        Self::Fentry,
        Self::Kprobe,
    ];

    /// The name used on the command line and in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RawTracepoint => "raw_tracepoint",
            Self::Tracepoint => "tracepoint",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        }
    }
}

/// A command to run, and how to report its traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOptions {
    /// The program and its arguments; not empty.
    pub argv: Vec<OsString>,
    pub form: SummaryForm,
    /// File that the summary is written to; `None` is standard error.
    pub summary_file: Option<PathBuf>,
    pub allow: Option<AllowList>,
    /// Rows of each table; `None` means all.
    pub top_n: Option<usize>,
    pub host_names: bool,
    /// Write the flows of each interval to standard error.
    pub live: bool,
}

/// The traffic that a command is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowList {
    /// Path of the file, as given.
    pub file: PathBuf,
    /// Flows that match one of these are expected.
    pub lines: Vec<Expr>,
}

/// The format of a command's summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SummaryForm {
    #[default]
    Text,
    /// One JSON object on one line.
    Json,
    Markdown,
}

/// The format of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// A live table that fills the terminal.
    Table,
    /// Plain text, one block per interval.
    #[default]
    Text,
    /// JSON Lines, one object per line.
    Json,
    /// Comma-separated values, one row per line.
    Csv,
    /// No output: intervals are recorded or served.
    Quiet,
}

/// Address and contents of the served metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    pub addr: SocketAddr,
    /// Grouping of the series; never [`Group::Flow`].
    pub group: Group,
    /// Most groups with series of their own; `None` for as many as the exporter holds.
    pub top_n: Option<usize>,
    /// Longest time between two scrapes of one reader.
    pub scrape_interval: Duration,
    /// Names of this machine that requests may use, besides its own.
    pub host_names: Vec<String>,
}

/// Where and how every interval is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordOptions {
    /// The file; with any of the following fields, the pattern for the names of several files.
    /// Compressed if its name ends in `.zst`.
    pub file: PathBuf,
    /// Start another file at this size, in bytes.
    pub size: Option<u64>,
    /// Start another file after this time.
    pub time: Option<Duration>,
    /// Keep only this many files.
    pub files: Option<usize>,
    /// Keep sums of groups for each so long, in place of flows: a ledger.
    pub sums: Option<Duration>,
}

impl RecordOptions {
    /// Whether there may be several files.
    pub const fn rotates(&self) -> bool {
        self.size.is_some() || self.time.is_some()
    }
}

/// The recordings to compare, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffOptions {
    pub before: DiffSide,
    pub after: DiffSide,
    /// Grouping; not by flow, because the ports of flows are new each time.
    pub group: Group,
    /// Most changes that are written; `None` for all.
    pub top_n: Option<usize>,
    /// Merge recorded intervals up to this length.
    pub interval: Option<Duration>,
}

/// A recording, or a window of time of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffSide {
    /// The recording as typed, with its window.
    pub name: String,
    pub file: PathBuf,
    pub window: Option<TimeWindow>,
}

/// A window of time, from just after its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeWindow {
    Times(SystemTime, SystemTime),
    /// On every day, in UTC, since midnight.
    EachDay(Duration, Duration),
}

impl TimeWindow {
    /// Whether the window contains an interval that ended at this time.
    pub fn contains(&self, ended: SystemTime) -> bool {
        match self {
            Self::Times(from, to) => *from < ended && ended <= *to,
            Self::EachDay(from, to) => {
                let since_epoch = ended.duration_since(SystemTime::UNIX_EPOCH);
                let nanos = since_epoch.unwrap_or_default().as_nanos() % DAY.as_nanos();
                let is_in = |nanos: u128| from.as_nanos() < nanos && nanos <= to.as_nanos();
                // Midnight is the end of a day.
                is_in(if nanos == 0 { DAY.as_nanos() } else { nanos })
            }
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Which recordings and ledgers are added up, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageOptions {
    pub files: Vec<PathBuf>,
    /// Kind of group; flows are none, because their ports are new each time.
    pub group: Group,
    pub by: CalendarPeriod,
    /// Most groups of a period that are written; `None` means all.
    pub top_n: Option<usize>,
}

/// Which recordings are shown, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayOptions {
    /// Files, shown in sequence; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Merge recorded intervals up to this length; `None` leaves them as they are.
    pub interval: Option<Duration>,
}
