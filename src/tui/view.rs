//! Turns an [`App`] into a screen: header, ingress, egress, footer. Draws and changes nothing.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::Widget;

use super::app::App;
use super::columns::{Column, Columns, columns, shorten};
use crate::audit;
use crate::flow::{Direction, Flow};
use crate::interval::rate;
use crate::rank::{Ranking, Section};
use crate::units;

const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const ALARM: Style = Style::new()
    .add_modifier(Modifier::REVERSED)
    .add_modifier(Modifier::BOLD);

/// Lines of a section besides its rows: title, column heads, `other`.
const FRAME_LINES: u16 = 3;

impl Widget for &App {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let area = area.intersection(*buf.area());
        let [header, body, footer] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(area);
        self.header(header, buf);
        match &self.ranking {
            Some(ranking) if self.traffic_seen => self.sections(ranking, body, buf),
            _ => put(buf, body, 1, "no traffic seen yet", Style::new()),
        }
        put(buf, footer, 1, "q quit", DIM);
    }
}

impl App {
    fn header(&self, area: Rect, buf: &mut Buffer) {
        let (top, bottom) = (line(area, 0), line(area, 1));
        let losses = self
            .ranking
            .as_ref()
            .map_or_else(Default::default, |ranking| ranking.losses);
        let word = audit::word(&losses, &self.method);
        let (word, style) = if audit::is_alarm(&losses, &self.method) {
            (format!(" ! {word} "), ALARM)
        } else {
            (format!(" {word} "), DIM)
        };
        let most = usize::from(top.width).saturating_sub(columns(&word));
        put(buf, top, 1, "flowtop", BOLD);
        let mut x = 10;
        for part in [
            units::sanitize(&self.host).into_owned(),
            self.method.backend.clone(),
            format!("every {}", units::span(self.interval)),
        ] {
            // The word on the right must not be missed: what would run into it is left out.
            if x + columns(&part) < most {
                put(
                    buf,
                    top,
                    u16::try_from(x).unwrap_or(u16::MAX),
                    &part,
                    Style::new(),
                );
                x += columns(&part) + 2;
            }
        }
        put_right(buf, top, &word, style);
        if let Some(ranking) = &self.ranking {
            let total = |bytes| format!("{:>9}", units::rate(rate(bytes, ranking.elapsed)));
            put(buf, bottom, 1, "in", Style::new());
            put(
                buf,
                bottom,
                4,
                &total(ranking.total.rx_bytes),
                hue(Direction::Rx),
            );
            put(buf, bottom, 16, "out", Style::new());
            put(
                buf,
                bottom,
                20,
                &total(ranking.total.tx_bytes),
                hue(Direction::Tx),
            );
            put_right(
                buf,
                bottom,
                &format!("  {} ", units::count(ranking.flows as u64, "flow")),
                Style::new(),
            );
        }
    }

    fn sections(&self, ranking: &Ranking, area: Rect, buf: &mut Buffer) {
        let half = area.height.div_ceil(2);
        // No more than the rows asked for, a line for untracked and one between the sections.
        let most = self.top_n.map_or(u16::MAX, |n| {
            u16::try_from(n)
                .unwrap_or(u16::MAX)
                .saturating_add(FRAME_LINES + 2)
        });
        let [ingress, egress] =
            Layout::vertical([Constraint::Length(half.min(most)), Constraint::Min(0)]).areas(area);
        self.section(&ranking.ingress, ranking.elapsed, ingress, buf);
        self.section(&ranking.egress, ranking.elapsed, egress, buf);
    }

    fn section(&self, section: &Section, elapsed: Duration, area: Rect, buf: &mut Buffer) {
        let untracked_lines = u16::from(section.untracked > 0);
        let room = area.height.saturating_sub(FRAME_LINES + untracked_lines);
        let section = section.fold(usize::from(room));
        let columns = Columns::fit(area.width, self.widths);

        title(&section, line(area, 0), buf);
        heads(&columns, line(area, 1), buf);
        let mut next = 2;
        for flow in &section.rows {
            self.row(
                flow,
                section.direction,
                elapsed,
                &columns,
                line(area, next),
                buf,
            );
            next += 1;
        }
        let sums = [
            (
                section.other.bytes,
                units::count(section.other.flows as u64, "other flow"),
                DIM,
            ),
            (
                section.untracked,
                "untracked: the flow table was full".to_owned(),
                ALARM,
            ),
        ];
        for (bytes, what, style) in sums {
            if bytes > 0 {
                let at = line(area, next);
                cell(
                    buf,
                    at,
                    columns.rate,
                    &per_second(bytes, elapsed),
                    true,
                    style,
                );
                put(buf, at, columns.local.x, &what, style);
                next += 1;
            }
        }
        if section.is_empty() {
            put(
                buf,
                line(area, 2),
                columns.local.x,
                "nothing in this interval",
                DIM,
            );
        }
    }

    fn row(
        &self,
        flow: &Flow,
        direction: Direction,
        elapsed: Duration,
        columns: &Columns,
        at: Rect,
        buf: &mut Buffer,
    ) {
        let plain = Style::new();
        let bytes = flow.counters.bytes(direction);
        cell(
            buf,
            at,
            columns.rate,
            &per_second(bytes, elapsed),
            true,
            BOLD,
        );
        if let Some(column) = columns.protocol {
            cell(buf, at, column, flow.key.protocol.as_str(), false, plain);
        }
        for (end, column) in [
            (&flow.key.local, columns.local),
            (&flow.key.remote, columns.remote),
        ] {
            let text = shorten(&self.names.label(end), column.width);
            cell(buf, at, column, &text, false, plain);
        }
        if let Some(column) = columns.pid {
            cell(buf, at, column, &flow.key.tgid.to_string(), true, plain);
        }
        let process = flow.comm.to_string_lossy();
        cell(
            buf,
            at,
            columns.process,
            &units::sanitize(&process),
            false,
            plain,
        );
    }
}

fn title(section: &Section, at: Rect, buf: &mut Buffer) {
    let style = hue(section.direction);
    let name = match section.direction {
        Direction::Rx => "Ingress",
        Direction::Tx => "Egress",
    };
    put(buf, at, 0, &"─".repeat(usize::from(at.width)), DIM);
    put(buf, at, 0, "╶ ", DIM);
    put(buf, at, 2, name, style.add_modifier(Modifier::BOLD));
    let after = 2 + u16::try_from(name.len()).unwrap_or(0);
    put(buf, at, after, " ╴", DIM);
    if !section.is_empty() {
        let share = format!(
            " top {} of {}, {} % ─╴",
            section.rows.len(),
            section.flows(),
            units::percent(section.shown(), section.total)
        );
        put_right(buf, at, &share, DIM);
    }
}

fn heads(columns: &Columns, at: Rect, buf: &mut Buffer) {
    cell(buf, at, columns.rate, "RATE", true, DIM);
    if let Some(column) = columns.protocol {
        cell(buf, at, column, "PROTO", false, DIM);
    }
    cell(buf, at, columns.local, "LOCAL", false, DIM);
    cell(buf, at, columns.remote, "REMOTE", false, DIM);
    if let Some(column) = columns.pid {
        cell(buf, at, column, "PID", true, DIM);
    }
    cell(buf, at, columns.process, "PROCESS", false, DIM);
}

/// Two hues that differ in lightness, so that they are told apart without colour too.
fn hue(direction: Direction) -> Style {
    match direction {
        Direction::Rx => Style::new().fg(Color::LightCyan),
        Direction::Tx => Style::new().fg(Color::Yellow),
    }
}

fn per_second(bytes: u64, elapsed: Duration) -> String {
    units::rate(rate(bytes, elapsed))
}

/// One line of an area; empty where the area has no such line.
fn line(area: Rect, n: u16) -> Rect {
    Rect {
        y: area.y.saturating_add(n),
        height: u16::from(n < area.height),
        ..area
    }
}

/// Writes into a line from a column on; what does not fit is cut.
fn put(buf: &mut Buffer, at: Rect, x: u16, text: &str, style: Style) {
    if at.height > 0 && x < at.width {
        let room = usize::from(at.width - x);
        buf.set_stringn(at.x + x, at.y, text, room, style);
    }
}

/// Writes to the right edge of a line; what does not fit is cut on its right.
fn put_right(buf: &mut Buffer, at: Rect, text: &str, style: Style) {
    let width = u16::try_from(columns(text)).unwrap_or(u16::MAX);
    put(buf, at, at.width.saturating_sub(width), text, style);
}

fn cell(buf: &mut Buffer, at: Rect, column: Column, text: &str, right: bool, style: Style) {
    let width = column.width.min(at.width.saturating_sub(column.x));
    let within = Rect {
        x: at.x + column.x.min(at.width),
        width,
        ..at
    };
    if right {
        put_right(buf, within, text, style);
    } else {
        put(buf, within, 0, text, style);
    }
}
