//! A socket load balancer: programs of a cgroup that turn a service's address into a backend's once
//! a send has begun, and back before a receive returns. One conversation has one peer: the one on
//! the wire.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};

use crate::addr::RawAddr;
use crate::bpf::{bpf, instruction, load};
use crate::cases::scenarios::Cgroup;
use crate::proc;
use crate::sock::{Fam, Sock, V4, V6};
use crate::sys::cvt;
use crate::transfer::{pattern, peer};
use crate::truth::{Dir, How};

cases! {
    "UDP to a service's address that a load balancer turns into a backend's" => balanced_udp,
    "the same over IPv6" => balanced_udp_v6,
}

/// Words of a socket's address that a program compares with and changes to.
struct Word {
    /// Offset in `struct bpf_sock_addr`.
    at: i16,
    from: u32,
    to: u32,
}

/// Where an address lies in the program's context: the words of the address, then the port.
fn words(from: SocketAddr, to: SocketAddr) -> Vec<Word> {
    const USER_IP4: i16 = 4;
    const USER_IP6: i16 = 8;
    const USER_PORT: i16 = 24;
    let word = |bytes: &[u8], i: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|k| bytes[4 * i + k]));
    let octets = |end: SocketAddr| match end.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let at = if from.is_ipv4() { USER_IP4 } else { USER_IP6 };
    let (was, is) = (octets(from), octets(to));
    let mut words: Vec<_> = (0..was.len() / 4)
        .map(|i| Word { at: at + 4 * i as i16, from: word(&was, i), to: word(&is, i) })
        .collect();
    let [from, to] = [from, to].map(|end| u32::from(end.port().to_be()));
    words.push(Word { at: USER_PORT, from, to });
    words
}

/// Loads a program that turns one address into another, and gives every call its way.
fn rewrite(kind: u32, from: SocketAddr, to: SocketAddr) -> Result<OwnedFd> {
    const LOAD: u8 = 0x61; // r2 = *(u32 *)(r1 + off)
    const STORE: u8 = 0x63; // *(u32 *)(r1 + off) = r2
    const MOVE: u8 = 0xb4; // w2 = imm
    const JUMP_UNLESS_EQUAL: u8 = 0x5d; // to 64-bit register: r2 != r3
    const EXIT: u8 = 0x95;
    const SOCK_ADDR: u32 = 18;
    let words = words(from, to);
    let mut program = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let rest = 3 * (words.len() - 1 - i) + 2 * words.len();
        program.push(instruction(LOAD, 2, 1, word.at, 0));
        program.push(instruction(MOVE, 3, 0, 0, word.from));
        program.push(instruction(JUMP_UNLESS_EQUAL, 2, 3, rest as i16, 0));
    }
    for word in &words {
        program.push(instruction(MOVE, 2, 0, 0, word.to));
        program.push(instruction(STORE, 1, 2, word.at, 0));
    }
    program.push(instruction(MOVE, 0, 0, 0, 1));
    program.push(instruction(EXIT, 0, 0, 0, 0));
    load(SOCK_ADDR, kind, &program)
}

/// Attaches a program to a cgroup, beside others, for as long as there is the cgroup.
fn attach(cgroup: &File, program: &OwnedFd, kind: u32) -> Result<()> {
    const PROG_ATTACH: u64 = 8;
    const ALLOW_MULTI: u32 = 2;
    let fds = [cgroup.as_raw_fd(), program.as_raw_fd()].map(|fd| fd as u32);
    bpf(PROG_ATTACH, &[fds[0], fds[1], kind, ALLOW_MULTI]).context("attach a program")?;
    Ok(())
}

/// Sends without noting it: the peer is not whom the call names.
fn send_to(s: &Sock, data: &[u8], to: SocketAddr) -> Result<usize> {
    let raw = RawAddr::from(to);
    // SAFETY: buffer and address live across the call, lengths are right.
    let n = unsafe {
        libc::sendto(s.fd(), data.as_ptr().cast(), data.len(), 0, raw.ptr(), raw.len)
    };
    cvt(n).context("send")
}

fn receive(s: &Sock, buf: &mut [u8]) -> Result<(usize, SocketAddr)> {
    let mut raw = RawAddr::empty();
    // SAFETY: buffer, address and its length live across the call.
    let n = cvt(unsafe {
        let (p, len) = (buf.as_mut_ptr().cast(), buf.len());
        libc::recvfrom(s.fd(), p, len, 0, raw.mut_ptr(), &raw mut raw.len)
    });
    Ok((n.context("receive")?, raw.get().context("no sender")?))
}

fn balanced(fam: Fam, service: &str, sendmsg: u32, recvmsg: u32) -> Result<()> {
    let service: SocketAddr = service.parse()?;
    let backend = Sock::udp_bound(fam)?;
    backend.recv_timeout(10_000)?;
    let at = backend.local()?;
    let cgroup = Cgroup::new()?;
    let dir = File::open(cgroup.path()).context("the cgroup")?;
    attach(&dir, &rewrite(sendmsg, service, at)?, sendmsg)?;
    attach(&dir, &rewrite(recvmsg, at, service)?, recvmsg)?;
    let client = proc::spawn(|| {
        cgroup.enter()?;
        let s = Sock::udp_bound(fam)?;
        s.recv_timeout(10_000)?;
        for i in 1..=10 {
            let asked = send_to(&s, &pattern(50), service)?;
            s.note(Dir::Tx, asked, peer(Some(at)));
            let (n, from) = receive(&s, &mut [0; 1000])?;
            ensure!(n == 200 + i && from == service, "{n} bytes from {from}");
            // Hooks of cgroups run after those of the load balancer, and see the service.
            let how = How { via: "udp_recv_peer+connected_since", ..peer(Some(at)) };
            s.note(Dir::Rx, n, how);
        }
        Ok(())
    })?;
    for i in 1..=10 {
        let (n, from) = backend.recvfrom(&mut [0; 1000], 0)?;
        ensure!(n == 50, "{n} bytes");
        backend.sendto(&pattern(200 + i), 0, from)?;
    }
    client.join()
}

fn balanced_udp() -> Result<()> {
    const UDP4_SENDMSG: u32 = 14;
    const UDP4_RECVMSG: u32 = 19;
    balanced(V4, "10.96.0.10:53", UDP4_SENDMSG, UDP4_RECVMSG)
}

fn balanced_udp_v6() -> Result<()> {
    const UDP6_SENDMSG: u32 = 15;
    const UDP6_RECVMSG: u32 = 20;
    balanced(V6, "[fd96::10]:53", UDP6_SENDMSG, UDP6_RECVMSG)
}
