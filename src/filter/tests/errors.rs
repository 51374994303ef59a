//! The errors of wrong filters, word for word.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::super::*;
use super::words;

/// Filters with one mistake each.
const WRONG: &[&str] = &[
    "",
    "eth0",
    "ssh",
    "prot 443",
    "443",
    "src",
    "src 443",
    "src and dst port 53",
    "sport = :22",
    "state established",
    "in",
    "lo",
    "enp3s0",
    "br-lan",
    "eno1",
    "envoy",
    "example.com",
    "day.jsonl.zst",
    "dump.pcap",
    "10.0.0",
    "host 10.0.",
    "10.0.0.256",
    "host 10.0.0.256",
    "net 192.168",
    "tcp,udp",
    "https",
    "all",
    "help",
    "port != 22",
    "port > 1024",
    "process != nginx",
    "process",
    "process:",
    "port:httpss",
    "process:\"x",
    "arp",
    "interface nosuch",
    "dev eth0",
    "10.0.0.5:443",
    "host 10.0.0.5:443",
    "local host example.com",
    "src host example.com",
    "host (192.0.2.1 or example.com)",
    "host web",
    "domain 192.0.2.1",
    "domain *.example.com",
    "host 10.0.0.0/8",
    "net 10.0.0.1/8",
    "net 10.0.0.0/33",
    "net 10",
    "port 44x",
    "tcp port htps",
    "port 70000",
    "portrange 9-1",
    "port 80,443",
    "port",
    "port and tcp",
    "pid nginx",
    "pid 0",
    "tid -1",
    "user wbe",
    "user zzzzzz",
    "user x*",
    "comm /(/",
    "comm \"ssh",
    "comm /x",
    "rate 1MB",
    "rate >",
    "rate > 1Mb",
    "rate > fast",
    "rx > 1MB",
    "bytes > 1MB/s",
    "> 1MB",
    "tcp or udp and port 80",
    "port 80 or port 81 and tcp",
    "tcp and port 80 or 443",
    "not port 80 or 443",
    "(tcp",
    "tcp)",
    "()",
    "tcp port 80 udp",
    "tcp and",
    "tcp and or udp",
    "not",
    "port (80 and 443)",
    "port (80 or",
    "local 443",
    "remote",
    "local pid 5",
    "netns init",
    "port 80 and src 1",
    "port 80 and sport 1",
    "port 80 and foo 1",
    "é and tcp",
    "tcp & udp",
    "tcp, udp",
    "\"ssh\"",
    "comm a\u{1b}[2J src",
    "TCP",
    "tcp AND udp",
    "local rx",
    "comm ssh nginx",
];

/// FLOWTOP_BLESS=1 rewrites the expected texts.
#[test]
fn every_mistake_names_its_place_and_its_fix() {
    let mut reported = String::new();
    for text in WRONG {
        match parse(text, &words()) {
            Ok(expr) => panic!("{text} was read as {expr}"),
            Err(error) => writeln!(reported, "{error}\n").unwrap(),
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/filter/tests/errors.txt");
    if std::env::var_os("FLOWTOP_BLESS").is_some() {
        fs::write(&path, &reported).unwrap();
    }
    assert_eq!(reported, fs::read_to_string(&path).unwrap());
}

#[test]
fn the_place_is_that_of_the_character() {
    let error = parse("comm é and port x", &words()).unwrap_err();
    assert_eq!(error.column(), 17);
    let error = parse("comm é and uid", &words()).unwrap_err().to_string();
    let mut lines = error
        .lines()
        .skip(1)
        .map(|line| line.chars().collect::<Vec<_>>());
    let (text, marks) = (lines.next().unwrap(), lines.next().unwrap());
    let at = marks.iter().position(|c| *c == '^').unwrap();
    assert_eq!(text[at..].iter().collect::<String>(), "uid");
}

/// The written form has parentheses and words that the text leaves out.
#[test]
fn what_is_read_can_be_written_however_deep_it_is_nested() {
    let nested = |nots: usize, term: &str| format!("{}{term}", "not ".repeat(nots));
    for term in ["tcp", "tcp port 80", "tcp src port 80"] {
        let mut deepest = 0;
        for nots in 0..40 {
            let Ok(expr) = parse(&nested(nots, term), &words()) else {
                continue;
            };
            deepest = nots;
            assert_eq!(parse(&expr.to_string(), &words()), Ok(expr));
        }
        assert!((28..32).contains(&deepest), "{term}: {deepest}");
    }
}
