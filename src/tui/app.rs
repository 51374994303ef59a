//! What the screen shows: pure state, changed only by [`App::update`]. Knows no terminal; keys are
//! commands here, and time is what it is told.

use std::sync::Arc;
use std::time::Duration;

use ratatui::layout::Rect;

use super::action::{Action, Command, Edit, Effect};
use super::draw::columns::Widths;
use super::input::keys::Keys;
use super::state::display_options::DisplayOptions;
use super::state::pane::{DrillDown, Pane};
use super::state::search::SearchQuery;
use crate::model::flow::FlowKey;
use crate::model::interval::{Interval, Machine, Method};
use crate::options::Config;
use crate::recording::player::{PlayerCommand, PlayerPosition};
use crate::recording::recorder::Status;
use crate::resolve::names::Names;
use crate::resolve::owners::Owners;
use crate::sandbox::Confinement;
use crate::source::{MAX_INTERVAL, MIN_INTERVAL};
use crate::stats::history::History;
use crate::view::{Column, Directions, Group, SortKey};

/// Lengths of intervals that keys step through, in milliseconds.
const STEPS_MS: [u64; 10] = [
    100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000,
];

/// What has the keyboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The table.
    Table,
    /// A filter is typed; with what it was before.
    Typing(String),
    /// One flow; with the first line shown.
    Detail(FlowKey, usize),
    /// The help screen; with the first line shown.
    Help(usize),
    /// Columns are chosen; with the place of the cursor.
    Chooser(usize),
}

/// The picture is held.
#[derive(Debug)]
pub struct Pause {
    /// Since when, by [`Action::Clock`].
    pub since: Duration,
    /// What was counted since.
    pub waiting: Option<Interval>,
}

/// The state of the live table.
#[derive(Debug)]
pub struct App {
    pub(super) machine: Machine,
    /// What of its privileges flowtop has given up; `None` where it needed none.
    pub(super) confinement: Option<Confinement>,
    pub(super) method: Arc<Method>,
    /// Which flows are counted, where not all. Not sanitized.
    pub(super) counted: Option<String>,
    /// Wanted length of intervals.
    pub(super) interval: Duration,
    pub(super) top_n: Option<usize>,
    pub(super) names: Names,
    pub(super) owners: Owners,
    pub(super) display: DisplayOptions,
    pub(super) keys: Keys,
    pub(super) history: History,
    /// Flows that moved bytes in the latest interval.
    pub(super) flows_now: usize,
    /// Whether any interval had bytes.
    pub(super) traffic_seen: bool,
    /// Open sockets, where that is known.
    pub(super) sockets: Option<u64>,
    /// Whether only some processes or threads are counted.
    pub(super) chosen: bool,
    /// Whether threads are told apart.
    pub(super) threads: bool,
    pub(super) group: Group,
    pub(super) sort: SortKey,
    pub(super) filter: String,
    pub(super) query: SearchQuery,
    /// The groups that were opened to get here.
    pub(super) path: Vec<DrillDown>,
    /// One table for each way, or one for both.
    pub(super) tables: Vec<Pane>,
    pub(super) focus: usize,
    pub(super) mode: Mode,
    pub(super) pause: Option<Pause>,
    /// Whether the order is held.
    pub(super) held: bool,
    pub(super) clock: Duration,
    pub(super) area: Rect,
    /// Widest content so far: it only grows, so that columns hold still.
    pub(super) widths: Widths,
    /// Whether any process was seen in a container or unit.
    pub(super) containers: bool,
    /// Where in a recording this is; `None` of a live machine.
    pub(super) position: Option<PlayerPosition>,
    /// How what is counted is recorded, if it is.
    pub(super) recording: Option<Status>,
    pub(super) request: Option<Effect>,
    quit: bool,
}

impl App {
    /// Nothing to show yet.
    pub fn new(
        config: &Config,
        machine: Machine,
        method: Arc<Method>,
        names: Names,
        owners: Owners,
        display: DisplayOptions,
    ) -> Self {
        let mut app = Self {
            machine,
            confinement: None,
            method,
            counted: config.filter.text(),
            interval: config.interval,
            top_n: config.live_rows,
            names,
            owners,
            threads: config.by_thread,
            group: display.group,
            sort: display.sort,
            display,
            keys: Keys::new(&config.keys),
            history: History::new(),
            flows_now: 0,
            traffic_seen: false,
            sockets: None,
            chosen: config.filter.filter.is_some(),
            filter: String::new(),
            query: SearchQuery::default(),
            path: Vec::new(),
            tables: Vec::new(),
            focus: 0,
            mode: Mode::Table,
            pause: None,
            held: false,
            clock: Duration::ZERO,
            area: Rect::new(0, 0, 80, 24),
            widths: Widths::default(),
            containers: false,
            position: None,
            recording: None,
            request: None,
            quit: false,
        };
        app.lay_tables();
        app
    }

    /// Says what of its privileges flowtop has given up.
    pub fn tell_confinement(&mut self, confinement: Confinement) {
        self.confinement = Some(confinement);
    }

    /// Changes the state by what happened.
    pub fn update(&mut self, action: Action) {
        match action {
            Action::IntervalEnded(interval) => self.show(interval),
            Action::PlayerMoved(snapshot) => self.show_snapshot(*snapshot),
            Action::Recording(status) => self.recording = Some(status),
            Action::NameFound => self.grow(),
            Action::OwnerFound => {
                if self.group.spec().is_of_owner && self.pause.is_none() {
                    self.rebuild();
                }
                self.grow();
            }
            Action::Background(background) => {
                self.display.theme.background = background;
                self.settle();
            }
            Action::Sockets(open) => self.sockets = Some(open),
            Action::Clock(now) => self.clock = now,
            Action::Resize(width, height) => {
                self.area = Rect::new(0, 0, width, height);
                self.settle();
            }
            Action::Do(command) => self.act(command),
            Action::Type(edit) => self.edit(edit),
            Action::Paste(text) => self.paste(&text),
            Action::Click(x, y) => self.click(x, y),
            Action::Wheel(x, y, rows) => self.wheel(x, y, rows),
        }
    }

    /// Whether to leave.
    pub fn has_quit(&self) -> bool {
        self.quit
    }

    /// Whether letters are text now.
    pub fn is_typing(&self) -> bool {
        matches!(self.mode, Mode::Typing(_))
    }

    /// Whether the picture is held, so that time passes on it.
    pub fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Whether nothing was seen to move yet.
    pub fn is_quiet(&self) -> bool {
        !self.traffic_seen
    }

    /// What is asked of the one who runs this, once.
    pub fn take_request(&mut self) -> Option<Effect> {
        self.request.take()
    }

    fn show(&mut self, interval: Interval) {
        if let Some(pause) = &mut self.pause {
            match &mut pause.waiting {
                Some(waiting) => waiting.merge(interval),
                None => pause.waiting = Some(interval),
            }
            return;
        }
        self.traffic_seen |= !interval.total().is_zero();
        self.method = Arc::clone(&interval.method);
        self.flows_now = interval.flows.len();
        self.history.add(&interval);
        // Its memory is what the rows are sorted in.
        drop(interval);
        self.rebuild();
        self.grow();
    }

    fn act(&mut self, command: Command) {
        match command {
            Command::Quit => self.quit = true,
            Command::Suspend => self.request = Some(Effect::Suspend),
            Command::Redraw => self.request = Some(Effect::Redraw),
            Command::Pause if !matches!(self.mode, Mode::Chooser(_)) => match self.position {
                Some(_) => self.request = Some(Effect::Play(PlayerCommand::Toggle)),
                None => self.toggle_pause(),
            },
            Command::StepForward
            | Command::StepBack
            | Command::SeekForward
            | Command::SeekBack
            | Command::SpeedUp
            | Command::SpeedDown => self.play(command),
            Command::Help if matches!(self.mode, Mode::Help(_)) => self.mode = Mode::Table,
            Command::Help => self.mode = Mode::Help(0),
            Command::Units => self.display.units = self.display.units.next(),
            Command::Names => self.display.names = !self.display.names,
            Command::Slower | Command::Faster if self.position.is_some() => {}
            Command::Slower | Command::Faster => self.step_interval(command == Command::Slower),
            _ => match self.mode.clone() {
                Mode::Table | Mode::Typing(_) => self.act_on_table(command),
                Mode::Detail(key, top) => self.act_on_detail(key, top, command),
                Mode::Help(top) => {
                    self.mode = scrolled(top, command).map_or(Mode::Table, Mode::Help);
                }
                Mode::Chooser(at) => self.act_on_chooser(at, command),
            },
        }
    }

    fn act_on_table(&mut self, command: Command) {
        match command {
            Command::Up => self.step(-1),
            Command::Down => self.step(1),
            Command::PageUp => self.step(-self.page()),
            Command::PageDown => self.step(self.page()),
            Command::Home => self.step(i64::MIN / 2),
            Command::End => self.step(i64::MAX / 2),
            Command::NextSection => self.focus = (self.focus + 1) % self.tables.len(),
            Command::Enter => self.enter(),
            Command::Back => self.back(),
            Command::NextSort => self.step_sort(1),
            Command::PreviousSort => self.step_sort(-1),
            Command::Reverse => self.set_sort(self.sort.reversed()),
            Command::Freeze => {
                self.held = !self.held;
                for table in &mut self.tables {
                    table.order.hold(self.held);
                }
                self.rebuild();
            }
            Command::Filter => self.mode = Mode::Typing(self.filter.clone()),
            Command::NextGroup => {
                self.group = match self.group.next() {
                    // One row a process would say nothing of threads.
                    Group::Thread if !self.threads => Group::Thread.next(),
                    Group::Net(_) if matches!(self.display.group, Group::Net(_)) => {
                        self.display.group
                    }
                    next => next,
                };
                self.sort = self.display.sort;
                self.anew();
            }
            Command::Combine => {
                self.display.combined = !self.display.combined;
                self.sort = self.display.sort;
                self.lay_tables();
            }
            Command::Totals => {
                self.display.totals = !self.display.totals;
                self.sort = SortKey::by(self.main_column());
                self.anew();
            }
            Command::Columns => self.mode = Mode::Chooser(0),
            _ => {}
        }
    }

    fn act_on_detail(&mut self, key: FlowKey, top: usize, command: Command) {
        match command {
            Command::Back | Command::Enter => self.mode = Mode::Table,
            Command::NextSection | Command::Filter | Command::Columns => {}
            _ => {
                if let Some(top) = scrolled(top, command) {
                    self.mode = Mode::Detail(key, top);
                }
            }
        }
    }

    fn act_on_chooser(&mut self, at: usize, command: Command) {
        let all = super::state::chooser::choices(self.history.seen());
        let last = all.len() - 1;
        match command {
            Command::Up => self.mode = Mode::Chooser(at.saturating_sub(1)),
            Command::Down => self.mode = Mode::Chooser((at + 1).min(last)),
            Command::Home | Command::PageUp => self.mode = Mode::Chooser(0),
            Command::End | Command::PageDown => self.mode = Mode::Chooser(last),
            Command::Enter | Command::Pause => {
                let column = all[at.min(last)];
                let chosen = &mut self.display.columns;
                if chosen.contains(&column) {
                    chosen.retain(|other| *other != column);
                } else {
                    // Where it would be by itself, among those that are there.
                    let all = |c: &Column| Column::ALL.iter().position(|other| other == c);
                    let before = chosen.iter().rposition(|other| all(other) < all(&column));
                    chosen.insert(before.map_or(0, |place| place + 1), column);
                }
            }
            Command::Back | Command::Columns => self.mode = Mode::Table,
            _ => {}
        }
    }

    fn edit(&mut self, edit: Edit) {
        let Mode::Typing(before) = self.mode.clone() else {
            return;
        };
        match edit {
            Edit::Insert(c) => self.filter.push(c),
            Edit::Delete => drop(self.filter.pop()),
            Edit::DeleteWord => {
                let kept = self
                    .filter
                    .trim_end()
                    .rfind(' ')
                    .map_or(0, |space| space + 1);
                self.filter.truncate(kept);
            }
            Edit::Clear => self.filter.clear(),
            Edit::Accept => self.mode = Mode::Table,
            Edit::Cancel => {
                self.filter = before;
                self.mode = Mode::Table;
            }
        }
        self.anew();
    }

    /// What is pasted is text where text is typed, and nothing elsewhere: white space of any kind is one
    /// blank, and what is no text is left out.
    fn paste(&mut self, text: &str) {
        if !self.is_typing() {
            return;
        }
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let pasted = words.chars().filter(|c| !c.is_control());
        self.filter.extend(pasted);
        self.anew();
    }

    /// One step back: what was opened last is closed, what was chosen last is let go.
    fn back(&mut self) {
        if let Some(step) = self.path.pop() {
            self.group = step.group;
            self.sort = step.sort;
            self.anew();
            for table in &mut self.tables {
                table.select(&self.history, Some(step.id.clone()));
            }
            self.settle();
        } else if !self.filter.is_empty() {
            self.filter.clear();
            self.anew();
        } else if self.group != Group::Flow {
            self.group = Group::Flow;
            self.sort = self.display.sort;
            self.anew();
        } else {
            for table in &mut self.tables {
                table.select(&self.history, None);
            }
            self.settle();
        }
    }

    fn toggle_pause(&mut self) {
        match self.pause.take() {
            None => {
                self.pause = Some(Pause {
                    since: self.clock,
                    waiting: None,
                });
            }
            Some(pause) => {
                if let Some(interval) = pause.waiting {
                    self.show(interval);
                }
            }
        }
    }

    fn step_interval(&mut self, slower: bool) {
        let now = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        let next = if slower {
            STEPS_MS.into_iter().find(|&step| step > now)
        } else {
            STEPS_MS.into_iter().rev().find(|&step| step < now)
        };
        if let Some(next) = next {
            self.interval = Duration::from_millis(next).clamp(MIN_INTERVAL, MAX_INTERVAL);
            self.request = Some(Effect::SetInterval(self.interval));
        }
    }

    /// The tables for the ways that are shown.
    fn lay_tables(&mut self) {
        let ways: &[Directions] = if self.display.combined {
            &[Directions::Both]
        } else {
            &[Directions::Rx, Directions::Tx]
        };
        self.tables = ways
            .iter()
            .map(|&directions| Pane::new(directions))
            .collect();
        self.focus = self.focus.min(self.tables.len() - 1);
        for table in &mut self.tables {
            table.order.hold(self.held);
        }
        self.anew();
    }
}

/// The first line shown after a key that scrolls; `None` for one that does not.
fn scrolled(top: usize, command: Command) -> Option<usize> {
    match command {
        Command::Up => Some(top.saturating_sub(1)),
        Command::Down => Some(top + 1),
        Command::PageUp => Some(top.saturating_sub(10)),
        Command::PageDown => Some(top + 10),
        Command::Home => Some(0),
        _ => None,
    }
}
