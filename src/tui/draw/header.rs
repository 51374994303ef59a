//! Draws the two lines at the top: machine, backend and state, then the rates of both directions.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::duration;
use crate::model::flow::Direction;
use crate::model::interval::rate;
use crate::recording::player::PlayerPosition;
use crate::text::losses;
use crate::text::sanitize::columns;
use crate::text::units;
use crate::text::wrap::take;
use crate::tui::app::App;
use crate::tui::draw::braille;
use crate::tui::draw::chart::nice;
use crate::tui::draw::layout::ScreenLayout;
use crate::tui::draw::line::{line, put, put_right, width, within};
use crate::view::Directions;

/// A narrower sparkline is not drawn, in cells.
const MIN_SPARK: u16 = 6;

impl App {
    pub(super) fn header(&self, area: Rect, has_chart: bool, buf: &mut Buffer) {
        self.first(line(area, 0), buf);
        if self.shared.history.intervals() > 0 {
            self.second(line(area, 1), has_chart, buf);
        }
    }

    fn first(&self, at: Rect, buf: &mut Buffer) {
        let theme = &self.shared.display.theme;
        let (word, style) = self.state_word();
        // The word on the right must not be missed: what would run into it is left out.
        let mut most = usize::from(at.width).saturating_sub(columns(&word));
        let flows = units::count(self.shared.flows_now as u64, "flow");
        let timeline = self.player.timeline(&self.shared, at);
        let before = timeline
            .as_ref()
            .map_or(40, |timeline| usize::from(timeline.end()));
        let flows_fit = before + columns(&flows) + 3 < most;
        if flows_fit && self.shared.history.intervals() > 0 {
            let right = within(at, 0, u16::try_from(most).unwrap_or(at.width));
            put_right(buf, right, &format!("{flows} "), Style::new());
            most -= columns(&flows) + 1;
        }
        let mut x = put(buf, at, 1, "flowtop", theme.bold()) + 2;
        if let Some(timeline) = &timeline {
            x = timeline.render(at, theme, buf) + 2;
        }
        if let Some(pause) = &self.shared.pause {
            let held = self.shared.clock.saturating_sub(pause.since).as_secs();
            let text = format!(" PAUSED {} ", duration(held));
            x = put(buf, at, x, &text, theme.notice()) + 2;
        }
        if let Some(travel) = &self.shared.travel {
            let ago = travel.distance(&self.shared.history).as_secs();
            let text = format!(" {} AGO ", duration(ago));
            x = put(buf, at, x, &text, theme.notice()) + 2;
        }
        if let Some(filter) = &self.shared.capture_filter {
            // However little room there is, the header shows that not everything is counted.
            let room = most.saturating_sub(usize::from(x) + columns("filter: ") + 2);
            let room = room.min(usize::from(at.width / 3));
            let filter = units::sanitize(filter);
            let shown = match columns(&filter) > room {
                true => take(filter.chars(), room.saturating_sub(1)) + theme.glyphs.ellipsis,
                false => filter.into_owned(),
            };
            x = put(buf, at, x, &format!("filter: {shown}"), theme.bold()) + 2;
        }
        for (part, style, from) in self
            .parts()
            .into_iter()
            .filter(|(part, ..)| !part.is_empty())
        {
            if at.width >= from && usize::from(x) + columns(&part) + 1 < most {
                x = put(buf, at, x, &part, style) + 2;
            }
        }
        put_right(buf, at, &word, style);
    }

    /// Returns the word at the right end of the first line: how exact the numbers are.
    fn state_word(&self) -> (String, Style) {
        let theme = &self.shared.display.theme;
        match self.trouble() {
            Some(word) => (format!(" ! {word} "), theme.alarm()),
            None => {
                let word = losses::summary(&self.shared.history.losses(), &self.shared.method);
                (format!(" {word} "), theme.dim())
            }
        }
    }

    /// Whether the state word stands at a place.
    pub(in crate::tui) fn state_word_at(&self, at: Position) -> bool {
        let first = line(ScreenLayout::new(self.shared.area).header, 0);
        let (word, _) = self.state_word();
        let x = first.width.saturating_sub(width(&word));
        within(first, x, first.width).contains(at)
    }

    /// Returns what keeps the numbers from being exact or a recording from being complete.
    fn trouble(&self) -> Option<String> {
        let losses = self.shared.history.losses();
        let mut words = Vec::new();
        if let Some(recording) = &self.shared.recording {
            if recording.trouble.is_some() {
                words.push("recording stalled".to_owned());
            }
            if recording.lost.intervals > 0 {
                words.push("recording incomplete".to_owned());
            }
        }
        if !self.player.corruptions().is_empty() {
            words.push("recording damaged".to_owned());
        }
        if losses::is_degraded(&losses) {
            words.push(losses::summary(&losses, &self.shared.method));
        }
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// Returns the parts of the first line in the order of their worth, each with the least width of the
    /// screen at which it is shown.
    fn parts(&self) -> Vec<(String, Style, u16)> {
        let theme = &self.shared.display.theme;
        let host = units::sanitize(&self.shared.machine.host).into_owned();
        let mut parts = vec![(host, Style::new(), 0)];
        if self.panes.is_frozen {
            parts.push(("order frozen".to_owned(), theme.bold(), 0));
        }
        if !self.shared.machine.kernel.is_empty() {
            let kernel = units::sanitize(&self.shared.machine.kernel);
            parts.push((format!("Linux {kernel}"), theme.dim(), 100));
        }
        if let Some(recording) = &self.shared.recording {
            let written = format!("REC {}", units::bytes(recording.bytes));
            parts.push((written, theme.bold(), 0));
        }
        parts.push((self.shared.method.backend.clone(), theme.dim(), 0));
        // In a replay the line is about what was recorded.
        if !self.player.is_shown()
            && let Some(confinement) = &self.shared.confinement
        {
            // Of what was asked for otherwise one is reminded in smaller windows too.
            let (style, from) = match confinement.declined {
                true => (theme.bold(), 100),
                false => (theme.dim(), 140),
            };
            parts.push((confinement.as_str().to_owned(), style, from));
        }
        if !self.player.is_shown() {
            let every = format!("every {}", units::span(self.shared.interval));
            parts.push((every, theme.dim(), 0));
        }
        let counting = self.shared.history.clock().at;
        if !self.shared.machine.uptime.is_zero() {
            let up = duration((self.shared.machine.uptime + self.shared.clock).as_secs());
            parts.push((format!("up {up}"), theme.dim(), 100));
        }
        if !counting.is_zero() {
            let counting = duration(counting.as_secs());
            let counting = match &self.player.position {
                None => format!("counting for {counting}"),
                Some(PlayerPosition { whole: None, .. }) => format!("after {counting}"),
                Some(PlayerPosition {
                    whole: Some(whole), ..
                }) => {
                    format!("after {counting} of {}", duration(whole.as_secs()))
                }
            };
            parts.push((counting, theme.dim(), 140));
        }
        if self.shared.history.intervals() > 0
            && !self.player.is_shown()
            && let Ok(time) = Timestamp::try_from(self.shared.history.ended())
        {
            let time = format!("{} UTC", time.strftime("%H:%M:%S"));
            parts.push((time, theme.dim(), 160));
        }
        parts
    }

    fn second(&self, at: Rect, has_chart: bool, buf: &mut Buffer) {
        let half = at.width / 2;
        for (n, direction) in [Direction::Rx, Direction::Tx].into_iter().enumerate() {
            let n = u16::try_from(n).unwrap_or(0);
            let at = within(at, n * half, half);
            self.now(direction, at, has_chart, buf);
        }
    }

    /// Draws the rate of one direction.
    fn now(&self, direction: Direction, at: Rect, has_chart: bool, buf: &mut Buffer) {
        let theme = &self.shared.display.theme;
        let hue = theme.hue(direction);
        let (all, clock) = (self.shared.history.all(), self.shared.history.clock());
        let directions = Directions::from(direction);
        let name = match direction {
            Direction::Rx => "in",
            Direction::Tx => "out",
        };
        // A capture receives what other sockets move: in one sum its copies would count twice.
        let units = self.shared.display.units;
        let copies = self.shared.history.copies();
        let copied = directions.bytes(&copies.now);
        let bytes = directions.bytes(&all.now) - copied;
        let mut x = put(buf, at, 1, name, hue) + 1;
        let now = self.shared.display.rate_cell(rate(bytes, clock.elapsed));
        x = put(buf, at, x.max(5), &now, theme.bold()) + 2;
        let mut add = |text: &str| {
            if x + width(text) < at.width {
                x = put(buf, at, x, text, theme.dim()) + 2;
            }
        };
        if copied > 0 {
            let copied = units.rate(rate(copied, clock.elapsed));
            add(&format!("+ {copied} copies"));
        }
        if has_chart || self.shared.display.totals {
            let total = directions.bytes(&all.total) - directions.bytes(&copies.total);
            add(&format!("{} total", units.amount(total)));
        }
        if has_chart {
            let average = (all.avg60(directions) - copies.avg60(directions)).max(0.0);
            add(&format!("60 s average {}", units.rate(average)));
        }
        let room = at.width.saturating_sub(x + 1);
        if !has_chart && room >= MIN_SPARK {
            let samples = self.shared.samples(usize::from(room) * braille::SAMPLES);
            let rates = samples.into_iter().map(|sample| {
                sample.map(|(rx, tx)| match direction {
                    Direction::Rx => rx,
                    Direction::Tx => tx,
                })
            });
            let rates: Vec<Option<f64>> = rates.collect();
            let top = nice(rates.iter().flatten().copied().fold(0.0, f64::max));
            let dots = |rate| braille::dots(rate, top, braille::DOTS);
            let row = braille::row(&rates, 0, usize::from(room), theme.glyphs, dots);
            put(buf, at, x, &row, hue);
        }
    }
}
