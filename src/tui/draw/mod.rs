//! Draws an [`App`] into a buffer. Changes no state, and draws only what is in sight.

pub(super) mod braille;
mod cells;
pub(super) mod chart;
mod column_table;
pub(super) mod columns;
mod description;
pub(super) mod detail;
pub(super) mod footer;
mod header;
pub(super) mod help;
mod idle_line;
pub(super) mod layout;
pub(super) mod line;
mod prompt;
pub(super) mod row_text;
mod section;
pub(super) mod theme;
mod timeline;
mod tree_line;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::widgets::Widget;

use crate::stats::history::MAX_POINTS;
use crate::text::units;
use crate::tui::app::{App, Mode};
use crate::tui::draw::chart::{Chart, Sample};
use crate::tui::draw::layout::ScreenLayout;
use crate::tui::draw::line::{fill, line, put};
use crate::tui::draw::theme::Theme;

impl Widget for &App {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let area = area.intersection(*buf.area());
        let frame = match self.mode {
            Mode::Help(_) => ScreenLayout::new(area).without_chart(),
            _ => self.panes.layout(area),
        };
        self.header(frame.header, !frame.chart.is_empty(), buf);
        self.chart(frame.chart, buf);
        match &self.mode {
            Mode::Detail(detail) => {
                detail.draw(&self.shared, &self.panes, frame.body, buf);
            }
            Mode::Help(help) => help.draw(&self.shared, &self.player, frame.body, buf),
            Mode::Chooser(chooser) => chooser.draw(&self.shared, frame.body, buf),
            Mode::Table | Mode::Typing(_) => self.tables(area, frame.body, buf),
            Mode::List(list) => {
                self.tables(area, frame.body, buf);
                list.draw(&self.shared.display.theme, frame.body, buf);
            }
        }
        self.footer(frame.footer, buf);
        if self.is_typing() {
            self.prompt(area, buf);
        }
    }
}

impl App {
    fn tables(&self, area: Rect, body: Rect, buf: &mut Buffer) {
        if !self.shared.traffic_seen {
            let text = self.nothing_yet();
            put(buf, line(body, 1), 1, &text, Style::new());
            return;
        }
        self.panes.draw(&self.shared, area, buf);
    }

    fn nothing_yet(&self) -> String {
        if self.shared.history.intervals() == 0 {
            return "no traffic seen yet".to_owned();
        }
        let process_ref = match self.shared.sockets {
            _ if self.shared.is_process_filtered => {
                "the selected processes moved no bytes".to_owned()
            }
            Some(open) => format!("0 of {} moved bytes", units::count(open, "open socket")),
            None => "no socket moved bytes".to_owned(),
        };
        let time = duration(self.shared.history.clock().at.as_secs());
        format!("no traffic seen yet: {process_ref} in {time}")
    }

    fn chart(&self, area: Rect, buf: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let samples = self.shared.samples(MAX_POINTS);
        let chart = self.machine_chart(&samples);
        chart.render(area, buf);
        if let Some(after) = self.shared.cursor() {
            chart.mark(area, after, buf);
        }
    }

    fn machine_chart<'a>(&self, samples: &'a [Sample]) -> Chart<'a> {
        Chart {
            samples,
            units: self.shared.display.units,
            theme: self.shared.display.theme,
            seconds: self.shared.seconds(),
            window: self.shared.chart_window(),
        }
    }

    /// Returns the number of samples after the one that the chart draws at a position; `None`
    /// elsewhere, and in a recording.
    pub(super) fn chart_sample(&self, at: Position) -> Option<usize> {
        let area = ScreenLayout::new(self.shared.area).chart;
        let is_live = !self.player.is_shown();
        let samples = self.shared.samples(MAX_POINTS);
        is_live.then(|| self.machine_chart(&samples).sample_at(area, at))?
    }
}

/// Draws a line with a title, as above a table.
pub(super) fn heading_line(title: &str, at: Rect, theme: &Theme, buf: &mut Buffer) {
    fill(buf, at, theme.glyphs.rule, theme.dim());
    let x = put(buf, at, 0, theme.glyphs.title.0, theme.dim());
    let bold = theme.bold().remove_modifier(Modifier::DIM);
    let x = put(buf, at, x, title, bold);
    put(buf, at, x, theme.glyphs.title.1, theme.dim());
}

/// Formats a length of time with at most two units.
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
