//! Faults on this machine's own kernel, each provoked for real, with everything counted beside it:
//! the generator of the exactness suite does it (`traffic faults`). What would change the whole
//! machine is for the virtual ones. Needs root, as all of `make test` does.
//!
//! The faults are a binary of their own, because they fill a flow table that counts the whole
//! machine: no other test may move bytes meanwhile.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::counting::traffic_program;

#[test]
fn nothing_is_lost_in_any_fault() {
    let flowtop = Path::new(env!("CARGO_BIN_EXE_flowtop"));
    let target = flowtop.parent().and_then(Path::parent).unwrap();
    let report = target.join("faults/native.jsonl");
    fs::create_dir_all(report.parent().unwrap()).unwrap();
    // One of an earlier run must not pass for this one's.
    let _ = fs::remove_file(&report);
    let mut command = Command::new(traffic_program());
    command.arg("faults").arg("--flowtop").arg(flowtop);
    command.arg("--report").arg(&report).stdin(Stdio::null());
    // Minutes instead of seconds, and a million flows: make test-faults.
    if std::env::var_os("FLOWTOP_LONG").is_some() {
        command.arg("--long");
    }
    let status = command.status().unwrap();
    assert!(status.success(), "traffic faults: {status}");
}
