//! The identity of rows.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;

use super::history::FlowStats;
use super::process_lookup::{ProcessLookup, ProcessRef};
use crate::model::dns::DnsName;
use crate::model::flow::{Comm, Flow, FlowKey, Owner, Protocol};
use crate::model::net::Net;
use crate::model::peer_class::PeerClass;
use crate::model::peer_zone::PeerZone;
use crate::resolve::owners::{CgroupLocation, ContainerMembership};
use crate::view::Group;

/// Identity of a row, independent of its position: a selection follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowId {
    Flow(FlowKey),
    /// All flows of the processes with this name; the flag is whether they are threads of the
    /// kernel.
    Program(Comm, bool),
    /// The flows of the process with this number.
    Process(u32),
    /// The flows of a thread: process and thread id. The second is 0 where threads are not counted
    /// apart.
    Thread(u32, u32),
    /// The flows of the user with this number.
    User(u32),
    /// The flows with this peer.
    Remote(IpAddr),
    /// The flows with peers in a network.
    Net(Net),
    /// The flows of a service: one end has this port and the other a larger one. If one end has no
    /// port, the port of the other.
    Port(Protocol, u16),
    /// The flows with peers of a class.
    Class(PeerClass),
    /// The flows with peers in a zone of the user, by its name.
    Zone(Arc<str>),
    /// The flows whose peers were resolved from a host name, whatever the source of the name.
    Host(Arc<str>),
    /// The flows of a container, or of a pod if the path names no container.
    Container(Arc<CgroupLocation>),
    /// The flows of a Kubernetes pod.
    Pod(Arc<CgroupLocation>),
    /// The flows of a namespace, a service of compose or a batch job, by its name.
    Named(Group, Arc<str>),
    /// The flows of a systemd unit, or of units of which a part of the name never repeats.
    Unit(Arc<str>),
    /// The flows that are known to be in no such group.
    Without(Group),
    /// The flows whose group is unknown, or not known yet.
    #[default]
    Unknown,
}

/// The facts about a flow's peer by which rows group it.
#[derive(Clone, Copy, Debug)]
pub struct PeerFacts<'a> {
    pub key: &'a FlowKey,
    pub class: Option<PeerClass>,
    pub zone: Option<&'a Arc<PeerZone>>,
    pub dns_name: Option<&'a DnsName>,
}

impl<'a> From<&'a Flow> for PeerFacts<'a> {
    fn from(flow: &'a Flow) -> Self {
        Self {
            key: &flow.key,
            class: flow.class,
            zone: flow.zone.as_ref(),
            dns_name: flow.dns_name.as_deref(),
        }
    }
}

impl<'a> From<&'a FlowStats> for PeerFacts<'a> {
    fn from(flow: &'a FlowStats) -> Self {
        Self {
            key: &flow.key,
            class: flow.class,
            zone: flow.zone.as_ref(),
            dns_name: flow.dns_name.as_deref(),
        }
    }
}

impl RowId {
    /// Returns the id of the row that a flow belongs to.
    pub fn of(
        group: Group,
        peer: PeerFacts<'_>,
        process_ref: &ProcessRef<'_>,
        lookup: &dyn ProcessLookup,
    ) -> Self {
        let PeerFacts {
            key,
            class,
            zone,
            dns_name,
        } = peer;
        let remote = key.remote;
        match group {
            Group::Flow => Self::Flow(*key),
            Group::Program if process_ref.owner.comm.is_empty() => Self::Unknown,
            Group::Program => Self::Program(process_ref.owner.comm, process_ref.owner.kernel),
            Group::Process => Self::Process(key.tgid),
            Group::Thread => Self::Thread(key.tgid, key.tid),
            Group::User => lookup.uid(process_ref).map_or(Self::Unknown, Self::User),
            Group::Remote | Group::Net(_) if remote.is_unknown() => Self::Unknown,
            Group::Remote => Self::Remote(remote.addr),
            Group::Net(prefix) => {
                let length = match remote.addr {
                    IpAddr::V4(_) => prefix.v4,
                    IpAddr::V6(_) => prefix.v6,
                };
                Self::Net(Net::of(remote.addr, length))
            }
            Group::Port => {
                let port = match key.ports() {
                    (0, port) | (port, 0) => port,
                    (local, remote) => local.min(remote),
                };
                match port {
                    0 => Self::Unknown,
                    port => Self::Port(key.protocol, port),
                }
            }
            Group::Class => class.map_or(Self::Unknown, Self::Class),
            Group::Zone if remote.is_unknown() => Self::Unknown,
            Group::Zone => zone.map_or(Self::Without(group), |zone| {
                Self::Zone(Arc::clone(&zone.name))
            }),
            Group::Host => dns_name.map_or(Self::Unknown, |dns| Self::Host(Arc::clone(&dns.name))),
            Group::Container => match lookup.location(process_ref) {
                Some(location) => location
                    .container
                    .clone()
                    .map_or(Self::Without(group), Self::Container),
                None => Self::Unknown,
            },
            Group::Pod => match lookup.location(process_ref) {
                Some(location) => location.pod.clone().map_or(Self::Without(group), Self::Pod),
                None => Self::Unknown,
            },
            Group::Namespace | Group::Compose | Group::Job => {
                let location = lookup.location(process_ref);
                location.map_or(Self::Unknown, |location| {
                    let of = match group {
                        Group::Namespace => &location.namespace,
                        Group::Compose => &location.compose,
                        _ => &location.job,
                    };
                    match of {
                        ContainerMembership::None => Self::Without(group),
                        ContainerMembership::Of(name) => Self::Named(group, Arc::clone(name)),
                        ContainerMembership::Unknown => Self::Unknown,
                    }
                })
            }
            Group::Unit => match lookup.location(process_ref) {
                Some(location) => {
                    let unit = location.unit_group.clone();
                    unit.map_or(Self::Without(group), Self::Unit)
                }
                None => Self::Unknown,
            },
        }
    }
}

/// Finds the groups of flows, and numbers them in the order of their first flows.
pub(super) struct Groups<'a> {
    group: Group,
    lookup: &'a dyn ProcessLookup,
    indices: HashMap<RowId, usize>,
    /// Groups that depend on the owner alone, by process and owner: a cgroup path is long, so it is
    /// parsed once per owner. Pointers stay valid because the caller holds all owners for the
    /// lifetime of this value.
    of_owner: HashMap<(u32, *const Owner), usize>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(group: Group, lookup: &'a dyn ProcessLookup) -> Self {
        Self {
            group,
            lookup,
            indices: HashMap::new(),
            of_owner: HashMap::new(),
        }
    }

    /// Returns the number of the group that a flow belongs to; a new group gets the number of
    /// groups so far.
    pub(super) fn index(&mut self, peer: PeerFacts<'_>, process_ref: &ProcessRef<'_>) -> usize {
        let by_owner = self.group.spec().is_of_owner;
        // If its start is unknown, the time separates a process from the next one with its PID.
        let owner = (by_owner && process_ref.owner.start.is_some())
            .then(|| (process_ref.tgid, std::ptr::from_ref(process_ref.owner)));
        if let Some(&index) = owner.and_then(|owner| self.of_owner.get(&owner)) {
            return index;
        }
        let new = self.indices.len();
        let id = RowId::of(self.group, peer, process_ref, self.lookup);
        let index = *self.indices.entry(id).or_insert(new);
        if let Some(owner) = owner {
            self.of_owner.insert(owner, index);
        }
        index
    }

    /// Returns all groups by their numbers.
    pub(super) fn into_ids(self) -> Vec<RowId> {
        let mut ids: Vec<(RowId, usize)> = self.indices.into_iter().collect();
        ids.sort_unstable_by_key(|&(_, index)| index);
        ids.into_iter().map(|(id, _)| id).collect()
    }
}

/// Returns the title of a row of which only the id is known. Not sanitized.
impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flow(key) => write!(f, "{} {} {}", key.protocol, key.local, key.remote),
            Self::Program(comm, true) => write!(f, "[{}]", comm.to_string_lossy()),
            Self::Program(comm, false) => f.write_str(&comm.to_string_lossy()),
            Self::Process(pid) | Self::Thread(pid, 0) => write!(f, "pid {pid}"),
            Self::Thread(_, tid) => write!(f, "tid {tid}"),
            Self::User(uid) => write!(f, "uid {uid}"),
            Self::Remote(addr) => write!(f, "{addr}"),
            Self::Net(net) => write!(f, "{net}"),
            Self::Port(protocol, port) => write!(f, "{protocol} port {port}"),
            Self::Class(class) => write!(f, "{class}"),
            Self::Container(location) | Self::Pod(location) => write!(f, "{location}"),
            Self::Unit(name) | Self::Named(_, name) | Self::Zone(name) | Self::Host(name) => {
                f.write_str(name)
            }
            Self::Without(group) => write!(f, "no {group}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flow::{Endpoint, Owner};
    use crate::stats::ranking::ProcessRef;
    use std::time::SystemTime;

    fn id(group: Group, remote: &str, cgroup: Option<&str>) -> RowId {
        let local = Endpoint::new(IpAddr::from([10, 0, 0, 1]), 443);
        let remote = match remote {
            "*" => Endpoint::default(),
            addr => Endpoint::new(addr.parse().unwrap(), 50_000),
        };
        let owner = Owner {
            cgroup: cgroup.map(Arc::from),
            ..Owner::named(b"x")
        };
        let process_ref = ProcessRef {
            tgid: 7,
            owner: &owner,
            when: SystemTime::UNIX_EPOCH,
        };
        let key = FlowKey::new(Protocol::Tcp, local, remote, 7);
        let peer = PeerFacts {
            key: &key,
            class: None,
            zone: None,
            dns_name: None,
        };
        RowId::of(group, peer, &process_ref, &())
    }

    #[test]
    fn an_address_is_in_the_net_of_its_first_bits() {
        for (group, remote, net) in [
            ("net/24", "192.0.2.77", "192.0.2.0/24"),
            ("net/20", "192.0.47.77", "192.0.32.0/20"),
            ("net/1", "192.0.2.77", "128.0.0.0/1"),
            ("net/32", "192.0.2.77", "192.0.2.77/32"),
            ("net/24", "::ffff:192.0.2.77", "192.0.2.0/24"),
            ("net/24", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
            ("net/24,33", "2001:db8:8001::4", "2001:db8:8000::/33"),
            ("net/24,128", "2001:db8::4", "2001:db8::4/128"),
            ("net/24,1", "ff02::4", "8000::/1"),
            ("net/24", "*", "unknown"),
        ] {
            let id = id(group.parse().unwrap(), remote, None);
            assert_eq!(id.to_string(), net, "{remote} by {group}");
        }
    }

    #[test]
    fn containers_and_units_are_told_from_what_is_in_none_and_what_is_not_known() {
        let docker = format!("/system.slice/docker-{}.scope", "ab".repeat(32));
        let pod = "/kubepods.slice/kubepods-pod0a1b2c3d_0000_1111_2222_333344445555.slice";
        for (cgroup, container, unit) in [
            (Some(docker.as_str()), "docker:abababababab", "no unit"),
            (Some(pod), "pod:0a1b2c3d", "no unit"),
            (
                Some("/system.slice/nginx.service"),
                "no container",
                "nginx.service",
            ),
            (
                Some("/user.slice/user-7.slice/user@7.service/app.slice/nginx.service"),
                "no container",
                "user@7.service",
            ),
            (
                Some("/user.slice/user-7.slice/session-3.scope"),
                "no container",
                "user-7.slice",
            ),
            (Some("/"), "no container", "no unit"),
            (None, "unknown", "unknown"),
        ] {
            let name = |group| id(group, "*", cgroup).to_string();
            assert_eq!(name(Group::Container), container, "{cgroup:?}");
            assert_eq!(name(Group::Unit), unit, "{cgroup:?}");
        }
        // Compares whole ids, not only the digits that are shown.
        let other = docker.replace("abab.scope", "abac.scope");
        assert_ne!(
            id(Group::Container, "*", Some(&docker)),
            id(Group::Container, "*", Some(&other))
        );
    }
}
