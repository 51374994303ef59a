//! One table of the screen: its rows in their order, what is selected, which part is in sight.

use ratatui::layout::Rect;

use super::shared::SharedState;
use super::stable_order::StableOrder;
use crate::stats::history::History;
use crate::stats::ranking::{Row, RowId, Rows, steady_value};
use crate::tui::draw::layout::{HEAD, room};
use crate::view::{Directions, Group, SortKey};

/// A group that was opened.
#[derive(Clone, Debug)]
pub struct DrillDown {
    /// What the rows were.
    pub group: Group,
    /// Their order.
    pub sort: SortKey,
    /// Which one was opened.
    pub id: RowId,
    /// What it is called; not sanitized.
    pub title: String,
}

/// One table.
#[derive(Debug)]
pub struct Pane {
    /// Which bytes it is about.
    pub directions: Directions,
    /// What there is to show, in the order in which it is shown; `None` before the first interval.
    pub rows: Option<Rows>,
    /// Keeps their order still.
    pub order: StableOrder,
    pub(in crate::tui) selected: Option<RowId>,
    /// Where the selected row is, or was last.
    pub(in crate::tui) index: usize,
    /// The first row shown.
    pub offset: usize,
    /// How many flows moved bytes in the latest interval, and those among them that the filter left out.
    pub moving_flows: usize,
    /// Most rows it had since it was begun anew: its room does not shrink before.
    pub(in crate::tui) max_rows_seen: usize,
}

impl Pane {
    /// An empty one.
    pub fn new(directions: Directions) -> Self {
        Self {
            directions,
            rows: None,
            order: StableOrder::default(),
            selected: None,
            index: 0,
            offset: 0,
            moving_flows: 0,
            max_rows_seen: 0,
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.as_ref().map_or(0, Rows::len)
    }

    /// How many of them moved bytes in the latest interval.
    pub fn moving(&self) -> usize {
        self.rows.as_ref().map_or(0, |rows| rows.moving)
    }

    /// So many rows, from the given one on.
    pub fn shown(&self, history: &History, from: usize, count: usize) -> Vec<Row> {
        let places = from..self.len().min(from.saturating_add(count));
        places
            .filter_map(|index| self.row(history, index))
            .collect()
    }

    /// The row at a place in the order.
    pub fn row(&self, history: &History, index: usize) -> Option<Row> {
        self.rows.as_ref()?.row(history, index)
    }

    /// The place of the selected row.
    pub fn selected(&self) -> Option<usize> {
        self.selected.as_ref().map(|_| self.index)
    }

    /// Selects a row, if it is or comes there.
    pub fn select(&mut self, history: &History, id: Option<RowId>) {
        self.index = match &id {
            Some(id) => self.find(history, id).unwrap_or(self.index),
            None => 0,
        };
        self.selected = id;
    }

    fn find(&self, history: &History, id: &RowId) -> Option<usize> {
        self.rows.as_ref()?.find(history, id)
    }

    pub(in crate::tui) fn select_index(&mut self, history: &History, index: usize) {
        let index = index.min(self.len().saturating_sub(1));
        let rows = self.rows.as_ref();
        self.selected = rows.and_then(|rows| rows.id(history, index));
        self.index = index;
    }

    /// After rows have changed: the selection follows its row, or stays where that was last.
    fn follow(&mut self, history: &History) {
        if let Some(id) = &self.selected {
            match self.find(history, id) {
                Some(index) => self.index = index,
                None => self.select_index(history, self.index),
            }
        }
    }

    /// Takes rows that were made anew, with how many flows moved bytes in the latest interval.
    pub(in crate::tui) fn take(
        &mut self,
        rows: Option<(Rows, usize)>,
        sort: SortKey,
        shared: &SharedState,
    ) {
        let Some((mut rows, moving_flows)) = rows else {
            self.rows = None;
            return;
        };
        let (directions, clock) = (self.directions, rows.clock);
        self.order.arrange(
            &mut rows,
            &shared.history,
            |row| steady_value(row, sort.column, directions, &clock, &shared.owners),
            sort.descending,
        );
        self.moving_flows = moving_flows;
        self.max_rows_seen = self.max_rows_seen.max(rows.len());
        self.rows = Some(rows);
        self.follow(&shared.history);
    }

    /// Begins anew, for rows of another kind.
    pub(in crate::tui) fn reset(&mut self) {
        self.order.reset();
        self.max_rows_seen = 0;
        self.offset = 0;
        if self.selected.is_some() {
            self.index = 0;
        }
    }

    /// How many rows find room in a section.
    pub fn room(&self, shared: &SharedState, section: Rect) -> usize {
        let has_untracked = self.has_untracked(shared.display.totals);
        room(section, has_untracked, shared.top_n)
    }

    /// Has the selected row within the `room` rows that are shown.
    pub(in crate::tui) fn scroll(&mut self, room: usize) {
        let index = self.selected().unwrap_or(0);
        let last = self.len().saturating_sub(room);
        self.offset = self.offset.min(last).min(index);
        if room > 0 && index >= self.offset + room {
            self.offset = index + 1 - room;
        }
        if self.selected.is_none() {
            self.offset = 0;
        }
    }

    /// Whether untracked bytes have a line.
    pub fn has_untracked(&self, totals: bool) -> bool {
        self.untracked(totals) > 0
    }

    /// Bytes of flows that found the map full.
    pub fn untracked(&self, totals: bool) -> u64 {
        self.rows.as_ref().map_or(0, |rows| {
            let counters = if totals {
                &rows.untracked_total
            } else {
                &rows.untracked
            };
            self.directions.bytes(counters)
        })
    }

    pub(in crate::tui) fn needed_lines(&self, top_n: Option<usize>, totals: bool) -> u16 {
        let rows = top_n
            .map_or(self.max_rows_seen, |max_rows_seen| {
                max_rows_seen.min(self.max_rows_seen)
            })
            .max(1);
        let lines = u16::try_from(rows)
            .unwrap_or(u16::MAX / 4)
            .min(u16::MAX / 4);
        lines + HEAD + 1 + u16::from(self.has_untracked(totals))
    }
}
