//! The state that several parts of the screen read: machine, history, names, owners and display
//! options.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;
use ratatui::layout::Rect;

use super::display_options::DisplayOptions;
use super::saving::Message;
use super::travel::Travel;
use crate::model::dns::{DnsName, DnsNameOrigin};
use crate::model::flow::{Comm, Endpoint, Protocol};
use crate::model::interval::{Interval, Machine, Method, rate};
use crate::options::{CaptureOptions, TimingOptions};
use crate::recording::recorder::Status;
use crate::resolve::names::{HostNameSource, Label, Names};
use crate::resolve::owners::Owners;
use crate::sandbox::Confinement;
use crate::stats::history::{FlowStats, History, MAX_POINTS, Point};
use crate::stats::moments::Moments;
use crate::stats::ranking::{ProcessLookup as _, ProcessRef, Row, RowId, Rows, SharedFields};
use crate::text::sanitize::columns;
use crate::text::units;
use crate::text::wrap::take;
use crate::tui::draw::braille;
use crate::tui::draw::chart::{self, ChartWindow, Sample};
use crate::tui::draw::layout::ScreenLayout;
use crate::tui::input::keys::Keys;
use crate::tui::prompt_file::PromptFile;

/// The facts about a run that are known before its first interval.
#[derive(Clone, Debug, Default)]
pub struct RunContext {
    /// Which flows are counted.
    pub capture: CaptureOptions,
    pub timing: TimingOptions,
    /// The machine whose flows are counted.
    pub machine: Machine,
    /// The backend and its limits.
    pub method: Arc<Method>,
    /// The privileges that flowtop dropped; `None` if unknown.
    pub confinement: Option<Confinement>,
    /// Where the texts of prompts are kept for later runs.
    pub prompt_file: Option<PromptFile>,
}

/// A pause of the display.
#[derive(Debug)]
pub struct Pause {
    /// Start of the pause, by [`Action::Clock`](crate::tui::Action::Clock).
    pub since: Duration,
    /// Sum of the intervals since the pause began.
    pub waiting: Option<Interval>,
}

/// State that no part of the screen owns alone. All parts read it; only `App` and the part that has
/// the keyboard change it.
#[derive(Debug)]
pub struct SharedState {
    pub machine: Machine,
    /// The privileges that flowtop dropped; `None` if it needed none.
    pub confinement: Option<Confinement>,
    pub method: Arc<Method>,
    /// Which flows are counted, where not all. Not sanitized.
    pub capture_filter: Option<String>,
    /// Configured length of intervals.
    pub interval: Duration,
    pub live_rows: Option<usize>,
    pub names: Names,
    /// Source of host names while look-ups are off.
    pub unasked_hosts: HostNameSource,
    pub owners: Owners,
    pub display: DisplayOptions,
    pub keys: Keys,
    /// The shown history: up to now, or to the past moment of `travel`.
    pub history: History,
    /// The latest intervals of a live machine.
    pub moments: Moments,
    pub travel: Option<Travel>,
    /// Flows that moved bytes in the latest interval.
    pub flows_now: usize,
    /// Programs that moved bytes in the latest interval.
    pub programs_now: usize,
    /// Whether flows between two ends on this machine are hidden.
    pub hides_internal: bool,
    /// Whether any interval had bytes.
    pub traffic_seen: bool,
    /// Open sockets, where that is known.
    pub sockets: Option<u64>,
    /// Whether only some processes or threads are counted.
    pub is_process_filtered: bool,
    /// Whether flows are split by thread.
    pub threads: bool,
    pub pause: Option<Pause>,
    /// Samples that fill the chart's width; `None` for as many as there are.
    pub chart_samples: Option<usize>,
    /// Sentence that the footer shows instead of keys.
    pub message: Option<Message>,
    /// The row that was copied last, and which of its texts.
    pub copied: Option<(RowId, usize)>,
    /// Whether totals are reset with the next interval.
    pub reset_pending: bool,
    /// Time since the start.
    pub clock: Duration,
    pub area: Rect,
    /// Status of the recording under way, if there is one.
    pub recording: Option<Status>,
    /// Where the texts of prompts are kept for later runs.
    pub prompt_file: Option<PromptFile>,
}

impl SharedState {
    /// Before the first interval.
    pub fn new(
        context: RunContext,
        mut names: Names,
        owners: Owners,
        display: DisplayOptions,
    ) -> Self {
        names.set_hosts(display.hosts);
        let RunContext {
            capture,
            timing,
            machine,
            method,
            confinement,
            prompt_file,
        } = context;
        Self {
            machine,
            confinement,
            method,
            capture_filter: capture.filter.text(),
            interval: timing.interval,
            live_rows: display.rows,
            names,
            unasked_hosts: HostNameSource::HostsFile,
            owners,
            keys: Keys::new(&display.keys),
            display,
            history: History::new(),
            moments: Moments::default(),
            travel: None,
            flows_now: 0,
            programs_now: 0,
            hides_internal: false,
            traffic_seen: false,
            sockets: None,
            is_process_filtered: capture.filter.filter.is_some(),
            threads: capture.by_thread,
            pause: None,
            chart_samples: None,
            message: None,
            copied: None,
            reset_pending: false,
            clock: Duration::ZERO,
            area: Rect::new(0, 0, 80, 24),
            recording: None,
            prompt_file,
        }
    }

    /// Returns the machine's name, sanitized, or flowtop's if it has none; at most a third of the
    /// screen.
    pub fn machine_name(&self) -> String {
        let name = units::sanitize(&self.machine.host);
        let room = usize::from(self.area.width / 3).max(6);
        match name.is_empty() {
            true => "flowtop".to_owned(),
            false if columns(&name) > room => {
                take(name.chars(), room - 1) + self.display.theme.glyphs.ellipsis
            }
            false => name.into_owned(),
        }
    }

    /// Counts the programs that moved bytes in the latest interval: names of processes.
    pub fn count_programs(&mut self) {
        let moving = self.history.recent().iter();
        let moving = moving.filter(|flow| !flow.traffic.now.is_zero());
        let names: HashSet<Comm> = moving.map(|flow| flow.owner.comm).collect();
        self.programs_now = names.len();
    }

    /// Seconds that one sample of the chart stands for: the shortest interval that is still known.
    pub fn seconds(&self) -> f64 {
        let points = self.live_history().points();
        let lengths = points.map(|point| point.elapsed.as_secs_f64());
        let shortest = lengths.fold(f64::INFINITY, f64::min);
        match shortest.is_finite() {
            true => shortest.max(0.1),
            false => 1.0,
        }
    }

    /// The machine's intervals, the latest first, each as often as it is long in [`Self::seconds`];
    /// `None` for time that nobody measured, as wide as a cell, as a night of sleep would leave
    /// nothing else.
    fn points(&self) -> impl Iterator<Item = Option<&Point>> {
        let seconds = self.seconds();
        let points = self.live_history().points().rev();
        points.flat_map(move |point| {
            let times = (point.elapsed.as_secs_f64() / seconds).round() as usize;
            let gap = match point.gap_before.is_zero() {
                true => 0,
                false => braille::SAMPLES,
            };
            let samples = std::iter::repeat_n(Some(point), times.max(1));
            samples.chain(std::iter::repeat_n(None, gap))
        })
    }

    /// The machine's rates, at most so many samples of [`Self::seconds`] each: a longer interval,
    /// as after a pause, is as many samples of its average, and time that nobody measured is a gap.
    pub fn samples(&self, most: usize) -> Vec<Sample> {
        let rates = |point: &Point| {
            (
                rate(point.total.rx_bytes, point.elapsed),
                rate(point.total.tx_bytes, point.elapsed),
            )
        };
        let latest = self.points().take(most);
        let mut samples: Vec<Sample> = latest.map(|point| point.map(rates)).collect();
        samples.reverse();
        samples
    }

    /// Shows a longer or a shorter part of time in the machine's chart.
    pub fn zoom_chart(&mut self, longer: bool) {
        let plot = chart::plot(ScreenLayout::new(self.area).chart, self.display.units);
        let plot_points = usize::from(plot.width) * braille::SAMPLES;
        let known = self.samples(MAX_POINTS).len();
        let shown = self.chart_window().shown(known, plot_points);
        if plot_points > 0
            && let Some(samples) = ChartWindow::next(longer, shown)
        {
            self.chart_samples = Some(samples);
        }
    }

    /// The part of time that the machine's chart shows.
    pub fn chart_window(&self) -> ChartWindow {
        ChartWindow {
            samples: self.chart_samples,
            number: self.live_history().points_number(),
        }
    }

    /// How many samples before the last the shown moment is, of those of [`Self::samples`]; `None`
    /// for now.
    pub fn cursor(&self) -> Option<usize> {
        self.travel.as_ref()?;
        let shown = self.history.ended();
        let is_later = |point: &Option<&Point>| {
            point.is_none_or(|point| {
                let began = point.ended.checked_sub(point.elapsed);
                began.is_some_and(|began| began >= shown)
            })
        };
        Some(self.points().take_while(is_later).count())
    }

    /// How many intervals ago a sample of [`Self::samples`] ended that has so many samples after
    /// it; `None` for a gap, or where intervals of then are not kept.
    pub fn interval_at(&self, after: usize) -> Option<usize> {
        self.moments.ago(self.points().nth(after)??.ended)
    }

    /// Takes no names from this machine's `/etc/hosts`: what is shown comes from another one.
    pub fn distrust_hosts_file(&mut self) {
        self.unasked_hosts = HostNameSource::Nowhere;
        if self.names.hosts() == HostNameSource::HostsFile {
            self.names.set_hosts(HostNameSource::Nowhere);
        }
    }

    /// Shows other names: those that are known without asking, none, or those of name servers too.
    pub fn next_names(&mut self) {
        let source = match (self.display.names, self.names.hosts()) {
            (true, HostNameSource::Servers) => self.unasked_hosts,
            (true, _) => {
                self.display.names = false;
                return;
            }
            (false, _) => HostNameSource::Servers,
        };
        self.display.names = true;
        self.names.set_hosts(source);
    }

    /// Whether host names are looked up at name servers: they can be long.
    pub fn looks_up_hosts(&self) -> bool {
        self.display.names && self.names.hosts() == HostNameSource::Servers
    }

    /// Returns what [`Self::next_names`] shows.
    pub const fn names_word(&self) -> &'static str {
        match (self.display.names, self.names.hosts()) {
            (true, HostNameSource::Servers) => "known names",
            (true, _) => "numbers",
            (false, _) => "all names",
        }
    }

    /// What a network namespace is called, with its inode number: by its own name, else by the
    /// container that has flows in it. Not sanitized.
    pub fn netns(&self, inode: u32) -> String {
        let name = self.owners.netns_name(inode).or_else(|| {
            let flows = self.history.recent().iter();
            let mut inside = flows.filter(|flow| flow.key.netns == inode);
            let container = |flow: &FlowStats| {
                let location = self.owners.location(&ProcessRef::of(flow))?;
                location
                    .container
                    .as_ref()
                    .map(|it| Arc::from(it.to_string()))
            };
            let first = container(inside.next()?)?;
            // Of several containers, as of a pod, none gives its name.
            inside
                .all(|flow| container(flow).as_ref() == Some(&first))
                .then_some(first)
        });
        match name {
            Some(name) => format!("{name} ({inode})"),
            None => inode.to_string(),
        }
    }

    /// How an end of a row's flows is written now; `other` is the other end.
    pub fn label(
        &self,
        end: &Endpoint,
        other: Option<&Endpoint>,
        protocol: Option<Protocol>,
    ) -> Label {
        self.peer_label(end, other, protocol, None)
    }

    /// The same of a peer that was resolved from this name.
    pub fn peer_label(
        &self,
        end: &Endpoint,
        other: Option<&Endpoint>,
        protocol: Option<Protocol>,
        dns_name: Option<&DnsName>,
    ) -> Label {
        if self.display.names {
            let service = |protocol| self.names.service(protocol, end, other);
            self.names
                .resolved_label(end, dns_name, protocol.and_then(service))
        } else {
            Names::disabled().label(end, None)
        }
    }

    /// The name of the process of a row's flows, harmless, and marked where these are flowtop's own
    /// look-ups; nothing where there are several.
    pub fn process_name(&self, common: &SharedFields) -> String {
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

    /// Returns whether all processes of a row are known to have exited.
    pub fn has_ended(&self, rows: &Rows, n: usize) -> bool {
        let mut seen = HashSet::new();
        let mut processes = rows.processes(&self.history, n);
        processes.all(|process_ref| {
            let is_known = !seen.insert((process_ref.tgid, process_ref.owner.start));
            is_known
                || match self.owners.process(&process_ref) {
                    Some(process) => process.exited,
                    None => self.owners.is_gone(process_ref.tgid),
                }
        })
    }

    /// Returns the name of a row; for a peer as a label that can be shortened, for others as
    /// [`Self::title_of`].
    pub fn title_label(&self, row: &Row) -> Label {
        let name = match row.id {
            RowId::Remote(addr) => self.display.names.then(|| self.names.get(addr)).flatten(),
            _ => None,
        };
        Label {
            is_name: name.is_some(),
            host: match (&name, &row.id) {
                (Some(name), _) => units::name(name).into_owned(),
                (None, RowId::Remote(addr)) => addr.to_string(),
                (None, _) => self.title_of(row),
            },
            port: String::new(),
        }
    }

    /// Returns the name of a row. Sanitized.
    pub fn title_of(&self, row: &Row) -> String {
        match &row.id {
            RowId::Program(_, kernel) => units::process_name(&row.id.to_string(), *kernel),
            RowId::Process(tgid) | RowId::Thread(tgid, 0) => {
                let owner = row.common.owner.as_deref();
                let name = owner.map(|owner| units::process_name(&owner.name(), owner.kernel));
                format!("{} {tgid}", name.unwrap_or_default())
            }
            RowId::Thread(tgid, tid) => match row.common.owner.as_deref() {
                Some(owner) if tid == tgid => {
                    format!("{} {tid}", units::process_name(&owner.name(), owner.kernel))
                }
                Some(owner) => {
                    let thread = owner.thread.to_string_lossy();
                    let thread = units::visible(&thread);
                    format!(
                        "{thread} {tid} of {}",
                        units::process_name(&owner.name(), owner.kernel)
                    )
                }
                None => row.id.to_string(),
            },
            RowId::User(uid) => {
                let by_proc = || self.owners.process(&row.process_ref()?)?.user.clone();
                let name = self.owners.user_name(*uid).or_else(by_proc);
                name.map_or_else(
                    || row.id.to_string(),
                    |name| units::name(&name).into_owned(),
                )
            }
            RowId::Remote(_) => self.title_label(row).host,
            RowId::Port(protocol, port) => {
                let end = Endpoint::new(Ipv4Addr::UNSPECIFIED.into(), *port);
                let service = self.names.service(*protocol, &end, None);
                match service.filter(|_| self.display.names) {
                    Some(service) => format!("{} ({service})", row.id),
                    None => row.id.to_string(),
                }
            }
            RowId::Container(location) | RowId::Pod(location) => {
                let name = units::visible(&location.to_string()).into_owned();
                let is_stale = location.labels().is_some_and(|labels| labels.is_stale);
                // The engine no longer has it.
                if is_stale { name + " (gone)" } else { name }
            }
            RowId::Host(_) => {
                let origin = row.common.dns_name.as_ref().map(|dns| dns.origin);
                let mark = origin.map_or("", DnsNameOrigin::mark);
                format!("{mark}{}", units::visible(&row.id.to_string()))
            }
            id => units::visible(&id.to_string()).into_owned(),
        }
    }
}
