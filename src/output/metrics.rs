//! Serves the sums over intervals as metrics over HTTP, for Prometheus and compatible readers.
//!
//! ```text
//!  collector's thread ──▶ totals and series, bounded ◀── server's thread ◀── scrapes
//! ```
//!
//! The collector's thread adds an interval when it has ended; a scrape copies the sums and writes
//! its answer from the copy. So neither waits for the other longer than for the copy of some
//! numbers, and a scrape between two intervals gives the last one that has ended.

mod authority;
mod exposition;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod http;
mod self_usage;
mod series;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

pub use self::exposition::{Format, METRICS, Metric};
pub use self::series::{LINGER, MAX_SERIES};

use self::self_usage::SelfUsage;
use self::series::{Series, SeriesKey, SeriesSnapshot};
use crate::model::flow::Counters;
use crate::model::interval::{Audit, Drift, Interval, Machine, Method, Unknown};
use crate::options::ListenOptions;
use crate::resolve::owners::Owners;
use crate::source::Source;
use crate::stats::ranking::group_totals;
use crate::sync::lock;
use crate::view::Group;

/// Backlog of connections to be accepted, as in the standard library.
const BACKLOG: i32 = 128;

/// A bound listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    /// The socket's address, read at the start: a confined process may not call getsockname().
    addr: SocketAddr,
    group: Group,
    top_n: Option<usize>,
    scrape_interval: Duration,
    host_names: Vec<String>,
}

impl Listener {
    /// Binds the address. Call it before anything is attached, because binding fails most easily.
    ///
    /// # Errors
    /// When the address is taken, or none of this machine's.
    pub fn bind(listen: &ListenOptions) -> Result<Self> {
        let addr = listen.addr;
        let socket = listen_at(addr).map_err(|error| {
            let fix = match error.kind() {
                ErrorKind::AddrInUse => {
                    "; another program listens there, perhaps another flowtop: name another port"
                }
                ErrorKind::AddrNotAvailable => {
                    "; name an address of this machine, or only a port for 127.0.0.1"
                }
                ErrorKind::PermissionDenied => "; name a port from 1024 up, or run it as root",
                _ => "",
            };
            anyhow::anyhow!("--listen {addr}: {error}{fix}")
        })?;
        Ok(Self {
            addr: socket.local_addr().context("serve metrics")?,
            socket,
            group: listen.group,
            top_n: listen.top_n,
            scrape_interval: listen.scrape_interval,
            host_names: listen.host_names.clone(),
        })
    }
}

/// Listens at an address. `[::]` means every address of IPv6 and IPv4, regardless of
/// `net.ipv6.bindv6only`, and on a kernel without IPv6 too.
fn listen_at(addr: SocketAddr) -> io::Result<TcpListener> {
    if addr.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return TcpListener::bind(addr);
    }
    let kind = SocketType::STREAM;
    let socket = match socket_with(AddressFamily::INET6, kind, SocketFlags::CLOEXEC, None) {
        Ok(socket) => socket,
        Err(Errno::AFNOSUPPORT) => {
            return TcpListener::bind((Ipv4Addr::UNSPECIFIED, addr.port()));
        }
        Err(error) => return Err(error.into()),
    };
    // SO_REUSEADDR, as in the standard library: a port whose last connections are in TIME_WAIT is
    // free.
    set_socket_reuseaddr(&socket, true)?;
    set_ipv6_v6only(&socket, false)?;
    bind(&socket, &addr)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// The running metrics server. Dropping it stops the server.
#[derive(Debug)]
pub struct Exporter {
    addr: SocketAddr,
    group: Group,
    sums: Arc<Mutex<MetricSums>>,
    /// Closing it stops the server's thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// State from which scrapes are answered.
#[derive(Debug)]
struct MetricSums {
    totals: Totals,
    series: Series,
}

/// Sums over all intervals, and how they were counted.
#[derive(Clone, Debug, Default)]
struct Totals {
    total: Counters,
    untracked: Counters,
    overflow: Counters,
    /// Sum of [`Interval::copied_rx_bytes`] so far.
    copied_rx_bytes: u64,
    missed_events: u64,
    unknown: Unknown,
    drift: Drift,
    intervals: u64,
    /// Total time that ending intervals took: from requesting the flip until all flows were read.
    drained_in: Duration,
    /// Number of flows in the last interval. The fields from here on are of that interval only.
    flows: usize,
    audit: Audit,
    elapsed: Duration,
    ended: Option<SystemTime>,
    method: Arc<Method>,
}

/// Facts that do not change.
#[derive(Debug)]
struct ExporterInfo {
    machine: Machine,
    filter: Option<String>,
    group: Group,
    began: SystemTime,
}

impl Exporter {
    /// Starts the server's thread.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn start(
        listener: Listener,
        filter: Option<String>,
        machine: Machine,
        method: Arc<Method>,
    ) -> Result<Self> {
        let Listener {
            socket,
            addr,
            group,
            top_n,
            scrape_interval,
            host_names,
        } = listener;
        let sums = MetricSums {
            totals: Totals {
                method,
                ..Totals::default()
            },
            series: Series::new(top_n.unwrap_or(MAX_SERIES), scrape_interval),
        };
        let about = ExporterInfo {
            machine,
            filter,
            group,
            began: SystemTime::now(),
        };
        let sums = Arc::new(Mutex::new(sums));
        let (stop, stopped) = UnixStream::pair().context("serve metrics")?;
        let answer = responder(about, Arc::clone(&sums), SelfUsage::open());
        let server = http::MetricsServer::new(socket, stopped, host_names, answer)
            .context("serve metrics")?;
        let thread = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || server.run())
            .context("start a thread for metrics")?;
        Ok(Self {
            addr,
            group,
            sums,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Returns the address of the server.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns a source that adds every interval to the metrics and passes it on.
    pub fn instrument<S: Source>(&self, source: S) -> Metered<S> {
        Metered {
            source,
            sums: Arc::clone(&self.sums),
            owners: Owners::passwd_only(),
            group: self.group,
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn responder(
    about: ExporterInfo,
    sums: Arc<Mutex<MetricSums>>,
    cost: SelfUsage,
) -> impl Fn(Format) -> String + Send + 'static {
    move |format| {
        let (totals, snapshot) = {
            let sums = lock(&sums);
            (sums.totals.clone(), sums.series.snapshot())
        };
        exposition::write(format, &about, &totals, &snapshot, &cost.now())
    }
}

/// A source whose intervals are added to the metrics.
#[derive(Debug)]
pub struct Metered<S> {
    source: S,
    sums: Arc<Mutex<MetricSums>>,
    owners: Owners,
    group: Group,
}

impl<S: Source> Source for Metered<S> {
    fn end_interval(&mut self) -> Result<Interval> {
        let begun = Instant::now();
        let interval = self.source.end_interval()?;
        let drained_in = begun.elapsed();
        // Ranks before taking the lock, so that no other thread waits for the ranking.
        let groups = group_totals(&interval, self.group, &self.owners);
        let groups = groups
            .iter()
            .map(|group| (SeriesKey::of(group, &self.owners), group.counters));
        let groups: Vec<(SeriesKey, Counters)> = groups.collect();
        lock(&self.sums).add(&interval, groups, drained_in);
        Ok(interval)
    }

    fn settle(&mut self) -> Result<()> {
        self.source.settle()
    }

    fn is_over(&self) -> bool {
        self.source.is_over()
    }
}

impl MetricSums {
    fn add(
        &mut self,
        interval: &Interval,
        groups: Vec<(SeriesKey, Counters)>,
        drained_in: Duration,
    ) {
        let totals = &mut self.totals;
        totals.total += interval.total();
        totals.untracked += interval.losses.untracked;
        totals.overflow += interval.overflow();
        totals.copied_rx_bytes += interval.copied_rx_bytes();
        totals.missed_events += interval.losses.missed_events;
        totals.unknown += interval.losses.unknown;
        totals.drift += interval.losses.audit.drift;
        totals.intervals += 1;
        totals.drained_in += drained_in;
        totals.flows = interval.flows.len();
        totals.audit = interval.losses.audit;
        totals.elapsed = interval.elapsed;
        totals.ended = Some(interval.ended);
        totals.method = Arc::clone(&interval.method);
        self.series.add(groups, interval.elapsed, interval.ended);
    }
}

impl Totals {
    /// Returns what was counted for groups and is exposed neither for a group nor as other: sums of
    /// evicted groups, and those of new counters that are still exposed with their first value.
    fn hidden(&self, snapshot: &SeriesSnapshot) -> Counters {
        let shown: Counters = snapshot.series.iter().map(|sample| sample.counters).sum();
        let attributed = self.total.since(&self.untracked);
        attributed.since(&snapshot.other).since(&shown)
    }
}
