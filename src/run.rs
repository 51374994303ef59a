//! Builds the pipeline of a run: source, decorators, output. The only module that depends on both
//! sides.

mod command;
mod config_writer;
mod diff;
mod files;
mod notes;
mod usage;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::files::{OpenedFiles, RunFiles};
use crate::jsonl::CorruptRecording;
use crate::jsonl::input::Stop;
use crate::jsonl::writer::Json;
use crate::model::interval::{Interval, Machine, Method, rate};
use crate::options::{self, Config, Output};
use crate::output::metrics::{Exporter, Listener};
use crate::output::{self, Stream};
use crate::recording::player::PlayerLimits;
use crate::recording::publisher::{OpenedTable, Publisher};
use crate::recording::recorder::{Opened, Recorder};
use crate::recording::replay::{self, Replay};
use crate::recording::switch::RecordingSwitch;
use crate::resolve::owners::Owners;
use crate::sandbox::privilege::{Identity, Privilege};
use crate::sandbox::{self, Allow, Confinement};
use crate::source::Source;
use crate::source::exit_when::{ExitCondition, ExitWhen};
use crate::source::filtered::Filtered;
use crate::source::live::{Live, machine};
use crate::source::signals::{SignalHandler, job};
use crate::source::tee::Tee;
use crate::sync::lock;
use crate::text::time::rfc3339;
use crate::text::units;
use crate::tui::{self, PromptFile, RunContext};

pub use self::command::NotStarted;

/// How a run ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// Stopped by a key, a signal or a limit, or out of input.
    Done,
    /// The condition of [`TimingOptions::exit_when`](options::TimingOptions::exit_when) is met, or
    /// compared recordings differ.
    ConditionMet,
    /// The command of `flowtop run` ended; its exit code, as a shell gives it.
    Command(u8),
    /// The command of `flowtop run` moved what its allow-list does not name.
    Unexpected,
}

/// Counts this machine's flows, or reads recordings, and shows them as configured, until a signal,
/// a key or a limit ends the run.
///
/// # Errors
/// When the kernel side cannot be attached or read, the output cannot be written, or a recording
/// cannot be written or read to its end.
pub fn run(config: &Config, privilege: &Privilege) -> Result<RunEnd> {
    if config.output == Output::Table {
        job::wait_for_terminal()?;
        job::hold().context("hold the signals of job control")?;
    }
    if let Some(options) = &config.command {
        return command::run(config, options, privilege);
    }
    let met = Arc::new(AtomicBool::new(false));
    if let Some(options) = &config.usage {
        return usage::added_up(config, privilege, options).map(|()| RunEnd::Done);
    }
    let outcome = match (&config.diff, &config.replay) {
        (Some(diff), _) => diff::compared(config, privilege, diff, &met),
        (None, Some(replay)) => replayed(config, privilege, replay, &met),
        (None, None) => live(config, privilege, &met),
    };
    outcome.map(|()| match met.load(Ordering::Relaxed) {
        true => RunEnd::ConditionMet,
        false => RunEnd::Done,
    })
}

/// Message of `--exit-when` for standard error; printed after the terminal is restored.
type ExitMessage = Arc<std::sync::Mutex<Option<String>>>;

fn live(config: &Config, privilege: &Privilege, met: &Arc<AtomicBool>) -> Result<()> {
    let machine = machine();
    // Before the rest, as it fails most easily.
    let listener = config.listen.as_ref().map(Listener::bind).transpose()?;
    let notes = notes::notes(&config.capture.filter);
    let mut live = privilege.raised(|| Live::open(&config.capture))?;
    let method = live.method();
    for note in notes {
        print_note(&note);
    }
    // From here on an end has something to hand over.
    let mut signals = watch(config)?;
    // Not earlier: a machine that cannot count gets no file. Not later: opening takes rights that
    // flowtop drops.
    let opened = match &config.record {
        None => None,
        Some(record) => match Opened::open(record, || signals.is_stop_requested())? {
            None => return Ok(()),
            opened => opened,
        },
    };
    let table = config
        .publish
        .as_deref()
        .map(OpenedTable::create)
        .transpose()?;
    let prompt_file = prompt_file(config);
    let files = OpenedFiles::open(config, privilege, is_bounded(config))?;
    let allow = allow(config, opened.as_ref(), &files);
    let makes_files = opened.as_ref().and_then(Opened::folder).is_some();
    let identity = privilege.identity(makes_files || files.takes_groups());
    let confinement = confined(config, privilege, || live.confine(&identity, &allow))?;
    live.begin()?;
    if config.verbose {
        let (backend, reason) = (&method.backend, &method.reason);
        print_note(&format!("{backend} backend: {reason}"));
        print_note(&confinement.to_string());
    }
    let json = recorded_as(config, machine.clone());
    let recorder = match opened {
        Some(opened) => Some(recorder(config, opened, json.clone())?),
        None => None,
    };
    let recording = RecordingSwitch::new(recorder);
    if config.keep_privileges {
        // --keep-privileges. The recorder's thread already has the caller's rights.
        privilege.raise()?;
    }
    let source = Filtered::new(live, config.capture.filter.rest.as_ref());
    let exit_message = ExitMessage::default();
    let condition = config.timing.exit_when.as_ref().map(ExitCondition::new);
    let source = ExitWhen::new(
        source,
        condition,
        on_exit_condition(config, met, &exit_message),
    );
    let mut source: Box<dyn Source> = Box::new(source);
    let exporter = listener
        .map(|listener| exporter(config, listener, &machine, &method))
        .transpose()?;
    if let Some(exporter) = &exporter {
        source = Box::new(exporter.instrument(source));
    }
    let see = recording.clone();
    source = Box::new(Tee::new(source, move |interval: &Interval| {
        see.put(interval)
    }));
    let publisher = table.map(|table| publisher(config, table)).transpose()?;
    if let Some(publisher) = &publisher {
        source = Box::new(Tee::new(source, publisher.intake()));
    }
    let files = RunFiles {
        opened: files,
        recording: Some((recording.clone(), json)),
    };
    let context = RunContext {
        capture: config.capture.clone(),
        timing: config.timing.clone(),
        machine,
        method,
        confinement: Some(confinement),
        prompt_file,
    };
    let outcome = present(config, source, context, files, signals);
    drop(exporter);
    let notes = recording.status().map(|status| status.notes);
    // Also if the output has failed: the recording keeps what was counted until then.
    let recorded = recording.stop().map(drop);
    let published = publisher.map_or(Ok(()), Publisher::finish);
    let recorded = recorded.and(published);
    // The live table has not printed them.
    if config.output == Output::Table {
        notes.iter().flatten().for_each(|note| print_note(note));
    }
    if let Some(text) = take(&exit_message) {
        print_note(&text);
    }
    both(outcome, recorded)
}

/// Returns the result of a run from the results of its output and of its files.
fn both(outcome: Result<()>, recorded: Result<()>) -> Result<()> {
    match (outcome, recorded) {
        (Ok(()), recorded) => recorded,
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(lost)) => {
            print_note(&format!("{lost:#}"));
            match output::is_closed_pipe(&error) {
                true => bail!("the recording is not complete"),
                false => Err(error),
            }
        }
    }
}

/// Serves metrics of the run.
fn exporter(
    config: &Config,
    listener: Listener,
    machine: &Machine,
    method: &Arc<Method>,
) -> Result<Exporter> {
    let filter = config.capture.filter.text();
    let exporter = Exporter::start(listener, filter, machine.clone(), Arc::clone(method))?;
    if config.verbose {
        let at = exporter.addr();
        print_note(&format!("metrics are at http://{at}/metrics"));
    }
    Ok(exporter)
}

/// Shows the intervals of a source.
fn present(
    config: &Config,
    source: impl Source + 'static,
    context: RunContext,
    files: RunFiles,
    signals: SignalHandler,
) -> Result<()> {
    match config.output {
        Output::Table => tui::live(&config.table, source, context, Box::new(files), signals),
        Output::Text | Output::Json | Output::Csv | Output::Quiet => {
            let mut out = io::stdout().lock();
            stream(config, context.machine, source, Some(signals), &mut out)
        }
    }
}

/// Writes the intervals of a source as text, JSON or CSV; see [`Stream::run`].
///
/// # Errors
/// When the source fails or `out` cannot be written.
pub fn stream(
    config: &Config,
    machine: Machine,
    source: impl Source + 'static,
    signals: Option<SignalHandler>,
    out: &mut impl Write,
) -> Result<()> {
    stream_of(config, machine, Owners::passwd_only())?.run(&config.timing, source, signals, out)
}

fn stream_of(config: &Config, machine: Machine, owners: Owners) -> Result<Stream> {
    let filter = config.capture.filter.text();
    Stream::new(config.output, &config.stream, filter, machine, owners)
}

/// Catches the signals that end a run; for the live table every signal that can be caught.
fn watch(config: &Config) -> Result<SignalHandler> {
    let watch = match config.output {
        Output::Table => SignalHandler::install_for_terminal(),
        Output::Text | Output::Json | Output::Csv | Output::Quiet => SignalHandler::install(),
    };
    watch.context("watch for signals")
}

/// Opens the file that keeps the texts of prompts while flowtop has the rights of the caller.
/// Without the file they last as long as the run.
fn prompt_file(config: &Config) -> Option<PromptFile> {
    let path = config.table.prompt_file.as_ref()?;
    if config.output != Output::Table {
        return None;
    }
    match PromptFile::open(path) {
        Ok(file) => Some(file),
        Err(error) => {
            if config.verbose {
                print_note(&format!(
                    "prompts are not kept in {}: {error}",
                    path.display()
                ));
            }
            None
        }
    }
}

/// Drops privileges by `confine` if the run wants that; everything that the run needs later is
/// open.
fn confined(
    config: &Config,
    privilege: &Privilege,
    confine: impl FnOnce() -> Result<Confinement>,
) -> Result<Confinement> {
    if config.output == Output::Table {
        tui::take_keyboard();
    }
    if config.keep_privileges {
        // Raised privileges show which capabilities remain.
        return privilege.raised(|| Ok(Confinement::declined()));
    }
    // Nothing is left to lower afterwards.
    privilege
        .raise()
        .and_then(|()| confine())
        .context("give away privileges (--no-sandbox keeps them)")
}

/// Whether the sandbox will limit writing to the allowed folders.
fn is_bounded(config: &Config) -> bool {
    !config.keep_privileges && sandbox::restricts_folders()
}

/// Returns the rights that the rest of the run needs.
fn allow(config: &Config, opened: Option<&Opened>, files: &OpenedFiles) -> Allow {
    let recordings = opened.and_then(Opened::folder);
    Allow {
        write: recordings.into_iter().chain(files.writes_in()).collect(),
        link: files.links_in(),
        signal: None,
        serve: config.listen.is_some(),
        names: uses_names(config),
        read_only: None,
    }
}

/// Whether flowtop may look up host names. The live table has a key for them.
fn uses_names(config: &Config) -> bool {
    config.stream.host_names || config.output == Output::Table
}

/// Recordings may come from anywhere: they are opened before the sandbox, and reading them needs no
/// further rights.
fn confine_replay(
    config: &Config,
    identity: &Identity,
    files: &OpenedFiles,
) -> Result<Confinement> {
    let allow = Allow {
        serve: false,
        ..allow(config, None, files)
    };
    sandbox::confine(identity, &allow, &[], || Ok(()))
}

/// Opens recordings before the sandbox, then drops all privileges. A signal sets the stop.
fn open_confined<T>(
    config: &Config,
    privilege: &Privilege,
    open: impl FnOnce() -> T,
) -> Result<(T, Stop)> {
    let signals = watch(config)?;
    let opened = open();
    let saved = OpenedFiles::default();
    let identity = privilege.identity(false);
    let confine = || confine_replay(config, &identity, &saved);
    let confinement = confined(config, privilege, confine)?;
    if config.verbose {
        print_note(&confinement.to_string());
    }
    let stop = Stop::default();
    let stopped = Arc::clone(&stop);
    signals
        .forward(move || stopped.store(true, Ordering::Relaxed), || ())
        .context("watch for signals")?;
    Ok((opened, stop))
}

/// Returns the format of the recording.
fn recorded_as(config: &Config, machine: Machine) -> Json {
    Json {
        filter: config.capture.filter.text(),
        owners: Arc::new(Owners::passwd_only()),
        machine,
    }
}

fn recorder(config: &Config, opened: Opened, json: Json) -> Result<Recorder> {
    // The live table shows the message itself: printed here, it would overwrite the table.
    let is_drawn = config.output == Output::Table;
    Recorder::start(opened, json, move |text| {
        if !is_drawn {
            print_note(text);
        }
    })
}

fn publisher(config: &Config, table: OpenedTable) -> Result<Publisher> {
    let is_drawn = config.output == Output::Table;
    Publisher::start(table, move |text| {
        if !is_drawn {
            print_note(text);
        }
    })
}

fn replayed(
    config: &Config,
    privilege: &Privilege,
    replay: &options::ReplayOptions,
    met: &Arc<AtomicBool>,
) -> Result<()> {
    let signals = watch(config)?;
    let zones = config.capture.zones.as_ref();
    let files = replay::open(&replay.files).into_iter();
    let files: Vec<_> = files.map(|file| file.with_zones(zones)).collect();
    let prompt_file = prompt_file(config);
    let saved = OpenedFiles::open(config, privilege, is_bounded(config))?;
    let identity = privilege.identity(saved.takes_groups());
    let confined_replay = || confine_replay(config, &identity, &saved);
    let confinement = confined(config, privilege, confined_replay)?;
    if config.verbose {
        print_note(&confinement.to_string());
    }
    let exit_message = ExitMessage::default();
    let mut condition = config.timing.exit_when.as_ref().map(ExitCondition::new);
    let mut on_interval = on_exit_condition(config, met, &exit_message);
    let until = move |interval: &Interval| {
        let is_met = condition
            .as_mut()
            .is_some_and(|condition| condition.is_met(interval));
        if is_met {
            on_interval(interval);
        }
        is_met
    };
    let mut limits = PlayerLimits {
        count: config.timing.count,
        duration: config.timing.duration,
        until: Box::new(until),
    };
    let filter = config.capture.filter.rest.as_ref();
    let corruptions = if config.output == Output::Table {
        let context = RunContext {
            capture: config.capture.clone(),
            timing: config.timing.clone(),
            confinement: Some(confinement),
            prompt_file,
            ..RunContext::default()
        };
        let interval = replay.interval;
        let table_files = RunFiles {
            opened: saved,
            recording: None,
        };
        let (table, saves) = (&config.table, Box::new(table_files));
        let corruptions = tui::replay(table, files, interval, context, saves, limits, signals)?;
        for corruption in &corruptions {
            print_note(&damaged(corruption));
        }
        corruptions.len()
    } else {
        let stop = Stop::default();
        let stopped = Arc::clone(&stop);
        signals
            .forward(move || stopped.store(true, Ordering::Relaxed), || ())
            .context("watch for signals")?;
        let (mut count, mut elapsed, mut corruptions) = (0, Duration::ZERO, 0);
        let stream = stream_of(config, Machine::default(), Owners::disabled())?;
        stream.replay(
            Replay::new(&files, replay.interval, filter, &stop),
            |interval| {
                count += 1;
                elapsed += interval.elapsed;
                !limits.is_reached(interval, count, elapsed) && !stop.load(Ordering::Relaxed)
            },
            |corruption| {
                corruptions += 1;
                print_note(&damaged(corruption));
            },
            &mut io::stdout().lock(),
        )?;
        corruptions
    };
    if let Some(text) = take(&exit_message) {
        print_note(&text);
    }
    match corruptions {
        0 => Ok(()),
        _ => bail!("not all of what was to be replayed could be read"),
    }
}

fn damaged(corruption: &CorruptRecording) -> String {
    units::sanitize(&format!("replay {corruption}")).into_owned()
}

/// Returns the callback of `--exit-when`: it sets `met`, which gives the exit code, and the
/// message.
fn on_exit_condition(
    config: &Config,
    met: &Arc<AtomicBool>,
    exit_message: &ExitMessage,
) -> impl FnMut(&Interval) + Send + use<> {
    let condition = config.timing.exit_when.as_ref().map(ToString::to_string);
    let condition = condition.unwrap_or_default();
    let (met, exit_message) = (Arc::clone(met), Arc::clone(exit_message));
    move |interval| {
        met.store(true, Ordering::Relaxed);
        let (total, elapsed) = (interval.total(), interval.elapsed);
        let [rx, tx] = [total.rx_bytes, total.tx_bytes].map(|bytes| {
            let rate = units::rate(rate(bytes, elapsed));
            format!("{} ({rate})", units::bytes(bytes))
        });
        let time = rfc3339(interval.ended);
        let text = format!("ended by --exit-when '{condition}': in {rx}, out {tx} at {time}");
        *lock(&exit_message) = Some(text);
    }
}

fn take(exit_message: &ExitMessage) -> Option<String> {
    lock(exit_message).take()
}

/// Prints a message for the user to standard error.
fn print_note(text: &str) {
    // A closed standard error is no reason to end.
    let _ = writeln!(io::stderr(), "flowtop: {}", units::sanitize_lines(text));
}
