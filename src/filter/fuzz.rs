//! Properties that hold for any text as a filter.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::{Expr, FilterPlan, Matcher, NameTables, Pushdown, Subject, looks_like_filter, parse};
use crate::model::flow::{Counters, Endpoint, Flow, FlowKey, Owner, Protocol};

static WORDS: LazyLock<NameTables> = LazyLock::new(|| {
    NameTables::new(
        &[("root", 0), ("www-data", 33)],
        &[("https", 443), ("domain", 53)],
    )
});

/// A few flows that differ in every property that filters test.
static FLOWS: LazyLock<Vec<Flow>> = LazyLock::new(|| {
    let end = |addr: &str, port| {
        let addr: IpAddr = addr.parse().unwrap_or(IpAddr::from([0; 4]));
        Endpoint::new(addr, port)
    };
    let docker = format!("/system.slice/docker-4f2a{}.scope", "0".repeat(60));
    [
        (
            "10.0.0.1",
            "192.0.2.7",
            "nginx",
            Some(0),
            Some(docker.as_str()),
        ),
        (
            "::1",
            "2001:db8::1",
            "ssh",
            Some(33),
            Some("/system.slice/ssh.service"),
        ),
        ("0.0.0.0", "0.0.0.0", "", None, None),
    ]
    .into_iter()
    .zip(1..)
    .flat_map(|((local, remote, comm, uid, cgroup), id)| {
        [Protocol::Tcp, Protocol::Udp].map(|protocol| {
            let key = FlowKey {
                tid: id + 1,
                netns: id,
                ..FlowKey::new(protocol, end(local, 443), end(remote, 53), id)
            };
            let owner = Owner {
                uid,
                cgroup: cgroup.map(Arc::from),
                ..Owner::named(comm.as_bytes())
            };
            let counters = Counters {
                rx_bytes: u64::from(id) * 500_000,
                tx_bytes: 0,
                rx_msgs: 1,
                tx_msgs: 0,
            };
            Flow::new(key, counters, Arc::new(owner))
        })
    })
    .collect()
});

/// Returns which of the flows match.
fn meant(expr: &Expr) -> Vec<bool> {
    let mut matcher = Matcher::new(expr);
    let flows = FLOWS.iter().map(|flow| {
        matcher.matches(&Subject {
            key: &flow.key,
            owner: &flow.owner,
            counters: &flow.counters,
            internal: false,
            class: crate::model::peer_class::PeerClass::of(&flow.key.remote),
            zone: None,
            dns_name: Some("api.example.com"),
            elapsed: Duration::from_millis(500),
        })
    });
    flows.collect()
}

/// Any text parses as a filter or is refused, without a panic and in bounded time. The written form
/// of a parsed filter, and its division between kernel and user space, match the same flows.
///
/// # Panics
/// When that is not so.
pub fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = looks_like_filter(text);
    let expr = match parse(text, &WORDS) {
        Ok(expr) => expr,
        Err(error) => {
            let shown = error.to_string();
            assert!(shown.chars().all(|c| c == '\n' || !c.is_control()));
            assert!(error.column() <= text.chars().count() + 1);
            return;
        }
    };
    let written = expr.to_string();
    // The written form leaves nothing out and may be longer than the text.
    if written.len() <= 4096 {
        assert_eq!(parse(&written, &WORDS).as_ref(), Ok(&expr), "{written}");
    }
    let whole = meant(&expr);
    for reach in [Pushdown::Nothing, Pushdown::All] {
        let plan = FilterPlan::new(expr.clone(), reach);
        let rest = plan
            .rest
            .as_ref()
            .map_or_else(|| vec![true; FLOWS.len()], meant);
        for ((flow, rest), whole) in FLOWS.iter().zip(rest).zip(&whole) {
            let pushed = plan.kernel_filter.matches(&flow.key, &flow.owner);
            assert_eq!(pushed && rest, *whole, "{plan}");
        }
        assert!(plan.to_string().starts_with("filter: "));
    }
}
