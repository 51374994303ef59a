//! What the adds of an event cost when another CPU adds to the same flow, or to one beside it.

use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use libbpf_rs::btf::types::{DataSec, Var};
use libbpf_rs::{AsRawLibbpf, Btf, Object, ObjectBuilder, OpenObject, ProgramInput, ProgramMut};
use rustix::thread::{CpuSet, sched_setaffinity};

#[derive(clap::Args)]
pub struct Args {
    /// Object file of `benches/contention.bpf.c`
    object: PathBuf,
    /// Events of a run
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    /// Runs, of which the fastest counts
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// Pairs of flows whose slots lie side by side
    #[arg(long, default_value_t = 63)]
    pairs: u64,
}

/// Prints an object a line: nanoseconds of an event, with and without rows of the CPUs.
pub fn run(args: &Args) -> Result<()> {
    let cpus = thread::available_parallelism()?.get();
    ensure!(cpus >= 2, "needs two CPUs");
    for (rows, name) in [(false, "shared map"), (true, "rows")] {
        for udp in [0, 1] {
            // Nothing drains, so each protocol has rows of its own.
            let object = load(args, rows)?;
            let bench = Bench {
                args,
                object: &object,
                udp,
            };
            let alone = bench.nanoseconds(&[1])?;
            let one_flow = bench.nanoseconds(&[1, 1])?;
            let apart = bench.nanoseconds(&[1, 1000])?;
            let mut neighbours = Vec::new();
            for pair in 0..args.pairs {
                let first = 2000 + 2 * pair;
                // Made one after the other, by one CPU.
                bench.nanoseconds_of(&[first], 2)?;
                bench.nanoseconds_of(&[first + 1], 2)?;
                neighbours.push(bench.nanoseconds(&[first, first + 1])?);
            }
            let mean = neighbours.iter().sum::<f64>() / neighbours.len() as f64;
            let worst = neighbours.iter().copied().fold(0.0, f64::max);
            println!(
                "{{\"level\":\"{name}\",\"protocol\":\"{}\",\"alone\":{alone:.1},\"apart\":{apart:.1},\
                 \"one_flow\":{one_flow:.1},\"neighbours_mean\":{mean:.1},\"neighbours_worst\":{worst:.1}}}",
                if udp == 1 { "udp" } else { "tcp" }
            );
        }
    }
    Ok(())
}

fn load(args: &Args, rows: bool) -> Result<Object> {
    let mut open = ObjectBuilder::default()
        .open_file(&args.object)
        .with_context(|| format!("open {}", args.object.display()))?;
    for mut program in open.progs_mut() {
        let wanted = program.name() == "contend" || program.name() == "idle";
        program.set_autoload(wanted);
    }
    let places = [place(&open, "has_rows")?, place(&open, "max_flows")?];
    for mut map in open.maps_mut() {
        if map.name() == "rows" {
            map.set_max_entries(u32::try_from(libbpf_rs::num_possible_cpus()?)?)?;
        }
        if map.name().to_string_lossy().ends_with(".rodata") {
            let data = map.initial_value_mut().context("find the read-only data")?;
            let [has_rows, max_flows] = places;
            data[has_rows] = u8::from(rows);
            data[max_flows..max_flows + 4].copy_from_slice(&65_536u32.to_ne_bytes());
        }
    }
    open.load().context("load the programs")
}

/// Where a constant stands in the object's read-only data. Only libbpf's own copy of the BTF knows,
/// once the object is open: the compiler leaves the places out.
fn place(open: &OpenObject, name: &str) -> Result<usize> {
    // SAFETY: the object lives as long as the reference to what owns it.
    let object = unsafe { open.as_libbpf_object().as_ref() };
    let btf = Btf::from_bpf_object(object)?.context("find the object's BTF")?;
    let section: DataSec<'_> = btf.type_by_name(".rodata").context("find .rodata")?;
    let found = section.iter().find(|var| {
        let var: Option<Var<'_>> = btf.type_by_id(var.ty);
        var.is_some_and(|var| var.name().is_some_and(|it| it == name))
    });
    Ok(found.with_context(|| format!("find {name}"))?.offset as usize)
}

struct Bench<'a> {
    args: &'a Args,
    object: &'a Object,
    udp: u64,
}

impl Bench<'_> {
    /// Nanoseconds of an event, one CPU for each flow, all at once; without the loop around it.
    fn nanoseconds(&self, flows: &[u64]) -> Result<f64> {
        // Slots and rows are there before it is measured.
        for &flow in flows {
            self.nanoseconds_of(&[flow], 4)?;
        }
        let mut best = f64::MAX;
        for _ in 0..self.args.runs {
            best = best.min(self.nanoseconds_of(flows, self.args.events)?);
        }
        Ok(best)
    }

    fn nanoseconds_of(&self, flows: &[u64], events: u64) -> Result<f64> {
        let (start, begun) = (Barrier::new(flows.len()), Barrier::new(flows.len()));
        thread::scope(|scope| {
            let threads: Vec<_> = flows
                .iter()
                .enumerate()
                .map(|(cpu, &flow)| {
                    let (start, begun) = (&start, &begun);
                    scope.spawn(move || -> Result<f64> {
                        go_first(cpu)?;
                        start.wait();
                        self.once("contend", flow, events.min(4))?;
                        begun.wait();
                        let busy = self.once("contend", flow, events)?;
                        let idle = self.once("idle", flow, events)?;
                        Ok((busy - idle) / events as f64)
                    })
                })
                .collect();
            let mut times = threads
                .into_iter()
                .map(|thread| thread.join().expect("a thread does not panic"));
            times.try_fold(0.0, |most, time| Ok(f64::max(most, time?)))
        })
    }

    /// Nanoseconds of all events together.
    fn once(&self, program: &str, flow: u64, events: u64) -> Result<f64> {
        let program: ProgramMut<'_> = self
            .object
            .progs_mut()
            .find(|it| it.name() == program)
            .with_context(|| format!("find {program}"))?;
        let mut args: Vec<u8> = [flow, self.udp, events]
            .iter()
            .flat_map(|arg| arg.to_ne_bytes())
            .collect();
        let start = Instant::now();
        let run = program.test_run(ProgramInput {
            context_in: Some(&mut args),
            ..ProgramInput::default()
        })?;
        let elapsed = start.elapsed();
        ensure!(
            u64::from(run.return_value) == events,
            "the loop ended early"
        );
        Ok(elapsed.as_nanos() as f64)
    }
}

/// Keeps this thread on a CPU, ahead of all else there.
fn go_first(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus)?;
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: it reads the parameter, which lives.
    let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &first) };
    ensure!(set == 0, "SCHED_FIFO: {}", std::io::Error::last_os_error());
    Ok(())
}
