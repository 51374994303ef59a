//! Turns process ids of shown rows into facts: command line, program, user, parent, start,
//! container or unit. In the background, cached, and kept after the process has exited; a look-up
//! never waits.
//!
//! A number that was given to another process is noticed by its start time: facts are looked at
//! again every [`FRESH_FOR`] while they are shown, and those of the process before are kept beside
//! the new ones, so that a flow that ended is not given to a stranger.
//!
//! What the kernel itself recorded of a process (user id, cgroup) is turned into names here too,
//! without asking `/proc`: those of processes that were gone before anyone could look.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};

pub use super::cgroup::{
    CgroupLocation, Container, ContainerMembership, Delegate, Runtime, SharedLocation, parse_path,
};
pub use super::processes::Process;
pub use super::sockets::open_sockets;
pub use super::users::users;

use super::background_cache::BackgroundCache;
use super::cgroup;
use super::namespace;
use super::netns::NetnsNames;
pub use super::netns::netns_number;
use super::processes::ProcessReader;
use super::users::{UserNames, Users};

use crate::model::container::ContainerLabels;
use crate::model::flow::Owner;
use crate::sync::lock;

/// Most processes that wait for a look-up; further ones are requested again when they are next
/// shown.
const QUEUE: usize = 1024;
/// Most processes whose facts are kept.
const CACHE: usize = 16_384;
/// Most cgroups whose parsed paths are kept.
const MAX_LOCATIONS: usize = 4096;
/// Age after which facts are looked up again at the next request.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// Tolerance of start times, which are in units of 10 ms and computed from two clocks.
const SLACK: Duration = Duration::from_secs(1);

/// Locations by cgroup path.
type Locations = HashMap<Arc<str>, Arc<SharedLocation>>;

/// Facts about processes by id.
#[derive(Debug, Default)]
pub struct Owners {
    background: Option<OwnerQueue>,
    users: UserNames,
    netns: NetnsNames,
    locations: Mutex<Locations>,
    /// Whether `/proc` finds every process by the id that flows have.
    sees_all: bool,
}

#[derive(Debug)]
struct OwnerQueue {
    cache: Arc<Mutex<ProcessCache>>,
    queue: SyncSender<u32>,
}

impl Owners {
    /// Looks nothing up: only facts that the question itself holds are known.
    pub fn disabled() -> Self {
        Self::default()
    }

    /// Knows the users of `/etc/passwd`, and of processes only what the question holds: for output
    /// that waits for nothing.
    pub fn passwd_only() -> Self {
        let mut users = Users::new("/etc/passwd");
        users.refresh();
        Self {
            users: users.names(),
            netns: NetnsNames::system(),
            ..Self::default()
        }
    }

    /// Looks facts up in `/proc` and `/etc/passwd`. `notify` is called from a background thread
    /// after facts were found or have changed.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn system(notify: impl Fn() + Send + 'static) -> Result<Self> {
        let mut reader = ProcessReader::new("/proc", "/etc/passwd");
        let users = reader.user_names();
        let owners = Self::with(move |tgid| reader.read(tgid), notify)?;
        let netns = NetnsNames::system();
        Ok(Self {
            users,
            netns,
            sees_all: namespace::own_tgid().is_some(),
            ..owners
        })
    }

    /// Looks facts up by any function, which may take as long as it likes.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn with(
        mut read_process: impl FnMut(u32) -> Option<Process> + Send + 'static,
        notify: impl Fn() + Send + 'static,
    ) -> Result<Self> {
        let cache = Arc::new(Mutex::new(ProcessCache::new(CACHE)));
        let (queue, waiting) = sync_channel(QUEUE);
        let shared = Arc::clone(&cache);
        thread::Builder::new()
            .name("owners".to_owned())
            .spawn(move || work(&waiting, &shared, &mut read_process, &notify))
            .context("start a thread for facts about processes")?;
        Ok(Self {
            background: Some(OwnerQueue { cache, queue }),
            sees_all: true,
            ..Self::default()
        })
    }

    /// Returns the known facts of the process that has this id, or had it last. Looks them up in
    /// the background if they are unknown or older than [`FRESH_FOR`].
    pub fn get(&self, tgid: u32) -> Option<Arc<Process>> {
        self.known(tgid)?.current
    }

    /// Returns the known facts of the process that had this id at `when`: an ended flow passes the
    /// time of its last bytes.
    pub fn get_at(&self, tgid: u32, when: SystemTime) -> Option<Arc<Process>> {
        let known = self.known(tgid)?;
        let was = |process: &Arc<Process>| process.started <= when + SLACK;
        known.current.filter(was).or(known.before.filter(was))
    }

    /// Returns the known facts of the process with this id that started this long after boot
    /// (CLOCK_BOOTTIME), as the kernel recorded it: no other process is meant, whenever it ran.
    pub fn get_started(&self, tgid: u32, start: Duration) -> Option<Arc<Process>> {
        let is_it = |process: &Arc<Process>| process.started_at(start);
        let known = self.known(tgid)?;
        if let Some(current) = &known.current
            && !current.exited
            && current.started_before(start)
        {
            // The id belongs to another process already, so the facts need not become stale first.
            self.refresh_now(tgid);
        }
        known.current.filter(is_it).or(known.before.filter(is_it))
    }

    /// Whether a look-up found no process with this id, as for one that exited before. Unknown in a
    /// pid namespace other than the initial one, whose `/proc` has other ids.
    pub fn is_gone(&self, tgid: u32) -> bool {
        self.sees_all && self.known(tgid).is_some_and(|known| known.is_gone)
    }

    /// Returns the name of a user, if it is known now.
    pub fn user_name(&self, uid: u32) -> Option<Arc<str>> {
        self.users.get(uid)
    }

    /// Returns the name of a network namespace of this machine, if it has one.
    pub fn netns_name(&self, inode: u32) -> Option<Arc<str>> {
        self.netns.get(inode)
    }

    /// Takes a user's name from a recording in place of the known one. For [`Owners::disabled`],
    /// which looks nothing up.
    pub fn learn_user(&self, uid: u32, name: Arc<str>) {
        self.users.put(uid, name);
    }

    /// Takes a network namespace's name from a recording.
    pub fn learn_netns(&self, inode: u32, name: Arc<str>) {
        self.netns.put(inode, name);
    }

    /// Returns the meaning of a cgroup path with the names of its container, without a look-up.
    pub fn located(
        &self,
        cgroup: &Arc<str>,
        labels: Option<&Arc<ContainerLabels>>,
    ) -> Arc<SharedLocation> {
        let mut locations = lock(&self.locations);
        if let Some(known) = locations.get(cgroup)
            && known.whole.labels.0.as_ref() == labels
        {
            return Arc::clone(known);
        }
        if locations.len() >= MAX_LOCATIONS {
            locations.clear();
        }
        let location = cgroup::parse_path(cgroup).labelled(labels);
        let located = Arc::new(SharedLocation::from(&location));
        locations.insert(Arc::clone(cgroup), Arc::clone(&located));
        located
    }

    /// Returns the location of an owner in short form, as in `docker:web`, `docker:0123456789ab` or
    /// `nginx.service`.
    pub fn location_name(&self, owner: &Owner) -> Option<Arc<str>> {
        let cgroup = owner.cgroup.as_ref()?;
        self.located(cgroup, owner.labels.as_ref()).name.clone()
    }

    fn known(&self, tgid: u32) -> Option<KnownProcesses> {
        let queue = self.background.as_ref()?;
        let mut cache = lock(&queue.cache);
        let (known, is_due) = cache.get(tgid, Instant::now());
        if is_due {
            queue.request(tgid, &mut cache);
        }
        Some(known)
    }

    /// Looks the facts up again now, unless a look-up is in progress.
    fn refresh_now(&self, tgid: u32) {
        if let Some(queue) = &self.background {
            let mut cache = lock(&queue.cache);
            if cache.refresh_now(tgid) {
                queue.request(tgid, &mut cache);
            }
        }
    }
}

impl OwnerQueue {
    fn request(&self, tgid: u32, cache: &mut ProcessCache) {
        if self.queue.try_send(tgid).is_err() {
            cache.request_dropped(tgid, Instant::now());
        }
    }
}

fn work(
    waiting: &Receiver<u32>,
    cache: &Mutex<ProcessCache>,
    read: &mut dyn FnMut(u32) -> Option<Process>,
    notify: &dyn Fn(),
) {
    while let Ok(tgid) = waiting.recv() {
        let process = read(tgid);
        let changed = store(&mut lock(cache), tgid, process, Instant::now());
        if changed {
            notify();
        }
    }
}

/// Whether nothing has changed except the computed start, which differs by nanoseconds.
fn is_same(old: &Process, new: &Process) -> bool {
    let started = new.started;
    old.start_ticks == new.start_ticks
        && *new
            == Process {
                started,
                ..Process::clone(old)
            }
}

/// The process that has an id, and the one that had it before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct KnownProcesses {
    current: Option<Arc<Process>>,
    before: Option<Arc<Process>>,
    /// Whether the latest look-up found no process.
    is_gone: bool,
}

impl KnownProcesses {
    /// Stores the result of a look-up; returns whether anything has changed.
    fn update(&mut self, found: Option<Process>) -> bool {
        self.is_gone = found.is_none();
        let next = match (&self.current, found) {
            (Some(old), Some(new)) if is_same(old, &new) => return false,
            (Some(old), Some(new)) => {
                if old.start_ticks != new.start_ticks {
                    let exited = true;
                    self.before = Some(Arc::new(Process {
                        exited,
                        ..Process::clone(old)
                    }));
                }
                new
            }
            (None, Some(new)) => new,
            (Some(old), None) if !old.exited => Process {
                exited: true,
                ..Process::clone(old)
            },
            (_, None) => return false,
        };
        self.current = Some(Arc::new(next));
        true
    }
}

/// Facts by process id (tgid).
type ProcessCache = BackgroundCache<u32, KnownProcesses>;

/// Stores the facts of a process; returns whether anything has changed.
fn store(cache: &mut ProcessCache, tgid: u32, found: Option<Process>, now: Instant) -> bool {
    let known = cache.store(tgid, now + FRESH_FOR);
    known.is_some_and(|known| known.update(found))
}
