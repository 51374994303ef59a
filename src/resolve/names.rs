//! Turns addresses of shown flows into host names, in the background, and ports into names of
//! services. Asking never waits: a name appears once a look-up has found it. Knows nothing of
//! flows' bytes, the kernel or drawing.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub use super::services::Services;

use super::name_cache::{LookupOutcome, LookupResult, NameCache, NameQuestion};
use super::system::System;
use crate::model::dns::DnsName;
use crate::model::flow::{Endpoint, Protocol, Zone};
use crate::resolve::interfaces::Interfaces;
use crate::resolve::namespace;
use crate::sync::lock;

/// Look-ups under way at once: some slow name servers must not hold up every other name.
const WORKERS: usize = 8;
/// Addresses waiting for a worker; those beyond are requested again when they are next shown.
const QUEUE: usize = 256;
/// Validity of a name from a source that gives no TTL.
const DEFAULT_TTL: Duration = Duration::from_secs(300);

/// Host names by address, and names of services by port.
#[derive(Debug, Default)]
pub struct Names {
    resolver: Option<Resolver>,
    services: Services,
    /// Where names of hosts come from.
    hosts: HostNameSource,
    /// Process ids, as flows have them, of the flowtop whose look-ups are in the flows: this one's,
    /// where that is known, or those in a recording.
    own: Vec<u32>,
    /// Of the machine that flowtop runs on.
    interfaces: Option<Interfaces>,
}

/// Where names of hosts come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostNameSource {
    /// None: addresses stay. A recording may be of another machine than this `/etc/hosts`.
    Nowhere,
    /// `/etc/hosts` alone, but for loopback addresses: nothing leaves the machine.
    HostsFile,
    /// `/etc/hosts`, then name servers.
    #[default]
    Servers,
}

/// Most process ids of flowtops that are taken from recordings.
const MAX_OWN: usize = 1024;

#[derive(Debug)]
struct Resolver {
    cache: Arc<Mutex<NameCache>>,
    queue: SyncSender<NameQuestion>,
    pool: Pool,
}

/// Threads that look names up: one, and more while look-ups wait. Where a limit allows no more
/// (TasksMax of systemd, pids.max of a container), fewer look up at a time.
struct Pool {
    /// Counts a requested look-up; returns how many are open, give or take one that has just ended.
    open_lookups: Box<dyn Fn() -> isize + Send + Sync>,
    started: AtomicUsize,
    start: Box<dyn Fn(usize) -> io::Result<()> + Send + Sync>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}

impl Pool {
    fn add(&self) -> io::Result<()> {
        let number = self.started.load(Ordering::Relaxed);
        (self.start)(number)?;
        self.started.store(number + 1, Ordering::Relaxed);
        Ok(())
    }

    /// A look-up waits in the queue.
    fn request(&self) {
        let open = (self.open_lookups)();
        let started = self.started.load(Ordering::Relaxed);
        if open > started.cast_signed() && started < WORKERS {
            let _ = self.add();
        }
    }
}

/// What is written for an endpoint: host and port apart, so that a narrow column can shorten the
/// one and keep the other. Not sanitized: a host name comes from some name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Host name or address; IPv6 in brackets; `*` where unknown.
    pub host: String,
    /// `:port` or `:service`, printable ASCII; nothing where unknown.
    pub port: String,
    /// Whether the host is a name, whose right end is the most specific to a reader, and no
    /// address.
    pub is_name: bool,
}

impl Names {
    /// No names: every label is an address.
    pub fn disabled() -> Self {
        Self::default()
    }

    /// No names, but knows this process's own flows.
    pub fn own_flows_only() -> Self {
        Self {
            own: namespace::own_tgid().into_iter().collect(),
            interfaces: Some(Interfaces::default()),
            ..Self::default()
        }
    }

    /// The same names, for flows of a recording: no process of now has moved them.
    #[must_use]
    pub fn of_a_recording(self) -> Self {
        Self {
            own: Vec::new(),
            interfaces: None,
            ..self
        }
    }

    /// Takes from a recording which process it was recorded by.
    pub fn learn_own(&mut self, tgid: u32) {
        if !self.is_own(tgid) && self.own.len() < MAX_OWN {
            self.own.push(tgid);
        }
    }

    /// Names as the system has them: from `/etc/hosts`, the servers of `/etc/resolv.conf` and
    /// `/etc/services`. `notify` is called from a background thread after a name was found.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn system(notify: impl Fn() + Send + Sync + 'static) -> Result<Self> {
        let system = System::new();
        let names = Self::start(move |question| system.lookup(question), notify)?;
        Ok(names.with_services(Services::system()))
    }

    /// Names from any function; it may take as long as it wants.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn with(
        lookup: impl Fn(IpAddr) -> Option<String> + Send + Sync + 'static,
        notify: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self> {
        let answer = move |question: NameQuestion| LookupResult {
            outcome: lookup(question.addr).map_or(LookupOutcome::NoPtrRecord, LookupOutcome::Name),
            ttl: DEFAULT_TTL,
            generation: 0,
        };
        Self::start(answer, notify)
    }

    fn start(
        lookup: impl Fn(NameQuestion) -> LookupResult + Send + Sync + 'static,
        notify: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self> {
        let cache = Arc::new(Mutex::new(NameCache::default()));
        let (queue, waiting) = sync_channel(QUEUE);
        let shared = Arc::new((Mutex::new(waiting), lookup, notify, AtomicIsize::new(0)));
        let start = {
            let (cache, shared) = (Arc::clone(&cache), Arc::clone(&shared));
            move |number| {
                let (cache, shared) = (Arc::clone(&cache), Arc::clone(&shared));
                let worker = thread::Builder::new().name(format!("names-{number}"));
                let run = move || {
                    let (waiting, lookup, notify, open) = &*shared;
                    work(waiting, &cache, lookup, notify, open);
                };
                worker.spawn(run).map(drop)
            }
        };
        let pool = Pool {
            open_lookups: Box::new(move || shared.3.fetch_add(1, Ordering::Relaxed) + 1),
            started: AtomicUsize::new(0),
            start: Box::new(start),
        };
        pool.add().context("start a thread for host names")?;
        Ok(Self {
            resolver: Some(Resolver { cache, queue, pool }),
            services: Services::default(),
            hosts: HostNameSource::default(),
            own: namespace::own_tgid().into_iter().collect(),
            interfaces: Some(Interfaces::default()),
        })
    }

    /// Also resolves port numbers to names of services.
    #[must_use]
    pub fn with_services(self, services: Services) -> Self {
        Self { services, ..self }
    }

    /// Returns where names of hosts come from.
    pub const fn hosts(&self) -> HostNameSource {
        self.hosts
    }

    /// Decides where names of hosts come from.
    pub const fn set_hosts(&mut self, source: HostNameSource) {
        self.hosts = source;
    }

    /// Returns the name of an address if it is known now; otherwise requests it in the background.
    pub fn get(&self, addr: IpAddr) -> Option<Arc<str>> {
        let resolver = self.resolver.as_ref()?;
        let can_resolve = match self.hosts {
            HostNameSource::Nowhere => false,
            // `127.0.0.1` is more precise than the `localhost` of every such file.
            HostNameSource::HostsFile => !addr.is_loopback(),
            HostNameSource::Servers => true,
        };
        if addr.is_unspecified() || !can_resolve {
            return None;
        }
        let mut cache = lock(&resolver.cache);
        let now = Instant::now();
        let question = NameQuestion {
            addr,
            uses_servers: self.hosts == HostNameSource::Servers,
        };
        let (name, is_due) = cache.get(question, now);
        if is_due {
            match resolver.queue.try_send(question) {
                Ok(()) => resolver.pool.request(),
                Err(_) => cache.request_dropped(question, now),
            }
        }
        name
    }

    /// Returns the name of an address if it is known now, from name servers or from `/etc/hosts`;
    /// requests none.
    pub fn known(&self, addr: IpAddr) -> Option<Arc<str>> {
        let cache = lock(&self.resolver.as_ref()?.cache);
        [true, false]
            .into_iter()
            .find_map(|uses_servers| cache.known(NameQuestion { addr, uses_servers }))
    }

    /// What is served at one end of a flow, see [`Services::at`].
    pub fn service(
        &self,
        protocol: Protocol,
        end: &Endpoint,
        other: Option<&Endpoint>,
    ) -> Option<&str> {
        self.services.at(protocol, end, other)
    }

    /// Name of an interface of flowtop's own network namespace; `None` for one of another namespace
    /// or of a recording.
    pub fn interface(&self, zone: Zone) -> Option<Arc<str>> {
        self.interfaces.as_ref()?.name(zone)
    }

    /// Whether a flow with this process id is flowtop's own. It has no sockets but for look-ups, so
    /// it is one. Nothing is where the kernel's number of this process is not known: in a pid
    /// namespace other than the initial one.
    pub fn is_own(&self, tgid: u32) -> bool {
        self.own.contains(&tgid)
    }

    /// How an endpoint is written: with its host name where that is known now, and the name of a
    /// service in place of the port where one is given.
    pub fn label(&self, end: &Endpoint, service: Option<&str>) -> Label {
        let can_resolve = !(end.is_unknown() && end.zone == Zone::default());
        let host = can_resolve.then(|| self.get(end.addr)).flatten();
        self.written(end, host.as_deref(), service)
    }

    /// The same as [`Self::label`] with the name that the peer of a flow was resolved from, where
    /// that is known and names are shown. It takes precedence over the name from name servers.
    pub fn resolved_label(
        &self,
        end: &Endpoint,
        dns_name: Option<&DnsName>,
        service: Option<&str>,
    ) -> Label {
        match dns_name.filter(|_| self.resolver.is_some()) {
            Some(dns_name) => self.written(end, Some(&dns_name.marked()), service),
            None => self.label(end, service),
        }
    }

    /// Writes an endpoint with these names, or with numbers in place of those that are `None`.
    pub fn written(&self, end: &Endpoint, host: Option<&str>, service: Option<&str>) -> Label {
        if end.is_unknown() && end.zone == Zone::default() {
            return Label {
                host: "*".to_owned(),
                port: String::new(),
                is_name: false,
            };
        }
        let zone = match (self.interface(end.zone), end.zone.ifindex) {
            (_, 0) => String::new(),
            (Some(name), _) => format!("%{name}"),
            (None, ifindex) => format!("%{ifindex}"),
        };
        let is_name = host.is_some();
        let host = match (host, end.addr) {
            (Some(name), _) => format!("{name}{zone}"),
            // Bound to an interface and no address.
            (None, addr) if addr.is_unspecified() && !zone.is_empty() => format!("*{zone}"),
            (None, IpAddr::V4(addr)) => format!("{addr}{zone}"),
            (None, IpAddr::V6(addr)) => format!("[{addr}{zone}]"),
        };
        let port = match (service, end.port) {
            (Some(service), _) => format!(":{service}"),
            (None, 0) => String::new(),
            (None, port) => format!(":{port}"),
        };
        Label {
            host,
            port,
            is_name,
        }
    }
}

/// Words that stand for a host in rows: no host is called so.
const NO_NAMES: [&str; 4] = ["unknown", "other", "others", "untracked"];

/// Whether a name can be shown: one of no letter and digit, as `*`, or that is a word of flowtop's
/// own would be taken for a word of flowtop itself.
pub(super) fn is_shown(name: &str) -> bool {
    let bare = name.trim_matches(|c: char| c == '.' || c.is_whitespace());
    // DNS writes bytes as `\032`: these digits are no part of a name.
    let bytes = bare.split('\\').enumerate().map(|(n, part)| match n {
        0 => part,
        _ => part.trim_start_matches(|c: char| c.is_ascii_digit()),
    });
    let mut chars = bytes.flat_map(str::chars);
    chars.any(char::is_alphanumeric) && !NO_NAMES.contains(&bare.to_lowercase().as_str())
}

fn work(
    waiting: &Mutex<Receiver<NameQuestion>>,
    cache: &Mutex<NameCache>,
    lookup: &dyn Fn(NameQuestion) -> LookupResult,
    notify: &dyn Fn(),
    open: &AtomicIsize,
) {
    loop {
        // Its own statement, so that the lock is free again during the look-up.
        let next = lock(waiting).recv();
        let Ok(question) = next else {
            return;
        };
        let mut answer = lookup(question);
        // Of `/etc/hosts` too.
        if matches!(&answer.outcome, LookupOutcome::Name(name) if !is_shown(name)) {
            answer.outcome = LookupOutcome::NoPtrRecord;
        }
        let changed = lock(cache).store(question, answer, Instant::now());
        open.fetch_sub(1, Ordering::Relaxed);
        if changed {
            notify();
        }
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
        let (notify, notified) = channel();
        let gate = Mutex::new(gate);
        let names = Names::with(
            move |_| {
                let _ = lock(&gate).recv();
                Some("web.example".to_owned())
            },
            move || {
                let _ = notify.send(());
            },
        )
        .unwrap();
        let end = Endpoint::new(addr(5), 443);
        // The look-up hangs until released: were asking to wait, this would never return.
        assert_eq!(names.label(&end, None).host, "10.0.0.5");
        assert_eq!(names.label(&end, None).host, "10.0.0.5");
        release.send(()).unwrap();
        notified.recv().unwrap();
        assert_eq!(
            names.label(&end, None),
            Label {
                host: "web.example".into(),
                port: ":443".into(),
                is_name: true,
            }
        );
    }

    #[test]
    fn without_names_labels_are_addresses() {
        let names = Names::disabled();
        let label = |text: &str, port| {
            let label = names.label(&Endpoint::new(text.parse().unwrap(), port), None);
            label.host + &label.port
        };
        assert_eq!(label("192.0.2.1", 80), "192.0.2.1:80");
        assert_eq!(label("2001:db8::1", 80), "[2001:db8::1]:80");
        assert_eq!(label("0.0.0.0", 0), "*");
        assert_eq!(label("0.0.0.0", 53), "0.0.0.0:53");
    }

    #[test]
    fn a_name_that_passes_for_a_word_of_flowtop_is_none() {
        for word in [
            "*",
            "",
            " ",
            "\u{a0}",
            "*.",
            "\\032\\032",
            "·",
            "-",
            "unknown",
            "Unknown.",
            "other",
        ] {
            assert!(!is_shown(word), "{word:?}");
        }
        for name in [
            "a",
            "unknown.example",
            "*.example",
            "例",
            "1and1.example",
            "\\032x",
        ] {
            assert!(is_shown(name), "{name}");
        }
        let (notify, notified) = channel();
        let lookup = |addr: IpAddr| match addr.to_string().as_str() {
            "10.0.0.1" => Some("*".to_owned()),
            _ => Some("web".to_owned()),
        };
        let names = Names::with(lookup, move || {
            let _ = notify.send(());
        })
        .unwrap();
        while names.get(addr(2)).is_none() || names.get(addr(1)).is_some() {
            notified.recv().unwrap();
        }
        assert_eq!(
            names.label(&Endpoint::new(addr(1), 443), None).host,
            "10.0.0.1"
        );
    }

    #[test]
    fn a_service_stands_for_the_port() {
        let names = Names::disabled();
        let end = Endpoint::new("2001:db8::1".parse().unwrap(), 443);
        let label = names.label(&end, Some("https"));
        assert_eq!(label.host + &label.port, "[2001:db8::1]:https");
        assert_eq!(
            names.service(Protocol::Tcp, &end, None),
            None,
            "they are off"
        );
    }

    #[test]
    fn name_servers_are_asked_only_where_that_is_wanted() {
        let (notify, notified) = channel();
        let lookup = |question: NameQuestion| LookupResult {
            outcome: LookupOutcome::Name(match question.uses_servers {
                true => "by-server".to_owned(),
                false => "by-file".to_owned(),
            }),
            ttl: DEFAULT_TTL,
            generation: 0,
        };
        let mut names = Names::start(lookup, move || {
            let _ = notify.send(());
        })
        .unwrap();
        for (source, name) in [
            (HostNameSource::HostsFile, "by-file"),
            (HostNameSource::Servers, "by-server"),
        ] {
            names.set_hosts(source);
            assert_eq!(names.get(addr(1)), None, "not known yet");
            notified.recv().unwrap();
            assert_eq!(names.get(addr(1)).as_deref(), Some(name));
        }
        names.set_hosts(HostNameSource::Nowhere);
        assert_eq!(names.get(addr(1)), None);
        assert!(names.known(addr(1)).is_some());
    }

    #[test]
    fn what_is_its_own_is_known_by_its_process() {
        let names = Names::with(|_| None, || ()).unwrap();
        let me = std::process::id();
        assert!(names.is_own(me), "tests run in the initial pid namespace");
        assert!(!names.is_own(me + 1));
        assert!(!Names::disabled().is_own(me));
    }
}
