//! The largest filter, for tests of the verifier on this kernel and in guests.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt as _;
use std::{fs, io, process};

/// Instructions that the verifier may go through for a program; its own limit is a million.
pub const MAX_VERIFIED: u32 = 250_000;

fn one_of(word: &str, values: impl IntoIterator<Item = impl Display>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    format!("{word} ({})", values.join(" or "))
}

/// Every list of the kernel's part is full, and this process's connection over IPv4 passes at the
/// end that has the port `local`. What passes stands last in its list.
pub fn largest_filter(local: u16, remote: u16) -> io::Result<String> {
    let uid = rustix::process::getuid().as_raw();
    let netns = fs::metadata("/proc/self/ns/net")?.ino();
    let last = |first: u64, count: u64, last: u64| (first..first + count - 1).chain([last]);
    // Not next to each other: those would be one range.
    let ports = |port: u16| (0..15).map(|n| 2 * n + 1).chain([port]);
    let nets: Vec<String> = (0..7)
        .map(|n| format!("2001:db8:{n}::/48"))
        .chain(["127.0.0.0/8".to_owned()])
        .collect();
    let tasks = format!(
        "({} or {})",
        one_of("pid", last(3_000_000, 64, process::id().into())),
        one_of("tid", last(3_500_000, 64, 3_600_000))
    );
    let terms = [
        tasks,
        one_of("user", last(5_000_000, 16, uid.into())),
        one_of("netns", last(1, 8, netns)),
        one_of("local port", ports(local)),
        one_of("remote port", ports(remote)),
        one_of("port", ports(remote)),
        one_of("local net", &nets),
        one_of("remote net", &nets),
        one_of("net", &nets),
    ];
    Ok(terms.join(" and "))
}
