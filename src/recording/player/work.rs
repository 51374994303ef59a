//! The player's thread: reads intervals on time, seeks, and publishes snapshots.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::{
    PlayerCommand, PlayerEvent, PlayerLimits, PlayerPosition, PlayerSnapshot, PlayerState,
    SeekDirection, Shared, lock,
};
use crate::filter::Expr;
use crate::jsonl::input::Recording;
use crate::jsonl::reader::RecordedInterval;
use crate::model::interval::{Method, RecordingMetadata};
use crate::recording::replay::Replay;
use crate::stats::history::History;

/// Speeds that the keys step through.
const SPEEDS: [f64; 12] = [
    0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 600.0, 3600.0,
];
/// Time between two snapshots of a long seek.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// Most errors of recordings that are kept, one per file.
const MAX_CORRUPTIONS: usize = 100;

/// Most user names that wait for the next snapshot; beyond that, replaced names are dropped first.
const MAX_USERS: usize = 1 << 17;

/// Destination of a seek.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SeekGoal {
    /// A number of intervals.
    Count(u64),
    /// Recorded time, to the nearest end of an interval.
    Time(Duration),
}

pub(super) struct PlayerThread {
    files: Vec<Recording>,
    interval: Option<Duration>,
    filter: Option<Expr>,
    replay: Replay,
    /// The next interval, read ahead because its length decides when it is shown.
    next: Option<RecordedInterval>,
    history: History,
    flows: usize,
    method: Arc<Method>,
    metadata: RecordingMetadata,
    position: PlayerPosition,
    limits: PlayerLimits,
    /// Commands that came during a seek.
    waiting: VecDeque<PlayerCommand>,
    shared: Arc<Shared>,
    notify: Arc<dyn Fn(PlayerEvent) + Send + Sync>,
}

impl PlayerThread {
    pub(super) fn new(
        files: Vec<Recording>,
        interval: Option<Duration>,
        filter: Option<&Expr>,
        limits: PlayerLimits,
        shared: Arc<Shared>,
        notify: Arc<dyn Fn(PlayerEvent) + Send + Sync>,
    ) -> Self {
        Self {
            replay: Replay::new(&[], None, None, &shared.stop),
            files,
            interval,
            filter: filter.cloned(),
            next: None,
            history: History::new(),
            flows: 0,
            method: Arc::default(),
            metadata: RecordingMetadata::default(),
            position: PlayerPosition {
                speed: 1.0,
                ..PlayerPosition::default()
            },
            limits,
            waiting: VecDeque::new(),
            shared,
            notify,
        }
    }

    /// Runs until a limit is reached or the player is dropped.
    pub(super) fn run(&mut self, orders: &Receiver<PlayerCommand>) {
        self.rewind();
        // Shows the first interval at once.
        let mut due = Instant::now();
        loop {
            let order = match self.position.state {
                _ if !self.waiting.is_empty() => self.waiting.pop_front(),
                PlayerState::Playing if self.next.is_some() => {
                    match orders.recv_timeout(due.saturating_duration_since(Instant::now())) {
                        Err(RecvTimeoutError::Timeout) => {
                            if self.advance() {
                                self.show();
                                return;
                            }
                            self.show();
                            // Late intervals are not made up for by shorter pauses.
                            let now = Instant::now();
                            due = due.max(now.checked_sub(SHOW_EVERY).unwrap_or(now)) + self.wait();
                            continue;
                        }
                        other => other.ok(),
                    }
                }
                _ => {
                    if self.next.is_none() && self.position.state != PlayerState::AtEnd {
                        self.position.state = PlayerState::AtEnd;
                        self.show();
                    }
                    orders.recv().ok()
                }
            };
            let Some(order) = order else {
                return;
            };
            if self.obey(order, orders) {
                return;
            }
            // At the beginning there is no earlier picture to show meanwhile.
            due = Instant::now();
            if self.history.intervals() > 0 {
                due += self.wait();
            }
        }
    }

    /// Returns how long the next interval lasts at this speed.
    fn wait(&self) -> Duration {
        let length = self.next.as_ref().map(|next| next.interval.elapsed);
        let seconds = length.unwrap_or_default().as_secs_f64() / self.position.speed;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4)
    }

    /// Takes one command; returns true when a limit is reached.
    fn obey(&mut self, order: PlayerCommand, orders: &Receiver<PlayerCommand>) -> bool {
        let at = self.history.clock().at;
        let now = self.position.state;
        match order {
            PlayerCommand::Toggle if now == PlayerState::AtEnd => {
                self.rewind();
                self.position.state = PlayerState::Playing;
            }
            PlayerCommand::Toggle if now == PlayerState::Playing => {
                self.position.state = PlayerState::Paused
            }
            PlayerCommand::Toggle => self.position.state = PlayerState::Playing,
            PlayerCommand::Step(by) => {
                let count = self.history.intervals().saturating_add_signed(by).max(1);
                return self.go(SeekGoal::Count(count), PlayerState::Paused, orders);
            }
            PlayerCommand::SeekBy(by, SeekDirection::Forward) => {
                return self.go(SeekGoal::Time(at.saturating_add(by)), now, orders);
            }
            PlayerCommand::SeekBy(by, SeekDirection::Back) => {
                return self.go(SeekGoal::Time(at.saturating_sub(by)), now, orders);
            }
            PlayerCommand::SeekTo(part) => {
                if let Some(goal) = self.part(part) {
                    return self.go(goal, now, orders);
                }
            }
            PlayerCommand::Speed(direction) => {
                let speed = self.position.speed;
                let next = match direction {
                    SeekDirection::Forward => SPEEDS.into_iter().find(|&next| next > speed),
                    SeekDirection::Back => SPEEDS.into_iter().rev().find(|&next| next < speed),
                };
                self.position.speed = next.unwrap_or(speed);
            }
        }
        self.show();
        false
    }

    /// Seeks a destination, then enters the given state. Another seek replaces the destination on
    /// the way; all other commands wait until the destination is reached. Returns true when a limit
    /// is reached.
    fn go(
        &mut self,
        mut goal: SeekGoal,
        then: PlayerState,
        orders: &Receiver<PlayerCommand>,
    ) -> bool {
        self.position.state = PlayerState::Seeking;
        let mut shown = Instant::now();
        let mut reached = false;
        loop {
            if self.is_past(goal) {
                self.rewind();
            }
            if reached || self.is_at(goal) {
                break;
            }
            match orders.try_recv() {
                Ok(order) => match self.coalesce_seek(goal, order) {
                    Some(other) => {
                        goal = other;
                        continue;
                    }
                    None => self.waiting.push_back(order),
                },
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => {}
            }
            reached = self.advance();
            if shown.elapsed() >= SHOW_EVERY {
                self.show();
                shown = Instant::now();
            }
        }
        self.position.state = match then {
            // After a seek back from the end there is something to play again.
            PlayerState::AtEnd if self.next.is_some() => PlayerState::Paused,
            then => then,
        };
        self.show();
        reached
    }

    /// Returns the destination of a command that comes during a seek.
    fn coalesce_seek(&self, goal: SeekGoal, order: PlayerCommand) -> Option<SeekGoal> {
        match (goal, order) {
            (SeekGoal::Time(time), PlayerCommand::SeekBy(by, SeekDirection::Forward)) => {
                Some(SeekGoal::Time(time.saturating_add(by)))
            }
            (SeekGoal::Time(time), PlayerCommand::SeekBy(by, SeekDirection::Back)) => {
                Some(SeekGoal::Time(time.saturating_sub(by)))
            }
            (_, PlayerCommand::SeekTo(part)) => self.part(part),
            _ => None,
        }
    }

    /// Returns the destination for a fraction of the whole, if the length is known.
    fn part(&self, part: f64) -> Option<SeekGoal> {
        let whole = lock(&self.shared.length).map(|length| length.elapsed)?;
        Some(SeekGoal::Time(whole.mul_f64(part.clamp(0.0, 1.0))))
    }

    /// Whether the destination can be reached only from the beginning.
    fn is_past(&self, goal: SeekGoal) -> bool {
        let clock = self.history.clock();
        // The history always has the first interval.
        self.history.intervals() > 1
            && match goal {
                SeekGoal::Count(count) => count < self.history.intervals(),
                SeekGoal::Time(time) => time + clock.elapsed / 2 < clock.at,
            }
    }

    /// Whether the destination is reached.
    fn is_at(&self, goal: SeekGoal) -> bool {
        let Some(next) = &self.next else {
            return true;
        };
        // Position 0 does not exist: the history always has the first interval.
        self.history.intervals() > 0
            && match goal {
                SeekGoal::Count(count) => self.history.intervals() >= count,
                SeekGoal::Time(time) => self.history.clock().at + next.interval.elapsed / 2 > time,
            }
    }

    /// Adds the next interval to the history; returns true if it reaches a limit.
    fn advance(&mut self) -> bool {
        let Some(RecordedInterval {
            interval, metadata, ..
        }) = self.next.take()
        else {
            return false;
        };
        self.history.add(&interval);
        self.flows = interval.flows.len();
        self.method = Arc::clone(&interval.method);
        self.metadata.machine = metadata.machine;
        self.metadata.filter = metadata.filter;
        self.metadata.users.extend(metadata.users);
        self.metadata.namespaces.extend(metadata.namespaces);
        if self.metadata.namespaces.len() > MAX_USERS {
            let last: HashMap<u32, Arc<str>> = self.metadata.namespaces.drain(..).collect();
            self.metadata.namespaces.extend(last);
        }
        if self.metadata.users.len() > MAX_USERS {
            // The last name of a user counts.
            let last: HashMap<u32, Arc<str>> = self.metadata.users.drain(..).collect();
            self.metadata.users.extend(last);
        }
        self.metadata.own.extend(metadata.own);
        self.read();
        let (count, elapsed) = (self.history.intervals(), self.history.clock().at);
        self.limits.is_reached(&interval, count, elapsed)
    }

    fn read(&mut self) {
        loop {
            match self.replay.next() {
                Some(Ok(frame)) => self.next = Some(frame),
                Some(Err(corruption)) => {
                    let corruptions = &mut self.position.corruptions;
                    // Each playback of an unreadable file gives one error, which is kept once.
                    if !corruptions.contains(&corruption) && corruptions.len() < MAX_CORRUPTIONS {
                        corruptions.push(corruption);
                    }
                    continue;
                }
                None => {}
            }
            return;
        }
    }

    /// Starts again from the beginning.
    fn rewind(&mut self) {
        let (filter, stop) = (self.filter.as_ref(), &self.shared.stop);
        self.replay = Replay::new(&self.files, self.interval, filter, stop);
        self.history = History::new();
        self.flows = 0;
        self.next = None;
        self.read();
    }

    fn show(&mut self) {
        self.position.at = self.history.clock().at;
        let mut snapshot = lock(&self.shared.snapshot);
        let mut metadata = std::mem::take(&mut self.metadata);
        // Metadata of a snapshot that nobody took moves into the next one.
        let waited = snapshot.take();
        let is_news = waited.is_none();
        self.metadata.machine = metadata.machine.clone();
        self.metadata.filter = metadata.filter.clone();
        if let Some(waited) = waited {
            metadata.users.splice(0..0, waited.metadata.users);
            metadata.namespaces.splice(0..0, waited.metadata.namespaces);
            metadata.own.splice(0..0, waited.metadata.own);
        }
        *snapshot = Some(PlayerSnapshot {
            position: self.position.clone(),
            history: self.history.clone(),
            flows: self.flows,
            method: Arc::clone(&self.method),
            metadata,
        });
        drop(snapshot);
        if is_news {
            (self.notify)(PlayerEvent::Ready);
        }
    }
}
