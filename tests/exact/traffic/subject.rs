//! The flowtop under test: started, waited for, stopped, and what it wrote added up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::audited::{Audited, AuditedInterval};
use crate::sys;

/// A flow of a process, as both sides write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowId {
    pub pid: u64,
    /// When the process began, in clock ticks after boot: a number is used again.
    pub start: u64,
    pub proto: String,
    pub local_addr: String,
    pub local_port: u64,
    pub remote_addr: String,
    pub remote_port: u64,
    pub netns: u64,
    pub ifindex: u64,
}

impl FlowId {
    pub fn parse(line: &Value) -> Result<Self> {
        Ok(Self {
            pid: number(line, "pid")?,
            start: line["start_ns"].as_u64().unwrap_or(0) / sys::NS_PER_TICK,
            proto: text(line, "proto")?,
            local_addr: text(line, "local_addr")?,
            local_port: number(line, "local_port")?,
            remote_addr: text(line, "remote_addr")?,
            remote_port: number(line, "remote_port")?,
            // An overflow row is of no single namespace.
            netns: match line["overflow"] == true {
                true => 0,
                false => number(line, "netns")?,
            },
            ifindex: line["ifindex"].as_u64().unwrap_or(0),
        })
    }
}

impl FlowId {
    /// The process: its number, and when it began.
    pub fn process(&self) -> (u64, u64) {
        (self.pid, self.start)
    }
}

impl std::fmt::Display for FlowId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            pid,
            start: _,
            proto,
            local_addr,
            local_port,
            remote_addr,
            remote_port,
            netns,
            ifindex,
        } = self;
        write!(
            f,
            "{pid} {proto} {local_addr}:{local_port} <-> {remote_addr}:{remote_port} in netns {netns}"
        )?;
        if *ifindex != 0 {
            write!(f, " on interface {ifindex}")?;
        }
        Ok(())
    }
}

/// A host name, and its origin.
pub type DnsName = (String, String);

/// Host name of a flow's peer, as both sides write it.
pub fn dns_name(line: &Value) -> Option<DnsName> {
    let text = |key: &str| line[key].as_str().map(str::to_owned);
    text("dns_name").zip(text("dns_name_origin"))
}

pub fn number(line: &Value, key: &str) -> Result<u64> {
    line[key]
        .as_u64()
        .with_context(|| format!("no number {key} in {line}"))
}

pub fn text(line: &Value, key: &str) -> Result<String> {
    Ok(line[key]
        .as_str()
        .with_context(|| format!("no text {key} in {line}"))?
        .to_owned())
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_msgs: u64,
    pub tx_msgs: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.rx_bytes += other.rx_bytes;
        self.tx_bytes += other.tx_bytes;
        self.rx_msgs += other.rx_msgs;
        self.tx_msgs += other.tx_msgs;
    }
}

/// Whose bytes they are: every value that was seen of a process.
#[derive(Default)]
pub struct Owner {
    pub comms: BTreeSet<String>,
    pub uids: BTreeSet<u64>,
    pub cgroups: BTreeSet<String>,
}

impl Owner {
    /// Says what of `shown` is not in this, the truth. An empty truth is one that is not known.
    pub fn complaints(&self, pid: u64, shown: &Self) -> Vec<String> {
        fn wrong<T: Ord + std::fmt::Debug>(
            what: &str,
            expected: &BTreeSet<T>,
            shown: &BTreeSet<T>,
        ) -> Option<String> {
            let wrong = shown.difference(expected).next()?;
            (!expected.is_empty())
                .then(|| format!("{what} {wrong:?}, expected one of {expected:?}"))
        }
        [
            wrong("comm", &self.comms, &shown.comms),
            wrong("uid", &self.uids, &shown.uids),
            wrong("cgroup", &self.cgroups, &shown.cgroups),
        ]
        .into_iter()
        .flatten()
        .map(|wrong| format!("pid {pid}: {wrong}"))
        .collect()
    }
}

/// Everything flowtop has written, added up.
#[derive(Default)]
pub struct AvailableColumns {
    pub intervals: u64,
    /// Their lengths, in seconds: all, and the longest.
    pub elapsed: f64,
    pub longest: f64,
    pub flow_lines: u64,
    pub backend: String,
    /// Why this backend, and what came of the filter.
    pub reason: String,
    pub unseen: BTreeSet<String>,
    /// Those of every single interval.
    unseen_always: BTreeSet<String>,
    /// Of the last interval.
    unseen_last: BTreeSet<String>,
    pub flows: BTreeMap<FlowId, Counts>,
    /// Of flows of UDP: packets received and sent; `None` where one line did not say.
    pub packets: BTreeMap<FlowId, Option<(u64, u64)>>,
    /// What flows were said to be resolved from, with the reason: every answer that was given.
    pub dns_names: BTreeMap<FlowId, BTreeSet<Option<DnsName>>>,
    /// What overflow rows hold, by process: a part of `flows`.
    pub overflow: BTreeMap<u64, Counts>,
    /// The processes that were named for a full flow table.
    pub full: BTreeSet<u64>,
    /// What is said of the processes, by number and start.
    pub owners: BTreeMap<(u64, u64), Owner>,
    /// The sums of the interval records.
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub untracked_rx: u64,
    pub untracked_tx: u64,
    pub missed: u64,
    pub audit: Audited,
    /// Every interval, in their order.
    pub course: Vec<AuditedInterval>,
    ended: bool,
    /// The first line that was not as agreed.
    pub broken: Option<String>,
}

impl AvailableColumns {
    fn take(&mut self, line: &str) -> Result<()> {
        let line: Value = serde_json::from_str(line).with_context(|| format!("line {line:?}"))?;
        match line["type"].as_str() {
            Some("interval") => {
                self.intervals += 1;
                let length = line["seconds"].as_f64().context("no number seconds")?;
                self.elapsed += length;
                self.longest = self.longest.max(length);
                self.rx_bytes += number(&line, "rx_bytes")?;
                self.tx_bytes += number(&line, "tx_bytes")?;
                self.untracked_rx += number(&line, "untracked_rx_bytes")?;
                self.untracked_tx += number(&line, "untracked_tx_bytes")?;
                self.full.extend(line["full_pid"].as_u64());
                // Absent where the kernel does not count them.
                self.missed += line["missed_events"].as_u64().unwrap_or(0);
                if !line["audit"].is_null() {
                    self.audit.take(&line["audit"])?;
                }
                self.course.push(AuditedInterval::parse(&line)?);
                self.backend = text(&line, "backend")?;
                self.reason = text(&line, "reason")?;
                let unseen = line["unseen"].as_array().context("no list unseen")?;
                let unseen = unseen.iter().filter_map(Value::as_str).map(str::to_owned);
                self.unseen_last = unseen.collect();
                self.unseen.extend(self.unseen_last.iter().cloned());
                match self.intervals {
                    1 => self.unseen_always = self.unseen_last.clone(),
                    _ => (self.unseen_always).retain(|path| self.unseen_last.contains(path)),
                }
            }
            Some("flow") => {
                self.flow_lines += 1;
                let id = FlowId::parse(&line)?;
                let owner = self.owners.entry(id.process()).or_default();
                owner.comms.insert(text(&line, "process")?);
                owner.uids.insert(number(&line, "uid")?);
                owner.cgroups.insert(text(&line, "cgroup")?);
                if id.proto == "udp" {
                    let now = line["rx_packets"].as_u64().zip(line["tx_packets"].as_u64());
                    let sum = self.packets.entry(id.clone()).or_insert(Some((0, 0)));
                    *sum = sum
                        .zip(now)
                        .map(|(sum, now)| (sum.0 + now.0, sum.1 + now.1));
                }
                let counts = Counts {
                    rx_bytes: number(&line, "rx_bytes")?,
                    tx_bytes: number(&line, "tx_bytes")?,
                    rx_msgs: number(&line, "rx_msgs")?,
                    tx_msgs: number(&line, "tx_msgs")?,
                };
                if line["overflow"] == true {
                    self.overflow.entry(id.pid).or_default().add(&counts);
                }
                let names = self.dns_names.entry(id.clone()).or_default();
                names.insert(dns_name(&line));
                self.flows.entry(id).or_default().add(&counts);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether this path was seen, but for some events, which count as missed.
    pub fn is_seen_with_misses(&self, path: &str) -> bool {
        self.missed > 0 && self.unseen.contains(path) && !self.unseen_always.contains(path)
    }

    /// What is wrong with the output as a whole, whatever the cases were.
    pub fn complaints(&self, missed_allowed: bool) -> Vec<String> {
        let mut out = Vec::new();
        out.extend(self.broken.clone());
        if self.untracked_rx + self.untracked_tx > 0 {
            out.push(format!(
                "untracked bytes: rx {} tx {}",
                self.untracked_rx, self.untracked_tx
            ));
        }
        if self.missed > 0 && !missed_allowed {
            out.push(format!("missed events: {}", self.missed));
        }
        if !missed_allowed {
            out.extend(self.audit.complaints());
        }
        let mut sum = Counts::default();
        self.flows.values().for_each(|c| sum.add(c));
        if (sum.rx_bytes, sum.tx_bytes) != (self.rx_bytes, self.tx_bytes) {
            out.push(format!(
                "the intervals sum up to rx {} tx {}, their flows to rx {} tx {}",
                self.rx_bytes, self.tx_bytes, sum.rx_bytes, sum.tx_bytes
            ));
        }
        out
    }
}

type Shared = Arc<(Mutex<AvailableColumns>, Condvar)>;

pub struct Subject {
    child: Child,
    shared: Shared,
    reader: JoinHandle<()>,
}

/// How to start flowtop.
pub struct Start<'a> {
    pub flowtop: &'a Path,
    pub backend: Option<&'a str>,
    pub interval: f64,
    pub args: &'a [String],
}

fn lock(shared: &Shared) -> MutexGuard<'_, AvailableColumns> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Subject {
    /// Starts flowtop and waits until it has written its first interval: from there on it counts.
    pub fn start(how: &Start, patience: Duration) -> Result<Self> {
        let subject = Self::spawn(how)?;
        subject
            .wait_for(1, patience)
            .context("waiting for the first interval")?;
        Ok(subject)
    }

    /// Starts flowtop as a child process.
    pub fn spawn(how: &Start) -> Result<Self> {
        let mut cmd = Command::new(how.flowtop);
        cmd.args(["--json", "-n", "0", "-i", &how.interval.to_string()]);
        if let Some(b) = how.backend {
            cmd.args(["--backend", b]);
        }
        cmd.args(how.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = cmd
            .spawn()
            .with_context(|| format!("start {}", how.flowtop.display()))?;
        let out = child.stdout.take().context("no stdout")?;
        let shared = Shared::default();
        let mine = Arc::clone(&shared);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let taken = line.context("stdout").and_then(|l| lock(&mine).take(&l));
                if let Err(e) = taken {
                    lock(&mine).broken.get_or_insert(format!("{e:#}"));
                }
                mine.1.notify_all();
            }
            lock(&mine).ended = true;
            mine.1.notify_all();
        });
        Ok(Self {
            child,
            shared,
            reader,
        })
    }

    /// Waits until `intervals` interval records are there.
    pub fn wait_for(&self, intervals: u64, patience: Duration) -> Result<()> {
        self.wait_until(patience, |seen| seen.intervals >= intervals)
            .with_context(|| format!("waiting for {intervals} intervals"))
    }

    /// Waits until the last interval has `path` among what it cannot see, or until it has not.
    pub fn wait_for_unseen(&self, path: &str, has: bool, patience: Duration) -> Result<()> {
        self.wait_until(patience, |seen| seen.unseen_last.contains(path) == has)
            .with_context(|| format!("waiting for {path} in `unseen`: {has}"))
    }

    fn wait_until(
        &self,
        patience: Duration,
        is_there: impl Fn(&AvailableColumns) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut seen = lock(&self.shared);
        while !is_there(&seen) {
            ensure!(
                !seen.ended,
                "flowtop ended by itself after {} intervals",
                seen.intervals
            );
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(
                !left.is_zero(),
                "{} intervals, and it is not there",
                seen.intervals
            );
            let waited = self.shared.1.wait_timeout(seen, left);
            seen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Keeps its output from being read until this is dropped.
    pub fn hold(&self) -> impl Sized + '_ {
        lock(&self.shared)
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: kill has no memory arguments; the child is not yet reaped, so the pid is its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Stops it, and returns when every thread stands still.
    pub fn freeze(&self, patience: Duration) -> Result<()> {
        self.signal(libc::SIGSTOP);
        let start = Instant::now();
        let tasks = format!("/proc/{}/task", self.child.id());
        let is_still = |task: &Path| {
            let stat = fs::read_to_string(task.join("stat"));
            stat.is_ok_and(|stat| stat.contains(") T "))
        };
        loop {
            let mut tasks = fs::read_dir(&tasks)?;
            if tasks.all(|task| task.is_ok_and(|task| is_still(&task.path()))) {
                return Ok(());
            }
            ensure!(start.elapsed() < patience, "it does not stop");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the flow table was full in any interval that has ended.
    pub fn has_full_table(&self) -> bool {
        !lock(&self.shared).full.is_empty()
    }

    pub fn intervals(&self) -> u64 {
        lock(&self.shared).intervals
    }

    /// Calls that the kernel says were missed so far.
    pub fn missed(&self) -> u64 {
        lock(&self.shared).missed
    }

    fn interrupt(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(libc::SIGINT);
        ended(&mut self.child, patience).context("after SIGINT")
    }

    /// Sends SIGINT, reads to the end, and hands over everything that was written.
    pub fn stop(mut self, patience: Duration) -> Result<AvailableColumns> {
        let status = self.interrupt(patience);
        self.reader.join().ok().context("reader")?;
        let status = status?;
        let seen = std::mem::take(&mut *lock(&self.shared));
        ensure!(status.success(), "flowtop ended with {status}");
        Ok(seen)
    }
}

/// Waits until a process has ended; one that does not is killed.
pub fn ended(child: &mut Child, patience: Duration) -> Result<ExitStatus> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    child.wait()?;
    bail!("flowtop did not end within {patience:?}");
}
