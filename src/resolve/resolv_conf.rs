//! Reads `/etc/resolv.conf`: name servers, timeout and attempts. See resolv.conf(5), from which
//! all numbers here are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use rustix::net::netdevice::name_to_index;

use super::watched_file::lines;

/// Servers beyond these are never queried, as in glibc (`MAXNS`).
pub(super) const MAX_SERVERS: usize = 3;
const PORT: u16 = 53;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conf {
    /// In the order of queries; at least one.
    pub(super) servers: Vec<NameServer>,
    /// How long to wait for an answer: 1 to 30 s.
    pub(super) timeout: Duration,
    /// Queries to each server for one name: 1 to 5.
    pub(super) attempts: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameServer {
    addr: IpAddr,
    /// The interface of a link-local address, by name or number.
    scope: Option<String>,
}

impl Default for Conf {
    fn default() -> Self {
        Self::parse(b"")
    }
}

impl Conf {
    /// A keyword at the beginning of the line and its values; what is not known, or wrong, is
    /// passed over. Without a server it is the one on this machine.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut conf = Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for line in lines(text) {
            let line = String::from_utf8_lossy(line);
            // Elsewhere `#` and `;` are no comments.
            if line.starts_with(['#', ';', ' ', '\t']) {
                continue;
            }
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if conf.servers.len() < MAX_SERVERS => {
                    conf.servers
                        .extend(words.next().and_then(NameServer::parse));
                }
                Some("options") => words.for_each(|option| conf.set(option)),
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            conf.servers.push(NameServer {
                addr: IpAddr::V4(Ipv4Addr::LOCALHOST),
                scope: None,
            });
        }
        conf
    }

    fn set(&mut self, option: &str) {
        let Some((option, value)) = option.split_once(':') else {
            return;
        };
        let Ok(value) = value.parse::<u32>() else {
            return;
        };
        match option {
            "timeout" => self.timeout = Duration::from_secs(value.clamp(1, 30).into()),
            "attempts" => self.attempts = value.clamp(1, 5),
            _ => {}
        }
    }
}

impl NameServer {
    fn parse(text: &str) -> Option<Self> {
        let (addr, scope) = match text.split_once('%') {
            Some((addr, scope)) => (addr, Some(scope.to_owned())),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().ok()?;
        Some(Self { addr, scope })
    }

    /// Where it is now; `None` while the interface of its address is not there.
    pub(super) fn socket_addr(&self) -> Option<SocketAddr> {
        match self.addr {
            IpAddr::V4(addr) => Some(SocketAddr::from((addr, PORT))),
            IpAddr::V6(addr) => {
                let scope = match &self.scope {
                    None => 0,
                    Some(scope) => scope.parse().ok().or_else(|| index_of(scope))?,
                };
                Some(SocketAddrV6::new(addr, PORT, 0, scope).into())
            }
        }
    }
}

/// The number of an interface.
fn index_of(interface: &str) -> Option<u32> {
    // Any socket will do for asking.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    name_to_index(&socket, interface).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Vec<String> {
        let conf = Conf::parse(text.as_bytes());
        let servers = conf.servers.iter();
        let text = |server: &NameServer| match server.socket_addr() {
            Some(addr) => addr.to_string(),
            None => "none".to_owned(),
        };
        servers.map(text).collect()
    }

    #[test]
    fn servers_are_those_that_are_named_or_the_machine_itself() {
        assert_eq!(servers(""), ["127.0.0.1:53"]);
        assert_eq!(servers("search example\nnameserver\n"), ["127.0.0.1:53"]);
        assert_eq!(
            servers(
                "# made by hand\n; or not\n#nameserver 192.0.2.9\n nameserver 192.0.2.8\n\
                 nameserver\t192.0.2.1 \r\nnameservers 192.0.2.7\nnameserver no.address\n\
                 nameserver 2001:db8::1\nnameserver fe80::1%7\nnameserver 192.0.2.4\n"
            ),
            ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%7]:53"]
        );
    }

    #[test]
    fn a_scope_is_the_name_of_an_interface_that_may_come_and_go() {
        let lo = index_of("lo").unwrap();
        let expected = format!("[fe80::1%{lo}]:53");
        assert_eq!(servers("nameserver fe80::1%lo"), [expected]);
        assert_eq!(servers("nameserver fe80::1%not-there"), ["none"]);
    }

    #[test]
    fn patience_is_within_the_bounds_of_the_manual() {
        let patience = |text: &str| {
            let conf = Conf::parse(text.as_bytes());
            (conf.timeout.as_secs(), conf.attempts)
        };
        assert_eq!(patience(""), (5, 2));
        assert_eq!(
            patience("options edns0 timeout:1 trust-ad attempts:3"),
            (1, 3)
        );
        assert_eq!(patience("options timeout:0 attempts:0"), (1, 1));
        assert_eq!(patience("options timeout:99\noptions attempts:99"), (30, 5));
        assert_eq!(
            patience("options timeout:x attempts: timeout:99999999999"),
            (5, 2)
        );
    }
}
