//! Clicks and wheel turns on the tables.

use ratatui::layout::{Position, Rect};

use crate::tui::app::Mode;
use crate::tui::draw::columns::ColumnSlot;
use crate::tui::draw::layout::HEAD;
use crate::tui::state::panes::Panes;
use crate::tui::state::shared::SharedState;
use crate::view::SortKey;

impl Panes {
    /// Handles a click: sorts by a heading, selects a row, opens the selected row. Returns the part of the
    /// screen that takes over, if one does.
    pub fn click(&mut self, at: Position, shared: &SharedState) -> Option<Mode> {
        let (n, section) = self.under(at, shared)?;
        self.focus = n;
        let table = &self.tables[n];
        let line = at.y - section.y;
        if line == HEAD - 1 {
            let there = self.columns(table, shared, section.width);
            let hit = |place: &&ColumnSlot| {
                at.x + 1 >= section.x + place.x && at.x < place.x + place.width
            };
            let column = there.iter().find(hit)?.column;
            let sort = if column == self.sort.column {
                self.sort.reversed()
            } else {
                SortKey::by(column)
            };
            self.set_sort(sort, shared);
            return None;
        }
        let row = line.checked_sub(HEAD).map(usize::from)?;
        let index = table.offset + row;
        if row >= table.room(shared, section) || index >= table.len() {
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
