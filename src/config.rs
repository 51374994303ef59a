//! The one validated configuration: what [`crate::cli`] turns arguments into and every other part
//! reads. Knows no arguments, no kernel and no presentation.

use std::time::Duration;

/// Most process ids, and most thread ids, that can be asked for: the kernel side keeps them in
/// small fixed maps.
pub const MAX_IDS: usize = 64;
/// Largest process or thread id that Linux gives out (`PID_MAX_LIMIT`).
pub const MAX_ID: u32 = 4_194_304;
/// Smallest accepted size of the flow map, in flows.
pub const MIN_MAX_FLOWS: u32 = 16;
/// Largest accepted size of the flow map, in flows.
pub const MAX_MAX_FLOWS: u32 = 16_777_216;

/// Everything a run of flowtop can be told, already checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Flows shown each way; `None` means all.
    pub top_n: Option<usize>,
    /// Count only these processes (thread group ids); empty means all. At most [`MAX_IDS`].
    pub pids: Vec<u32>,
    /// Count only what these threads move; empty means all. At most [`MAX_IDS`].
    pub tids: Vec<u32>,
    /// Show host names for peers where they are known.
    pub host_names: bool,
    /// Wanted length of an interval; what is reported is the measured one.
    pub interval: Duration,
    /// End after this many intervals; `None` means never.
    pub count: Option<u64>,
    /// How to attach to the kernel.
    pub backend: BackendChoice,
    /// Flows the kernel can tell apart in one interval; `None` leaves it to the kernel side.
    pub max_flows: Option<u32>,
    /// Where and in which form results go.
    pub output: Output,
    /// Say on standard error what is done and why.
    pub verbose: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            top_n: Some(10),
            pids: Vec::new(),
            tids: Vec::new(),
            host_names: false,
            interval: Duration::from_secs(1),
            count: None,
            backend: BackendChoice::Auto,
            max_flows: None,
            output: Output::Text,
            verbose: false,
        }
    }
}

/// Which way of attaching was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// The best that really loads and attaches.
    #[default]
    Auto,
    /// `sock:sock_send_length` and `sock:sock_recv_length`, kernel 6.3 and later.
    Tracepoint,
    /// fentry and fexit on the socket functions.
    Fentry,
    /// kprobes on the socket functions.
    Kprobe,
}

impl BackendChoice {
    /// The name as it is given on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tracepoint => "tracepoint",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        }
    }
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A live table that fills the terminal.
    Table,
    /// Plain text, one block an interval.
    Text,
    /// JSON Lines, one object a line.
    Json,
}
