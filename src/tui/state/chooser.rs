//! The list of columns, to show, hide and reorder them: its cursor, its keys and its drawing.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::shared::SharedState;
use crate::text::sanitize::columns;
use crate::tui::action::Command;
use crate::tui::app::Mode;
use crate::tui::draw::heading_line;
use crate::tui::draw::line::{line, put, within};
use crate::view::Column;

/// Lines above the list: title and explanation.
const HEAD: u16 = 3;

/// The list of columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chooser {
    /// All columns: the shown ones in the order of the table, each other one at its default
    /// position.
    order: Vec<Column>,
    /// The line of the cursor among the columns that are listed.
    cursor: usize,
}

impl Chooser {
    pub fn new(shared: &SharedState) -> Self {
        let mut order = shared.display.columns.clone();
        let all = |c: &Column| Column::ALL.iter().position(|other| other == c);
        for column in Column::ALL {
            if !order.contains(&column) {
                let before = order.iter().rposition(|other| all(other) < all(&column));
                order.insert(before.map_or(0, |position| position + 1), column);
            }
        }
        Self { order, cursor: 0 }
    }

    /// Handles a command; returns the part of the screen that takes over, if one does.
    pub fn act(&mut self, command: Command, shared: &mut SharedState) -> Option<Mode> {
        let listed = self.listed(shared);
        let last = listed.len().saturating_sub(1);
        match command {
            Command::Up => self.cursor = self.cursor.saturating_sub(1),
            Command::Down => self.cursor = (self.cursor + 1).min(last),
            Command::Home | Command::PageUp => self.cursor = 0,
            Command::End | Command::PageDown => self.cursor = last,
            Command::Enter | Command::Pause => self.toggle(&listed, shared),
            Command::MoveLeft => self.swap(&listed, self.cursor.checked_sub(1), shared),
            Command::MoveRight => self.swap(&listed, Some(self.cursor + 1), shared),
            Command::Back | Command::Columns => return Some(Mode::Table),
            _ => {}
        }
        None
    }

    /// Moves the cursor by a line.
    pub fn wheel(&mut self, rows: i32, shared: &SharedState) {
        let last = self.listed(shared).len().saturating_sub(1);
        let to = self.cursor.saturating_add_signed(rows.signum() as isize);
        self.cursor = to.min(last);
    }

    /// Shows or hides the column under the pointer.
    pub fn click(&mut self, at: Position, body: Rect, shared: &mut SharedState) {
        let listed = self.listed(shared);
        let row = at.y.checked_sub(body.y + HEAD).map(usize::from);
        if let Some(row) = row.filter(|_| body.contains(at))
            && self.top(body) + row < listed.len()
        {
            self.cursor = self.top(body) + row;
            self.toggle(&listed, shared);
        }
    }

    /// Returns the columns that can be shown, hidden or moved: all that ever had a value, without
    /// those that come with a kind of table.
    fn listed(&self, shared: &SharedState) -> Vec<Column> {
        let (seen, chosen) = (shared.history.seen(), &shared.display.columns);
        let order = self.order.iter().copied();
        order
            .filter(|column| seen.has(*column) && (can_leave(*column) || chosen.contains(column)))
            .collect()
    }

    /// Shows or hides the column under the cursor.
    fn toggle(&self, listed: &[Column], shared: &mut SharedState) {
        let Some(&column) = listed.get(self.cursor).filter(|column| can_leave(**column)) else {
            return;
        };
        let mut chosen = shared.display.columns.clone();
        match chosen.iter().position(|other| *other == column) {
            Some(position) => drop(chosen.remove(position)),
            None => chosen.push(column),
        }
        self.apply(&chosen, shared);
    }

    /// Sets the columns that are shown, in the order of the list.
    fn apply(&self, chosen: &[Column], shared: &mut SharedState) {
        let in_order = self.order.iter().copied();
        shared.display.columns = in_order.filter(|column| chosen.contains(column)).collect();
    }

    /// Swaps the column under the cursor with another one.
    fn swap(&mut self, listed: &[Column], with: Option<usize>, shared: &mut SharedState) {
        let other = with.and_then(|with| listed.get(with));
        let (Some(&this), Some(&other), Some(with)) = (listed.get(self.cursor), other, with) else {
            return;
        };
        let position = |column| self.order.iter().position(|it| *it == column);
        if let (Some(one), Some(two)) = (position(this), position(other)) {
            self.order.swap(one, two);
            self.cursor = with;
            self.apply(&shared.display.columns.clone(), shared);
        }
    }

    /// First line of the list that is shown.
    fn top(&self, body: Rect) -> usize {
        let room = usize::from(body.height.saturating_sub(HEAD));
        (self.cursor + 1).saturating_sub(room)
    }
}

impl Chooser {
    pub fn draw(&self, shared: &SharedState, area: Rect, buf: &mut Buffer) {
        let theme = &shared.display.theme;
        heading_line("Columns", line(area, 0), theme, buf);
        let about = "Shown where there is room; a narrow terminal leaves some out.";
        put(buf, line(area, 1), 1, about, theme.dim());
        let room = usize::from(area.height.saturating_sub(HEAD));
        let listed = self.listed(shared);
        let lines = listed.iter().enumerate().skip(self.top(area)).take(room);
        for ((n, column), y) in lines.zip(HEAD..) {
            let at = line(area, y);
            let mark = match (can_leave(*column), shared.display.columns.contains(column)) {
                (false, _) => "[=]",
                (true, true) => "[x]",
                (true, false) => "[ ]",
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

/// Whether a column can be hidden.
fn can_leave(column: Column) -> bool {
    column.drawing().leaves.is_some()
}
