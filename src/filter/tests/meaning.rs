//! Tests of how filters parse, and which flows they match.

use std::sync::Arc;
use std::time::Duration;

use super::super::*;
use super::parsed;
use crate::model::flow::{Comm, Counters, Endpoint, FlowKey, Owner, Protocol};
use crate::model::peer_zone::PeerZone;

/// Every way of writing a term, and its one written form.
#[test]
fn every_form_is_read_as_it_should_be() {
    for (text, expected) in [
        ("tcp", "tcp"),
        ("not tcp", "not tcp"),
        ("! tcp && !udp || ip6", "(not tcp and not udp) or ip6"),
        ("tcp port 443", "tcp and port 443"),
        ("ip6 tcp local port https", "tcp and ip6 and local port 443"),
        ("udp port domain", "udp and port 53"),
        ("port odd", "port (7 or 9)"),
        ("port 80 or 443 or http", "port (80 or 443 or 80)"),
        ("port (80 or 443)", "port (80 or 443)"),
        ("port 80 or tcp", "port 80 or tcp"),
        ("port 80 and 443", "port 80 and port 443"),
        ("port 80 or not 443", "port 80 or not port 443"),
        (
            "host 10.0.0.1 and not 10.0.0.2",
            "host 10.0.0.1 and not host 10.0.0.2",
        ),
        ("tcp local port 80 or 443", "tcp and local port (80 or 443)"),
        (
            "tcp port 80 and 443",
            "tcp and port 80 and tcp and port 443",
        ),
        ("portrange 1000-2000", "portrange 1000-2000"),
        ("port 80 or 1000-2000", "port (80 or 1000-2000)"),
        ("10.0.0.1", "host 10.0.0.1"),
        ("2001:db8::/32", "net 2001:db8::/32"),
        ("remote 10.0.0.1", "remote host 10.0.0.1"),
        (
            "local 10.0.0.0/8 or 127.0.0.0/8",
            "local net (10.0.0.0/8 or 127.0.0.0/8)",
        ),
        ("net 10.0.0.1", "host 10.0.0.1"),
        ("host ::ffff:10.0.0.1", "host 10.0.0.1"),
        ("net ::ffff:10.0.0.0/104", "net 10.0.0.0/8"),
        (
            "net 10.0.0.0/8 or 10.0.0.1",
            "net (10.0.0.0/8 or 10.0.0.1/32)",
        ),
        ("pid 1 or tid 2", "pid 1 or tid 2"),
        ("process ssh or sshd", "process (ssh or sshd)"),
        ("comm ssh or sshd", "process (ssh or sshd)"),
        (
            "comm 'tmux: server' or /^ng/",
            "process (\"tmux: server\" or /^ng/)",
        ),
        ("comm ng* or \"a*\"", "process (ng* or \"a*\")"),
        ("comm tcp", "process tcp"),
        ("comm systemd-resolved", "process systemd-resolve"),
        ("comm /a\\/b/", "process /a\\/b/"),
        ("comm \"a\\\"b\\\\\"", "process \"a\\\"b\\\\\""),
        ("user www-data or 7", "user (www-data or 7)"),
        ("user web*", "user web*"),
        ("unit nginx or *.scope", "unit (nginx.service or *.scope)"),
        ("container 4F2a", "container 4F2a"),
        ("netns 4026531840", "netns 4026531840"),
        ("rx and not tx", "rx and not tx"),
        ("rate>1MB", "rate > 1MB"),
        ("rx rate >= 8 Mbit/s", "rx rate >= 1MB"),
        ("tx bytes!=0", "tx bytes != 0B"),
        (
            "bytes <= 10MiB or rate == 1.5kB",
            "bytes <= 10MiB or rate = 1500B",
        ),
        ("a or", ""),
        ("((tcp))", "tcp"),
        ("(tcp or udp) and port 1", "(tcp or udp) and port 1"),
        (
            "tcp and port 443 or port 80",
            "(tcp and port 443) or port 80",
        ),
        (
            "tcp and port 443 or port 80 or 81",
            "(tcp and port 443) or port (80 or 81)",
        ),
        ("tcp and (port 443 and pid 1)", "tcp and port 443 and pid 1"),
        ("not (tcp or port 1)", "not (tcp or port 1)"),
        ("not not tcp", "not not tcp"),
        ("  tcp\tand\nudp ", "tcp and udp"),
    ] {
        if expected.is_empty() {
            assert!(parse(text, &super::words()).is_err(), "{text}");
            continue;
        }
        let expr = parsed(text);
        assert_eq!(expr.to_string(), expected, "{text}");
        assert_eq!(parsed(expected).to_string(), expected);
    }
}

/// Forms of other tools, and the filters they parse to.
#[test]
fn forms_of_other_tools_are_read_as_filters() {
    for (text, expected) in [
        ("port:443", "port 443"),
        ("tcp port:443 and host:::1", "tcp and port 443 and host ::1"),
        (":443", "port 443"),
        (
            "local :22 or remote port:22",
            "local port 22 or remote port 22",
        ),
        (
            "process:nginx or process:\"Web Content\"",
            "process nginx or process \"Web Content\"",
        ),
        ("process:/^ng x/ and user: 7", "process /^ng x/ and user 7"),
        ("net:10.0.0.0/8", "net 10.0.0.0/8"),
        ("container docker:4f2a", "container docker:4f2a"),
        ("process port:443", "process port:443"),
        ("port 80 or port:443", "port 80 or port 443"),
        (
            "process = nginx and port == 80",
            "process nginx and port 80",
        ),
        ("localhost", "host (127.0.0.1 or ::1)"),
        ("remote localhost", "remote host (127.0.0.1 or ::1)"),
        ("not host localhost", "not host (127.0.0.1 or ::1)"),
        ("not loopback", "not net (127.0.0.0/8 or ::1/128)"),
        (
            "src port 80",
            "(local port 80 and tx) or (remote port 80 and rx)",
        ),
        (
            "tcp dst 10.0.0.1 or 10.0.0.2",
            "tcp and ((local host (10.0.0.1 or 10.0.0.2) and rx) or \
             (remote host (10.0.0.1 or 10.0.0.2) and tx))",
        ),
        (
            "not src net 10.0.0.0/8",
            "not ((local net 10.0.0.0/8 and tx) or (remote net 10.0.0.0/8 and rx))",
        ),
        ("src or dst port 53", "port 53"),
        (
            "rate > 1Gbps and rx rate<10 Mbps",
            "rate > 125MB and rx rate < 1250kB",
        ),
        ("rate >= 1kB/s", "rate >= 1kB"),
    ] {
        assert_eq!(parsed(text).to_string(), expected, "{text}");
        assert_eq!(parsed(expected).to_string(), expected);
    }
}

/// A flow from 10.0.0.5:443 to 203.0.113.7:52110.
struct MeaningExample {
    key: FlowKey,
    owner: Owner,
    counters: Counters,
    elapsed: Duration,
    zone: PeerZone,
    dns_name: Option<&'static str>,
}

impl MeaningExample {
    fn new() -> Self {
        let end = |addr: &str, port| Endpoint::new(addr.parse().unwrap(), port);
        let docker = format!("/system.slice/docker-4f2a{}.scope", "0".repeat(60));
        Self {
            key: FlowKey {
                tid: 1235,
                netns: 4_026_531_840,
                ..FlowKey::new(
                    Protocol::Tcp,
                    end("10.0.0.5", 443),
                    end("203.0.113.7", 52110),
                    1234,
                )
            },
            owner: Owner {
                uid: Some(33),
                cgroup: Some(docker.as_str().into()),
                trees: vec![77],
                ..Owner::named(b"nginx")
            },
            counters: Counters {
                rx_bytes: 0,
                tx_bytes: 2_000_000,
                rx_msgs: 0,
                tx_msgs: 2,
            },
            elapsed: Duration::from_secs(2),
            zone: PeerZone {
                name: "eu-west".into(),
                price: None,
            },
            dns_name: None,
        }
    }

    #[track_caller]
    fn check(&self, yes: &[&str], no: &[&str]) {
        for (texts, expected) in [(yes, true), (no, false)] {
            for text in texts {
                let mut matcher = Matcher::new(&parsed(text));
                let owner = Arc::new(self.owner.clone());
                let subject = Subject {
                    key: &self.key,
                    owner: &owner,
                    counters: &self.counters,
                    internal: false,
                    class: crate::model::peer_class::PeerClass::of(&self.key.remote),
                    zone: Some(&self.zone),
                    dns_name: self.dns_name,
                    elapsed: self.elapsed,
                };
                // Twice: the second result comes from the cache.
                for _ in 0..2 {
                    assert_eq!(matcher.matches(&subject), expected, "{text}");
                }
            }
        }
    }
}

#[test]
fn terms_mean_the_flows_they_should() {
    MeaningExample::new().check(
        &[
            "tcp",
            "ip",
            "not udp and not ip6",
            "port 443",
            "port 52110",
            "local port 443",
            "remote port 52110",
            "portrange 400-500",
            "local portrange 443-443",
            "host 10.0.0.5",
            "remote host 203.0.113.7",
            "net 10.0.0.0/8",
            "net 0.0.0.0/0",
            "remote net 203.0.113.0/24",
            "pid 1234",
            "tid 1235",
            "tree 77",
            "class private",
            "zone eu-west",
            "zone (x or eu-*)",
            "zone /^eu/",
            "not zone us-west",
            "class (internet or private) and not class loopback",
            "tree (1 or 77) and not tree 1",
            "netns 4026531840",
            "comm nginx",
            "comm ng*",
            "comm /gin/",
            "process nginx",
            "process:nginx",
            "src port 443",
            "dst port 52110",
            "dst host 203.0.113.7",
            "src or dst port 52110",
            "not loopback",
            "user www-data",
            "user 33",
            "user www*",
            "container 4f2a",
            "container 4F2A0",
            "container docker:4f2a00000000",
            "container docker:*",
            "tx",
            "not rx",
            "rate >= 1MB",
            "rate = 8Mbit",
            "tx rate = 1MB",
            "rx rate < 1B",
            "rx bytes = 0",
            "bytes = 2MB",
            "bytes > 1.9MB",
            "tcp and port 443 or udp",
            "udp or port 1 or 443",
        ],
        &[
            "udp",
            "ip6",
            "port 80",
            "local port 52110",
            "remote port 443",
            "portrange 444-52109",
            "local host 203.0.113.7",
            "net ::/0",
            "net 10.0.0.0/29 and remote net 10.0.0.0/29",
            "pid 1235",
            "tid 1234",
            "comm ngin",
            "dst port 443",
            "src port 52110",
            "src host 203.0.113.7",
            "loopback",
            "localhost",
            "comm Nginx",
            "comm \"ng*\"",
            "user root",
            "container 4f2",
            "container f2a0",
            "container podman:*",
            "rx",
            "rate > 1MB",
            "rate < 1MB",
            "rate != 8Mbit",
            "tx rate > 8001kbit",
            "tcp and (port 80 or comm ssh)",
        ],
    );
}

#[test]
fn what_is_not_known_is_not_meant_and_its_not_is() {
    let mut example = MeaningExample::new();
    example.owner = Owner::default();
    example.key.remote = Endpoint::default();
    example.key.netns = 0;
    example.check(
        &[
            "not user www-data",
            "not container docker:*",
            "not unit *",
            "not netns 4026531840",
            "remote port 0",
            "remote host 0.0.0.0",
            "not comm nginx",
            "comm \"\"",
        ],
        &[
            "user *",
            "container *",
            "unit *",
            "netns 1",
            "remote portrange 1-65535",
        ],
    );
}

#[test]
fn units_and_pods_are_those_of_the_path() {
    let mut example = MeaningExample::new();
    example.owner.cgroup = Some("/system.slice/nginx.service".into());
    example.check(
        &[
            "unit nginx",
            "unit nginx.service",
            "unit ng*",
            "unit /^nginx/",
        ],
        &[
            "unit ngin",
            "unit nginx.scope",
            "container *",
            "unit system.slice",
        ],
    );
    let pod = "/kubepods.slice/kubepods-burstable.slice/\
               kubepods-burstable-pod01234567_89ab_cdef_0123_456789abcdef.slice";
    example.owner.cgroup = Some(pod.into());
    example.check(
        &["container pod:01234567", "container pod:*"],
        &["container 0123"],
    );
}

/// As with untracked bytes, flows that may match are not left out.
#[test]
fn an_overflow_row_matches_unless_none_of_its_flows_can() {
    let mut example = MeaningExample::new();
    let end = Endpoint::default();
    example.key = FlowKey {
        overflow: true,
        ..FlowKey::new(Protocol::Tcp, end, end, 7)
    };
    example.check(
        &[
            "tcp",
            "ip",
            "pid 7",
            "comm nginx",
            "port 443",
            "not port 443",
            "host 10.0.0.1",
            "netns 5",
            "not netns 5",
            "bytes > 1TB",
            "pid 8 or port 443",
            "pid 7 and not (port 443 and comm nginx)",
        ],
        &[
            "udp",
            "ip6",
            "pid 8",
            "not comm nginx",
            "port 443 and pid 8",
            "not (port 443 or pid 7)",
            "comm ssh or udp port 53",
        ],
    );
}

#[test]
fn rates_are_exact_at_the_edge_and_over_no_time() {
    let mut example = MeaningExample::new();
    example.counters.tx_bytes = u64::MAX;
    example.elapsed = Duration::from_secs(86_400);
    example.check(&["rate < 214TB", "rate > 213TB"], &["rate = 0"]);
    example.counters.tx_bytes = 3;
    example.elapsed = Duration::from_secs(2);
    example.check(
        &["rate = 12bit", "rate > 11bit"],
        &["rate > 12bit", "rate < 12bit"],
    );
    example.elapsed = Duration::ZERO;
    example.check(&["rate = 0", "rate < 1bit"], &["rate > 0"]);
}

#[test]
fn an_owner_that_took_the_place_of_another_is_asked_anew() {
    let example = MeaningExample::new();
    let mut matcher = Matcher::new(&parsed("comm nginx"));
    let mut is_match = |name: &[u8]| {
        let owner = Arc::new(Owner::named(name));
        matcher.begin();
        matcher.matches(&Subject {
            key: &example.key,
            owner: &owner,
            counters: &example.counters,
            internal: false,
            class: crate::model::peer_class::PeerClass::of(&example.key.remote),
            zone: Some(&example.zone),
            dns_name: None,
            elapsed: example.elapsed,
        })
    };
    for _ in 0..100 {
        // Each is likely to be where the one before was.
        assert!(is_match(b"nginx"));
        assert!(!is_match(b"ssh"));
    }
}

#[test]
fn a_name_of_other_bytes_can_be_asked_for() {
    let mut example = MeaningExample::new();
    example.owner.comm = Comm::new(b"a\xffb");
    example.check(&["comm a?b", "comm a\u{fffd}b"], &["comm ab"]);
}

#[test]
fn names_of_hosts_are_those_that_peers_were_resolved_from() {
    let mut example = MeaningExample::new();
    let names = [
        "host api.example.com",
        "remote host API.example.com",
        "host *.Example.com",
        "host /^api/",
        "host (www.example.com or api.example.com)",
        "domain example.com",
        "domain .com",
        "domain api.example.com",
        "domain (net or com)",
    ];
    let others = [
        "host example.com",
        "host api.example.co",
        "domain ple.com",
        "domain www.api.example.com",
    ];
    example.dns_name = Some("api.example.com");
    example.check(&names, &others);
    example.dns_name = None;
    example.check(&[], &[names, ["host api.example.com"; 9]].concat());
}
