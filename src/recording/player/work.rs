//! What a player does, in its own thread.

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

/// Speeds that keys step through.
const SPEEDS: [f64; 12] = [
    0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 600.0, 3600.0,
];
/// How often something is shown of a long way.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// Most damages that are remembered: one a file.
const MAX_CORRUPTIONS: usize = 100;

/// Names of users that are kept for one who has not looked, before those that were replaced go.
const MAX_USERS: usize = 1 << 17;

/// A place to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SeekGoal {
    /// After so many intervals.
    Count(u64),
    /// After so much recorded time, or as near as intervals end.
    Time(Duration),
}

pub(super) struct PlayerThread {
    files: Vec<Recording>,
    interval: Option<Duration>,
    filter: Option<Expr>,
    replay: Replay,
    /// What comes next: how long it takes has to be known before.
    next: Option<RecordedInterval>,
    history: History,
    flows: usize,
    method: Arc<Method>,
    metadata: RecordingMetadata,
    position: PlayerPosition,
    limits: PlayerLimits,
    /// Orders that came on the way to a place.
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
        // Something is on the screen at once.
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
                            // Late ones are not made up for in a hurry.
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
            // At the beginning there is nothing to look at meanwhile.
            due = Instant::now();
            if self.history.intervals() > 0 {
                due += self.wait();
            }
        }
    }

    /// How long the next interval takes at this speed.
    fn wait(&self) -> Duration {
        let length = self.next.as_ref().map(|next| next.interval.elapsed);
        let seconds = length.unwrap_or_default().as_secs_f64() / self.position.speed;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4)
    }

    /// True when a limit is reached.
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

    /// Goes to a place; then is in that state. Another place that is asked for on the way takes the
    /// place of it, all else waits until it is reached. True when a limit is.
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
            // Back from the end there is something to play.
            PlayerState::AtEnd if self.next.is_some() => PlayerState::Paused,
            then => then,
        };
        self.show();
        reached
    }

    /// The place that an order means which comes on the way to another.
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

    /// The place where a part of the whole lies behind, if the whole is known.
    fn part(&self, part: f64) -> Option<SeekGoal> {
        let whole = lock(&self.shared.length).map(|length| length.elapsed)?;
        Some(SeekGoal::Time(whole.mul_f64(part.clamp(0.0, 1.0))))
    }

    /// Whether a place can only be reached from the beginning.
    fn is_past(&self, goal: SeekGoal) -> bool {
        let clock = self.history.clock();
        // The first interval is always there.
        self.history.intervals() > 1
            && match goal {
                SeekGoal::Count(count) => count < self.history.intervals(),
                SeekGoal::Time(time) => time + clock.elapsed / 2 < clock.at,
            }
    }

    /// Whether there is no better place.
    fn is_at(&self, goal: SeekGoal) -> bool {
        let Some(next) = &self.next else {
            return true;
        };
        // Nothing is no place: the first interval is always there.
        self.history.intervals() > 0
            && match goal {
                SeekGoal::Count(count) => self.history.intervals() >= count,
                SeekGoal::Time(time) => self.history.clock().at + next.interval.elapsed / 2 > time,
            }
    }

    /// Takes the next interval in. True when a limit is reached with it.
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
        if self.metadata.users.len() > MAX_USERS {
            // Of each user the last name counts.
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
                    // Every time it is played there is the same one.
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

    /// Back to the beginning.
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
        // Metadata of a snapshot that was not taken goes into the next.
        let waited = snapshot.take();
        let is_news = waited.is_none();
        self.metadata.machine = metadata.machine.clone();
        self.metadata.filter = metadata.filter.clone();
        if let Some(waited) = waited {
            metadata.users.splice(0..0, waited.metadata.users);
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
