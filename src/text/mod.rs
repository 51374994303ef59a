//! Text for people: it knows no BPF, no options and no output.

pub mod suggest;
pub mod time;
