//! What a player does, in its own thread.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::{Direction, Limits, Notice, Order, PlayerSnapshot, Position, Shared, State, lock};
use crate::filter::Expr;
use crate::jsonl::input::Recording;
use crate::jsonl::reader::Frame;
use crate::model::interval::{Method, Told};
use crate::recording::replay::Replay;
use crate::stats::history::History;

/// Speeds that keys step through.
const SPEEDS: [f64; 12] = [
    0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 600.0, 3600.0,
];
/// How often something is shown of a long way.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// Most damages that are remembered: one a file.
const MOST_DAMAGES: usize = 100;

/// Names of users that are kept for one who has not looked, before those that were replaced go.
const MAX_TOLD_USERS: usize = 1 << 17;

/// A place to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// After so many intervals.
    Count(u64),
    /// After so much recorded time, or as near as intervals end.
    Time(Duration),
}

pub(super) struct Work {
    files: Vec<Recording>,
    interval: Option<Duration>,
    filter: Option<Expr>,
    replay: Replay,
    /// What comes next: how long it takes has to be known before.
    next: Option<Frame>,
    history: History,
    flows: usize,
    method: Arc<Method>,
    told: Told,
    position: Position,
    limits: Limits,
    /// Orders that came on the way to a place.
    waiting: VecDeque<Order>,
    shared: Arc<Shared>,
    notify: Arc<dyn Fn(Notice) + Send + Sync>,
}

impl Work {
    pub(super) fn new(
        files: Vec<Recording>,
        interval: Option<Duration>,
        filter: Option<&Expr>,
        limits: Limits,
        shared: Arc<Shared>,
        notify: Arc<dyn Fn(Notice) + Send + Sync>,
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
            told: Told::default(),
            position: Position {
                speed: 1.0,
                ..Position::default()
            },
            limits,
            waiting: VecDeque::new(),
            shared,
            notify,
        }
    }

    /// Until a limit is reached, or nobody is there to order anything.
    pub(super) fn run(&mut self, orders: &Receiver<Order>) {
        self.rewind();
        // Something is on the screen at once.
        let mut due = Instant::now();
        loop {
            let order = match self.position.state {
                _ if !self.waiting.is_empty() => self.waiting.pop_front(),
                State::Playing if self.next.is_some() => {
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
                    if self.next.is_none() && self.position.state != State::AtEnd {
                        self.position.state = State::AtEnd;
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
    fn obey(&mut self, order: Order, orders: &Receiver<Order>) -> bool {
        let at = self.history.clock().at;
        let now = self.position.state;
        match order {
            Order::Toggle if now == State::AtEnd => {
                self.rewind();
                self.position.state = State::Playing;
            }
            Order::Toggle if now == State::Playing => self.position.state = State::Paused,
            Order::Toggle => self.position.state = State::Playing,
            Order::Step(by) => {
                let count = self.history.intervals().saturating_add_signed(by).max(1);
                return self.go(Goal::Count(count), State::Paused, orders);
            }
            Order::SeekBy(by, Direction::Forward) => {
                return self.go(Goal::Time(at.saturating_add(by)), now, orders);
            }
            Order::SeekBy(by, Direction::Back) => {
                return self.go(Goal::Time(at.saturating_sub(by)), now, orders);
            }
            Order::SeekTo(part) => {
                if let Some(goal) = self.part(part) {
                    return self.go(goal, now, orders);
                }
            }
            Order::Speed(direction) => {
                let speed = self.position.speed;
                let next = match direction {
                    Direction::Forward => SPEEDS.into_iter().find(|&next| next > speed),
                    Direction::Back => SPEEDS.into_iter().rev().find(|&next| next < speed),
                };
                self.position.speed = next.unwrap_or(speed);
            }
        }
        self.show();
        false
    }

    /// Goes to a place; then is in that state. Another place that is asked for on the way takes the
    /// place of it, all else waits until it is reached. True when a limit is.
    fn go(&mut self, mut goal: Goal, then: State, orders: &Receiver<Order>) -> bool {
        self.position.state = State::Seeking;
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
                Ok(order) => match self.instead(goal, order) {
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
            State::AtEnd if self.next.is_some() => State::Paused,
            then => then,
        };
        self.show();
        reached
    }

    /// The place that an order means which comes on the way to another.
    fn instead(&self, goal: Goal, order: Order) -> Option<Goal> {
        match (goal, order) {
            (Goal::Time(time), Order::SeekBy(by, Direction::Forward)) => {
                Some(Goal::Time(time.saturating_add(by)))
            }
            (Goal::Time(time), Order::SeekBy(by, Direction::Back)) => {
                Some(Goal::Time(time.saturating_sub(by)))
            }
            (_, Order::SeekTo(part)) => self.part(part),
            _ => None,
        }
    }

    /// The place where a part of the whole lies behind, if the whole is known.
    fn part(&self, part: f64) -> Option<Goal> {
        let whole = lock(&self.shared.extent).map(|extent| extent.elapsed)?;
        Some(Goal::Time(whole.mul_f64(part.clamp(0.0, 1.0))))
    }

    /// Whether a place can only be reached from the beginning.
    fn is_past(&self, goal: Goal) -> bool {
        let clock = self.history.clock();
        // The first interval is always there.
        self.history.intervals() > 1
            && match goal {
                Goal::Count(count) => count < self.history.intervals(),
                Goal::Time(time) => time + clock.elapsed / 2 < clock.at,
            }
    }

    /// Whether there is no better place.
    fn is_at(&self, goal: Goal) -> bool {
        let Some(next) = &self.next else {
            return true;
        };
        // Nothing is no place: the first interval is always there.
        self.history.intervals() > 0
            && match goal {
                Goal::Count(count) => self.history.intervals() >= count,
                Goal::Time(time) => self.history.clock().at + next.interval.elapsed / 2 > time,
            }
    }

    /// Takes the next interval in. True when a limit is reached with it.
    fn advance(&mut self) -> bool {
        let Some(Frame { interval, told, .. }) = self.next.take() else {
            return false;
        };
        self.history.add(&interval);
        self.flows = interval.flows.len();
        self.method = Arc::clone(&interval.method);
        self.told.machine = told.machine;
        self.told.filter = told.filter;
        self.told.users.extend(told.users);
        if self.told.users.len() > MAX_TOLD_USERS {
            // Of each user the last name counts.
            let last: HashMap<u32, Arc<str>> = self.told.users.drain(..).collect();
            self.told.users.extend(last);
        }
        self.told.own.extend(told.own);
        self.read();
        let (count, elapsed) = (self.history.intervals(), self.history.clock().at);
        self.limits.is_reached(&interval, count, elapsed)
    }

    fn read(&mut self) {
        loop {
            match self.replay.next() {
                Some(Ok(frame)) => self.next = Some(frame),
                Some(Err(damage)) => {
                    let damages = &mut self.position.damages;
                    // Every time it is played there is the same one.
                    if !damages.contains(&damage) && damages.len() < MOST_DAMAGES {
                        damages.push(damage);
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
        let mut picture = lock(&self.shared.picture);
        let mut told = std::mem::take(&mut self.told);
        // What was not taken is told again.
        let waited = picture.take();
        let is_news = waited.is_none();
        self.told.machine = told.machine.clone();
        self.told.filter = told.filter.clone();
        if let Some(waited) = waited {
            told.users.splice(0..0, waited.told.users);
            told.own.splice(0..0, waited.told.own);
        }
        *picture = Some(PlayerSnapshot {
            position: self.position.clone(),
            history: self.history.clone(),
            flows: self.flows,
            method: Arc::clone(&self.method),
            told,
        });
        drop(picture);
        if is_news {
            (self.notify)(Notice::Ready);
        }
    }
}
