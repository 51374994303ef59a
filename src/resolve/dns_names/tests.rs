use std::net::{IpAddr, Ipv4Addr};

use super::super::dns_answers::tests::{Answer, message};
use super::*;
use crate::testing::{Random, flow, rounds};

const NETNS: u32 = 7;
const UID: u32 = 1000;

fn received(tgid: u32, name: &str, addr: &str) -> DnsAnswer {
    DnsAnswer {
        tgid,
        start: Duration::from_secs(1),
        uid: UID,
        netns: NETNS,
        local_port: 40_000,
        connected: true,
        bytes: message(name, 300, &[Answer::Addr(name, addr)]),
    }
}

fn to(tgid: u32, local_port: u16, addr: &str) -> Flow {
    let mut flow = flow(1, 10, 10);
    flow.key.tgid = tgid;
    flow.key.local.port = local_port;
    flow.key.remote.addr = addr.parse().unwrap();
    flow.key.netns = NETNS;
    let owner = Arc::make_mut(&mut flow.owner);
    owner.start = Some(Duration::from_secs(1));
    owner.uid = Some(UID);
    flow
}

/// Name and origin of each flow after an interval.
fn named_by(
    names: &mut DnsNames,
    answers: Vec<DnsAnswer>,
    mut flows: Vec<Flow>,
    now: Instant,
) -> Vec<String> {
    names.label(answers, &mut flows, now);
    let shown = flows.iter().map(|flow| match flow.dns_name.as_deref() {
        Some(dns) => format!("{} {}", dns.name, dns.origin),
        None => String::new(),
    });
    shown.collect()
}

#[test]
fn each_flow_has_the_name_that_its_own_process_resolved() {
    let mut names = DnsNames::default();
    let answers = vec![
        received(1, "a.example", "192.0.2.1"),
        received(2, "b.example", "192.0.2.1"),
    ];
    let flows = vec![
        to(1, 1, "192.0.2.1"),
        to(2, 2, "192.0.2.1"),
        to(3, 3, "192.0.2.1"),
        to(1, 4, "192.0.2.2"),
    ];
    let found = named_by(&mut names, answers, flows, Instant::now());
    let expected = [
        "a.example process",
        "b.example process",
        "b.example other",
        "",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_flow_keeps_the_name_that_it_began_under() {
    let mut names = DnsNames::default();
    let now = Instant::now();
    let old = || to(1, 1, "192.0.2.1");
    let first = vec![received(1, "a.example", "192.0.2.1")];
    assert_eq!(
        named_by(&mut names, first, vec![old()], now),
        ["a.example process"]
    );
    let nameless = || to(1, 2, "192.0.2.2");
    assert_eq!(
        named_by(&mut names, Vec::new(), vec![nameless()], now),
        [""]
    );
    let later = vec![
        received(1, "b.example", "192.0.2.1"),
        received(1, "c.example", "192.0.2.2"),
    ];
    let new = to(1, 3, "192.0.2.1");
    assert_eq!(
        named_by(&mut names, later, vec![old(), nameless(), new], now),
        ["a.example process", "", "b.example several"]
    );
}

#[test]
fn an_answer_that_has_expired_is_marked_and_names_no_other_process() {
    let mut names = DnsNames::default();
    let now = Instant::now();
    named_by(
        &mut names,
        vec![received(1, "a.example", "192.0.2.1")],
        Vec::new(),
        now,
    );
    let flows = vec![to(1, 1, "192.0.2.1"), to(2, 1, "192.0.2.1")];
    let later = now + Duration::from_secs(301);
    assert_eq!(
        named_by(&mut names, Vec::new(), flows, later),
        ["a.example expired", ""]
    );
}

#[test]
fn only_the_same_user_or_the_system_names_flows_of_other_processes() {
    let of = |uid, connected| DnsAnswer {
        uid,
        connected,
        ..received(1, "a.example", "192.0.2.1")
    };
    for (answer, expected) in [
        (of(UID, true), "a.example other"),
        (of(101, true), "a.example other"),
        (of(UID + 1, true), ""),
        (of(101, false), ""),
    ] {
        let found = named_by(
            &mut DnsNames::default(),
            vec![answer],
            vec![to(2, 1, "192.0.2.1")],
            Instant::now(),
        );
        assert_eq!(found, [expected]);
    }
}

#[test]
fn another_namespace_process_or_a_server_socket_gives_no_name() {
    let answer = received(1, "a.example", "192.0.2.1");
    let of_server = DnsAnswer {
        connected: false,
        local_port: 5000,
        ..answer.clone()
    };
    let of_netns = DnsAnswer {
        netns: NETNS + 1,
        ..answer.clone()
    };
    let earlier = DnsAnswer {
        start: Duration::ZERO,
        uid: UID + 1,
        ..answer
    };
    for answer in [of_server, of_netns, earlier] {
        let flows = vec![to(1, 1, "192.0.2.1")];
        let found = named_by(
            &mut DnsNames::default(),
            vec![answer],
            flows,
            Instant::now(),
        );
        assert_eq!(found, [""]);
    }
}

#[test]
fn memory_is_bounded_and_one_process_evicts_no_other() {
    let mut names = DnsNames::default();
    let now = Instant::now();
    let mut random = Random(11);
    names.label(vec![received(1, "kept.example", "192.0.2.1")], &mut [], now);
    for round in 0..rounds(2000) {
        let texts: Vec<String> = (0..40)
            .map(|_| Ipv4Addr::from_bits(random.next() as u32 | 1).to_string())
            .collect();
        let addresses: Vec<_> = texts
            .iter()
            .map(|text| Answer::Addr("flood.example", text))
            .collect();
        let answer = DnsAnswer {
            bytes: message("flood.example", 300, &addresses),
            ..received(2, "flood.example", "192.0.2.2")
        };
        let port = round as u16;
        names.label(vec![answer], &mut [to(2, port, "192.0.2.9")], now);
    }
    let flood = &names.processes[&(2, Duration::from_secs(1))];
    assert!(flood.names.len() <= MAX_PROCESS_ADDRESSES);
    assert!(names.shared.len() <= MAX_SHARED);
    let found = named_by(&mut names, Vec::new(), vec![to(1, 1, "192.0.2.1")], now);
    assert_eq!(found, ["kept.example process"]);
}

#[test]
fn many_processes_stay_within_bounds() {
    let mut names = DnsNames::default();
    let now = Instant::now();
    for tgid in 0..40 {
        for n in 0..1000_u32 {
            let resolved = ResolvedName {
                name: "a.example".to_owned(),
                addresses: vec![(IpAddr::from(n.to_be_bytes()), Duration::from_secs(60))],
            };
            names.add(&received(tgid, "a.example", "192.0.2.1"), &resolved, now);
        }
        let held: usize = names.processes.values().map(|one| one.names.len()).sum();
        assert_eq!(held, names.addresses);
        assert!(held <= MAX_ADDRESSES);
    }
    assert!(names.processes.contains_key(&(39, Duration::from_secs(1))));
}
