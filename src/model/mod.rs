//! Plain data that every layer shares: flows, networks and intervals. No parsing, no formatting, no
//! dependency on BPF or output.

pub mod container;
pub mod dns;
pub mod flow;
pub mod interval;
pub mod net;
pub mod peer_class;
pub mod peer_zone;
pub mod wire_estimate;
