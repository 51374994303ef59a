//! The one validated configuration: what [`crate::cli::request`] turns arguments into. Every other part of flowtop
//! gets its part of it. Knows no arguments, no kernel and no presentation.

mod keys;
mod palette;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

pub use self::keys::{
    Binding, COMMANDS, CTRL_C, Chapter, Command, DefaultBinding, Key, KeyCode, NoKey, effective,
};
pub use self::palette::{InvalidColor, Palette, PaletteColor};
use crate::filter::{Expr, FilterPlan};
use crate::text::units::Units;
use crate::view::{CalendarPeriod, Column, Group, Preset, SortKey};

/// Smallest accepted size of the flow map, in flows.
pub const MIN_MAX_FLOWS: u32 = 16;
/// Largest accepted size of the flow map, in flows.
pub const MAX_MAX_FLOWS: u32 = 16_777_216;

/// All options of a run, already checked. Each part of flowtop gets its part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Where and in which form results go.
    pub output: Output,
    pub capture: CaptureOptions,
    pub timing: TimingOptions,
    pub table: TableOptions,
    pub stream: StreamOptions,
    /// Keep every interval in a file too.
    pub record: Option<RecordOptions>,
    /// Keep counters of processes in this file for other programs.
    pub publish: Option<PathBuf>,
    /// Folder that the live table saves snapshots and recordings in.
    pub snapshot_dir: Option<PathBuf>,
    /// The configuration file, where it is known which one is the user's.
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
    /// Say on standard error what is done and why.
    pub verbose: bool,
}

/// What is counted, and how flowtop attaches to the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureOptions {
    /// `None` for the best one that really loads and attaches (`auto`).
    pub backend: Option<Backend>,
    /// Which flows are counted, and where that is decided.
    pub filter: FilterPlan,
    /// Threads are counted apart, and so are their flows.
    pub by_thread: bool,
    /// Flows the kernel can tell apart in one interval; `None` leaves it to the kernel side.
    pub max_flows: Option<u32>,
    /// Write libbpf's messages to standard error.
    pub libbpf_log: bool,
}

/// The configuration file that settings are saved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    pub path: PathBuf,
    /// The user that the file must belong to, if flowtop found it by itself.
    pub owner: Option<u32>,
}

/// What the live table can save in the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedSettings {
    /// `None` leaves columns to the table's width.
    pub columns: Option<Vec<Column>>,
    pub units: Units,
    pub view: Preset,
    /// The default is that of the view.
    pub sort: SortKey,
    /// [`Group::Flow`] is that of the view.
    pub group: Group,
}

/// When intervals end, and when the run does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimingOptions {
    /// Wanted length of an interval; what is reported is the measured one.
    pub interval: Duration,
    /// End after this many intervals; `None` means never.
    pub count: Option<u64>,
    /// End after so long, with the interval under way; `None` means never.
    pub duration: Option<Duration>,
    /// End with the first interval whose total is so; about amounts only.
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
    /// Which view is shown at the start; the fields below override its grouping and order.
    pub view: Preset,
    /// What a row is at the start.
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
    /// Keys that are not as usual.
    pub keys: Vec<Binding>,
    /// Where the texts of prompts are kept for later runs; `None` keeps none.
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

/// What text, JSON and CSV show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Rows shown each way; `None` means all.
    pub top_n: Option<usize>,
    /// What a row is.
    pub group: Group,
    /// The order of rows; `None` is by the bytes of each direction.
    pub sort: Option<SortKey>,
    /// In which units text has rates and amounts.
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

/// One way to see socket calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Raw tracepoints `sock_send_length` and `sock_recv_length`, kernel 6.3 and later.
    RawTracepoint,
    /// Perf-attached tracepoints `sock:sock_send_length` and `sock:sock_recv_length`, kernel 6.3 and later.
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

/// A command that is run, and what becomes of its traffic.
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
}

/// What a command may talk to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowList {
    /// The file, as given.
    pub file: PathBuf,
    /// Flows that match one of these are expected.
    pub lines: Vec<Expr>,
}

/// The form of a command's summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SummaryForm {
    #[default]
    Text,
    /// One JSON object on one line.
    Json,
    Markdown,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// A live table that fills the terminal.
    Table,
    /// Plain text, one block an interval.
    #[default]
    Text,
    /// JSON Lines, one object a line.
    Json,
    /// Comma-separated values, one row a line.
    Csv,
    /// Nothing: what is wanted is recorded or served.
    Quiet,
}

/// Where metrics are served, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    pub addr: SocketAddr,
    /// What there are series of; never [`Group::Flow`].
    pub group: Group,
    /// Groups with series of their own; `None` means as many as the exporter holds.
    pub top_n: Option<usize>,
    /// Longest time between two scrapes of one reader.
    pub scrape_interval: Duration,
    /// Names of this machine that requests may use, besides its own.
    pub host_names: Vec<String>,
}

/// Where every interval is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordOptions {
    /// The file, or with any of the following what the names of several are made from. Compressed
    /// when its name ends in `.zst`.
    pub file: PathBuf,
    /// Begin another file when one has this many bytes.
    pub size: Option<u64>,
    /// Begin another file when one has this much time in it.
    pub time: Option<Duration>,
    /// Keep only so many files.
    pub files: Option<usize>,
    /// Keep sums of groups for each so long, in place of flows: a ledger.
    pub sums: Option<Duration>,
}

impl RecordOptions {
    /// Whether there may be more than one file.
    pub const fn rotates(&self) -> bool {
        self.size.is_some() || self.time.is_some()
    }
}

/// Which recordings are compared, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffOptions {
    pub before: DiffSide,
    pub after: DiffSide,
    /// Kind of group; flows are none, because their ports are new each time.
    pub group: Group,
    /// Most changes that are written; `None` means all.
    pub top_n: Option<usize>,
    /// Join recorded intervals until they are so long.
    pub interval: Option<Duration>,
}

/// A recording, or a window of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffSide {
    /// As typed, with the window.
    pub name: String,
    pub file: PathBuf,
    pub window: Option<TimeWindow>,
}

/// A window of time, from just after its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeWindow {
    Times(SystemTime, SystemTime),
    /// Of every day, in UTC, since midnight.
    EachDay(Duration, Duration),
}

impl TimeWindow {
    /// Whether an interval that ended at a time is meant.
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
    /// One after the other; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Join recorded intervals until they are so long; `None` leaves them as they are.
    pub interval: Option<Duration>,
}
