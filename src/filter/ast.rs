//! The syntax tree of a filter: terms joined by and, or and not; and its canonical written form.

use std::fmt;
use std::net::IpAddr;

use super::kernel_filter::{Family, PortRange};
use super::pattern::Pattern;
use crate::model::flow::{Direction, Protocol};
use crate::model::net::Net;
use crate::model::peer_class::PeerClass;
use crate::view::{Directions, Group};

/// A parsed filter. Its written form parses to the same filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// All parts match; at least two parts.
    All(Vec<Expr>),
    /// Any part matches; at least two parts.
    Any(Vec<Expr>),
    /// The part does not match.
    Not(Box<Expr>),
    Is(Term),
}

/// An end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Either,
    /// The end of the socket itself.
    Local,
    /// The end of the peer.
    Remote,
}

/// A condition on a flow. Of several values any may match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    // `tcp`, `udp`.
    Protocol(Protocol),
    // `ip`, `ip6`.
    Family(Family),
    // `port`, `portrange`.
    Ports(Side, Vec<PortRange>),
    // `host`, `net`.
    Nets(Side, Vec<Net>),
    /// `pid`: thread group ids.
    Pids(Vec<u32>),
    // `tid`.
    Tids(Vec<u32>),
    /// `tree`: processes, and all that descend from them.
    Tree(Vec<u32>),
    // `netns`: inode numbers.
    Netns(Vec<u32>),
    /// `interface`: numbers of interfaces that sockets are bound to, or that link-local peers are
    /// on.
    Interfaces(Vec<u32>),
    /// `host` with an interface, as in `fe80::1%eth0`.
    ZonedHosts(Side, Vec<ZonedHost>),
    /// `user`: the patterns as written, and the user ids that they match.
    Users(Vec<Pattern>, Vec<u32>),
    /// `process`, or its synonym `comm`.
    Comm(Vec<Pattern>),
    // `container`.
    Container(Vec<Pattern>),
    // `unit`.
    Unit(Vec<Pattern>),
    /// `pod`, `namespace`, `compose` or `job`: a group that the container belongs to.
    Member(Group, Vec<Pattern>),
    /// `class`: the class of the peer's address.
    Class(Vec<PeerClass>),
    /// `zone`: the user's zone of the peer.
    Zone(Vec<Pattern>),
    /// `host` with names: host names that the peer's address was resolved from.
    HostNames(Vec<Pattern>),
    /// `domain`: host names that equal one of these, or end with a dot and one of them.
    Domains(Vec<String>),
    /// `internal`: both ends are known to be on this machine; `external` is its `not`.
    Internal,
    /// `rx`, `tx`: the flow moved bytes in this direction.
    Moved(Direction),
    /// `rate > 1MB` and the like.
    Compare(Compare),
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZonedHost {
    pub addr: IpAddr,
    /// Number of the interface; 0: any.
    pub ifindex: u32,
}

impl fmt::Display for ZonedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ifindex {
            0 => write!(f, "{}", self.addr),
            ifindex => write!(f, "{}%{ifindex}", self.addr),
        }
    }
}

/// A comparison of the bytes of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Received, sent, or both summed.
    pub directions: Directions,
    /// Whether the limit is per second or per interval.
    pub per_second: bool,
    pub op: Op,
    /// The limit, in bits.
    pub bits: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    // `>`
    More,
    // `>=`
    AtLeast,
    // `<`
    Less,
    // `<=`
    AtMost,
    // `=` or `==`
    Equal,
    // `!=`
    Different,
}

impl Op {
    const fn as_str(self) -> &'static str {
        match self {
            Self::More => ">",
            Self::AtLeast => ">=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "=",
            Self::Different => "!=",
        }
    }
}

impl Term {
    /// Whether the group of this name matches; `None` for terms that a group's name does not
    /// decide. Containers and units can be called by more than their group's name.
    fn matches_group(&self, group: Group, name: &str) -> Option<bool> {
        let has = |patterns: &[Pattern], name: &str| {
            name != "unknown" && patterns.iter().any(|pattern| pattern.matches(name))
        };
        match (self, group) {
            (Self::Comm(patterns), Group::Program) => {
                // A thread of the kernel, in the brackets of its group.
                let kernel = name
                    .strip_prefix('[')
                    .and_then(|name| name.strip_suffix(']'));
                Some(has(patterns, name) || kernel.is_some_and(|name| has(patterns, name)))
            }
            (Self::Users(patterns, _), Group::User) => Some(has(patterns, name)),
            (Self::Class(classes), Group::Class) => {
                Some(classes.iter().any(|class| class.as_str() == name))
            }
            _ => None,
        }
    }
}

impl Expr {
    /// Joins parts by `and`; `None` without parts.
    pub fn all(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::All(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        match flat.len() {
            0 | 1 => flat.pop(),
            _ => Some(Self::All(flat)),
        }
    }

    /// Joins parts by `or`; `None` without parts.
    pub fn any(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::Any(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        match flat.len() {
            0 | 1 => flat.pop(),
            _ => Some(Self::Any(flat)),
        }
    }

    pub fn terms(&self) -> Vec<&Term> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::terms).collect(),
            Self::Not(part) => part.terms(),
            Self::Is(term) => vec![term],
        }
    }

    /// Returns a filter that [`Self::matches_group`] decides by names of this group; `None` where
    /// it decides none.
    pub const fn group_example(&self, group: Group) -> Option<&'static str> {
        match group {
            Group::Program => Some("process nginx"),
            Group::User => Some("user www-data"),
            Group::Class => Some("class internet"),
            _ => None,
        }
    }

    /// Whether the sums of the group of this name match; `None` if a term is about anything but the
    /// group.
    pub fn matches_group(&self, group: Group, name: &str) -> Option<bool> {
        let mut parts = match self {
            Self::Is(term) => return term.matches_group(group, name),
            Self::Not(part) => return part.matches_group(group, name).map(|is| !is),
            Self::All(parts) | Self::Any(parts) => parts.iter(),
        };
        let is_all = matches!(self, Self::All(_));
        parts.try_fold(is_all, |found, part| {
            let is = part.matches_group(group, name)?;
            Some(if is_all { found && is } else { found || is })
        })
    }

    /// Returns the PIDs that `tree` terms name, sorted, without duplicates.
    pub fn roots(&self) -> Vec<u32> {
        let terms = self.terms().into_iter();
        let mut roots: Vec<u32> = terms
            .filter_map(|term| match term {
                Term::Tree(ids) => Some(ids.as_slice()),
                _ => None,
            })
            .flatten()
            .copied()
            .collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// Whether all terms are about amounts, so that the filter can test a total too.
    pub fn is_about_amounts(&self) -> bool {
        let is = |term: &&Term| matches!(term, Term::Compare(_) | Term::Moved(_));
        self.terms().iter().all(is)
    }

    /// Writes the filter as a part of another one.
    fn part(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(_) | Self::Any(_) => write!(f, "({self})"),
            Self::Not(_) | Self::Is(_) => write!(f, "{self}"),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word) = match self {
            Self::Is(term) => return write!(f, "{term}"),
            Self::Not(part) => {
                f.write_str("not ")?;
                return part.part(f);
            }
            Self::All(parts) => (parts, " and "),
            Self::Any(parts) => (parts, " or "),
        };
        for (i, part) in parts.iter().enumerate() {
            f.write_str(if i > 0 { word } else { "" })?;
            part.part(f)?;
        }
        Ok(())
    }
}

impl Term {
    /// Whether the term tests the owner of a flow.
    pub(super) const fn is_about_owner(&self) -> bool {
        matches!(
            self,
            Self::Comm(_) | Self::Container(_) | Self::Unit(_) | Self::Member(..)
        )
    }

    /// Returns the reason why only user space can evaluate the term; `None` if the kernel can.
    pub(super) const fn userspace_reason(&self) -> Option<&'static str> {
        match self {
            Self::Comm(_) => Some("process names are read when an interval ends"),
            Self::Container(_) | Self::Unit(_) | Self::Member(..) => {
                Some("control groups are read when an interval ends")
            }
            Self::Moved(_) | Self::Compare(_) => Some("it needs the bytes of the whole interval"),
            Self::Zone(_) => Some("zones are looked up when an interval ends"),
            Self::Class(_) => Some("addresses of this machine are known when an interval ends"),
            Self::HostNames(_) | Self::Domains(_) => {
                Some("names of hosts are known when an interval ends")
            }
            Self::Internal => Some("both ends of a flow are compared when an interval ends"),
            Self::Interfaces(_) | Self::ZonedHosts(..) => {
                Some("interfaces are compared when an interval ends")
            }
            _ => None,
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(protocol) => write!(f, "{protocol}"),
            Self::Family(Family::V4) => f.write_str("ip"),
            Self::Family(Family::V6) => f.write_str("ip6"),
            Self::Ports(side, ports) => {
                let range = matches!(ports[..], [only] if only.first != only.last);
                let word = if range { "portrange" } else { "port" };
                values(f, *side, word, ports)
            }
            Self::Nets(side, nets) if nets.iter().all(|net| net.prefix == Net::bits(net.addr)) => {
                let hosts: Vec<_> = nets.iter().map(|net| net.addr).collect();
                values(f, *side, "host", &hosts)
            }
            Self::Nets(side, nets) => values(f, *side, "net", nets),
            Self::Pids(ids) => values(f, Side::Either, "pid", ids),
            Self::Tids(ids) => values(f, Side::Either, "tid", ids),
            Self::Tree(ids) => values(f, Side::Either, "tree", ids),
            Self::Netns(ids) => values(f, Side::Either, "netns", ids),
            Self::Interfaces(ids) => values(f, Side::Either, "interface", ids),
            Self::ZonedHosts(side, hosts) => values(f, *side, "host", hosts),
            Self::Users(users, _) => values(f, Side::Either, "user", users),
            Self::Comm(names) => values(f, Side::Either, "process", names),
            Self::Container(names) => values(f, Side::Either, "container", names),
            Self::Unit(names) => values(f, Side::Either, "unit", names),
            Self::Member(group, names) => values(f, Side::Either, group.rows(1), names),
            Self::Class(classes) => values(f, Side::Either, "class", classes),
            Self::Zone(names) => values(f, Side::Either, "zone", names),
            Self::HostNames(names) => values(f, Side::Either, "host", names),
            Self::Domains(names) => values(f, Side::Either, "domain", names),
            Self::Internal => f.write_str("internal"),
            Self::Moved(Direction::Rx) => f.write_str("rx"),
            Self::Moved(Direction::Tx) => f.write_str("tx"),
            Self::Compare(compare) => write!(f, "{compare}"),
        }
    }
}

fn values<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    side: Side,
    word: &str,
    values: &[T],
) -> fmt::Result {
    f.write_str(match side {
        Side::Either => "",
        Side::Local => "local ",
        Side::Remote => "remote ",
    })?;
    if let [only] = values {
        return write!(f, "{word} {only}");
    }
    for (i, value) in values.iter().enumerate() {
        match i {
            0 => write!(f, "{word} ({value}")?,
            _ => write!(f, " or {value}")?,
        }
    }
    f.write_str(")")
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.directions {
            Directions::Both => "",
            Directions::Rx => "rx ",
            Directions::Tx => "tx ",
        })?;
        let what = if self.per_second { "rate" } else { "bytes" };
        let amount = super::amount::Amount(self.bits);
        write!(f, "{what} {} {amount}", self.op.as_str())
    }
}
