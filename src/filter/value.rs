//! Turns the values of a term into that term.

use std::net::{IpAddr, SocketAddr};

use super::ast::{Side, Term, ZonedHost};
use super::error::Error;
use super::kernel_filter::{Net, PortRange};
use super::lexer::{SpannedToken, Token};
use super::name_tables::NameTables;
use super::pattern::Pattern;
use crate::model::flow::Comm;
use crate::resolve::interfaces;

/// Largest process or thread id that Linux gives out (`PID_MAX_LIMIT`).
const MAX_ID: u32 = 4_194_304;

/// What values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKind {
    Host,
    Net,
    Port,
    PortRange,
    Pid,
    Tid,
    Comm,
    User,
    Container,
    Unit,
    Netns,
    Interface,
}

const KINDS: [(ValueKind, &str, &str); 12] = [
    (ValueKind::Host, "host", "192.0.2.1"),
    (ValueKind::Net, "net", "10.0.0.0/8"),
    (ValueKind::Port, "port", "443"),
    (ValueKind::PortRange, "portrange", "8000-8999"),
    (ValueKind::Pid, "pid", "1234"),
    (ValueKind::Tid, "tid", "1234"),
    (ValueKind::Comm, "comm", "nginx"),
    (ValueKind::User, "user", "www-data"),
    (ValueKind::Container, "container", "4f2a"),
    (ValueKind::Unit, "unit", "nginx.service"),
    (ValueKind::Netns, "netns", "4026531840"),
    (ValueKind::Interface, "interface", "eth0"),
];

impl ValueKind {
    pub(super) fn named(word: &str) -> Option<Self> {
        let found = KINDS.iter().find(|(_, name, _)| *name == word);
        found.map(|(kind, ..)| *kind)
    }

    pub(super) fn as_str(self) -> &'static str {
        self.row().1
    }

    pub(super) fn example(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> &'static (Self, &'static str, &'static str) {
        let found = KINDS.iter().find(|(kind, ..)| *kind == self);
        found.unwrap_or(&KINDS[0])
    }

    pub(super) const fn has_sides(self) -> bool {
        matches!(self, Self::Host | Self::Net | Self::Port | Self::PortRange)
    }
}

/// Whether a word is an address or a network by itself.
pub(super) fn address_kind(word: &str) -> Option<ValueKind> {
    let (addr, _) = word.split_once('%').unwrap_or((word, ""));
    if addr.parse::<IpAddr>().is_ok() {
        return Some(ValueKind::Host);
    }
    let (addr, _) = word.split_once('/')?;
    addr.parse::<IpAddr>().is_ok().then_some(ValueKind::Net)
}

/// The term of these values.
///
/// # Errors
/// Which value is wrong, and what to write.
pub(super) fn term(
    kind: ValueKind,
    side: Side,
    values: &[SpannedToken],
    name_tables: &NameTables,
) -> Result<Term, Error> {
    Ok(match kind {
        ValueKind::Host => hosts(side, &each(kind, values, host)?),
        ValueKind::Net => Term::Nets(side, each(kind, values, net)?),
        ValueKind::Port | ValueKind::PortRange => {
            let ports = each(kind, values, |word| ports(word, name_tables))?;
            Term::Ports(side, ports.into_iter().flatten().collect())
        }
        ValueKind::Pid => Term::Pids(each(kind, values, id)?),
        ValueKind::Tid => Term::Tids(each(kind, values, id)?),
        ValueKind::Netns => Term::Netns(each(kind, values, netns)?),
        ValueKind::Interface => Term::Interfaces(each(kind, values, interface)?),
        ValueKind::Comm => Term::Comm(names(values, |word| comm(&word))?),
        ValueKind::Container => Term::Container(names(values, |word| word)?),
        ValueKind::Unit => Term::Unit(names(values, unit)?),
        ValueKind::User => users(values, name_tables)?,
    })
}

/// What is wrong with a value, and what to write.
struct InvalidValue(String, Option<String>);

impl InvalidValue {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self(message.into(), Some(help.into()))
    }

    fn at(self, placed: &SpannedToken) -> Error {
        let Self(message, help) = self;
        let error = Error::new(message, placed.at.clone());
        match help {
            Some(help) => error.help(help),
            None => error,
        }
    }
}

/// Every value by itself, from its text.
fn each<T>(
    kind: ValueKind,
    values: &[SpannedToken],
    read: impl Fn(&str) -> Result<T, InvalidValue>,
) -> Result<Vec<T>, Error> {
    let one = |placed: &SpannedToken| {
        let word = match &placed.token {
            Token::Word(word) | Token::Quoted(word) => word,
            _ => {
                let message = format!("{} takes no regular expression", kind.as_str());
                let help = format!("write a value, as in {} {}", kind.as_str(), kind.example());
                return Err(InvalidValue::new(message, help).at(placed));
            }
        };
        if let Some((first, rest)) = word.split_once(',')
            && !first.is_empty()
        {
            let all: Vec<&str> = std::iter::once(first).chain(rest.split(',')).collect();
            let help = format!("write {} ({})", kind.as_str(), all.join(" or "));
            let message = "values are separated by or, not by commas";
            return Err(InvalidValue::new(message, help).at(placed));
        }
        read(word).map_err(|wrong| wrong.at(placed))
    };
    values.iter().map(one).collect()
}

/// Networks of one address, which the kernel can compare, where no interface is named.
fn hosts(side: Side, hosts: &[ZonedHost]) -> Term {
    if hosts.iter().any(|host| host.ifindex != 0) {
        return Term::ZonedHosts(side, hosts.to_vec());
    }
    let nets = hosts
        .iter()
        .map(|host| Net::of(host.addr, Net::bits(host.addr)));
    Term::Nets(side, nets.collect())
}

fn host(word: &str) -> Result<ZonedHost, InvalidValue> {
    let (addr, zone) = match word.split_once('%') {
        Some((addr, zone)) => (addr, Some(zone)),
        None => (word, None),
    };
    if let Ok(addr) = addr.parse::<IpAddr>() {
        return Ok(ZonedHost {
            addr: addr.to_canonical(),
            ifindex: zone.map_or(Ok(0), interface)?,
        });
    }
    let message = format!("\"{word}\" is no address");
    Err(if address_kind(word) == Some(ValueKind::Net) {
        InvalidValue::new(message, format!("for a network write net {word}"))
    } else if let Some(help) = socket_help(word) {
        InvalidValue::new(message, help)
    } else {
        let help =
            "write one, as in host 192.0.2.1 or host 2001:db8::1; host names are not looked up";
        InvalidValue::new(message, help)
    })
}

/// For what stands in the table.
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
        return Err(InvalidValue::new(
            format!("\"{word}\" is no network"),
            example,
        ));
    };
    let most = Net::bits(addr);
    let prefix = match prefix {
        None => most,
        Some(prefix) => match prefix.parse::<u8>() {
            Ok(length) if length <= most && !prefix.starts_with('+') => length,
            _ => {
                let message = format!("\"{prefix}\" is no length of a prefix");
                let help = format!("write a number from 0 to {most}");
                return Err(InvalidValue::new(message, help));
            }
        },
    };
    let net = Net::of(addr, prefix);
    if net.addr != addr {
        let message = format!("{word} has bits set beyond its prefix");
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

/// A number, a range or a service, which may have several ports.
fn ports(word: &str, name_tables: &NameTables) -> Result<Vec<PortRange>, InvalidValue> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u16>().ok())
    };
    if let Some(port) = number(word) {
        let port = port.ok_or_else(|| {
            InvalidValue::new(
                format!("there is no port {word}"),
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
                    format!("{word} ends before it begins"),
                    help,
                ))
            }
            _ => {
                let help = "write numbers from 0 to 65535";
                Err(InvalidValue::new(
                    format!("there are no ports {word}"),
                    help,
                ))
            }
        };
    }
    let known = name_tables.ports(word);
    if known.is_empty() {
        let message = format!("\"{word}\" is no port");
        return Err(InvalidValue::new(
            message,
            match name_tables.near_service(word) {
                Some(near) => format!("did you mean {near}?"),
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

fn id(word: &str) -> Result<u32, InvalidValue> {
    match word.parse() {
        Ok(id) if (1..=MAX_ID).contains(&id) => Ok(id),
        _ => {
            let help = match word.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
                true => format!("write a number from 1 to {MAX_ID}"),
                false => format!("write a number from 1 to {MAX_ID}, or comm {word}"),
            };
            Err(InvalidValue::new(format!("\"{word}\" is no id"), help))
        }
    }
}

fn netns(word: &str) -> Result<u32, InvalidValue> {
    match word.parse() {
        Ok(inode) if inode > 0 => Ok(inode),
        _ => {
            let help = "write the number in the brackets of: readlink /proc/PID/ns/net";
            Err(InvalidValue::new(
                format!("\"{word}\" is no network namespace"),
                help,
            ))
        }
    }
}

/// An interface of flowtop's own network namespace by its name, or of any namespace by its number.
fn interface(word: &str) -> Result<u32, InvalidValue> {
    let number = word.parse().ok().filter(|&ifindex| ifindex > 0);
    number.or_else(|| interfaces::number(word)).ok_or_else(|| {
        let help = "write a name or number that ip link shows, as in interface eth0";
        InvalidValue::new(format!("\"{word}\" is no interface"), help)
    })
}

/// Names, each a word, a glob or an expression; `spelled` is how a word stands in the kernel.
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
            _ => Ok(Pattern::exact("")),
        };
        pattern.map_err(|wrong| {
            let message = format!("this cannot be matched: {wrong}");
            Error::new(message, placed.at.clone())
                .help("quotes make every character stand for itself")
        })
    };
    values.iter().map(one).collect()
}

/// The kernel cuts names after 15 bytes.
fn comm(word: &str) -> String {
    Comm::new(word.as_bytes()).to_string_lossy().into_owned()
}

/// As systemctl has it: a name without its kind is that of a service.
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
                    format!("/etc/passwd has no user \"{word}\""),
                    match name_tables.near_user(word) {
                        Some(near) => format!("did you mean {near}?"),
                        None => "for a user of another name service write the number".to_owned(),
                    },
                ),
                None => InvalidValue(format!("/etc/passwd has no user like {pattern}"), None),
            };
            return Err(wrong.at(placed));
        }
        uids.extend(found);
    }
    uids.sort_unstable();
    uids.dedup();
    Ok(Term::Users(patterns, uids))
}
