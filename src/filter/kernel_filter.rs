//! The part of a filter that the kernel evaluates, as plain data that is written into the read-only
//! data of the BPF programs before they are loaded. [`KernelFilter::matches`] is the reference of
//! its meaning.

use std::net::IpAddr;

use crate::model::flow::{FlowKey, Owner, Protocol};
use crate::model::net::Net;

/// Maximum number of PIDs in [`Tasks::tgids`], and of TIDs in [`Tasks::tids`].
pub const MAX_TASKS: usize = 64;
/// Maximum number of tree roots in one run, from filters and `flowtop run` together.
pub const MAX_TREES: usize = 16;
/// Maximum number of values in [`KernelFilter::uids`].
pub const MAX_UIDS: usize = 16;
/// Maximum number of values in [`KernelFilter::netns`].
pub const MAX_NETNS: usize = 8;
/// Maximum number of ranges in each list of ports.
pub const MAX_PORTS: usize = 16;
/// Maximum number of networks in each list, both families together.
pub const MAX_NETS: usize = 8;

/// IPv4 or IPv6. A flow has one: an IPv6 socket that talks IPv4 is an IPv4 flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// Returns the family of a flow from its local end, which is known even if the peer is not.
    /// `None` for a packet socket.
    pub const fn of(key: &FlowKey) -> Option<Self> {
        match (key.protocol, key.local.addr) {
            (Protocol::Packet, _) => None,
            (_, IpAddr::V4(_)) => Some(Self::V4),
            (_, IpAddr::V6(_)) => Some(Self::V6),
        }
    }
}

/// Ports from the first to the last, both included, in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    pub first: u16,
    /// The last, not below the first.
    pub last: u16,
}

impl PortRange {
    /// Whether a port is in it.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// An allow-list, or with `except` a deny-list. Without values everything matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowOrDenyList<T> {
    /// The values, sorted, without duplicates.
    pub values: Vec<T>,
    /// Whether the list is a deny-list: it matches if *none* of the values does.
    pub except: bool,
}

impl<T> Default for AllowOrDenyList<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            except: false,
        }
    }
}

impl<T> AllowOrDenyList<T> {
    /// Whether the list matches everything.
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn passes(&self, has: impl Fn(&T) -> bool) -> bool {
        self.values.is_empty() || self.values.iter().any(has) != self.except
    }
}

/// Processes and threads: matches the calls of one of the processes *or* threads; with `except`,
/// those of none of them. Without ids everything matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tasks {
    /// PIDs, sorted, without duplicates; at most [`MAX_TASKS`].
    pub tgids: Vec<u32>,
    /// TIDs of the thread that makes the call, sorted, without duplicates; at most [`MAX_TASKS`].
    pub tids: Vec<u32>,
    /// Whether these are the processes and threads to leave out.
    pub except: bool,
}

impl Tasks {
    /// Whether no process and no thread is chosen.
    pub const fn is_empty(&self) -> bool {
        self.tgids.is_empty() && self.tids.is_empty()
    }
}

/// The conditions that the kernel checks for every event before it counts; all must hold. The
/// default matches everything. Events that do not match are in no flow, no total, and not in
/// `untracked`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelFilter {
    pub protocols: AllowOrDenyList<Protocol>,
    /// Families. A peer that is not known does not change a flow's; a packet socket has none.
    pub families: AllowOrDenyList<Family>,
    pub tasks: Tasks,
    /// PIDs of which one must be the caller's or an ancestor's; at most [`MAX_TREES`].
    pub trees: AllowOrDenyList<u32>,
    /// Real user ids in the initial user namespace; at most [`MAX_UIDS`].
    pub uids: AllowOrDenyList<u32>,
    /// Inode numbers of network namespaces of sockets; at most [`MAX_NETNS`].
    pub netns: AllowOrDenyList<u32>,
    /// Ports of the local end; at most [`MAX_PORTS`], as in the two that follow. The port of an end
    /// that is not known, or has none, is 0 ([`FlowKey::ports`]).
    pub local_ports: AllowOrDenyList<PortRange>,
    /// Ports of the remote end.
    pub remote_ports: AllowOrDenyList<PortRange>,
    /// Ports of which either end must have one; with `except`, neither.
    pub any_ports: AllowOrDenyList<PortRange>,
    /// Networks of the local end; at most [`MAX_NETS`], as in the two that follow. The address of
    /// an end that is not known is 0.0.0.0 or ::, as the family is.
    pub local_nets: AllowOrDenyList<Net>,
    /// Networks of the remote end.
    pub remote_nets: AllowOrDenyList<Net>,
    /// Networks of which either end must be in one; with `except`, neither.
    pub any_nets: AllowOrDenyList<Net>,
}

impl KernelFilter {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an event matches: on the flow of this key, by its thread `key.tid`, of `owner`. This
    /// is the reference for the BPF side, where the thread and the user are always known.
    pub fn matches(&self, key: &FlowKey, owner: &Owner) -> bool {
        let (local, remote) = (key.local.addr, key.remote.addr);
        let (local_port, remote_port) = key.ports();
        let tasks = &self.tasks;
        let of_task = || tasks.tgids.contains(&key.tgid) || tasks.tids.contains(&key.tid);
        self.protocols.passes(|&listed| listed == key.protocol)
            && self
                .families
                .passes(|&listed| Some(listed) == Family::of(key))
            && (tasks.is_empty() || of_task() != tasks.except)
            && self.trees.passes(|listed| owner.trees.contains(listed))
            && self.uids.passes(|&listed| owner.uid == Some(listed))
            && self.netns.passes(|&listed| key.netns == listed)
            && self.local_ports.passes(|ports| ports.contains(local_port))
            && self
                .remote_ports
                .passes(|ports| ports.contains(remote_port))
            && self
                .any_ports
                .passes(|ports| ports.contains(local_port) || ports.contains(remote_port))
            && self.local_nets.passes(|net| net.contains(local))
            && self.remote_nets.passes(|net| net.contains(remote))
            && self
                .any_nets
                .passes(|net| net.contains(local) || net.contains(remote))
    }
}
