//! The order of rows: the sort column, and rows that are pinned on top.

use super::Panes;
use crate::tui::state::display_options::DisplayOptions;
use crate::tui::state::shared::SharedState;
use crate::view::{Column, SortKey};

impl Panes {
    /// Sorts by the next shown column, or by the previous one.
    pub(super) fn step_sort(&mut self, by: isize, shared: &SharedState) {
        let Some(table) = self.tables.get(self.focus) else {
            return;
        };
        let columns = self.columns(table, shared, shared.area.width);
        let mut there: Vec<Column> = columns.iter().map(|position| position.column).collect();
        // The sum of both directions has no column of its own.
        if let Some(position) = there.iter().position(|&column| column == Column::Rx) {
            there.insert(position, Column::Rate);
        }
        let now = there.iter().position(|&column| column == self.sort.column);
        let next = match now {
            Some(now) => (now as isize + by).rem_euclid(there.len().max(1) as isize) as usize,
            None => 0,
        };
        if let Some(&column) = there.get(next) {
            self.set_sort(SortKey::by(column), shared);
        }
    }

    /// Changes the order of the rows.
    pub fn set_sort(&mut self, sort: SortKey, shared: &SharedState) {
        self.sort = sort;
        for table in &mut self.tables {
            table.order.reset();
            table.tree.reset_order();
            table.offset = 0;
        }
        self.rebuild(shared);
    }

    /// Pins the selected row on top, or unpins it.
    pub(super) fn pin(&mut self, shared: &SharedState) {
        let selected = self.tables.get(self.focus);
        // A row within an opened row cannot be pinned by itself.
        let Some(id) = selected.and_then(|table| table.selected.clone()?.path.into_iter().next())
        else {
            return;
        };
        match self.pinned.iter().position(|pinned| *pinned == id) {
            Some(position) => drop(self.pinned.remove(position)),
            None => self.pinned.push(id),
        }
        self.rebuild(shared);
    }
}

/// Returns the column that tables are sorted by default.
pub(super) fn main_column(display: &DisplayOptions) -> Column {
    if display.totals {
        Column::Total
    } else {
        Column::Rate
    }
}
