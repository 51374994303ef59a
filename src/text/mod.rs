//! Text for people: independent of BPF, options and outputs.

pub mod losses;
pub mod sanitize;
pub mod suggest;
pub mod time;
pub mod units;
pub mod wrap;
