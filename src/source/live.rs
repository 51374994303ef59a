//! The running kernel as a source of intervals.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Source;
use super::filtered::retain_matching;
use super::internal::InternalFlows;
use super::own_addresses::OwnAddresses;
use crate::filter::Matcher;
use crate::kernel::Engine;
use crate::model::interval::{Interval, Machine, Method};
use crate::options::{Backend, CaptureOptions};
use crate::resolve::containers::ContainerNames;
use crate::resolve::dns_names::DnsNames;
use crate::resolve::interfaces::counters::NetworkCards;
use crate::sandbox::capabilities::CapabilitySet;
use crate::sandbox::privilege::Identity;
use crate::sandbox::{self, Allow, Confinement};

/// Counts on this machine.
pub struct Live {
    engine: Engine,
    /// The whole filter, if the kernel could not take its part.
    matcher: Option<Matcher>,
    internal: InternalFlows,
    own: OwnAddresses,
    containers: ContainerNames,
    dns_names: DnsNames,
    cards: NetworkCards,
    options: CaptureOptions,
    /// Whether flowtop has dropped the privileges that another backend would need.
    confined: bool,
}

impl Live {
    /// Loads and attaches everything. Call it before other threads start.
    ///
    /// # Errors
    /// A sentence with the cause and the fix.
    pub fn open(options: &CaptureOptions) -> Result<Self> {
        let engine = Engine::open(options)?;
        Ok(Self {
            matcher: matcher(&engine, options),
            engine,
            internal: InternalFlows::default(),
            own: OwnAddresses::read(),
            containers: ContainerNames::start(),
            dns_names: DnsNames::default(),
            cards: NetworkCards::open(),
            options: options.clone(),
            confined: false,
        })
    }

    /// Starts the first interval; no interval has what was counted before.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn begin(&mut self) -> Result<()> {
        self.engine.begin().context("start the first interval")?;
        self.cards.since_last();
        Ok(())
    }

    /// Becomes `identity` and gives up all privileges but those that counting needs. From now on
    /// the backend stays what it is: to attach another takes what is given up here.
    ///
    /// # Errors
    /// When there are other threads, or the kernel does not count any more.
    pub fn confine(&mut self, identity: &Identity, allow: &Allow) -> Result<Confinement> {
        let engine = &mut self.engine;
        // Before 5.19 every bpf() call needs CAP_BPF, or CAP_SYS_ADMIN before there was CAP_BPF.
        let last = [CapabilitySet::BPF, CapabilitySet::SYS_ADMIN];
        let confinement = sandbox::confine(identity, allow, &last, || engine.try_access())?;
        self.confined = true;
        Ok(confinement)
    }

    /// Whether user space decides all of the filter because the kernel could not take its part.
    pub const fn is_unfiltered(&self) -> bool {
        self.engine.is_unfiltered()
    }

    pub fn method(&self) -> Arc<Method> {
        Arc::clone(self.engine.method())
    }

    /// Adds to the reason that this backend missed events and stays, and what to do.
    fn stay_after_misses(&mut self, exact: Backend) {
        let (missing, exact) = (self.engine.backend().as_str(), exact.as_str());
        let why = match self.confined {
            true => format!("the privileges to move to {exact} are given up"),
            false => format!("a tree of processes cannot move to {exact}"),
        };
        self.engine.set_reason(&format!(
            "{missing} missed events on this kernel, and {why}: start flowtop again with --backend {exact}",
        ));
    }

    /// Moves from a backend that missed events to one that does not, if there is one, and adds to
    /// `interval` what the old one counts until the new one stands. The moment between the two
    /// readings is the last that is missed.
    fn move_after_misses(&mut self, exact: Backend, interval: &mut Interval) -> Result<()> {
        let missing = self.engine.backend().as_str();
        let options = CaptureOptions {
            backend: Some(exact),
            ..self.options.clone()
        };
        if let Ok(mut engine) = Engine::open(&options) {
            engine.set_reason(&format!("{missing} missed events on this kernel"));
            interval.merge(self.matching_interval()?);
            engine.begin()?;
            self.matcher = matcher(&engine, &self.options);
            self.engine = engine;
        }
        Ok(())
    }

    /// Returns the engine's interval with the flows that match the filter.
    fn matching_interval(&mut self) -> Result<Interval> {
        let mut interval = self.engine.end_interval()?;
        interval.interfaces = self.cards.since_last();
        // Before the filter, which may drop one end of a connection.
        self.internal.mark(&mut interval.flows);
        self.own.mark(&mut interval.flows);
        if let Some(zones) = &self.options.zones {
            zones.mark(&mut interval.flows);
        }
        // Before the filter as well, and early enough for a recording to have the names.
        self.containers.label(&mut interval.flows);
        if self.options.dns_names {
            let answers = self.engine.take_answers()?;
            self.dns_names
                .label(answers, &mut interval.flows, Instant::now());
        }
        if let Some(matcher) = &mut self.matcher {
            retain_matching(matcher, &mut interval);
        }
        Ok(interval)
    }
}

/// Returns the whole filter if the programs do not decide their part of it.
fn matcher(engine: &Engine, options: &CaptureOptions) -> Option<Matcher> {
    let filter = options.filter.filter.as_ref();
    filter.filter(|_| engine.is_unfiltered()).map(Matcher::new)
}

/// Returns the backend to use after this one missed events; `None` if this one runs with preemption
/// off on every kernel.
const fn exact_instead_of(backend: Backend) -> Option<Backend> {
    match backend {
        Backend::RawTracepoint => Some(Backend::Tracepoint),
        Backend::Fentry => Some(Backend::Kprobe),
        Backend::Tracepoint | Backend::Kprobe => None,
    }
}

impl Source for Live {
    fn settle(&mut self) -> Result<()> {
        let settled = self.engine.settle();
        settled.with_context(|| match self.confined {
            true => "go on without privileges (--no-sandbox keeps them)",
            false => "start the first interval",
        })
    }

    fn end_interval(&mut self) -> Result<Interval> {
        let mut interval = self.matching_interval()?;
        let missed = interval.losses.missed_events > 0;
        // A new backend would not find descendants whose parents have ended.
        let can_move = !self.confined && self.options.filter.roots().is_empty();
        if missed
            && self.options.backend.is_none()
            && let Some(exact) = exact_instead_of(self.engine.backend())
        {
            if can_move {
                self.move_after_misses(exact, &mut interval)?;
            } else {
                self.stay_after_misses(exact);
                interval.method = self.method();
            }
        }
        Ok(interval)
    }
}

/// Returns the facts about this machine that are known from the start.
pub fn machine() -> Machine {
    let name = rustix::system::uname();
    let uptime = rustix::system::sysinfo().uptime;
    Machine {
        host: name.nodename().to_string_lossy().into_owned(),
        kernel: name.release().to_string_lossy().into_owned(),
        uptime: Duration::from_secs(u64::try_from(uptime).unwrap_or(0)),
    }
}
