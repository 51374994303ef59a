//! What the mouse does, by what is drawn where it points.

use ratatui::layout::Position;

use crate::recording::player::PlayerCommand;
use crate::tui::action::Effect;
use crate::tui::app::{App, Mode};
use crate::tui::draw::columns::ColumnSlot;
use crate::tui::draw::layout::HEAD;
use crate::view::SortKey;

impl App {
    /// A click: on the bar of a recording it goes there, on a heading it sorts, on a row it selects, on the selected row it opens.
    pub(in crate::tui) fn click(&mut self, x: u16, y: u16) {
        if let Some(bar) = self.timeline(self.area).map(|timeline| timeline.bar)
            && bar.contains(Position::new(x, y))
        {
            // The middle of the cell.
            let part = (f64::from(x - bar.x) + 0.5) / f64::from(bar.width);
            self.request = Some(Effect::Play(PlayerCommand::SeekTo(part)));
            return;
        }
        if self.mode != Mode::Table && !self.is_typing() {
            if self.frame(self.area).footer.contains(Position::new(x, y)) {
                self.mode = Mode::Table;
            }
            return;
        }
        for (n, section) in self.sections(self.area).into_iter().enumerate() {
            if !section.contains(Position::new(x, y)) {
                continue;
            }
            self.focus = n;
            let table = &self.tables[n];
            let line = y - section.y;
            if line == HEAD - 1 {
                let there = self.columns(table, section.width);
                let hit =
                    |place: &&ColumnSlot| x + 1 >= section.x + place.x && x < place.x + place.width;
                if let Some(place) = there.iter().find(hit) {
                    let sort = if place.column == self.sort.column {
                        self.sort.reversed()
                    } else {
                        SortKey::by(place.column)
                    };
                    self.set_sort(sort);
                }
                return;
            }
            let Some(row) = line.checked_sub(HEAD).map(usize::from) else {
                return;
            };
            if row < self.room(table, section) && table.offset + row < table.len() {
                let index = table.offset + row;
                if table.selected() == Some(index) {
                    self.enter();
                } else {
                    self.tables[n].select_index(&self.history, index);
                }
            }
            return;
        }
    }

    /// The wheel moves the selection of what is below the pointer.
    pub(in crate::tui) fn wheel(&mut self, x: u16, y: u16, rows: i32) {
        let seen = self.history.seen();
        match &mut self.mode {
            Mode::Help(top) | Mode::Detail(_, top) => {
                *top = top.saturating_add_signed(rows as isize);
            }
            Mode::Chooser(at) => {
                let last = crate::tui::state::chooser::choices(seen).len() - 1;
                *at = at.saturating_add_signed(rows.signum() as isize).min(last);
            }
            Mode::Table | Mode::Typing(_) => {
                let at = Position::new(x, y);
                let under = self.sections(self.area).iter().position(|s| s.contains(at));
                if let Some(n) = under {
                    self.focus = n;
                    self.step(rows.into());
                }
            }
        }
    }
}
