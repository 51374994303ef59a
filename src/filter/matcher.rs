//! Decides whether flows match a filter. Cheap enough for 65536 flows an interval: terms about
//! owners are evaluated once per owner and interval, terms about control groups once per control
//! group.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::ast::{Compare, Expr, Op, Side, Term, ZonedHost};
use super::kernel_filter::Family;
use super::pattern::Pattern;
use crate::model::container::ContainerLabels;
use crate::model::flow::{Counters, FlowKey, Owner};
use crate::model::peer_class::PeerClass;
use crate::model::peer_zone::PeerZone;
use crate::resolve::owners::{CgroupLocation, Container, ContainerMembership, parse_path};
use crate::view::Group;

/// Limit of cached results for control groups; the cache is cleared when it is full.
const MAX_CGROUPS: usize = 4096;
/// Minimum length of a container id's prefix that matches the id, in characters.
const MIN_ID: usize = 4;

/// A flow in an interval.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The key of the flow.
    pub key: &'a FlowKey,
    /// The process that owns the flow.
    pub owner: &'a Arc<Owner>,
    /// Bytes and messages of the interval.
    pub counters: &'a Counters,
    /// Whether both ends are known to be on this machine.
    pub internal: bool,
    /// Class of the peer's address; `None` if the peer is unknown.
    pub class: Option<PeerClass>,
    /// The user's zone of the peer; `None` if the peer is in none, or unknown.
    pub zone: Option<&'a PeerZone>,
    /// Name that the peer was resolved from; `None` where unknown.
    pub dns_name: Option<&'a str>,
    /// Length of the interval.
    pub elapsed: Duration,
}

/// A compiled filter with the caches of one run.
#[derive(Clone, Debug)]
pub struct Matcher {
    tree: Node,
    /// Terms about owners; the index of a term is the number of its bit.
    owner_terms: Vec<Term>,
    /// Cache of owner-term results, keyed by the address of each `Arc<Owner>`; cleared by `begin`
    /// because addresses are reused once an interval's owners are dropped.
    owners: HashMap<usize, u64>,
    /// Cache of the results of terms about control groups, keyed by path: the container's labels at
    /// that time, and the bits.
    cgroup_terms: HashMap<Arc<str>, (Option<Arc<ContainerLabels>>, u64)>,
}

#[derive(Clone, Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Is(Term),
    /// The bit of an owner term in the results of an owner.
    Owner(u64),
}

impl Matcher {
    pub fn new(expr: &Expr) -> Self {
        let mut owner_terms = Vec::new();
        Self {
            tree: compile_node(expr, &mut owner_terms),
            owner_terms,
            owners: HashMap::new(),
            cgroup_terms: HashMap::new(),
        }
    }

    /// Starts a new batch of flows: invalidates the cache of owner results.
    pub fn begin(&mut self) {
        self.owners.clear();
    }

    /// Whether a flow matches. The owners of all flows since [`Self::begin`] must still be alive.
    ///
    /// If something about a flow is unknown, a term that tests it is false and its `not` true. An
    /// overflow row matches unless none of its flows can: its bytes are left out only if they
    /// certainly do not belong.
    pub fn matches(&mut self, subject: &Subject<'_>) -> bool {
        let bits = if self.owner_terms.is_empty() {
            0
        } else {
            self.bits(subject.owner)
        };
        if subject.key.overflow {
            return self.tree.decide(subject, bits).unwrap_or(true);
        }
        self.tree.matches(subject, bits)
    }

    fn bits(&mut self, owner: &Arc<Owner>) -> u64 {
        let at = Arc::as_ptr(owner) as usize;
        if let Some(bits) = self.owners.get(&at) {
            return *bits;
        }
        let comm = owner.comm.to_string_lossy();
        let mut bits = eval_terms(&self.owner_terms, |term| match term {
            Term::Comm(names) => names.iter().any(|name| name.matches(&comm)),
            _ => false,
        });
        if let Some(cgroup) = &owner.cgroup {
            bits |= match self.cgroup_terms.get(cgroup) {
                Some((labels, bits)) if *labels == owner.labels => *bits,
                _ => {
                    let location = parse_path(cgroup).labelled(owner.labels.as_ref());
                    let bits = eval_terms(&self.owner_terms, |term| is_in(&location, term));
                    if self.cgroup_terms.len() >= MAX_CGROUPS {
                        self.cgroup_terms.clear();
                    }
                    self.cgroup_terms
                        .insert(Arc::clone(cgroup), (owner.labels.clone(), bits));
                    bits
                }
            };
        }
        self.owners.insert(at, bits);
        bits
    }
}

/// Evaluates terms into a bit set.
fn eval_terms(terms: &[Term], yes: impl Fn(&Term) -> bool) -> u64 {
    let bits = terms.iter().enumerate();
    bits.fold(0, |bits, (i, term)| bits | u64::from(yes(term)) << i)
}

fn compile_node(expr: &Expr, owner_terms: &mut Vec<Term>) -> Node {
    let mut all = |parts: &[Expr]| {
        parts
            .iter()
            .map(|part| compile_node(part, owner_terms))
            .collect()
    };
    match expr {
        Expr::All(parts) => Node::All(all(parts)),
        Expr::Any(parts) => Node::Any(all(parts)),
        Expr::Not(part) => Node::Not(Box::new(compile_node(part, owner_terms))),
        Expr::Is(term) if term.is_about_owner() => {
            owner_terms.push(term.clone());
            let bit = 1_u64.checked_shl(owner_terms.len() as u32 - 1);
            Node::Owner(bit.unwrap_or_else(|| unreachable!("the parser limits terms about owners")))
        }
        Expr::Is(term) => Node::Is(term.clone()),
    }
}

impl Node {
    /// Recursive; depth is bounded by the parser (`MAX_DEPTH`).
    fn matches(&self, subject: &Subject<'_>, bits: u64) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(subject, bits)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(subject, bits)),
            Self::Not(part) => !part.matches(subject, bits),
            Self::Is(term) => is(term, subject),
            Self::Owner(bit) => bits & bit != 0,
        }
    }

    /// Whether all flows of an overflow row match, or none does; `None` if that is unknown.
    fn decide(&self, subject: &Subject<'_>, bits: u64) -> Option<bool> {
        // The result is `decisive` if a part is; otherwise an unknown part makes it unknown.
        let combine = |parts: &[Self], decisive: bool| {
            parts.iter().try_fold(Some(!decisive), |sum, part| {
                match part.decide(subject, bits) {
                    Some(is) if is == decisive => Err(decisive),
                    Some(_) => Ok(sum),
                    None => Ok(None),
                }
            })
        };
        match self {
            Self::All(parts) => combine(parts, false).unwrap_or_else(Some),
            Self::Any(parts) => combine(parts, true).unwrap_or_else(Some),
            Self::Not(part) => part.decide(subject, bits).map(|is| !is),
            Self::Is(
                Term::Ports(..)
                | Term::Nets(..)
                | Term::Netns(_)
                | Term::Interfaces(_)
                | Term::ZonedHosts(..)
                | Term::Tids(_)
                | Term::Internal
                | Term::Class(_)
                | Term::Zone(_)
                | Term::HostNames(_)
                | Term::Domains(_)
                | Term::Moved(_)
                | Term::Compare(_),
            ) => None,
            Self::Is(term) => Some(is(term, subject)),
            Self::Owner(bit) => Some(bits & bit != 0),
        }
    }
}

/// Evaluates a term that is not about owners.
fn is(term: &Term, subject: &Subject<'_>) -> bool {
    let Subject { key, owner, .. } = subject;
    let ends = |side: Side| match side {
        Side::Either => [key.local, key.remote],
        Side::Local => [key.local; 2],
        Side::Remote => [key.remote; 2],
    };
    match term {
        Term::Protocol(protocol) => key.protocol == *protocol,
        Term::Family(family) => Family::of(key) == Some(*family),
        Term::Ports(side, ports) => {
            let (local, remote) = key.ports();
            let has = |port| ports.iter().any(|ports| ports.contains(port));
            match side {
                Side::Either => has(local) || has(remote),
                Side::Local => has(local),
                Side::Remote => has(remote),
            }
        }
        Term::Nets(side, nets) => {
            let [one, other] = ends(*side);
            let has = |addr| nets.iter().any(|net| net.contains(addr));
            has(one.addr) || has(other.addr)
        }
        Term::Pids(ids) => ids.contains(&key.tgid),
        Term::Tids(ids) => ids.contains(&key.tid),
        Term::Tree(ids) => owner.trees.iter().any(|root| ids.contains(root)),
        Term::Netns(ids) => ids.contains(&key.netns),
        Term::Interfaces(ids) => ids.contains(&key.local.zone.ifindex),
        Term::ZonedHosts(side, hosts) => ends(*side).iter().any(|end| {
            let is = |host: &ZonedHost| {
                host.addr == end.addr && [0, end.zone.ifindex].contains(&host.ifindex)
            };
            hosts.iter().any(is)
        }),
        Term::Users(_, uids) => owner.uid.is_some_and(|uid| uids.contains(&uid)),
        Term::Internal => subject.internal,
        Term::Class(classes) => subject.class.is_some_and(|class| classes.contains(&class)),
        Term::Zone(names) => {
            let zone = subject.zone;
            zone.is_some_and(|zone| names.iter().any(|name| name.matches(&zone.name)))
        }
        Term::HostNames(names) => subject
            .dns_name
            .is_some_and(|host| names.iter().any(|name| name.matches(host))),
        Term::Domains(domains) => subject
            .dns_name
            .is_some_and(|host| domains.iter().any(|domain| is_within(host, domain))),
        Term::Moved(direction) => subject.counters.bytes(*direction) > 0,
        Term::Compare(compare) => compare.holds(subject.counters, subject.elapsed),
        Term::Comm(_) | Term::Container(_) | Term::Unit(_) | Term::Member(..) => false,
    }
}

impl Compare {
    /// Compares exactly, without a division. A rate over no time is 0.
    fn holds(&self, counters: &Counters, elapsed: Duration) -> bool {
        let bits = u128::from(self.directions.bytes(counters)) * 8;
        let (have, limit) = if self.per_second {
            let bits = if elapsed.is_zero() { 0 } else { bits };
            let limit = u128::from(self.bits).saturating_mul(elapsed.as_nanos());
            // At most 8 * 2^64 * 10^9 on the left. Over no time the limit itself is compared with.
            let limit = if elapsed.is_zero() {
                self.bits.into()
            } else {
                limit
            };
            (bits * 1_000_000_000, limit)
        } else {
            (bits, self.bits.into())
        };
        match self.op {
            Op::More => have > limit,
            Op::AtLeast => have >= limit,
            Op::Less => have < limit,
            Op::AtMost => have <= limit,
            Op::Equal => have == limit,
            Op::Different => have != limit,
        }
    }
}

/// Whether a name is a domain or below it.
fn is_within(host: &str, domain: &str) -> bool {
    let before = host.strip_suffix(domain);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Whether a control group is in a container or unit that a term names.
fn is_in(location: &CgroupLocation, term: &Term) -> bool {
    match term {
        Term::Container(names) if location.container.is_some() || location.pod.is_some() => {
            // The name as in columns, with and without its runtime: docker:0123456789ab, or
            // pod:01234567.
            let labels = location.labels();
            let shown = [
                Some(location.to_string()),
                location.label_name(),
                location.short_id(),
                labels.and_then(|labels| labels.name.clone()),
                labels.and_then(|labels| labels.pod_name()),
            ];
            let is_shown = |name: &Pattern| shown.iter().flatten().any(|text| name.matches(text));
            let container = location.container.as_ref();
            let is_id = |name: &Pattern| {
                container.is_some_and(|it| name.matches(&it.id) || begins(it, name))
            };
            names.iter().any(|name| is_shown(name) || is_id(name))
        }
        Term::Member(group, patterns) => {
            let names = member_names(location, *group);
            patterns.iter().any(|pattern| {
                let pod = location.pod.as_deref().filter(|_| *group == Group::Pod);
                names.iter().flatten().any(|name| pattern.matches(name))
                    || pod.is_some_and(|pod| has_beginning(pod, pattern))
            })
        }
        Term::Unit(names) => {
            let units = [&location.unit, &location.unit_group];
            let mut units = units.into_iter().flatten();
            units.any(|unit| names.iter().any(|name| name.matches(unit)))
        }
        _ => false,
    }
}

/// Returns the names by which the pod, namespace, compose service or job of a container matches.
fn member_names(location: &CgroupLocation, group: Group) -> [Option<String>; 4] {
    let of = |membership: &ContainerMembership| membership.name().map(ToString::to_string);
    let labels = location.labels();
    let text = |text: Option<&String>| text.cloned();
    match group {
        Group::Pod => [
            location.pod.clone(),
            labels.and_then(|labels| text(labels.pod.as_ref())),
            labels.and_then(|labels| labels.pod_name()),
            None,
        ],
        Group::Namespace => [
            of(&location.namespace()),
            labels.and_then(|labels| text(labels.namespace.as_ref())),
            None,
            None,
        ],
        Group::Compose => [
            of(&location.compose()),
            labels.and_then(|labels| labels.compose_name()),
            labels.and_then(|labels| text(labels.compose_project.as_ref())),
            None,
        ],
        _ => [
            of(&location.job_name()),
            location.job.as_ref().map(ToString::to_string),
            location.job.as_ref().map(|job| job.id.clone()),
            location.job_step_name(),
        ],
    }
}

/// Whether a pattern is the beginning of a container's id.
fn begins(container: &Container, name: &Pattern) -> bool {
    container.has_long_id() && has_beginning(&container.id, name)
}

/// Whether a pattern is the beginning of a long id.
fn has_beginning(id: &str, name: &Pattern) -> bool {
    name.as_exact().is_some_and(|word| {
        let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex && word.len() >= MIN_ID && id.starts_with(&word.to_lowercase())
    })
}
