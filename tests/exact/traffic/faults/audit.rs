//! Bytes that flowtop's probes do not see: the audit finds each of them, and names the connection
//! soon.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;

use super::{FaultReport, Faults, PATIENCE};
use crate::cases::OnMissing;
use crate::subject::{AvailableColumns, Counts, FlowId, Subject};

faults! { true,
    "kprobes are switched off while flowtop counts by them" => kprobes_off_meanwhile,
    "kprobes are switched off under connections that never rest" => kprobes_off_under_load,
    "the kernel skips fentry programs, because it preempts others of them" => fentry_preempted,
}

const KPROBES: &str = "/sys/kernel/debug/kprobes/enabled";
const PREEMPTION: &str = "/sys/kernel/debug/sched/preempt";
/// Seconds. Longer than an emulated machine of a busy host may keep a drain waiting.
const INTERVAL: f64 = 0.5;
/// Intervals after the one with the loss, until a connection has to be named.
const NAMED_WITHIN: usize = 2;
/// Intervals after which the size of the drift is known too.
const SETTLED: u64 = 4;
/// What a person or a program reads of it.
const SAID: &str = "`audit`: `drift_rx_bytes`, `drift_tx_bytes`, `worst`; with text, on standard error, `!!! DRIFT`";

/// A switch of the kernel's, set back in the end.
struct Switch {
    path: &'static str,
    before: &'static str,
}

impl Switch {
    fn set(path: &'static str, value: &str, before: &'static str) -> Result<Self> {
        fs::write(path, value).with_context(|| format!("write {path}"))?;
        Ok(Self { path, before })
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = fs::write(self.path, self.before);
    }
}

fn absent_without(path: &str) -> Result<()> {
    if !Path::new(path).exists() {
        return Err(OnMissing(format!("there is no {path}")).into());
    }
    Ok(())
}

fn connection() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}

fn port(end: &TcpStream) -> Result<u64> {
    Ok(end.local_addr()?.port().into())
}

fn two_more(subject: &Subject) -> Result<()> {
    subject.wait_for(subject.intervals() + 2, PATIENCE)
}

/// How many intervals lie between the one in which enough was lost, `lost`, and the first that
/// names one of these ports. Losing began at `began`: what is named in between is named early, and
/// before that wrongly.
fn named_after(
    seen: &AvailableColumns,
    began: Timestamp,
    lost: Timestamp,
    ports: &[u64],
) -> Result<usize> {
    let intervals = || seen.course.iter();
    // As precise as the ends of intervals are.
    let interval_of = |time: Timestamp| {
        let time = time.as_millisecond();
        let found = intervals().position(|it| it.end.as_millisecond() >= time);
        found.context("no interval ended later")
    };
    let (began, lost) = (interval_of(began)?, interval_of(lost)?);
    let is_one = |named: [u64; 2]| named.iter().any(|port| ports.contains(port));
    let named = intervals().position(|it| it.named.is_some_and(is_one));
    let named = named.with_context(|| format!("none of {ports:?} is named: {:?}", seen.audit))?;
    ensure!(
        named >= began,
        "named in interval {named}, and nothing was lost before {began}"
    );
    let after = named.saturating_sub(lost);
    ensure!(
        after <= NAMED_WITHIN,
        "lost in interval {lost}, and named in {named} only"
    );
    Ok(after)
}

/// Nothing in the kernel counts what is lost then: only the audit finds it.
fn kprobes_off_meanwhile(how: &Faults) -> Result<FaultReport> {
    const LOST: usize = 54_321;
    absent_without(KPROBES)?;
    let subject = how.flowtop(INTERVAL, &["--backend", "kprobe"])?;
    let (client, server) = connection()?;
    let transfer = |bytes: usize| -> Result<()> {
        (&client).write_all(&vec![7; bytes])?;
        Ok((&server).read_exact(&mut vec![0; bytes])?)
    };
    transfer(1000)?;
    two_more(&subject)?;
    let began = Timestamp::now();
    let off = Switch::set(KPROBES, "0", "1")?;
    transfer(LOST)?;
    let lost_at = Timestamp::now();
    drop(off);
    subject.wait_for(subject.intervals() + SETTLED, PATIENCE)?;
    let seen = subject.stop(PATIENCE)?;
    let after = named_after(&seen, began, lost_at, &[port(&client)?])?;
    ensure!(
        seen.missed == 0,
        "the kernel counted {} misses",
        seen.missed
    );
    let found = i128::from(seen.audit.drift_rx + seen.audit.drift_tx);
    Ok(FaultReport {
        happened: format!(
            "{found} bytes of drift; the connection is named {after} intervals later"
        ),
        lost: 2 * LOST as i128 - found,
        message: SAID.to_owned(),
    })
}

/// Connections that move bytes all the time, by calls of one size: a thread writes, another reads.
struct Busy {
    pairs: Vec<(TcpStream, TcpStream)>,
    is_over: AtomicBool,
}

impl Busy {
    const CALL: usize = 64;

    /// They rest until flowtop has read them: what moves meanwhile could be missed for good.
    fn new(pairs: usize, subject: &Subject) -> Result<Self> {
        let pairs: Vec<_> = (0..pairs).map(|_| connection()).collect::<Result<_>>()?;
        for (client, server) in &pairs {
            Self::transfer(client, server)?;
        }
        subject.wait_for(subject.intervals() + SETTLED, PATIENCE)?;
        Ok(Self {
            pairs,
            is_over: AtomicBool::new(false),
        })
    }

    fn transfer(mut from: &TcpStream, mut to: &TcpStream) -> Result<()> {
        from.write_all(&[7; Self::CALL])?;
        Ok(to.read_exact(&mut [0; Self::CALL])?)
    }

    fn write(&self, mut to: &TcpStream) -> Result<u64> {
        let mut written = 0;
        while !self.is_over.load(Relaxed) {
            to.write_all(&[7; Self::CALL])?;
            written += Self::CALL as u64;
        }
        to.shutdown(Shutdown::Write)?;
        Ok(written)
    }

    fn read(mut from: &TcpStream) -> u64 {
        let mut read = 0;
        while from.read_exact(&mut [0; Self::CALL]).is_ok() {
            read += Self::CALL as u64;
        }
        read
    }

    /// Moves bytes as fast as it can while `meanwhile` runs, then no more. Returns how many each
    /// pair moved since it began.
    fn run(&self, meanwhile: impl FnOnce() -> Result<()>) -> Result<Vec<u64>> {
        thread::scope(|scope| {
            let ends = self.pairs.iter();
            let threads: Vec<_> = ends
                .map(|(client, server)| {
                    let reader = scope.spawn(move || Self::read(server));
                    (scope.spawn(move || self.write(client)), reader)
                })
                .collect();
            let happened = meanwhile();
            self.is_over.store(true, Relaxed);
            let mut moved = Vec::new();
            for (writer, reader) in threads {
                let (written, read) = (writer.join(), reader.join());
                let (written, read) = (written.expect("writer")?, read.expect("reader"));
                ensure!(written == read, "{written} bytes written, {read} read");
                moved.push(Self::CALL as u64 + written);
            }
            happened.map(|()| moved)
        })
    }

    /// Ports of both ends of all of them.
    fn ports(&self) -> Result<Vec<u64>> {
        let ends = self.pairs.iter().flat_map(|(one, other)| [one, other]);
        ends.map(port).collect()
    }

    /// Fails unless drift is what calls moved and no flow has, each way. Returns how much that is.
    fn is_drift_what_was_lost(&self, moved: &[u64], seen: &AvailableColumns) -> Result<i64> {
        let me = u64::from(std::process::id());
        let counted = |end: &TcpStream| -> Result<Counts> {
            let (mut sum, port) = (Counts::default(), port(end)?);
            let mine = |id: &&FlowId| id.pid == me && id.local_port == port;
            let flows = seen.flows.iter().filter(|(id, _)| mine(id));
            flows.for_each(|(_, counts)| sum.add(counts));
            Ok(sum)
        };
        let lost = |moved: u64, counted: u64| moved as i64 - counted as i64;
        let (mut all, mut each) = ((0, 0), Vec::new());
        for ((client, server), &moved) in self.pairs.iter().zip(moved) {
            let rx = lost(moved, counted(server)?.rx_bytes);
            let tx = lost(moved, counted(client)?.tx_bytes);
            all = (all.0 + rx, all.1 + tx);
            each.push((port(client)?, rx, tx));
        }
        ensure!(
            all == (seen.audit.drift_rx, seen.audit.drift_tx),
            "lost by the port of the client, received and sent: {each:?}; {:?}",
            seen.audit
        );
        ensure!(all.0 + all.1 > 0, "nothing was lost");
        Ok(all.0 + all.1)
    }
}

/// All calls of some intervals are lost, and nothing in the kernel counts them: a connection is
/// named while bytes move on.
fn kprobes_off_under_load(how: &Faults) -> Result<FaultReport> {
    absent_without(KPROBES)?;
    let subject = how.flowtop(INTERVAL, &["--backend", "kprobe"])?;
    let busy = Busy::new(2, &subject)?;
    // The kernel takes one probe after the other out, which an emulated machine needs intervals
    // for.
    let (mut began, mut lost_from) = <(Timestamp, Timestamp)>::default();
    let moved = busy.run(|| {
        two_more(&subject)?;
        began = Timestamp::now();
        let off = Switch::set(KPROBES, "0", "1")?;
        lost_from = Timestamp::now();
        subject.wait_for(subject.intervals() + SETTLED, PATIENCE)?;
        drop(off);
        two_more(&subject)
    })?;
    subject.wait_for(subject.intervals() + SETTLED, PATIENCE)?;
    let seen = subject.stop(PATIENCE)?;
    let lost = busy.is_drift_what_was_lost(&moved, &seen)?;
    let after = named_after(&seen, began, lost_from, &busy.ports()?)?;
    Ok(FaultReport {
        happened: format!(
            "{lost} bytes of drift are what was lost; a connection is named {after} intervals after the last probe went off"
        ),
        lost: 0,
        message: SAID.to_owned(),
    })
}

/// A part of all calls is lost, of which the kernel counts how many programs it skipped.
fn fentry_preempted(how: &Faults) -> Result<FaultReport> {
    /// Each has two directions of which calls can be lost.
    const PAIRS: u64 = 3;
    /// Of one direction, before it has to be named: four may be calls that are just returning, and
    /// some return between the reading of the socket and the flip.
    const CALLS: u64 = 40;
    const INTERVALS: u64 = 60;
    absent_without(PREEMPTION)?;
    let modes = fs::read_to_string(PREEMPTION).context(PREEMPTION)?;
    let before = modes
        .split(['(', ')'])
        .nth(1)
        .context("no mode of preemption")?;
    let before: &'static str = before.to_owned().leak();
    let _mode = Switch::set(PREEMPTION, "full", before)?;
    let subject = how.flowtop(INTERVAL, &["--backend", "fentry"])?;
    let busy = Busy::new(PAIRS as usize, &subject)?;
    let enough = PAIRS * 2 * CALLS;
    let began = Timestamp::now();
    let moved = busy.run(|| {
        let last = subject.intervals() + INTERVALS;
        while subject.missed() < enough && subject.intervals() < last {
            two_more(&subject)?;
        }
        two_more(&subject)?;
        two_more(&subject)
    })?;
    subject.wait_for(subject.intervals() + SETTLED, PATIENCE)?;
    let seen = subject.stop(PATIENCE)?;
    ensure!(
        seen.missed >= enough,
        "no more than {} calls were missed",
        seen.missed
    );
    let lost = busy.is_drift_what_was_lost(&moved, &seen)?;
    // So many that one direction has lost CALLS of them.
    let mut missed = 0;
    let certain = seen.course.iter().find(|interval| {
        missed += interval.missed;
        missed >= enough
    });
    let certain = certain.context("no interval with so many")?.end;
    let after = named_after(&seen, began, certain, &busy.ports()?)?;
    Ok(FaultReport {
        happened: format!(
            "{} calls were missed, {lost} bytes of drift are what was lost; a connection is named {after} intervals \
             after {enough} calls",
            seen.missed
        ),
        lost: 0,
        message: format!("`missed_events`; {SAID}"),
    })
}
