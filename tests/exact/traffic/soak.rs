//! A long time of everything beside two flowtops, one that writes JSON and one on a terminal, whose
//! memory, descriptors, threads and processor time are sampled: all of it must stay as it is, and
//! every byte be counted.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::compare::compare;
use crate::load::Load;
use crate::proc::Taken;
use crate::subject::{Start, Subject, ended};
use crate::sys;
use crate::terminal::Terminal;

const PATIENCE: Duration = Duration::from_secs(300);
/// Samples that are taken in all.
const SAMPLES: u32 = 120;
/// Keys for the terminal, some before every sample: other groupings, orders, details, and back.
const KEYS: &[&str] = &[
    "\x07",
    "s",
    "\r",
    "\x1b",
    "t",
    "S",
    "/traffic\r",
    "\x1b",
    "u",
    "b",
    "\t",
    "x",
    "?",
    "\x1b",
];

/// What one flowtop took over time.
#[derive(Default)]
struct Course {
    samples: Vec<Taken>,
}

impl Course {
    /// The mean over a part of the time.
    fn mean(part: &[Taken], of: impl Fn(&Taken) -> f64) -> f64 {
        part.iter().map(of).sum::<f64>() / part.len().max(1) as f64
    }

    /// How the last quarter of the time compares with the second, when all had warmed up; what is
    /// not flat.
    fn complaints(&self, who: &str) -> Vec<String> {
        let n = self.samples.len();
        let (early, late) = (&self.samples[n / 4..n / 2], &self.samples[n - n / 4..]);
        let memory = [early, late].map(|part| Self::mean(part, |taken| taken.memory as f64));
        let cpu = [early, late].map(|part| {
            let (first, last) = (part.first(), part.last());
            let (first, last) = (
                first.map_or(0.0, |it| it.cpu),
                last.map_or(0.0, |it| it.cpu),
            );
            (last - first) / part.len().max(1) as f64
        });
        let most = |part: &[Taken], of: fn(&Taken) -> u64| part.iter().map(of).max().unwrap_or(0);
        let mut complaints = Vec::new();
        println!(
            "{who}: memory {:.1} then {:.1} MB, {} then {} descriptors, {} then {} threads, \
             {:.1} then {:.1} ms of processor time a sample",
            memory[0] / 1e6,
            memory[1] / 1e6,
            most(early, |taken| taken.files),
            most(late, |taken| taken.files),
            most(early, |taken| taken.threads),
            most(late, |taken| taken.threads),
            cpu[0] * 1e3,
            cpu[1] * 1e3
        );
        // A page here and there is no leak; a leak is more by an hour.
        if memory[1] > memory[0] * 1.05 + 2e6 {
            complaints.push(format!("{who}: its memory grows"));
        }
        if most(late, |taken| taken.files) > most(early, |taken| taken.files) {
            complaints.push(format!("{who}: its descriptors grow"));
        }
        if most(late, |taken| taken.threads) > most(early, |taken| taken.threads) {
            complaints.push(format!("{who}: its threads grow"));
        }
        // Of an emulated machine's time.
        if cpu[1] > cpu[0] * 1.5 + 0.02 {
            complaints.push(format!("{who}: it takes more and more processor time"));
        }
        complaints
    }
}

pub struct Soak<'a> {
    pub start: Start<'a>,
    pub seconds: u64,
    /// Milliseconds between two calls of a thread of the traffic.
    pub pause: u64,
    /// Where the samples are written.
    pub samples: Option<&'a Path>,
}

/// `traffic soak`: true when everything was flat, every byte was counted, and the audit found no
/// drift in any interval.
pub fn soak(how: &Soak) -> Result<bool> {
    let _ = sys::lo_up(0);
    let mut file = how.samples.map(File::create).transpose()?;
    let subject = Subject::start(&how.start, PATIENCE)?;
    let mut terminal = Terminal::start(how.start.flowtop, &["-i", "1"], false)?;
    let mut output = terminal.screen.try_clone()?;
    let reader = thread::spawn(move || {
        let mut buf = [0; 65_536];
        while output.read(&mut buf).is_ok_and(|n| n > 0) {}
    });
    let load = Load::mixed(3, how.pause)?;
    let mut courses = [Course::default(), Course::default()];
    let (begun, step) = (Instant::now(), Duration::from_secs(how.seconds) / SAMPLES);
    for n in 1..=SAMPLES {
        terminal.press(KEYS[n as usize % KEYS.len()])?;
        thread::sleep((step * n).saturating_sub(begun.elapsed()));
        for ((course, pid), who) in courses
            .iter_mut()
            .zip([subject.pid(), terminal.child.id()])
            .zip(["json", "table"])
        {
            let taken = Taken::of(pid).with_context(|| format!("flowtop ({who}) has ended"))?;
            course.samples.push(taken);
            if let Some(file) = &mut file {
                let line = json!({
                    "at": begun.elapsed().as_secs_f64(), "who": who, "memory": taken.memory,
                    "files": taken.files, "threads": taken.threads, "cpu": taken.cpu,
                });
                writeln!(file, "{line}")?;
            }
        }
    }
    let truth = load.end();
    let seen = subject.stop(PATIENCE)?;
    // Said even where the load failed and nothing can be compared: it took an hour.
    println!("audit: {:?}", seen.audit);
    let truth = truth?;
    terminal.press("\x1b\x1bq")?;
    let status = ended(&mut terminal.child, PATIENCE)?;
    drop(terminal);
    let _ = reader.join();
    let verdict = compare(&truth, &seen);
    let sum = truth.totals();
    println!(
        "kernel {}, backend {}: {} s, {} intervals, {} flows of {} processes, rx {} tx {} bytes, {} bytes lost",
        sys::kernel_release(),
        seen.backend,
        begun.elapsed().as_secs(),
        seen.intervals,
        truth.flows.len(),
        truth.owners.len(),
        sum.rx_bytes,
        sum.tx_bytes,
        -verdict.diff
    );
    let mut complaints = seen.complaints(false);
    complaints.extend(verdict.complaints);
    if !status.success() {
        complaints.push(format!("the live table ended with {status}"));
    }
    for (course, who) in courses.iter().zip(["json", "table"]) {
        complaints.extend(course.complaints(who));
    }
    complaints
        .iter()
        .take(20)
        .for_each(|complaint| println!("FAIL    {complaint}"));
    println!(
        "{}",
        if complaints.is_empty() {
            "passed"
        } else {
            "failed"
        }
    );
    Ok(complaints.is_empty())
}
