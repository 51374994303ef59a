//! Hints for words that the filter language does not have: what to write instead.

use super::name_tables::NameTables;
use super::value::{self, ValueKind};
use crate::text::suggest::nearest;

/// Every word that a term can begin with, and `and`, `or` and `not`. Completions offer these.
pub const WORDS: [&str; 43] = [
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
    "loopback",
    "internal",
    "external",
    "pid",
    "tid",
    "tree",
    "process",
    "user",
    "container",
    "unit",
    "pod",
    "namespace",
    "compose",
    "job",
    "netns",
    "interface",
    "class",
    "zone",
    "domain",
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
    "or",
];

/// Words that a term can begin with and that are accepted, but not offered.
pub(super) const SYNONYMS: [&str; 3] = ["comm", "src", "dst"];

/// Words of other tools, each with its equivalent in a flowtop filter.
const ELSEWHERE: [(&[&str], &str); 17] = [
    (&["source"], "write src, or local or remote"),
    (&["destination"], "write dst, or local or remote"),
    (
        &["sport", "dport"],
        "write local port for the port of this machine's end, remote port for the other, as in local port 22",
    ),
    (
        &[
            "in", "out", "ingress", "egress", "inbound", "outbound", "received", "sent",
        ],
        "write rx for flows that received, tx for flows that sent",
    ),
    (
        &[
            "state",
            "established",
            "listen",
            "listening",
            "connected",
            "time-wait",
            "close-wait",
        ],
        "filters have no TCP states: flowtop shows only flows that move bytes; leave this out",
    ),
    (
        &["arp", "ether", "vlan", "proto"],
        "write the protocol of the socket: tcp, udp, icmp, icmp6, raw, sctp, udplite, dccp or packet",
    ),
    (
        &["dev", "device", "iface", "ifname", "nic"],
        "write interface, as in interface eth0, for sockets bound to it; for traffic of an interface filter by \
         its addresses, as in local net 10.0.0.0/8",
    ),
    (&["ipv4", "ip4", "inet"], "write ip"),
    (&["ipv6", "inet6"], "write ip6"),
    (
        &["program", "name", "command", "cmd", "exe"],
        "write process and its name, or pid and its number",
    ),
    (&["uid"], "write user; it takes names and numbers"),
    (
        &["service"],
        "write unit for one of systemd, or port for one of the network",
    ),
    (&["cgroup"], "write container, pod or unit"),
    (
        &["multicast", "broadcast"],
        "write its addresses, as in net 224.0.0.0/4, net ff00::/8 or host 255.255.255.255",
    ),
    (
        &["greater", "less", "len", "length", "size"],
        "write bytes, as in bytes > 1MB: the bytes of a flow in an interval",
    ),
    (
        &["all", "any"],
        "leave the filter out: flowtop then counts everything",
    ),
    (&["help"], "run flowtop --help"),
];

/// How names of network interfaces begin; a digit follows.
const INTERFACES: [&str; 17] = [
    "bond", "br", "docker", "en", "eno", "enp", "ens", "eth", "ib", "ppp", "tap", "tun", "virbr",
    "vmbr", "wg", "wlan", "wlp",
];

/// Whether a word begins a term, so that it is not a name to look for.
pub(super) fn begins_term(word: &str) -> bool {
    WORDS.contains(&word) || SYNONYMS.contains(&word) || split_key(word).is_some()
}

/// Returns the key of `key:value` where the key is a kind of values; for `:443` the key is empty
/// and means a port.
pub(super) fn split_key(word: &str) -> Option<&str> {
    let (key, value) = word.split_once(':')?;
    let is_port = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    (ValueKind::named(key).is_some() || key.is_empty() && is_port).then_some(key)
}

/// Returns the equivalent of a word that other tools use.
pub(super) fn elsewhere(word: &str) -> Option<&'static str> {
    let lower = word.to_lowercase();
    let found = ELSEWHERE
        .iter()
        .find(|(words, _)| words.contains(&lower.as_str()));
    found.map(|(_, fix)| *fix)
}

/// Returns the fix for an unknown word at the beginning of a term.
pub(super) fn unknown(word: &str, name_tables: &NameTables) -> String {
    if let Some(fix) = elsewhere(word) {
        return fix.to_owned();
    }
    if let Some(help) = value::socket_help(word).or_else(|| value::partial_address_help(word)) {
        return help;
    }
    if word.starts_with('-') {
        return "options belong on the command line: write a filter, as in port 443".to_owned();
    }
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("write port {word}, or pid {word}");
    }
    if let Some(help) = file(word)
        .or_else(|| interface(word))
        .or_else(|| commas(word))
    {
        return help;
    }
    if !name_tables.ports(word).is_empty() {
        return format!("write port {word} for the port, or process {word} for the program");
    }
    let near = (word.len() <= 16).then(|| nearest(word, &WORDS)).flatten();
    match near {
        Some(near) => {
            format!("did you mean \"{near}\"? For a program of this name write process {word}")
        }
        None if value::is_host_name(word) => {
            format!(
                "write host {word} for peers that were resolved from this name, or process {word} for a program of \
                 this name"
            )
        }
        None => format!("for a program of this name write process {word}"),
    }
}

/// Returns the fix if a word is the name of a file: a recording, or a capture of another tool.
fn file(word: &str) -> Option<String> {
    let ends = |ends: &[&str]| ends.iter().any(|end| word.ends_with(end));
    if ends(&[".jsonl", ".zst"]) {
        Some(format!("to show a recording write --replay {word}"))
    } else if ends(&[".pcap", ".pcapng"]) {
        Some(
            "flowtop does not read captures of packets, only its own recordings (--replay)"
                .to_owned(),
        )
    } else {
        None
    }
}

/// Returns the fix for a word that looks like a network interface.
pub fn interface(word: &str) -> Option<String> {
    if word == "lo" {
        return Some("write loopback".to_owned());
    }
    let is_numbered = |start: &str| {
        let rest = word.strip_prefix(start);
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let is_bridge = word.starts_with("br-") || word.starts_with("veth");
    (is_bridge || INTERFACES.iter().any(|start| is_numbered(start))).then(|| {
        format!(
            "flowtop counts at sockets, not at interfaces: write interface {word} for sockets bound to it, or \
             filter by its addresses, as in local net 10.0.0.0/8"
        )
    })
}

/// Returns the fix for several values in one word, separated by commas.
fn commas(word: &str) -> Option<String> {
    let words: Vec<&str> = word.split(',').filter(|word| !word.is_empty()).collect();
    let is_list = word.contains(',') && words.iter().all(|word| WORDS.contains(word));
    match words[..] {
        [only] if is_list => Some(format!(
            "write {only} without the comma, and \"or\" after it"
        )),
        [_, ..] if is_list => Some(format!("write {}", words.join(" or "))),
        _ => None,
    }
}
