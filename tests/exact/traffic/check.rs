//! Runs cases, each in a process of its own, and holds flowtop to what they returned.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::cases::{self, Case};
use crate::compare::{CaseTruth, Verdict, compare};
use crate::net::Link;
use crate::proc;
use crate::subject::{AvailableColumns, Start, Subject};
use crate::sys;

/// A case after it ran.
struct Ran {
    case: &'static Case,
    truth: CaseTruth,
    took: Duration,
}

/// `*` stands for any text.
pub fn matches(glob: &str, name: &str) -> bool {
    match glob.split_once('*') {
        None => glob == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|tail| {
            (0..=tail.len()).any(|i| tail.is_char_boundary(i) && matches(rest, &tail[i..]))
        }),
    }
}

/// The cases that one of the globs names; all when there is none.
pub fn select(globs: &[String]) -> Result<Vec<&'static Case>> {
    for g in globs {
        anyhow::ensure!(
            cases::all().any(|c| matches(g, c.name)),
            "no case is called {g}"
        );
    }
    Ok(cases::all()
        .filter(|c| globs.is_empty() || globs.iter().any(|g| matches(g, c.name)))
        .collect())
}

/// Before and after a case's own watchdog.
const SHORTLY: Duration = Duration::from_secs(5);

/// Runs this program's `case` subcommand and collects what its processes say.
fn run_case(name: &str, timeout: u32, link: Option<&Link>) -> Result<CaseTruth> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["case", name, &timeout.to_string()])
        .envs(link.map(|link| (Link::VARIABLE, link.describe())))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("start the case")?;
    let mut out = child.stdout.take().context("no stdout")?;
    let (done, wait) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut all = String::new();
        let read = out.read_to_string(&mut all);
        let _ = done.send(());
        read.map(|_| all)
    });
    // The case has a watchdog of its own: just before, one can see what it waits in. The second is
    // for what it may leave behind.
    let watchdog = Duration::from_secs(timeout.into());
    let before = watchdog.saturating_sub(SHORTLY);
    let stuck = wait
        .recv_timeout(before)
        .is_err()
        .then(|| proc::tree(child.id()));
    let late = stuck.is_some() && wait.recv_timeout(watchdog - before + SHORTLY).is_err();
    // SAFETY: kill has no memory arguments; the group's leader is not yet reaped.
    unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
    let status = child.wait()?;
    let mut truth = CaseTruth::default();
    for line in reader.join().ok().context("reader")??.lines() {
        if let Err(e) = truth.take(line) {
            truth.errors.push(format!("{e:#} in {line:?}"));
        }
    }
    let is_explained = truth.absent.is_some() || !truth.errors.is_empty();
    if late {
        truth.errors.push("the case did not end in time".into());
    } else if !status.success() && !is_explained {
        truth.errors.push(format!("the case ended with {status}"));
    }
    if let (Some(stuck), false) = (stuck, truth.errors.is_empty()) {
        truth.errors.push(format!("it waited in\n{stuck}"));
    }
    if truth.absent.is_none() && truth.errors.is_empty() {
        truth.errors = truth.inconsistencies();
    }
    Ok(truth)
}

/// `traffic run`: prints the truth, and says on stderr which cases are broken.
pub fn run(names: &[String], timeout: u32) -> Result<bool> {
    let mut good = true;
    for case in select(names)? {
        let begun = Instant::now();
        let truth = run_case(case.name, timeout, None)?;
        let took = begun.elapsed().as_millis();
        for (id, flow) in &truth.flows {
            let line = json!({
                "case": case.name, "pid": id.pid, "process": truth.comm(id.pid), "proto": id.proto,
                "local_addr": id.local_addr, "local_port": id.local_port,
                "remote_addr": id.remote_addr, "remote_port": id.remote_port,
                "rx_bytes": flow.counts.rx_bytes, "tx_bytes": flow.counts.tx_bytes,
                "rx_msgs": flow.counts.rx_msgs, "tx_msgs": flow.counts.tx_msgs,
            });
            println!("{line}");
        }
        if let Some(why) = &truth.absent {
            eprintln!("absent  {} ({why})", case.name);
        } else if truth.errors.is_empty() {
            let sum = truth.totals();
            eprintln!(
                "ok      {} rx {} tx {} {took} ms",
                case.name, sum.rx_bytes, sum.tx_bytes
            );
        } else {
            good = false;
            eprintln!("BROKEN  {}: {}", case.name, truth.errors.join("; "));
        }
    }
    Ok(good)
}

pub struct Check<'a> {
    pub start: Start<'a>,
    pub globs: &'a [String],
    pub timeout: u32,
    pub report: Option<&'a Path>,
    /// Events may be missed, all of which must be said.
    pub may_miss: bool,
}

/// `traffic check`: true when flowtop saw every case to the byte.
pub fn check(how: &Check) -> Result<bool> {
    // A machine that has just booted may not have it up.
    let _ = sys::lo_up(0);
    let selected = select(how.globs)?;
    let is_scenario = |case: &Case| cases::SCENARIOS.iter().any(|it| it.name == case.name);
    // One for all: a network namespace takes an emulated machine half a second.
    let link = match selected.iter().any(|case| is_scenario(case)) {
        true => Link::new().ok(),
        false => None,
    };
    let patience = Duration::from_secs(u64::from(how.timeout) * 3);
    let subject = Subject::start(&how.start, patience)?;
    let mut ran = Vec::new();
    for case in selected {
        let begun = Instant::now();
        let truth = run_case(case.name, how.timeout, link.as_ref())?;
        ran.push(Ran {
            case,
            truth,
            took: begun.elapsed(),
        });
    }
    let seen = subject.stop(patience)?;
    let kernel = sys::kernel_release();
    println!(
        "kernel {kernel}, backend {}, {} intervals",
        seen.backend, seen.intervals
    );
    println!("audit: {:?}", seen.audit);
    let (mut passed, mut failed, mut absent, mut unseen) = (0, 0, 0, 0);
    // What flowtop said it missed, less what cases have missed so far.
    let mut admitted = if how.may_miss { seen.missed } else { 0 };
    for r in &ran {
        let verdict = compare(&r.truth, &seen);
        let result = print(r, &verdict, admitted);
        if result == "missed" {
            admitted -= verdict.missing;
        }
        match result {
            "FAIL" => failed += 1,
            "absent" => absent += 1,
            "unseen" => unseen += 1,
            _ => passed += 1,
        }
        if let Some(file) = how.report {
            record(file, &kernel, &seen, r, &verdict, result)?;
        }
    }
    let whole = seen.complaints(how.may_miss);
    if !whole.is_empty() {
        failed += 1;
        println!("FAIL    the output as a whole");
        whole.iter().for_each(|c| println!("          {c}"));
    }
    println!("{absent} absent from this kernel, {unseen} on paths declared unseen");
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// One line for a case, more when it failed; returns the result's name. `admitted` events may be
/// missing.
fn print(r: &Ran, v: &Verdict, admitted: u64) -> &'static str {
    let (name, ms, sum) = (r.case.name, r.took.as_millis(), r.truth.totals());
    let numbers = format!(
        "rx {} tx {} in {} flows, {ms} ms",
        sum.rx_bytes,
        sum.tx_bytes,
        r.truth.flows.len()
    );
    if let (Some(why), []) = (&r.truth.absent, v.complaints.as_slice()) {
        println!("absent  {name}: {why}");
        return "absent";
    }
    if v.missing > 0 && v.missing <= admitted && !v.wrong && r.truth.errors.is_empty() {
        println!(
            "missed  {name}: {} events, and it was said ({numbers})",
            v.missing
        );
        return "missed";
    }
    if !r.truth.errors.is_empty() || !v.complaints.is_empty() {
        println!("FAIL    {name}: {numbers} ({})", r.case.trap);
        if v.missing > 0 {
            println!("          {} events missed, {admitted} reported", v.missing);
        }
        let all = r.truth.errors.iter().chain(&v.complaints);
        let (shown, more) = (20, r.truth.errors.len() + v.complaints.len());
        all.take(shown).for_each(|c| println!("          {c}"));
        if more > shown {
            println!("          and {} more", more - shown);
        }
        return "FAIL";
    }
    if !v.unseen.is_empty() {
        let paths: Vec<_> = v.unseen.iter().map(String::as_str).collect();
        println!("unseen  {name}: {} ({numbers})", paths.join(", "));
        return "unseen";
    }
    println!("ok      {name}: {numbers}");
    "ok"
}

fn record(
    file: &Path,
    kernel: &str,
    seen: &AvailableColumns,
    r: &Ran,
    v: &Verdict,
    result: &str,
) -> Result<()> {
    let sum = r.truth.totals();
    let line = json!({
        "kernel": kernel,
        "backend": seen.backend,
        "case": r.case.name,
        "result": result,
        "rx": sum.rx_bytes,
        "tx": sum.tx_bytes,
        "diff": i64::try_from(v.diff).unwrap_or(i64::MAX),
        "why": r.truth.absent,
    });
    let mut out = OpenOptions::new().create(true).append(true).open(file)?;
    writeln!(out, "{line}").context("report")
}
