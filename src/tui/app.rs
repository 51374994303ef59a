//! The state of the screen. [`App::update`] alone changes it, and passes each action to the part of
//! the screen that handles it. Independent of the terminal, of keys (which arrive as commands) and
//! of a clock of its own.

use std::sync::Arc;
use std::time::Duration;

use ratatui::layout::{Position, Rect};

use super::action::{Action, Command, Edit, Effect};
use super::draw::detail::Detail;
use super::draw::footer::LabelAction;
use super::draw::help::Help;
use super::input::keys::KeyboardFocus;
use super::state::chooser::Chooser;
use super::state::completion;
use super::state::display_options::DisplayOptions;
use super::state::list::{List, ListChoice};
use super::state::panes::Panes;
use super::state::player_bar::PlayerBar;
use super::state::prompt::{Prompt, PromptHint, PromptKind, PromptOutcome};
use super::state::shared::{Pause, RunContext, SharedState};
use super::state::travel::JUMP;
use crate::jsonl::CorruptRecording;
use crate::model::interval::Interval;
use crate::recording::player::{PlayerCommand, PlayerSnapshot};
use crate::resolve::names::Names;
use crate::resolve::owners::Owners;
use crate::source::{MAX_INTERVAL, MIN_INTERVAL};

/// Lengths of intervals that keys step through, in milliseconds.
const STEPS_MS: [u64; 10] = [
    100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000,
];

/// The part of the screen that has the keyboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    Table,
    /// The tables, while words or a filter for them are typed.
    Typing(PromptKind),
    /// The tables, with a list over them.
    List(List),
    Detail(Detail),
    Help(Help),
    /// The list of columns.
    Chooser(Chooser),
}

/// The state of the live table.
#[derive(Debug)]
pub struct App {
    pub(super) shared: SharedState,
    pub(super) panes: Panes,
    pub(super) player: PlayerBar,
    pub(super) prompt: Prompt,
    pub(super) mode: Mode,
    pub(super) request: Option<Effect>,
    quit: bool,
}

impl App {
    /// Creates the state before the first interval.
    pub fn new(context: RunContext, names: Names, owners: Owners, display: DisplayOptions) -> Self {
        let shared = SharedState::new(context, names, owners, display);
        Self {
            panes: Panes::new(&shared),
            shared,
            player: PlayerBar::default(),
            prompt: Prompt::default(),
            mode: Mode::Table,
            request: None,
            quit: false,
        }
    }

    /// Loads the texts typed into prompts in earlier runs.
    pub(in crate::tui) fn learn_prompts(&mut self, lines: &[String]) {
        for line in lines {
            self.prompt.learn(line);
        }
    }

    /// Switches to showing a recording, before its first interval arrives.
    pub fn begin_replay(&mut self) {
        self.player.begin();
        self.shared.distrust_hosts_file();
    }

    /// Returns the parts of a recording that could not be read.
    pub(in crate::tui) fn into_corruptions(self) -> Vec<CorruptRecording> {
        self.player.into_corruptions()
    }

    /// Updates the state for something that happened.
    pub fn update(&mut self, action: Action) {
        match action {
            Action::IntervalEnded(interval) => self.show(interval),
            Action::PlayerMoved(snapshot) => self.show_snapshot(*snapshot),
            Action::Recording(status) => self.shared.recording = status,
            Action::Reported(outcome) => self.shared.report(outcome),
            Action::NameFound => self.panes.widen_columns(&self.shared),
            Action::OwnerFound => {
                if self.panes.group.spec().is_of_owner && !self.is_paused() {
                    self.panes.rebuild(&self.shared);
                }
                self.panes.widen_columns(&self.shared);
            }
            Action::Background(background) => {
                self.shared.display.theme.background = background;
                self.panes.scroll_into_view(&self.shared);
            }
            Action::Sockets(open) => self.shared.sockets = Some(open),
            Action::Clock(now) => self.shared.clock = now,
            Action::Resize(width, height) => {
                let area = Rect::new(0, 0, width, height);
                // Sent before every drawing; only a new size moves the view.
                if std::mem::replace(&mut self.shared.area, area) != area {
                    self.panes.scroll_to_selection(&self.shared);
                }
            }
            Action::Stop => self.quit = true,
            Action::Command(command) => {
                self.shared.message = None;
                self.act(command);
            }
            Action::Type(edit) => self.edit(edit),
            Action::Choose(index) => self.choose(|list| list.choice(index)),
            Action::Paste(text) => {
                if self.is_typing() {
                    self.prompt.paste(&text);
                    self.preview();
                }
            }
            Action::Click(x, y) => self.click(Position::new(x, y)),
            Action::Wheel(x, y, rows) => self.wheel(Position::new(x, y), rows),
        }
    }

    pub fn has_quit(&self) -> bool {
        self.quit
    }

    /// Returns the part of the screen that has the keyboard.
    pub fn keyboard_focus(&self) -> KeyboardFocus {
        match self.mode {
            Mode::Typing(_) => KeyboardFocus::Prompt,
            Mode::Chooser(_) => KeyboardFocus::ColumnList,
            Mode::List(_) => KeyboardFocus::List,
            _ if self.player.is_shown() => KeyboardFocus::Replay,
            _ => KeyboardFocus::Table,
        }
    }

    /// Whether letters are typed into a prompt.
    pub fn is_typing(&self) -> bool {
        matches!(self.mode, Mode::Typing(_))
    }

    /// Whether the display is paused; it then shows the length of the pause.
    pub fn is_paused(&self) -> bool {
        self.shared.pause.is_some()
    }

    /// Whether no bytes have moved yet.
    pub fn is_quiet(&self) -> bool {
        !self.shared.traffic_seen
    }

    /// Takes the next request to the caller.
    pub fn take_request(&mut self) -> Option<Effect> {
        self.request.take()
    }

    fn show(&mut self, interval: Interval) {
        if let Some(pause) = &mut self.shared.pause {
            match &mut pause.waiting {
                Some(waiting) => waiting.merge(interval),
                None => pause.waiting = Some(interval),
            }
            return;
        }
        self.restart_totals();
        let shared = &mut self.shared;
        shared.traffic_seen |= !interval.total().is_zero();
        shared.method = Arc::clone(&interval.method);
        if let Some(travel) = &mut shared.travel {
            shared.moments.add(&travel.live, &interval);
            travel.live.add(&interval);
            travel.live_flows = interval.flows.len();
            travel.ago += 1;
            return;
        }
        shared.moments.add(&shared.history, &interval);
        shared.flows_now = interval.flows.len();
        shared.history.add(&interval);
        shared.count_programs();
        // Frees its memory for the sorting of the rows.
        drop(interval);
        self.panes.rebuild(&self.shared);
        self.panes.widen_columns(&self.shared);
    }

    fn show_snapshot(&mut self, snapshot: PlayerSnapshot) {
        let (shared, metadata) = (&mut self.shared, snapshot.metadata);
        for (inode, name) in &metadata.namespaces {
            shared.owners.learn_netns(*inode, Arc::clone(name));
        }
        for (uid, name) in &metadata.users {
            shared.owners.learn_user(*uid, Arc::clone(name));
        }
        for tgid in &metadata.own {
            shared.names.learn_own(*tgid);
        }
        shared.machine = metadata.machine;
        shared.capture_filter = metadata.filter;
        shared.method = snapshot.method;
        shared.flows_now = snapshot.flows;
        shared.traffic_seen = !snapshot.history.all().total.is_zero();
        shared.history = snapshot.history;
        shared.count_programs();
        self.player.position = Some(snapshot.position);
        self.panes.rebuild(&self.shared);
        self.panes.widen_columns(&self.shared);
    }

    fn act(&mut self, command: Command) {
        match command {
            Command::Quit if self.mode == Mode::Table => self.quit = true,
            // Quitting first closes the part that is open over the tables.
            Command::Quit => self.act(Command::Back),
            Command::Suspend => self.request = Some(Effect::Suspend),
            Command::Redraw => self.request = Some(Effect::Redraw),
            Command::Pause if !matches!(self.mode, Mode::Chooser(_) | Mode::List(_)) => {
                if self.player.is_shown() {
                    self.request = Some(Effect::Play(PlayerCommand::Toggle));
                } else {
                    self.toggle_pause();
                }
            }
            Command::StepForward | Command::StepBack | Command::SeekForward | Command::SeekBack
                if !self.player.is_shown() =>
            {
                self.travel(match command {
                    Command::StepForward => -1,
                    Command::StepBack => 1,
                    Command::SeekForward => -JUMP,
                    _ => JUMP,
                });
            }
            Command::Back | Command::End
                if self.mode == Mode::Table && self.shared.return_to_now() =>
            {
                self.show_moment();
            }
            Command::LocalTraffic => {
                self.shared.hides_internal = !self.shared.hides_internal;
                self.panes.rebuild(&self.shared);
            }
            Command::LongerChart | Command::ShorterChart => {
                self.shared.zoom_chart(command == Command::LongerChart);
            }
            Command::StepForward
            | Command::StepBack
            | Command::SeekForward
            | Command::SeekBack
            | Command::SpeedUp
            | Command::SpeedDown => self.play(self.player.order(command)),
            _ if self.save(command) => {}
            Command::Help if matches!(self.mode, Mode::Help(_)) => self.mode = Mode::Table,
            Command::Help => self.mode = Mode::Help(Help::default()),
            Command::Units => self.shared.display.units = self.shared.display.units.next(),
            Command::Names => self.shared.next_names(),
            Command::Slower | Command::Faster if self.player.is_shown() => {}
            Command::Slower | Command::Faster => self.step_interval(command == Command::Slower),
            _ => {
                // Only tables have rows that open in place.
                let command = match (command, &self.mode) {
                    (_, Mode::Table | Mode::Typing(_)) => command,
                    (Command::Expand, _) => Command::Enter,
                    (Command::Fold, _) => Command::Back,
                    _ => command,
                };
                let next = match &mut self.mode {
                    Mode::Table | Mode::Typing(_) => self.panes.act(command, &mut self.shared),
                    Mode::Detail(detail) if detail.has_flows() && command == Command::Enter => {
                        self.panes.drill_down(&self.shared);
                        Some(Mode::Table)
                    }
                    Mode::Detail(detail) => detail.act(command),
                    Mode::Help(help) => help.act(command, &self.shared, &self.player),
                    Mode::Chooser(chooser) => chooser.act(command, &mut self.shared),
                    Mode::List(_) => self.act_on_list(command),
                };
                self.turn_to(next);
            }
        }
    }

    /// Shows the table of the moment `back` intervals before the shown one.
    fn travel(&mut self, back: isize) {
        if self.shared.travel_by(back) {
            self.show_moment();
        }
    }

    /// Rebuilds the tables for another moment.
    pub(super) fn show_moment(&mut self) {
        self.shared.count_programs();
        self.panes.rebuild(&self.shared);
        self.panes.widen_columns(&self.shared);
    }

    /// Handles a command for the list over the tables; returns the part of the screen that takes
    /// over.
    fn act_on_list(&mut self, command: Command) -> Option<Mode> {
        match command {
            Command::Enter | Command::Pause => self.choose(|list| Some(list.chosen())),
            Command::Back | Command::Group | Command::Sort | Command::Only | Command::Exclude => {
                return Some(Mode::Table);
            }
            Command::Reverse => {
                self.panes.act(command, &mut self.shared);
                return Some(Mode::Table);
            }
            _ => {
                if let Mode::List(list) = &mut self.mode {
                    list.act(command);
                }
            }
        }
        None
    }

    /// Performs the choice of an entry of the list over the tables, and closes the list.
    fn choose(&mut self, choice: impl FnOnce(&List) -> Option<ListChoice>) {
        let Mode::List(list) = &self.mode else {
            return;
        };
        match choice(list) {
            Some(ListChoice::Group(group)) => self.panes.group_by(group, &self.shared),
            Some(ListChoice::Sort(sort)) => self.panes.set_sort(sort, &self.shared),
            Some(ListChoice::Narrow(term)) => self.panes.narrow(&term, &self.shared),
            None => return,
        }
        self.mode = Mode::Table;
    }

    fn turn_to(&mut self, mode: Option<Mode>) {
        let Some(mode) = mode else {
            return;
        };
        if let Mode::Typing(kind) = mode {
            self.panes.begin_prompt();
            self.panes.set_prompt(true, &self.shared);
            let text = match kind {
                PromptKind::Find => String::new(),
                PromptKind::Filter => self.panes.filter.text().to_owned(),
            };
            self.prompt.open(kind, &text);
            self.mode = mode;
            self.preview();
        } else {
            self.mode = mode;
        }
    }

    fn play(&mut self, order: Option<PlayerCommand>) {
        if let Some(order) = order {
            self.request = Some(Effect::Play(order));
        }
    }

    fn edit(&mut self, edit: Edit) {
        if !self.is_typing() {
            return;
        }
        let complete = |kind, before: &str| completion::complete(kind, before, &self.shared);
        match self.prompt.edit(edit, complete) {
            PromptOutcome::Changed => self.preview(),
            PromptOutcome::Unchanged => {}
            PromptOutcome::Accepted => self.accept(),
            PromptOutcome::Cancelled => {
                self.panes.cancel_prompt(&self.shared);
                self.close_prompt();
            }
        }
    }

    /// Previews the rows that the text of the prompt finds or matches.
    fn preview(&mut self) {
        let text = self.prompt.line.text();
        self.prompt.hint = match self.prompt.kind {
            PromptKind::Find => self.panes.preview_find(text, &self.shared),
            PromptKind::Filter => self.panes.preview_filter(text, &self.shared),
        };
    }

    /// Applies the text of the prompt and closes it. An invalid filter stays in the prompt for
    /// correction.
    fn accept(&mut self) {
        let text = self.prompt.line.text();
        if self.prompt.kind == PromptKind::Filter
            && let Err(wrong) = self.panes.apply_filter(text, &self.shared)
        {
            self.prompt.hint = PromptHint {
                text: wrong,
                is_error: true,
            };
            self.prompt.completion = None;
            return;
        }
        if let Some(line) = self.prompt.remember() {
            self.request = Some(Effect::Remember(line));
        }
        self.close_prompt();
    }

    fn close_prompt(&mut self) {
        self.panes.set_prompt(false, &self.shared);
        self.mode = Mode::Table;
    }

    /// Passes a click to the part drawn at its position.
    fn click(&mut self, at: Position) {
        let area = self.shared.area;
        let body = self.panes.layout(area).body;
        if let Some(order) = self.player.click(&self.shared, self.filter_width(), at) {
            self.play(Some(order));
        } else if !matches!(self.mode, Mode::Help(_))
            && let Some(samples) = self.chart_sample(at)
        {
            // By time, as a sample may be several intervals, and a gap is a sample.
            if let Some(ago) = self.shared.interval_at(samples)
                && self.shared.travel_to(ago)
            {
                self.show_moment();
            }
        } else if self.state_word_at(at) {
            self.mode = Mode::Help(Help::at_state(&self.shared, &self.player));
        } else if let Some(action) = self.label_at(at) {
            match action {
                LabelAction::Command(command) => self.act(command),
                LabelAction::Type(edit) => self.edit(edit),
            }
        } else {
            match &mut self.mode {
                Mode::Table => {
                    let next = self.panes.click(at, &self.shared);
                    self.turn_to(next);
                }
                Mode::List(list) if list.contains(at, body) => {
                    let choice = list.click(at, body);
                    self.choose(|_| choice);
                }
                // A click beside the list closes it.
                Mode::List(_) => self.mode = Mode::Table,
                Mode::Chooser(chooser) => chooser.click(at, body, &mut self.shared),
                Mode::Help(help) => {
                    if let Some(command) = help.click(at, &self.shared, &self.player) {
                        self.mode = Mode::Table;
                        // There it closes help, as its key does.
                        if command != Command::Quit {
                            self.act(command);
                        }
                    }
                }
                Mode::Typing(_) | Mode::Detail(_) => {}
            }
        }
    }

    fn wheel(&mut self, at: Position, rows: i32) {
        match &mut self.mode {
            Mode::Help(help) => help.wheel(rows, &self.shared, &self.player),
            Mode::Detail(detail) => detail.wheel(rows),
            Mode::Chooser(chooser) => chooser.wheel(rows, &self.shared),
            Mode::List(list) => list.wheel(rows),
            Mode::Table | Mode::Typing(_) => self.panes.wheel(at, rows, &self.shared),
        }
    }

    fn toggle_pause(&mut self) {
        match self.shared.pause.take() {
            None => {
                self.shared.pause = Some(Pause {
                    since: self.shared.clock,
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
        let now = u64::try_from(self.shared.interval.as_millis()).unwrap_or(u64::MAX);
        let next = if slower {
            STEPS_MS.into_iter().find(|&step| step > now)
        } else {
            STEPS_MS.into_iter().rev().find(|&step| step < now)
        };
        if let Some(next) = next {
            let interval = Duration::from_millis(next).clamp(MIN_INTERVAL, MAX_INTERVAL);
            self.shared.interval = interval;
            self.request = Some(Effect::SetInterval(interval));
        }
    }
}

/// Returns the first line shown after a command that scrolls; `None` for any other.
pub(super) fn scrolled(top: usize, command: Command) -> Option<usize> {
    match command {
        Command::Up => Some(top.saturating_sub(1)),
        Command::Down => Some(top + 1),
        Command::PageUp => Some(top.saturating_sub(10)),
        Command::PageDown => Some(top + 10),
        Command::Home => Some(0),
        _ => None,
    }
}
