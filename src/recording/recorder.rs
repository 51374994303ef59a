//! Keeps intervals in files, as JSON Lines: every flow of every interval, whatever is shown
//! meanwhile.
//!
//! ```text
//!  collector's thread ──▶ queue, bounded ──▶ recorder's thread: rank ──▶ JSON ──▶ zstd ──▶ file
//! ```
//!
//! Whoever counts never waits for a disk. While the disk takes nothing (slow, full, gone),
//! intervals wait; when too many wait they are joined: sums kept, lengths added, as for any slow
//! reader. What finds no room even then is lost, which is counted and reported. A file always ends
//! with a whole interval, but for one that was being written when the process was killed.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::folder::RecordingFolder;
use super::ledger::LedgerWriter;
use super::queue::Queue;
use super::rotation::RotatingFiles;
use crate::jsonl::writer::Json;
use crate::model::flow::Counters;
use crate::model::interval::Interval;
use crate::options;
use crate::resolve::names::Names;
use crate::stats::ranking::Ranking;
use crate::sync::lock;
use crate::text::units;

/// Pause before the recorder retries a failed write.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Most notes that are kept for the end.
const MAX_NOTES: usize = 16;

/// Status of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The file that is being written.
    pub file: String,
    /// Bytes written to all files.
    pub bytes: u64,
    /// Intervals written; merged ones count once.
    pub intervals: u64,
    /// Error that keeps the recorder from writing; `None` if it can write.
    pub trouble: Option<String>,
    /// Intervals that were dropped because the queue was full.
    pub lost: LostIntervals,
    /// Changes that other programs made to the files.
    pub notes: Vec<String>,
}

/// Intervals that are in no file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostIntervals {
    pub intervals: u64,
    /// Bytes of traffic in these intervals.
    pub bytes: u64,
}

impl LostIntervals {
    fn of(interval: &Interval) -> Self {
        Self::new(1, interval.total())
    }

    pub(super) const fn new(intervals: u64, total: Counters) -> Self {
        Self {
            intervals,
            bytes: total.rx_bytes + total.tx_bytes,
        }
    }

    fn add(&mut self, more: Self) {
        self.intervals += more.intervals;
        self.bytes += more.bytes;
    }
}

impl fmt::Display for LostIntervals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let intervals = units::count(self.intervals, "interval");
        write!(f, "{intervals} with {}", units::bytes(self.bytes))
    }
}

/// An open recording whose thread has not started: the privileges for opening it can be dropped.
pub struct Opened(RotatingFiles);

impl Opened {
    /// Opens the file, or the folder and its first file, with the rights of this thread. Returns
    /// `None` if a FIFO has no reader and `is_stop_requested` becomes true.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn open(
        config: &options::RecordOptions,
        is_stop_requested: impl FnMut() -> bool,
    ) -> Result<Option<Self>> {
        Ok(RotatingFiles::create(config.clone(), is_stop_requested)?.map(Self))
    }

    /// Creates a file in an open folder, named after the current time.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(super) fn create_in(
        folder: RecordingFolder,
        config: options::RecordOptions,
    ) -> Result<Self> {
        RotatingFiles::create_in(folder, config).map(Self)
    }

    /// Returns the folder in which files will be created and removed, if any.
    pub fn folder(&self) -> Option<PathBuf> {
        self.0.folder()
    }
}

/// A recording under way.
#[derive(Debug)]
pub struct Recorder {
    queue: Arc<Queue>,
    status: Arc<Mutex<Status>>,
    thread: JoinHandle<Result<()>>,
}

impl Recorder {
    /// Starts the thread, which calls `report` when trouble begins and ends.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        opened: Opened,
        json: Json,
        report: impl Fn(&str) + Send + 'static,
    ) -> Result<Self> {
        let files = opened.0;
        let status = Arc::new(Mutex::new(Status {
            file: files.name(),
            ..Status::default()
        }));
        let queue = Arc::new(Queue::default());
        let mut work = RecorderThread {
            ledger: files.sums().map(LedgerWriter::new),
            files,
            json,
            names: Names::own_flows_only(),
            queue: Arc::clone(&queue),
            status: Arc::clone(&status),
            report: Box::new(report),
        };
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || work.run())
            .context("start a thread for recording")?;
        Ok(Self {
            queue,
            status,
            thread,
        })
    }

    /// Queues an interval without blocking.
    pub fn put(&self, interval: &Interval) {
        if !self.queue.put(interval) {
            lock(&self.status).lost.add(LostIntervals::of(interval));
        }
    }

    /// Returns the current status.
    pub fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    /// Writes the queued intervals and ends the file. Returns the final status.
    ///
    /// # Errors
    /// When that cannot be done, or anything was lost before.
    pub fn finish(self) -> Result<Status> {
        self.queue.close();
        let outcome = match self.thread.join() {
            Ok(outcome) => outcome,
            Err(_) => bail!("the recording stopped by a bug in flowtop"),
        };
        let status = lock(&self.status).clone();
        let file = &status.file;
        let lost = match status.lost {
            LostIntervals { intervals: 0, .. } => None,
            lost => Some(format!("record {file}: {lost} are not in it")),
        };
        match (outcome, lost) {
            (Ok(()), None) => Ok(status),
            (Ok(()), Some(lost)) => bail!(lost),
            (Err(error), None) => Err(error),
            (Err(error), Some(lost)) => Err(error.context(lost)),
        }
    }
}

/// Records that are to be written together, and what is lost if they cannot be.
pub(super) struct PendingRecords {
    pub(super) text: Vec<u8>,
    /// Time that they are of.
    pub(super) length: Duration,
    pub(super) lost: LostIntervals,
}

struct RecorderThread {
    files: RotatingFiles,
    /// `None` where flows are recorded.
    ledger: Option<LedgerWriter>,
    json: Json,
    names: Names,
    queue: Arc<Queue>,
    status: Arc<Mutex<Status>>,
    report: Box<dyn Fn(&str) + Send>,
}

impl RecorderThread {
    fn run(&mut self) -> Result<()> {
        while let Some(interval) = self.queue.take() {
            let done = match &mut self.ledger {
                None => Some(self.flows(&interval)?),
                Some(ledger) => ledger.put(&interval, &self.json)?,
            };
            if let Some(records) = done {
                self.record(&records)?;
            }
        }
        if let Some(ledger) = &mut self.ledger
            && let Some(rest) = ledger.end(&self.json)?
        {
            self.record(&rest)?;
        }
        self.files.finish().with_context(|| self.about("end it"))
    }

    /// Every flow of an interval.
    fn flows(&mut self, interval: &Interval) -> Result<PendingRecords> {
        let mut text = Vec::new();
        let ranking = Ranking::new(interval, None);
        self.json.append(&ranking, &self.names, &mut text)?;
        Ok(PendingRecords {
            text,
            length: interval.elapsed,
            lost: LostIntervals::of(interval),
        })
    }

    fn record(&mut self, records: &PendingRecords) -> Result<()> {
        if let Err(error) = self.write(records) {
            self.give_up(records.lost);
            return Err(error).with_context(|| self.about("end it"));
        }
        Ok(())
    }

    /// Writes records, however long that takes; fails only after the deadline of a stop.
    fn write(&mut self, records: &PendingRecords) -> io::Result<()> {
        self.files.encode(&records.text, records.length)?;
        let mut is_last = false;
        loop {
            let outcome = self.files.write();
            for note in self.files.take_notes() {
                (self.report)(&note);
                let mut status = lock(&self.status);
                if status.notes.len() < MAX_NOTES {
                    status.notes.push(note);
                }
            }
            let Err(error) = outcome else {
                break;
            };
            if is_last {
                return Err(error);
            }
            let trouble = lock(&self.status).trouble.replace(error.to_string());
            if trouble.is_none() {
                (self.report)(&format!(
                    "{}; counting goes on, and what is counted waits for room",
                    self.about(&error.to_string())
                ));
            }
            is_last = self.queue.wait_for_close(RETRY_PAUSE);
        }
        let mut status = lock(&self.status);
        status.bytes = self.files.bytes();
        status.intervals += 1;
        status.file = self.files.name();
        let (was_in_trouble, lost) = (status.trouble.take().is_some(), status.lost);
        drop(status);
        if was_in_trouble {
            let lost = match lost {
                LostIntervals { intervals: 0, .. } => "nothing is lost".to_owned(),
                lost => format!("{lost} are lost"),
            };
            (self.report)(&self.about(&format!("it goes on, {lost}")));
        }
        Ok(())
    }

    /// Drops the intervals that wait.
    fn give_up(&self, lost: LostIntervals) {
        let mut status = lock(&self.status);
        status.lost.add(lost);
        while let Some(interval) = self.queue.take() {
            status.lost.add(LostIntervals::of(&interval));
        }
    }

    fn about(&self, what: &str) -> String {
        format!("record {}: {what}", self.files.name())
    }
}
