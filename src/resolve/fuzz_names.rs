//! What holds of any bytes in the files that names are read from, and of any answer of a server.

use std::net::IpAddr;

use super::dns_answers::resolved_name;
use super::hosts::Hosts;
use super::ptr::{Query, Reply};
use super::resolv_conf::Conf;
use super::services::Services;

/// Any file is read as `/etc/hosts`; a name in it has something in it.
///
/// # Panics
/// When that is not so.
pub fn hosts(bytes: &[u8]) {
    let hosts = Hosts::parse(bytes);
    for addr in ["127.0.0.1", "::1", "192.0.2.1"] {
        let addr: Option<IpAddr> = addr.parse().ok();
        assert_ne!(addr.and_then(|addr| hosts.name(addr)), Some(""));
    }
}

/// Reads any bytes as `/etc/resolv.conf`: the result has a server, and its timeout is bounded.
///
/// # Panics
/// When that is not so.
pub fn resolv(bytes: &[u8]) {
    let conf = Conf::parse(bytes);
    assert!((1..=super::resolv_conf::MAX_SERVERS).contains(&conf.servers.len()));
    assert!((1..=30).contains(&conf.timeout.as_secs()));
    assert!((1..=5).contains(&conf.attempts));
}

/// Any file is read as `/etc/services`; names are harmless as they are.
///
/// # Panics
/// When that is not so.
pub fn services(bytes: &[u8]) {
    for name in Services::parse(bytes).all() {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

/// Any datagram is read as an answer or passed over: as it is, and behind a right id and question,
/// where there is most to be read. A name is in DNS's text form, in bounds, and no address.
///
/// # Panics
/// When that is not so.
pub fn answer(bytes: &[u8]) {
    let Ok(query) = Query::with_id(IpAddr::from([192, 0, 2, 7]), 0xbeef) else {
        return;
    };
    check(query.read(bytes));
    let Some((header, records)) = bytes.split_at_checked(8) else {
        return;
    };
    let mut answer = query.as_bytes().to_vec();
    answer[2..4].copy_from_slice(&[header[0] | 0x80, header[1]]);
    answer[6..12].copy_from_slice(&header[2..]);
    answer.extend_from_slice(records);
    check(query.read(&answer));
}

/// Any datagram from port 53 is read as an answer that a process received, or passed over: as it
/// is, and behind a good header and question. A name is in DNS's text form and lower case, in
/// bounds, and no address.
///
/// # Panics
/// When that is not so.
pub fn dns_answer(bytes: &[u8]) {
    /// Header of an answer with 255 records, and the question for the addresses of `a.b`.
    const GOOD: &[u8] = b"\0\0\x81\x80\0\x01\0\xff\0\0\0\0\x01a\x01b\0\0\x01\0\x01";
    let good = [GOOD, bytes].concat();
    for bytes in [bytes, &good] {
        let Some(resolved) = resolved_name(bytes) else {
            continue;
        };
        let name = &resolved.name;
        assert!((1..=253).contains(&name.len()));
        assert!(name.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
        assert!(name.parse::<IpAddr>().is_err());
        assert!((1..=32).contains(&resolved.addresses.len()));
        for (addr, valid) in resolved.addresses {
            assert!(!addr.is_unspecified());
            assert!((30..=86_400).contains(&valid.as_secs()));
        }
    }
}

fn check(reply: Option<Reply>) {
    match reply {
        Some(Reply::Name(name, ttl)) => {
            // 255 bytes, each at most four characters, less the lengths.
            assert!(
                name.len() <= 4 * 253 && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            );
            assert!(name.parse::<IpAddr>().is_err());
            assert!((60..=86_400).contains(&ttl.as_secs()));
        }
        Some(Reply::NoPtrRecord(ttl)) => assert!((60..=3600).contains(&ttl.as_secs())),
        Some(Reply::Truncated | Reply::Useless) | None => {}
    }
}
