//! Networks: an address with the length of its prefix (CIDR).

use std::fmt;
use std::net::IpAddr;

/// A network, or with a full prefix one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Net {
    /// Its first address: no bit beyond the prefix is set.
    pub addr: IpAddr,
    /// Length of the prefix in bits, at most 32 or 128.
    pub prefix: u8,
}

impl Net {
    /// Returns the network of this prefix that an address is in.
    pub fn of(addr: IpAddr, prefix: u8) -> Self {
        let first = bits(addr) & mask(prefix);
        let addr = match addr {
            IpAddr::V4(_) => IpAddr::V4(((first >> 96) as u32).into()),
            IpAddr::V6(_) => IpAddr::V6(first.into()),
        };
        Self { addr, prefix }
    }

    /// Returns the length of an address of the family in bits.
    pub const fn bits(addr: IpAddr) -> u8 {
        match addr {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        }
    }

    /// Returns the mask of the prefix from the first byte on, also for the 4 bytes of IPv4.
    pub fn mask(&self) -> [u8; 16] {
        mask(self.prefix).to_be_bytes()
    }

    /// Whether an address is in it: of the same family, and the bits of the prefix are the same.
    pub fn contains(&self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.addr.is_ipv4() && Self::of(addr, self.prefix).addr == self.addr
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

/// The bits of an address, those of IPv4 first and zeros after them.
fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => u128::from(addr.to_bits()) << 96,
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

fn mask(prefix: u8) -> u128 {
    let host_bits = 128 - u32::from(prefix.min(128));
    u128::MAX.checked_shl(host_bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_first_bits_of_its_addresses() {
        for (addr, prefix, text) in [
            ("192.0.2.77", 24, "192.0.2.0/24"),
            ("192.0.2.77", 0, "0.0.0.0/0"),
            ("192.0.2.77", 32, "192.0.2.77/32"),
            ("2001:db8:8001::4", 33, "2001:db8:8000::/33"),
            ("ff02::4", 0, "::/0"),
            ("ff02::4", 128, "ff02::4/128"),
        ] {
            let addr: IpAddr = addr.parse().unwrap();
            let net = Net::of(addr, prefix);
            assert_eq!(net.to_string(), text);
            assert!(net.contains(addr));
        }
        let net = Net::of("10.1.2.3".parse().unwrap(), 8);
        assert!(!net.contains("11.1.2.3".parse().unwrap()));
        assert!(!net.contains("::10.1.2.3".parse().unwrap()));
        assert_eq!(net.mask()[..5], [255, 0, 0, 0, 0]);
    }
}
