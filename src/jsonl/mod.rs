//! JSON Lines, the format of `--json` and of recordings: the schema, its writer and its reader.

mod decode;
pub(crate) mod escape;
pub mod input;
mod lines;
pub mod reader;
mod recorded_zones;
pub(crate) mod schema;
pub mod sums;
pub mod writer;

pub use self::schema::SCHEMA;

use std::fmt;
use std::path::PathBuf;

/// Longest line of a recording, in bytes: ten times the record of a flow with the longest names.
pub const MAX_LINE: usize = 64 << 10;
/// Most flows of an interval, a bound for memory: more than a kernel's map is ever made for.
pub const MAX_FLOWS: usize = 1 << 22;
/// Largest sum over all intervals of a recording, in bytes, messages, packets or events: sums of
/// such sums stay below 2^64.
pub const MAX_SUM: u64 = 1 << 62;

/// The error at which reading of a recording stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorruptRecording {
    pub file: PathBuf,
    /// Number of the damaged line, counted from 1.
    pub line: u64,
    /// What is wrong, and what to do if anything helps.
    pub what: String,
    /// Number of intervals that were read before the error.
    pub intervals: u64,
}

impl fmt::Display for CorruptRecording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = (self.file.display(), self.line);
        write!(f, "{file}: line {line}: {}; ", self.what)?;
        match self.intervals {
            0 => f.write_str("no interval was read"),
            1 => f.write_str("the interval before it was read"),
            n => write!(f, "the {n} intervals before it were read"),
        }
    }
}

impl std::error::Error for CorruptRecording {}
