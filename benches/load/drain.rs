//! From the flip to the rows: ends intervals with many real flows, ranks them and writes them.
//!
//! Measured is processor time of this thread: that leaves out the wait for running programs, and
//! whatever else the machine does.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use flowtop::jsonl::writer;
use flowtop::kernel::Engine;
use flowtop::model::interval::Interval;
use flowtop::options::CaptureOptions;
use flowtop::resolve::names::Names;
use flowtop::stats::ranking::Ranking;
use rustix::process::getuid;
use rustix::time::ClockId::ThreadCPUTime;

use crate::flows::Flows;
use crate::measure::{median, processor_time};

#[derive(clap::Args)]
pub struct Args {
    /// Flows in an interval
    flows: u32,
    /// Connections of TCP, of which the drain reads the state too
    #[arg(long)]
    tcp: bool,
    /// Connections are not audited: a filter takes flows of this user only, which is no work for
    /// the drain
    #[arg(long)]
    without_audit: bool,
    /// Intervals; the median is told
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Flows the map has room for, rather than 65536, or so many that one process may hold those
    /// asked for
    #[arg(long)]
    max_flows: Option<u32>,
}

/// Prints how many milliseconds a drain takes.
pub fn run(args: &Args) -> Result<()> {
    let mut options = CaptureOptions {
        // One process holds three quarters of the map at most.
        max_flows: Some(
            args.max_flows
                .unwrap_or_else(|| args.flows.div_ceil(3).saturating_mul(4).max(65_536)),
        ),
        backend: None,
        ..CaptureOptions::default()
    };
    if args.without_audit {
        // Others may share a connection with this user.
        options.filter.kernel_filter.uids.values = vec![getuid().as_raw()];
    }
    let before = free_memory()?;
    let mut engine = Engine::open(&options)?;
    let taken = before.saturating_sub(free_memory()?);
    let mut flows = Flows::new(args.tcp, args.flows)?;
    let (mut drains, mut waits, mut ranks, mut lines, mut all) =
        <[Vec<Duration>; 5]>::default().into();
    let (mut audited, mut last) = (0, None::<Interval>);
    for _ in 0..args.rounds {
        drop(last.take());
        engine.end_interval()?;
        flows.send_all(args.flows)?;
        let (start, used) = (Instant::now(), processor_time(ThreadCPUTime));
        let interval = engine.end_interval()?;
        let drain = processor_time(ThreadCPUTime) - used;
        drains.push(drain);
        waits.push(start.elapsed().saturating_sub(drain));
        ensure!(
            interval.flows.len() >= args.flows as usize,
            "{} flows were drained of {}: is the map too small?",
            interval.flows.len(),
            args.flows
        );
        audited = interval.losses.audit.connections;
        let used = processor_time(ThreadCPUTime);
        let top = black_box(Ranking::new(&interval, Some(10)));
        let rank = processor_time(ThreadCPUTime) - used;
        ranks.push(rank);
        drop(top);
        all.push(drain + rank);
        last = Some(interval);
    }
    // Not in the rounds before: half a kilobyte a flow would take the memory from which intervals are made.
    let last = last.context("no round")?;
    for _ in 0..args.rounds {
        let used = processor_time(ThreadCPUTime);
        let mut out = Vec::new();
        let ranking = Ranking::new(&last, None);
        writer::Json::default().append(&ranking, &Names::disabled(), &mut out)?;
        black_box(out);
        lines.push(processor_time(ThreadCPUTime) - used);
    }
    let [drain, wait, rank, json, all] =
        [drains, waits, ranks, lines, all].map(|times| median(times).as_secs_f64() * 1e3);
    println!(
        "{{\"cpus\":{},\"tcp\":{},\"audited\":{audited},\"flows\":{},\"backend\":\"{}\",\"drain_ms\":{drain:.3},\"rank_ms\":{rank:.3},\"all_ms\":{all:.3},\
         \"wait_ms\":{wait:.3},\"json_all_ms\":{json:.3},\"max_flows\":{},\"taken_mib\":{}}}",
        libbpf_rs::num_possible_cpus()?,
        args.tcp,
        args.flows,
        engine.method().backend,
        options.max_flows.unwrap_or_default(),
        taken >> 10
    );
    Ok(())
}

/// Memory that nobody uses, in KiB. What opening takes of it is the kernel's maps and programs and
/// some MiB of this process; it says something on a machine that does nothing else.
fn free_memory() -> Result<u64> {
    let info = std::fs::read_to_string("/proc/meminfo")?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemFree:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.context("/proc/meminfo has no MemFree")?.parse()?)
}
