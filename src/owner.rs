//! Turns process ids of shown rows into facts: command line, program, user, parent, start, container
//! or unit. In the background, cached, and kept after the process has gone; asking never waits.
//!
//! A number that was given to another process is noticed by its start time: facts are looked at
//! again every [`FRESH_FOR`] while they are asked for, and those of the process before are kept beside
//! the new ones, so that a flow that ended is not given to a stranger.

mod cgroup;
mod process;
#[cfg(test)]
mod tests;
mod users;

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};

pub use self::cgroup::{Container, Place, Runtime, place};
pub use self::process::Process;

use self::process::Reader;

/// Processes waiting to be looked at; more are asked for again when they are next shown.
const QUEUE: usize = 1024;
/// Processes remembered.
const CACHE: usize = 16_384;
/// After this facts are looked at again, if someone still asks for them.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// Start times are of 10 ms, and reckoned from two clocks.
const SLACK: Duration = Duration::from_secs(1);

/// Facts about processes, by their number.
#[derive(Debug, Default)]
pub struct Owners {
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    cache: Arc<Mutex<Cache>>,
    queue: SyncSender<u32>,
}

impl Owners {
    /// No facts: every answer is `None`.
    pub fn off() -> Self {
        Self::default()
    }

    /// Facts from `/proc` and `/etc/passwd`. `notify` is called from a background thread after
    /// facts were found or have changed.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn system(notify: impl Fn() + Send + 'static) -> Result<Self> {
        let mut reader = Reader::new("/proc", "/etc/passwd");
        Self::with(move |tgid| reader.read(tgid), notify)
    }

    /// Facts from any function; it may take as long as it wants.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn with(
        mut look: impl FnMut(u32) -> Option<Process> + Send + 'static,
        notify: impl Fn() + Send + 'static,
    ) -> Result<Self> {
        let cache = Arc::new(Mutex::new(Cache::default()));
        let (queue, waiting) = sync_channel(QUEUE);
        let shared = Arc::clone(&cache);
        thread::Builder::new()
            .name("owners".to_owned())
            .spawn(move || work(&waiting, &shared, &mut look, &notify))
            .context("start a thread for facts about processes")?;
        Ok(Self {
            asked: Some(Asked { cache, queue }),
        })
    }

    /// What is known now of the process that has this number, or had it last; looked up in the
    /// background if it is not known, or not looked at for [`FRESH_FOR`].
    pub fn get(&self, tgid: u32) -> Option<Arc<Process>> {
        self.look(tgid)?.current
    }

    /// The same, of the process that had this number at `when`: an ended flow is asked for by the
    /// time of its last bytes.
    pub fn get_at(&self, tgid: u32, when: SystemTime) -> Option<Arc<Process>> {
        let known = self.look(tgid)?;
        let was = |process: &Arc<Process>| process.started <= when + SLACK;
        known.current.filter(was).or(known.before.filter(was))
    }

    fn look(&self, tgid: u32) -> Option<Known> {
        let asked = self.asked.as_ref()?;
        let mut cache = lock(&asked.cache);
        let (known, ask) = cache.look(tgid, Instant::now());
        if ask && asked.queue.try_send(tgid).is_err() {
            cache.forget(tgid);
        }
        Some(known)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panicking holder left is at worst a fact missing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(
    waiting: &Receiver<u32>,
    cache: &Mutex<Cache>,
    look: &mut dyn FnMut(u32) -> Option<Process>,
    notify: &dyn Fn(),
) {
    while let Ok(tgid) = waiting.recv() {
        let process = look(tgid);
        let changed = lock(cache).store(tgid, process, Instant::now());
        if changed {
            notify();
        }
    }
}

/// Whether nothing has changed but the reckoning of when it started, which differs by nanoseconds.
fn is_same(old: &Process, new: &Process) -> bool {
    let started = new.started;
    old.start_ticks == new.start_ticks
        && *new
            == Process {
                started,
                ..Process::clone(old)
            }
}

/// The process that has a number, and the one that had it before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    current: Option<Arc<Process>>,
    before: Option<Arc<Process>>,
}

#[derive(Debug)]
struct Entry {
    known: Known,
    /// When to look again; `None` while that is under way.
    look_again: Option<Instant>,
    used: u64,
}

#[derive(Debug, Default)]
struct Cache {
    entries: HashMap<u32, Entry>,
    /// Counts questions, for finding what was not asked for longest.
    clock: u64,
}

impl Cache {
    /// What is known, and whether to look now.
    fn look(&mut self, tgid: u32, now: Instant) -> (Known, bool) {
        self.clock += 1;
        if let Some(entry) = self.entries.get_mut(&tgid) {
            entry.used = self.clock;
            let ask = entry.look_again.is_some_and(|when| when <= now);
            if ask {
                entry.look_again = None;
            }
            return (entry.known.clone(), ask);
        }
        if self.entries.len() >= CACHE {
            self.drop_oldest();
        }
        let entry = Entry {
            known: Known::default(),
            look_again: None,
            used: self.clock,
        };
        self.entries.insert(tgid, entry);
        (Known::default(), true)
    }

    /// What was found; whether that is news.
    fn store(&mut self, tgid: u32, found: Option<Process>, now: Instant) -> bool {
        // Dropped meanwhile means: not asked for, for long.
        let Some(entry) = self.entries.get_mut(&tgid) else {
            return false;
        };
        entry.look_again = Some(now + FRESH_FOR);
        let known = &mut entry.known;
        let next = match (&known.current, found) {
            (Some(old), Some(new)) if is_same(old, &new) => return false,
            (Some(old), Some(new)) => {
                if old.start_ticks != new.start_ticks {
                    let exited = true;
                    known.before = Some(Arc::new(Process {
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
        known.current = Some(Arc::new(next));
        true
    }

    /// The question could not be asked: as if it had not been tried.
    fn forget(&mut self, tgid: u32) {
        if let Some(entry) = self.entries.get_mut(&tgid) {
            if entry.known.current.is_none() {
                self.entries.remove(&tgid);
            } else {
                entry.look_again = Some(Instant::now());
            }
        }
    }

    /// A quarter goes at once, so that the scan is rare.
    fn drop_oldest(&mut self) {
        let mut used: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        used.sort_unstable();
        let limit = used[used.len() / 4];
        self.entries.retain(|_, entry| entry.used > limit);
    }
}
