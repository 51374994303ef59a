//! A source that ends with the first interval that meets a condition.

use std::sync::Arc;

use anyhow::Result;

use super::Source;
use crate::filter::{Expr, Matcher, Subject};
use crate::model::flow::{Endpoint, FlowKey, Owner, Protocol};
use crate::model::interval::Interval;

/// A condition on the total of an interval.
#[derive(Clone, Debug)]
pub struct ExitCondition {
    matcher: Matcher,
    key: FlowKey,
    owner: Arc<Owner>,
}

impl ExitCondition {
    /// Compiles an expression about amounts only (see
    /// [`Expr::is_about_amounts`](crate::filter::Expr::is_about_amounts)): a total has neither ends
    /// nor an owner.
    pub fn new(expr: &Expr) -> Self {
        let end = Endpoint::default();
        Self {
            matcher: Matcher::new(expr),
            key: FlowKey::new(Protocol::Tcp, end, end, 0),
            owner: Arc::default(),
        }
    }

    /// Whether an interval meets it, by everything counted in it, untracked bytes included.
    pub fn is_met(&mut self, interval: &Interval) -> bool {
        self.matcher.matches(&Subject {
            key: &self.key,
            owner: &self.owner,
            counters: &interval.total(),
            internal: false,
            class: None,
            zone: None,
            dns_name: None,
            elapsed: interval.elapsed,
        })
    }
}

/// Ends with the interval that meets a condition, and reports it.
#[derive(Debug)]
pub struct ExitWhen<S, F> {
    source: S,
    condition: Option<ExitCondition>,
    on_met: F,
    is_met: bool,
}

impl<S, F> ExitWhen<S, F> {
    /// Without a condition the source does not end. `on_met` is called with the interval that met it.
    pub const fn new(source: S, condition: Option<ExitCondition>, on_met: F) -> Self {
        Self {
            source,
            condition,
            on_met,
            is_met: false,
        }
    }
}

impl<S: Source, F: FnMut(&Interval) + Send> Source for ExitWhen<S, F> {
    fn end_interval(&mut self) -> Result<Interval> {
        let interval = self.source.end_interval()?;
        if let Some(condition) = &mut self.condition
            && condition.is_met(&interval)
        {
            self.is_met = true;
            (self.on_met)(&interval);
        }
        Ok(interval)
    }

    fn settle(&mut self) -> Result<()> {
        self.source.settle()
    }

    fn is_over(&self) -> bool {
        self.is_met || self.source.is_over()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{NameTables, parse};
    use crate::model::flow::Counters;
    use crate::testing::{Intervals, flow};

    fn is_met(text: &str) -> bool {
        let expr = parse(text, &NameTables::default()).unwrap();
        assert!(expr.is_about_amounts(), "{text}");
        // 1000 B/s received, 3000 B/s sent, 500 of them untracked.
        let mut interval =
            Intervals::default().next(2000, vec![flow(1, 500, 5000), flow(2, 1500, 0)]);
        interval.losses.untracked = Counters {
            tx_bytes: 1000,
            ..Counters::default()
        };
        ExitCondition::new(&expr).is_met(&interval)
    }

    #[test]
    fn the_total_is_everything_that_was_counted() {
        for text in [
            "rate >= 4kB",
            "rx rate = 1kB",
            "tx rate > 2999B",
            "bytes = 8kB",
            "tx bytes > 5999 and rx bytes <= 2000",
            "rate > 1GB or not rx rate > 1MB",
        ] {
            assert!(is_met(text), "{text}");
        }
        for text in ["rate > 4kB", "rx rate > 1kB", "tx bytes < 6kB"] {
            assert!(!is_met(text), "{text}");
        }
        let expr = parse("rate > 1 and tcp", &NameTables::default()).unwrap();
        assert!(!expr.is_about_amounts());
    }
}
