//! Text for people: it knows no BPF, no options and no output.

pub mod losses;
pub mod sanitize;
pub mod suggest;
pub mod time;
pub mod units;
pub mod wrap;
