//! The largest filter, which the verifier of every kernel must take with room to spare.

use std::fmt::Display;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, ensure};
use libbpf_rs::query::ProgInfoIter;
use rustix::process::getuid;

use super::{FaultReport, Faults, PATIENCE};

faults! {
    false,
    "the largest filter that is pushed down" => largest_filter,
}

/// Instructions that the verifier may go through for a program; its own limit is a million.
const MAX_VERIFIED: u32 = 250_000;
const BYTES: usize = 3000;

fn one_of(word: &str, values: impl IntoIterator<Item: Display>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    format!("{word} ({})", values.join(" or "))
}

/// Every list that programs decide is full, and what passes stands last in each.
fn largest(local: u16, remote: u16) -> Result<String> {
    let netns = fs::metadata("/proc/self/ns/net").context("own namespace")?;
    let last = |first: u64, count: u64, last: u64| (first..first + count - 1).chain([last]);
    // Not next to each other: those would be one range.
    let ports = |port: u16| (0..15).map(|n| 2 * n + 1).chain([port]);
    let nets: Vec<String> = (0..7)
        .map(|n| format!("2001:db8:{n}::/48"))
        .chain(["127.0.0.0/8".to_owned()])
        .collect();
    let tasks = [
        one_of("pid", last(3_000_000, 64, std::process::id().into())),
        one_of("tid", last(3_500_000, 64, 3_600_000)),
    ];
    let terms = [
        format!("({})", tasks.join(" or ")),
        one_of("user", last(5_000_000, 16, getuid().as_raw().into())),
        one_of("netns", last(1, 8, netns.ino())),
        one_of("local port", ports(local)),
        one_of("remote port", ports(remote)),
        one_of("port", ports(remote)),
        one_of("local net", &nets),
        one_of("remote net", &nets),
        one_of("net", &nets),
    ];
    Ok(terms.join(" and "))
}

/// A connection to this machine, one end after the other.
fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}

fn transfer(from: &mut TcpStream, to: &mut TcpStream) -> Result<()> {
    from.write_all(&[7; BYTES])?;
    Ok(to.read_exact(&mut [0; BYTES])?)
}

/// Loads, is decided by the kernel, and one end of one connection passes.
fn largest_filter(how: &Faults) -> Result<FaultReport> {
    let (mut client, mut server) = pair()?;
    let ends = (client.local_addr()?.port(), server.local_addr()?.port());
    let subject = how.flowtop(0.2, &[&largest(ends.0, ends.1)?])?;
    // Kernels before 5.16 do not say.
    let verified = ProgInfoIter::default().map(|program| program.verified_insns);
    let verified = verified.max().unwrap_or(0);
    for (mut from, mut to) in [pair()?, (client.try_clone()?, server.try_clone()?)] {
        transfer(&mut from, &mut to)?;
        transfer(&mut to, &mut from)?;
    }
    transfer(&mut server, &mut client)?;
    let seen = subject.stop(PATIENCE)?;
    ensure!(verified < MAX_VERIFIED, "{verified} instructions verified");
    ensure!(!seen.reason.contains("too large"), "{}", seen.reason);
    let (sent, received) = (BYTES as u64, 2 * BYTES as u64);
    let counted = (seen.tx_bytes, seen.rx_bytes);
    ensure!(counted == (sent, received), "{counted:?} bytes pass");
    let size = match verified {
        0 => "the verifier does not say of how many instructions".to_owned(),
        _ => format!("at most {verified} instructions verified a program"),
    };
    Ok(FaultReport {
        happened: format!("the kernel decides all of it, {size}; what passes is exact"),
        lost: 0,
        message: "nothing to say".to_owned(),
    })
}
