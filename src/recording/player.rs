//! Plays recordings for the live table in a thread of its own, at any speed, forwards and
//! backwards. The history shown at a position always consists of everything before it, however the
//! position was reached. Knows no kernel and no presentation.

mod work;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use self::work::PlayerThread;
use crate::filter::Expr;
use crate::jsonl::CorruptRecording;
use crate::jsonl::input::{Recording, Stop};
use crate::jsonl::reader::RecordingLength;
use crate::model::interval::{Interval, Method, RecordingMetadata};
use crate::recording::replay::measure;
use crate::stats::history::History;
use crate::sync::lock;

/// A command to the player.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PlayerCommand {
    /// Resumes or pauses; at the end, starts again from the beginning.
    Toggle,
    /// Steps by this many intervals, then pauses.
    Step(i64),
    /// Seeks by this much recorded time.
    SeekBy(Duration, SeekDirection),
    /// Seeks to a fraction of the whole.
    SeekTo(f64),
    Speed(SeekDirection),
}

/// Direction of a step or seek.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekDirection {
    Forward,
    Back,
}

/// State of a player.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlayerState {
    #[default]
    Playing,
    Paused,
    /// On its way to another position.
    Seeking,
    /// At the end of the recordings.
    AtEnd,
}

/// Position of a player.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlayerPosition {
    pub state: PlayerState,
    /// Recorded seconds per second.
    pub speed: f64,
    /// Recorded time from the beginning to the position.
    pub at: Duration,
    /// Length of all recordings; `None` until it is known.
    pub whole: Option<Duration>,
    /// Errors of recordings so far, at most one per file for a hundred files.
    pub corruptions: Vec<CorruptRecording>,
}

/// The history at the player's position.
#[derive(Clone, Debug)]
pub struct PlayerSnapshot {
    pub position: PlayerPosition,
    /// Everything up to the position.
    pub history: History,
    /// Number of flows in the latest interval.
    pub flows: usize,
    /// How the latest interval was counted.
    pub method: Arc<Method>,
    /// Metadata since the last snapshot.
    pub metadata: RecordingMetadata,
}

/// An event from the player's thread.
#[derive(Debug)]
pub enum PlayerEvent {
    /// A snapshot can be taken.
    Ready,
    /// The last event: a limit is reached, or the player failed.
    Finished(Result<()>),
}

/// A limit at which a player ends. The end of the recording is none.
pub struct PlayerLimits {
    /// After this many intervals.
    pub count: Option<u64>,
    /// After this much recorded time.
    pub duration: Option<Duration>,
    /// Condition on an interval.
    pub until: Box<dyn FnMut(&Interval) -> bool + Send>,
}

impl std::fmt::Debug for PlayerLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Limits");
        shown.field("count", &self.count).finish_non_exhaustive()
    }
}

impl PlayerLimits {
    /// Whether an interval reaches a limit, given the intervals and the time up to and including
    /// it.
    pub fn is_reached(&mut self, interval: &Interval, count: u64, elapsed: Duration) -> bool {
        let met = (self.until)(interval);
        met || self.count.is_some_and(|most| count >= most)
            || self.duration.is_some_and(|most| elapsed >= most)
    }
}

/// A running player. Dropping it stops it and waits for its end.
#[derive(Debug)]
pub struct Player {
    orders: Option<Sender<PlayerCommand>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// State shared between the player's thread and its owner.
#[derive(Debug, Default)]
struct Shared {
    snapshot: Mutex<Option<PlayerSnapshot>>,
    length: Mutex<Option<RecordingLength>>,
    /// Stops the readers of recordings, however much of the recordings is left.
    stop: Stop,
}

impl Player {
    /// Starts to play. `notify` must not block.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        files: Vec<Recording>,
        interval: Option<Duration>,
        filter: Option<&Expr>,
        limits: PlayerLimits,
        notify: impl Fn(PlayerEvent) + Send + Sync + 'static,
    ) -> Result<Self> {
        let notify: Arc<dyn Fn(PlayerEvent) + Send + Sync> = Arc::new(notify);
        let notify_end = Arc::clone(&notify);
        let shared = Arc::new(Shared::default());
        let (orders, receiver) = channel();
        let mut work = PlayerThread::new(
            files.clone(),
            interval,
            filter,
            limits,
            Arc::clone(&shared),
            notify,
        );
        let scanned = Arc::clone(&shared);
        let scan = thread::Builder::new().name("measure".to_owned());
        scan.spawn(move || {
            let length = measure(&files, &scanned.stop);
            *lock(&scanned.length) = Some(length);
        })
        .context("start a thread to measure recordings")?;
        let thread = thread::Builder::new()
            .name("player".to_owned())
            .spawn(move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| work.run(&receiver)));
                notify_end(PlayerEvent::Finished(outcome.map_err(|_| {
                    anyhow!("the player of recordings stopped by a bug in flowtop")
                })));
            })
            .context("start a thread to play recordings")?;
        Ok(Self {
            orders: Some(orders),
            shared,
            thread: Some(thread),
        })
    }

    /// Takes the latest snapshot if there is a new one.
    pub fn take(&self) -> Option<PlayerSnapshot> {
        let mut snapshot = lock(&self.shared.snapshot).take()?;
        snapshot.position.whole = lock(&self.shared.length).map(|length| length.elapsed);
        Some(snapshot)
    }

    /// Sends a command without waiting for it.
    pub fn order(&self, order: PlayerCommand) {
        if let Some(orders) = &self.orders {
            // Sending fails only if the player has ended by itself.
            let _ = orders.send(order);
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
