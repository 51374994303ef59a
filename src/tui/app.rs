//! What the table shows: pure state, changed only by [`App::update`].

use std::sync::Arc;
use std::time::Duration;

use super::columns::{Widths, columns};
use crate::config::Config;
use crate::interval::{Interval, Method};
use crate::names::Names;
use crate::rank::Ranking;
use crate::units;

/// Everything that can happen to an [`App`].
#[derive(Debug)]
pub enum Action {
    /// Show this interval.
    Show(Interval),
    /// A host name was found.
    NameFound,
    /// Leave.
    Quit,
}

/// The state of the live table.
#[derive(Debug)]
pub struct App {
    pub(super) host: String,
    pub(super) method: Arc<Method>,
    pub(super) interval: Duration,
    pub(super) top_n: Option<usize>,
    pub(super) names: Names,
    pub(super) ranking: Option<Ranking>,
    /// Whether any interval had bytes.
    pub(super) traffic_seen: bool,
    /// Widest content so far: it only grows, so that columns hold still.
    pub(super) widths: Widths,
    quit: bool,
}

impl App {
    /// Nothing to show yet.
    pub fn new(config: &Config, host: String, method: Arc<Method>, names: Names) -> Self {
        Self {
            host,
            method,
            interval: config.interval,
            top_n: config.top_n,
            names,
            ranking: None,
            traffic_seen: false,
            widths: Widths::default(),
            quit: false,
        }
    }

    /// Changes the state by what happened.
    pub fn update(&mut self, action: Action) {
        match action {
            Action::Show(interval) => {
                let ranking = Ranking::new(&interval, self.top_n);
                self.traffic_seen |= !(ranking.ingress.is_empty() && ranking.egress.is_empty());
                self.method = Arc::clone(&ranking.method);
                self.ranking = Some(ranking);
                self.grow();
            }
            Action::NameFound => self.grow(),
            Action::Quit => self.quit = true,
        }
    }

    /// Whether to leave.
    pub fn has_quit(&self) -> bool {
        self.quit
    }

    fn grow(&mut self) {
        let Some(ranking) = &self.ranking else {
            return;
        };
        let end = |end| {
            let label = self.names.label(end);
            columns(&units::sanitize(&label.host)) + label.port.len()
        };
        for flow in ranking.rows() {
            let process = flow.comm.to_string_lossy();
            self.widths.grow(&Widths {
                local: end(&flow.key.local),
                remote: end(&flow.key.remote),
                pid: flow.key.tgid.to_string().len(),
                process: columns(&units::sanitize(&process)),
            });
        }
    }
}
