//! The one validated configuration: what [`crate::cli::args`] turns arguments into and every other part
//! reads. Knows no arguments, no kernel and no presentation.

mod keys;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub use self::keys::{
    Binding, COMMANDS, CTRL_C, Chapter, Command, DefaultBinding, Key, KeyCode, NoKey, effective,
};
use crate::filter::{Expr, FilterPlan};
use crate::text::units::Units;
use crate::view::{Column, Group, SortKey};

/// Smallest accepted size of the flow map, in flows.
pub const MIN_MAX_FLOWS: u32 = 16;
/// Largest accepted size of the flow map, in flows.
pub const MAX_MAX_FLOWS: u32 = 16_777_216;

/// Everything a run of flowtop can be told, already checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Flows shown each way in text, JSON and CSV; `None` means all.
    pub top_n: Option<usize>,
    /// Rows shown each way in the live table; `None` means as many as fit.
    pub live_rows: Option<usize>,
    /// Threads are told apart, and so are their flows.
    pub by_thread: bool,
    /// Which flows are counted, and where that is decided.
    pub filter: FilterPlan,
    /// Show names of hosts and services where they are known.
    pub host_names: bool,
    /// Wanted length of an interval; what is reported is the measured one.
    pub interval: Duration,
    /// End after this many intervals; `None` means never.
    pub count: Option<u64>,
    /// End after so long, with the interval under way; `None` means never.
    pub duration: Option<Duration>,
    /// End with the first interval whose total is so; about amounts only.
    pub exit_when: Option<Expr>,
    /// Keep every interval in a file too.
    pub record: Option<Record>,
    /// Show recordings, and no machine.
    pub replay: Option<ReplayOptions>,
    pub listen: Option<Listen>,
    /// How to attach to the kernel.
    pub backend: BackendChoice,
    /// Flows the kernel can tell apart in one interval; `None` leaves it to the kernel side.
    pub max_flows: Option<u32>,
    /// Where and in which form results go.
    pub output: Output,
    /// Give up privileges once counting has begun.
    pub sandbox: bool,
    /// Say on standard error what is done and why.
    pub verbose: bool,
    /// Columns of the live table, in this order; `None` leaves them to its width.
    pub columns: Option<Vec<Column>>,
    /// In which units rates and amounts are written for people.
    pub units: Units,
    /// The order of rows in the live table.
    pub sort: SortKey,
    /// The order of rows in text, JSON and CSV; `None` is by the bytes of each direction.
    pub row_order: Option<SortKey>,
    /// What a row is.
    pub group: Group,
    /// Whether plain text has the columns that need a wide page.
    pub wide: bool,
    /// Whether colours may be used.
    pub color: bool,
    /// Whether only ASCII may be drawn.
    pub ascii: bool,
    pub palette: Palette,
    /// Keys of the live table that are not as usual.
    pub keys: Vec<Binding>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            top_n: Some(10),
            live_rows: None,
            by_thread: false,
            filter: FilterPlan::default(),
            host_names: false,
            interval: Duration::from_secs(1),
            count: None,
            duration: None,
            exit_when: None,
            record: None,
            replay: None,
            listen: None,
            backend: BackendChoice::Auto,
            max_flows: None,
            output: Output::Text,
            sandbox: true,
            verbose: false,
            columns: None,
            units: Units::default(),
            sort: SortKey::default(),
            row_order: None,
            group: Group::default(),
            wide: false,
            color: false,
            ascii: true,
            palette: Palette::default(),
            keys: Vec::new(),
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
    /// Comma-separated values, one row a line.
    Csv,
    /// Nothing: what is wanted is recorded or served.
    Quiet,
}

/// Where metrics are served, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    pub addr: SocketAddr,
    /// What there are series of; never [`Group::Flow`].
    pub group: Group,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The file, or with any of the following what the names of several are made from. Compressed
    /// when its name ends in `.zst`.
    pub file: PathBuf,
    /// Begin another file when one has this many bytes.
    pub size: Option<u64>,
    /// Begin another file when one has this much time in it.
    pub time: Option<Duration>,
    /// Keep only so many files.
    pub files: Option<usize>,
}

impl Record {
    /// Whether there may be more than one file.
    pub const fn rotates(&self) -> bool {
        self.size.is_some() || self.time.is_some()
    }
}

/// Which recordings are shown, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayOptions {
    /// One after the other; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Join recorded intervals until they are so long; `None` leaves them as they are.
    pub interval: Option<Duration>,
}

/// Colours that were asked for; `None` leaves one to the theme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Palette {
    pub rx: Option<PaletteColor>,
    pub tx: Option<PaletteColor>,
    /// Losses and other trouble.
    pub trouble: Option<PaletteColor>,
    /// Behind the selected row.
    pub selection: Option<PaletteColor>,
}

/// A colour of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaletteColor {
    /// One of the 16 colours that the terminal's own palette names, or of the 240 after them.
    Indexed(u8),
    /// Red, green and blue.
    Rgb(u8, u8, u8),
}

/// The names of the first 16 colours.
const PAINTS: [&str; 16] = [
    "black",
    "red",
    "green",
    "yellow",
    "blue",
    "magenta",
    "cyan",
    "gray",
    "dark-gray",
    "light-red",
    "light-green",
    "light-yellow",
    "light-blue",
    "light-magenta",
    "light-cyan",
    "white",
];

/// A text that names no colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidColor(String);

impl fmt::Display for InvalidColor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown colour {:?}: use #rrggbb, a number from 0 to 255 or one of {}",
            self.0,
            PAINTS.join(", ")
        )
    }
}

impl std::error::Error for InvalidColor {}

impl FromStr for PaletteColor {
    type Err = InvalidColor;

    fn from_str(text: &str) -> Result<Self, InvalidColor> {
        let rgb = |hex: &str| {
            let is_hex = hex.len() == 6 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
            let value = u32::from_str_radix(hex, 16).ok().filter(|_| is_hex)?;
            let [_, red, green, blue] = value.to_be_bytes();
            Some(Self::Rgb(red, green, blue))
        };
        let found = if let Some(hex) = text.strip_prefix('#') {
            rgb(hex)
        } else if text.starts_with('+') {
            None
        } else if let Ok(index) = text.parse() {
            Some(Self::Indexed(index))
        } else {
            let index = PAINTS.iter().position(|name| *name == text);
            index
                .and_then(|index| u8::try_from(index).ok())
                .map(Self::Indexed)
        };
        found.ok_or_else(|| InvalidColor(text.to_owned()))
    }
}

impl fmt::Display for PaletteColor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Indexed(index) => match PAINTS.get(usize::from(index)) {
                Some(name) => f.write_str(name),
                None => write!(f, "{index}"),
            },
            Self::Rgb(red, green, blue) => write!(f, "#{red:02x}{green:02x}{blue:02x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_is_read_as_it_is_written() {
        for index in 0..=255 {
            let paint = PaletteColor::Indexed(index);
            assert_eq!(paint.to_string().parse(), Ok(paint));
        }
        assert_eq!("light-blue".parse(), Ok(PaletteColor::Indexed(12)));
        assert_eq!("12".parse(), Ok(PaletteColor::Indexed(12)));
        let paint: PaletteColor = "#0aFF7f".parse().unwrap();
        assert_eq!(paint, PaletteColor::Rgb(10, 255, 127));
        assert_eq!(paint.to_string(), "#0aff7f");
    }

    #[test]
    fn what_is_no_colour_is_refused() {
        for text in [
            "", "pink", "256", "-1", "+1", "#fff", "#gggggg", "#+00000", "Red",
        ] {
            let message = text.parse::<PaletteColor>().unwrap_err().to_string();
            assert!(message.contains("#rrggbb"), "{text:?}: {message}");
        }
    }
}
