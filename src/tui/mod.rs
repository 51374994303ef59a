//! The live table: turns intervals and keys into a screen. Independent of the kernel.
//!
//! The main thread blocks on one channel that the collector, the keyboard, signals and background
//! look-ups send to, and draws only after an event. The collector has its own thread, so no key can
//! shorten or lengthen an interval. No drawing waits for a name, for `/proc` or for the kernel.

mod action;
mod app;
mod basic_colours;
mod draw;
mod files;
mod input;
mod prompt_file;
mod snapshot;
mod state;
mod terminal;
#[cfg(test)]
mod tests;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossterm::event::Event as TerminalEvent;

#[cfg(any(test, fuzzing))]
pub use self::input::keyboard::fuzz;

pub use self::action::{Action, Command, Edit, Effect};
pub use self::app::App;
pub use self::draw::theme::{Background, Depth, Glyphs, Theme};
pub use self::files::{NoFiles, TableFiles};
pub use self::prompt_file::PromptFile;
pub use self::state::display_options::DisplayOptions;
pub use self::state::shared::RunContext;
pub use self::terminal::take_keyboard;
pub use crate::model::interval::Machine;

use self::input::keyboard::{self, Input};
use self::terminal::Screen;
use crate::jsonl::CorruptRecording;
use crate::jsonl::input::Recording;
use crate::options::TableOptions;
use crate::recording::player::{self, Player, PlayerLimits};
use crate::resolve::names::Names;
use crate::resolve::owners::{Owners, open_sockets};
use crate::source::Source;
use crate::source::collector::{Collector, CollectorEvent, Schedule};
use crate::source::signals::SignalHandler;
use crate::source::signals::job::{self, Job, StopTarget};

/// Interval between redraws of a paused screen, which shows the length of the pause.
const SECOND: Duration = Duration::from_secs(1);
/// Maximum time to wait for a terminal's reply to a query.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(100);

/// Time from the start of counting until the first rows: no longer than the start itself takes, long
/// enough for rates.
const FIRST_ROWS: Duration = Duration::from_millis(150);

enum ScreenEvent {
    Collector(CollectorEvent),
    Player(player::PlayerEvent),
    Terminal(io::Result<TerminalEvent>),
    Background(Background),
    Name,
    Owner,
    Job(Job),
    Stop,
}

/// Time within which a signal to stop may follow the one that continued this process: `kill` and
/// `timeout` send SIGTERM and then SIGCONT.
const STOP_COMES_WITHIN: Duration = Duration::from_millis(200);

/// Shows a live table of this machine until a key, a signal, the count or an error ends it. Returns
/// the state of its recording, if there is one. The terminal is restored afterwards, however the
/// table ends.
///
/// # Errors
/// When the source fails or the terminal cannot be read or written.
pub fn live(
    options: &TableOptions,
    source: impl Source + 'static,
    context: RunContext,
    files: Box<dyn TableFiles>,
    signals: SignalHandler,
) -> Result<()> {
    let (sender, events, stop_requested) = events(signals)?;
    let names = names(&sender)?;
    let owners = {
        let sender = sender.clone();
        Owners::system(move || drop(sender.send(ScreenEvent::Owner)))?
    };
    let timing = &context.timing;
    let schedule = Schedule {
        interval: timing.interval,
        early: Some(FIRST_ROWS),
        count: timing.count,
        duration: timing.duration,
    };
    let collector = {
        let sender = sender.clone();
        Collector::start(source, schedule, move |notice| {
            drop(sender.send(ScreenEvent::Collector(notice)));
        })?
    };
    let display = DisplayOptions::of(options);
    let app = App::new(context, names, owners, display);
    let feed = IntervalFeed::Live(&collector);
    let app = show(app, feed, files, sender, &events, &stop_requested)?;
    leave_screen(&app);
    Ok(())
}

/// Prints the last screen after a run of a fixed number of intervals or time. A user who quits has
/// seen the table.
fn leave_screen(app: &App) {
    if !app.has_quit() {
        // An error could not be shown.
        let _ = io::stdout().write_all(terminal::last_screen(app).as_bytes());
    }
}

/// Shows recordings in the live table until a key, a signal or a limit ends it. Returns the parts
/// that could not be read.
///
/// # Errors
/// When the terminal cannot be read or written.
pub fn replay(
    options: &TableOptions,
    files: Vec<Recording>,
    interval: Option<Duration>,
    context: RunContext,
    saves: Box<dyn TableFiles>,
    limits: PlayerLimits,
    signals: SignalHandler,
) -> Result<Vec<CorruptRecording>> {
    let (sender, events, stop_requested) = events(signals)?;
    let names = names(&sender)?.of_a_recording();
    // Facts about processes are those recorded; the processes of this machine are not looked up.
    let owners = Owners::disabled();
    let player = {
        let sender = sender.clone();
        let filter = context.capture.filter.rest.as_ref();
        Player::start(files, interval, filter, limits, move |notice| {
            drop(sender.send(ScreenEvent::Player(notice)));
        })?
    };
    let display = DisplayOptions::of(options);
    let mut app = App::new(context, names, owners, display);
    app.begin_replay();
    let feed = IntervalFeed::Played(&player);
    let app = show(app, feed, saves, sender, &events, &stop_requested)?;
    leave_screen(&app);
    Ok(app.into_corruptions())
}

/// Returns the channel of all events, and whether a signal requests flowtop to stop, for callers
/// without a terminal.
fn events(
    signals: SignalHandler,
) -> Result<(Sender<ScreenEvent>, Receiver<ScreenEvent>, Arc<AtomicBool>)> {
    let (sender, events) = channel();
    let stop_requested = Arc::new(AtomicBool::new(false));
    let stop = {
        let (sender, stop_requested) = (sender.clone(), Arc::clone(&stop_requested));
        move || {
            stop_requested.store(true, Ordering::SeqCst);
            let _ = sender.send(ScreenEvent::Stop);
        }
    };
    signals
        .forward(stop, terminal::restore_soon)
        .context("watch for signals")?;
    let jobs = sender.clone();
    job::forward(move |job| jobs.send(ScreenEvent::Job(job)).is_ok())
        .context("watch for signals")?;
    Ok((sender, events, stop_requested))
}

fn names(sender: &Sender<ScreenEvent>) -> Result<Names> {
    let sender = sender.clone();
    Names::system(move || drop(sender.send(ScreenEvent::Name)))
}

/// Takes the terminal over and shows intervals. Returns the final state.
fn show(
    mut app: App,
    feed: IntervalFeed<'_>,
    files: Box<dyn TableFiles>,
    sender: Sender<ScreenEvent>,
    events: &Receiver<ScreenEvent>,
    stop_requested: &AtomicBool,
) -> Result<App> {
    let title = match feed {
        IntervalFeed::Live(_) => format!("flowtop {}", app.shared.machine.host),
        IntervalFeed::Played(_) => "flowtop replay".to_owned(),
    };
    // An error only loses the texts typed earlier.
    let lines = app.shared.prompt_file.as_ref().map(PromptFile::lines);
    if let Some(Ok(lines)) = lines {
        app.learn_prompts(&lines);
    }
    if app
        .shared
        .prompt_file
        .as_ref()
        .is_some_and(PromptFile::is_new)
    {
        app.greet();
    }
    let background_matters = app.shared.display.depends_on_background();
    // Dropped before all other locals, so that later messages are visible.
    let mut screen = Screen::enter(
        &title,
        app.shared.keys.suspend_by_ctrl_z(),
        app.shared.display.theme.depth,
    )?;
    keyboard::read(move |input| {
        let event = match input {
            Input::Event(event) => ScreenEvent::Terminal(event),
            Input::Background(background) => ScreenEvent::Background(background),
        };
        sender.send(event).is_ok()
    })?;
    let queried_at = background_matters.then(Instant::now);
    if background_matters {
        screen.query_background()?;
    }
    let mut session = Session {
        app,
        screen,
        feed,
        files,
        start: Instant::now(),
        queried_at,
        found: (false, false),
        stop_requested,
    };
    let outcome = session.watch(events);
    session.await_answer(events);
    outcome.map(|()| session.app)
}

/// The source of the shown intervals.
#[derive(Clone, Copy)]
enum IntervalFeed<'a> {
    Live(&'a Collector),
    Played(&'a Player),
}

/// Returns an error of the terminal, or none if the terminal has gone.
fn unless_gone(error: anyhow::Error) -> Result<()> {
    match terminal::has_gone() {
        true => Ok(()),
        false => Err(error),
    }
}

/// The live table while it runs: state, terminal and source.
struct Session<'a> {
    app: App,
    screen: Screen,
    feed: IntervalFeed<'a>,
    files: Box<dyn TableFiles>,
    start: Instant,
    /// Time of the query for the terminal's background, until its reply.
    queried_at: Option<Instant>,
    /// Whether names, and facts about processes, were found since the last drawing. They come by
    /// the hundred, and each may reorder all rows: one drawing covers all of them.
    found: (bool, bool),
    stop_requested: &'a AtomicBool,
}

impl Session<'_> {
    fn watch(&mut self, events: &Receiver<ScreenEvent>) -> Result<()> {
        loop {
            let (width, height) = terminal::size();
            self.app.update(Action::Resize(width, height));
            self.app.update(Action::Clock(self.start.elapsed()));
            let (names, owners) = std::mem::take(&mut self.found);
            if names {
                self.app.update(Action::NameFound);
            }
            if owners {
                self.app.update(Action::OwnerFound);
            }
            self.app.update(Action::Recording(self.files.recording()));
            if let Err(error) = self.screen.draw(&self.app) {
                return unless_gone(error);
            }
            let mut event = match self.next(events)? {
                Some(event) => event,
                None => continue,
            };
            // All pending events share one drawing.
            loop {
                if let Some(outcome) = self.handle(event) {
                    return outcome;
                }
                if self.app.has_quit() {
                    return Ok(());
                }
                self.perform_request()?;
                match events.try_recv() {
                    Ok(next) => event = next,
                    Err(_) => break,
                }
            }
        }
    }

    /// Waits for an event: without a timeout if only events change the screen.
    fn next(&self, events: &Receiver<ScreenEvent>) -> Result<Option<ScreenEvent>> {
        let wait = "wait for something to happen";
        if !self.app.is_paused() {
            return events.recv().context(wait).map(Some);
        }
        match events.recv_timeout(SECOND) {
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(error) => Err(error).context(wait),
        }
    }

    fn handle(&mut self, event: ScreenEvent) -> Option<Result<()>> {
        match event {
            ScreenEvent::Collector(notice) => {
                // While the display is paused, waiting intervals are summed there, within bounds.
                if !self.app.is_paused() {
                    self.take();
                }
                if let CollectorEvent::Finished(outcome) = notice {
                    return Some(outcome);
                }
            }
            ScreenEvent::Player(notice) => {
                self.take();
                if let player::PlayerEvent::Finished(outcome) = notice {
                    return Some(outcome);
                }
            }
            ScreenEvent::Terminal(event) => {
                let event = match event.context("read the keyboard") {
                    Ok(event) => event,
                    Err(error) => return Some(unless_gone(error)),
                };
                if let TerminalEvent::Paste(text) = event {
                    self.app.update(Action::Paste(text));
                    return None;
                }
                self.app.update(Action::Clock(self.start.elapsed()));
                let focus = self.app.keyboard_focus();
                if let Some(action) = self.app.shared.keys.action(&event, focus) {
                    let was_paused = self.app.is_paused();
                    self.app.update(action);
                    if was_paused && !self.app.is_paused() {
                        self.take();
                    }
                }
            }
            ScreenEvent::Background(background) => {
                self.queried_at = None;
                self.app.update(Action::Background(background));
            }
            ScreenEvent::Name => self.found.0 = true,
            ScreenEvent::Owner => self.found.1 = true,
            ScreenEvent::Job(job) => {
                if let Err(error) = self.obey(job) {
                    return Some(Err(error));
                }
            }
            ScreenEvent::Stop => self.app.update(Action::Stop),
        }
        None
    }

    fn obey(&mut self, job: Job) -> Result<()> {
        match job {
            Job::Stop => self.stop(StopTarget::Process),
            Job::Continued if self.screen.is_as_taken() => {
                // The kernel sends SIGCONT with SIGHUP too. The keyboard thread reports a terminal
                // that has gone, and nothing is drawn there until then.
                if self.screen.force_redraw().is_err() {
                    terminal::restore();
                }
                Ok(())
            }
            Job::Continued => {
                terminal::restore();
                self.come_back()
            }
        }
    }

    fn stop(&mut self, whom: StopTarget) -> Result<()> {
        self.screen.stop(whom)?;
        self.come_back()
    }

    /// Takes the terminal over again as soon as it belongs to this job, unless flowtop is to end.
    fn come_back(&mut self) -> Result<()> {
        while !job::is_in_foreground() {
            let until = Instant::now() + STOP_COMES_WITHIN;
            while Instant::now() < until {
                if self.stop_requested.load(Ordering::SeqCst) {
                    return Ok(());
                }
                thread::sleep(STOP_COMES_WITHIN / 20);
            }
            job::stop_in_background().context("wait for the terminal")?;
        }
        match self.stop_requested.load(Ordering::SeqCst) {
            true => Ok(()),
            false => self.screen.take_again(),
        }
    }

    /// Waits for a reply that is under way: it would be typed into the next program. The wait is
    /// bounded for terminals that do not reply.
    fn await_answer(&self, events: &Receiver<ScreenEvent>) {
        let Some(until) = self
            .queried_at
            .map(|queried_at| queried_at + ANSWER_TIMEOUT)
        else {
            return;
        };
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if let Ok(ScreenEvent::Background(_)) | Err(_) = events.recv_timeout(left) {
                return;
            }
        }
    }

    fn take(&mut self) {
        match self.feed {
            IntervalFeed::Live(collector) => {
                let Some(interval) = collector.take() else {
                    return;
                };
                self.app.update(Action::IntervalEnded(interval));
                // Two small non-blocking reads, only until bytes move: the number of sockets shows
                // on an empty screen that flowtop works.
                if self.app.is_quiet()
                    && let Some(open) = open_sockets()
                {
                    self.app.update(Action::Sockets(open));
                }
            }
            IntervalFeed::Played(player) => {
                if let Some(snapshot) = player.take() {
                    self.app.update(Action::PlayerMoved(Box::new(snapshot)));
                }
            }
        }
    }

    /// Shows the outcome of a request in the footer.
    fn report(&mut self, outcome: Result<String>) {
        let outcome = outcome.map_err(|error| format!("{error:#}"));
        self.app.update(Action::Reported(outcome));
    }

    /// Performs the request of the state.
    fn perform_request(&mut self) -> Result<()> {
        match self.app.take_request() {
            Some(Effect::SetInterval(interval)) => {
                if let IntervalFeed::Live(collector) = self.feed {
                    collector.set_interval(interval);
                }
            }
            Some(Effect::Play(order)) => {
                if let IntervalFeed::Played(player) = self.feed {
                    player.order(order);
                }
            }
            Some(Effect::Suspend) => self.stop(StopTarget::Job)?,
            Some(Effect::Redraw) => self.screen.force_redraw()?,
            Some(Effect::Snapshot) => {
                let forms = snapshot::forms(&self.app)?;
                let saved = self.files.save_snapshot(&forms);
                self.report(saved);
            }
            Some(Effect::Save(settings)) => {
                let saved = self.files.save_settings(&settings);
                self.report(saved);
            }
            Some(Effect::Record) => {
                let turned = self.files.toggle_recording();
                self.report(turned);
            }
            Some(Effect::Copy(text)) => self.screen.copy(&text)?,
            // A text that cannot be saved is missing in the next run; this run continues.
            Some(Effect::Remember(line)) => {
                if let Some(file) = &self.app.shared.prompt_file {
                    let _ = file.append(&line);
                }
            }
            None => {}
        }
        Ok(())
    }
}
