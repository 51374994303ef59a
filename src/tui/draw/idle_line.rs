//! Draws one line for all idle rows, if the active rows take all other lines.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::line::{put, width};
use super::section::Section;
use crate::stats::ranking::Row;
use crate::view::{Column, Group};

/// Maximum number of idle rows whose names are read: more than fit in any line.
const MAX_NAMED: usize = 64;

/// Idle rows of one name.
struct IdleRows {
    name: String,
    rows: usize,
    /// Shortest time without bytes.
    idle: Duration,
    /// Whether the processes of all of them exited.
    is_ended: bool,
}

impl Section<'_> {
    pub(super) fn idle_line(&self, at: Rect, buf: &mut Buffer) {
        let theme = &self.shared.display.theme;
        let first = self.rows.moving;
        let count = self.rows.len() - first;
        let mut idle: Vec<IdleRows> = Vec::new();
        for n in (first..self.rows.len()).take(MAX_NAMED) {
            if let Some(row) = self.rows.row(&self.shared.history, n) {
                let is_ended = self.shared.has_ended(self.rows, n);
                self.add_idle(&row, is_ended, &mut idle);
            }
        }
        let mut x = put(buf, at, 2, "idle:", theme.dim()) + 1;
        let mut named = 0;
        for item in &idle {
            let text = item.text(theme.glyphs.ascii);
            let left = count - named - item.rows;
            let more = if left > 0 { more(left).len() + 3 } else { 0 };
            if usize::from(x + width(&text)) + more > usize::from(at.width) {
                break;
            }
            x = put(buf, at, x, &text, theme.dim()) + 3;
            named += item.rows;
        }
        if named < count {
            put(buf, at, x, &more(count - named), theme.dim());
        }
    }

    fn add_idle(&self, row: &Row, is_ended: bool, idle: &mut Vec<IdleRows>) {
        let name = match self.shared.process_name(&row.common) {
            name if name.is_empty() || !names_processes(self.panes.group) => {
                self.shared.title_of(row)
            }
            name => name,
        };
        let time = row.idle(self.context.directions, &self.context.clock);
        let time = time.unwrap_or_default();
        match idle.iter_mut().find(|item| item.name == name) {
            Some(item) => {
                item.rows += 1;
                item.idle = item.idle.min(time);
                item.is_ended &= is_ended;
            }
            None => idle.push(IdleRows {
                name,
                rows: 1,
                idle: time,
                is_ended,
            }),
        }
    }
}

impl IdleRows {
    fn text(&self, ascii: bool) -> String {
        let times = if ascii { "x" } else { "×" };
        let count = match self.rows {
            1 => String::new(),
            rows => format!(" {times}{rows}"),
        };
        match self.is_ended {
            true => format!("{}{count} ended", self.name),
            false => format!("{}{count} {} s", self.name, self.idle.as_secs_f64().round()),
        }
    }
}

fn more(rows: usize) -> String {
    format!("{rows} more")
}

/// Whether the name of a process stands for a row.
fn names_processes(group: Group) -> bool {
    group == Group::Flow || group.is_named_in(Column::Process)
}
