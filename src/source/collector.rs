//! Turns a [`Source`] into intervals on time: one thread owns the source and ends intervals on an
//! absolute monotonic grid, whatever the reader, the keyboard or the terminal do meanwhile. Knows
//! neither the kernel nor any presentation.
//!
//! Invariants: an interval ends only on the grid, at the one early reading of the first, on a stop,
//! or never; what was counted is handed over exactly once; at most one interval waits for the
//! reader, later ones merge into it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::model::interval::Interval;
use crate::source::Source;
use crate::sync::lock;

/// Number of flows from which on a waiting interval takes no more: the kernel side then counts on
/// into its own bounded map until the reader catches up, and reports what found no room.
const MAX_WAITING_FLOWS: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub interval: Duration,
    /// Length after which the first interval is read for the first time, so that a screen has rows
    /// at once; the second reading ends it on the grid. `None` reads the first interval only at its
    /// end.
    pub early: Option<Duration>,
    /// Finish after this many; `None` means at a stop only.
    pub count: Option<u64>,
    /// Finish after so long, with the interval under way; `None` means at a stop only.
    pub duration: Option<Duration>,
}

/// An event that the collector sends from its own thread.
#[derive(Debug)]
pub enum CollectorEvent {
    /// An interval waits to be taken. Sent once for each that [`Collector::take`] will give.
    Ready,
    /// Nothing follows. The source is closed; an interval may still wait to be taken.
    Finished(Result<()>),
}

#[derive(Clone, Copy, Debug)]
enum CollectorCommand {
    Stop,
    SetInterval(Duration),
}

/// A running collector. Dropping it stops it and waits for its end.
#[derive(Debug)]
pub struct Collector {
    commands: Sender<CollectorCommand>,
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// Starts the thread. The first interval began when the source was opened and ends one
    /// `schedule.interval` from now. `notify` must not block.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        source: impl Source + 'static,
        schedule: Schedule,
        notify: impl Fn(CollectorEvent) + Send + 'static,
    ) -> Result<Self> {
        let (commands, orders) = channel();
        let mailbox = Arc::new(Mailbox::default());
        let now = Instant::now();
        let grid = Grid::new(now, schedule.interval);
        let mut work = CollectorThread {
            orders,
            mailbox: Arc::clone(&mailbox),
            grid,
            early: schedule
                .early
                // Two readings that are nearly one would show a sliver of time as an interval.
                .filter(|early| *early * 2 < schedule.interval)
                .map(|early| now + early),
            left: schedule.count,
            // So long that no clock gets there is never.
            end: schedule.duration.and_then(|length| now.checked_add(length)),
        };
        let thread = thread::Builder::new()
            .name("collector".to_owned())
            .spawn(move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    // Moved in, so that it is closed before the end is reported.
                    let mut source = source;
                    work.run(&mut source, &notify)
                }));
                notify(CollectorEvent::Finished(
                    outcome.unwrap_or_else(|panic| Err(as_error(&*panic))),
                ));
            })
            .context("start the collector thread")?;
        Ok(Self {
            commands,
            mailbox,
            thread: Some(thread),
        })
    }

    /// Takes what was counted since the last time, if anything waits.
    pub fn take(&self) -> Option<Interval> {
        self.mailbox.take()
    }

    /// Requests the collector to end the interval under way, pass it on and finish. Does not wait.
    pub fn stop(&self) {
        // An error means that it has finished by itself.
        let _ = self.commands.send(CollectorCommand::Stop);
    }

    /// Changes the length of intervals, the one under way included; what it has counted stays.
    pub fn set_interval(&self, interval: Duration) {
        let _ = self.commands.send(CollectorCommand::SetInterval(interval));
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn as_error(panic: &(dyn Any + Send)) -> anyhow::Error {
    let what = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown reason");
    anyhow!("the collector stopped by a bug in flowtop: {what}")
}

struct CollectorThread {
    orders: Receiver<CollectorCommand>,
    mailbox: Arc<Mailbox>,
    grid: Grid,
    /// When the first interval is read early, until that is done.
    early: Option<Instant>,
    left: Option<u64>,
    end: Option<Instant>,
}

/// Why the thread woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// The early reading of the first interval is due.
    Early,
    /// A point of the grid is due: an interval ends.
    Grid,
    /// Nothing follows: a stop, or the end of the schedule.
    Last,
}

impl CollectorThread {
    fn run(&mut self, source: &mut impl Source, notify: &impl Fn(CollectorEvent)) -> Result<()> {
        source.settle()?;
        while self.left != Some(0) {
            let wake = self.wait();
            let stop = wake == Wake::Last;
            if !stop && self.mailbox.is_full() {
                self.grid.advance(Instant::now());
                continue;
            }
            let interval = source.end_interval()?;
            if self.mailbox.put(interval) {
                notify(CollectorEvent::Ready);
            }
            if stop || source.is_over() {
                break;
            }
            let now = Instant::now();
            // A late early reading may come after the grid point, whose interval it then is.
            if wake == Wake::Grid || now >= self.grid.next {
                self.grid.advance(now);
                self.left = self.left.map(|left| left - 1);
            }
        }
        Ok(())
    }

    /// Sleeps until the next reading is due.
    fn wait(&mut self) -> Wake {
        let early = self.early.take().filter(|early| *early < self.grid.next);
        loop {
            let now = Instant::now();
            let point = early.unwrap_or(self.grid.next);
            let is_last = self.end.is_some_and(|end| end <= point);
            let until = self.end.filter(|_| is_last).unwrap_or(point);
            let rest = until.saturating_duration_since(now);
            match self.orders.recv_timeout(rest) {
                Ok(CollectorCommand::SetInterval(interval)) => self.grid.set_interval(interval),
                Ok(CollectorCommand::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    return Wake::Last;
                }
                Err(RecvTimeoutError::Timeout) => {
                    if Instant::now() >= until {
                        return match early {
                            _ if is_last => Wake::Last,
                            Some(_) => Wake::Early,
                            None => Wake::Grid,
                        };
                    }
                }
            }
        }
    }
}

/// Ends of intervals: multiples of the interval from a fixed start, so that lateness of one never
/// shifts the others.
#[derive(Clone, Copy, Debug)]
struct Grid {
    /// Grid point at which the current interval began.
    last: Instant,
    next: Instant,
    interval: Duration,
}

impl Grid {
    fn new(start: Instant, interval: Duration) -> Self {
        Self {
            last: start,
            next: start + interval,
            interval,
        }
    }

    /// Moves to the first grid point after `now`.
    fn advance(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.next);
        let into = late.as_nanos() % self.interval.as_nanos().max(1);
        // Less than the interval, which fits.
        let into = Duration::from_nanos(u64::try_from(into).unwrap_or(0));
        self.last = self.next + (late - into);
        self.next = self.last + self.interval;
    }

    fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
        self.next = self.last + interval;
    }
}

/// Room for one interval. Held locked only to put, merge or take, never while the kernel is read
/// or anything is drawn.
#[derive(Debug, Default)]
struct Mailbox {
    waiting: Mutex<Option<Interval>>,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Option<Interval>> {
        lock(&self.waiting)
    }

    /// Returns true if nothing was waiting, so that the reader has to be notified.
    fn put(&self, interval: Interval) -> bool {
        let mut waiting = self.lock();
        match waiting.as_mut() {
            Some(earlier) => {
                earlier.merge(interval);
                false
            }
            None => {
                *waiting = Some(interval);
                true
            }
        }
    }

    fn take(&self) -> Option<Interval> {
        self.lock().take()
    }

    fn is_full(&self) -> bool {
        self.lock()
            .as_ref()
            .is_some_and(|waiting| waiting.flows.len() >= MAX_WAITING_FLOWS)
    }
}

#[cfg(test)]
mod tests;
