//! The list of columns to choose from: its cursor, its keys and how it is drawn.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::shared::SharedState;
use crate::stats::history::AvailableColumns;
use crate::text::sanitize::columns;
use crate::tui::action::Command;
use crate::tui::app::Mode;
use crate::tui::draw::heading_line;
use crate::tui::draw::line::{line, put, within};
use crate::view::Column;

/// The list of columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chooser {
    /// The line of the cursor.
    cursor: usize,
}

impl Chooser {
    /// Handles a command; returns the part of the screen that takes over, if one does.
    pub fn act(&mut self, command: Command, shared: &mut SharedState) -> Option<Mode> {
        let all = choices(shared.history.seen());
        let last = all.len() - 1;
        match command {
            Command::Up => self.cursor = self.cursor.saturating_sub(1),
            Command::Down => self.cursor = (self.cursor + 1).min(last),
            Command::Home | Command::PageUp => self.cursor = 0,
            Command::End | Command::PageDown => self.cursor = last,
            Command::Enter | Command::Pause => {
                toggle(&mut shared.display.columns, all[self.cursor.min(last)]);
            }
            Command::Back | Command::Columns => return Some(Mode::Table),
            _ => {}
        }
        None
    }

    /// Moves the cursor by a line.
    pub fn wheel(&mut self, rows: i32, shared: &SharedState) {
        let last = choices(shared.history.seen()).len() - 1;
        let to = self.cursor.saturating_add_signed(rows.signum() as isize);
        self.cursor = to.min(last);
    }

    pub fn draw(&self, shared: &SharedState, area: Rect, buf: &mut Buffer) {
        let theme = &shared.display.theme;
        heading_line("Columns", line(area, 0), theme, buf);
        let about = "Shown where there is room; a narrow terminal leaves some out.";
        put(buf, line(area, 1), 1, about, theme.dim());
        let all = choices(shared.history.seen());
        let room = usize::from(area.height.saturating_sub(3));
        let top = (self.cursor + 1).saturating_sub(room);
        for ((n, column), y) in all.iter().enumerate().skip(top).take(room).zip(3..) {
            let at = line(area, y);
            let mark = if shared.display.columns.contains(column) {
                "[x]"
            } else {
                "[ ]"
            };
            let selected = n == self.cursor;
            if selected {
                put(buf, at, 1, theme.glyphs.selected, theme.bold());
            }
            put(buf, at, 3, mark, theme.bold());
            put(buf, at, 7, column.as_str(), Style::new());
            put(buf, at, 20, column.about(), theme.dim());
            if selected {
                let width = 22 + u16::try_from(columns(column.about())).unwrap_or(0);
                buf.set_style(within(at, 0, width), theme.selected());
            }
        }
    }
}

/// Removes a chosen column, or inserts one at its default place among the chosen.
fn toggle(chosen: &mut Vec<Column>, column: Column) {
    if chosen.contains(&column) {
        chosen.retain(|other| *other != column);
    } else {
        let all = |c: &Column| Column::ALL.iter().position(|other| other == c);
        let before = chosen.iter().rposition(|other| all(other) < all(&column));
        chosen.insert(before.map_or(0, |place| place + 1), column);
    }
}

/// Returns the columns that can be chosen: those that can leave and ever had a value.
fn choices(seen: AvailableColumns) -> Vec<Column> {
    let all = Column::ALL.into_iter();
    all.filter(|column| seen.has(*column) && column.drawing().leaves.is_some())
        .collect()
}
