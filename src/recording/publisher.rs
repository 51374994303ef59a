//! Keeps the table of `--publish` up to date, in a thread of its own, so that the counting thread
//! never waits for a disk.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};

use super::process_table::ProcessTable;
use super::queue::Queue;
use crate::model::flow::Counters;
use crate::model::interval::Interval;
use crate::sync::lock;
use crate::text::sanitize::sanitize;

/// A table whose file is made: what it takes to make it may be given up now.
#[derive(Debug)]
pub struct OpenedTable {
    table: ProcessTable,
    name: String,
}

impl OpenedTable {
    /// Makes the file with the rights that this thread has.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let name = sanitize(&path.to_string_lossy()).into_owned();
        let table = ProcessTable::create(path).with_context(|| format!("publish {name}"))?;
        Ok(Self { table, name })
    }
}

/// A table under way.
pub struct Publisher {
    queue: Arc<Queue>,
    /// What found no room to wait.
    lost: Arc<Mutex<Counters>>,
    thread: JoinHandle<Result<()>>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

impl Publisher {
    /// Starts the thread, which calls `report` when the file cannot be written.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(opened: OpenedTable, report: impl Fn(&str) + Send + 'static) -> Result<Self> {
        let queue = Arc::new(Queue::default());
        let lost = Arc::new(Mutex::new(Counters::default()));
        let (intervals, mut lost_until) = (Arc::clone(&queue), Counters::default());
        let losses = Arc::clone(&lost);
        let thread = thread::Builder::new().name("publisher".to_owned());
        let thread = thread.spawn(move || {
            let OpenedTable { mut table, name } = opened;
            let mut is_in_trouble = false;
            while let Some(interval) = intervals.take() {
                let lost = *lock(&losses);
                table.add_untracked(lost.since(&lost_until));
                lost_until = lost;
                let written = table.put(&interval);
                if let (Err(error), false) = (&written, is_in_trouble) {
                    report(&format!(
                        "publish {name}: {error}; flowtop tries again with each interval"
                    ));
                }
                is_in_trouble = written.is_err();
            }
            table.finish().with_context(|| format!("publish {name}"))
        });
        Ok(Self {
            queue,
            lost,
            thread: thread.context("start a thread for publishing")?,
        })
    }

    /// Returns what takes intervals, without blocking.
    pub fn intake(&self) -> impl FnMut(&Interval) + Send + 'static {
        let (queue, lost) = (Arc::clone(&self.queue), Arc::clone(&self.lost));
        move |interval| {
            if !queue.put(interval) {
                *lock(&lost) += interval.total();
            }
        }
    }

    /// Writes what waits, and marks the table as ended.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(self) -> Result<()> {
        self.queue.close();
        match self.thread.join() {
            Ok(outcome) => outcome,
            Err(_) => bail!("publishing stopped by a bug in flowtop"),
        }
    }
}
