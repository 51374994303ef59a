//! Owners of flows: facts that the kernel recorded when a process moved bytes take precedence over
//! `/proc`, where another process may have its PID now.

use std::sync::Arc;
use std::time::SystemTime;

use crate::model::flow::Owner;
use crate::resolve::owners::{Owners, Process, SharedLocation, parse_path};
use crate::stats::history::FlowStats;

/// A process at a time.
#[derive(Clone, Copy, Debug)]
pub struct ProcessRef<'a> {
    pub tgid: u32,
    /// The process as the kernel recorded it.
    pub owner: &'a Owner,
    /// When it last moved bytes.
    pub when: SystemTime,
}

impl<'a> ProcessRef<'a> {
    /// Returns the process of a flow.
    pub fn of(flow: &'a FlowStats) -> Self {
        Self {
            tgid: flow.key.tgid,
            owner: &flow.owner,
            when: flow.traffic.last_seen(),
        }
    }
}

/// Look-ups of facts that flows do not hold, for grouping and sorting. Called only if a grouping or
/// order needs them.
pub trait ProcessLookup {
    /// Returns the facts of `/proc` about a process, if they are known now.
    fn process(&self, process_ref: &ProcessRef<'_>) -> Option<Arc<Process>>;

    /// Returns the name of a user.
    fn user_name(&self, uid: u32) -> Option<Arc<str>>;

    /// Returns the meaning of an owner's cgroup path: container, pod and unit.
    fn located(&self, owner: &Owner) -> Option<Arc<SharedLocation>> {
        let location = parse_path(owner.cgroup.as_ref()?).labelled(owner.labels.as_ref());
        Some(Arc::new(SharedLocation::from(&location)))
    }

    /// Returns where a process runs, if that is known.
    fn location(&self, process_ref: &ProcessRef<'_>) -> Option<Arc<SharedLocation>> {
        if let Some(located) = self.located(process_ref.owner) {
            return Some(located);
        }
        let process = self.process(process_ref)?;
        process.cgroup.as_ref()?;
        Some(Arc::new(SharedLocation::from(&process.location)))
    }

    /// Returns the user id of a process: the real one by the kernel, else the effective one by
    /// `/proc`.
    fn uid(&self, process_ref: &ProcessRef<'_>) -> Option<u32> {
        process_ref
            .owner
            .uid
            .or_else(|| Some(self.process(process_ref)?.uid))
    }

    /// Returns the name of that user.
    fn user(&self, process_ref: &ProcessRef<'_>) -> Option<Arc<str>> {
        match process_ref.owner.uid {
            Some(uid) => self.user_name(uid),
            None => self.process(process_ref)?.user.clone(),
        }
    }

    /// Returns the container, pod or unit of a process in short form.
    fn short_location(&self, process_ref: &ProcessRef<'_>) -> Option<Arc<str>> {
        match self.located(process_ref.owner) {
            Some(located) => located.name.clone(),
            None => self.process(process_ref)?.location_name.clone(),
        }
    }
}

/// Looks nothing up: only the facts that flows hold are known.
impl ProcessLookup for () {
    fn process(&self, _: &ProcessRef<'_>) -> Option<Arc<Process>> {
        None
    }

    fn user_name(&self, _: u32) -> Option<Arc<str>> {
        None
    }
}

impl ProcessLookup for Owners {
    fn process(&self, process_ref: &ProcessRef<'_>) -> Option<Arc<Process>> {
        match process_ref.owner.start {
            Some(start) => self.get_started(process_ref.tgid, start),
            None => self.get_at(process_ref.tgid, process_ref.when),
        }
    }

    fn user_name(&self, uid: u32) -> Option<Arc<str>> {
        Self::user_name(self, uid)
    }

    fn located(&self, owner: &Owner) -> Option<Arc<SharedLocation>> {
        let cgroup = owner.cgroup.as_ref()?;
        Some(Self::located(self, cgroup, owner.labels.as_ref()))
    }
}
