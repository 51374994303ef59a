//! Runs a command, counts it and its descendants, and writes what they moved.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::{RunEnd, confined, print_note};
use crate::filter::{Expr, FilterPlan, Matcher, Pushdown, Subject, Term};
use crate::launch::{Launched, exit_code};
use crate::model::flow::Flow;
use crate::model::interval::Interval;
use crate::options::{CaptureOptions, CommandOptions, Config, StreamOptions};
use crate::output::Report as _;
use crate::output::run_summary::RunSummary;
use crate::output::text::Text;
use crate::resolve::names::Names;
use crate::sandbox::Allow;
use crate::sandbox::privilege::Privilege;
use crate::source::collector::{Collector, CollectorEvent, Schedule};
use crate::source::live::{Live, machine};
use crate::stats::ranking::Ranking;
use crate::stats::run_totals::RunTotals;

/// Longest wait of the summary for host names that are being looked up.
const NAMES_WITHIN: Duration = Duration::from_secs(2);

enum CommandEvent {
    Collector(CollectorEvent),
    Ended(ExitStatus),
    Name,
}

/// Runs the command of `options`, and returns its end.
///
/// # Errors
/// When it cannot be started, for which flowtop exits with 2 ([`NotStarted`]), or not be counted to
/// its end.
pub(super) fn run(
    config: &Config,
    options: &CommandOptions,
    privilege: &Privilege,
) -> Result<RunEnd> {
    let machine = machine();
    let started = start(config, options, privilege).map_err(|error| error.context(NotStarted))?;
    let mut counted = started.count(config, options)?;
    let names = counted.names(options);
    let totals = &counted.totals;
    let command: Vec<String> = options
        .argv
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let code = exit_code(counted.status);
    let allow = options
        .allow
        .as_ref()
        .map(|allow| allow.file.to_string_lossy());
    let summary = RunSummary {
        command: &command,
        end: ending(counted.status),
        exit_code: code,
        totals,
        machine: &machine,
        names: &names,
        allow: allow.as_deref(),
        top_n: options.top_n,
    };
    let text = summary.written(options.form);
    match &mut counted.summary_file {
        Some(file) => file
            .write_all(text.as_bytes())
            .context("write the summary")?,
        // A closed standard error is no reason to fail the command.
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
    Ok(match totals.has_unexpected() {
        true => RunEnd::Unexpected,
        false => RunEnd::Command(code),
    })
}

/// Marks an error before the command ran.
#[derive(Clone, Copy, Debug)]
pub struct NotStarted;

impl std::fmt::Display for NotStarted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the command was not started")
    }
}

/// How the command ended, as in `exited with 0`.
fn ending(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exited with {code}"),
        None => format!("ended by signal {}", exit_code(status).saturating_sub(128)),
    }
}

/// A command that waits to be started; all probes are attached and flowtop is confined.
struct Started {
    launched: Launched,
    live: Live,
    summary_file: Option<File>,
}

fn start(config: &Config, options: &CommandOptions, privilege: &Privilege) -> Result<Started> {
    // Made first, so that the command inherits no file that flowtop opens later.
    let launched = Launched::prepare(&options.argv)?;
    let summary_file = options.summary_file.as_ref().map(|path| {
        File::create(path).with_context(|| format!("write the summary to {}", path.display()))
    });
    let summary_file = summary_file.transpose()?;
    let tree = Expr::Is(Term::Tree(vec![launched.pid()]));
    let capture = CaptureOptions {
        filter: FilterPlan::new(tree, Pushdown::All),
        ..config.capture.clone()
    };
    let mut live = privilege.raised(|| Live::open(&capture))?;
    let allow = Allow {
        names: options.host_names,
        signal: Some(launched.pid()),
        ..Allow::default()
    };
    // Identity with the command's user, who may send signals to it.
    let identity = privilege.identity_of_caller();
    let confinement = confined(config, privilege, || live.confine(&identity, &allow))?;
    live.begin()?;
    if config.verbose {
        let method = live.method();
        print_note(&format!("{} backend: {}", method.backend, method.reason));
        print_note(&confinement.to_string());
    }
    Ok(Started {
        launched,
        live,
        summary_file,
    })
}

/// A command that has ended.
struct Counted {
    totals: RunTotals,
    status: ExitStatus,
    names: Names,
    events: Receiver<CommandEvent>,
    summary_file: Option<File>,
}

impl Started {
    /// Runs the command to its end.
    fn count(self, config: &Config, options: &CommandOptions) -> Result<Counted> {
        let (sender, events) = channel();
        let names = match options.host_names {
            true => Names::system(notifier(&sender, || CommandEvent::Name))?,
            false => Names::disabled(),
        };
        let schedule = Schedule {
            interval: config.timing.interval,
            early: None,
            count: None,
            duration: None,
        };
        let to_collector = sender.clone();
        let collector = Collector::start(self.live, schedule, move |notice| {
            drop(to_collector.send(CommandEvent::Collector(notice)));
        })?;
        self.launched
            .run(move |status| drop(sender.send(CommandEvent::Ended(status))))?;
        let mut allowed = options
            .allow
            .as_ref()
            .map(|allow| Allowed::new(&allow.lines));
        let mut live = options.live.then(Text::default);
        let (mut totals, mut ended, mut failed) = (RunTotals::default(), None, None);
        let mut is_finished = false;
        // A source that fails ends neither the command nor flowtop before the command.
        while ended.is_none() || !is_finished {
            let event = events.recv().context("wait for the command")?;
            if let Some(interval) = collector.take() {
                for flow in &interval.flows {
                    names.get(flow.key.remote.addr);
                }
                if let Some(text) = &mut live {
                    show(text, &interval, &names)?;
                }
                match &mut allowed {
                    None => totals.add(&interval, None::<fn(&Flow) -> bool>),
                    Some(allowed) => {
                        allowed.begin(&interval);
                        totals.add(&interval, Some(|flow: &Flow| allowed.is_expected(flow)));
                    }
                }
            }
            match event {
                CommandEvent::Collector(CollectorEvent::Finished(outcome)) => {
                    is_finished = true;
                    failed = outcome.err();
                }
                CommandEvent::Ended(status) => {
                    ended = Some(status);
                    collector.stop();
                }
                CommandEvent::Collector(CollectorEvent::Ready) | CommandEvent::Name => {}
            }
        }
        match (failed, ended) {
            (Some(error), _) => Err(error.context("not all of the command was counted")),
            (None, None) => Err(anyhow!("the end of the command is not known")),
            (None, Some(status)) => Ok(Counted {
                totals,
                status,
                names,
                events,
                summary_file: self.summary_file,
            }),
        }
    }
}

/// Writes the largest flows of an interval, if any moved, to standard error.
fn show(text: &mut Text, interval: &Interval, names: &Names) -> Result<()> {
    if interval.flows.is_empty() {
        return Ok(());
    }
    let mut block = Vec::new();
    let ranking = Ranking::new(interval, StreamOptions::default().top_n);
    text.append(&ranking, names, &mut block)?;
    // The summary has them.
    drop(text.take_notes());
    // A closed standard error is no reason to fail the command.
    let _ = io::stderr().write_all(&block);
    Ok(())
}

fn notifier(
    sender: &Sender<CommandEvent>,
    event: impl Fn() -> CommandEvent + Send + Sync + 'static,
) -> impl Fn() + Send + Sync + 'static {
    let sender = sender.clone();
    move || drop(sender.send(event()))
}

impl Counted {
    /// Returns the known names of all peers; waits a limited time for further ones.
    fn names(&self, options: &CommandOptions) -> HashMap<IpAddr, Arc<str>> {
        let mut found = HashMap::new();
        if !options.host_names {
            return found;
        }
        let until = Instant::now() + NAMES_WITHIN;
        let (rows, _, _) = self.totals.peers.ranked(None);
        loop {
            let mut is_complete = true;
            for (key, _) in &rows {
                match self.names.get(key.remote.addr) {
                    Some(name) => drop(found.insert(key.remote.addr, name)),
                    None => is_complete = false,
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if is_complete || self.events.recv_timeout(left).is_err() {
                return found;
            }
        }
    }
}

/// The filters of an allow-list.
struct Allowed {
    /// Filters that do *not* match a line: they hold for a sum of flows without a slot unless all
    /// of its flows match.
    unmatched: Vec<Matcher>,
    elapsed: Duration,
}

impl Allowed {
    fn new(lines: &[Expr]) -> Self {
        let unmatched = lines
            .iter()
            .map(|line| Matcher::new(&Expr::Not(Box::new(line.clone()))));
        Self {
            unmatched: unmatched.collect(),
            elapsed: Duration::ZERO,
        }
    }

    fn begin(&mut self, interval: &Interval) {
        self.elapsed = interval.elapsed;
        self.unmatched.iter_mut().for_each(Matcher::begin);
    }

    fn is_expected(&mut self, flow: &Flow) -> bool {
        let subject = Subject {
            key: &flow.key,
            owner: &flow.owner,
            counters: &flow.counters,
            internal: flow.internal,
            class: flow.class,
            zone: flow.zone.as_deref(),
            dns_name: flow.dns_name.as_ref().map(|dns| &*dns.name),
            elapsed: self.elapsed,
        };
        self.unmatched
            .iter_mut()
            .any(|line| !line.matches(&subject))
    }
}
