//! Turns an [`App`] into a screen. Draws and changes nothing; draws only what is in sight.

mod cells;
pub(super) mod chart;
mod column_table;
pub(super) mod columns;
mod connection;
mod detail;
mod footer;
mod header;
mod help;
pub(super) mod layout;
pub(super) mod line;
mod section;
pub(super) mod theme;
mod timeline;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

use crate::model::flow::{Endpoint, Protocol};
use crate::model::interval::rate;
use crate::resolve::names::{Label, Names};
use crate::stats::ranking::SharedFields;
use crate::text::units;
use crate::tui::app::{App, Mode};
use crate::tui::draw::chart::{Chart, Sample};
use crate::tui::draw::line::{line, put};

impl Widget for &App {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let area = area.intersection(*buf.area());
        let frame = self.frame(area);
        self.header(frame.header, !frame.chart.is_empty(), buf);
        self.chart(frame.chart, buf);
        match &self.mode {
            Mode::Detail(key, top) => self.detail(key, *top, frame.body, buf),
            Mode::Help(top) => self.help(*top, frame.body, buf),
            Mode::Chooser(at) => self.chooser(*at, frame.body, buf),
            Mode::Table | Mode::Typing(_) => self.tables(area, frame.body, buf),
        }
        self.footer(frame.footer, buf);
    }
}

impl App {
    fn tables(&self, area: Rect, body: Rect, buf: &mut Buffer) {
        if !self.traffic_seen {
            let text = self.nothing_yet();
            put(buf, line(body, 1), 1, &text, Style::new());
            return;
        }
        for (n, section) in self.sections(area).into_iter().enumerate() {
            self.section(n, section, buf);
        }
    }

    fn nothing_yet(&self) -> String {
        if self.history.intervals() == 0 {
            return "no traffic seen yet".to_owned();
        }
        let process_ref = match self.sockets {
            _ if self.chosen => "the chosen processes moved no bytes".to_owned(),
            Some(open) => format!("0 of {} moved bytes", units::count(open, "open socket")),
            None => "no socket moved bytes".to_owned(),
        };
        let time = duration(self.history.clock().at.as_secs());
        format!("no traffic seen yet: {process_ref} in {time}")
    }

    fn chart(&self, area: Rect, buf: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let samples = self.samples(usize::from(area.width));
        Chart {
            samples: &samples,
            units: self.display.units,
            theme: self.display.theme,
            seconds: self.seconds(),
        }
        .render(area, buf);
    }

    /// What one sample of the chart stands for.
    fn seconds(&self) -> f64 {
        let last = self.history.points().next_back();
        last.map_or(1.0, |point| point.elapsed.as_secs_f64().max(0.1))
    }

    /// The machine's rates of the last intervals, at most so many, with gaps where nobody measured.
    fn samples(&self, most: usize) -> Vec<Sample> {
        let mut samples = Vec::new();
        for point in self.history.points() {
            if !point.gap_before.is_zero() {
                samples.push(None);
            }
            samples.push(Some((
                rate(point.total.rx_bytes, point.elapsed),
                rate(point.total.tx_bytes, point.elapsed),
            )));
        }
        samples.split_off(samples.len().saturating_sub(most))
    }

    /// How an end of a row's flows is written now; `other` is the other end.
    pub(super) fn label(
        &self,
        end: &Endpoint,
        other: Option<&Endpoint>,
        protocol: Option<Protocol>,
    ) -> Label {
        if self.display.names {
            let service = |protocol| self.names.service(protocol, end, other);
            self.names.label(end, protocol.and_then(service))
        } else {
            Names::off().label(end, None)
        }
    }

    /// The name of the process of a row's flows, harmless, and marked where these are flowtop's own
    /// look-ups; nothing where there are several.
    pub(super) fn process_name(&self, common: &SharedFields) -> String {
        let name = common
            .owner
            .as_ref()
            .map(|owner| units::process_name(&owner.name(), owner.kernel));
        let mut name = name.unwrap_or_default();
        if common.tgid.is_some_and(|tgid| self.names.is_own(tgid)) {
            name.push_str(" (own)");
        }
        name
    }
}

/// A length of time as people say it.
fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {:02} s", seconds % 60),
        3600..86_400 => format!("{hours} h {:02} min", minutes % 60),
        _ => format!("{} {} h", units::count(days, "day"), hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn lengths_of_time_have_two_parts_at_most() {
        assert_eq!(duration(4), "4 s");
        assert_eq!(duration(192), "3 min 12 s");
        assert_eq!(duration(3660), "1 h 01 min");
        assert_eq!(duration(2 * 86_400 + 3600), "2 days 1 h");
    }
}
