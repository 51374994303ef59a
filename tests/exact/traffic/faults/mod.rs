//! Faults: each is provoked for real, beside known traffic where there is something to count, and
//! flowtop is held to what the traffic's system calls returned.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::cases::OnMissing;
use crate::check::matches;
use crate::compare::{CaseTruth, compare};
use crate::load::Load;
use crate::subject::{AvailableColumns, Start, Subject};
use crate::sys;

/// How long something may take that has to happen, emulated machines included.
const PATIENCE: Duration = Duration::from_secs(300);

pub struct Faults<'a> {
    pub start: Start<'a>,
    pub globs: &'a [String],
    pub report: Option<&'a Path>,
    pub long: bool,
    pub machine_is_mine: bool,
}

/// A fault, and what provokes it.
pub struct Fault {
    pub name: &'static str,
    pub what: &'static str,
    /// It is done to the whole machine.
    pub to_machine: bool,
    pub run: fn(&Faults) -> Result<FaultReport>,
}

/// What came of it.
pub struct FaultReport {
    /// What flowtop did, as a sentence.
    pub happened: String,
    /// Bytes that are in no number it gave.
    pub lost: i128,
    /// Where a person or a program reads of it.
    pub message: String,
}

/// The faults of a module, named after their functions.
macro_rules! faults {
    ($to_machine:literal, $($what:literal => $name:ident),* $(,)?) => {
        pub const FAULTS: &[crate::faults::Fault] = &[$(crate::faults::Fault {
            name: stringify!($name),
            what: $what,
            to_machine: $to_machine,
            run: $name,
        }),*];
    };
}
mod audit;
mod filter;
mod kernel;
mod machine;
mod output;
mod time;

fn all() -> impl Iterator<Item = &'static Fault> {
    [
        kernel::FAULTS,
        filter::FAULTS,
        output::FAULTS,
        time::FAULTS,
        audit::FAULTS,
        machine::FAULTS,
    ]
    .into_iter()
    .flatten()
}

/// `traffic faults`: true when nothing was lost in any of them.
pub fn faults(how: &Faults) -> Result<bool> {
    let _ = sys::lo_up(0);
    let wanted = |fault: &&Fault| {
        let named = how.globs.iter().any(|glob| matches(glob, fault.name));
        (how.globs.is_empty() || named) && (how.machine_is_mine || !fault.to_machine)
    };
    for glob in how.globs {
        let known = all().any(|fault| matches(glob, fault.name));
        ensure!(known, "no fault is called {glob}");
    }
    let kernel = sys::kernel_release();
    println!("kernel {kernel}");
    let (mut passed, mut failed, mut absent) = (0, 0, 0);
    for fault in all().filter(wanted) {
        let begun = Instant::now();
        let reported = (fault.run)(how);
        let took = begun.elapsed().as_millis();
        let (result, text) = match &reported {
            Ok(reported) if reported.lost == 0 => ("ok", reported.happened.clone()),
            Ok(reported) => (
                "FAIL",
                format!("{} bytes lost: {}", reported.lost, reported.happened),
            ),
            Err(error) if error.is::<OnMissing>() => ("absent", format!("{error:#}")),
            Err(error) => ("FAIL", format!("{error:#}")),
        };
        match result {
            "ok" => passed += 1,
            "absent" => absent += 1,
            _ => failed += 1,
        }
        println!("{result:7} {}: {text} ({took} ms)", fault.name);
        if let Some(file) = how.report {
            let line = json!({
                "kernel": kernel,
                "fault": fault.name,
                "what": fault.what,
                "result": result,
                "happened": text,
                "lost": reported.as_ref().ok().map(|reported| i64::try_from(reported.lost).unwrap_or(i64::MAX)),
                "said": reported.as_ref().map_or("", |reported| reported.message.as_str()),
            });
            let mut out = OpenOptions::new().create(true).append(true).open(file)?;
            writeln!(out, "{line}").context("report")?;
        }
    }
    println!("{absent} absent from this machine");
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

impl Faults<'_> {
    /// flowtop at such intervals, with more arguments.
    fn flowtop(&self, interval: f64, args: &[&str]) -> Result<Subject> {
        let args: Vec<String> = self
            .start
            .args
            .iter()
            .cloned()
            .chain(args.iter().map(|arg| (*arg).to_owned()))
            .collect();
        let start = Start {
            interval,
            args: &args,
            ..self.start
        };
        let subject = Subject::spawn(&start)?;
        if interval < 60.0 {
            subject.wait_for(1, PATIENCE)?;
        }
        Ok(subject)
    }

    /// flowtop that counts, all in one interval until it is stopped.
    fn one_interval(&self, args: &[&str]) -> Result<Subject> {
        let subject = self.flowtop(3600.0, args)?;
        let deadline = Instant::now() + PATIENCE;
        // It has begun to count when it has a thread that will end the interval.
        while !has_thread(subject.pid(), "collector") {
            ensure!(Instant::now() < deadline, "it does not begin");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(subject)
    }

    /// A time that shows something, or one that is as long as in life.
    fn seconds(&self, short: u64, long: u64) -> Duration {
        Duration::from_secs(if self.long { long } else { short })
    }

    /// A number that shows something, or one that is as large as in life.
    const fn number(&self, short: u32, long: u32) -> u32 {
        if self.long { long } else { short }
    }
}

/// flowtop beside a mixed load, while `meanwhile` happens to it.
fn beside(
    how: &Faults,
    interval: f64,
    meanwhile: impl FnOnce(&Subject) -> Result<()>,
) -> Result<(CaseTruth, AvailableColumns)> {
    let subject = how.flowtop(interval, &[])?;
    let load = Load::mixed(2, 5)?;
    // Some of it before, and some of it after.
    subject.wait_for(subject.intervals() + 2, PATIENCE)?;
    meanwhile(&subject)?;
    thread::sleep(Duration::from_millis(300));
    let truth = load.end()?;
    Ok((truth, subject.stop(PATIENCE)?))
}

/// Bytes that are missing; fails where anything is not as it was, per flow and process.
fn lost(truth: &CaseTruth, seen: &AvailableColumns) -> Result<i128> {
    let verdict = compare(truth, seen);
    let mut complaints = seen.complaints(false);
    complaints.extend(verdict.complaints);
    let sum = truth.totals();
    ensure!(
        sum.rx_bytes > 0 && sum.tx_bytes > 0,
        "the load moved nothing"
    );
    let some: Vec<_> = complaints.iter().take(5).cloned().collect();
    ensure!(
        complaints.is_empty(),
        "{} complaints: {}",
        complaints.len(),
        some.join("; ")
    );
    Ok(-verdict.diff)
}

/// How much was counted.
fn counted(truth: &CaseTruth, seen: &AvailableColumns) -> String {
    let sum = truth.totals();
    format!(
        "{} bytes of {} flows in {} intervals",
        sum.rx_bytes + sum.tx_bytes,
        truth.flows.len(),
        seen.intervals
    )
}

fn has_thread(pid: u32, name: &str) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let mut names = tasks.map(|task| std::fs::read_to_string(task.path().join("comm")));
    names.any(|comm| comm.is_ok_and(|comm| comm.trim_end() == name))
}
