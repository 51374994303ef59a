//! What the system calls returned, added up per flow in this process, and handed to the parent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::addr::as_flow;
use crate::sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proto {
    Tcp,
    Udp,
    Icmp,
    Icmp6,
    Raw,
    Sctp,
    UdpLite,
    Dccp,
    Packet,
}

impl Proto {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Icmp6 => "icmp6",
            Self::Raw => "raw",
            Self::Sctp => "sctp",
            Self::UdpLite => "udplite",
            Self::Dccp => "dccp",
            Self::Packet => "packet",
        }
    }

    /// Whether a socket that has been connected keeps its ends when the connection is gone.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Sctp | Self::Dccp)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dir {
    Rx,
    Tx,
}

/// What one direction of a flow moved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    pub bytes: u64,
    pub msgs: u64,
}

impl Moved {
    pub fn add(&mut self, bytes: u64, msgs: u64) {
        self.bytes += bytes;
        self.msgs += msgs;
    }
}

#[derive(Default)]
struct Row {
    rx: Moved,
    tx: Moved,
    /// Datagrams more, or fewer, than there were calls: received, sent.
    more_packets: (i64, i64),
    /// The API leaves open how many messages it made.
    loose_rx: bool,
    loose_tx: bool,
    /// Host name of the peer and its origin, where the case resolved it.
    dns_name: Option<(&'static str, &'static str)>,
    /// The part that went a special way, by its name(s): `(rx, tx)`.
    via: BTreeMap<String, (Moved, Moved)>,
}

/// A socket, as far as it tells one flow of a process from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    pub proto: Proto,
    /// Inode number of its network namespace.
    pub netns: u64,
    /// Index of the interface that the socket is bound to or that its link-local peer is on; 0:
    /// none.
    pub ifindex: u32,
    pub local: SocketAddr,
    /// The unspecified address with port 0 stands for a peer that flowtop does not know.
    pub remote: SocketAddr,
}

/// Users that this process was while it moved bytes.
static UIDS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
static ROWS: Mutex<BTreeMap<Socket, Row>> = Mutex::new(BTreeMap::new());
static LOSSY: AtomicBool = AtomicBool::new(false);
/// This process as the initial PID namespace knows it, when that differs from `getpid`.
static OUTER_PID: AtomicU32 = AtomicU32::new(0);

fn rows() -> MutexGuard<'static, BTreeMap<Socket, Row>> {
    ROWS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn uids() -> MutexGuard<'static, BTreeSet<u32>> {
    UIDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything beside the byte count that the truth wants to know about a call.
#[derive(Clone, Copy, Default)]
pub struct How {
    /// The peer of this one call, where the socket's own is not it.
    pub peer: Option<SocketAddr>,
    /// The special path it took (names joined by `+`), empty for none.
    pub via: &'static str,
    /// The number of messages is the kernel's affair.
    pub loose: bool,
}

/// Adds `msgs` calls that moved `bytes` in all.
pub fn add(mut socket: Socket, dir: Dir, moved: Moved, via: &str, loose: bool) {
    if moved.bytes == 0 {
        return;
    }
    uids().insert(sys::uid());
    (socket.local, socket.remote) = as_flow(socket.local, socket.remote);
    let mut rows = rows();
    let row = rows.entry(socket).or_default();
    match dir {
        Dir::Rx => {
            row.rx.add(moved.bytes, moved.msgs);
            row.loose_rx |= loose;
        }
        Dir::Tx => {
            row.tx.add(moved.bytes, moved.msgs);
            row.loose_tx |= loose;
        }
    }
    if !via.is_empty() {
        let part = row.via.entry(via.to_owned()).or_default();
        match dir {
            Dir::Rx => part.0.add(moved.bytes, moved.msgs),
            Dir::Tx => part.1.add(moved.bytes, moved.msgs),
        }
    }
}

/// Says that `more` datagrams more were moved than there were calls (fewer, where negative).
pub fn more_packets(mut socket: Socket, dir: Dir, more: i64) {
    (socket.local, socket.remote) = as_flow(socket.local, socket.remote);
    let mut rows = rows();
    let row = rows.entry(socket).or_default();
    match dir {
        Dir::Rx => row.more_packets.0 += more,
        Dir::Tx => row.more_packets.1 += more,
    }
}

/// Says which host name a flow is to have, and for which reason.
pub fn named(mut socket: Socket, name: &'static str, origin: &'static str) {
    (socket.local, socket.remote) = as_flow(socket.local, socket.remote);
    rows().entry(socket).or_default().dns_name = Some((name, origin));
}

/// This case leaves data unread on purpose: sent and received need not be equal.
pub fn lossy() {
    LOSSY.store(true, Relaxed);
}

/// Forgets what a forked child inherited.
pub fn reset() {
    rows().clear();
    uids().clear();
}

pub fn set_outer_pid(pid: u32) {
    OUTER_PID.store(pid, Relaxed);
}

/// This process's cgroup as the initial cgroup namespace knows it, where that differs.
static OUTER_CGROUP: Mutex<Option<String>> = Mutex::new(None);

pub fn set_outer_cgroup(path: String) {
    *OUTER_CGROUP.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
}

fn cgroup() -> String {
    let outer = OUTER_CGROUP.lock().unwrap_or_else(PoisonError::into_inner);
    outer.clone().unwrap_or_else(sys::cgroup)
}

fn pid() -> u32 {
    match OUTER_PID.load(Relaxed) {
        0 => std::process::id(),
        pid => pid,
    }
}

/// Writes this process and its flows to stdout; to be called once, when its work is done.
pub fn flush() {
    let (pid, start_ns) = (pid(), sys::start_ns());
    let me = std::process::id();
    let comm = std::fs::read_to_string(format!("/proc/{me}/comm")).unwrap_or_default();
    let same_pid_ns = pid == me;
    print_line(&json!({
        "type": "process",
        "pid": pid,
        "start_ns": start_ns,
        "comm": if same_pid_ns { Some(comm.trim_end()) } else { None },
        "uids": std::mem::take(&mut *uids()),
        "cgroup": cgroup(),
        "lossy": LOSSY.load(Relaxed),
    }));
    for (socket, row) in std::mem::take(&mut *rows()) {
        let Socket { local, remote, .. } = socket;
        let via: serde_json::Map<String, Value> = row
            .via
            .iter()
            .map(|(name, (rx, tx))| (name.clone(), json!([rx.bytes, tx.bytes, rx.msgs, tx.msgs])))
            .collect();
        let known = socket.proto == Proto::Udp && !row.loose_rx && !row.loose_tx;
        let packets = |msgs: u64, more: i64| known.then(|| msgs.saturating_add_signed(more));
        print_line(&json!({
            "type": "truth",
            "pid": pid,
            "start_ns": start_ns,
            "proto": socket.proto.name(),
            "netns": socket.netns,
            "ifindex": socket.ifindex,
            "local_addr": local.ip().to_string(),
            "local_port": local.port(),
            "remote_addr": remote_addr(remote),
            "remote_port": remote.port(),
            "rx_bytes": row.rx.bytes,
            "tx_bytes": row.tx.bytes,
            "rx_msgs": if row.loose_rx { None } else { Some(row.rx.msgs) },
            "tx_msgs": if row.loose_tx { None } else { Some(row.tx.msgs) },
            "rx_packets": packets(row.rx.msgs, row.more_packets.0),
            "tx_packets": packets(row.tx.msgs, row.more_packets.1),
            "via": via,
            "dns_name": row.dns_name.map(|(name, _)| name),
            "dns_name_origin": row.dns_name.map(|(_, origin)| origin),
        }));
    }
}

fn remote_addr(remote: SocketAddr) -> String {
    if remote.port() == 0 && remote.ip().is_unspecified() {
        "*".to_owned()
    } else {
        remote.ip().to_string()
    }
}

/// One JSON line on stdout, in one write so that lines of several processes do not mix.
pub fn print_line(line: &Value) {
    let mut text = line.to_string();
    text.push('\n');
    sys::write_all(1, text.as_bytes());
}
