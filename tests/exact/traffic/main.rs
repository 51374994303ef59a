//! The exactness suite: makes traffic of every kind a program can make, knows to the byte what the
//! system calls returned, and holds flowtop to it.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program: it talks on stdout, and stops where it cannot go on"
)]

mod addr;
mod audited;
mod bpf;
mod cases;
mod check;
mod cli;
mod compare;
mod demo;
mod faults;
#[path = "../../common/largest_filter.rs"]
mod largest_filter;
mod load;
mod net;
mod path;
mod proc;
mod ring;
mod send;
mod soak;
mod sock;
mod storm;
mod subject;
mod sys;
mod terminal;
mod transfer;
mod truth;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            eprintln!("traffic: {err:#}");
            ExitCode::FAILURE
        }
    }
}
