//! Makes the load that the benchmarks measure flowtop under, and measures it: what one socket call
//! costs, what a kind of traffic gets through.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program: it talks on stdout, and stops where it cannot go on"
)]

mod contention;
mod drain;
mod empty;
mod flows;
mod hot;
mod maps;
#[path = "../measure.rs"]
mod measure;
mod start;
mod traffic;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(about = "Load for flowtop's benchmarks")]
enum Command {
    /// Nanoseconds of one socket call, with both ends in one thread
    Hot(hot::Args),
    /// Attaches programs that do nothing, says `attached`, and waits to be killed
    Empty(empty::Args),
    /// Nanoseconds of an event's adds, on one CPU and on two at once
    Contention(contention::Args),
    /// How much of a kind of traffic gets through
    Traffic(traffic::Args),
    /// Sends on many flows, once a second on each; says `sending` after the first round
    Flows(flows::Args),
    /// Milliseconds of processor time from the flip to the ranking
    Drain(drain::Args),
    /// Milliseconds from the start of flowtop until it counts
    Start(start::Args),
    /// Bytes of the kernel's maps of a running flowtop
    Maps(maps::Args),
}

fn main() -> ExitCode {
    let result: Result<()> = match Command::parse() {
        Command::Hot(args) => hot::run(&args),
        Command::Empty(args) => empty::run(&args),
        Command::Contention(args) => contention::run(&args),
        Command::Traffic(args) => traffic::run(&args),
        Command::Flows(args) => flows::run(&args),
        Command::Drain(args) => drain::run(&args),
        Command::Start(args) => start::run(&args),
        Command::Maps(args) => maps::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("load: {err:#}");
            ExitCode::FAILURE
        }
    }
}
