//! The largest filter, which the verifier of every kernel must take with room to spare.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Result, ensure};
use libbpf_rs::query::ProgInfoIter;

use crate::largest_filter::{self, MAX_VERIFIED};

use super::{FaultReport, Faults, PATIENCE};

faults! {
    false,
    "the largest filter that is pushed down" => largest_filter,
}

const BYTES: usize = 3000;

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
    let subject = how.flowtop(0.2, &[&largest_filter::largest_filter(ends.0, ends.1)?])?;
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
