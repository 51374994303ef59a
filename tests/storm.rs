//! A storm of small calls across 500 flips of the buffers, on this machine's own kernel. Needs
//! root, as all of `make test` does.
//!
//! The storm is a binary of its own, because it takes every CPU: beside it, other tests ran into
//! their deadlines, and beside them it took minutes instead of half a minute.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

mod common;

use std::process::{Command, Stdio};

use common::counting::traffic_program;

#[test]
fn a_storm_across_500_flips_loses_and_doubles_nothing() {
    let mut command = Command::new(traffic_program());
    command.args(["storm", "--flips", "500", "--flowtop"]);
    command
        .arg(env!("CARGO_BIN_EXE_flowtop"))
        .stdin(Stdio::null());
    let status = command.status().unwrap();
    assert!(status.success(), "traffic storm: {status}");
}
