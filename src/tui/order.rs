//! Keeps a table still. Rows that are nearly equal keep the places they had; a row that went silent
//! keeps its place as long as it is shown; and an order that is held is held whatever rates do.

use std::collections::HashMap;

use crate::rank::{Row, RowId};

/// A row moves for a change of more than this part of what it was last placed by.
const NEAR: f64 = 1.0 / 16.0;
/// So many of the first rows are kept still: more than any screen shows at once.
const KEPT: usize = 400;

/// What a row was placed by, and where.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    value: f64,
    place: usize,
}

/// The order of a table, over time.
#[derive(Debug, Default)]
pub struct Order {
    anchors: HashMap<RowId, Anchor>,
    held: bool,
}

impl Order {
    /// Forgets everything: rows come in a new order.
    pub fn reset(&mut self) {
        self.anchors.clear();
    }

    /// Whether new rates change the order no more.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// The order in which `rows`, sorted already, are shown. `value` is what they are sorted by,
    /// `None` for text, which needs no steadying; `descending` is which way.
    pub fn arrange(
        &mut self,
        rows: &[Row],
        value: impl Fn(&Row) -> Option<f64>,
        is_idle: impl Fn(&Row) -> bool,
        descending: bool,
    ) -> Vec<usize> {
        struct Placed {
            row: usize,
            value: f64,
            idle: bool,
            before: usize,
        }
        let place = |row: usize| {
            let anchor = self.anchors.get(&rows[row].id);
            let now = value(&rows[row])?;
            let idle = is_idle(&rows[row]);
            let value = match anchor {
                Some(anchor) if idle || (now - anchor.value).abs() <= anchor.value * NEAR => {
                    anchor.value
                }
                _ => now,
            };
            Some(Placed {
                row,
                value,
                idle,
                before: anchor.map_or(usize::MAX, |anchor| anchor.place),
            })
        };
        let head = rows.len().min(KEPT);
        let was_shown =
            |&row: &usize| is_idle(&rows[row]) && self.anchors.contains_key(&rows[row].id);
        let kept = (0..head).chain((head..rows.len()).filter(was_shown));
        let kept: Option<Vec<Placed>> = kept.map(place).collect();
        let mut order: Vec<usize> = match kept {
            None => (0..head).collect(),
            Some(mut kept) => {
                kept.sort_by(|a, b| {
                    let (first, second) = if descending { (b, a) } else { (a, b) };
                    let by_value = first.value.total_cmp(&second.value);
                    by_value
                        .then(a.idle.cmp(&b.idle))
                        .then(a.before.cmp(&b.before))
                        .then(a.row.cmp(&b.row))
                });
                for placed in &kept {
                    let anchor = Anchor {
                        value: placed.value,
                        place: placed.before,
                    };
                    self.anchors.insert(rows[placed.row].id.clone(), anchor);
                }
                kept.iter().map(|placed| placed.row).collect()
            }
        };
        if self.held {
            let anchors = &self.anchors;
            order.sort_by_key(|&row| anchors.get(&rows[row].id).map_or(usize::MAX, |a| a.place));
        }
        self.remember(rows, &order);
        let mut is_in = vec![false; rows.len()];
        for &row in &order {
            is_in[row] = true;
        }
        order.extend((0..rows.len()).filter(|&row| !is_in[row]));
        order
    }

    fn remember(&mut self, rows: &[Row], order: &[usize]) {
        let mut anchors = HashMap::with_capacity(order.len());
        for (place, &row) in order.iter().enumerate() {
            let id = &rows[row].id;
            let value = self.anchors.get(id).map_or(f64::NAN, |anchor| anchor.value);
            anchors.insert(id.clone(), Anchor { value, place });
        }
        self.anchors = anchors;
    }
}
