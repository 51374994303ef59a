//! A list over the tables, to choose one of its entries: groupings, columns to sort by, or
//! conditions for the filter.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::widgets::{Clear, Widget as _};

use crate::text::sanitize::{columns, sanitize};
use crate::tui::action::Command;
use crate::tui::draw::heading_line;
use crate::tui::draw::line::{line, put};
use crate::tui::draw::theme::Theme;
use crate::view::{Group, SortKey};

/// The keys that choose the entries, in order. Letters that move through a list or close it are
/// left out.
const KEYS: &str = "123456789abcdefimnoptuvwxyz";
/// Cells before the label: margin, key and mark.
const LABEL: u16 = 6;

/// The effect of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListChoice {
    Sort(SortKey),
    Group(Group),
    /// Narrow the filter by a condition.
    Narrow(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// Raw text: not sanitized.
    pub label: String,
    pub about: &'static str,
    /// Whether the entry is the current setting.
    pub is_current: bool,
    pub choice: ListChoice,
}

/// Returns the index of the entry that a key chooses.
pub fn index_of_key(key: char) -> Option<usize> {
    KEYS.find(key)
}

/// The list, with its cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    title: &'static str,
    entries: Vec<ListEntry>,
    cursor: usize,
}

impl List {
    /// Returns a list with the cursor on the current setting; `None` without entries.
    pub fn new(title: &'static str, entries: Vec<ListEntry>) -> Option<Self> {
        let current = entries.iter().position(|entry| entry.is_current);
        (!entries.is_empty()).then_some(Self {
            title,
            entries,
            cursor: current.unwrap_or(0),
        })
    }

    pub fn act(&mut self, command: Command) {
        let last = self.entries.len() - 1;
        self.cursor = match command {
            Command::Up => self.cursor.saturating_sub(1),
            Command::Down => (self.cursor + 1).min(last),
            Command::Home | Command::PageUp => 0,
            Command::End | Command::PageDown => last,
            _ => self.cursor,
        };
    }

    /// Moves the cursor by a line.
    pub fn wheel(&mut self, rows: i32) {
        self.act(if rows < 0 { Command::Up } else { Command::Down });
    }

    /// Returns the effect of the entry under the cursor.
    pub fn chosen(&self) -> ListChoice {
        self.entries[self.cursor].choice.clone()
    }

    /// Returns the effect of an entry.
    pub fn choice(&self, index: usize) -> Option<ListChoice> {
        self.entries.get(index).map(|entry| entry.choice.clone())
    }

    /// Returns the effect of the entry under the pointer.
    pub fn click(&self, at: Position, body: Rect) -> Option<ListChoice> {
        let (area, top) = self.layout(body);
        let row = usize::from(at.y.checked_sub(area.y + 1)?);
        let is_inside = area.contains(at) && row + 2 < usize::from(area.height).max(2);
        is_inside.then(|| self.choice(top + row)).flatten()
    }

    /// Whether a position is on the list.
    pub fn contains(&self, at: Position, body: Rect) -> bool {
        self.layout(body).0.contains(at)
    }

    /// Returns the area of the list, and the index of the first entry shown.
    fn layout(&self, body: Rect) -> (Rect, usize) {
        let height = u16::try_from(self.entries.len() + 2).unwrap_or(u16::MAX);
        // As wide as the tables: what would show beside it are pieces of rows, without whose they
        // are.
        let area = Rect {
            height: height.min(body.height),
            ..body
        };
        let room = usize::from(area.height.saturating_sub(2));
        (area, (self.cursor + 1).saturating_sub(room))
    }

    pub fn draw(&self, theme: &Theme, body: Rect, buf: &mut Buffer) {
        let (area, top) = self.layout(body);
        Clear.render(area, buf);
        heading_line(self.title, line(area, 0), theme, buf);
        let labels = self
            .entries
            .iter()
            .map(|entry| columns(&sanitize(&entry.label)));
        let label = u16::try_from(labels.max().unwrap_or(0)).unwrap_or(u16::MAX);
        let room = usize::from(area.height.saturating_sub(2));
        for ((n, entry), y) in self
            .entries
            .iter()
            .enumerate()
            .skip(top)
            .take(room)
            .zip(1..)
        {
            let at = line(area, y);
            let is_selected = n == self.cursor;
            if is_selected {
                put(buf, at, 0, theme.glyphs.selected, theme.bold());
            }
            if let Some(key) = KEYS.get(n..=n) {
                put(buf, at, 2, key, theme.bold());
            }
            if entry.is_current {
                put(buf, at, 4, "*", theme.bold());
            }
            put(buf, at, LABEL, &sanitize(&entry.label), Style::new());
            put(buf, at, LABEL + label + 2, entry.about, theme.dim());
            if is_selected {
                buf.set_style(at, theme.selected());
            }
        }
        if area.height > 1 {
            let rule = theme.glyphs.rule.repeat(usize::from(area.width));
            put(buf, line(area, area.height - 1), 0, &rule, theme.dim());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_piece_of_a_row_shows_beside_a_list() {
        let entry = ListEntry {
            label: "short".to_owned(),
            about: "",
            is_current: false,
            choice: ListChoice::Narrow(String::new()),
        };
        let list = List::new("Only", vec![entry; 3]).unwrap();
        let mut buf = Buffer::empty(Rect::new(0, 0, 120, 12));
        for cell in &mut buf.content {
            cell.set_symbol("x");
        }
        list.draw(&Theme::plain(), Rect::new(0, 2, 120, 10), &mut buf);
        let line = |y: u16| -> String { (0..120).map(|x| buf[(x, y)].symbol()).collect() };
        for y in 2..7 {
            assert!(!line(y).contains('x'), "{y}: {}", line(y));
        }
        assert_eq!(line(7), "x".repeat(120));
    }

    #[test]
    fn a_click_chooses_what_is_drawn_there_however_little_room_there_is() {
        let entry = |n: usize| ListEntry {
            label: format!("entry {n}"),
            about: "about",
            is_current: n == 11,
            choice: ListChoice::Narrow(n.to_string()),
        };
        let list = List::new("Only", (0..12).map(entry).collect()).unwrap();
        for height in 0..20 {
            let body = Rect::new(0, 2, 80, height);
            let mut buf = Buffer::empty(Rect::new(0, 0, 80, 24));
            let theme = Theme::plain();
            list.draw(&theme, body, &mut buf);
            for y in 0..24 {
                let text: String = (0..80).map(|x| buf[(x, y)].symbol()).collect();
                let shown = text.split("entry ").nth(1);
                let shown = shown.and_then(|rest| rest.split_whitespace().next());
                let chosen = match list.click(Position::new(9, y), body) {
                    Some(ListChoice::Narrow(n)) => Some(n),
                    _ => None,
                };
                assert_eq!(chosen.as_deref(), shown, "{height} {y}");
            }
        }
    }
}
