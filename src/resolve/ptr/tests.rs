use super::*;
use domain::base::iana::Rcode;
use domain::base::{Serial, Ttl};
use domain::rdata::Cname;
use proptest::prelude::*;

use crate::testing::rounds;

fn query() -> Query {
    Query::with_id("192.0.2.7".parse().unwrap(), 0xbeef).unwrap()
}

fn name(text: &str) -> Name<Vec<u8>> {
    Name::vec_from_str(text).unwrap()
}

const QUESTION: &str = "7.2.0.192.in-addr.arpa.";

/// An answer to the query: aliases, then names, then a SOA if wanted.
fn answer(
    rcode: Rcode,
    aliases: &[(&str, &str)],
    names: &[(&str, &str, u32)],
    soa: Option<(u32, u32)>,
) -> Vec<u8> {
    let query = query();
    let builder = MessageBuilder::new_vec();
    let mut builder = builder.start_answer(&query.message, rcode).unwrap();
    builder.header_mut().set_ra(true);
    for (owner, target) in aliases {
        let alias = Cname::new(name(target));
        builder.push((name(owner), 100_000, alias)).unwrap();
    }
    for (owner, target, ttl) in names {
        let ptr = Ptr::new(name(target));
        builder.push((name(owner), *ttl, ptr)).unwrap();
    }
    let mut builder = builder.authority();
    if let Some((ttl, minimum)) = soa {
        let hour = Ttl::from_secs(3600);
        let (mname, rname) = (name("ns.example."), name("admin.example."));
        let minimum = Ttl::from_secs(minimum);
        let soa = Soa::new(mname, rname, Serial(1), hour, hour, hour, minimum);
        let owner = name("2.0.192.in-addr.arpa.");
        builder.push((owner, ttl, soa)).unwrap();
    }
    builder.finish()
}

fn found(text: &str, seconds: u64) -> Option<Reply> {
    Some(Reply::Name(text.to_owned(), Duration::from_secs(seconds)))
}

fn nameless(seconds: u64) -> Option<Reply> {
    Some(Reply::NoPtrRecord(Duration::from_secs(seconds)))
}

#[test]
fn a_question_is_as_dns_wants_it() {
    let bytes = query().as_bytes().to_vec();
    let expected = b"\xbe\xef\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\
        \x017\x012\x010\x03192\x07in-addr\x04arpa\x00\x00\x0c\x00\x01";
    assert_eq!(bytes, expected);
    let six = Query::with_id("2001:db8::1f".parse().unwrap(), 1).unwrap();
    let question = six.message.sole_question().unwrap();
    let nibbles = "f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    assert_eq!(question.qname().to_string().to_ascii_lowercase(), nibbles);
}

#[test]
fn ids_are_not_to_be_guessed() {
    let id = || {
        let query = Query::new("192.0.2.7".parse().unwrap()).unwrap();
        query.message.header().id()
    };
    let ids: std::collections::HashSet<u16> = (0..64).map(|_| id()).collect();
    assert!(ids.len() > 50, "{ids:?}");
}

#[test]
fn a_name_is_good_for_as_long_as_it_says_within_bounds() {
    for (ttl, expected) in [(0, 60), (7200, 7200), (u32::MAX, 86_400)] {
        let bytes = answer(
            Rcode::NOERROR,
            &[],
            &[(QUESTION, "web.example.", ttl)],
            None,
        );
        assert_eq!(query().read(&bytes), found("web.example", expected));
    }
}

#[test]
fn of_many_names_the_first_counts() {
    let names: Vec<String> = (0..1500).map(|n| format!("n{n}.example.")).collect();
    let names: Vec<_> = names
        .iter()
        .map(|name| (QUESTION, name.as_str(), 60))
        .collect();
    let bytes = answer(Rcode::NOERROR, &[], &names, None);
    assert_eq!(query().read(&bytes), found("n0.example", 60));
}

#[test]
fn aliases_lead_to_the_name() {
    let (one, two) = ("7.0-25.2.0.192.in-addr.arpa.", "seven.customer.example.");
    let bytes = answer(
        Rcode::NOERROR,
        &[(one, two), (QUESTION, one)],
        &[
            ("8.2.0.192.in-addr.arpa.", "wrong.example.", 240),
            (two, "web.example.", 120),
        ],
        None,
    );
    assert_eq!(query().read(&bytes), found("web.example", 120));
    // In a circle, and to nowhere.
    let circle = answer(
        Rcode::NOERROR,
        &[(QUESTION, one), (one, QUESTION)],
        &[],
        None,
    );
    assert_eq!(query().read(&circle), Some(Reply::Useless));
    let nowhere = answer(Rcode::NXDOMAIN, &[(QUESTION, one)], &[], Some((60, 600)));
    assert_eq!(query().read(&nowhere), nameless(60));
}

#[test]
fn no_name_is_believed_for_as_long_as_the_zone_says_within_bounds() {
    for (soa, expected) in [
        (Some((900, 600)), 600),
        (Some((500, 600)), 500),
        (Some((0, 600)), 60),
        (Some((u32::MAX, u32::MAX)), 3600),
        (None, 300),
    ] {
        for rcode in [Rcode::NXDOMAIN, Rcode::NOERROR] {
            let bytes = answer(rcode, &[], &[], soa);
            assert_eq!(query().read(&bytes), nameless(expected), "{soa:?}");
        }
    }
}

#[test]
fn what_would_be_taken_for_an_address_is_no_name() {
    for target in [
        ".",
        "8.8.8.8.",
        "8\\.8\\.8\\.8.",
        "2001:db8::1.",
        "[2001:db8::1].",
    ] {
        let bytes = answer(Rcode::NOERROR, &[], &[(QUESTION, target, 60)], None);
        assert_eq!(query().read(&bytes), nameless(300), "{target}");
    }
}

#[test]
fn bytes_that_are_no_text_are_written_as_dns_writes_them() {
    let target = "\\027[31m\\195\\164.a\\.b\\\\.example.";
    let bytes = answer(Rcode::NOERROR, &[], &[(QUESTION, target, 60)], None);
    let text = "\\027[31m\\195\\164.a\\.b\\\\.example";
    assert_eq!(query().read(&bytes), found(text, 60));
}

#[test]
fn a_server_that_does_not_say_is_useless() {
    for rcode in [
        Rcode::SERVFAIL,
        Rcode::REFUSED,
        Rcode::NOTIMP,
        Rcode::FORMERR,
    ] {
        let bytes = answer(rcode, &[], &[(QUESTION, "web.example.", 60)], None);
        assert_eq!(query().read(&bytes), Some(Reply::Useless), "{rcode}");
    }
    // One that only points to others.
    let mut bytes = answer(Rcode::NOERROR, &[], &[], None);
    bytes[3] &= !0x80;
    assert_eq!(query().read(&bytes), Some(Reply::Useless));
}

#[test]
fn what_answers_another_question_is_no_answer() {
    let good = answer(Rcode::NOERROR, &[], &[(QUESTION, "web.example.", 60)], None);
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        query().read(&bytes)
    };
    assert!(changed(|_| ()).is_some());
    assert_eq!(changed(|bytes| bytes[1] ^= 1), None, "id");
    assert_eq!(changed(|bytes| bytes[2] &= !0x80), None, "a question");
    assert_eq!(changed(|bytes| bytes[2] |= 0x08), None, "opcode");
    assert_eq!(changed(|bytes| bytes[13] = b'8'), None, "name");
    assert_eq!(changed(|bytes| bytes[5] = 0), None, "no question");
    assert_eq!(changed(|bytes| bytes[5] = 2), None, "two questions");
    assert_eq!(changed(|bytes| bytes.truncate(11)), None, "no header");
    let truncated = changed(|bytes| bytes[2] |= 0x02);
    assert_eq!(truncated, Some(Reply::Truncated));
}

#[test]
fn what_is_broken_is_useless() {
    let good = answer(Rcode::NOERROR, &[], &[], Some((60, 60)));
    // The answer's owner, as a tail to the question; the counts are of one answer.
    let with = |tail: &[u8]| {
        let mut bytes = good[..query().as_bytes().len()].to_vec();
        bytes[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
        bytes.extend_from_slice(tail);
        query().read(&bytes)
    };
    let record = |data: &[u8]| {
        let mut bytes = b"\xc0\x0c\x00\x0c\x00\x01\x00\x00\x00\x3c".to_vec();
        bytes.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(data);
        with(&bytes)
    };
    assert_eq!(record(b"\x03web\x00"), found("web", 60));
    let long: Vec<u8> = [b"\x3f".to_vec(), vec![b'a'; 63]].concat().repeat(4);
    for broken in [
        with(b""),
        with(b"\xc0\x0c\x00\x0c\x00\x01\x00\x00\x00\x3c\xff\xff\x03web\x00"),
        // A pointer to itself, forwards, beyond the end; unknown kinds of labels.
        record(b"\xc0\x34"),
        record(b"\x01a\xc0\x34"),
        record(b"\xc0\x36\xc0\x34"),
        record(b"\xff\xff"),
        record(b"\x40\x01"),
        record(b"\x80\x01"),
        record(b"\x03we"),
        record(b""),
        record(b"\x03web\x00junk"),
        // 257 bytes.
        record(&[long, vec![0]].concat()),
    ] {
        assert_eq!(broken, Some(Reply::Useless));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(rounds(256)))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = query().read(&bytes);
    }

    /// Behind a right header and question, where there is most to be read.
    #[test]
    fn no_answer_makes_it_panic(
        flags in any::<[u8; 2]>(),
        counts in any::<[u8; 6]>(),
        tail in prop::collection::vec(
            prop_oneof![Just(0xc0_u8), Just(0x0c), Just(0), Just(1), 0_u8..64, any::<u8>()],
            0..600,
        ),
    ) {
        let mut bytes = query().as_bytes().to_vec();
        bytes[2..4].copy_from_slice(&[flags[0] & 0x81 | 0x80, flags[1] & 0xf0]);
        bytes[6..12].copy_from_slice(&counts);
        bytes.extend(tail);
        let reply = query().read(&bytes);
        prop_assert!(reply.is_some());
        if let Some(Reply::Name(name, _)) = reply {
            // 255 bytes, each at most four characters, less the lengths.
            prop_assert!(name.len() <= 4 * 253 && name.chars().all(|c| (' '..='~').contains(&c)));
        }
    }

    /// A good answer with some bytes changed.
    #[test]
    fn no_change_makes_it_panic(changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..8)) {
        let one = "7.0-25.2.0.192.in-addr.arpa.";
        let names = [(one, "web.example.", 60), (one, "www.example.", 60)];
        let mut bytes = answer(Rcode::NOERROR, &[(QUESTION, one)], &names, Some((60, 60)));
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let _ = query().read(&bytes);
    }
}
