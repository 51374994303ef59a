//! Turns addresses of shown flows into host names, in the background. Asking never waits: a name
//! appears once a look-up has found it. Knows nothing of flows' bytes, the kernel or drawing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::flow::Endpoint;

/// Look-ups under way at once: one slow name server must not hold up every other name.
const WORKERS: usize = 4;
/// Addresses waiting for a worker; more are asked for again when they are next shown.
const QUEUE: usize = 256;
/// Addresses remembered.
const CACHE: usize = 4096;
/// How long a name is good.
const FOUND_FOR: Duration = Duration::from_secs(3600);
/// How long an address without a name is not asked for again.
const MISSING_FOR: Duration = Duration::from_secs(300);

/// Host names by address.
#[derive(Debug, Default)]
pub struct Names {
    resolver: Option<Resolver>,
}

#[derive(Debug)]
struct Resolver {
    cache: Arc<Mutex<Cache>>,
    queue: SyncSender<IpAddr>,
}

/// What is written for an endpoint: host and port apart, so that a narrow column can shorten the
/// one and keep the other. Not sanitized: a host name is what some name server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Host name or address; IPv6 in brackets; `*` where unknown.
    pub host: String,
    /// `:port`, or nothing where unknown.
    pub port: String,
}

impl Names {
    /// No names: every label is an address.
    pub fn off() -> Self {
        Self::default()
    }

    /// Names from the system's resolver. `notify` is called from a background thread after a name
    /// was found.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn system(notify: impl Fn() + Send + Sync + 'static) -> Result<Self> {
        Self::with(system_lookup, notify)
    }

    /// Names from any function; it may take as long as it wants.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn with(
        lookup: impl Fn(IpAddr) -> Option<String> + Send + Sync + 'static,
        notify: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self> {
        let cache = Arc::new(Mutex::new(Cache::default()));
        let (queue, waiting) = sync_channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        let lookup = Arc::new(lookup);
        let notify = Arc::new(notify);
        for i in 0..WORKERS {
            let cache = Arc::clone(&cache);
            let waiting = Arc::clone(&waiting);
            let lookup = Arc::clone(&lookup);
            let notify = Arc::clone(&notify);
            thread::Builder::new()
                .name(format!("names-{i}"))
                .spawn(move || work(&waiting, &cache, &*lookup, &*notify))
                .context("start a thread for host names")?;
        }
        Ok(Self {
            resolver: Some(Resolver { cache, queue }),
        })
    }

    /// The name of an address if it is known now; asks for it in the background if not.
    pub fn get(&self, addr: IpAddr) -> Option<Arc<str>> {
        let resolver = self.resolver.as_ref()?;
        if addr.is_unspecified() {
            return None;
        }
        let mut cache = lock(&resolver.cache);
        let (name, ask) = cache.look(addr, Instant::now());
        if ask && resolver.queue.try_send(addr).is_err() {
            cache.forget(addr);
        }
        name
    }

    /// How an endpoint is written: with its host name where that is known now.
    pub fn label(&self, end: &Endpoint) -> Label {
        if end.is_unknown() {
            return Label {
                host: "*".to_owned(),
                port: String::new(),
            };
        }
        let host = match (self.get(end.addr), end.addr) {
            (Some(name), _) => name.to_string(),
            (None, IpAddr::V4(addr)) => addr.to_string(),
            (None, IpAddr::V6(addr)) => format!("[{addr}]"),
        };
        Label {
            host,
            port: format!(":{}", end.port),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panicking holder left is at worst a name missing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(
    waiting: &Mutex<Receiver<IpAddr>>,
    cache: &Mutex<Cache>,
    lookup: &dyn Fn(IpAddr) -> Option<String>,
    notify: &dyn Fn(),
) {
    loop {
        // Its own statement, so that the lock is free again during the look-up.
        let next = lock(waiting).recv();
        let Ok(addr) = next else {
            return;
        };
        let name = lookup(addr).map(Arc::from);
        let found = name.is_some();
        lock(cache).store(addr, name, Instant::now());
        if found {
            notify();
        }
    }
}

/// PTR by way of the system's configuration: hosts file, DNS, whatever nsswitch names.
fn system_lookup(addr: IpAddr) -> Option<String> {
    let name = dns_lookup::lookup_addr(&addr).ok()?;
    let name = name.trim_end_matches('.');
    // Without a name the resolver gives the address back, as text.
    (!name.is_empty() && name.parse::<IpAddr>().is_err()).then(|| name.to_owned())
}

#[derive(Debug, Default)]
struct Cache {
    entries: HashMap<IpAddr, Entry>,
    /// Counts looks, for finding what was not looked at for longest.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    name: Option<Arc<str>>,
    /// When to ask again; `None` while a look-up is under way.
    expires: Option<Instant>,
    used: u64,
}

impl Cache {
    /// What is known, and whether to ask now. An expired name stands until the new one is there.
    fn look(&mut self, addr: IpAddr, now: Instant) -> (Option<Arc<str>>, bool) {
        self.clock += 1;
        if let Some(entry) = self.entries.get_mut(&addr) {
            entry.used = self.clock;
            let ask = entry.expires.is_some_and(|expires| expires <= now);
            if ask {
                entry.expires = None;
            }
            return (entry.name.clone(), ask);
        }
        if self.entries.len() >= CACHE {
            self.drop_oldest();
        }
        let entry = Entry {
            name: None,
            expires: None,
            used: self.clock,
        };
        self.entries.insert(addr, entry);
        (None, true)
    }

    fn store(&mut self, addr: IpAddr, name: Option<Arc<str>>, now: Instant) {
        // Dropped meanwhile means: not shown for long.
        if let Some(entry) = self.entries.get_mut(&addr) {
            let good_for = if name.is_some() {
                FOUND_FOR
            } else {
                MISSING_FOR
            };
            entry.expires = Some(now + good_for);
            entry.name = name;
        }
    }

    /// The question could not be asked: as if it had not been tried.
    fn forget(&mut self, addr: IpAddr) {
        self.entries.remove(&addr);
    }

    /// A quarter goes at once, so that the scan is rare.
    fn drop_oldest(&mut self) {
        let mut used: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        used.sort_unstable();
        let limit = used[used.len() / 4];
        self.entries.retain(|_, entry| entry.used > limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::mpsc::channel;

    fn addr(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n))
    }

    #[test]
    fn a_name_appears_when_it_is_there_and_asking_does_not_wait() {
        let (release, gate) = channel::<()>();
        let (told, tidings) = channel();
        let gate = Mutex::new(gate);
        let names = Names::with(
            move |_| {
                let _ = lock(&gate).recv();
                Some("web.example".to_owned())
            },
            move || {
                let _ = told.send(());
            },
        )
        .unwrap();
        let end = Endpoint::new(addr(5), 443);
        // The look-up hangs until released: were asking to wait, this would never return.
        assert_eq!(names.label(&end).host, "10.0.0.5");
        assert_eq!(names.label(&end).host, "10.0.0.5");
        release.send(()).unwrap();
        tidings.recv().unwrap();
        assert_eq!(
            names.label(&end),
            Label {
                host: "web.example".into(),
                port: ":443".into()
            }
        );
    }

    #[test]
    fn an_address_is_asked_for_once() {
        let mut cache = Cache::default();
        let now = Instant::now();
        assert_eq!(cache.look(addr(1), now), (None, true));
        assert_eq!(cache.look(addr(1), now), (None, false));
        cache.store(addr(1), None, now);
        assert_eq!(cache.look(addr(1), now), (None, false));
        assert_eq!(cache.look(addr(1), now + MISSING_FOR), (None, true));
    }

    #[test]
    fn an_expired_name_stands_until_the_new_one_is_there() {
        let mut cache = Cache::default();
        let now = Instant::now();
        cache.look(addr(1), now);
        cache.store(addr(1), Some("old".into()), now);
        assert_eq!(
            cache.look(addr(1), now + FOUND_FOR),
            (Some("old".into()), true)
        );
        cache.store(addr(1), Some("new".into()), now + FOUND_FOR);
        assert_eq!(cache.look(addr(1), now + FOUND_FOR).0, Some("new".into()));
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_looked_at() {
        let mut cache = Cache::default();
        let now = Instant::now();
        for n in 1..=3 * CACHE as u32 {
            cache.look(addr(n), now);
            cache.look(addr(1), now);
            assert!(cache.entries.len() <= CACHE);
        }
        assert!(cache.entries.contains_key(&addr(1)));
    }

    #[test]
    fn without_names_labels_are_addresses() {
        let names = Names::off();
        let label = |text: &str, port| {
            let label = names.label(&Endpoint::new(text.parse().unwrap(), port));
            label.host + &label.port
        };
        assert_eq!(label("192.0.2.1", 80), "192.0.2.1:80");
        assert_eq!(label("2001:db8::1", 80), "[2001:db8::1]:80");
        assert_eq!(label("0.0.0.0", 0), "*");
        assert_eq!(label("0.0.0.0", 53), "0.0.0.0:53");
    }
}
