//! Names of ports: `https` for 443.

use std::collections::HashMap;

use super::watched_file::{WatchedFile, fields, lines};
use crate::model::flow::{Endpoint, Protocol};

/// Ports from here on are taken by clients at random, so a name there would mostly be wrong: the
/// beginning of Linux's `net.ipv4.ip_local_port_range` where nobody has changed it.
const EPHEMERAL: u16 = 32_768;
/// Longer names are not taken. IANA's have at most 15 characters (RFC 6335, section 5.1).
const LONGEST: usize = 20;
const PATH: &str = "/etc/services";
const MAX_BYTES: u64 = 4 << 20;

/// For machines without `/etc/services`, as small containers are: names and numbers from IANA's
/// Service Name and Transport Protocol Port Number Registry.
const BUILT_IN: &str = "\
    ftp 21/tcp, ssh 22/tcp, telnet 23/tcp, smtp 25/tcp, domain 53/tcp, domain 53/udp, \
    bootps 67/udp, bootpc 68/udp, tftp 69/udp, http 80/tcp, kerberos 88/tcp, kerberos 88/udp, \
    pop3 110/tcp, sunrpc 111/tcp, sunrpc 111/udp, nntp 119/tcp, ntp 123/udp, \
    netbios-ns 137/udp, netbios-dgm 138/udp, netbios-ssn 139/tcp, imap 143/tcp, snmp 161/udp, \
    snmptrap 162/udp, bgp 179/tcp, ldap 389/tcp, ldap 389/udp, https 443/tcp, https 443/udp, \
    microsoft-ds 445/tcp, submissions 465/tcp, isakmp 500/udp, syslog 514/udp, \
    dhcpv6-client 546/udp, dhcpv6-server 547/udp, submission 587/tcp, ipp 631/tcp, \
    ldaps 636/tcp, domain-s 853/tcp, domain-s 853/udp, rsync 873/tcp, imaps 993/tcp, \
    pop3s 995/tcp, openvpn 1194/tcp, openvpn 1194/udp, ms-sql-s 1433/tcp, radius 1812/udp, \
    mqtt 1883/tcp, nfs 2049/tcp, nfs 2049/udp, mysql 3306/tcp, ms-wbt-server 3389/tcp, \
    stun 3478/tcp, stun 3478/udp, svn 3690/tcp, ipsec-nat-t 4500/udp, sip 5060/tcp, \
    sip 5060/udp, xmpp-client 5222/tcp, mdns 5353/udp, postgresql 5432/tcp, amqp 5672/tcp, \
    redis 6379/tcp, http-alt 8080/tcp, git 9418/tcp";

#[derive(Debug, Default)]
pub struct Services {
    names: HashMap<(Protocol, u16), Box<str>>,
}

impl Services {
    /// Those of `/etc/services`, or a few dozen built in where there is no such file. It is read
    /// once: nobody changes it while looking.
    pub(super) fn system() -> Self {
        let text = WatchedFile::new(PATH, MAX_BYTES).changed();
        let services = Self::parse(&text.unwrap_or_default());
        if services.names.is_empty() {
            Self::built_in()
        } else {
            services
        }
    }

    pub fn built_in() -> Self {
        Self::parse(built_in_text().as_bytes())
    }

    /// Parses the text of services(5). The first line of a port gives its name. Names that are not
    /// printable ASCII are skipped, so names are harmless as they are.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut names = HashMap::new();
        for (port, name, _) in entries(text) {
            if name.len() <= LONGEST && name.bytes().all(|byte| byte.is_ascii_graphic()) {
                names.entry(port).or_insert_with(|| Box::from(name));
            }
        }
        Self { names }
    }

    /// The name of a port.
    pub fn name(&self, protocol: Protocol, port: u16) -> Option<&str> {
        self.names.get(&(protocol, port)).map(AsRef::as_ref)
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.names.values().map(AsRef::as_ref)
    }

    /// What is served at one end of a flow: the name of its port, if that is the smaller of the two
    /// or the other is not known, and not one that clients take at random.
    pub fn at(&self, protocol: Protocol, end: &Endpoint, other: Option<&Endpoint>) -> Option<&str> {
        let other = other.map_or(0, |other| other.port);
        let is_service = end.port < EPHEMERAL && (other == 0 || end.port <= other);
        is_service.then(|| self.name(protocol, end.port)).flatten()
    }
}

/// Returns the built-in services as the text of services(5).
pub fn built_in_text() -> String {
    BUILT_IN.replace(", ", "\n")
}

/// Parses the text of services(5): `name port/protocol aliases... # comment` a line. Returns the
/// port, the name and the aliases of each line; lines and aliases that are not UTF-8 are skipped.
pub fn entries(
    text: &[u8],
) -> impl Iterator<Item = ((Protocol, u16), &str, impl Iterator<Item = &str>)> {
    lines(text).filter_map(|line| {
        let mut fields = fields(line);
        let name = std::str::from_utf8(fields.next()?).ok()?;
        let port = parse_port(fields.next()?)?;
        let aliases = fields.filter_map(|alias| std::str::from_utf8(alias).ok());
        Some((port, name, aliases))
    })
}

fn parse_port(text: &[u8]) -> Option<(Protocol, u16)> {
    let (port, protocol) = std::str::from_utf8(text).ok()?.split_once('/')?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    Some((protocol, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Protocol::{Tcp, Udp};

    fn end(port: u16) -> Endpoint {
        Endpoint::new("192.0.2.1".parse().unwrap(), port)
    }

    #[test]
    fn the_first_line_of_a_port_names_it() {
        let services = Services::parse(
            b"# Network services\n\nhttp\t\t80/tcp\t\twww\t# WorldWideWeb HTTP\nweb 80/tcp\n\
              domain 53/tcp\ndomain 53/udp\nsctp-only 9/sctp\nbroken 99999/tcp\nno-port\n\
              bad\x1b 81/tcp\nfar-too-long-for-a-name-of-a-service 82/tcp\n\xff\xfe 83/tcp",
        );
        assert_eq!(services.name(Tcp, 80), Some("http"));
        assert_eq!(services.name(Udp, 80), None);
        assert_eq!(services.name(Udp, 53), Some("domain"));
        assert_eq!(services.names.len(), 3);
    }

    #[test]
    fn the_built_in_names_are_read_whole() {
        let services = Services::built_in();
        assert_eq!(services.names.len(), BUILT_IN.split(',').count());
        assert_eq!(services.name(Tcp, 443), Some("https"));
        assert_eq!(services.name(Udp, 123), Some("ntp"));
    }

    #[test]
    fn the_end_with_the_smaller_port_is_the_service() {
        let services = Services::built_in();
        let at = |near, far| services.at(Tcp, &end(near), Some(&end(far)));
        assert_eq!(at(443, 50_000), Some("https"));
        assert_eq!(at(50_000, 443), None);
        assert_eq!(at(8080, 443), None, "of two names the smaller port's");
        assert_eq!(at(443, 443), Some("https"));
        assert_eq!(at(443, 0), Some("https"), "the peer is unknown");
        assert_eq!(at(0, 443), None);
        let services = Services::parse(b"wireguard 51820/udp\nssh 22/tcp");
        let at = services.at(Udp, &end(51_820), Some(&end(60_000)));
        assert_eq!(at, None, "where clients take ports at random");
        assert_eq!(services.at(Tcp, &end(22), None), Some("ssh"));
    }
}
