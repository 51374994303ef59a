//! A sockmap: a program that hands what one connection receives to another one.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result};

use crate::bpf::{bpf, bpf_fd, instruction, load, pointer};
use crate::cases::absent;
use crate::sock::{Sock, V4, V6, tcp_pair};
use crate::transfer::pattern;
use crate::truth::{self, Dir, How};

cases! {
    "a sockmap sends what a connection receives by another one: the kernel sends it, no call receives it" => sockmap_egress,
    "a sockmap hands what a connection receives to who reads another one" => sockmap_ingress,
}

/// The only place of a map.
const KEY: [u32; 1] = [0];

/// A map of one socket.
fn sockmap() -> io::Result<OwnedFd> {
    const MAP_CREATE: u64 = 0;
    const SOCKMAP: u32 = 15;
    bpf_fd(MAP_CREATE, &[SOCKMAP, 4, 4, 1, 0])
}

fn put(map: &OwnedFd, s: &Sock) -> Result<()> {
    const UPDATE: u64 = 2;
    let socket = [s.fd() as u32];
    let ([k0, k1], [v0, v1]) = (pointer(&KEY), pointer(&socket));
    let attr = [map.as_raw_fd() as u32, 0, k0, k1, v0, v1, 0, 0];
    bpf(UPDATE, &attr).context("put a socket into a map")?;
    Ok(())
}

/// Has what `from` receives go to the socket in `to`.
fn redirect(from: &OwnedFd, to: &OwnedFd, flags: u32) -> Result<()> {
    const LOAD_IMM64: u8 = 0x18;
    const MAP_FD: u8 = 1;
    const MOVE: u8 = 0xb7;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const SK_REDIRECT_MAP: u32 = 52;
    const SK_SKB: u32 = 14;
    const STREAM_VERDICT: u32 = 5;
    const PROG_ATTACH: u64 = 8;
    let program = [
        instruction(LOAD_IMM64, 2, MAP_FD, 0, to.as_raw_fd() as u32),
        0,
        instruction(MOVE, 3, 0, 0, KEY[0]),
        instruction(MOVE, 4, 0, 0, flags),
        instruction(CALL, 0, 0, 0, SK_REDIRECT_MAP),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    let program = load(SK_SKB, STREAM_VERDICT, &program)?;
    let fds = [from, &program].map(|fd| fd.as_raw_fd() as u32);
    bpf(PROG_ATTACH, &[fds[0], fds[1], STREAM_VERDICT, 0]).context("attach a program")?;
    Ok(())
}

fn sockmap_egress() -> Result<()> {
    // What one connection is sent, another one receives.
    truth::lossy();
    for fam in [V4, V6] {
        let (client, entry) = tcp_pair(fam)?;
        let (exit, backend) = tcp_pair(fam)?;
        let from = sockmap().map_err(absent("sockmap"))?;
        let to = sockmap()?;
        redirect(&from, &to, 0)?;
        put(&to, &exit)?;
        put(&from, &entry)?;
        for i in 1..=20 {
            client.send_all(&pattern(i * 500))?;
            backend.recv_exact(i * 500)?;
            // By a thread of the kernel, in as many calls as it likes.
            let how = How { peer: None, via: crate::compare::BY_ANYONE, loose: true };
            exit.note(Dir::Tx, i * 500, how);
        }
    }
    Ok(())
}

fn sockmap_ingress() -> Result<()> {
    const INGRESS: u32 = 1;
    truth::lossy();
    let (client, entry) = tcp_pair(V4)?;
    let (other, _peer) = tcp_pair(V4)?;
    let from = sockmap().map_err(absent("sockmap"))?;
    let to = sockmap()?;
    redirect(&from, &to, INGRESS)?;
    put(&to, &other)?;
    put(&from, &entry)?;
    for i in 1..=20 {
        client.send_all(&pattern(i * 500))?;
        other.recv_exact(i * 500)?;
    }
    Ok(())
}
