//! The queue of intervals to be written, bounded in intervals and in flows.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::interval::Interval;
use crate::sync::lock;

/// Most intervals that wait separately; later ones are merged into the last.
const MAX_INTERVALS: usize = 64;
/// Most flows that wait, about 64 MB, besides one further interval.
const MAX_FLOWS: usize = 1 << 18;

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: VecDeque<Interval>,
    flows: usize,
    closed: bool,
}

impl Queue {
    /// Queues an interval; returns false if there is no room.
    pub(super) fn put(&self, interval: &Interval) -> bool {
        let mut state = lock(&self.state);
        if state.flows > MAX_FLOWS {
            return false;
        }
        let flows = interval.flows.len();
        let is_full = state.waiting.len() >= MAX_INTERVALS || state.flows + flows > MAX_FLOWS;
        match state.waiting.back_mut() {
            Some(last) if is_full => {
                // Most flows of the interval are usually in the last one already, so merging takes
                // little room.
                let before = last.flows.len();
                last.merge(interval.clone());
                let grown = last.flows.len() - before;
                state.flows += grown;
            }
            _ => {
                state.flows += flows;
                state.waiting.push_back(interval.clone());
            }
        }
        drop(state);
        self.changed.notify_all();
        true
    }

    /// Waits for the next interval; `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Interval> {
        let mut state = lock(&self.state);
        loop {
            if let Some(interval) = state.waiting.pop_front() {
                state.flows -= interval.flows.len();
                return Some(interval);
            }
            if state.closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }

    /// Waits for this long, or until the queue is closed; returns whether it is closed.
    pub(super) fn wait_for_close(&self, most: Duration) -> bool {
        let until = Instant::now() + most;
        let mut state = lock(&self.state);
        while !state.closed {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                return false;
            };
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}
