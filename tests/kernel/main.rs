//! Tests of the real binary on this machine's own kernel. Needs root.
//!
//! They run beside each other and share this process, so a test filters by port, thread, child
//! process or network namespace, not by this process alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/largest_filter.rs"]
mod largest_filter;

mod audit;
mod cli;
mod container_names;
mod dns_names;
mod exactness;
mod flood;
mod hostile;
mod image;
mod lending;
mod metrics;
mod names;
mod owners;
mod privileges;
mod publish;
mod rates;
mod record;
mod record_safety;
mod run;
mod shared;
mod surroundings;
mod tcp_info;
mod verifier;
