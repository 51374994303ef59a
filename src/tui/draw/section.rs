//! One table: its title, its headings, the rows in sight, and the sum of all others, so that what is
//! shown adds up to the total whatever finds room.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::cells::{CellContext, percent, spark};
use crate::model::flow::Direction;
use crate::model::interval::rate;
use crate::stats::ranking::{Row, Rows};
use crate::text::sanitize::columns;
use crate::text::units;
use crate::tui::app::App;
use crate::tui::draw::columns::{ColumnSlot, heading};
use crate::tui::draw::layout::HEAD;
use crate::tui::draw::line::{fill, line, put, put_right, within};
use crate::tui::state::pane::Pane;
use crate::view::{Column, Directions, Group};

impl App {
    pub(super) fn section(&self, n: usize, area: Rect, buf: &mut Buffer) {
        let table = &self.tables[n];
        let Some(rows) = &table.rows else {
            return;
        };
        if area.height < HEAD + 1 {
            return;
        }
        let room = self.room(table, area);
        let offset = table.offset.min(table.len().saturating_sub(room));
        let shown = table.shown(&self.history, offset, room);
        let all = if self.display.totals {
            &rows.all.total
        } else {
            &rows.all.now
        };
        let sheet = CellContext {
            directions: table.directions,
            clock: rows.clock,
            total: table.directions.bytes(all),
            totals: self.display.totals,
        };
        let places = self.columns(table, area.width);
        self.title(n, (offset, &shown), &sheet, line(area, 0), buf);
        self.headings(&places, line(area, HEAD - 1), buf);
        for (row, y) in shown.iter().zip(HEAD..) {
            let selected =
                self.focus == n && table.selected() == Some(offset + usize::from(y - HEAD));
            self.row(row, &sheet, &places, selected, line(area, y), buf);
        }
        self.draw_sparks(rows, offset..offset + shown.len(), &places, area, buf);
        let below = HEAD + u16::try_from(shown.len()).unwrap_or(0);
        self.rest(table, rows, &shown, &sheet, &places, below, area, buf);
    }

    fn title(
        &self,
        n: usize,
        (offset, shown): (usize, &[Row]),
        sheet: &CellContext,
        at: Rect,
        buf: &mut Buffer,
    ) {
        let theme = &self.display.theme;
        let glyphs = theme.glyphs;
        let table = &self.tables[n];
        let dim = theme.dim();
        fill(buf, at, glyphs.rule, dim);
        let mut x = put(buf, at, 0, glyphs.title.0, dim);
        let (name, hue) = match table.directions {
            Directions::Rx => ("Ingress", theme.hue(Direction::Rx)),
            Directions::Tx => ("Egress", theme.hue(Direction::Tx)),
            Directions::Both => ("Both ways", Style::new()),
        };
        x = put(buf, at, x, name, clear(hue.add_modifier(Modifier::BOLD)));
        if self.display.totals {
            x = put(buf, at, x, " totals", clear(theme.bold()));
        }
        if self.group != Group::Flow {
            x = put(
                buf,
                at,
                x,
                &format!(" by {}", self.group),
                clear(theme.bold()),
            );
        }
        let share = self.share_of(table, offset, shown, sheet);
        let least = at
            .width
            .saturating_sub(crate::tui::draw::line::width(&share) + 3);
        for step in &self.path {
            let title = units::sanitize(&step.title).into_owned();
            let text = format!("{}{title}", glyphs.between);
            x = put(buf, within(at, 0, least), x, &text, clear(Style::new()));
        }
        if !self.filter.is_empty() {
            let filter = units::sanitize(&self.filter).into_owned();
            x = put(
                buf,
                within(at, 0, least),
                x,
                &format!("  /{filter}"),
                clear(theme.bold()),
            );
        }
        let there = self
            .columns(table, at.width)
            .iter()
            .any(|place| place.column == self.sort.column);
        if !there {
            let sorted = format!("  sorted by {}", self.sort);
            x = put(buf, within(at, 0, least), x, &sorted, dim);
        }
        put(buf, at, x, glyphs.title.1, dim);
        let end = if glyphs.ascii { " --" } else { " ─╴" };
        if !share.is_empty() {
            put_right(buf, at, &format!(" {share}{end}"), dim);
        }
    }

    /// Which rows are shown, of how many, and how much of everything they are.
    fn share_of(&self, table: &Pane, offset: usize, shown: &[Row], sheet: &CellContext) -> String {
        // Of those that went silent only the ones in sight are counted.
        let count = match sheet.totals {
            true => table.len(),
            false => table.moving().max(offset + shown.len()),
        };
        if sheet.total == 0 || count == 0 {
            return String::new();
        }
        let bytes: u64 = shown.iter().map(|row| sheet.bytes(row)).sum();
        let percent = units::percent(bytes, sheet.total);
        let which = match offset {
            0 if shown.len() == count => "all".to_owned(),
            0 => format!("top {} of", shown.len()),
            _ => format!("{} to {} of", offset + 1, offset + shown.len()),
        };
        let what = match self.group {
            Group::Flow => String::new(),
            group => format!(" {}", group.rows(count)),
        };
        let passed = if self.filter.is_empty() { "" } else { " found" };
        format!("{which} {count}{what}{passed}, {percent} %")
    }

    fn headings(&self, places: &[ColumnSlot], at: Rect, buf: &mut Buffer) {
        let theme = &self.display.theme;
        for place in places {
            let text = heading(place.column, self.group);
            let cell = within(at, place.x, place.width);
            let sorted = place.column == self.sort.column;
            let style = if sorted { theme.bold() } else { theme.dim() };
            let (descending, ascending) = theme.glyphs.sorted;
            let mark = if self.sort.descending {
                descending
            } else {
                ascending
            };
            let fits = columns(text) + 2 <= usize::from(place.width);
            let text = match sorted {
                true if fits => format!("{text} {mark}"),
                true => format!("{text}{mark}"),
                false => text.to_owned(),
            };
            let right = place.column.is_number() && place.column != Column::Spark;
            if right {
                put_right(buf, cell, &text, style);
            } else {
                put(buf, cell, 0, &text, style);
            }
        }
    }

    fn row(
        &self,
        row: &Row,
        sheet: &CellContext,
        places: &[ColumnSlot],
        selected: bool,
        at: Rect,
        buf: &mut Buffer,
    ) {
        let theme = &self.display.theme;
        let idle = row.idle(sheet.directions, &sheet.clock).is_some() && !sheet.totals;
        let mut plain = if idle { theme.dim() } else { Style::new() };
        if selected {
            plain = theme.bold();
            put(buf, at, 0, theme.glyphs.selected, theme.bold());
        }
        let main = plain.patch(theme.bold());
        for place in places {
            let cell = within(at, place.x, place.width);
            self.cell(buf, cell, place.column, row, sheet, (plain, main));
        }
        let direction = match sheet.directions {
            Directions::Tx => Some(Direction::Tx),
            _ => Some(Direction::Rx),
        };
        if let Some(color) = theme.share(direction).filter(|_| !selected) {
            let part = sheet.bytes(row) as f64 / (sheet.total as f64).max(1.0);
            let length = (part * f64::from(at.width)).round() as u16;
            for x in at.x..at.x + length.min(at.width) {
                buf[(x, at.y)].set_bg(color);
            }
        }
        if selected {
            buf.set_style(at, theme.selected());
        }
    }

    fn draw_sparks(
        &self,
        rows: &Rows,
        shown: Range<usize>,
        places: &[ColumnSlot],
        area: Rect,
        buf: &mut Buffer,
    ) {
        let Some(place) = places.iter().find(|place| place.column == Column::Spark) else {
            return;
        };
        let hue = self.display.theme.hue(match rows.directions() {
            Directions::Tx => Direction::Tx,
            _ => Direction::Rx,
        });
        // Never turned round, as the selected row is: a bar is what is filled.
        let hue = hue.remove_modifier(Modifier::REVERSED);
        for (n, y) in shown.zip(HEAD..) {
            let cell = within(line(area, y), place.x, place.width);
            let rates = rows.sparkline(&self.history, n);
            spark(buf, cell, &rates, self.display.theme.glyphs, hue);
        }
    }

    /// Everything that is no row in sight.
    #[allow(clippy::too_many_arguments, reason = "what is drawn, and where")]
    fn rest(
        &self,
        table: &Pane,
        rows: &Rows,
        shown: &[Row],
        sheet: &CellContext,
        places: &[ColumnSlot],
        below: u16,
        area: Rect,
        buf: &mut Buffer,
    ) {
        let theme = &self.display.theme;
        let untracked = table.untracked(self.display.totals);
        let bytes: u64 = shown.iter().map(|row| sheet.bytes(row)).sum();
        let rest = sheet.total.saturating_sub(bytes + untracked);
        let flows = if self.display.totals {
            // Those that only ever moved bytes the other way are none of this table's.
            let all = rows.flows + rows.filtered.flows + rows.silent.flows - rows.never;
            all - shown.iter().map(|row| row.flows).sum::<usize>()
        } else {
            let moving = |row: &&Row| sheet.bytes(row) > 0;
            let flows = shown.iter().filter(moving).map(|row| row.flows);
            table.moving_flows.saturating_sub(flows.sum())
        };
        let mut y = below;
        if shown.is_empty() && rest == 0 && untracked == 0 {
            let text = if self.filter.is_empty() || rows.filtered.flows == 0 {
                "nothing in this interval"
            } else {
                "nothing found"
            };
            put(buf, line(area, y), 3, text, theme.dim());
            return;
        }
        if rest > 0 || flows > 0 {
            let directions = sheet.directions;
            let sum = |of: fn(&Row, Directions) -> f64| {
                shown.iter().map(|row| of(row, directions)).sum::<f64>()
            };
            let avg10 =
                rows.all.avg10(directions) - sum(|row, directions| row.traffic.avg10(directions));
            let avg60 =
                rows.all.avg60(directions) - sum(|row, directions| row.traffic.avg60(directions));
            let other = [
                (Column::Avg10, avg10.max(0.0)),
                (Column::Avg60, avg60.max(0.0)),
            ];
            let others = table
                .moving()
                .saturating_sub(shown.iter().filter(|row| sheet.bytes(row) > 0).count());
            let what = match self.group {
                Group::Flow => units::count(flows as u64, "other flow"),
                _ if others == 0 => "others".to_owned(),
                group => format!("{others} other {}", group.rows(others)),
            };
            self.sum(
                rest,
                &what,
                &other,
                (sheet, rows, shown),
                places,
                line(area, y),
                theme.dim(),
                buf,
            );
            y += 1;
        }
        if untracked > 0 {
            let what = "! untracked: the flow table was full";
            self.sum(
                untracked,
                what,
                &[],
                (sheet, rows, &[]),
                places,
                line(area, y),
                theme.alarm(),
                buf,
            );
        }
    }

    /// A line that is a sum.
    #[allow(clippy::too_many_arguments, reason = "what is drawn, and where")]
    fn sum(
        &self,
        bytes: u64,
        what: &str,
        averages: &[(Column, f64)],
        (sheet, rows, shown): (&CellContext, &Rows, &[Row]),
        places: &[ColumnSlot],
        at: Rect,
        style: Style,
        buf: &mut Buffer,
    ) {
        let units = self.display.units;
        let elapsed = sheet.clock.elapsed;
        let mut text_at = None;
        for place in places {
            let cell = within(at, place.x, place.width);
            let average = averages.iter().find(|(column, _)| *column == place.column);
            let of = |directions: Directions| {
                let sum: u64 = shown
                    .iter()
                    .map(|row| directions.bytes(&row.traffic.now))
                    .sum();
                let untracked = directions.bytes(&rows.untracked);
                if averages.is_empty() {
                    untracked
                } else {
                    directions
                        .bytes(&rows.all.now)
                        .saturating_sub(sum + untracked)
                }
            };
            match place.column {
                Column::Rate => put_right(buf, cell, &units.rate_cell(rate(bytes, elapsed)), style),
                Column::Rx => put_right(
                    buf,
                    cell,
                    &units.rate_cell(rate(of(Directions::Rx), elapsed)),
                    style,
                ),
                Column::Tx => put_right(
                    buf,
                    cell,
                    &units.rate_cell(rate(of(Directions::Tx), elapsed)),
                    style,
                ),
                Column::Total if sheet.totals => {
                    put_right(buf, cell, &units.amount_cell(bytes), style)
                }
                Column::Share => {
                    put_right(buf, within(cell, 0, 5), &percent(bytes, sheet.total), style);
                }
                column
                    if !column.is_number() && column != Column::Protocol && text_at.is_none() =>
                {
                    text_at = Some(place.x);
                }
                _ => {
                    if let Some((_, value)) = average {
                        put_right(buf, cell, &units.rate_cell(*value), style);
                    }
                }
            }
        }
        put(buf, at, text_at.unwrap_or(1), what, style);
    }
}

/// What stands on a line that is drawn dim, and is not dim itself.
fn clear(style: Style) -> Style {
    style.remove_modifier(Modifier::DIM)
}
