//! Time travel on a live machine: the table of a past moment, while counting goes on.

use std::time::{Duration, SystemTime};

use super::shared::SharedState;
use crate::stats::history::History;
use crate::stats::moments::PastMoment;

/// Intervals of a jump.
pub const JUMP: isize = 10;

/// The shown past moment, and the live history that continues meanwhile.
#[derive(Debug)]
pub struct Travel {
    /// The history that is still updated; [`SharedState::history`] is that of the past moment.
    pub live: History,
    /// Flows that moved bytes in the latest interval.
    pub live_flows: usize,
    /// Number of intervals since the moment.
    pub ago: usize,
    /// Beginning of the totals and averages of rows; `None` for the start.
    pub since: Option<SystemTime>,
    /// Flows that are part of a sum only.
    pub summed_flows: u64,
}

impl Travel {
    /// Time from the moment to the end of the latest interval.
    pub fn distance(&self, shown: &History) -> Duration {
        let passed = self.live.ended().duration_since(shown.ended());
        passed.unwrap_or_default()
    }
}

impl SharedState {
    /// Returns the live history, whatever moment is shown.
    pub fn live_history(&self) -> &History {
        match &self.travel {
            Some(travel) => &travel.live,
            None => &self.history,
        }
    }

    /// Shows the table `back` intervals before the shown one, or after it if negative. Returns
    /// whether the shown moment changed.
    pub fn travel_by(&mut self, back: isize) -> bool {
        let ago = self.travel.as_ref().map_or(0, |travel| travel.ago);
        self.travel_to(ago.saturating_add_signed(back))
    }

    /// Shows the table of `ago` intervals ago, or of the oldest moment kept; 0 is now. Returns
    /// whether the shown moment changed.
    pub fn travel_to(&mut self, ago: usize) -> bool {
        let ago = ago.min(self.moments.len().saturating_sub(1));
        if ago == self.travel.as_ref().map_or(0, |travel| travel.ago) {
            return false;
        }
        if ago == 0 {
            return self.return_to_now();
        }
        let Some(past) = self.moments.table(ago, self.live_history()) else {
            return false;
        };
        let PastMoment {
            history,
            flows,
            since,
            summed_flows,
        } = past;
        let shown = std::mem::replace(&mut self.history, history);
        let shown_flows = std::mem::replace(&mut self.flows_now, flows);
        let (live, live_flows) = match self.travel.take() {
            Some(travel) => (travel.live, travel.live_flows),
            None => (shown, shown_flows),
        };
        self.travel = Some(Travel {
            live,
            live_flows,
            ago,
            since,
            summed_flows,
        });
        true
    }

    /// Shows the latest interval again. Returns whether another moment was shown.
    pub fn return_to_now(&mut self) -> bool {
        let Some(travel) = self.travel.take() else {
            return false;
        };
        self.history = travel.live;
        self.flows_now = travel.live_flows;
        true
    }
}
