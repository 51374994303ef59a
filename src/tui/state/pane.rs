//! One table of the screen: rows in their order, selection and scroll position.

use ratatui::layout::Rect;

use super::shared::SharedState;
use super::stable_order::StableOrder;
use crate::stats::history::History;
use crate::stats::ranking::{Row, RowId, Rows, steady_value};
use crate::tui::draw::layout::{HEAD, room};
use crate::view::{Directions, Group, SortKey};

/// A group that was opened by drilling down.
#[derive(Clone, Debug)]
pub struct DrillDown {
    /// Grouping of the rows before the group was opened.
    pub group: Group,
    /// Order of the rows before the group was opened.
    pub sort: SortKey,
    /// The row that was opened.
    pub id: RowId,
    /// Title of the row; not sanitized.
    pub title: String,
}

#[derive(Debug)]
pub struct Pane {
    /// Directions whose bytes the table shows.
    pub directions: Directions,
    /// Rows in the order in which they are shown; `None` before the first interval.
    pub rows: Option<Rows>,
    /// Keeps their order still.
    pub order: StableOrder,
    pub(in crate::tui) selected: Option<RowId>,
    /// Index of the selected row, or the last one it had.
    pub(in crate::tui) index: usize,
    /// Index of the first row shown.
    pub offset: usize,
    /// Flows that moved bytes in the latest interval, those that the filter leaves out included.
    pub moving_flows: usize,
    /// High-water mark of rows since the last reset; the table's height does not shrink below it.
    pub(in crate::tui) max_rows_seen: usize,
}

impl Pane {
    /// Creates an empty table.
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

    /// Returns at most `count` rows from index `from` on.
    pub fn shown(&self, history: &History, from: usize, count: usize) -> Vec<Row> {
        let places = from..self.len().min(from.saturating_add(count));
        places
            .filter_map(|index| self.row(history, index))
            .collect()
    }

    /// Returns the row at an index.
    pub fn row(&self, history: &History, index: usize) -> Option<Row> {
        self.rows.as_ref()?.row(history, index)
    }

    /// Returns the index of the selected row.
    pub fn selected(&self) -> Option<usize> {
        self.selected.as_ref().map(|_| self.index)
    }

    /// Selects a row, or the one with this id once it appears.
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

    /// Moves the selection to where its row is now. If the row has gone, nothing is selected and the view
    /// returns to the top.
    fn follow(&mut self, history: &History) {
        if let Some(id) = &self.selected {
            match self.find(history, id) {
                Some(index) => self.index = index,
                None => {
                    self.selected = None;
                    self.index = 0;
                    self.offset = 0;
                }
            }
        }
    }

    /// Whether a row is among the `room` rows that are shown.
    pub(in crate::tui) const fn is_in_sight(&self, index: usize, room: usize) -> bool {
        index >= self.offset && index < self.offset + room
    }

    /// Replaces the rows, with how many flows moved bytes in the latest interval.
    pub(in crate::tui) fn take(
        &mut self,
        rows: Option<(Rows, usize)>,
        sort: SortKey,
        pinned: &[RowId],
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
        let on_top = pinned
            .iter()
            .filter_map(|id| rows.find(&shared.history, id));
        let on_top: Vec<usize> = on_top.collect();
        if !on_top.is_empty() {
            rows.bring_forward(&on_top);
        }
        self.moving_flows = moving_flows;
        self.max_rows_seen = self.max_rows_seen.max(rows.len());
        self.rows = Some(rows);
        self.follow(&shared.history);
    }

    /// Resets order, scrolling and height for another set of rows.
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
        room(section, has_untracked, shared.live_rows)
    }

    /// Keeps the view within the rows, `room` of which are shown, and scrolls the selected row into sight if
    /// that is wanted.
    pub(in crate::tui) fn scroll(&mut self, room: usize, to_selection: bool) {
        self.offset = self.offset.min(self.len().saturating_sub(room));
        if let Some(index) = self.selected().filter(|_| to_selection) {
            self.offset = self.offset.min(index);
            if room > 0 && index >= self.offset + room {
                self.offset = index + 1 - room;
            }
        }
    }

    /// Whether there is a line for untracked bytes.
    pub fn has_untracked(&self, totals: bool) -> bool {
        self.untracked(totals) > 0
    }

    /// Returns the bytes of flows that found the flow table full.
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

    pub(in crate::tui) fn needed_lines(&self, live_rows: Option<usize>, totals: bool) -> u16 {
        let rows = live_rows
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
