//! A list of named facts and its layout: important facts first, the chart if it fits.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::stats::history::{FlowStats, TrafficStats};
use crate::text::units;
use crate::text::wrap::wrap_all;
use crate::tui::draw::chart::{Chart, ChartWindow, Sample};
use crate::tui::draw::line::{line, put, put_right, put_untrusted, width};
use crate::tui::draw::{braille, duration};
use crate::tui::state::shared::SharedState;
use crate::view::Directions;

/// Minimum width, in cells, at which the chart is beside the facts.
const BESIDE: u16 = 110;
/// Width of the names of facts.
const NAME: u16 = 14;
/// Minimum height, in lines, at which headings and empty lines separate the parts.
const ROOMY: u16 = 26;
/// Bounds of the chart's height, in lines: below them it shows nothing, above them nothing more.
const CHART: std::ops::RangeInclusive<u16> = 5..=16;
/// Width of the scale beside the chart.
const SCALE: u16 = 11;
/// Maximum number of lines of one fact.
const MAX_LINES: usize = 4;
/// Index of the peak among the columns of rates.
const PEAK: usize = 3;
/// Width of the names of the rows of rates.
const ROW_NAME: u16 = 4;
/// Widths of the sparkline beside rates, in cells: narrower it shows nothing, wider nothing more.
const MIN_SPARK: usize = 8;
const MAX_SPARK: usize = 30;

/// A line of a list.
enum DetailLine {
    Heading(&'static str),
    Fact(&'static str, String, Style),
    /// A row of numbers behind a short name.
    Row(&'static str, String, Style),
    Empty,
}

/// A list of facts with their names.
pub(super) struct DetailList {
    lines: Vec<DetailLine>,
    /// Width of a fact's text, in cells.
    room: usize,
    /// Whether there is room for headings.
    is_roomy: bool,
}

impl DetailList {
    fn new(width: u16, height: u16) -> Self {
        Self {
            lines: Vec::new(),
            room: usize::from(width.saturating_sub(3 + NAME + 1)),
            is_roomy: height >= ROOMY,
        }
    }

    /// Whether there is room for headings.
    pub(super) const fn has_headings(&self) -> bool {
        self.is_roomy
    }

    /// Adds a heading with an empty line above, where there is room.
    pub(super) fn heading(&mut self, text: &'static str) {
        if self.is_roomy {
            self.heading_always(text);
        }
    }

    pub(super) fn heading_always(&mut self, text: &'static str) {
        if self.is_roomy && !self.lines.is_empty() {
            self.lines.push(DetailLine::Empty);
        }
        self.lines.push(DetailLine::Heading(text));
    }

    /// Adds a fact, wrapped into as many lines as a fact may have.
    pub(super) fn add(&mut self, name: &'static str, value: &str, style: Style) {
        let clean = units::sanitize(value);
        let lines = wrap_all(&clean, self.room).into_iter();
        for (n, text) in lines.take(MAX_LINES).enumerate() {
            let name = if n == 0 { name } else { "" };
            self.lines.push(DetailLine::Fact(name, text, style));
        }
    }

    /// Adds a fact that holds no untrusted text, unwrapped.
    pub(super) fn put(&mut self, name: &'static str, value: String, style: Style) {
        self.lines.push(DetailLine::Fact(name, value, style));
    }

    /// Adds a line that needs no name, as a part of the table below a heading.
    pub(super) fn row(&mut self, cells: String, style: Style) {
        self.lines.push(DetailLine::Row("", cells, style));
    }

    /// Returns how many cells a fact's text has, or a line without a name.
    pub(super) const fn room(&self, has_no_name: bool) -> usize {
        self.room
            + if has_no_name {
                (NAME - ROW_NAME) as usize
            } else {
                0
            }
    }

    fn height(&self) -> u16 {
        u16::try_from(self.lines.len()).unwrap_or(u16::MAX)
    }
}

/// The subject of a page of facts.
pub(super) trait DetailPage {
    /// Returns a sentence about the limit of the pace, and whether it is a fault that can be fixed.
    fn sentence(&self) -> Option<(String, bool)>;
    /// Adds traffic and state: at the left, or at the right if there is room.
    fn health(&self, list: &mut DetailList);
    /// Adds all other facts, the most useful first.
    fn facts(&self, list: &mut DetailList);
    fn traffic(&self) -> &TrafficStats;
    /// Returns the flows of the chart.
    fn flows(&self) -> Vec<&FlowStats>;
}

/// Draws the page of a subject, scrolled to the line `top`.
pub(super) fn draw(
    subject: &dyn DetailPage,
    shared: &SharedState,
    top: usize,
    body: Rect,
    buf: &mut Buffer,
) {
    let theme = &shared.display.theme;
    let mut body = body;
    if let Some((sentence, is_trouble)) = subject.sentence() {
        let style = match is_trouble {
            true => theme.bold(),
            false => Style::new(),
        };
        let clean = units::sanitize(&sentence);
        for text in wrap_all(&clean, usize::from(body.width.saturating_sub(2))) {
            put(buf, line(body, 0), 1, &text, style);
            body = below(body, 1);
        }
    }
    let beside = body.width >= BESIDE;
    let wide = if beside { body.width / 2 } else { body.width };
    let mut left = DetailList::new(wide, body.height);
    traffic(subject, shared, wide, &mut left);
    if beside {
        // The chart gets the lines that the state of the connections leaves.
        subject.facts(&mut left);
        let mut right = DetailList::new(body.width - wide - 1, body.height);
        subject.health(&mut right);
        let area = within_area(body, wide + 1, body.width);
        let height = area.height.saturating_sub(right.height() + 1);
        let height = chart(subject, shared, height, area, buf);
        draw_list(&right, shared, 0, below(area, height), buf);
        draw_list(&left, shared, top, within_area(body, 0, wide), buf);
    } else {
        subject.health(&mut left);
        subject.facts(&mut left);
        draw_list(&left, shared, top, body, buf);
        let area = below(body, left.height().saturating_add(1));
        chart(subject, shared, area.height, area, buf);
    }
}

/// Draws a list from a line on, as far as there is room.
fn draw_list(list: &DetailList, shared: &SharedState, top: usize, area: Rect, buf: &mut Buffer) {
    let theme = &shared.display.theme;
    let last = list.lines.len().saturating_sub(usize::from(area.height));
    let more = match (top < last, theme.glyphs.ascii) {
        (false, _) => "",
        (true, true) => " more below ",
        (true, false) => " ↓ more ",
    };
    for (text, y) in list.lines.iter().skip(top.min(last)).zip(0..area.height) {
        let whole = line(area, y);
        // Of the last line in sight, what would stand below the note ends before it.
        let at = match y + 1 == area.height {
            true => within_area(whole, 0, whole.width.saturating_sub(width(more))),
            false => whole,
        };
        let value_at = |x, value: &str, style, buf: &mut Buffer| {
            let room = within_area(at, x, at.width);
            put_untrusted(buf, room, value, theme.glyphs.ellipsis, style);
        };
        match text {
            DetailLine::Heading(title) => {
                put(buf, at, 1, title, theme.dim());
            }
            DetailLine::Fact(name, value, style) => {
                put(buf, at, 3, name, theme.dim());
                value_at(3 + NAME, value, *style, buf);
            }
            DetailLine::Row(name, cells, style) => {
                put(buf, at, 3, name, theme.dim());
                value_at(3 + ROW_NAME, cells, *style, buf);
            }
            DetailLine::Empty => {}
        }
    }
    if !more.is_empty() && area.height > 0 {
        put_right(buf, line(area, area.height - 1), more, theme.bold());
    }
}

/// Adds rates and totals as a small table, with the last minute where there is room.
fn traffic(subject: &dyn DetailPage, shared: &SharedState, room: u16, list: &mut DetailList) {
    let (stats, clock, display) = (subject.traffic(), shared.history.clock(), &shared.display);
    let both = [Directions::Rx, Directions::Tx];
    let rates = |rate: &dyn Fn(Directions) -> f64| both.map(|it| display.rate_cell(rate(it)));
    // Aligns the numbers of amounts with those of rates.
    let total = |it: Directions| format!("{}  ", display.amount_cell(it.bytes(&stats.total)));
    let mut columns = vec![
        ("now", rates(&|it| stats.rate(it, &clock))),
        ("10 s", rates(&|it| stats.avg10(it))),
        ("60 s", rates(&|it| stats.avg60(it))),
        ("total  ", both.map(total)),
        ("average", rates(&|it| stats.average(it, &clock))),
    ];
    // Peaks of several flows do not add up.
    if stats.peak(Directions::Both).is_some() {
        let peaks = rates(&|it| stats.peak(it).unwrap_or(0.0));
        columns.insert(PEAK, ("peak", peaks));
    }
    let wide = display.units.rate_width() + 1;
    let room = usize::from(room).saturating_sub(usize::from(ROW_NAME) + 4);
    columns.truncate((room / wide).max(1));
    let spark = room.saturating_sub(columns.len() * wide + 2).min(MAX_SPARK);
    let has_spark = spark >= MIN_SPARK;
    let mut head: String = columns
        .iter()
        .map(|(title, _)| format!("{title:>wide$}"))
        .collect();
    if has_spark {
        head.push_str("  last minute");
    }
    list.lines
        .push(DetailLine::Row("", head, display.theme.dim()));
    for (n, directions) in both.into_iter().enumerate() {
        let cells = columns.iter().map(|(_, cells)| &cells[n]);
        let mut text: String = cells.map(|cell| format!("{cell:>wide$}")).collect();
        if has_spark {
            let samples = shared.history.sparkline(subject.flows(), directions);
            let most = samples.iter().flatten().copied().fold(0.0, f64::max);
            let number = shared.history.bars_number();
            let dots = |rate| braille::dots(rate, most, braille::DOTS);
            text.push_str("  ");
            text += &braille::row(&samples, number, spark, display.theme.glyphs, dots);
        }
        let name = ["in", "out"][n];
        list.lines.push(DetailLine::Row(name, text, Style::new()));
    }
}

/// Draws the last minute as a chart as high as there is room; returns how many lines that took.
fn chart(
    subject: &dyn DetailPage,
    shared: &SharedState,
    room: u16,
    area: Rect,
    buf: &mut Buffer,
) -> u16 {
    let height = room.min(*CHART.end());
    if height < *CHART.start() {
        return 0;
    }
    let rates = |directions| shared.history.sparkline(subject.flows(), directions);
    let pairs = rates(Directions::Rx).into_iter().zip(rates(Directions::Tx));
    let samples: Vec<Sample> = pairs.map(|(rx, tx)| rx.zip(tx)).collect();
    Chart {
        samples: &samples,
        units: shared.display.units,
        theme: shared.display.theme,
        seconds: shared.seconds(),
        window: ChartWindow {
            samples: None,
            number: shared.history.bars_number(),
        },
    }
    .render(
        Rect {
            height: height - 1,
            ..area
        },
        buf,
    );
    let at = line(area, height - 1);
    put(buf, at, SCALE, "last minute", shared.display.theme.dim());
    height
}

/// Formats a point of time.
pub(super) fn time(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(
        |_| "unknown".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// Formats a point of time with how long ago it was.
pub(super) fn time_ago(then: SystemTime, ago: Duration) -> String {
    format!("{}, {} ago", time(then), duration(ago.as_secs()))
}

/// Returns the part of an area from a line on.
fn below(area: Rect, lines: u16) -> Rect {
    let lines = lines.min(area.height);
    Rect {
        y: area.y + lines,
        height: area.height - lines,
        ..area
    }
}

fn within_area(area: Rect, x: u16, width: u16) -> Rect {
    let x = x.min(area.width);
    Rect {
        x: area.x + x,
        width: width.min(area.width - x),
        ..area
    }
}
