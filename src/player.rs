//! Plays recordings for the live table, in a thread of its own: at the pace at which they were recorded
//! or any other, forth and back. What is shown at a place is always the history of everything before
//! it, however one got there. Knows no kernel and no presentation.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::config;
use crate::filter::Expr;
use crate::history::History;
use crate::interval::{Interval, Method, Told};
use crate::replay::{Damage, Extent, Frame, Replay, measure};

/// Speeds that keys step through.
const SPEEDS: [f64; 12] = [
    0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 600.0, 3600.0,
];
/// How often something is shown of a long way.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// Most damages that are remembered: one a file.
const MOST_DAMAGES: usize = 100;

/// What a player is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// Go on, or stand still; at the end, go on from the beginning.
    Toggle,
    /// So many intervals on, or back; then stand still.
    Step(i64),
    /// So much recorded time on, or back.
    SeekBy(Duration, Direction),
    /// To a place, as a part of the whole.
    SeekTo(f64),
    /// The next speed.
    Speed(Direction),
}

/// Which way in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// On.
    Forward,
    /// Back.
    Back,
}

/// What a player does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Intervals follow.
    #[default]
    Playing,
    /// It stands still.
    Paused,
    /// It is on its way to another place.
    Seeking,
    /// There is no more.
    AtEnd,
}

/// Where a player is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Position {
    /// What it does.
    pub state: State,
    /// Recorded time a second.
    pub speed: f64,
    /// Recorded time until here.
    pub at: Duration,
    /// Recorded time in all; `None` until it is known.
    pub whole: Option<Duration>,
    /// What could not be read so far, of many files that of the first hundred.
    pub damages: Vec<Damage>,
}

/// What is to be shown.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Where.
    pub position: Position,
    /// Of everything until there.
    pub history: History,
    /// Flows in the latest interval.
    pub flows: usize,
    /// How that was counted.
    pub method: Arc<Method>,
    /// What is told since the last picture.
    pub told: Told,
}

/// What a player tells, from its own thread.
#[derive(Debug)]
pub enum Notice {
    /// A picture waits to be taken.
    Ready,
    /// Nothing follows: a limit is reached.
    Finished,
}

/// When a player ends by itself. The end of the recording is none.
pub struct Limits {
    /// After so many intervals.
    pub count: Option<u64>,
    /// After so much recorded time.
    pub duration: Option<Duration>,
    /// After an interval of which this is true.
    pub until: Box<dyn FnMut(&Interval) -> bool + Send>,
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Limits");
        shown.field("count", &self.count).finish_non_exhaustive()
    }
}

impl Limits {
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
    orders: Option<Sender<Order>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the threads share.
#[derive(Debug, Default)]
struct Shared {
    picture: Mutex<Option<Picture>>,
    extent: Mutex<Option<Extent>>,
    over: std::sync::atomic::AtomicBool,
}

impl Player {
    /// Starts to play. `notify` must not block.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        config: &config::Replay,
        filter: Option<&Expr>,
        limits: Limits,
        notify: impl Fn(Notice) + Send + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (orders, receiver) = channel();
        let mut work = Work {
            files: config.files.clone(),
            interval: config.interval,
            filter: filter.cloned(),
            replay: Replay::new(&[], None, None),
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
            shared: Arc::clone(&shared),
            notify: Box::new(notify),
        };
        let scanned = Arc::clone(&shared);
        let files = config.files.clone();
        let scan = thread::Builder::new().name("measure".to_owned());
        scan.spawn(move || {
            let is_over = || scanned.over.load(std::sync::atomic::Ordering::Relaxed);
            let extent = measure(&files, is_over);
            *lock(&scanned.extent) = Some(extent);
        })
        .context("start a thread to measure recordings")?;
        let thread = thread::Builder::new()
            .name("player".to_owned())
            .spawn(move || work.run(&receiver))
            .context("start a thread to play recordings")?;
        Ok(Self {
            orders: Some(orders),
            shared,
            thread: Some(thread),
        })
    }

    /// Takes what is to be shown, if anything is new.
    pub fn take(&self) -> Option<Picture> {
        let mut picture = lock(&self.shared.picture).take()?;
        picture.position.whole = lock(&self.shared.extent).map(|extent| extent.elapsed);
        Some(picture)
    }

    /// Tells it to do something. Does not wait.
    pub fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // An error means that it has ended by itself.
            let _ = orders.send(order);
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.shared
            .over
            .store(true, std::sync::atomic::Ordering::Relaxed);
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// After so many intervals.
    Count(u64),
    /// After so much recorded time, or as near as intervals end.
    Time(Duration),
}

struct Work {
    files: Vec<PathBuf>,
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
    notify: Box<dyn Fn(Notice) + Send>,
}

impl Work {
    fn run(&mut self, orders: &Receiver<Order>) {
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
                                (self.notify)(Notice::Finished);
                                return;
                            }
                            self.show();
                            // Late ones are not made up for in a hurry.
                            due = due.max(Instant::now() - SHOW_EVERY) + self.wait();
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
                (self.notify)(Notice::Finished);
                return;
            }
            due = Instant::now() + self.wait();
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
        let Some(Frame { interval, told }) = self.next.take() else {
            return false;
        };
        self.history.add(&interval);
        self.flows = interval.flows.len();
        self.method = Arc::clone(&interval.method);
        self.told.machine = told.machine;
        self.told.filter = told.filter;
        self.told.users.extend(told.users);
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
        self.replay = Replay::new(&self.files, self.interval, self.filter.as_ref());
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
        *picture = Some(Picture {
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
