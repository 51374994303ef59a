//! Draws the cells of rows within a row opened in place: their names behind the branches of a tree,
//! and only columns that differ from the row above.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::cells::Cell;
use super::line::{put, put_end, put_untrusted, shorten, width, within};
use super::section::Section;
use crate::stats::ranking::RowId;
use crate::text::units;
use crate::tui::state::pane::ShownLine;
use crate::tui::state::tree::TreeLine;
use crate::view::{Column, Group};

impl Section<'_> {
    pub(super) fn cell_within(
        &self,
        line: &ShownLine,
        tree_line: &TreeLine,
        column: Column,
        cell: &Cell<'_>,
        buf: &mut Buffer,
    ) {
        let is_of_process = matches!(line.group, Group::Program | Group::Process | Group::Thread)
            && line.rest.is_none();
        match column {
            column if self.panes.group.is_named_in(column) => {
                self.branch(line, tree_line, cell, buf);
            }
            Column::Remote if is_of_process => cell.peer(buf),
            Column::Remote => self.ends_within(line, cell, buf),
            Column::Pid | Column::Process | Column::User | Column::Container if !is_of_process => {}
            Column::Process => {}
            Column::Local if line.group != Group::Flow => {}
            Column::Peak if line.rest.is_some() => {}
            column => (column.drawing().cell)(cell, buf),
        }
    }

    /// Draws the name of a row behind its branch.
    fn branch(&self, line: &ShownLine, tree_line: &TreeLine, cell: &Cell<'_>, buf: &mut Buffer) {
        let theme = &self.shared.display.theme;
        let tree = &theme.glyphs.tree;
        let mut text = String::from(" ");
        let (last, above) = match tree_line.is_last.split_last() {
            Some((last, above)) => (*last, above),
            None => return,
        };
        for is_last in above {
            text.push_str(if *is_last { " " } else { tree.line });
            text.push_str("  ");
        }
        text.push_str(if last { tree.branch.1 } else { tree.branch.0 });
        text.push_str(match (line.can_open && line.rest.is_none(), line.is_open) {
            (true, true) => tree.open.0,
            (true, false) => tree.open.1,
            _ => "",
        });
        text.push(' ');
        let at = self.name_area(line, cell.at);
        let x = put(buf, at, 0, &text, cell.plain.patch(theme.dim()));
        let room = within(at, x, at.width);
        let name = self.name_within(line);
        let style = match line.group {
            Group::Program | Group::Process | Group::Thread => cell.process_style(),
            _ => cell.plain,
        };
        put_untrusted(buf, room, &name, theme.glyphs.ellipsis, style);
    }

    /// Returns the area of a name: it includes the column of the process id if the row has none.
    fn name_area(&self, line: &ShownLine, at: Rect) -> Rect {
        let mut slots = self.slots.iter();
        let pid = slots.find(|slot| slot.column == Column::Pid);
        let right = pid.map(|slot| self.area.x + slot.x + slot.width);
        let has_id = line.rest.is_none()
            && matches!(line.group, Group::Program | Group::Process | Group::Thread);
        match right {
            Some(right) if !has_id && right > at.right() => Rect {
                width: right - at.x,
                ..at
            },
            _ => at,
        }
    }

    /// Returns the name of a row within an opened one. Sanitized.
    fn name_within(&self, line: &ShownLine) -> String {
        let (row, shared) = (&line.row, self.shared);
        if let Some(rest) = line.rest {
            let rows = match line.group {
                Group::Remote => ["other peer", "other peers"][usize::from(rest != 1)].to_owned(),
                group => format!("other {}", group.rows(rest)),
            };
            return format!("{rest} {rows}");
        }
        let has_pid = self.slots.iter().any(|slot| slot.column == Column::Pid);
        match row.id {
            RowId::Process(_) if has_pid => shared.process_name(&row.common),
            RowId::Flow(key) => {
                let protocol = Some(key.protocol);
                let label = shared.label(&key.local, Some(&key.remote), protocol);
                match label.port.as_str() {
                    "" => key.protocol.as_str().to_owned(),
                    port => port.to_owned(),
                }
            }
            _ => shared.title_of(row),
        }
    }

    /// Draws the peer of a flow, or the number of flows of a peer.
    fn ends_within(&self, line: &ShownLine, cell: &Cell<'_>, buf: &mut Buffer) {
        let theme = &self.shared.display.theme;
        let RowId::Flow(key) = line.row.id else {
            let flows = units::count(line.row.flows as u64, "flow");
            put(buf, cell.at, 0, &flows, cell.plain);
            return;
        };
        let protocol = Some(key.protocol);
        let dns_name = line.row.common.dns_name.as_deref();
        let label = self
            .shared
            .peer_label(&key.remote, Some(&key.local), protocol, dns_name);
        let name = format!("{} ", key.protocol);
        let room = cell.at.width.saturating_sub(width(&name));
        let text = shorten(&label, room, theme.glyphs.ellipsis);
        let x = put(buf, cell.at, 0, &name, cell.plain);
        put_end(buf, cell.at, x, (&text, &label), (cell.plain, theme.dim()));
    }
}
