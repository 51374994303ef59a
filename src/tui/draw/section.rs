//! Draws one table: title, headings, the rows in sight and the sums of all others, so that the
//! lines of a table always add up to its total.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::braille;
use super::cells::{Cell, CellContext, SumLine, percent};
use super::chart::nice;
use crate::model::flow::{Counters, Direction};
use crate::stats::ranking::{Row, Rows};
use crate::text::sanitize::columns;
use crate::text::units;
use crate::text::wrap::take;
use crate::tui::draw::columns::ColumnSlot;
use crate::tui::draw::line::{fill, line, put, put_right, put_untrusted, width, within};
use crate::tui::draw::row_text::RowText;
use crate::tui::state::pane::{Pane, SectionLines, ShownLine};
use crate::tui::state::panes::Panes;
use crate::tui::state::shared::SharedState;
use crate::view::{Column, Directions, Group};

/// A table and the rows of it that are in sight.
pub(super) struct Section<'a> {
    pub(super) panes: &'a Panes,
    pub(super) shared: &'a SharedState,
    pub(super) table: &'a Pane,
    pub(super) rows: &'a Rows,
    pub(super) context: CellContext,
    pub(super) slots: Vec<ColumnSlot>,
    pub(super) lines: SectionLines,
    /// Index of the first line in sight.
    offset: usize,
    pub(super) shown: Vec<ShownLine>,
    pub(super) area: Rect,
    /// Index of the selected row, if this table has the keyboard.
    selected: Option<usize>,
}

impl Panes {
    /// Draws the tables on a screen of this size.
    pub fn draw(&self, shared: &SharedState, area: Rect, buf: &mut Buffer) {
        for (n, section) in self.sections(shared, area).into_iter().enumerate() {
            self.section(shared, n, section, buf);
        }
        self.describe(shared, self.description_area(area), buf);
    }

    fn section(&self, shared: &SharedState, n: usize, area: Rect, buf: &mut Buffer) {
        let table = &self.tables[n];
        let Some(rows) = &table.rows else {
            return;
        };
        let lines = self.section_lines(table, shared, area);
        if area.height < lines.head + 1 {
            return;
        }
        let room = lines.rows;
        let offset = table.offset.min(table.len().saturating_sub(room));
        let all = if shared.display.totals {
            &rows.all.total
        } else {
            &rows.all.now
        };
        let section = Section {
            panes: self,
            shared,
            table,
            rows,
            context: CellContext {
                directions: table.directions,
                clock: rows.clock,
                total: table.directions.bytes(all),
                totals: shared.display.totals,
            },
            slots: self.columns(table, shared, area.width),
            lines,
            offset,
            shown: table.lines(&shared.history, offset, room),
            area,
            selected: table.selected().filter(|_| self.focus == n),
        };
        if lines.head > 1 {
            section.title(buf);
        }
        if lines.head > 0 {
            section.headings(buf);
        }
        section.rows(buf);
        section.draw_sparks(buf);
        section.rest(buf);
    }
}

impl Section<'_> {
    fn title(&self, buf: &mut Buffer) {
        let at = line(self.area, 0);
        let panes = self.panes;
        let theme = &self.shared.display.theme;
        let glyphs = theme.glyphs;
        let dim = theme.dim();
        fill(buf, at, glyphs.rule, dim);
        let mut x = put(buf, at, 0, glyphs.title.0, dim);
        let (name, hue) = match self.table.directions {
            Directions::Rx => ("Ingress", theme.hue(Direction::Rx)),
            Directions::Tx => ("Egress", theme.hue(Direction::Tx)),
            Directions::Both => ("All", Style::new()),
        };
        x = put(buf, at, x, name, clear(hue.add_modifier(Modifier::BOLD)));
        if self.shared.display.totals {
            x = put(buf, at, x, " totals", clear(theme.bold()));
        }
        if panes.group != Group::Flow && panes.path.is_empty() {
            let by = format!(" by {}", panes.group);
            x = put(buf, at, x, &by, clear(theme.bold()));
        }
        let share = self.share();
        // A long title is cut before the share.
        let before = within(at, 0, at.width.saturating_sub(width(&share) + 3));
        for step in &panes.path {
            let title = units::sanitize(&step.title);
            let text = format!("{}{title}", glyphs.between);
            x = put(buf, before, x, &text, clear(Style::new()));
        }
        if !panes.find.is_empty() {
            let words = format!("  /{}", units::sanitize(panes.find.text()));
            x = put(buf, before, x, &words, clear(theme.bold()));
        }
        if panes.is_following && self.selected.is_some() {
            x = put(buf, before, x, "  following", clear(theme.bold()));
        }
        if !self.is_sort_shown() {
            let mark = self.sort_mark();
            let sorted = format!("  {} {mark}", panes.sort.column.as_str());
            x = put(buf, at, x, &sorted, clear(theme.bold()));
        }
        put(buf, at, x, glyphs.title.1, dim);
        let end = if glyphs.ascii { " --" } else { " ─╴" };
        // The mark of the order comes before the share if there is room for it.
        if !share.is_empty() && x + width(&share) + 4 <= at.width {
            put_right(buf, at, &format!(" {share}{end}"), dim);
        }
    }

    /// Returns which rows are shown, of how many, and their share of all bytes.
    fn share(&self) -> String {
        let (offset, total) = (self.offset, self.context.total);
        let shown = self.counted().count();
        // Idle rows count only if they are in sight.
        let count = if self.context.totals {
            self.rows.len()
        } else {
            self.table.moving().max(offset + shown)
        };
        if total == 0 || count == 0 || shown == 0 {
            return String::new();
        }
        let percent = percent(self.shown_bytes(), total);
        let which = match offset {
            0 if shown == count => "all".to_owned(),
            0 => format!("top {shown} of"),
            _ => format!("{} to {} of", offset + 1, offset + shown),
        };
        let what = match self.panes.group {
            Group::Flow => String::new(),
            group => format!(" {}", group.rows(count)),
        };
        let passed = if self.panes.filter.is_empty() {
            ""
        } else {
            " matching"
        };
        let of = match self.table.directions {
            Directions::Rx => " of in",
            Directions::Tx => " of out",
            Directions::Both => "",
        };
        format!("{which} {count}{what}{passed}, {percent}{of}")
    }

    /// Returns the rows in sight, without those that are part of another one in sight.
    pub(super) fn counted(&self) -> impl Iterator<Item = &Row> {
        let mut counted_depth = None;
        self.shown.iter().filter_map(move |line| {
            let depth = line.depth();
            if counted_depth.is_some_and(|counted| depth > counted) {
                return None;
            }
            counted_depth = Some(depth);
            Some(&line.row)
        })
    }

    fn shown_bytes(&self) -> u64 {
        self.counted().map(|row| self.context.bytes(row)).sum()
    }

    /// Whether a heading has the mark of the column that rows are sorted by.
    fn is_sort_shown(&self) -> bool {
        let mut slots = self.slots.iter().filter(|slot| slot.width > 0);
        slots.any(|slot| self.is_marked(slot.column))
    }

    /// Whether rows are sorted by a column; by the sum of both directions if that has no column.
    fn is_marked(&self, column: Column) -> bool {
        let sort = self.panes.sort.column;
        column == sort || column == Column::Tx && self.is_by_sum()
    }

    fn is_by_sum(&self) -> bool {
        self.table.directions == Directions::Both && self.panes.sort.column == Column::Rate
    }

    fn sort_mark(&self) -> &'static str {
        let (descending, ascending) = self.shared.display.theme.glyphs.sorted;
        match self.panes.sort.descending {
            true => descending,
            false => ascending,
        }
    }

    fn headings(&self, buf: &mut Buffer) {
        let at = line(self.area, self.lines.head - 1);
        let theme = &self.shared.display.theme;
        for (n, slot) in self.slots.iter().enumerate() {
            let text = match slot.is_port {
                true => "PORT",
                false => slot.column.heading(self.panes.group, self.table.directions),
            };
            let right = slot.column.is_number() && slot.column != Column::Spark;
            // Text may extend to the next heading, except for a blank.
            let next = self.slots.get(n + 1).map_or(at.width, |next| next.x);
            let free = match right {
                true => slot.width,
                false => slot.width.max(next.saturating_sub(slot.x + 1)),
            };
            let cell = within(at, slot.x, free);
            let is_added = slot.column == Column::Rx && self.is_by_sum();
            let mark = match self.is_marked(slot.column) {
                true => self.sort_mark(),
                // A sign before the next heading: the order is by the sum of both.
                false if is_added => "+",
                false => "",
            };
            let colour = match slot.column {
                Column::Rx => theme.hue(Direction::Rx),
                Column::Tx => theme.hue(Direction::Tx),
                _ => Style::new(),
            };
            let style = match mark {
                "" => theme.dim(),
                _ => theme.bold(),
            };
            let style = style.patch(colour);
            let fits = columns(text) + 2 <= usize::from(free);
            let text = match mark {
                "" => text.to_owned(),
                _ if fits => format!("{text} {mark}"),
                _ => take(text.chars(), usize::from(free).saturating_sub(1)) + mark,
            };
            if right {
                put_right(buf, cell, &text, style);
            } else {
                put(buf, cell, 0, &text, style);
            }
        }
    }

    fn rows(&self, buf: &mut Buffer) {
        let lines = self.shown.iter().zip(self.offset..);
        for ((shown, n), y) in lines.zip(self.lines.head..) {
            self.row(shown, n, line(self.area, y), buf);
        }
    }

    fn row(&self, shown: &ShownLine, index: usize, at: Rect, buf: &mut Buffer) {
        let selected = self.selected == Some(index);
        let (theme, context) = (&self.shared.display.theme, &self.context);
        let row = &shown.row;
        let idle = row.idle(context.directions, &context.clock).is_some() && !context.totals;
        let mut plain = if idle { theme.dim() } else { Style::new() };
        if selected {
            plain = theme.bold();
            put(buf, at, 0, theme.glyphs.selected, theme.bold());
        } else if self.panes.pinned.contains(&row.id) {
            put(buf, at, 0, theme.glyphs.pinned, theme.dim());
        }
        let has_ended = |(rows, n)| self.shared.has_ended(rows, n);
        let is_ended = idle && self.table.position_in_rows(index).is_some_and(has_ended);
        for slot in &self.slots {
            let cell = Cell {
                is_ended,
                is_port: slot.is_port,
                has_hue: !idle && !selected,
                group: self.panes.group,
                shared: self.shared,
                at: within(at, slot.x, slot.width),
                row,
                parties: shown.parties.as_ref(),
                table: context,
                plain,
                main: plain.patch(theme.bold()),
            };
            match &shown.within {
                Some(within) => self.cell_within(shown, within, slot.column, &cell, buf),
                None => (slot.column.drawing().cell)(&cell, buf),
            }
        }
        let color = theme.share(context.direction());
        if let Some(color) = color.filter(|_| !selected) {
            let part = context.bytes(row) as f64 / (context.total as f64).max(1.0);
            let length = (part * f64::from(at.width)).round() as u16;
            for x in at.x..at.x + length.min(at.width) {
                buf[(x, at.y)].set_bg(color);
            }
        }
        if selected {
            buf.set_style(at, theme.selected());
        }
        self.mark_words(row, at, buf);
    }

    /// Marks the words to find in the cells of a row that contains all of them.
    fn mark_words(&self, row: &Row, at: Rect, buf: &mut Buffer) {
        let find = &self.panes.find;
        let text = RowText {
            shared: self.shared,
            row,
            group: self.panes.group,
        };
        if find.is_empty() || !find.matches(&text.found_in()) {
            return;
        }
        let style = self.shared.display.theme.found();
        for slot in &self.slots {
            if slot.column.drawing().found_by.is_none() {
                continue;
            }
            let cell = within(at, slot.x, slot.width);
            let (mut drawn, mut slots) = (String::new(), Vec::new());
            for x in cell.left()..cell.right() {
                for c in buf[(x, cell.y)].symbol().to_lowercase().chars() {
                    drawn.push(c);
                    slots.resize(drawn.len(), x);
                }
            }
            for word in find.words() {
                for (start, found) in drawn.match_indices(word.as_str()) {
                    for x in slots[start]..=slots[start + found.len() - 1] {
                        buf[(x, cell.y)].set_style(style);
                    }
                }
            }
        }
    }

    fn draw_sparks(&self, buf: &mut Buffer) {
        let mut slots = self.slots.iter();
        let Some(slot) = slots.find(|slot| slot.column == Column::Spark) else {
            return;
        };
        let theme = &self.shared.display.theme;
        let hue = self
            .context
            .direction()
            .map_or(Style::new(), |direction| theme.hue(direction))
            .patch(theme.dim());
        let history = &self.shared.history;
        let all: Vec<Vec<Option<f64>>> = (self.offset..self.offset + self.shown.len())
            .map(|n| self.table.sparkline(history, n))
            .collect();
        // One scale for all rows: equal heights are equal rates.
        let top = nice(all.iter().flatten().flatten().copied().fold(0.0, f64::max));
        for ((rates, y), n) in all.iter().zip(self.lines.head..).zip(self.offset..) {
            let cell = within(line(self.area, y), slot.x, slot.width);
            let dots = |rate| braille::log_dots(rate, top);
            let (number, width) = (history.bars_number(), usize::from(cell.width));
            let row = braille::row(rates, number, width, theme.glyphs, dots);
            // Within the selected row only the symbols change: its style has no gap.
            let style = match self.selected == Some(n) {
                true => Style::new(),
                false => hue,
            };
            put(buf, cell, 0, &row, style);
        }
    }

    /// Draws the sums of everything outside the rows in sight: other and untracked, and the idle
    /// rows without lines.
    fn rest(&self, buf: &mut Buffer) {
        let (rows, context) = (self.rows, &self.context);
        let theme = &self.shared.display.theme;
        let untracked = self.table.untracked(context.totals);
        let rest = context.total.saturating_sub(self.shown_bytes() + untracked);
        let moving = || self.counted().filter(|row| context.bytes(row) > 0);
        let flows = if context.totals {
            // Flows that only moved bytes in the other direction do not belong to this table.
            let all = rows.flows + rows.filtered.flows + rows.silent.flows - rows.never_active;
            all - self.counted().map(|row| row.flows).sum::<usize>()
        } else {
            let flows = moving().map(|row| row.flows);
            self.table.moving_flows.saturating_sub(flows.sum())
        };
        let mut y = self.lines.head + u16::try_from(self.shown.len()).unwrap_or(0);
        if self.shown.is_empty() && rest == 0 && untracked == 0 {
            let text = if self.panes.filter.is_empty() || rows.filtered.flows == 0 {
                "no traffic in this interval"
            } else {
                "nothing matches"
            };
            put(buf, line(self.area, y), 3, text, theme.dim());
            return;
        }
        let sum = SumLine {
            table: context,
            display: &self.shared.display,
            bytes: rest,
            now: self.rest_now(),
            averages: Some(self.rest_averages()),
            style: theme.dim(),
        };
        if rest > 0 || flows > 0 {
            let others = self.table.moving().saturating_sub(moving().count());
            let (what, short) = match self.panes.group {
                Group::Flow => (
                    units::count(flows as u64, "other flow"),
                    format!("{flows} others"),
                ),
                _ if others == 0 => ("others".to_owned(), "others".to_owned()),
                group => (
                    format!("{others} other {}", group.rows(others)),
                    format!("{others} others"),
                ),
            };
            self.sum(&sum, [&what, &short, "others"], line(self.area, y), buf);
            y += 1;
        } else if !context.totals && self.idle_without_line() > 0 {
            let text = format!("{} more idle", self.idle_without_line());
            put(buf, line(self.area, y), 1, &text, theme.dim());
            y += 1;
        }
        if untracked > 0 {
            let sum = SumLine {
                bytes: untracked,
                now: rows.untracked,
                averages: None,
                style: theme.alarm(),
                ..sum
            };
            let what = "! untracked";
            self.sum(&sum, [what; 3], line(self.area, y), buf);
            y += 1;
        }
        if self.lines.has_idle_line {
            self.idle_line(line(self.area, y), buf);
        }
    }

    /// Returns how many idle rows are below the last line in sight.
    fn idle_without_line(&self) -> usize {
        self.table.len() - (self.offset + self.shown.len()).min(self.table.len())
    }

    /// Returns the bytes of the latest interval that are neither in a row in sight nor untracked.
    fn rest_now(&self) -> Counters {
        let of = |directions: Directions| {
            let shown = self.counted().map(|row| directions.bytes(&row.traffic.now));
            let known = shown.sum::<u64>() + directions.bytes(&self.rows.untracked);
            directions.bytes(&self.rows.all.now).saturating_sub(known)
        };
        Counters {
            rx_bytes: of(Directions::Rx),
            tx_bytes: of(Directions::Tx),
            ..Counters::default()
        }
    }

    /// Returns the machine's averages over 10 s and 60 s, less those of the rows in sight.
    fn rest_averages(&self) -> [f64; 2] {
        let (directions, all) = (self.context.directions, &self.rows.all);
        let shown = || self.counted().map(|row| &row.traffic);
        [
            all.avg10(directions)
                - shown()
                    .map(|traffic| traffic.avg10(directions))
                    .sum::<f64>(),
            all.avg60(directions)
                - shown()
                    .map(|traffic| traffic.avg60(directions))
                    .sum::<f64>(),
        ]
        .map(|rest| rest.max(0.0))
    }

    /// Draws a sum line, with its words in the first text column that has room for them or for a
    /// shorter form.
    fn sum(&self, sum: &SumLine, forms: [&str; 3], at: Rect, buf: &mut Buffer) {
        for slot in &self.slots {
            let cell = within(at, slot.x, slot.width);
            (slot.column.drawing().sum)(sum, buf, cell);
        }
        let rooms = || (0..self.slots.len()).filter_map(|n| self.room_for_words(n, at.width));
        let fits = rooms().find_map(|(x, room)| {
            let form = forms.into_iter().find(|form| width(form) <= room)?;
            Some((x, room, form))
        });
        let widest = || rooms().max_by_key(|(_, room)| *room);
        let (x, room, what) = fits.unwrap_or_else(|| {
            let (x, room) = widest().unwrap_or((1, at.width));
            (x, room, forms[2])
        });
        let ellipsis = self.shared.display.theme.glyphs.ellipsis;
        put_untrusted(buf, within(at, x, room), what, ellipsis, sum.style);
    }

    /// Returns where the words of a sum may begin in a column, and how many cells they have up to
    /// the next number; `None` for a column that takes none. Process ids have no sum.
    fn room_for_words(&self, n: usize, width: u16) -> Option<(u16, u16)> {
        let (slot, others) = self.slots.get(n..)?.split_first()?;
        let mut numbers = others
            .iter()
            .filter(|it| it.column.is_number() && it.column != Column::Pid);
        let end = numbers
            .next()
            .map_or(width, |next| next.x.saturating_sub(1));
        let takes_words = slot.column.drawing().takes_words;
        takes_words.then(|| (slot.x, end.saturating_sub(slot.x)))
    }
}

/// Returns the style for text that is not dim on a line that is.
fn clear(style: Style) -> Style {
    style.remove_modifier(Modifier::DIM)
}
