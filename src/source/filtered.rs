//! A source without the flows that a filter does not match.

use anyhow::Result;

use super::Source;
use crate::filter::{Expr, Matcher, Subject};
use crate::model::interval::Interval;

/// Drops the flows of a source that do not match, so that no total has them. Untracked bytes belong
/// to no flow and stay.
#[derive(Debug)]
pub struct Filtered<S> {
    source: S,
    matcher: Option<Matcher>,
}

impl<S> Filtered<S> {
    /// Without a filter all flows stay.
    pub fn new(source: S, filter: Option<&Expr>) -> Self {
        Self {
            source,
            matcher: filter.map(Matcher::new),
        }
    }
}

impl<S: Source> Source for Filtered<S> {
    fn end_interval(&mut self) -> Result<Interval> {
        let mut interval = self.source.end_interval()?;
        if let Some(matcher) = &mut self.matcher {
            retain_matching(matcher, &mut interval);
        }
        Ok(interval)
    }

    fn settle(&mut self) -> Result<()> {
        self.source.settle()
    }

    fn is_over(&self) -> bool {
        self.source.is_over()
    }
}

/// Drops the flows of an interval that do not match.
pub fn retain_matching(matcher: &mut Matcher, interval: &mut Interval) {
    let elapsed = interval.elapsed;
    matcher.begin();
    // Dropping a flow may free its owner, whose address the next owner may get: so all flows are
    // matched before any is dropped.
    let mut meant = Vec::with_capacity(interval.flows.len());
    meant.extend(interval.flows.iter().map(|flow| {
        matcher.matches(&Subject {
            key: &flow.key,
            owner: &flow.owner,
            counters: &flow.counters,
            internal: flow.internal,
            class: flow.class,
            zone: flow.zone.as_deref(),
            dns_name: flow.dns_name.as_ref().map(|dns| &*dns.name),
            elapsed,
        })
    }));
    let mut meant = meant.into_iter();
    interval.flows.retain(|_| meant.next().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{NameTables, parse};
    use crate::model::flow::Counters;
    use crate::model::interval::Losses;
    use crate::testing::{Intervals, flow};

    struct TwentyFlows;

    impl Source for TwentyFlows {
        fn end_interval(&mut self) -> Result<Interval> {
            let flows = (0..20).map(|id| flow(id, 10, u64::from(id))).collect();
            let mut interval = Intervals::default().next(1000, flows);
            interval.losses = Losses {
                untracked: Counters {
                    rx_bytes: 7,
                    ..Counters::default()
                },
                missed_events: 3,
                ..Losses::default()
            };
            Ok(interval)
        }
    }

    fn filtered(text: &str) -> Interval {
        let expr = parse(text, &NameTables::default()).unwrap();
        let mut source = Filtered::new(TwentyFlows, Some(&expr));
        // The second, so that kept answers are of an earlier interval.
        source.end_interval().unwrap();
        source.end_interval().unwrap()
    }

    #[test]
    fn what_is_not_meant_is_in_no_total_and_losses_stay() {
        let interval = filtered("tx bytes >= 18");
        assert_eq!(interval.flows.len(), 2);
        let total = interval.total();
        assert_eq!((total.tx_bytes, total.rx_bytes), (18 + 19, 20 + 7));
        assert_eq!(interval.losses.missed_events, 3);
        assert_eq!(filtered("comm p0").flows.len(), 4);
        assert_eq!(filtered("comm p0 or p1").flows.len(), 8);
        assert_eq!(filtered("not comm p*").flows.len(), 0);
    }

    #[test]
    fn without_a_filter_everything_passes() {
        let mut source = Filtered::new(TwentyFlows, None);
        assert_eq!(source.end_interval().unwrap().flows.len(), 20);
    }
}
