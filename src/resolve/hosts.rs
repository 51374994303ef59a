//! Reads `/etc/hosts`: names that need no server. See hosts(5).

use std::collections::HashMap;
use std::net::IpAddr;

use super::watched_file::{fields, lines};

/// Addresses kept; the rest of a file with more is as if it were not there.
const MAX_ADDRESSES: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Hosts {
    names: HashMap<IpAddr, String>,
}

impl Hosts {
    /// Address, name, aliases a line; `#` begins a comment. The first line of an address gives its
    /// name, as for getnameinfo(). Lines without an address or a name are passed over.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut names = HashMap::new();
        for line in lines(text) {
            let mut fields = fields(line);
            let addr = fields.next().and_then(parse_addr);
            let (Some(addr), Some(name)) = (addr, fields.next()) else {
                continue;
            };
            if names.len() < MAX_ADDRESSES {
                let name = || String::from_utf8_lossy(name).into_owned();
                names.entry(addr).or_insert_with(name);
            }
        }
        Self { names }
    }

    pub(super) fn name(&self, addr: IpAddr) -> Option<&str> {
        self.names.get(&addr).map(String::as_str)
    }
}

fn parse_addr(text: &[u8]) -> Option<IpAddr> {
    let addr: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    // As flows have them.
    Some(addr.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(hosts: &Hosts, addr: &str) -> Option<String> {
        hosts.name(addr.parse().unwrap()).map(str::to_owned)
    }

    #[test]
    fn the_first_name_of_the_first_line_counts() {
        let hosts = Hosts::parse(
            b"127.0.0.1\tlocalhost localhost.localdomain\n\
              ::1 localhost ip6-localhost # both\n\
              192.0.2.1 first alias\n192.0.2.1 second\n\
              #192.0.2.2 commented\n  192.0.2.3   indented  \r\n\
              192.0.2.4\n192.0.2.5 #nothing\nnot.an.address x\n300.0.0.1 y\n\
              fe80::1%lo0 scoped\n\n::ffff:192.0.2.6 mapped\n\
              192.0.2.7 bad\xff\x1b[31m\n2001:db8::1 last",
        );
        assert_eq!(name(&hosts, "127.0.0.1").as_deref(), Some("localhost"));
        assert_eq!(name(&hosts, "::1").as_deref(), Some("localhost"));
        assert_eq!(name(&hosts, "192.0.2.1").as_deref(), Some("first"));
        assert_eq!(name(&hosts, "192.0.2.2"), None);
        assert_eq!(name(&hosts, "192.0.2.3").as_deref(), Some("indented"));
        assert_eq!(name(&hosts, "192.0.2.4"), None);
        assert_eq!(name(&hosts, "192.0.2.5"), None);
        assert_eq!(name(&hosts, "192.0.2.6").as_deref(), Some("mapped"));
        let bad = name(&hosts, "192.0.2.7");
        assert_eq!(bad.as_deref(), Some("bad\u{fffd}\x1b[31m"));
        assert_eq!(name(&hosts, "2001:db8::1").as_deref(), Some("last"));
        assert_eq!(hosts.names.len(), 7);
    }

    #[test]
    fn a_huge_file_is_kept_within_bounds() {
        let line = |n: u32| format!("{} host-{n}\n", std::net::Ipv4Addr::from_bits(n));
        let text: String = (0..70_000).map(line).collect();
        assert_eq!(Hosts::parse(text.as_bytes()).names.len(), MAX_ADDRESSES);
    }
}
