//! Clicks and wheel turns on the tables.

use ratatui::layout::{Position, Rect};

use crate::tui::app::Mode;
use crate::tui::draw::columns::ColumnSlot;
use crate::tui::state::panes::Panes;
use crate::tui::state::shared::SharedState;
use crate::view::{Column, SortKey};

impl Panes {
    /// Handles a click: sorts by a heading, selects a row, opens the selected row. Returns the part
    /// of the screen that takes over, if one does.
    pub fn click(&mut self, at: Position, shared: &SharedState) -> Option<Mode> {
        let (n, section) = self.under(at, shared)?;
        self.focus = n;
        let table = &self.tables[n];
        let line = at.y - section.y;
        let lines = self.section_lines(table, shared, section);
        if line + 1 == lines.head {
            let there = self.columns(table, shared, section.width);
            let hit =
                |slot: &&ColumnSlot| at.x + 1 >= section.x + slot.x && at.x < slot.x + slot.width;
            let column = there.iter().find(hit)?.column;
            let is_of_sum = matches!(column, Column::Rx | Column::Tx);
            let sort = if column == self.sort.column {
                match self.sort.reversed() {
                    // A third click sorts by the sum of both directions.
                    again if is_of_sum && again.descending => SortKey::by(Column::Rate),
                    again => again,
                }
            } else {
                SortKey::by(column)
            };
            self.set_sort(sort, shared);
            return None;
        }
        let row = line.checked_sub(lines.head).map(usize::from)?;
        let index = table.offset + row;
        if row >= lines.rows || index >= table.len() {
            return None;
        }
        if table.selected() == Some(index) {
            return self.enter(shared);
        }
        self.tables[n].select_index(&shared.history, index);
        None
    }

    /// Moves the selection of the table under the pointer.
    pub fn wheel(&mut self, at: Position, rows: i32, shared: &SharedState) {
        if let Some((n, _)) = self.under(at, shared) {
            self.focus = n;
            self.step(rows.into(), shared);
        }
    }

    fn under(&self, at: Position, shared: &SharedState) -> Option<(usize, Rect)> {
        let sections = self.sections(shared, shared.area).into_iter();
        sections.enumerate().find(|(_, area)| area.contains(at))
    }
}
