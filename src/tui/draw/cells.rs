//! Draws the cells of rows and of sum lines, and formats their numbers.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::model::flow::{Counters, Direction};
use crate::resolve::names::Label;
use crate::stats::history::Clock;
use crate::stats::ranking::{Row, RowId, RowParties};
use crate::text::units;
use crate::tui::draw::line::{put, put_end, put_right, put_untrusted, shorten, width, within};
use crate::tui::draw::row_text::{LOCAL_TAG, RowText};
use crate::tui::draw::theme::Glyphs;
use crate::tui::state::display_options::DisplayOptions;
use crate::tui::state::shared::SharedState;
use crate::view::{Column, Directions, Group};

/// Minimum width, in cells, of a shortened peer beside its tag.
const MIN_TAGGED: u16 = 18;

/// The values shared by the cells of all rows of a table.
pub struct CellContext {
    pub directions: Directions,
    /// Clock by which rates and ages are computed.
    pub clock: Clock,
    /// Bytes of the whole section: 100 % for shares.
    pub total: u64,
    /// Whether totals are shown instead of rates.
    pub totals: bool,
}

impl CellContext {
    /// Returns the bytes that a row's share is computed from.
    pub fn bytes(&self, row: &Row) -> u64 {
        let counters = if self.totals {
            &row.traffic.total
        } else {
            &row.traffic.now
        };
        self.directions.bytes(counters)
    }

    /// Returns the direction that gives bars and sparklines their colour; `None` for a sum of both,
    /// which has no colour.
    pub const fn direction(&self) -> Option<Direction> {
        match self.directions {
            Directions::Rx => Some(Direction::Rx),
            Directions::Tx => Some(Direction::Tx),
            Directions::Both => None,
        }
    }
}

/// One cell of a row.
pub struct Cell<'a> {
    /// Grouping of the rows.
    pub(super) group: Group,
    pub(super) shared: &'a SharedState,
    pub(super) at: Rect,
    pub(super) row: &'a Row,
    /// Whether all processes of an idle row have exited.
    pub(super) is_ended: bool,
    /// Whether the column shows the port of the local end only.
    pub(super) is_port: bool,
    /// Whether the name of the process is coloured: not on a dim or reversed line.
    pub(super) has_hue: bool,
    /// Processes and peers of the row's flows; `None` for a single flow.
    pub(super) parties: Option<&'a RowParties>,
    pub(super) table: &'a CellContext,
    /// Style of most cells of the row.
    pub(super) plain: Style,
    /// Style of the rate or total that the table shows.
    pub(super) main: Style,
}

impl Cell<'_> {
    pub(super) fn right(&self, buf: &mut Buffer, text: &str) {
        let glyphs = self.shared.display.theme.glyphs;
        put_right(buf, self.at, or_zero(text, glyphs), self.plain);
    }

    pub(super) fn rate(&self, buf: &mut Buffer, rate: f64) {
        self.right(buf, &self.shared.display.rate_cell(rate));
    }

    /// Returns for how long the row has been idle; `None` if it moved bytes in the latest interval.
    pub(super) fn idle(&self) -> Option<Duration> {
        self.row.idle(self.table.directions, &self.table.clock)
    }

    /// Draws the rate of one direction; for an idle row `idle` with its time, or `ended`.
    pub(super) fn rate_or_idle(&self, buf: &mut Buffer, directions: Directions) {
        let Some(idle) = self.idle() else {
            let rate = self.row.traffic.rate(directions, &self.table.clock);
            let style = if rate > 0.0 { self.main } else { self.plain };
            put_right(buf, self.at, &self.shared.display.rate_cell(rate), style);
            return;
        };
        if self.is_ended {
            self.right(buf, "ended");
        } else {
            // Rounds up by half a second: measured intervals are slightly short.
            let time = age(idle + Duration::from_millis(500));
            let text = format!("idle {time}");
            let fits = width(&text) <= self.at.width;
            self.right(buf, if fits { &text } else { &time });
        }
    }

    pub(super) fn total(&self, buf: &mut Buffer) {
        let bytes = self.table.directions.bytes(&self.row.traffic.total);
        let style = if self.table.totals {
            self.main
        } else {
            self.plain
        };
        let text = self.shared.display.amount_cell(bytes);
        put_right(buf, self.at, &text, style);
    }

    /// Draws the share in percent.
    pub(super) fn share(&self, buf: &mut Buffer) {
        let (at, table) = (self.at, self.table);
        let bytes = table.bytes(self.row);
        if bytes > 0 {
            let number = percent(bytes, table.total);
            put_right(buf, at, &number, self.plain);
        }
    }

    /// Draws the socket's own end of a flow, or the row's name if rows are named in this column.
    pub(super) fn local(&self, buf: &mut Buffer) {
        let common = &self.row.common;
        if self.title(buf, Column::Local) {
            return;
        }
        if let Some(local) = common.local {
            let label = self.text().end(&local, common.remote.as_ref());
            let dim = self.plain.patch(self.shared.display.theme.dim());
            match label.port.strip_prefix(':').filter(|_| self.is_port) {
                Some(port) if width(port) <= self.at.width => {
                    self.put_untrusted(buf, self.at, port, dim);
                }
                Some(_) => {
                    put(buf, self.at, 0, &local.port.to_string(), dim);
                }
                None => {
                    self.put_label(buf, &label, self.at.width);
                }
            }
        }
    }

    /// Draws the peer of a flow; for a row of several peers, the one that moves most and the number
    /// of others.
    pub(super) fn peer(&self, buf: &mut Buffer) {
        let common = &self.row.common;
        let end = match (self.parties, &self.row.id) {
            (_, RowId::Remote(_)) if self.group.is_named_in(Column::Remote) => {
                self.put_peer(buf, &self.shared.title_label(self.row), self.at.width)
            }
            (Some(parties), _) if !self.group.is_named_in(Column::Remote) => {
                self.put_peers(buf, parties)
            }
            _ if self.title(buf, Column::Remote) => return,
            _ => match common.remote {
                Some(remote) => {
                    let label = self.text().peer(&remote);
                    self.put_peer(buf, &label, self.at.width)
                }
                None => return,
            },
        };
        let is_whole = end + width(LOCAL_TAG) <= self.at.width;
        if common.internal && is_whole {
            let dim = self.plain.patch(self.shared.display.theme.dim());
            put(buf, self.at, end, LOCAL_TAG, dim);
        }
    }

    pub(super) fn host(&self, buf: &mut Buffer) {
        if !self.title(buf, Column::Host)
            && let Some(host) = self.text().host()
        {
            self.put_untrusted(buf, self.at, &host, self.plain);
        }
    }

    pub(super) fn zone(&self, buf: &mut Buffer) {
        if let Some(zone) = self.text().zone() {
            self.put_untrusted(buf, self.at, &zone, self.plain);
        }
    }

    /// Draws an end in `width` cells; returns the cell after it.
    fn put_label(&self, buf: &mut Buffer, label: &Label, width: u16) -> u16 {
        let theme = &self.shared.display.theme;
        let text = shorten(label, width, theme.glyphs.ellipsis);
        put_end(buf, self.at, 0, (&text, label), (self.plain, theme.dim()))
    }

    /// Draws a peer. A peer that must be shortened leaves room for its tag.
    fn put_peer(&self, buf: &mut Buffer, label: &Label, room: u16) -> u16 {
        let tag = width(LOCAL_TAG);
        let whole = width(&units::visible(&label.host)) + width(&label.port);
        let has_tag = self.row.common.internal && whole > room && room >= MIN_TAGGED + tag;
        self.put_label(buf, label, if has_tag { room - tag } else { room })
    }

    fn put_peers(&self, buf: &mut Buffer, parties: &RowParties) -> u16 {
        let local = Some(&parties.top_local);
        let label = self
            .shared
            .label(&parties.top_peer, local, parties.protocol);
        let others = match parties.peers {
            0 | 1 => String::new(),
            peers => format!(" +{}", peers - 1),
        };
        let room = self.at.width.saturating_sub(width(&others));
        let end = self.put_peer(buf, &label, room);
        put(buf, self.at, end, &others, self.plain)
    }

    /// Draws the process id, or the number of processes if there are several.
    pub(super) fn pid(&self, buf: &mut Buffer) {
        match (self.row.common.tgid, self.parties) {
            (Some(tgid), _) => self.right(buf, &tgid.to_string()),
            (None, Some(parties)) => self.right(buf, &format!("{} procs", parties.processes)),
            (None, None) => {}
        }
    }

    /// Draws the process: with its arguments in a table of processes, the thread in a table of
    /// threads.
    pub(super) fn process(&self, buf: &mut Buffer) {
        let by_process = self.group == Group::Process;
        if !by_process && self.title(buf, Column::Process) {
            return;
        }
        let Some(name) = self.text().process() else {
            return;
        };
        self.put_untrusted(buf, self.at, &name, self.process_style());
        let after = width(&name) + 2;
        if by_process
            && after + 8 < self.at.width
            && let Some(arguments) = self.text().arguments()
        {
            let style = self.plain.patch(self.shared.display.theme.dim());
            self.put_untrusted(
                buf,
                within(self.at, after, self.at.width),
                &arguments,
                style,
            );
        }
    }

    pub(super) fn user(&self, buf: &mut Buffer) {
        if !self.title(buf, Column::User)
            && let Some(user) = self.text().user()
        {
            self.put_untrusted(buf, self.at, &user, self.plain);
        }
    }

    pub(super) fn container(&self, buf: &mut Buffer) {
        if !self.title(buf, Column::Container)
            && let Some(location) = self.text().location()
        {
            self.put_untrusted(buf, self.at, &location, self.plain);
        }
    }

    /// Returns the texts that cells show.
    pub(super) const fn text(&self) -> RowText<'_> {
        RowText {
            shared: self.shared,
            row: self.row,
            group: self.group,
        }
    }

    /// Draws the row's name if rows are named in this column; returns whether they are.
    fn title(&self, buf: &mut Buffer, column: Column) -> bool {
        let is_title = self.group.is_named_in(column);
        if is_title {
            let style = match column {
                Column::Process => self.process_style(),
                _ => self.plain,
            };
            self.put_untrusted(buf, self.at, &self.text().title(), style);
        }
        is_title
    }

    /// Returns the style of the process name: the same in every row of the process.
    pub(super) fn process_style(&self) -> Style {
        match self.row.common.comm.filter(|_| self.has_hue) {
            Some(comm) => self
                .plain
                .patch(self.shared.display.theme.process(&comm.to_string_lossy())),
            None => self.plain,
        }
    }

    fn put_untrusted(&self, buf: &mut Buffer, at: Rect, text: &str, style: Style) {
        put_untrusted(
            buf,
            at,
            text,
            self.shared.display.theme.glyphs.ellipsis,
            style,
        );
    }
}

/// A line that sums the rows that are not in sight.
pub struct SumLine<'a> {
    pub(super) table: &'a CellContext,
    pub(super) display: &'a DisplayOptions,
    /// Bytes in the table's direction: since the start in a table of totals, else of the latest
    /// interval.
    pub(super) bytes: u64,
    /// Counters of the latest interval.
    pub(super) now: Counters,
    /// Averages over 10 s and 60 s in bytes per second; `None` where unknown.
    pub(super) averages: Option<[f64; 2]>,
    pub(super) style: Style,
}

impl SumLine<'_> {
    pub(super) fn right(&self, buf: &mut Buffer, at: Rect, text: &str) {
        put_right(buf, at, text, self.style);
    }

    pub(super) fn rate(&self, buf: &mut Buffer, at: Rect, rate: f64) {
        self.right(buf, at, &self.display.rate_cell(rate));
    }

    pub(super) fn share(&self, buf: &mut Buffer, at: Rect) {
        self.right(buf, at, &percent(self.bytes, self.table.total));
    }
}

/// Formats a share in at most five cells.
pub fn percent(part: u64, whole: u64) -> String {
    match units::percent(part, whole) {
        // Above zero, but less than half a percent.
        1 if part.saturating_mul(200) < whole => "<1 %".to_owned(),
        percent => format!("{percent} %"),
    }
}

/// Returns the mark for a number that is zero, or else the text.
fn or_zero<'a>(text: &'a str, glyphs: &Glyphs) -> &'a str {
    if text == "0" { glyphs.zero } else { text }
}

/// Formats events per second in at most six cells.
pub fn per_second(value: f64) -> String {
    match value {
        value if value < 0.05 => "0".to_owned(),
        value if value < 99.95 => format!("{value:.1}"),
        value if value < 99_999.5 => format!("{value:.0}"),
        value if value < 9_999_500.0 => format!("{:.0}k", value / 1e3),
        value => format!("{:.0}M", value / 1e6),
    }
}

/// Formats a count in at most six cells.
pub fn in_short(count: u64) -> String {
    match count {
        0..1_000_000 => count.to_string(),
        1_000_000..1_000_000_000 => format!("{}k", count / 1000),
        _ => format!("{}M", count / 1_000_000),
    }
}

/// Formats a length of time in at most six cells.
pub fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..100 => format!("{seconds} s"),
        100..6000 => format!("{} min", seconds / 60),
        6000..360_000 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_within_their_columns() {
        let mut value = 0.01;
        while value < 1e11 {
            assert!(per_second(value).len() <= 7, "{value}");
            value *= 1.3;
        }
        let mut seconds = 1;
        while seconds < 100 * 365 * 86_400 {
            let text = age(Duration::from_secs(seconds));
            assert!(text.len() <= 7, "{text}");
            seconds = seconds * 3 / 2 + 1;
        }
    }
}
