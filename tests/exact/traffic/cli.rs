//! The command line of the generator and checker.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::check::{self, Check};
use crate::faults::{self, Faults};
use crate::soak::{self, Soak};
use crate::storm::{self, Storm};
use crate::subject::Start;
use crate::{cases, demo, load, net, path, proc, send, sys};

/// Traffic of every kind, known to the byte, and a check of flowtop against it.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Subject {
    /// The flowtop to check
    #[arg(long)]
    flowtop: PathBuf,
    /// Passed on as --backend
    #[arg(long)]
    backend: Option<String>,
    /// Another argument for flowtop; may be repeated
    #[arg(long = "flowtop-arg", allow_hyphen_values = true)]
    flowtop_args: Vec<String>,
}

impl Subject {
    fn start(&self, interval: f64) -> Start<'_> {
        Start {
            flowtop: &self.flowtop,
            backend: self.backend.as_deref(),
            interval,
            args: &self.flowtop_args,
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// List the names of all cases
    List,
    /// Run cases and print the truth as JSON Lines
    Run {
        /// Names or globs; all cases when there is none
        cases: Vec<String>,
        /// Seconds after which a case is given up
        #[arg(long, default_value_t = 20)]
        case_timeout: u32,
        /// Give the scenarios (s01 to s24) the sizes and the pace of the benchmark they are of
        #[arg(long)]
        full_scenarios: bool,
    },
    /// Run cases beside flowtop and compare
    Check {
        #[command(flatten)]
        subject: Subject,
        /// A name or glob; may be repeated; all cases when there is none
        #[arg(long = "case")]
        cases: Vec<String>,
        /// flowtop's interval in seconds
        #[arg(long, default_value_t = 0.2)]
        interval: f64,
        /// Append a JSON line for every case
        #[arg(long)]
        report: Option<PathBuf>,
        /// Seconds after which a case is given up
        #[arg(long, default_value_t = 20)]
        case_timeout: u32,
        /// Percentage of the repetitions in cases that do something thousands of times
        #[arg(long, default_value_t = 100)]
        scale: u32,
        /// Give the scenarios (s01 to s24) the sizes and the pace of the benchmark they are of: two
        /// minutes
        #[arg(long)]
        full_scenarios: bool,
        /// Events may be missed (fentry where the kernel preempts itself), if flowtop says so of
        /// every one
        #[arg(long)]
        may_miss: bool,
    },
    /// Traffic at full speed over many flips of flowtop's maps, then compare
    Storm {
        #[command(flatten)]
        subject: Subject,
        /// Intervals to go through
        #[arg(long, default_value_t = 500)]
        flips: u64,
        /// Pairs of sending and receiving threads
        #[arg(long, default_value_t = 8)]
        pairs: usize,
        /// flowtop's interval in seconds
        #[arg(long, default_value_t = 0.01)]
        interval: f64,
        /// Require losses, and that flowtop says so of all of them
        #[arg(long)]
        expect_missed: bool,
        /// Seconds after which to give up
        #[arg(long, default_value_t = 600)]
        timeout: u64,
    },
    /// Provoke faults beside known traffic, and hold flowtop to it
    Faults {
        #[command(flatten)]
        subject: Subject,
        /// A name or glob; may be repeated; all faults when there is none
        #[arg(long = "fault")]
        faults: Vec<String>,
        /// Append a JSON line for every fault
        #[arg(long)]
        report: Option<PathBuf>,
        /// Take minutes instead of seconds, and a million flows
        #[arg(long)]
        long: bool,
        /// Also what changes the whole machine: its clock, its CPUs, its switches
        #[arg(long)]
        machine_is_mine: bool,
    },
    /// An hour of everything, with memory, descriptors and CPU time sampled
    Soak {
        #[command(flatten)]
        subject: Subject,
        /// Length of the run in seconds
        #[arg(long, default_value_t = 3600)]
        seconds: u64,
        /// flowtop's interval in seconds
        #[arg(long, default_value_t = 1.0)]
        interval: f64,
        /// Milliseconds between two calls of a thread of the traffic
        #[arg(long, default_value_t = 10)]
        pause: u64,
        /// Write a line for every sample
        #[arg(long)]
        samples: Option<PathBuf>,
    },
    /// Moderate traffic of several processes over loopback, to look at
    Demo {
        /// Stop after so many seconds
        #[arg(long)]
        seconds: Option<u64>,
        /// Bursts, a connection with losses, one that is read slowly, and short-lived processes
        /// besides
        #[arg(long)]
        full: bool,
        /// Folder with a control group for each place that processes run in, as scripts/demo.sh
        /// makes them
        #[arg(long)]
        cgroups: Option<PathBuf>,
    },
    /// One case as the work of this process
    #[command(hide = true)]
    Case { name: String, timeout: u32 },
    /// What a case goes on as after exec
    #[command(hide = true)]
    Role { role: String, fd: i32 },
    /// One process that sends so many bytes, as whoever it is told to be
    #[command(hide = true)]
    Send(send::Send),
    /// A slow and lossy path in a network namespace of its own, until stdin ends
    #[command(hide = true)]
    Path,
    /// The link of the scenarios, for programs beside them, until stdin ends; its first line is the
    /// value of TRAFFIC_LINK
    #[command(hide = true)]
    Link,
    /// Something of everything, until stdin ends
    #[command(hide = true)]
    MixedTraffic { threads: usize, pause: u64 },
    /// A datagram to each of so many peers, for every byte on stdin
    #[command(hide = true)]
    FlowsTraffic { count: u32 },
    /// The storm itself, until stdin ends
    #[command(hide = true)]
    StormTraffic { pairs: usize },
}

/// True when everything was as it should be.
pub fn run() -> Result<bool> {
    match Cli::parse().command {
        Command::List => {
            for c in cases::all() {
                println!("{:28} {}", c.name, c.trap);
            }
            Ok(true)
        }
        Command::Run {
            cases,
            case_timeout,
            full_scenarios,
        } => {
            if full_scenarios {
                // SAFETY: no other thread runs yet.
                unsafe { std::env::set_var(cases::FULL_SCENARIOS, "1") };
            }
            let _ = sys::lo_up(0);
            check::run(&cases, case_timeout)
        }
        Command::Check {
            subject,
            cases,
            interval,
            report,
            case_timeout,
            scale,
            full_scenarios,
            may_miss,
        } => {
            if full_scenarios {
                // SAFETY: no other thread runs yet.
                unsafe { std::env::set_var(cases::FULL_SCENARIOS, "1") };
            }
            // SAFETY: no other thread runs yet.
            unsafe { std::env::set_var("TRAFFIC_SCALE", scale.to_string()) };
            check::check(&Check {
                start: subject.start(interval),
                globs: &cases,
                timeout: case_timeout,
                report: report.as_deref(),
                may_miss,
            })
        }
        Command::Storm {
            subject,
            flips,
            pairs,
            interval,
            expect_missed,
            timeout,
        } => storm::storm(&Storm {
            start: subject.start(interval),
            flips,
            pairs,
            expect_missed,
            timeout,
        }),
        Command::Demo {
            seconds,
            full,
            cgroups,
        } => demo::demo(seconds, full, cgroups).map(|()| true),
        Command::Case { name, timeout } => cases::run_here(&name, timeout).map(|()| true),
        Command::Role { role, fd } => {
            proc::leave(cases::report(cases::after_exec(&role, fd)));
        }
        Command::Send(how) => send::send(&how).map(|()| true),
        Command::Path => path::path().map(|()| true),
        Command::Link => net::hold_link().map(|()| true),
        Command::Faults {
            subject,
            faults,
            report,
            long,
            machine_is_mine,
        } => faults::faults(&Faults {
            start: subject.start(0.2),
            globs: &faults,
            report: report.as_deref(),
            long,
            machine_is_mine,
        }),
        Command::Soak {
            subject,
            seconds,
            interval,
            pause,
            samples,
        } => soak::soak(&Soak {
            start: subject.start(interval),
            seconds,
            pause,
            samples: samples.as_deref(),
        }),
        Command::MixedTraffic { threads, pause } => load::mixed(threads, pause).map(|()| true),
        Command::FlowsTraffic { count } => load::flows(count).map(|()| true),
        Command::StormTraffic { pairs } => storm::traffic(pairs).map(|()| true),
    }
}
