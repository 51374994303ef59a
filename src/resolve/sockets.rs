//! How many sockets are open, for a machine on which nothing moves.

use std::fs;

/// Open TCP and UDP sockets of the own network namespace, by `/proc/net/sockstat` and `sockstat6`:
/// two small files that the kernel writes from counters, without a walk over sockets. `None` where
/// they cannot be read.
pub fn open_sockets() -> Option<u64> {
    let v4 = fs::read_to_string("/proc/net/sockstat").ok()?;
    // Without IPv6 there is no such file.
    let v6 = fs::read_to_string("/proc/net/sockstat6").unwrap_or_default();
    Some(in_use(&v4) + in_use(&v6))
}

/// `TCP: inuse 5 orphan 0 tw 0 alloc 8 mem 1`, and the same of `UDP`, `TCP6` and `UDP6`.
fn in_use(text: &str) -> u64 {
    let mut sum = 0;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if matches!(words.next(), Some("TCP:" | "UDP:" | "TCP6:" | "UDP6:"))
            && words.next() == Some("inuse")
        {
            sum += words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn sockets_of_both_protocols_and_families_are_counted() {
        let v4 = "sockets: used 290\nTCP: inuse 5 orphan 1 tw 7 alloc 9 mem 1\nUDP: inuse 3 mem 2\n\
                  UDPLITE: inuse 8\nRAW: inuse 16\nFRAG: inuse 32 memory 0\n";
        let v6 = "TCP6: inuse 2\nUDP6: inuse 1\nUDPLITE6: inuse 8\nRAW6: inuse 16\n";
        assert_eq!(in_use(v4) + in_use(v6), 11);
        assert_eq!(in_use("TCP:\nUDP: inuse x\n\n"), 0);
    }

    #[test]
    fn open_sockets_are_among_them() {
        let many: Vec<_> = (0..200)
            .map(|_| (TcpListener::bind("127.0.0.1:0"), UdpSocket::bind("[::1]:0")))
            .collect();
        let open = open_sockets().unwrap();
        let mine = many
            .iter()
            .map(|(tcp, udp)| u64::from(tcp.is_ok()) + u64::from(udp.is_ok()));
        let mine: u64 = mine.sum();
        assert!(
            mine >= 200 && open >= mine,
            "{open} of which {mine} are here"
        );
    }
}
