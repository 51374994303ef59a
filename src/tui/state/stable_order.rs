//! Keeps a table still: active rows that are nearly equal keep their order, and a frozen order
//! ignores the rates.

use hashbrown::HashMap;

use crate::stats::history::History;
use crate::stats::ranking::{RowId, Rows};

/// Relative change of a row's value, since it was placed, above which it moves.
const NEAR: f64 = 1.0 / 16.0;
/// Number of first rows that are kept still: more than any screen shows.
const KEPT: usize = 400;

/// The value by which a row was placed, and its index.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    value: f64,
    position: usize,
}

/// The order of a table, over time.
#[derive(Debug, Default)]
pub struct StableOrder {
    anchors: HashMap<RowId, Anchor>,
    held: bool,
}

impl StableOrder {
    /// Drops all positions: rows come in a new order.
    pub fn reset(&mut self) {
        self.anchors.clear();
    }

    /// Freezes the order if `held`: new rates no longer change it.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Arranges `rows`, already sorted with the active ones first, in the order to show. `value` is
    /// the sort value of the row at an index, `None` for text, which is stable; `descending` is the
    /// order. Only active rows are steadied: idle ones are in the order of their last bytes.
    pub fn arrange(
        &mut self,
        rows: &mut Rows,
        history: &History,
        value: impl Fn(&Rows, usize) -> Option<f64>,
        descending: bool,
    ) {
        let head = rows.len().min(KEPT);
        let was_shown = |&n: &usize| {
            let id = self.held.then(|| rows.id(history, n)).flatten();
            id.is_some_and(|id| self.anchors.contains_key(&id))
        };
        let kept = (0..head).chain((head..rows.len()).filter(was_shown));
        let mut kept: Vec<RankedRow> = kept
            .filter_map(|n| {
                let id = rows.id(history, n)?;
                let now = value(rows, n);
                Some(self.position(n, id, now, n >= rows.in_order))
            })
            .collect();
        if self.held {
            kept.sort_by_key(|placed| placed.before);
        } else if let Some(moving) = kept.get_mut(..rows.in_order.min(head))
            && moving.iter().all(|placed| placed.is_steadied)
        {
            moving.sort_by(|a, b| {
                let (first, second) = if descending { (b, a) } else { (a, b) };
                let by_value = first.value.total_cmp(&second.value);
                by_value
                    .then(a.before.cmp(&b.before))
                    .then(a.row.cmp(&b.row))
            });
        }
        let order: Vec<usize> = kept.iter().map(|placed| placed.row).collect();
        rows.bring_forward(&order);
        let anchors = (0..).zip(kept).map(|(position, placed)| {
            let value = placed.value;
            (placed.id, Anchor { value, position })
        });
        self.anchors = anchors.collect();
    }

    fn position(&self, row: usize, id: RowId, now: Option<f64>, idle: bool) -> RankedRow {
        let anchor = self.anchors.get(&id);
        let value = match (anchor, now) {
            // Any bytes that the row moves next are a change.
            _ if idle => 0.0,
            (Some(anchor), Some(now)) if (now - anchor.value).abs() > anchor.value * NEAR => now,
            (Some(anchor), _) => anchor.value,
            (None, now) => now.unwrap_or(f64::NAN),
        };
        RankedRow {
            row,
            id,
            value,
            before: anchor.map_or(usize::MAX, |anchor| anchor.position),
            is_steadied: now.is_some(),
        }
    }
}

/// A row while it is arranged.
struct RankedRow {
    /// Index of the row by sorting.
    row: usize,
    id: RowId,
    /// Value that places it.
    value: f64,
    /// Index at which it was shown before.
    before: usize,
    is_steadied: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::interval::{Interval, Losses};
    use crate::stats::ranking::{Row, RowQuery};
    use crate::testing::sent;
    use crate::view::{Column, Directions, SortKey};
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    /// What a table shows after each of some intervals: processes by what they sent.
    fn shown(order: &mut StableOrder, history: &mut History, bytes: &[(u32, u64)]) -> Vec<u32> {
        history.add(&Interval {
            ended: SystemTime::UNIX_EPOCH + Duration::from_secs(history.intervals()),
            elapsed: Duration::from_secs(1),
            flows: bytes
                .iter()
                .map(|&(tgid, bytes)| sent(tgid, bytes))
                .collect(),
            losses: Losses::default(),
            interfaces: Vec::new(),
            method: Arc::default(),
        });
        let view = RowQuery {
            directions: Directions::Tx,
            sort: SortKey::default(),
            ..RowQuery::default()
        };
        let mut rows = Rows::new(history, &view, &(), &|_| true);
        let value = |rows: &Rows, n| Some(rows.row(history, n)?.traffic.now.tx_bytes as f64);
        order.arrange(&mut rows, history, value, true);
        let tgid = |row: Row| row.common.tgid.unwrap_or(0);
        rows.iter(history).map(tgid).collect()
    }

    #[test]
    fn near_equals_keep_their_places_and_others_move() {
        let (mut order, mut history) = (StableOrder::default(), History::new());
        let mut show = |sent: &[(u32, u64)]| shown(&mut order, &mut history, sent);
        assert_eq!(show(&[(1, 1000), (2, 990), (3, 500)]), [1, 2, 3]);
        assert_eq!(show(&[(1, 985), (2, 1010), (3, 510)]), [1, 2, 3]);
        assert_eq!(show(&[(1, 1020), (2, 1030), (3, 490)]), [1, 2, 3]);
        assert_eq!(show(&[(1, 1000), (2, 1000), (3, 2000)]), [3, 1, 2]);
    }

    #[test]
    fn an_idle_row_stands_behind_all_that_move() {
        let (mut order, mut history) = (StableOrder::default(), History::new());
        let mut show = |sent: &[(u32, u64)]| shown(&mut order, &mut history, sent);
        assert_eq!(show(&[(1, 1000), (2, 500), (3, 100)]), [1, 2, 3]);
        assert_eq!(show(&[(1, 1000), (3, 100)]), [1, 3, 2]);
        assert_eq!(show(&[(1, 1000), (2, 600), (3, 100)]), [1, 2, 3]);
    }

    #[test]
    fn totals_keep_idle_rows_in_the_order_of_the_column() {
        let (mut order, mut history) = (StableOrder::default(), History::new());
        shown(&mut order, &mut history, &[(1, 9_000), (2, 800), (3, 70)]);
        shown(&mut order, &mut history, &[(2, 800), (3, 70)]);
        let view = RowQuery {
            directions: Directions::Tx,
            sort: SortKey::by(Column::Avg10),
            past: true,
            ..RowQuery::default()
        };
        let mut rows = Rows::new(&history, &view, &(), &|_| true);
        let value = |rows: &Rows, n| Some(rows.row(&history, n)?.traffic.avg10(Directions::Tx));
        order.reset();
        order.arrange(&mut rows, &history, value, true);
        let ids = rows.iter(&history).map(|row| row.common.tgid);
        assert_eq!(ids.collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn idle_rows_are_in_the_order_of_their_last_bytes() {
        let (mut order, mut history) = (StableOrder::default(), History::new());
        let mut show = |sent: &[(u32, u64)]| shown(&mut order, &mut history, sent);
        show(&[(1, 900), (2, 800), (3, 700), (4, 600), (5, 10)]);
        assert_eq!(show(&[(3, 10), (5, 10)]), [3, 5, 1, 2, 4]);
        assert_eq!(show(&[(5, 10)]), [5, 3, 1, 2, 4]);
    }

    #[test]
    fn a_frozen_order_stays_whatever_rates_do() {
        let (mut order, mut history) = (StableOrder::default(), History::new());
        shown(&mut order, &mut history, &[(1, 30), (2, 20), (3, 10)]);
        order.hold(true);
        let sent = [(1, 1), (2, 200), (3, 3000), (4, 40_000)];
        assert_eq!(shown(&mut order, &mut history, &sent), [1, 2, 3, 4]);
        order.hold(false);
        assert_eq!(shown(&mut order, &mut history, &sent), [4, 3, 2, 1]);
    }
}
