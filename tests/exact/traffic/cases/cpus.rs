//! Flows and CPUs: each CPU sums some flows in a place of its own, and all of it must come
//! together.

use std::thread;

use anyhow::{Result, ensure};

use crate::sock::{Fam, Sock, V4, V6, tcp_pair, udp_pair};
use crate::sys::{self, cvt};
use crate::transfer::pattern;

cases! {
    "flows whose thread moves to another CPU every few messages" => cpus_migrating,
    "more busy flows of both families than a CPU has rows for" => cpus_many_flows,
    "threads on all CPUs at once send on one UDP socket" => cpus_one_socket,
}

fn cpus() -> usize {
    // SAFETY: it takes a number and touches no memory.
    let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(cpus).unwrap_or(1).max(1)
}

/// Moves this thread to a CPU.
fn move_to(cpu: usize) -> Result<()> {
    // SAFETY: a set of CPUs is plain bits, and the length is its own.
    cvt(unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set)
    })?;
    Ok(())
}

fn cpus_migrating() -> Result<()> {
    let mut pairs = Vec::new();
    for fam in [V4, V6] {
        pairs.extend([tcp_pair(fam)?, udp_pair(fam)?]);
    }
    let (cpus, message) = (cpus(), pattern(100));
    for turn in 0..sys::scaled(300) {
        move_to(turn % cpus)?;
        for (near, far) in &pairs {
            for _ in 0..5 {
                near.send(&message, 0)?;
                far.recv_exact(message.len())?;
            }
        }
    }
    Ok(())
}

/// So many pairs of sockets that a direct-mapped table of 128 rows has several flows for most rows.
fn pairs_of(make: fn(Fam) -> Result<(Sock, Sock)>) -> Result<Vec<(Sock, Sock)>> {
    let fams = (0..sys::scaled(200)).map(|i| if i % 2 == 0 { V4 } else { V6 });
    fams.map(make).collect()
}

fn cpus_many_flows() -> Result<()> {
    let mut pairs = pairs_of(udp_pair)?;
    pairs.extend(pairs_of(tcp_pair)?);
    for round in 1..=sys::scaled(20) {
        for (i, (near, far)) in pairs.iter().enumerate() {
            let message = pattern(i + round);
            near.send(&message, 0)?;
            far.recv_exact(message.len())?;
        }
    }
    Ok(())
}

fn cpus_one_socket() -> Result<()> {
    let (near, far) = udp_pair(V4)?;
    // What finds the receive buffer full would be dropped.
    far.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 16 << 20)?;
    let each = sys::scaled(500);
    let cpus = cpus();
    thread::scope(|scope| {
        let senders: Vec<_> = (0..cpus)
            .map(|cpu| {
                let near = &near;
                scope.spawn(move || -> Result<()> {
                    move_to(cpu)?;
                    let message = pattern(10 + cpu);
                    for _ in 0..each {
                        near.send(&message, 0)?;
                    }
                    Ok(())
                })
            })
            .collect();
        far.recv_timeout(5000)?;
        for received in 0..cpus * each {
            let got = far.recv(&mut [0; 2000], 0);
            ensure!(got.is_ok(), "{received} datagrams received, then {got:?}");
        }
        senders.into_iter().try_for_each(|sender| sender.join().expect("sender"))
    })
}
