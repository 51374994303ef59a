//! One flow: its ends and figures, the process that owns it, and a chart of its own.

use std::time::SystemTime;

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::duration;
use crate::flow::{Endpoint, FlowKey, Protocol};
use crate::history::FlowStats;
use crate::names::Names;
use crate::owner::Process;
use crate::rank::Facts as _;
use crate::table::Way;
use crate::tui::app::App;
use crate::tui::chart::{Chart, Sample};
use crate::tui::draw::{line, put, within, wrap};
use crate::units;

/// Width from which on the chart stands beside the facts.
const BESIDE: u16 = 110;
/// Width of the names of facts.
const NAME: u16 = 11;

/// A fact with its name, or a heading.
enum Line {
    Heading(&'static str),
    Fact(&'static str, String, Style),
    Empty,
}

impl App {
    pub(super) fn detail(&self, key: &FlowKey, top: usize, area: Rect, buf: &mut Buffer) {
        self.heading_line("Flow", line(area, 0), buf);
        let body = Rect {
            y: area.y + 1.min(area.height),
            height: area.height.saturating_sub(1),
            ..area
        };
        let Some(flow) = self.history.get(key) else {
            let text = "This flow ended long ago and has joined the total.";
            put(buf, line(body, 1), 1, text, Style::new());
            return;
        };
        let process = self.owners.process(key.tgid, flow.figures.last_seen);
        let beside = body.width >= BESIDE;
        let wide = if beside { body.width / 2 } else { body.width };
        let lines = self.facts(flow, process.as_deref(), usize::from(wide), body.height);
        let (left, right) = if beside {
            (
                within_area(body, 0, wide),
                within_area(body, wide + 1, body.width),
            )
        } else {
            // The facts come first: below them is what they leave.
            let facts = u16::try_from(lines.len())
                .unwrap_or(u16::MAX)
                .min(body.height);
            let left = Rect {
                height: facts,
                ..body
            };
            let right = Rect {
                y: body.y + facts,
                height: body.height - facts,
                ..body
            };
            (left, right)
        };
        let last = lines.len().saturating_sub(usize::from(left.height));
        for (text, y) in lines.iter().skip(top.min(last)).zip(0..) {
            self.fact(text, line(left, y), buf);
        }
        self.flow_chart(flow, right, buf);
    }

    fn fact(&self, text: &Line, at: Rect, buf: &mut Buffer) {
        let theme = &self.look.theme;
        match text {
            Line::Heading(title) => {
                put(buf, at, 1, title, theme.dim());
            }
            Line::Fact(name, value, style) => {
                put(buf, at, 3, name, theme.dim());
                put(buf, at, 3 + NAME, value, *style);
            }
            Line::Empty => {}
        }
    }

    fn facts(
        &self,
        flow: &FlowStats,
        process: Option<&Process>,
        width: usize,
        height: u16,
    ) -> Vec<Line> {
        let theme = &self.look.theme;
        let room = width.saturating_sub(usize::from(3 + NAME) + 1);
        let mut lines = Vec::new();
        let add = |lines: &mut Vec<Line>, name: &'static str, value: &str, style: Style| {
            let clean = units::sanitize(value);
            for (n, text) in wrap(&clean, room).into_iter().take(4).enumerate() {
                lines.push(Line::Fact(if n == 0 { name } else { "" }, text, style));
            }
        };
        let key = &flow.key;
        let ends = [
            ("local", &key.local, &key.remote),
            ("remote", &key.remote, &key.local),
        ];
        for (name, end, other) in ends {
            let text = self.end(end, other, key.protocol);
            add(&mut lines, name, &text, theme.bold());
        }
        add(&mut lines, "protocol", key.protocol.as_str(), Style::new());
        let clock = self.history.clock();
        let figures = &flow.figures;
        let seen = format!(
            "{}, {} ago",
            self.time(figures.first_seen),
            duration(figures.age(&clock).as_secs())
        );
        add(&mut lines, "first seen", &seen, Style::new());
        if let Some(idle) = figures
            .idle(Way::Both, &clock)
            .filter(|idle| !idle.is_zero())
        {
            let idle = format!("no bytes for {}", duration(idle.as_secs()));
            add(&mut lines, "now", &idle, Style::new());
        }
        if height >= 24 {
            lines.push(Line::Empty);
        }
        lines.push(Line::Heading("Owner"));
        let comm = flow.owner.comm.to_string_lossy();
        let own = if self.names.is_own(key.tgid) {
            ", own look-ups"
        } else {
            ""
        };
        add(
            &mut lines,
            "process",
            &format!("{comm} ({}){own}", key.tgid),
            theme.bold(),
        );
        match process {
            None => add(&mut lines, "", "nothing more is known of it", theme.dim()),
            Some(process) => self.owner(&mut lines, process, &add),
        }
        if height >= 24 {
            lines.push(Line::Empty);
        }
        let units = self.look.units;
        let wide = units.rate_width() + 2;
        lines.push(Line::Heading("Figures"));
        let pair = |rx: String, tx: String| format!("{rx:>wide$}{tx:>wide$}");
        let figure = |lines: &mut Vec<Line>, name, rx: String, tx: String| {
            lines.push(Line::Fact(name, pair(rx, tx), Style::new()));
        };
        lines.push(Line::Fact(
            "",
            pair("in".to_owned(), "out".to_owned()),
            theme.dim(),
        ));
        let rates: [(&'static str, [f64; 2]); 5] = [
            (
                "now",
                [Way::Rx, Way::Tx].map(|way| figures.rate(way, &clock)),
            ),
            ("10 s", [Way::Rx, Way::Tx].map(|way| figures.avg10(way))),
            ("60 s", [Way::Rx, Way::Tx].map(|way| figures.avg60(way))),
            (
                "average",
                [Way::Rx, Way::Tx].map(|way| figures.average(way, &clock)),
            ),
            (
                "peak",
                [Way::Rx, Way::Tx].map(|way| figures.peak(way).unwrap_or(0.0)),
            ),
        ];
        for (name, [rx, tx]) in rates {
            figure(&mut lines, name, units.rate_cell(rx), units.rate_cell(tx));
        }
        let total = &figures.total;
        // As wide as the rates, so that numbers and units stand below each other.
        let amount = |bytes| format!("{}  ", units.amount_cell(bytes));
        figure(
            &mut lines,
            "total",
            amount(total.rx_bytes),
            amount(total.tx_bytes),
        );
        let messages = |n: u64| format!("{n}");
        figure(
            &mut lines,
            "messages",
            messages(total.rx_msgs),
            messages(total.tx_msgs),
        );
        lines
    }

    fn owner(
        &self,
        lines: &mut Vec<Line>,
        process: &Process,
        add: &impl Fn(&mut Vec<Line>, &'static str, &str, Style),
    ) {
        let plain = Style::new();
        if process.exited {
            add(lines, "", "has ended", self.look.theme.bold());
        }
        if !process.cmdline.is_empty() {
            add(lines, "command", &process.cmdline.join(" "), plain);
        }
        if let Some(exe) = &process.exe {
            add(lines, "program", &exe.to_string_lossy(), plain);
        }
        let user = match &process.user {
            Some(name) => format!("{name} ({})", process.uid),
            None => process.uid.to_string(),
        };
        add(lines, "user", &user, plain);
        let parent = process.parent.as_deref().unwrap_or("unknown");
        add(
            lines,
            "parent",
            &format!("{parent} ({})", process.ppid),
            plain,
        );
        let running = SystemTime::now()
            .duration_since(process.started)
            .unwrap_or_default();
        let started = format!(
            "{}, {} ago",
            self.time(process.started),
            duration(running.as_secs())
        );
        add(lines, "started", &started, plain);
        if let Some(place) = &process.place_name {
            add(lines, "runs in", place, plain);
        }
        if let Some(cgroup) = &process.cgroup {
            add(lines, "cgroup", cgroup, self.look.theme.dim());
        }
    }

    /// An end with its address and, where they are known, its name and what is served there.
    fn end(&self, end: &Endpoint, other: &Endpoint, protocol: Protocol) -> String {
        let plain = Names::off().label(end, None);
        let mut text = format!("{}{}", plain.host, plain.port);
        if !self.look.names {
            return text;
        }
        if let Some(name) = self.names.get(end.addr) {
            text = format!("{text}  {name}");
        }
        if let Some(service) = self.names.service(protocol, end, Some(other)) {
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

    fn flow_chart(&self, flow: &FlowStats, area: Rect, buf: &mut Buffer) {
        let rates = |way| self.history.sparkline([flow], way);
        let pairs = rates(Way::Rx).into_iter().zip(rates(Way::Tx));
        let bars: Vec<Sample> = pairs.map(|(rx, tx)| rx.zip(tx)).collect();
        // As wide as there is room: a bar may take several columns.
        let room = usize::from(area.width.saturating_sub(16));
        let each = (room / bars.len().max(30)).clamp(1, 3);
        let samples: Vec<Sample> = bars
            .into_iter()
            .flat_map(|sample| std::iter::repeat_n(sample, each))
            .collect();
        let seconds = 1.0 / each as f64;
        let height = area.height.min(15);
        Chart {
            samples: &samples,
            units: self.look.units,
            theme: self.look.theme,
            seconds: seconds * self.seconds(),
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
                self.look.theme.dim(),
            );
        }
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
