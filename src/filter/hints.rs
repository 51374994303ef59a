//! Words that are none of the language, and what to write for them.

use super::value;
use crate::text::suggest::nearest;

/// Every word that a term can begin with, and the joining ones.
pub const WORDS: [&str; 31] = [
    "tcp",
    "udp",
    "ip",
    "ip6",
    "local",
    "remote",
    "host",
    "net",
    "port",
    "portrange",
    "pid",
    "tid",
    "comm",
    "user",
    "container",
    "unit",
    "netns",
    "interface",
    "icmp",
    "icmp6",
    "raw",
    "sctp",
    "udplite",
    "dccp",
    "packet",
    "rx",
    "tx",
    "rate",
    "bytes",
    "not",
    "and",
];

/// Words of pcap-filter and of other tools, and what to write here.
const ELSEWHERE: [(&[&str], &str); 9] = [
    (
        &["src", "dst", "source", "destination"],
        "a flow has no source and no destination, but two ends: write local or remote",
    ),
    (
        &["arp", "ether", "vlan", "proto"],
        "write the protocol of the socket: tcp, udp, icmp, icmp6, raw, sctp, udplite, dccp or packet",
    ),
    (&["dev", "device", "iface", "ifname"], "write interface"),
    (&["ipv4", "ip4", "inet"], "write ip"),
    (&["ipv6", "inet6"], "write ip6"),
    (
        &["process", "program", "name", "command"],
        "write comm and its name, or pid and its number",
    ),
    (&["uid"], "write user; it takes names and numbers"),
    (
        &["service"],
        "write unit for one of systemd, or port for one of the network",
    ),
    (&["cgroup", "pod"], "write container or unit"),
];

/// Whether a word begins a term, so that it is not a name to look for.
pub(super) fn begins_term(word: &str) -> bool {
    WORDS.contains(&word)
}

/// What to write for a word that has a meaning elsewhere.
pub(super) fn elsewhere(word: &str) -> Option<&'static str> {
    let lower = word.to_lowercase();
    let found = ELSEWHERE
        .iter()
        .find(|(words, _)| words.contains(&lower.as_str()));
    found.map(|(_, fix)| *fix)
}

/// What to write for a word that stands where a term should begin.
pub(super) fn unknown(word: &str) -> String {
    if let Some(fix) = elsewhere(word) {
        return fix.to_owned();
    }
    if let Some(help) = value::socket_help(word) {
        return help;
    }
    if word.parse::<u32>().is_ok() {
        return format!("write port {word}, or pid {word}");
    }
    let near = (word.len() <= 16).then(|| nearest(word, &WORDS)).flatten();
    match near {
        Some(near) => format!("did you mean {near}? For processes of this name write comm {word}"),
        None => format!("for processes of this name write comm {word}"),
    }
}
