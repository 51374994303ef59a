//! Plays recordings for the live table, in a thread of its own: at the pace at which they were recorded
//! or any other, forth and back. What is shown at a place is always the history of everything before
//! it, however one got there. Knows no kernel and no presentation.

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
    /// Go on, or stand still; at the end, go on from the beginning.
    Toggle,
    /// So many intervals on, or back; then stand still.
    Step(i64),
    /// So much recorded time on, or back.
    SeekBy(Duration, SeekDirection),
    /// To a place, as a part of the whole.
    SeekTo(f64),
    Speed(SeekDirection),
}

/// Which way in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekDirection {
    Forward,
    Back,
}

/// What a player does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlayerState {
    #[default]
    Playing,
    Paused,
    /// It is on its way to another place.
    Seeking,
    /// There is no more.
    AtEnd,
}

/// Where a player is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlayerPosition {
    pub state: PlayerState,
    /// Recorded time a second.
    pub speed: f64,
    /// Recorded time until here.
    pub at: Duration,
    /// Recorded time in all; `None` until it is known.
    pub whole: Option<Duration>,
    /// What could not be read so far, of many files that of the first hundred.
    pub corruptions: Vec<CorruptRecording>,
}

/// What is to be shown.
#[derive(Clone, Debug)]
pub struct PlayerSnapshot {
    pub position: PlayerPosition,
    /// Of everything until there.
    pub history: History,
    /// Flows in the latest interval.
    pub flows: usize,
    /// How that was counted.
    pub method: Arc<Method>,
    /// Metadata since the last snapshot.
    pub metadata: RecordingMetadata,
}

/// What a player tells, from its own thread.
#[derive(Debug)]
pub enum PlayerEvent {
    /// A picture waits to be taken.
    Ready,
    /// Nothing follows: a limit is reached, or the player failed.
    Finished(Result<()>),
}

/// When a player ends by itself. The end of the recording is none.
pub struct PlayerLimits {
    /// After so many intervals.
    pub count: Option<u64>,
    /// After so much recorded time.
    pub duration: Option<Duration>,
    /// After an interval of which this is true.
    pub until: Box<dyn FnMut(&Interval) -> bool + Send>,
}

impl std::fmt::Debug for PlayerLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Limits");
        shown.field("count", &self.count).finish_non_exhaustive()
    }
}

impl PlayerLimits {
    /// Whether an interval is the last, of which so many and so much time are there with it.
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

/// What the threads share.
#[derive(Debug, Default)]
struct Shared {
    snapshot: Mutex<Option<PlayerSnapshot>>,
    length: Mutex<Option<RecordingLength>>,
    /// Ends the reading of recordings, however much of them there is.
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

    /// Takes what is to be shown, if anything is new.
    pub fn take(&self) -> Option<PlayerSnapshot> {
        let mut snapshot = lock(&self.shared.snapshot).take()?;
        snapshot.position.whole = lock(&self.shared.length).map(|length| length.elapsed);
        Some(snapshot)
    }

    /// Tells it to do something. Does not wait.
    pub fn order(&self, order: PlayerCommand) {
        if let Some(orders) = &self.orders {
            // An error means that it has ended by itself.
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
