//! Reads one recording: the record of an interval, then as many flows as that record announces.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::decode::{self, RecordKind, json};
use super::input::{Recording, Stop};
use super::lines::{LineState, Lines};
use super::recorded_zones::RecordedZones;
use super::schema::{FlowRecord, IntervalRecord};
use super::{CorruptRecording, MAX_FLOWS, MAX_LINE, MAX_SUM};
use crate::model::flow::{Counters, Flow, FlowKey, Owner};
use crate::model::interval::{Interval, Machine, Method, RecordingMetadata};
use crate::text::sanitize::sanitize;

/// Processes whose owners are shared between flows; owners beyond that are held once per flow.
const MAX_OWNERS: usize = 1 << 16;
/// Users whose names are remembered.
pub(crate) const MAX_USERS: usize = 1 << 16;
/// Network namespaces whose names are remembered, as many as of this machine.
const MAX_NAMESPACES: usize = 4096;
/// Most bytes that the names of an interval's cgroups and users may take, each counted once. Real
/// machines have some thousand cgroups with paths of some hundred bytes.
pub(super) const MAX_NAMES: usize = 16 << 20;

/// An interval of a recording, with its metadata.
#[derive(Clone, Debug)]
pub struct RecordedInterval {
    pub interval: Interval,
    /// Metadata of the interval: only users whose names no earlier interval has.
    pub metadata: RecordingMetadata,
    /// Bytes of names in the interval: see [`MAX_NAMES`].
    names: usize,
}

impl RecordedInterval {
    /// Whether `next` can be joined to this interval: the sum may exceed the wanted length by half
    /// of `next` at most.
    pub(crate) fn can_take(&self, next: &Self, expected: Duration) -> bool {
        let length = self.interval.elapsed + next.interval.elapsed / 2;
        let flows = self.interval.flows.len() + next.interval.flows.len();
        let metadata = |frame: &Self| {
            (
                frame.metadata.machine.clone(),
                frame.metadata.filter.clone(),
            )
        };
        length <= expected
            && flows <= MAX_FLOWS
            && self.names + next.names <= MAX_NAMES
            && self.metadata.users.len() + next.metadata.users.len() <= MAX_USERS
            && self.metadata.namespaces.len() + next.metadata.namespaces.len() <= MAX_USERS
            && self.metadata.own.len() + next.metadata.own.len() <= MAX_OWNERS
            && self.interval.method == next.interval.method
            && metadata(self) == metadata(next)
    }

    pub(crate) fn append(&mut self, next: Self) {
        self.interval.merge(next.interval);
        self.names += next.names;
        self.metadata.users.extend(next.metadata.users);
        self.metadata.namespaces.extend(next.metadata.namespaces);
        self.metadata.own.extend(next.metadata.own);
    }
}

/// Length of one or more recordings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordingLength {
    pub intervals: u64,
    pub elapsed: Duration,
}

/// Sums over all intervals so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RecordedSums {
    moved: u64,
    msgs: u64,
    packets: u64,
    missed: u64,
    elapsed: Duration,
}

impl RecordedSums {
    /// Adds an interval; fails if a sum exceeds its bound.
    fn add(&mut self, interval: &Interval) -> Option<Counters> {
        let add = |sum: &mut u64, more: u64| {
            *sum = sum.checked_add(more).filter(|&sum| sum <= MAX_SUM)?;
            Some(())
        };
        let untracked = interval.losses.untracked;
        for counters in interval
            .flows
            .iter()
            .map(|flow| &flow.counters)
            .chain([&untracked])
        {
            for bytes in [counters.rx_bytes, counters.tx_bytes] {
                add(&mut self.moved, bytes)?;
            }
            for msgs in [counters.rx_msgs, counters.tx_msgs] {
                add(&mut self.msgs, msgs)?;
            }
        }
        for packets in interval.flows.iter().filter_map(|flow| flow.packets) {
            add(&mut self.packets, packets.rx)?;
            add(&mut self.packets, packets.tx)?;
        }
        add(&mut self.missed, interval.losses.missed_events)?;
        self.elapsed = self.elapsed.checked_add(interval.elapsed)?;
        Some(interval.total())
    }
}

/// The record of an interval whose flows are not all read yet.
struct PartialInterval {
    frame: RecordedInterval,
    expected_flows: usize,
    indices: HashMap<FlowKey, usize>,
    total: (u64, u64),
    read: usize,
}

pub struct RecordingReader {
    file: PathBuf,
    lines: Lines,
    line: Vec<u8>,
    at: u64,
    intervals: u64,
    method: Arc<Method>,
    users: HashMap<u32, Arc<str>>,
    namespaces: HashMap<u32, Arc<str>>,
    owners: HashMap<(u32, u32), Arc<Owner>>,
    zones: RecordedZones,
    /// Bytes of cgroup names that the owners hold.
    owners_names: usize,
    partial: Option<PartialInterval>,
    /// Sums of this recording, if it is read by itself.
    sums: RecordedSums,
}

impl std::fmt::Debug for RecordingReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Reader");
        shown
            .field("file", &self.file)
            .field("line", &self.at)
            .finish_non_exhaustive()
    }
}

impl RecordingReader {
    pub(crate) fn open(file: &Recording, stop: &Stop) -> io::Result<Self> {
        let mut reader = Self::with(&file.name, Lines::new(file.input(stop)?)?);
        reader.zones.table = file.zones();
        Ok(reader)
    }

    /// Opens a recording of this name.
    ///
    /// # Errors
    /// When its beginning cannot be read.
    pub fn new(name: &Path, input: Box<dyn io::Read + Send>) -> io::Result<Self> {
        Ok(Self::with(name, Lines::new(input)?))
    }

    fn with(file: &Path, lines: Lines) -> Self {
        Self {
            file: file.to_owned(),
            lines,
            line: Vec::new(),
            at: 0,
            intervals: 0,
            method: Arc::default(),
            users: HashMap::new(),
            namespaces: HashMap::new(),
            owners: HashMap::new(),
            zones: RecordedZones::default(),
            owners_names: 0,
            partial: None,
            sums: RecordedSums::default(),
        }
    }

    /// Returns the next interval of one of several recordings; after an error the recording has
    /// ended.
    pub(crate) fn read_next(
        &mut self,
        sums: &mut RecordedSums,
    ) -> Option<Result<RecordedInterval, CorruptRecording>> {
        match self.read(sums) {
            Ok(frame) => frame.map(|frame| {
                self.intervals += 1;
                Ok(frame)
            }),
            Err(what) => Some(Err(self.corruption(what))),
        }
    }

    fn corruption(&self, what: String) -> CorruptRecording {
        CorruptRecording {
            file: self.file.clone(),
            line: self.at,
            what,
            intervals: self.intervals,
        }
    }

    /// Reads the next line, if there is one.
    fn take(&mut self) -> Result<bool, String> {
        self.at += 1;
        let line = self.lines.next(&mut self.line);
        match line.map_err(|error| unreadable(&error))? {
            LineState::Whole => Ok(true),
            LineState::End => Ok(false),
            LineState::TooLong => Err(format!("the line is longer than {MAX_LINE} bytes")),
            // The line may be cut off, or may never have been a record.
            LineState::Open if RecordKind::of(&self.line).is_ok() || self.line[0] != b'{' => {
                Ok(true)
            }
            LineState::Open => Err("the last line is cut off".to_owned()),
        }
    }

    fn read(&mut self, sums: &mut RecordedSums) -> Result<Option<RecordedInterval>, String> {
        loop {
            if let Some(begun) = self
                .partial
                .take_if(|begun| begun.read == begun.expected_flows)
            {
                return finished(begun, sums).map(Some);
            }
            if !self.take()? {
                return match &self.partial {
                    None => Ok(None),
                    Some(begun) => Err(format!(
                        "the recording is cut off: {} of the last interval's {} flows are there",
                        begun.read, begun.expected_flows
                    )),
                };
            }
            if self.line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match RecordKind::of(&self.line)? {
                RecordKind::Interval => self.begin()?,
                RecordKind::Flow => self.flow()?,
                RecordKind::Sum => return Err(decode::sums()),
                RecordKind::LedgerPeriod | RecordKind::LedgerSum => return Err(decode::ledger()),
                RecordKind::Unknown => {}
            }
        }
    }

    fn begin(&mut self) -> Result<(), String> {
        if let Some(begun) = &self.partial {
            return Err(format!(
                "another interval begins, and only {} of the last one's {} flows are there",
                begun.read, begun.expected_flows
            ));
        }
        let record: IntervalRecord<'_> = json(&self.line)?;
        record.check()?;
        let expected = usize::try_from(record.flows)
            .ok()
            .filter(|&flows| flows <= MAX_FLOWS);
        let expected =
            expected.ok_or_else(|| format!("an interval has at most {MAX_FLOWS} flows"))?;
        let method = record.method();
        if *self.method != method {
            self.method = Arc::new(method);
        }
        self.zones.learn(&record.zones);
        let interval = Interval {
            ended: record.ended()?,
            elapsed: record.elapsed()?,
            flows: Vec::new(),
            losses: record.losses(),
            interfaces: record.interfaces()?,
            method: Arc::clone(&self.method),
        };
        let metadata = RecordingMetadata {
            machine: Machine {
                host: record.host.clone().into_owned(),
                kernel: record.kernel_release.clone().into_owned(),
                uptime: Duration::ZERO,
            },
            filter: record.filter.as_deref().map(str::to_owned),
            ..RecordingMetadata::default()
        };
        self.partial = Some(PartialInterval {
            frame: RecordedInterval {
                interval,
                metadata,
                names: 0,
            },
            expected_flows: expected,
            indices: HashMap::new(),
            total: (record.rx_bytes, record.tx_bytes),
            read: 0,
        });
        Ok(())
    }

    fn flow(&mut self) -> Result<(), String> {
        let Some(begun) = &mut self.partial else {
            return Err("this flow belongs to no interval".to_owned());
        };
        let record: FlowRecord<'_> = json(&self.line)?;
        record.check()?;
        let key = record.key()?;
        if self.owners.len() >= MAX_OWNERS || self.owners_names > MAX_NAMES {
            self.owners.clear();
            self.owners_names = 0;
        }
        let id = (key.tgid, key.tid);
        let known = self.owners.get(&id).map(Arc::clone);
        let mut flow = record.flow(key, known.as_ref());
        flow.zone = self.zones.of(&key.remote, record.zone.as_deref());
        let mut names = 0;
        if known
            .as_ref()
            .is_none_or(|known| !Arc::ptr_eq(known, &flow.owner))
        {
            let owner = &flow.owner;
            // Shares the cgroup path that the process had before.
            if known.is_none_or(|known| !is_same_text(&known.cgroup, &owner.cgroup)) {
                names += owner.cgroup.as_ref().map_or(0, |path| path.len());
                let labels = owner.labels.iter().flat_map(|labels| labels.texts());
                names += labels.map(String::len).sum::<usize>();
                self.owners_names += names;
            }
            self.owners.insert(id, Arc::clone(owner));
        }
        let metadata = &mut begun.frame.metadata;
        // User names are shown as they are, so they are sanitized here.
        let user = record.user.as_deref().map(sanitize);
        if let (Some(uid), Some(user)) = (record.uid, user)
            && self.users.get(&uid).is_none_or(|known| **known != *user)
        {
            let user: Arc<str> = Arc::from(&*user);
            // Further users are shown by number.
            if self.users.len() < MAX_USERS || self.users.contains_key(&uid) {
                names += user.len();
                self.users.insert(uid, Arc::clone(&user));
                metadata.users.push((uid, user));
            }
        }
        let namespace = record.netns_name.as_deref().map(sanitize);
        if let Some(name) = namespace
            && self
                .namespaces
                .get(&record.netns)
                .is_none_or(|known| **known != *name)
            && (self.namespaces.len() < MAX_NAMESPACES
                || self.namespaces.contains_key(&record.netns))
        {
            let name: Arc<str> = Arc::from(&*name);
            names += name.len();
            self.namespaces.insert(record.netns, Arc::clone(&name));
            metadata.namespaces.push((record.netns, name));
        }
        begun.frame.names += names;
        if begun.frame.names > MAX_NAMES || metadata.users.len() > MAX_USERS {
            return Err(
                "the names of an interval's cgroups and users take more than 16 MiB".to_owned(),
            );
        }
        if record.own && !metadata.own.contains(&key.tgid) && metadata.own.len() < MAX_OWNERS {
            metadata.own.push(key.tgid);
        }
        begun.read += 1;
        begun.put(flow)
    }

    /// Adds the rest of the recording to the extent, by the records of intervals only, for at most
    /// this many lines. Returns whether there may be more.
    pub(crate) fn measure(&mut self, length: &mut RecordingLength, lines: u64) -> bool {
        for _ in 0..lines {
            if !self.take().unwrap_or(false) {
                return false;
            }
            if !matches!(RecordKind::of(&self.line), Ok(RecordKind::Interval)) {
                continue;
            }
            let record = json::<IntervalRecord<'_>>(&self.line);
            let Some(elapsed) = record.ok().and_then(|record| record.elapsed().ok()) else {
                return false;
            };
            length.intervals += 1;
            length.elapsed = length.elapsed.saturating_add(elapsed);
        }
        true
    }
}

/// Returns the next interval of a recording by itself. Nothing after an error is trusted.
impl Iterator for RecordingReader {
    type Item = Result<RecordedInterval, CorruptRecording>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut sums = self.sums;
        let next = self.read_next(&mut sums);
        self.sums = sums;
        next
    }
}

impl PartialInterval {
    /// Two flows with one key differ only in the family of an unknown peer: their sum is right.
    fn put(&mut self, flow: Flow) -> Result<(), String> {
        let flows = &mut self.frame.interval.flows;
        let Some(&index) = self.indices.get(&flow.key) else {
            self.indices.insert(flow.key, flows.len());
            flows.push(flow);
            return Ok(());
        };
        let (mine, theirs) = (&flows[index], &flow);
        let both = [mine, theirs].map(|flow| {
            let Counters {
                rx_bytes,
                tx_bytes,
                rx_msgs,
                tx_msgs,
            } = flow.counters;
            let packets = flow.packets.unwrap_or_default();
            [rx_bytes, tx_bytes, rx_msgs, tx_msgs, packets.rx, packets.tx]
        });
        if both.iter().flatten().any(|&count| count > MAX_SUM) {
            return Err(too_much());
        }
        flows[index].merge(flow);
        Ok(())
    }
}

/// Whether two texts share their memory.
fn is_same_text(one: &Option<Arc<str>>, other: &Option<Arc<str>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Checks a complete interval: its flows must add up to its own record.
fn finished(begun: PartialInterval, sums: &mut RecordedSums) -> Result<RecordedInterval, String> {
    let total = sums.add(&begun.frame.interval).ok_or_else(too_much)?;
    if (total.rx_bytes, total.tx_bytes) != begun.total {
        return Err(format!(
            "the flows add up to {} and {} bytes, but the interval has {} and {}",
            total.rx_bytes, total.tx_bytes, begun.total.0, begun.total.1
        ));
    }
    Ok(begun.frame)
}

pub(super) fn too_much() -> String {
    "these are more bytes than can be counted".to_owned()
}

pub(super) fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the compressed data is cut off".to_owned(),
        // zstd's errors are numbers to this binary, so the message has its own words.
        io::ErrorKind::Other => {
            "the compressed data is damaged, or its window is larger than 32 MiB (zstd \
             --long): decompress it first, as in zstd -dc --long=31 FILE | flowtop --replay -"
                .to_owned()
        }
        _ => format!("it cannot be read on ({error})"),
    }
}
