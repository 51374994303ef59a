//! Draws the two lines at the top: machine, filter and state; then the rates of both directions,
//! local traffic and the traffic of the network cards.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::cells::percent;
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

/// Widths of a sparkline, in cells: a narrower one is not drawn, a wider one says no more.
const SPARK: std::ops::RangeInclusive<u16> = 4..=12;
/// Height of the screen from which on the strip of local and wire traffic is shown, and its least
/// width.
const STRIP_FROM: (u16, u16) = (60, 12);
/// Share of the cards' traffic from which on bytes that no socket moved are shown.
const NOTABLE: f64 = 0.01;
/// Cells that a filter keeps before its share of the traffic is left out.
const MIN_FILTER: usize = 20;
/// Cells between two parts of a line.
const GAP: u16 = 2;

/// A part of the first line with its style.
type Part = (String, Style);

impl App {
    pub(super) fn header(&self, area: Rect, has_chart: bool, buf: &mut Buffer) {
        self.first(line(area, 0), buf);
        if self.shared.history.intervals() > 0 {
            self.second(area, has_chart, buf);
        }
    }

    fn first(&self, at: Rect, buf: &mut Buffer) {
        let theme = &self.shared.display.theme;
        let name = self.shared.machine_name();
        let mut x = put(buf, at, 1, &name, theme.bold()) + GAP;
        let mut right = at.width;
        if let Some((word, style)) = self.state_word(at.width) {
            put_right(buf, at, &word, style);
            right -= width(&word);
        }
        if let Some(timeline) = self.player.timeline(&self.shared, self.filter_width(), at) {
            x = timeline.render(at, theme, buf) + GAP;
        }
        for (text, style) in self.notices() {
            if x + width(&text) <= right {
                x = put(buf, at, x, &text, style) + GAP;
            }
        }
        // Rare facts come before usual ones; the filter is never left out.
        x = self.filter(within(at, 0, right.saturating_sub(1)), x, buf);
        let mut parts = Vec::new();
        let mut left = right.saturating_sub(x);
        for (order, part) in self.facts() {
            let wide = width(&part.0) + GAP;
            if !part.0.is_empty() && wide <= left {
                left -= wide;
                parts.push((order, part));
            }
        }
        parts.sort_by_key(|(order, _)| *order);
        let all: u16 = parts.iter().map(|(_, part)| width(&part.0) + GAP).sum();
        let mut x = right.saturating_sub(all.saturating_sub(1));
        for (_, (text, style)) in parts {
            x = put(buf, at, x, &text, style) + GAP;
        }
    }

    /// Whether the state word covers a position.
    pub(in crate::tui) fn state_word_at(&self, at: Position) -> bool {
        let first = line(ScreenLayout::new(self.shared.area).header, 0);
        let word = self.state_word(first.width);
        let x = word.map_or(first.width, |(word, _)| {
            first.width.saturating_sub(width(&word))
        });
        within(first, x, first.width).contains(at)
    }

    /// Returns the word at the right end of the first line, how exact the numbers are, on a screen
    /// of this width; `None` where there is no room beside the machine's name.
    fn state_word(&self, width_of_screen: u16) -> Option<Part> {
        let theme = &self.shared.display.theme;
        let name = 1 + width(&self.shared.machine_name()) + GAP;
        let room = width_of_screen.saturating_sub(name);
        let (words, style) = match self.trouble() {
            Some(word) => ([format!(" ! {word} "), " ! ".to_owned()], theme.alarm()),
            None => {
                let word = format!(" {} ", losses::state(&self.shared.method));
                ([word.clone(), word], theme.dim())
            }
        };
        let word = words.into_iter().find(|word| width(word) <= room)?;
        Some((word, style))
    }

    /// Returns the reason why the numbers are not exact or a recording is not complete.
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

    /// Returns notices about a display that is not in its default state.
    fn notices(&self) -> Vec<Part> {
        let shared = &self.shared;
        let theme = &shared.display.theme;
        let mut notices = Vec::new();
        if let Some(pause) = &shared.pause {
            let held = shared.clock.saturating_sub(pause.since).as_secs();
            notices.push((format!(" PAUSED {} ", duration(held)), theme.notice()));
        }
        if let Some(travel) = &shared.travel {
            let ago = travel.distance(&shared.history).as_secs();
            notices.push((format!(" {} AGO ", duration(ago)), theme.notice()));
        }
        if self.panes.is_frozen {
            notices.push(("order frozen".to_owned(), theme.bold()));
        }
        if let Some(recording) = &shared.recording {
            let written = format!("REC {}", units::bytes(recording.bytes));
            notices.push((written, theme.bold()));
        }
        notices
    }

    /// Draws which traffic is counted and shown; returns the cell after it.
    fn filter(&self, at: Rect, mut x: u16, buf: &mut Buffer) -> u16 {
        let shared = &self.shared;
        let theme = &shared.display.theme;
        let room = usize::from(at.width.saturating_sub(x));
        let mut add = |text: String, style: Style, kept: usize| {
            let room = usize::from(at.width.saturating_sub(x)).saturating_sub(kept);
            if room == 0 {
                return;
            }
            let text = match columns(&text) > room {
                true => take(text.chars(), room.saturating_sub(1)) + theme.glyphs.ellipsis,
                false => text,
            };
            x = put(buf, at, x, &text, style) + GAP;
        };
        let share = self.panes.filter_share(shared).map(|[rx, tx]| {
            let percent = |(part, whole)| percent(part, whole);
            format!("{} of in, {} of out", percent(rx), percent(tx))
        });
        let share = share.filter(|share| columns(share) + MIN_FILTER < room);
        let kept = share
            .as_ref()
            .map_or(0, |share| columns(share) + usize::from(GAP));
        let shown = &self.panes.filter;
        match self.filter_text() {
            Some(filter) => add(filter, theme.bold(), kept),
            None if room >= "all traffic".len() => add("all traffic".to_owned(), theme.dim(), 0),
            None => {}
        }
        if let Some(share) = share {
            add(share, theme.dim(), 0);
        }
        if let Some(counted) = shared
            .capture_filter
            .as_deref()
            .filter(|_| !shown.is_empty())
        {
            let counted = format!("counted: {}", units::sanitize(counted));
            add(counted, theme.dim(), 0);
        }
        if shared.hides_internal {
            add("local traffic hidden".to_owned(), theme.bold(), 0);
        }
        x
    }

    /// Returns the filter that the first line never leaves out: that of the rows, otherwise that of
    /// the capture.
    fn filter_text(&self) -> Option<String> {
        let shown = Some(self.panes.filter.text()).filter(|text| !text.is_empty());
        let filter = shown.or(self.shared.capture_filter.as_deref())?;
        Some(format!("filter: {}", units::sanitize(filter)))
    }

    /// Returns the width of that filter, with the gap behind it, in cells.
    pub(in crate::tui) fn filter_width(&self) -> u16 {
        self.filter_text().map_or(0, |text| width(&text) + GAP)
    }

    /// Returns the facts at the right of the first line, ordered by priority, each with its index
    /// from the left.
    fn facts(&self) -> Vec<(u8, Part)> {
        let shared = &self.shared;
        let theme = &shared.display.theme;
        let dim = theme.dim();
        let is_replay = self.player.is_shown();
        let mut facts = Vec::new();
        if shared.history.intervals() > 0 {
            let flows = units::count(shared.flows_now as u64, "flow");
            facts.push((1, (flows, Style::new())));
            if let Some(cost) = shared.history.cost() {
                let elapsed = shared.history.clock().elapsed;
                let cost = units::per_hour(cost.both(), elapsed);
                facts.push((2, (format!("cost ~{cost}/h"), Style::new())));
            }
        }
        if !is_replay {
            let every = format!("every {}", units::span(shared.interval));
            facts.push((0, (every, dim)));
        }
        if shared.history.intervals() > 0 {
            if !is_replay && let Ok(time) = Timestamp::try_from(shared.history.ended()) {
                let time = time.strftime("%H:%M:%S UTC").to_string();
                facts.push((4, (time, dim)));
            }
            let programs = units::count(shared.programs_now as u64, "program");
            facts.push((2, (programs, dim)));
        }
        if !shared.machine.uptime.is_zero() {
            let up = duration((shared.machine.uptime + shared.clock).as_secs());
            facts.push((3, (format!("up {up}"), dim)));
        }
        let at = shared.history.clock().at;
        if let Some(PlayerPosition { whole, .. }) = &self.player.position
            && !at.is_zero()
        {
            let at = duration(at.as_secs());
            let after = match whole {
                None => format!("after {at}"),
                Some(whole) => format!("after {at} of {}", duration(whole.as_secs())),
            };
            facts.push((3, (after, dim)));
        }
        facts
    }

    fn second(&self, area: Rect, has_chart: bool, buf: &mut Buffer) {
        let at = line(area, 1);
        let ways = [Direction::Rx, Direction::Tx];
        let [rx, tx] = ways.map(|way| self.now(way, has_chart));
        let narrow = rx.narrow() + GAP + tx.narrow();
        // The layout gives a third line where one of them is not enough in every unit.
        if area.height > 2 {
            self.draw_now(&rx, at, 0, buf);
            self.draw_now(&tx, line(area, 2), 0, buf);
            return;
        }
        let strip = self.strip(at.width.saturating_sub(narrow + GAP + 2 * *SPARK.start()));
        let strip_width = strip.iter().map(|(text, _)| width(text) + GAP).sum::<u16>();
        let mut right = at.width.saturating_sub(strip_width.saturating_sub(1));
        let left = right.saturating_sub(narrow + GAP);
        for (text, style) in &strip {
            right = put(buf, at, right, text, *style) + GAP;
        }
        let mut x = self.draw_now(&rx, within(at, 0, at.width), left / 2, buf);
        x += GAP;
        let rest = within(at, x, at.width - x.min(at.width));
        self.draw_now(&tx, rest, left / 2, buf);
    }

    /// Returns the rate of one direction and the facts behind it.
    fn now(&self, direction: Direction, has_chart: bool) -> DirectionNow {
        let (all, clock) = (self.shared.history.all(), self.shared.history.clock());
        let directions = Directions::from(direction);
        // A packet capture receives copies of other sockets' bytes, which one sum would count
        // twice.
        let display = &self.shared.display;
        let copies = self.shared.history.copies();
        let copied = directions.bytes(&copies.now);
        let bytes = directions.bytes(&all.now) - copied;
        let copies_now = match copied {
            0 => String::new(),
            copied => {
                let copied = display.units.rate(rate(copied, clock.elapsed));
                format!("  + {copied} copies")
            }
        };
        let mut more = Vec::new();
        if has_chart || display.totals {
            let total = directions.bytes(&all.total) - directions.bytes(&copies.total);
            more.push(format!("{} total", display.units.amount(total)));
        }
        DirectionNow {
            direction,
            rate: display.rate_cell(rate(bytes, clock.elapsed)),
            copies: copies_now,
            more,
            has_spark: !has_chart,
        }
    }

    /// Draws the rate of one direction at the beginning of a line, with so much room for more;
    /// returns the cell after it.
    fn draw_now(&self, now: &DirectionNow, at: Rect, room: u16, buf: &mut Buffer) -> u16 {
        let theme = &self.shared.display.theme;
        let hue = theme.hue(now.direction);
        let mut x = put(buf, at, 1, now.name(), hue) + 1;
        x = put(buf, at, x, &now.rate, theme.bold());
        x = put(buf, at, x, &now.copies, theme.dim());
        let end = x + room;
        for text in &now.more {
            if x + width(text) + GAP <= end {
                x = put(buf, at, x + GAP, text, theme.dim());
            }
        }
        let room = end.saturating_sub(x + 1).min(*SPARK.end());
        if now.has_spark && room >= *SPARK.start() {
            let samples = self.shared.samples(usize::from(room) * braille::SAMPLES);
            let rates = samples.into_iter().map(|sample| {
                sample.map(|(rx, tx)| match now.direction {
                    Direction::Rx => rx,
                    Direction::Tx => tx,
                })
            });
            let rates: Vec<Option<f64>> = rates.collect();
            let top = nice(rates.iter().flatten().copied().fold(0.0, f64::max));
            let dots = |rate| braille::dots(rate, top, braille::DOTS);
            let row = braille::row(&rates, 0, usize::from(room), theme.glyphs, dots);
            x = put(buf, at, x + 1, &row, hue);
        }
        x
    }

    /// Returns local traffic and the traffic of the network cards, in the longest form that fits. A
    /// filter hides other traffic of the cards, so then they are not compared with sockets.
    fn strip(&self, room: u16) -> Vec<Part> {
        let shared = &self.shared;
        if shared.area.width < STRIP_FROM.0 || shared.area.height < STRIP_FROM.1 {
            return Vec::new();
        }
        let (units, theme) = (shared.display.units, &shared.display.theme);
        let (history, clock) = (&shared.history, shared.history.clock());
        let wire = history.wire();
        // Each byte counts once; a side that is not counted is missing here.
        let internal = &wire.internal().now;
        let internal = rate(internal.rx_bytes.max(internal.tx_bytes), clock.elapsed);
        let local: Option<Part> =
            (internal > 0.0).then(|| (format!("local {}", units.rate(internal)), Style::new()));
        let mut forms: Vec<Vec<Part>> = Vec::new();
        if !history.interfaces().is_empty() {
            let [rx, tx] =
                [Directions::Rx, Directions::Tx].map(|way| wire.bytes().rate(way, &clock));
            let names: Vec<&str> = history
                .interfaces()
                .iter()
                .map(|card| &*card.name)
                .collect();
            let name = match names[..] {
                [name] => units::sanitize(name).into_owned(),
                _ => format!("{} cards", names.len()),
            };
            let both = format!("in {} out {}", units.rate(rx), units.rate(tx));
            let with = |text: String| -> Vec<Part> {
                let wire = (text, theme.dim());
                local.iter().cloned().chain([wire]).collect()
            };
            if let Some(excess) = self.not_from_sockets() {
                let mut form = with(format!("wire {name} {both}"));
                form.push((excess, Style::new()));
                forms.push(form);
            }
            forms.push(with(format!("wire {name} {both}")));
            forms.push(with(format!("wire {both}")));
            forms.push(with(format!("wire {}", units.rate(rx + tx))));
        }
        forms.push(local.into_iter().collect());
        let fits =
            |form: &Vec<Part>| form.iter().map(|(text, _)| width(text) + GAP).sum::<u16>() <= room;
        forms.into_iter().find(fits).unwrap_or_default()
    }

    /// Returns the share of the cards' traffic that no socket moved, if it is notable and all
    /// sockets are counted.
    fn not_from_sockets(&self) -> Option<String> {
        let history = &self.shared.history;
        if self.shared.capture_filter.is_some() || self.shared.travel.is_some() {
            return None;
        }
        let wire = history.wire();
        let bound = |way| wire.not_from_sockets(way, history.all(), history.copies());
        let excess = bound(Directions::Rx) + bound(Directions::Tx);
        let all = wire.bytes().avg60(Directions::Both);
        let is_notable = excess > NOTABLE * all && excess >= 1.0;
        is_notable.then(|| {
            format!(
                "not from sockets {}",
                self.shared.display.units.rate(excess)
            )
        })
    }
}

/// The rate of one direction.
struct DirectionNow {
    direction: Direction,
    /// As wide as any rate.
    rate: String,
    /// Copies that packet captures received, which are not in the rate; empty if there were none.
    copies: String,
    /// Further facts, shown if they fit.
    more: Vec<String>,
    has_spark: bool,
}

impl DirectionNow {
    const fn name(&self) -> &'static str {
        match self.direction {
            Direction::Rx => "in",
            Direction::Tx => "out",
        }
    }

    /// Returns the width of the rate alone, in cells.
    fn narrow(&self) -> u16 {
        1 + width(self.name()) + 1 + width(&self.rate) + width(&self.copies)
    }
}
