//! Reads the answer of a name server: which name was resolved to which addresses (RFC 1035, RFC
//! 3596). The bytes are what anyone may have sent, cut off or whole: nothing here trusts a length,
//! a count or a name.

use std::net::IpAddr;
use std::time::Duration;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::{Message, ParsedName, ToName as _};
use domain::rdata::{A, Aaaa, Cname};

use super::ptr::is_name;
use crate::model::dns::MAX_DNS_NAME;

/// Addresses that are taken from an answer, and aliases on the way to them. A datagram of 1232
/// bytes has room for 75 addresses.
const MAX_ADDRESSES: usize = 32;
const MAX_ALIASES: usize = 16;
/// Bounds of how long an answer is valid, in seconds, whatever its TTL: programs keep an answer of
/// 0 s for as long as they take to connect.
const VALID_FOR: (u32, u32) = (30, 86_400);

/// The name and addresses of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolvedName {
    /// The name that was resolved, in DNS's text form and lower case: some resolvers mix cases at
    /// random.
    pub(super) name: String,
    /// Addresses of the host, each once, with how long they are valid.
    pub(super) addresses: Vec<(IpAddr, Duration)>,
}

/// Returns the name that a message resolves; `None` where it is no answer, or gives no address.
pub(super) fn resolved_name(bytes: &[u8]) -> Option<ResolvedName> {
    let message = Message::from_slice(bytes).ok()?;
    let header = message.header();
    if !header.qr() || header.opcode() != Opcode::QUERY || header.rcode() != Rcode::NOERROR {
        return None;
    }
    let question = message.sole_question().ok()?;
    if question.qclass() != Class::IN || !matches!(question.qtype(), Rtype::A | Rtype::AAAA) {
        return None;
    }
    let queried = question.into_qname();
    let name = queried
        .to_string()
        .trim_end_matches('.')
        .to_ascii_lowercase();
    if name.len() > MAX_DNS_NAME || !is_name(&name) {
        return None;
    }
    let (host, valid) = host_of(message, queried)?;
    let mut addresses: Vec<(IpAddr, Duration)> = Vec::new();
    // Ends where the bytes do.
    for record in message.answer().ok()?.map_while(Result::ok) {
        if addresses.len() >= MAX_ADDRESSES {
            break;
        }
        if record.class() != Class::IN || !record.owner().name_eq(&host) {
            continue;
        }
        let seconds = valid.min(record.ttl().as_secs());
        let addr = match record.rtype() {
            Rtype::A => {
                let record = record.into_record::<A>().ok().flatten();
                record.map(|record| IpAddr::from(record.data().addr()))
            }
            Rtype::AAAA => {
                let record = record.into_record::<Aaaa>().ok().flatten();
                record.map(|record| IpAddr::from(record.data().addr()).to_canonical())
            }
            _ => None,
        };
        let Some(addr) = addr.filter(|addr| !addr.is_unspecified()) else {
            continue;
        };
        if addresses.iter().all(|(known, _)| *known != addr) {
            let seconds = seconds.clamp(VALID_FOR.0, VALID_FOR.1);
            addresses.push((addr, Duration::from_secs(seconds.into())));
        }
    }
    (!addresses.is_empty()).then_some(ResolvedName { name, addresses })
}

/// Follows aliases from a name to that of the host, in whatever order they stand. Returns it with
/// the shortest time that an alias is valid, in seconds; `None` where aliases turn in a circle or
/// are too many.
fn host_of<'a>(
    message: &'a Message<[u8]>,
    queried: ParsedName<&'a [u8]>,
) -> Option<(ParsedName<&'a [u8]>, u32)> {
    let records = message.answer().ok()?.map_while(Result::ok);
    let aliases: Vec<_> = records
        .filter_map(|record| record.into_record::<Cname<_>>().ok().flatten())
        .take(MAX_ALIASES)
        .collect();
    let (mut host, mut valid) = (queried, u32::MAX);
    for _ in 0..=aliases.len() {
        let Some(alias) = aliases.iter().find(|alias| alias.owner().name_eq(&host)) else {
            return Some((host, valid));
        };
        valid = valid.min(alias.ttl().as_secs());
        host = *alias.data().cname();
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use domain::base::{MessageBuilder, Name, Record, Ttl};

    pub(in super::super) enum Answer<'a> {
        Alias(&'a str, &'a str),
        Addr(&'a str, &'a str),
    }
    use Answer::{Addr, Alias};

    fn named(text: &str) -> Name<Vec<u8>> {
        text.parse().unwrap()
    }

    /// A message that answers the question for a name, each record valid for `ttl` seconds.
    pub(in super::super) fn message(queried: &str, ttl: u32, answers: &[Answer<'_>]) -> Vec<u8> {
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_qr(true);
        let mut question = builder.question();
        question.push((named(queried), Rtype::A)).unwrap();
        let mut section = question.answer();
        let ttl = Ttl::from_secs(ttl);
        for answer in answers {
            match answer {
                Alias(owner, target) => {
                    let data = Cname::new(named(target));
                    section.push(Record::new(named(owner), Class::IN, ttl, data))
                }
                Addr(owner, addr) => match addr.parse().unwrap() {
                    IpAddr::V4(addr) => {
                        section.push(Record::new(named(owner), Class::IN, ttl, A::new(addr)))
                    }
                    IpAddr::V6(addr) => {
                        section.push(Record::new(named(owner), Class::IN, ttl, Aaaa::new(addr)))
                    }
                },
            }
            .unwrap();
        }
        section.finish()
    }

    fn addresses(bytes: &[u8]) -> Vec<String> {
        let resolved = resolved_name(bytes);
        let addresses = resolved.into_iter().flat_map(|resolved| resolved.addresses);
        addresses.map(|(addr, _)| addr.to_string()).collect()
    }

    #[test]
    fn an_answer_gives_the_queried_name_and_its_addresses() {
        let bytes = message(
            "API.Example.COM",
            300,
            &[
                Addr("api.example.com", "192.0.2.1"),
                Addr("api.example.com", "2001:db8::1"),
                Addr("api.example.com", "192.0.2.1"),
                Addr("other.example.com", "192.0.2.9"),
            ],
        );
        let resolved = resolved_name(&bytes).unwrap();
        assert_eq!(resolved.name, "api.example.com");
        assert_eq!(addresses(&bytes), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(resolved.addresses[0].1, Duration::from_secs(300));
    }

    #[test]
    fn aliases_lead_to_the_host_in_any_order() {
        let chain = [
            Addr("c.example", "192.0.2.3"),
            Alias("b.example", "c.example"),
            Alias("a.example", "b.example"),
        ];
        assert_eq!(addresses(&message("a.example", 60, &chain)), ["192.0.2.3"]);
        let resolved = resolved_name(&message("a.example", 60, &chain)).unwrap();
        assert_eq!(resolved.name, "a.example");
        let circle = [
            Alias("a.example", "b.example"),
            Alias("b.example", "a.example"),
            Addr("a.example", "192.0.2.3"),
        ];
        assert!(addresses(&message("a.example", 60, &circle)).is_empty());
    }

    #[test]
    fn a_message_that_is_cut_off_gives_what_is_whole() {
        let bytes = message(
            "a.example",
            60,
            &[
                Addr("a.example", "192.0.2.1"),
                Addr("a.example", "192.0.2.2"),
            ],
        );
        assert_eq!(addresses(&bytes[..bytes.len() - 1]), ["192.0.2.1"]);
        for length in 0..bytes.len() {
            resolved_name(&bytes[..length]);
        }
    }

    #[test]
    fn queries_errors_and_other_questions_give_nothing() {
        let good = message("a.example", 60, &[Addr("a.example", "192.0.2.1")]);
        assert_eq!(addresses(&good).len(), 1);
        let mut query = good.clone();
        query[2] &= 0x7f;
        let mut failed = good.clone();
        failed[3] |= 3;
        let mut of_two = good.clone();
        of_two[5] = 2;
        let mut of_none = good;
        of_none[5] = 0;
        for bytes in [query, failed, of_two, of_none] {
            assert_eq!(resolved_name(&bytes), None);
        }
        let numeric = message("192.0.2.7", 60, &[Addr("192.0.2.7", "192.0.2.1")]);
        assert_eq!(resolved_name(&numeric), None, "it reads like an address");
    }

    #[test]
    fn validity_has_bounds() {
        for (ttl, seconds) in [(0, 30), (300, 300), (u32::MAX >> 1, 86_400)] {
            let bytes = message("a.example", ttl, &[Addr("a.example", "192.0.2.1")]);
            let resolved = resolved_name(&bytes).unwrap();
            assert_eq!(resolved.addresses[0].1.as_secs(), seconds);
        }
    }
}
