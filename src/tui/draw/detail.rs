//! One flow: its ends, traffic, owner, chart and TCP connection.

use std::time::SystemTime;

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::cells::per_second;
use super::{duration, heading_line};
use crate::model::flow::{Endpoint, FlowKey, Protocol};
use crate::model::interval::rate;
use crate::resolve::names::Names;
use crate::stats::history::FlowStats;
use crate::stats::ranking::{ProcessLookup as _, ProcessRef, Row, RowTcpStats};
use crate::text::units;
use crate::text::wrap::wrap_all;
use crate::tui::action::Command;
use crate::tui::app::{Mode, scrolled};
use crate::tui::draw::chart::{Chart, ChartWindow, Sample};
use crate::tui::draw::line::{line, put, put_right, within};
use crate::tui::state::shared::SharedState;
use crate::view::Directions;

/// Least width, in cells, at which the chart stands beside the facts.
const BESIDE: u16 = 110;
/// Width of the names of facts.
const NAME: u16 = 14;
/// Least height, in lines, at which empty lines separate the parts.
const ROOMY: u16 = 24;
/// Upper bound of the chart's height, in lines.
const MAX_CHART: u16 = 16;

/// A fact with its name, or a heading.
pub(super) enum DetailLine {
    Heading(&'static str),
    Fact(&'static str, String, Style),
    Empty,
}

/// A list of facts with their names.
pub(super) struct DetailList {
    lines: Vec<DetailLine>,
    /// Width of a fact's text, in cells.
    room: usize,
}

impl DetailList {
    fn new(width: u16) -> Self {
        Self {
            lines: Vec::new(),
            room: usize::from(width.saturating_sub(3 + NAME + 1)),
        }
    }

    pub(super) fn heading(&mut self, text: &'static str) {
        self.lines.push(DetailLine::Heading(text));
    }

    /// Adds a fact, wrapped into at most four lines.
    pub(super) fn add(&mut self, name: &'static str, value: &str, style: Style) {
        let clean = units::sanitize(value);
        for (n, text) in wrap_all(&clean, self.room).into_iter().take(4).enumerate() {
            let name = if n == 0 { name } else { "" };
            self.lines.push(DetailLine::Fact(name, text, style));
        }
    }

    /// Adds a fact that holds no untrusted text, unwrapped.
    fn put(&mut self, name: &'static str, value: String, style: Style) {
        self.lines.push(DetailLine::Fact(name, value, style));
    }

    fn gap(&mut self) {
        self.lines.push(DetailLine::Empty);
    }
}

/// One flow on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    key: FlowKey,
    /// The first line shown.
    top: usize,
}

impl Detail {
    /// The flow with this key, from its first line on.
    pub const fn of(key: FlowKey) -> Self {
        Self { key, top: 0 }
    }

    /// Handles a command; returns the part of the screen that takes over, if one does.
    pub fn act(&mut self, command: Command) -> Option<Mode> {
        match command {
            Command::Back | Command::Enter => return Some(Mode::Table),
            _ => self.top = scrolled(self.top, command).unwrap_or(self.top),
        }
        None
    }

    /// The flow as a row of the table.
    pub fn row(&self, shared: &SharedState) -> Option<Row> {
        let flow = shared.history.get(&self.key)?;
        Some(Row::of(flow, &shared.history.clock()))
    }

    pub fn wheel(&mut self, rows: i32) {
        self.top = self.top.saturating_add_signed(rows as isize);
    }

    pub fn draw(&self, shared: &SharedState, area: Rect, buf: &mut Buffer) {
        heading_line("Flow", line(area, 0), &shared.display.theme, buf);
        let body = Rect {
            y: area.y + 1.min(area.height),
            height: area.height.saturating_sub(1),
            ..area
        };
        match shared.history.get(&self.key) {
            Some(flow) => FlowPage { shared, flow }.draw(self.top, body, buf),
            None => {
                let text = "This flow ended long ago; only the totals still include it.";
                put(buf, line(body, 1), 1, text, Style::new());
            }
        }
    }
}

/// A flow with the state it is drawn from.
pub(super) struct FlowPage<'a> {
    pub(super) shared: &'a SharedState,
    pub(super) flow: &'a FlowStats,
}

impl FlowPage<'_> {
    fn draw(&self, top: usize, body: Rect, buf: &mut Buffer) {
        let beside = body.width >= BESIDE;
        let wide = if beside { body.width / 2 } else { body.width };
        let mut left = DetailList::new(wide);
        // What moves and how it is doing come first: a small screen shows the ends and the owner as it scrolls.
        left.heading("Traffic");
        self.traffic(&mut left);
        if !beside {
            self.connection(&mut left);
        }
        self.lookup(body.height, &mut left);
        if beside {
            // The chart has what the state of the connection leaves.
            let mut right = DetailList::new(body.width - wide - 1);
            self.connection(&mut right);
            let area = within_area(body, wide + 1, body.width);
            let lookup = u16::try_from(right.lines.len()).unwrap_or(u16::MAX);
            let chart = area.height.saturating_sub(lookup + 1).min(MAX_CHART);
            self.flow_chart(
                Rect {
                    height: chart,
                    ..area
                },
                buf,
            );
            self.list(&right, 0, below(area, chart), buf);
            self.list(&left, top, within_area(body, 0, wide), buf);
        } else {
            // The chart has what the facts leave.
            let lookup = u16::try_from(left.lines.len()).unwrap_or(u16::MAX);
            self.list(&left, top, body, buf);
            self.flow_chart(below(body, lookup.min(body.height)), buf);
        }
    }

    /// Draws a list from a line on, as far as there is room.
    fn list(&self, list: &DetailList, top: usize, area: Rect, buf: &mut Buffer) {
        let theme = &self.shared.display.theme;
        let last = list.lines.len().saturating_sub(usize::from(area.height));
        for (text, y) in list.lines.iter().skip(top.min(last)).zip(0..) {
            let at = line(area, y);
            match text {
                DetailLine::Heading(title) => {
                    put(buf, at, 1, title, theme.dim());
                }
                DetailLine::Fact(name, value, style) => {
                    put(buf, at, 3, name, theme.dim());
                    put(buf, at, 3 + NAME, value, *style);
                }
                DetailLine::Empty => {}
            }
        }
        if top < last && area.height > 0 {
            let more = if theme.glyphs.ascii {
                " more below "
            } else {
                " ↓ more "
            };
            put_right(buf, line(area, area.height - 1), more, theme.bold());
        }
    }

    fn lookup(&self, height: u16, list: &mut DetailList) {
        if height >= ROOMY {
            list.gap();
        }
        list.heading("Ends");
        let flow = self.flow;
        let theme = &self.shared.display.theme;
        let plain = Style::new();
        let key = &flow.key;
        let ends = [
            ("local", &key.local, &key.remote),
            ("remote", &key.remote, &key.local),
        ];
        for (name, end, other) in ends {
            let text = self.end(end, other, key.protocol);
            list.add(name, &text, theme.bold());
        }
        list.add("protocol", key.protocol.as_str(), plain);
        if key.netns != 0 {
            list.add("netns", &key.netns.to_string(), plain);
        }
        let clock = self.shared.history.clock();
        let traffic = &flow.traffic;
        let seen = format!(
            "{}, {} ago",
            self.time(traffic.first_seen()),
            duration(traffic.age(&clock).as_secs())
        );
        list.add("first seen", &seen, plain);
        let idle = traffic.idle(Directions::Both, &clock);
        if let Some(idle) = idle.filter(|idle| !idle.is_zero()) {
            list.add("idle for", &duration(idle.as_secs()), plain);
        }
        if height >= ROOMY {
            list.gap();
        }
        list.heading("Owner");
        self.owner(list);
    }

    fn traffic(&self, list: &mut DetailList) {
        let flow = self.flow;
        let clock = self.shared.history.clock();
        let traffic = &flow.traffic;
        let display = &self.shared.display;
        let wide = display.units.rate_width() + 2;
        let pair = |rx: String, tx: String| format!("{rx:>wide$}{tx:>wide$}");
        let both = [Directions::Rx, Directions::Tx];
        let head = pair("in".to_owned(), "out".to_owned());
        list.put("", head, self.shared.display.theme.dim());
        let rates: [(&'static str, [f64; 2]); 5] = [
            (
                "now",
                both.map(|directions| traffic.rate(directions, &clock)),
            ),
            ("10 s", both.map(|directions| traffic.avg10(directions))),
            ("60 s", both.map(|directions| traffic.avg60(directions))),
            (
                "average",
                both.map(|directions| traffic.average(directions, &clock)),
            ),
            (
                "peak",
                both.map(|directions| traffic.peak(directions).unwrap_or(0.0)),
            ),
        ];
        for (name, [rx, tx]) in rates {
            let text = pair(display.rate_cell(rx), display.rate_cell(tx));
            list.put(name, text, Style::new());
        }
        // As wide as the rates, so that numbers and units stand below each other.
        let amount = |directions: Directions| {
            format!(
                "{}  ",
                display.amount_cell(directions.bytes(&traffic.total))
            )
        };
        let [rx, tx] = both.map(amount);
        list.put("total", pair(rx, tx), Style::new());
        let [rx, tx] = both.map(|directions| directions.msgs(&traffic.total).to_string());
        list.put("messages", pair(rx, tx), Style::new());
        if flow.packets.is_some() {
            let condition = RowTcpStats::of(flow, &clock);
            let [rx, tx] = both.map(|directions| {
                let packets = condition.packets(directions).unwrap_or(0);
                per_second(rate(packets, clock.elapsed))
            });
            list.put("packets/s", pair(rx, tx), Style::new());
        }
    }

    /// Adds the owner: what the kernel reported when bytes moved, completed from `/proc`.
    fn owner(&self, list: &mut DetailList) {
        let flow = self.flow;
        let theme = &self.shared.display.theme;
        let plain = Style::new();
        let (key, owner, process_ref) = (&flow.key, &flow.owner, ProcessRef::of(flow));
        let process = self.shared.owners.process(&process_ref);
        let own = if self.shared.names.is_own(key.tgid) {
            ", flowtop's own look-ups"
        } else {
            ""
        };
        let name = format!(
            "{} ({}){own}",
            units::process_name(&owner.name(), owner.kernel),
            key.tgid
        );
        list.add("process", &name, theme.bold());
        if owner.kernel {
            list.add("", "kernel thread", plain);
        }
        if key.tid != 0 {
            let thread = owner.thread.to_string_lossy();
            list.add("thread", &format!("{thread} ({})", key.tid), plain);
        }
        if let Some(process) = &process {
            if process.exited {
                list.add("", "exited", theme.bold());
            }
            if !process.cmdline.is_empty() {
                list.add("command", &process.cmdline.join(" "), plain);
            }
            if let Some(exe) = &process.exe {
                list.add("executable", &exe.to_string_lossy(), plain);
            }
        }
        if let Some(uid) = self.shared.owners.uid(&process_ref) {
            let user = match self.shared.owners.user(&process_ref) {
                Some(name) => format!("{name} ({uid})"),
                None => uid.to_string(),
            };
            list.add("user", &user, plain);
        }
        if let Some(process) = &process {
            let parent = process.parent.as_deref().unwrap_or("unknown");
            list.add("parent", &format!("{parent} ({})", process.ppid), plain);
            let running = SystemTime::now().duration_since(process.started);
            let started = format!(
                "{}, {} ago",
                self.time(process.started),
                duration(running.unwrap_or_default().as_secs())
            );
            list.add("started", &started, plain);
        } else if let Some(start) = owner.start {
            let started = format!("{} after boot", duration(start.as_secs()));
            list.add("started", &started, plain);
        }
        if let Some(place) = self.shared.owners.place(&process_ref) {
            list.add("runs in", &place, plain);
        }
        let by_proc = process
            .as_ref()
            .and_then(|process| process.cgroup.as_deref());
        if let Some(cgroup) = owner.cgroup.as_deref().or(by_proc) {
            list.add("cgroup", cgroup, theme.dim());
        }
        if process.is_none() {
            let more = if owner.uid.is_some() {
                "no details in /proc"
            } else {
                "no details known"
            };
            list.add("", more, theme.dim());
        }
    }

    /// Returns an end's address with its host and service name where they are known.
    fn end(&self, end: &Endpoint, other: &Endpoint, protocol: Protocol) -> String {
        let plain = Names::disabled().label(end, None);
        let mut text = format!("{}{}", plain.host, plain.port);
        if !self.shared.display.names {
            return text;
        }
        if let Some(name) = self.shared.names.get(end.addr) {
            text = format!("{text}  {name}");
        }
        if let Some(service) = self.shared.names.service(protocol, end, Some(other)) {
            text = format!("{text}  {service}");
        }
        text
    }

    fn time(&self, time: SystemTime) -> String {
        Timestamp::try_from(time).map_or_else(
            |_| "unknown".to_owned(),
            |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        )
    }

    fn flow_chart(&self, area: Rect, buf: &mut Buffer) {
        let rates = |directions| self.shared.history.sparkline([self.flow], directions);
        let pairs = rates(Directions::Rx).into_iter().zip(rates(Directions::Tx));
        let samples: Vec<Sample> = pairs.map(|(rx, tx)| rx.zip(tx)).collect();
        let height = area.height.min(MAX_CHART).saturating_sub(1);
        Chart {
            samples: &samples,
            units: self.shared.display.units,
            theme: self.shared.display.theme,
            seconds: self.shared.seconds(),
            window: ChartWindow {
                samples: None,
                number: self.shared.history.bars_number(),
            },
        }
        .render(Rect { height, ..area }, buf);
        let at = line(area, height);
        if at.height > 0 && height > 8 {
            let text = "the last minute of this flow";
            put(
                buf,
                within(at, 12, at.width),
                0,
                text,
                self.shared.display.theme.dim(),
            );
        }
    }
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
