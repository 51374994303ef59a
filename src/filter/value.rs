//! Parses the values of a term.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::ast::{Side, Term, ZonedHost};
use super::error::Error;
use super::kernel_filter::PortRange;
use super::lexer::{SpannedToken, Token};
use super::name_tables::NameTables;
use super::pattern::Pattern;
use crate::model::flow::Comm;
use crate::model::net::Net;
use crate::model::peer_class::PeerClass;
use crate::resolve::interfaces;
use crate::view::Group;

/// Largest process or thread id that Linux assigns (`PID_MAX_LIMIT`).
pub const MAX_ID: u32 = 4_194_304;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    Host,
    Net,
    Port,
    PortRange,
    Pid,
    Tid,
    Tree,
    Process,
    User,
    Container,
    Unit,
    Pod,
    Namespace,
    Compose,
    Job,
    Netns,
    Interface,
    Class,
    Zone,
    Domain,
}

impl ValueKind {
    const ALL: [Self; 20] = [
        Self::Host,
        Self::Net,
        Self::Port,
        Self::PortRange,
        Self::Pid,
        Self::Tid,
        Self::Tree,
        Self::Process,
        Self::User,
        Self::Container,
        Self::Unit,
        Self::Pod,
        Self::Namespace,
        Self::Compose,
        Self::Job,
        Self::Netns,
        Self::Interface,
        Self::Class,
        Self::Zone,
        Self::Domain,
    ];

    pub(super) fn named(word: &str) -> Option<Self> {
        match word {
            "comm" => Some(Self::Process),
            word => Self::ALL.into_iter().find(|kind| kind.as_str() == word),
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Net => "net",
            Self::Port => "port",
            Self::PortRange => "portrange",
            Self::Pid => "pid",
            Self::Tid => "tid",
            Self::Tree => "tree",
            Self::Process => "process",
            Self::User => "user",
            Self::Container => "container",
            Self::Unit => "unit",
            Self::Pod => "pod",
            Self::Namespace => "namespace",
            Self::Compose => "compose",
            Self::Job => "job",
            Self::Netns => "netns",
            Self::Interface => "interface",
            Self::Class => "class",
            Self::Zone => "zone",
            Self::Domain => "domain",
        }
    }

    pub(super) const fn example(self) -> &'static str {
        match self {
            Self::Host => "192.0.2.1",
            Self::Net => "10.0.0.0/8",
            Self::Port => "443",
            Self::PortRange => "8000-8999",
            Self::Pid | Self::Tid | Self::Tree => "1234",
            Self::Process => "nginx",
            Self::User => "www-data",
            Self::Container => "4f2a",
            Self::Unit => "nginx.service",
            Self::Pod => "web-0",
            Self::Namespace => "shop",
            Self::Compose => "shop/web",
            Self::Job => "1234",
            Self::Netns => "4026531840",
            Self::Interface => "eth0",
            Self::Class => "internet",
            Self::Zone => "eu-west",
            Self::Domain => "example.com",
        }
    }

    pub(super) const fn has_sides(self) -> bool {
        matches!(self, Self::Host | Self::Net | Self::Port | Self::PortRange)
    }
}

/// The name that always means this machine (RFC 6761, section 6.3).
const LOCALHOST: &str = "localhost";

/// Returns the kind of a word that is an address or a network by itself.
pub(super) fn address_kind(word: &str) -> Option<ValueKind> {
    if word == LOCALHOST {
        return Some(ValueKind::Host);
    }
    let (addr, _) = word.split_once('%').unwrap_or((word, ""));
    if addr.parse::<IpAddr>().is_ok() {
        return Some(ValueKind::Host);
    }
    let (addr, _) = word.split_once('/')?;
    addr.parse::<IpAddr>().is_ok().then_some(ValueKind::Net)
}

/// Parses values of one kind into a term.
///
/// # Errors
/// The value that is wrong, and what to write instead.
pub(super) fn term(
    kind: ValueKind,
    side: Side,
    values: &[SpannedToken],
    name_tables: &NameTables,
) -> Result<Term, Error> {
    Ok(match kind {
        ValueKind::Host if values.iter().any(|placed| names_host(&placed.token)) => {
            host_names(side, values)?
        }
        ValueKind::Domain => Term::Domains(each(kind, values, domain)?),
        ValueKind::Host => hosts(side, &each(kind, values, host)?.concat()),
        ValueKind::Net => Term::Nets(side, each(kind, values, net)?),
        ValueKind::Port | ValueKind::PortRange => {
            let ports = each(kind, values, |word| ports(word, name_tables))?;
            Term::Ports(side, ports.into_iter().flatten().collect())
        }
        ValueKind::Pid => Term::Pids(each(kind, values, |word| id(word, "process"))?),
        ValueKind::Tid => Term::Tids(each(kind, values, |word| id(word, "thread"))?),
        ValueKind::Tree => Term::Tree(each(kind, values, |word| id(word, "process"))?),
        ValueKind::Class => Term::Class(each(kind, values, class)?),
        ValueKind::Zone => Term::Zone(names(values, |word| word)?),
        ValueKind::Netns => Term::Netns(each(kind, values, |word| netns(word, name_tables))?),
        ValueKind::Interface => Term::Interfaces(each(kind, values, interface)?),
        ValueKind::Process => Term::Comm(names(values, |word| comm(&word))?),
        ValueKind::Container => Term::Container(names(values, |word| word)?),
        ValueKind::Unit => Term::Unit(names(values, unit)?),
        ValueKind::Pod => Term::Member(Group::Pod, names(values, |word| word)?),
        ValueKind::Namespace => Term::Member(Group::Namespace, names(values, |word| word)?),
        ValueKind::Compose => Term::Member(Group::Compose, names(values, |word| word)?),
        ValueKind::Job => Term::Member(Group::Job, names(values, |word| word)?),
        ValueKind::User => users(values, name_tables)?,
    })
}

/// A wrong value: the message, and the fix.
struct InvalidValue(String, String);

impl InvalidValue {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self(message.into(), help.into())
    }

    fn at(self, placed: &SpannedToken) -> Error {
        let Self(message, help) = self;
        Error::new(message, placed.at.clone()).help(help)
    }
}

/// Parses every value by itself.
fn each<T>(
    kind: ValueKind,
    values: &[SpannedToken],
    read: impl Fn(&str) -> Result<T, InvalidValue>,
) -> Result<Vec<T>, Error> {
    let one = |placed: &SpannedToken| {
        let word = match &placed.token {
            Token::Word(word) | Token::Quoted(word) => word,
            _ => {
                let message = format!("\"{}\" takes no regular expression", kind.as_str());
                let help = format!("write a value, as in {} {}", kind.as_str(), kind.example());
                return Err(InvalidValue::new(message, help).at(placed));
            }
        };
        if let Some((first, rest)) = word.split_once(',')
            && !first.is_empty()
        {
            let all: Vec<&str> = std::iter::once(first).chain(rest.split(',')).collect();
            let help = format!("write {} ({})", kind.as_str(), all.join(" or "));
            let message =
                format!("\"{word}\" is not one value: \"or\" separates values, not a comma");
            return Err(InvalidValue::new(message, help).at(placed));
        }
        read(word).map_err(|wrong| wrong.at(placed))
    };
    values.iter().map(one).collect()
}

/// Makes a term of hosts: networks of one address, which the kernel can compare, unless an
/// interface is named.
fn hosts(side: Side, hosts: &[ZonedHost]) -> Term {
    if hosts.iter().any(|host| host.ifindex != 0) {
        return Term::ZonedHosts(side, hosts.to_vec());
    }
    let nets = hosts
        .iter()
        .map(|host| Net::of(host.addr, Net::bits(host.addr)));
    Term::Nets(side, nets.collect())
}

/// Parses an address; [`LOCALHOST`] has two.
fn host(word: &str) -> Result<Vec<ZonedHost>, InvalidValue> {
    if word == LOCALHOST {
        let both = [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        ];
        return Ok(both.map(|addr| ZonedHost { addr, ifindex: 0 }).to_vec());
    }
    let (addr, zone) = match word.split_once('%') {
        Some((addr, zone)) => (addr, Some(zone)),
        None => (word, None),
    };
    if let Ok(addr) = addr.parse::<IpAddr>() {
        return Ok(vec![ZonedHost {
            addr: addr.to_canonical(),
            ifindex: zone.map_or(Ok(0), interface)?,
        }]);
    }
    let message = format!("\"{word}\" is not an IP address");
    Err(if address_kind(word) == Some(ValueKind::Net) {
        InvalidValue::new(message, format!("for a network write net {word}"))
    } else if let Some(help) = socket_help(word).or_else(|| partial_address_help(word)) {
        InvalidValue::new(message, help)
    } else {
        InvalidValue::new(
            message,
            "write one, as in host 192.0.2.1, or the full name of a host, as in host api.example.com",
        )
    })
}

/// Whether a value of `host` is the name of one, or a pattern of names, and no address.
fn names_host(token: &Token) -> bool {
    match token {
        Token::Word(word) if word.contains(['*', '?']) => word.chars().any(char::is_alphabetic),
        Token::Word(word) | Token::Quoted(word) => {
            is_host_name(word) && socket_help(word).is_none()
        }
        Token::Regex(_) => true,
        _ => false,
    }
}

/// Parses host names, which only peers have, not local ends.
fn host_names(side: Side, values: &[SpannedToken]) -> Result<Term, Error> {
    let wrong = |placed: &SpannedToken, message: &str, help: &str| {
        InvalidValue::new(message, help).at(placed)
    };
    if let (Side::Local, Some(first)) = (side, values.first()) {
        return Err(wrong(
            first,
            "names are those of peers: a local end has none",
            "write host and the name, or local host and an address",
        ));
    }
    if let Some(addr) = values.iter().find(|placed| !names_host(&placed.token)) {
        return Err(wrong(
            addr,
            "addresses and host names cannot be in one list",
            "write host twice, as in host 192.0.2.1 or host api.example.com",
        ));
    }
    let in_lower_case = values.iter().map(|placed| SpannedToken {
        token: match &placed.token {
            Token::Word(word) => Token::Word(word.trim_end_matches('.').to_ascii_lowercase()),
            Token::Quoted(word) => Token::Quoted(word.to_ascii_lowercase()),
            other => other.clone(),
        },
        at: placed.at.clone(),
    });
    names(&in_lower_case.collect::<Vec<_>>(), |word| word).map(Term::HostNames)
}

/// Parses the name of a domain; a dot at its beginning or end changes nothing.
fn domain(word: &str) -> Result<String, InvalidValue> {
    let name = word.trim_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if name.parse::<IpAddr>().is_ok() || !name.split('.').all(is_label) {
        let help =
            "write one, as in domain example.com; for patterns host, as in host *.example.com";
        let message = format!("\"{word}\" is not the name of a domain");
        return Err(InvalidValue::new(message, help));
    }
    Ok(name)
}

/// Whether a word has the form of a host's full name, as in `example.com`.
pub(super) fn is_host_name(word: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let last = word.rsplit('.').next().unwrap_or_default();
    word.contains('.')
        && word.split('.').all(is_label)
        && last.chars().all(|c| c.is_ascii_alphabetic())
}

/// Returns the fix for the beginning of an IPv4 address, which tcpdump reads as a network, and for
/// one of wrong numbers.
pub(super) fn partial_address_help(word: &str) -> Option<String> {
    let parts: Vec<&str> = word.trim_end_matches('.').split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    if parts.len() == 4 && parts.iter().all(is_number) {
        return Some(
            "write the four numbers of an IPv4 address from 0 to 255, without zeros before them"
                .to_owned(),
        );
    }
    let is_partial =
        (2..4).contains(&parts.len()) && parts.iter().all(|part| part.parse::<u8>().is_ok());
    is_partial.then(|| {
        let zeros = ".0".repeat(4 - parts.len());
        format!("write net {}{zeros}/{}", parts.join("."), 8 * parts.len())
    })
}

/// Returns the fix for an address with a port, as columns show them.
pub(super) fn socket_help(word: &str) -> Option<String> {
    let end: SocketAddr = word.parse().ok()?;
    Some(format!("write host {} and port {}", end.ip(), end.port()))
}

fn net(word: &str) -> Result<Net, InvalidValue> {
    let example = "write one, as in net 10.0.0.0/8 or net 2001:db8::/32";
    let (addr, prefix) = match word.split_once('/') {
        Some((addr, prefix)) => (addr, Some(prefix)),
        None => (word, None),
    };
    let Ok(addr) = addr.parse::<IpAddr>() else {
        let help = partial_address_help(word).unwrap_or_else(|| example.to_owned());
        return Err(InvalidValue::new(
            format!("\"{word}\" is not a network"),
            help,
        ));
    };
    let most = Net::bits(addr);
    let prefix = match prefix {
        None => most,
        Some(prefix) => match prefix.parse::<u8>() {
            Ok(length) if length <= most && !prefix.starts_with('+') => length,
            _ => {
                let message = format!("\"{prefix}\" is not the length of a prefix");
                let help = format!("write a number from 0 to {most}");
                return Err(InvalidValue::new(message, help));
            }
        },
    };
    let net = Net::of(addr, prefix);
    if net.addr != addr {
        let message = format!("\"{word}\" has bits set beyond its prefix");
        return Err(InvalidValue::new(
            message,
            format!("write net {net}, or host {addr}"),
        ));
    }
    // ::ffff:10.0.0.0/104 is 10.0.0.0/8: flows have no IPv4-mapped addresses.
    match (addr.to_canonical(), prefix.checked_sub(96)) {
        (v4 @ IpAddr::V4(_), Some(prefix)) if addr.is_ipv6() => Ok(Net::of(v4, prefix)),
        _ => Ok(net),
    }
}

/// Parses a number, a range or the name of a service, which may have several ports.
fn ports(word: &str, name_tables: &NameTables) -> Result<Vec<PortRange>, InvalidValue> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u16>().ok())
    };
    if let Some(port) = number(word) {
        let port = port.ok_or_else(|| {
            InvalidValue::new(
                format!("\"{word}\" is not a port"),
                "write a number from 0 to 65535",
            )
        })?;
        let (first, last) = (port, port);
        return Ok(vec![PortRange { first, last }]);
    }
    if let Some((first, last)) = word.split_once('-')
        && let (Some(first), Some(last)) = (number(first), number(last))
    {
        return match (first, last) {
            (Some(first), Some(last)) if first <= last => Ok(vec![PortRange { first, last }]),
            (Some(first), Some(last)) => {
                let help = format!("write portrange {last}-{first}");
                Err(InvalidValue::new(
                    format!("\"{word}\" ends before it begins"),
                    help,
                ))
            }
            _ => {
                let help = "write numbers from 0 to 65535";
                Err(InvalidValue::new(
                    format!("\"{word}\" is not a range of ports"),
                    help,
                ))
            }
        };
    }
    let known = name_tables.ports(word);
    if known.is_empty() {
        let message = format!("\"{word}\" is not a port or service");
        return Err(InvalidValue::new(
            message,
            match name_tables.near_service(word) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None if word.parse::<IpAddr>().is_ok() => {
                    format!("for an address write host {word}")
                }
                None => "write a number from 0 to 65535, or a service of /etc/services".to_owned(),
            },
        ));
    }
    let range = |first| PortRange { first, last: first };
    Ok(known.into_iter().map(range).collect())
}

/// Parses the id of a process or thread; `what` names the kind in errors.
fn id(word: &str, what: &str) -> Result<u32, InvalidValue> {
    match word.parse() {
        Ok(id) if (1..=MAX_ID).contains(&id) => Ok(id),
        _ => {
            let help = match word.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
                true => format!("write a number from 1 to {MAX_ID}"),
                false => format!("write a number from 1 to {MAX_ID}, or process {word}"),
            };
            Err(InvalidValue::new(
                format!("\"{word}\" is not a {what} id"),
                help,
            ))
        }
    }
}

fn class(word: &str) -> Result<PeerClass, InvalidValue> {
    PeerClass::named(word).ok_or_else(|| {
        let known = PeerClass::ALL.map(PeerClass::as_str);
        InvalidValue::new(
            format!("\"{word}\" is not a class of peers"),
            format!("write one of {}", known.join(", ")),
        )
    })
}

fn netns(word: &str, name_tables: &NameTables) -> Result<u32, InvalidValue> {
    let number = word.parse().ok().filter(|&inode| inode > 0);
    match number.or_else(|| name_tables.netns(word)) {
        Some(inode) => Ok(inode),
        None => {
            let help = "write a name that ip netns shows, or the number that readlink /proc/PID/ns/net shows in brackets";
            Err(InvalidValue::new(
                format!("\"{word}\" is not a network namespace"),
                help,
            ))
        }
    }
}

/// Parses an interface: a name of flowtop's own network namespace, or a number of any namespace.
fn interface(word: &str) -> Result<u32, InvalidValue> {
    let number = word.parse().ok().filter(|&ifindex| ifindex > 0);
    number.or_else(|| interfaces::number(word)).ok_or_else(|| {
        let help = "write a name or number that ip link shows, as in interface eth0";
        InvalidValue::new(format!("\"{word}\" is not an interface"), help)
    })
}

/// Parses names, each a word, a glob or a regular expression; `spelled` converts a word to the
/// kernel's spelling.
fn names(
    values: &[SpannedToken],
    spelled: impl Fn(String) -> String,
) -> Result<Vec<Pattern>, Error> {
    let one = |placed: &SpannedToken| {
        let pattern = match &placed.token {
            Token::Regex(text) => Pattern::regex(text),
            Token::Quoted(text) => Ok(Pattern::exact(spelled(text.clone()))),
            Token::Word(word) => match Pattern::word(word) {
                Ok(pattern) if pattern.as_exact().is_some() => {
                    Ok(Pattern::exact(spelled(word.clone())))
                }
                other => other,
            },
            _ => unreachable!(
                "the parser passes name_tables, quoted names and regular expressions only"
            ),
        };
        pattern.map_err(|wrong| {
            let message = format!("this pattern is not valid ({wrong})");
            Error::new(message, placed.at.clone())
                .help("quote a name with special characters in it")
        })
    };
    values.iter().map(one).collect()
}

/// Cuts a name after 15 bytes, as the kernel does.
fn comm(word: &str) -> String {
    Comm::new(word.as_bytes()).to_string_lossy().into_owned()
}

/// Completes the name of a unit as systemctl does: without a suffix it is a service.
fn unit(word: String) -> String {
    if word.contains('.') {
        word
    } else {
        word + ".service"
    }
}

fn users(values: &[SpannedToken], name_tables: &NameTables) -> Result<Term, Error> {
    let patterns = names(values, |word| word)?;
    let mut uids = Vec::new();
    for (pattern, placed) in patterns.iter().zip(values) {
        if let Some(uid) = pattern.as_exact().and_then(|word| word.parse().ok()) {
            uids.push(uid);
            continue;
        }
        let found = name_tables.uids(|name| pattern.matches(name));
        if found.is_empty() {
            let wrong = match pattern.as_exact() {
                Some(word) => InvalidValue::new(
                    format!("\"{word}\" is not a user in /etc/passwd"),
                    match name_tables.near_user(word) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => "for a user of another name service write the user id".to_owned(),
                    },
                ),
                None => InvalidValue::new(
                    format!("no user in /etc/passwd matches \"{pattern}\""),
                    "write a name or a user id",
                ),
            };
            return Err(wrong.at(placed));
        }
        uids.extend(found);
    }
    uids.sort_unstable();
    uids.dedup();
    Ok(Term::Users(patterns, uids))
}
