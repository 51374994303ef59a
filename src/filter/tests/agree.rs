//! Properties of any filter on any flow: the kernel's part and the rest together equal the whole,
//! and the written form parses to an equal filter. Any text parses or is refused.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::hints::WORDS;
use super::super::*;
use super::words;
use crate::model::flow::{Counters, Direction, Endpoint, FlowKey, Owner, Protocol};
use crate::model::net::Net;
use crate::model::peer_class::PeerClass;
use crate::testing::rounds;
use crate::view::Directions;

/// Few values, so that filters match flows often.
fn addr() -> impl Strategy<Value = std::net::IpAddr> {
    prop::sample::select(vec![
        "0.0.0.0",
        "10.0.0.1",
        "10.0.0.2",
        "10.1.0.1",
        "192.0.2.1",
        "::",
        "::1",
        "2001:db8::1",
        "2001:db8:1::1",
    ])
    .prop_map(|addr| addr.parse().unwrap())
}

fn net() -> impl Strategy<Value = Net> {
    let prefix = prop::sample::select(vec![0_u8, 1, 8, 24, 31, 32, 48, 64, 127, 128]);
    (addr(), prefix).prop_map(|(addr, prefix)| Net::of(addr, prefix.min(Net::bits(addr))))
}

fn range() -> impl Strategy<Value = PortRange> {
    (0..6_u16, 0..3_u16).prop_map(|(first, more)| PortRange {
        first,
        last: first + more,
    })
}

fn side() -> impl Strategy<Value = Side> {
    prop::sample::select(vec![Side::Either, Side::Local, Side::Remote])
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop::sample::select(vec![Protocol::Tcp, Protocol::Udp])
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop::sample::select(vec![
        "word nginx",
        "word ng*",
        "word *",
        "regex ^n",
        "exact a b",
        "word ssh",
    ])
    .prop_map(|text| match text.split_once(' ').unwrap() {
        ("word", text) => Pattern::word(text).unwrap(),
        ("regex", text) => Pattern::regex(text).unwrap(),
        (_, text) => Pattern::exact(text),
    })
}

fn term() -> impl Strategy<Value = Term> {
    // Sometimes more values than the kernel's lists hold.
    let many = || 1..20_usize;
    let names = || vec(pattern(), 1..3);
    prop_oneof![
        protocol().prop_map(Term::Protocol),
        prop::sample::select(vec![Family::V4, Family::V6]).prop_map(Term::Family),
        (side(), vec(range(), many())).prop_map(|(side, ports)| Term::Ports(side, ports)),
        (side(), vec(net(), many())).prop_map(|(side, nets)| Term::Nets(side, nets)),
        vec(1..6_u32, 1..4).prop_map(Term::Pids),
        vec(1..200_u32, 1..90).prop_map(Term::Pids),
        vec(1..6_u32, 1..4).prop_map(Term::Tids),
        vec(1..12_u32, 1..12).prop_map(Term::Netns),
        vec(0..30_u32, many()).prop_map(|uids| {
            let named = uids.iter().map(|uid| Pattern::exact(uid.to_string()));
            Term::Users(named.collect(), sorted(uids.clone()))
        }),
        names().prop_map(Term::Comm),
        names().prop_map(Term::Container),
        Just(Term::Unit(vec![Pattern::exact("ssh.service")])),
        prop::sample::select(vec![
            Term::HostNames(vec![Pattern::exact("api.example.com")]),
            Term::HostNames(vec![Pattern::word("*.example.net").unwrap()]),
            Term::HostNames(vec![Pattern::regex("^api").unwrap()]),
            Term::Domains(vec!["example.com".to_owned(), "net".to_owned()]),
        ]),
        prop::sample::select(vec![Direction::Rx, Direction::Tx]).prop_map(Term::Moved),
        compare().prop_map(Term::Compare),
    ]
}

fn sorted(mut uids: Vec<u32>) -> Vec<u32> {
    uids.sort_unstable();
    uids.dedup();
    uids
}

fn compare() -> impl Strategy<Value = Compare> {
    let ways = prop::sample::select(vec![Directions::Rx, Directions::Tx, Directions::Both]);
    let ops = vec![
        Op::More,
        Op::AtLeast,
        Op::Less,
        Op::AtMost,
        Op::Equal,
        Op::Different,
    ];
    let bits = prop_oneof![0..40_u64, any::<u64>()];
    (ways, any::<bool>(), prop::sample::select(ops), bits).prop_map(
        |(directions, per_second, op, bits)| Compare {
            directions,
            per_second,
            op,
            bits,
        },
    )
}

/// Often terms that compete for one list of the kernel filter.
fn expr() -> impl Strategy<Value = Expr> {
    let ports = vec(range(), 1..3).prop_map(|ports| Term::Ports(Side::Either, ports));
    let tasks = prop_oneof![
        vec(1..6_u32, 1..3).prop_map(Term::Pids),
        vec(1..6_u32, 1..3).prop_map(Term::Tids),
        vec(1..4_u32, 1..3).prop_map(Term::Tree),
        vec(prop::sample::select(PeerClass::ALL.to_vec()), 1..3).prop_map(Term::Class),
    ];
    prop_oneof![
        2 => joined(term().boxed()),
        1 => joined(ports.boxed()),
        1 => joined(tasks.boxed()),
    ]
}

fn joined(term: BoxedStrategy<Term>) -> impl Strategy<Value = Expr> {
    let leaf = term.prop_map(Expr::Is);
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            3 => vec(inner.clone(), 1..5).prop_map(|parts| Expr::all(parts).unwrap()),
            2 => vec(inner.clone(), 1..4).prop_map(|parts| Expr::any(parts).unwrap()),
            2 => inner.prop_map(|part| Expr::Not(Box::new(part))),
        ]
    })
}

fn end() -> impl Strategy<Value = Endpoint> {
    (addr(), 0..8_u16).prop_map(|(addr, port)| Endpoint::new(addr, port))
}

#[derive(Clone, Debug)]
struct Example {
    key: FlowKey,
    owner: Arc<Owner>,
    counters: Counters,
    elapsed: Duration,
}

impl Example {
    fn subject(&self) -> Subject<'_> {
        Subject {
            key: &self.key,
            owner: &self.owner,
            counters: &self.counters,
            internal: false,
            class: PeerClass::of(&self.key.remote),
            zone: None,
            dns_name: Some("api.example.com"),
            elapsed: self.elapsed,
        }
    }
}

fn example() -> impl Strategy<Value = Example> {
    let key = (protocol(), end(), end(), 1..7_u32, 0..7_u32, 0..13_u32).prop_map(
        |(protocol, local, remote, tgid, tid, netns)| FlowKey {
            tid,
            netns,
            ..FlowKey::new(protocol, local, remote, tgid)
        },
    );
    let comm = prop::sample::select(vec!["nginx", "ssh", "a b", ""]);
    let cgroup = prop::sample::select(vec!["/", "/system.slice/ssh.service", "/lxc/nginx"]);
    let roots = prop::sample::subsequence(vec![1_u32, 2, 3], 0..=3);
    let owner = (comm, option::of(0..31_u32), option::of(cgroup), roots).prop_map(
        |(comm, uid, cgroup, trees)| {
            Arc::new(Owner {
                uid,
                cgroup: cgroup.map(Arc::from),
                trees,
                ..Owner::named(comm.as_bytes())
            })
        },
    );
    let counters = (0..6_u64, 0..6_u64).prop_map(|(rx_bytes, tx_bytes)| Counters {
        rx_bytes,
        tx_bytes,
        rx_msgs: rx_bytes.min(1),
        tx_msgs: tx_bytes.min(1),
    });
    let elapsed =
        prop::sample::select(vec![0_u64, 500, 1000, 3000]).prop_map(Duration::from_millis);
    (key, owner, counters, elapsed).prop_map(|(key, owner, counters, elapsed)| Example {
        key,
        owner,
        counters,
        elapsed,
    })
}

/// Evaluates the kernel's part by its reference, then user space's part.
fn divided(plan: &FilterPlan, example: &Example) -> bool {
    let rest = plan.rest.as_ref();
    plan.kernel_filter.matches(&example.key, &example.owner)
        && rest.is_none_or(|rest| Matcher::new(rest).matches(&example.subject()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: rounds(1000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_kernels_part_and_the_rest_are_the_filter(
        expr in expr(),
        examples in vec(example(), 20),
    ) {
        let mut whole = Matcher::new(&expr);
        for reach in [Pushdown::Nothing, Pushdown::All] {
            let plan = FilterPlan::new(expr.clone(), reach);
            let pushed = plan.kernel.as_ref().map(Matcher::new);
            prop_assert_eq!(plan.kernel.is_none(), plan.kernel_filter.is_empty());
            for example in &examples {
                let meant = whole.matches(&example.subject());
                prop_assert_eq!(divided(&plan, example), meant, "{}", plan);
                if let Some(mut pushed) = pushed.clone() {
                    let by_data = plan.kernel_filter.matches(&example.key, &example.owner);
                    prop_assert_eq!(pushed.matches(&example.subject()), by_data, "{}", plan);
                }
            }
        }
    }

    #[test]
    fn what_is_pushed_is_within_its_bounds(expr in expr()) {
        let pushed = FilterPlan::new(expr, Pushdown::All).kernel_filter;
        prop_assert!(pushed.tasks.tgids.len() <= MAX_TASKS && pushed.tasks.tids.len() <= MAX_TASKS);
        prop_assert!(pushed.trees.values.len() <= MAX_TREES);
        prop_assert!(pushed.uids.values.len() <= MAX_UIDS);
        prop_assert!(pushed.netns.values.len() <= MAX_NETNS);
        for ports in [&pushed.local_ports, &pushed.remote_ports, &pushed.any_ports] {
            prop_assert!(ports.values.len() <= MAX_PORTS);
        }
        for nets in [&pushed.local_nets, &pushed.remote_nets, &pushed.any_nets] {
            prop_assert!(nets.values.len() <= MAX_NETS);
        }
    }

    #[test]
    fn what_is_written_out_is_read_again(expr in expr(), examples in vec(example(), 10)) {
        let text = expr.to_string();
        prop_assume!(text.len() <= 4096);
        let again = parse(&text, &words());
        prop_assert!(again.is_ok(), "{}: {}", text, again.unwrap_err());
        let again = again.unwrap();
        prop_assert_eq!(again.to_string(), text);
        let (mut one, mut other) = (Matcher::new(&expr), Matcher::new(&again));
        for example in &examples {
            prop_assert_eq!(one.matches(&example.subject()), other.matches(&example.subject()));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        any_text(&text)?;
    }

    #[test]
    fn any_words_are_read_or_refused(
        words in vec(prop::sample::select([&WORDS[..], &OTHER].concat()), 0..14),
        space in prop::sample::select(vec![" ", ""]),
    ) {
        any_text(&words.join(space))?;
    }
}

/// Words besides those of the language.
const OTHER: [&str; 28] = [
    "comm",
    "src",
    "dst",
    "port:443",
    "process:a",
    ":80",
    "localhost",
    "rate > 1Gbps",
    "(",
    ")",
    "!",
    "&&",
    "||",
    ">",
    "<=",
    "=",
    "1MB",
    "8",
    "80-90",
    "10.0.0.1",
    "10.0.0.0/8",
    "::1",
    "ng*",
    "/x/",
    "\"a b\"",
    "root",
    "1,2",
    "é",
];

/// A parsed text has a written form that parses to an equal filter; an error has a position.
fn any_text(text: &str) -> Result<(), TestCaseError> {
    match parse(text, &words()) {
        Ok(expr) => {
            let written = expr.to_string();
            let again = parse(&written, &words());
            prop_assert!(again.is_ok(), "{:?} as {:?}", text, written);
            prop_assert_eq!(again.unwrap(), expr);
        }
        Err(error) => {
            prop_assert!(!error.message().is_empty());
            prop_assert!(error.column() <= text.chars().count() + 1, "{}", error);
            let shown = error.to_string();
            prop_assert!(shown.chars().all(|c| c == '\n' || !c.is_control()));
        }
    }
    Ok(())
}

#[test]
fn deep_nesting_and_long_texts_are_refused() {
    for (text, message) in [
        ("(".repeat(4000), "nested more than 32 deep"),
        ("not ".repeat(1000), "nested more than 32 deep"),
        ("tcp or ".repeat(1000), "longer than 4096 bytes"),
        ("comm a and ".repeat(65) + "tcp", "more than 64 terms"),
    ] {
        let error = parse(&text, &words()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let most = format!("{}tcp{}", "(".repeat(31), ")".repeat(31));
    assert_eq!(parse(&most, &words()).unwrap().to_string(), "tcp");
}
