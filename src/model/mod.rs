//! Plain data that every layer shares: flows and intervals. No parsing, no formatting, no dependency
//! on BPF or output.

pub mod flow;
pub mod interval;
