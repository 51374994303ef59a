//! What stands in a cell of a table.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::duration;
use crate::model::flow::Direction;
use crate::model::interval::rate;
use crate::stats::history::Clock;
use crate::stats::ranking::{ProcessLookup as _, Row};
use crate::text::units;
use crate::tui::app::App;
use crate::tui::draw::chart::nice;
use crate::tui::draw::line::{put, put_right, put_untrusted, shorten, within};
use crate::tui::draw::theme::Glyphs;
use crate::view::{Column, Directions, Group};

/// What all rows of a table are drawn with.
pub struct CellContext {
    /// Which bytes.
    pub directions: Directions,
    /// The clock that figures are read by.
    pub clock: Clock,
    /// What a share is a part of: bytes of the whole section.
    pub total: u64,
    /// Whether totals take the place of rates.
    pub totals: bool,
}

impl CellContext {
    /// Bytes by which a row's share is told.
    pub fn bytes(&self, row: &Row) -> u64 {
        let counters = if self.totals {
            &row.traffic.total
        } else {
            &row.traffic.now
        };
        self.directions.bytes(counters)
    }
}

/// A row of bars of the last minute, the latest at the right; scaled by the largest of them.
pub fn spark(buf: &mut Buffer, at: Rect, rates: &[Option<f64>], glyphs: &Glyphs, style: Style) {
    let rates = &rates[rates.len().saturating_sub(usize::from(at.width))..];
    let top = nice(rates.iter().flatten().copied().fold(0.0, f64::max));
    let bars: String = rates
        .iter()
        .map(|rate| rate.map_or(glyphs.gap, |rate| glyphs.bar(rate, top)))
        .collect();
    put_right(buf, at, &bars, style);
}

impl App {
    /// Draws one cell.
    pub(super) fn cell(
        &self,
        buf: &mut Buffer,
        at: Rect,
        column: Column,
        row: &Row,
        sheet: &CellContext,
        (plain, main): (Style, Style),
    ) {
        let units = self.display.units;
        let traffic = &row.traffic;
        let (directions, clock) = (sheet.directions, &sheet.clock);
        let right = |buf: &mut Buffer, text: &str, style| put_right(buf, at, text, style);
        match column {
            Column::Rate | Column::Rx | Column::Tx => {
                let directions = match column {
                    Column::Rx => Directions::Rx,
                    Column::Tx => Directions::Tx,
                    _ => directions,
                };
                match row.idle(sheet.directions, clock) {
                    Some(idle) if column != Column::Rx => right(buf, &self.idle(row, idle), plain),
                    Some(_) => {}
                    None => right(buf, &units.rate_cell(traffic.rate(directions, clock)), main),
                }
            }
            Column::Avg10 => right(buf, &units.rate_cell(traffic.avg10(directions)), plain),
            Column::Avg60 => right(buf, &units.rate_cell(traffic.avg60(directions)), plain),
            Column::Average => right(
                buf,
                &units.rate_cell(traffic.average(directions, clock)),
                plain,
            ),
            Column::Peak => {
                if let Some(peak) = traffic.peak(directions) {
                    right(buf, &units.rate_cell(peak), plain);
                }
            }
            Column::Total => {
                let style = if sheet.totals { main } else { plain };
                right(
                    buf,
                    &units.amount_cell(directions.bytes(&traffic.total)),
                    style,
                );
            }
            Column::Share => self.share(buf, at, row, sheet, plain),
            // All at once, by who draws the table.
            Column::Spark => {}
            Column::Flows => right(buf, &row.flows.to_string(), plain),
            Column::Protocol => {
                if let Some(protocol) = row.common.protocol {
                    put(buf, at, 0, protocol.as_str(), plain);
                }
            }
            Column::Msgs => right(buf, &per_second(traffic.msg_rate(directions, clock)), plain),
            Column::Age => right(buf, &age(traffic.age(clock)), plain),
            Column::Pid => {
                if let Some(tgid) = row.common.tgid {
                    right(buf, &tgid.to_string(), plain);
                }
            }
            Column::Local | Column::Remote | Column::Process | Column::User | Column::Container => {
                self.text_cell(buf, at, column, row, plain)
            }
            Column::Packets => {
                let packets = row.condition.packets(directions);
                if let Some(packets) = packets.filter(|_| row.idle(directions, clock).is_none()) {
                    right(buf, &per_second(rate(packets, clock.elapsed)), plain);
                }
            }
            Column::Srtt => {
                if let Some(us) = row.condition.srtt_us {
                    right(buf, &units::short_time(us.into()), plain);
                }
            }
            Column::Retransmits => {
                if let Some(retransmits) = row.condition.retransmits {
                    right(buf, &in_short(retransmits), plain);
                }
            }
            Column::Cwnd => {
                if let Some(cwnd) = row.condition.cwnd {
                    right(buf, &in_short(cwnd.into()), plain);
                }
            }
        }
    }

    fn text_cell(&self, buf: &mut Buffer, at: Rect, column: Column, row: &Row, style: Style) {
        let ellipsis = self.display.theme.glyphs.ellipsis;
        if self.is_title(column) {
            let title = self.title_of(row);
            put_untrusted(buf, at, &title, ellipsis, style);
            return;
        }
        let common = &row.common;
        let (end, other) = match column {
            Column::Local => (common.local, common.remote),
            Column::Remote => (common.remote, common.local),
            _ => (None, None),
        };
        if let Some(end) = end {
            let label = self.label(&end, other.as_ref(), common.protocol);
            put(buf, at, 0, &shorten(&label, at.width, ellipsis), style);
            return;
        }
        let Some(process_ref) = row.process_ref() else {
            return;
        };
        match column {
            Column::Process => {
                let name = self.process_name(common);
                put_untrusted(buf, at, &name, ellipsis, style);
                let after = crate::tui::draw::line::width(&name) + 2;
                if self.group == Group::Process
                    && after + 8 < at.width
                    && let Some(process) = self.owners.process(&process_ref)
                    && process.cmdline.len() > 1
                {
                    let at = within(at, after, at.width);
                    let arguments = process.cmdline[1..].join(" ");
                    let style = style.patch(self.display.theme.dim());
                    put_untrusted(buf, at, &arguments, ellipsis, style);
                }
            }
            Column::User => {
                if let Some(uid) = self.owners.uid(&process_ref) {
                    let user = self.owners.user(&process_ref);
                    let user = units::user_name(user.as_deref(), uid);
                    put_untrusted(buf, at, &user, ellipsis, style);
                }
            }
            Column::Container => {
                if let Some(place) = self.owners.place(&process_ref) {
                    put_untrusted(buf, at, &units::name(&place), ellipsis, style);
                }
            }
            _ => {}
        }
    }

    /// Whether rows are called by what stands in this column.
    fn is_title(&self, column: Column) -> bool {
        matches!(
            (self.group, column),
            (Group::User, Column::User)
                | (Group::Remote | Group::Net(_), Column::Remote)
                | (Group::Thread, Column::Process)
                | (Group::Port, Column::Local)
                | (Group::Container | Group::Unit, Column::Container)
        )
    }

    /// Instead of a rate, where nothing moved: since when, or that the process has gone.
    fn idle(&self, row: &Row, idle: Duration) -> String {
        let process = row
            .process_ref()
            .and_then(|process_ref| self.owners.process(&process_ref));
        if process.is_some_and(|process| process.exited) {
            "ended".to_owned()
        } else {
            format!("idle {}", age(idle).trim_start())
        }
    }

    fn share(&self, buf: &mut Buffer, at: Rect, row: &Row, sheet: &CellContext, style: Style) {
        let bytes = sheet.bytes(row);
        let number = within(at, 0, 5);
        if bytes > 0 {
            put_right(buf, number, &percent(bytes, sheet.total), style);
        }
        if at.width > 6 {
            let room = at.width - 6;
            let glyphs = self.display.theme.glyphs;
            let bar = glyphs.block(bytes as f64, sheet.total as f64, room.into());
            let hue = self.display.theme.hue(match sheet.directions {
                Directions::Tx => Direction::Tx,
                _ => Direction::Rx,
            });
            put(buf, within(at, 6, room), 0, &bar, hue);
        }
    }
}

/// A share as it stands in a table, at most five columns wide.
pub fn percent(part: u64, whole: u64) -> String {
    match units::percent(part, whole) {
        // Less than a half percent, but something.
        1 if part.saturating_mul(200) < whole => "<1 %".to_owned(),
        percent => format!("{percent} %"),
    }
}

/// Events a second in at most six columns.
pub fn per_second(value: f64) -> String {
    match value {
        value if value < 0.05 => "0".to_owned(),
        value if value < 99.95 => format!("{value:.1}"),
        value if value < 99_999.5 => format!("{value:.0}"),
        value if value < 9_999_500.0 => format!("{:.0}k", value / 1e3),
        value => format!("{:.0}M", value / 1e6),
    }
}

/// A count in at most six columns.
fn in_short(count: u64) -> String {
    match count {
        0..1_000_000 => count.to_string(),
        1_000_000..1_000_000_000 => format!("{}k", count / 1000),
        _ => format!("{}M", count / 1_000_000),
    }
}

/// A length of time in at most five columns.
fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..100 => format!("{seconds}s"),
        100..6000 => format!("{}m", seconds / 60),
        6000..360_000 => format!("{}h", seconds / 3600),
        _ => duration(seconds)
            .split(' ')
            .next()
            .map_or_else(String::new, |days| format!("{days}d")),
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
            assert!(text.len() <= 6, "{text}");
            seconds = seconds * 3 / 2 + 1;
        }
    }
}
