//! What is said of wrong filters, word for word.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::super::*;
use super::words;

/// Each wrong in another way.
const WRONG: &[&str] = &[
    "",
    "eth0",
    "ssh",
    "prot 443",
    "443",
    "src host 10.0.0.1",
    "arp",
    "interface nosuch",
    "dev eth0",
    "10.0.0.5:443",
    "host 10.0.0.5:443",
    "host example.com",
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

/// FLOWTOP_BLESS=1 writes the expected texts anew.
#[test]
fn every_mistake_is_told_by_its_place_and_its_fix() {
    let mut told = String::new();
    for text in WRONG {
        match parse(text, &words()) {
            Ok(expr) => panic!("{text} was read as {expr}"),
            Err(error) => writeln!(told, "{error}\n").unwrap(),
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/filter/tests/errors.txt");
    if std::env::var_os("FLOWTOP_BLESS").is_some() {
        fs::write(&path, &told).unwrap();
    }
    assert_eq!(told, fs::read_to_string(&path).unwrap());
}

#[test]
fn the_place_is_that_of_the_character() {
    let error = parse("comm é and port x", &words()).unwrap_err();
    assert_eq!(error.column(), 17);
    let error = parse("comm é and src", &words()).unwrap_err().to_string();
    let mut lines = error
        .lines()
        .skip(1)
        .map(|line| line.chars().collect::<Vec<_>>());
    let (text, marks) = (lines.next().unwrap(), lines.next().unwrap());
    let at = marks.iter().position(|c| *c == '^').unwrap();
    assert_eq!(text[at..].iter().collect::<String>(), "src");
}
