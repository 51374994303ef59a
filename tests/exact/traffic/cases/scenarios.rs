//! Traffic of 24 kinds over a veth pair between two network namespaces: a program at the near end,
//! its peer at the far end. A public benchmark of network monitors has these kinds with these
//! sizes. By default the sizes are a part of that and the pace is what the machine gives;
//! `--full-scenarios` takes both as they are.

mod parts;

use std::net::SocketAddr;
use std::os::fd::RawFd;

use anyhow::{Result, ensure};
use io_uring::{opcode, squeue, types::Fd};

use self::parts::{
    DATAGRAM, KIB, MIB, PACE, PART, PIECE, REQUEST, WINDOW, Datagrams, Ends, Pace, connected,
    datagrams, in_pieces, join, program, receive_all, send_paced, serve, sized, take, tcp_in,
    tcp_out, udp_at, udp_in, udp_out,
};
use crate::cases::absent;
use crate::cases::families::{bind_to_link, checksum, echo, packet, sctp_socket};
use crate::net::{self, FAR_MAC, Link, NEAR, NEAR_MAC};
use crate::proc;
use crate::ring::Ring;
use crate::sock::{Sock, V4, V6};
use crate::sys::{self, cvt};
use crate::transfer::pattern;
use crate::truth::{self, Dir, How, Proto};

pub use self::parts::{Cgroup, FULL};

cases! {
    "TCP, one connection, received" => s01_tcp_in,
    "TCP, one connection, sent" => s02_tcp_out,
    "two processes of one name at once, one sends by TCP, one receives" => s03_tcp_both,
    "the same by unconnected UDP sockets; the receiver does not ask for the sender" => s04_udp_both,
    "ICMP echo by a raw socket, which the peer's kernel answers" => s05_icmp_raw,
    "UDP to port 443" => s06_udp_443,
    "TCP over IPv6, received" => s07_tcp_v6_in,
    "SCTP, one association, received" => s08_sctp_in,
    "UDP to port 53, many small datagrams" => s09_udp_53,
    "a raw IP socket of protocol 253, which nobody receives" => s10_raw_ip,
    "short-lived processes one after another, each one TCP connection" => s11_processes,
    "whole Ethernet frames by a packet socket" => s12_frames,
    "TCP by io_uring send" => s13_uring_send,
    "TCP by sendfile" => s14_sendfile,
    "UDP by sendmmsg, each message with its address" => s15_sendmmsg,
    "TCP over loopback, received" => s16_loopback,
    "TCP out of a container: cgroup and namespaces of its own" => s17_container,
    "TCP, a little every half second" => s18_slow,
    "one process, many TCP connections one after another" => s19_connections,
    "many processes at once, each one TCP connection" => s20_burst,
    "TCP by io_uring receive" => s21_uring_recv,
    "TCP to a pipe by splice" => s22_splice,
    "UDP by recvmmsg without asking for the sender" => s23_recvmmsg,
    "UDP over IPv6, received without asking for the sender" => s24_udp_v6_in,
}

fn s01_tcp_in() -> Result<()> {
    tcp_in("s01-tcp-in", V4, sized(32 * MIB), receive_all)
}

fn s02_tcp_out() -> Result<()> {
    tcp_out("s02-tcp-out", sized(32 * MIB), send_paced)
}

fn s03_tcp_both() -> Result<()> {
    let ends = Ends::new()?;
    let (incoming, outgoing) = (ends.listener(V4)?, ends.listener(V4)?);
    let (from, to) = (incoming.local()?, outgoing.local()?);
    let bytes = sized(24 * MIB);
    join([
        ends.peer(|| serve(&incoming, bytes))?,
        ends.peer(|| take(&outgoing, 1, bytes))?,
        program("s03-tcp-both", || {
            let s = connected(V4, from)?;
            s.send_all(&pattern(REQUEST))?;
            receive_all(&s, bytes)
        })?,
        program("s03-tcp-both", || {
            let s = connected(V4, to)?;
            s.send_all(&pattern(REQUEST))?;
            send_paced(&s, bytes)
        })?,
    ])
}

fn s04_udp_both() -> Result<()> {
    let (ends, count) = (Ends::new()?, datagrams(24 * MIB));
    let out = Datagrams::new(DATAGRAM, count, PACE)?;
    let incoming = udp_in(&ends, "s04-udp-both", V4, count)?;
    let outgoing = udp_out(&ends, "s04-udp-both", 0, out)?;
    join(incoming.into_iter().chain(outgoing))
}

fn s05_icmp_raw() -> Result<()> {
    const DATA: usize = 1000;
    let _ends = Ends::new()?;
    program("s05-icmp-raw", || {
        let s = Sock::open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP, Proto::Icmp)
            .map_err(absent("raw socket"))?;
        s.recv_timeout(10_000)?;
        let (request, mut buf) = (echo(8, DATA), [0; 2 * DATA]);
        for _ in 0..sized(6292) {
            ensure!(s.sendto(&request, 0, Link::far_end(false, 0))? == 8 + DATA, "length");
            ensure!(s.recv(&mut buf, 0)? == 28 + DATA, "the answer with its IP header");
        }
        Ok(())
    })?
    .join()
}

fn s06_udp_443() -> Result<()> {
    let (ends, data) = (Ends::new()?, Datagrams::new(DATAGRAM, datagrams(24 * MIB), PACE)?);
    join(udp_out(&ends, "s06-udp-443", 443, data)?)
}

fn s07_tcp_v6_in() -> Result<()> {
    tcp_in("s07-tcp-v6-in", V6, sized(24 * MIB), receive_all)
}

fn s08_sctp_in() -> Result<()> {
    const MESSAGE: usize = 16 * KIB;
    let (ends, bytes) = (Ends::new()?, sized(24 * MIB));
    let l = ends.at_far(|| {
        let l = sctp_socket(V4, libc::SOCK_STREAM)?;
        l.bind(Link::far_end(false, 0))?;
        l.listen()?;
        Ok(l)
    })?;
    let to = l.local()?;
    let peer = ends.peer(|| {
        let (s, data) = (l.accept()?, pattern(MESSAGE));
        s.recv_exact(REQUEST)?;
        let mut pace = Pace::new(PACE);
        for _ in 0..bytes / MESSAGE {
            ensure!(s.send(&data, 0)? == MESSAGE, "length");
            pace.wait(MESSAGE);
        }
        s.recv_exact(REQUEST)
    })?;
    let program = program("s08-sctp-in", || {
        let s = sctp_socket(V4, libc::SOCK_STREAM)?;
        s.bind(Link::near_end(false, 0))?;
        s.connect(to)?;
        s.send_all(&pattern(REQUEST))?;
        s.recv_exact(bytes)?;
        s.send_all(&pattern(REQUEST))
    })?;
    join([program, peer])
}

fn s09_udp_53() -> Result<()> {
    let (ends, data) = (Ends::new()?, Datagrams::new(64, sized(65_536), 2 * MIB)?);
    join(udp_out(&ends, "s09-udp-53", 53, data)?)
}

/// Sizes of the packets that so many bytes make.
fn packets(bytes: usize) -> impl Iterator<Item = usize> {
    (0..bytes).step_by(DATAGRAM).map(move |begin| DATAGRAM.min(bytes - begin))
}

fn s10_raw_ip() -> Result<()> {
    let _ends = Ends::new()?;
    program("s10-raw-ip", || {
        let s = Sock::open(libc::AF_INET, libc::SOCK_RAW, 253, Proto::Raw)
            .map_err(absent("raw socket"))?;
        let (mut pace, data) = (Pace::new(PACE), pattern(DATAGRAM));
        for size in packets(sized(4 * MIB)) {
            ensure!(s.sendto(&data[..size], 0, Link::far_end(false, 0))? == size, "length");
            pace.wait(size);
        }
        Ok(())
    })?
    .join()
}

/// Processes that each send by a connection of their own.
fn processes(name: &str, count: usize, bytes: usize, at_once: bool) -> Result<()> {
    let ends = Ends::new()?;
    let l = ends.listener(V4)?;
    let to = l.local()?;
    let peer = ends.peer(|| take(&l, count, bytes))?;
    let mut children = Vec::new();
    for _ in 0..count {
        let child = program(name, || {
            let s = connected(V4, to)?;
            s.send_all(&pattern(REQUEST))?;
            s.send_all(&pattern(bytes))
        })?;
        if at_once {
            children.push(child);
        } else {
            child.join()?;
        }
    }
    join(children)?;
    peer.join()
}

fn s11_processes() -> Result<()> {
    processes("s11-processes", 20, sized(512 * KIB), false)
}

/// A frame with a UDP datagram of so many bytes to a port of the far end where nobody listens.
fn frame(data: usize) -> Vec<u8> {
    let (length, [near, far]) = (data as u16, [Link::near_end(false, 0), Link::far_end(false, 0)]);
    let mut ip = vec![0x45, 0];
    ip.extend((28 + length).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, libc::IPPROTO_UDP as u8, 0, 0]);
    for end in [near, far] {
        if let SocketAddr::V4(end) = end {
            ip.extend(end.ip().octets());
        }
    }
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    let mut frame = [FAR_MAC, NEAR_MAC].concat();
    frame.extend((libc::ETH_P_IP as u16).to_be_bytes());
    frame.extend(ip);
    for half in [4242, 9999, 8 + length, 0] {
        frame.extend(half.to_be_bytes());
    }
    frame.extend(pattern(data));
    frame
}

fn s12_frames() -> Result<()> {
    const HEADERS: usize = 14 + 20 + 8;
    let _ends = Ends::new()?;
    program("s12-frames", || {
        // Of protocol 0, which receives nothing.
        let s = packet(libc::SOCK_RAW, 0)?;
        bind_to_link(&s, 0, net::index(NEAR)?)?;
        let mut pace = Pace::new(PACE);
        for size in packets(sized(4 * MIB)) {
            ensure!(s.send(&frame(size), 0)? == HEADERS + size, "length");
            pace.wait(size);
        }
        Ok(())
    })?
    .join()
}

const PLAIN: How = How { peer: None, via: "", loose: false };

/// One io_uring operation after another, each of at most 64 KiB.
fn by_uring(
    s: &Sock,
    bytes: usize,
    dir: Dir,
    entry: impl Fn(RawFd, *mut u8, u32) -> squeue::Entry,
) -> Result<()> {
    let (mut ring, mut buf, mut left) = (Ring::new()?, pattern(PIECE), bytes);
    while left > 0 {
        let length = left.min(PIECE) as u32;
        let n = ring.moves(s, dir, &entry(s.fd(), buf.as_mut_ptr(), length), PLAIN)?;
        ensure!(n > 0, "the end, with {left} of {bytes} bytes to come");
        left -= n;
    }
    Ok(())
}

fn s13_uring_send() -> Result<()> {
    tcp_out("s13-uring-send", sized(24 * MIB), |s, bytes| {
        by_uring(s, bytes, Dir::Tx, |fd, data, len| opcode::Send::new(Fd(fd), data, len).build())
    })
}

fn s14_sendfile() -> Result<()> {
    tcp_out("s14-sendfile", sized(32 * MIB), |s, bytes| {
        let file = sys::memfd(&pattern(bytes))?;
        in_pieces(bytes, |n| Ok(s.sendfile(file, n)?))
    })
}

fn s15_sendmmsg() -> Result<()> {
    let ends = Ends::new()?;
    let data = Datagrams::new(DATAGRAM, sized(562) * WINDOW, PACE)?;
    let far = ends.far_udp(V4, 0)?;
    let to = far.local()?;
    let peer = ends.peer(|| {
        let mut buf = [0; 2 * DATAGRAM];
        data.receive(|| Ok(far.recvfrom(&mut buf, 0)?.0))
    })?;
    let program = program("s15-sendmmsg", || {
        let s = udp_at(V4, Link::near_end(false, 0))?;
        let (message, mut pace) = (pattern(DATAGRAM), Pace::new(PACE));
        let messages = vec![(message.as_slice(), Some(to)); WINDOW];
        for _ in 0..data.count / WINDOW {
            ensure!(s.sendmmsg(&messages)? == WINDOW, "not all went out");
            data.taken.wait()?;
            pace.wait(WINDOW * DATAGRAM);
        }
        Ok(())
    })?;
    join([program, peer])
}

fn s16_loopback() -> Result<()> {
    let (_ends, bytes) = (Ends::new()?, sized(24 * MIB));
    let l = Sock::listener(V4)?;
    let to = l.local()?;
    let peer = program("peer", || serve(&l, bytes))?;
    let program = program("s16-loopback", || {
        let s = connected(V4, to)?;
        s.send_all(&pattern(REQUEST))?;
        receive_all(&s, bytes)
    })?;
    join([program, peer])
}

fn s17_container() -> Result<()> {
    let (ends, bytes) = (Ends::new()?, sized(24 * MIB));
    let l = ends.listener(V4)?;
    let to = l.local()?;
    let peer = ends.peer(|| take(&l, 1, bytes))?;
    let (cgroup, outer) = (Cgroup::new()?, sys::pipe()?);
    // The engine, whose child is the first process of the container.
    let engine = proc::spawn(|| {
        cgroup.enter()?;
        let named = sys::cgroup();
        let own = libc::CLONE_NEWPID
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWCGROUP;
        // SAFETY: unshare has no memory arguments.
        cvt(unsafe { libc::unshare(own) }).map_err(absent("namespaces"))?;
        let child = program("s17-container", || {
            ensure!(std::process::id() == 1, "not the first process of its namespace");
            let mut pid = [0; 4];
            sys::read(outer.0, &mut pid)?;
            truth::set_outer_pid(u32::from_ne_bytes(pid));
            truth::set_outer_cgroup(named);
            let s = connected(V4, to)?;
            s.send_all(&pattern(REQUEST))?;
            send_paced(&s, bytes)
        })?;
        sys::write_all(outer.1, &child.pid.to_ne_bytes());
        child.join()
    })?;
    join([engine, peer])
}

fn s18_slow() -> Result<()> {
    tcp_out("s18-slow", sized(2 * MIB), |s, bytes| {
        let (mut pace, data) = (Pace::new(128 * KIB), pattern(bytes / PART));
        for _ in 0..PART {
            s.send_all(&data)?;
            pace.wait(data.len());
        }
        Ok(())
    })
}

fn s19_connections() -> Result<()> {
    const COUNT: usize = 60;
    let (ends, bytes) = (Ends::new()?, sized(PIECE));
    let l = ends.listener(V4)?;
    let to = l.local()?;
    let peer = ends.peer(|| take(&l, COUNT, bytes))?;
    let program = program("s19-connections", || {
        for _ in 0..COUNT {
            let s = connected(V4, to)?;
            s.send_all(&pattern(REQUEST))?;
            s.send_all(&pattern(bytes))?;
        }
        Ok(())
    })?;
    join([program, peer])
}

fn s20_burst() -> Result<()> {
    processes("s20-burst", 30, sized(256 * KIB), true)
}

fn s21_uring_recv() -> Result<()> {
    tcp_in("s21-uring-recv", V4, sized(24 * MIB), |s, bytes| {
        by_uring(s, bytes, Dir::Rx, |fd, data, len| opcode::Recv::new(Fd(fd), data, len).build())
    })
}

fn s22_splice() -> Result<()> {
    tcp_in("s22-splice", V4, sized(32 * MIB), |s, bytes| {
        let ((r, w), mut buf, mut left) = (sys::pipe()?, vec![0; PIECE], bytes);
        while left > 0 {
            let n = s.splice_out(w, left.min(PIECE), 0)?;
            ensure!(n > 0, "the end, with {left} of {bytes} bytes to come");
            left -= n;
            let mut in_pipe = n;
            while in_pipe > 0 {
                in_pipe -= sys::read(r, &mut buf)?;
            }
        }
        Ok(())
    })
}

fn s23_recvmmsg() -> Result<()> {
    let ends = Ends::new()?;
    let data = Datagrams::new(DATAGRAM, sized(562) * WINDOW, PACE)?;
    let (near, far) = (udp_at(V4, Link::near_end(false, 0))?, ends.far_udp(V4, 0)?);
    let (to, from) = (near.local()?, far.local()?);
    let peer = ends.peer(|| {
        far.recvfrom(&mut [0; REQUEST], 0)?;
        data.send(&far, to)
    })?;
    let program = program("s23-recvmmsg", || {
        near.sendto(&pattern(REQUEST), 0, from)?;
        let mut taken = 0;
        while taken < data.count {
            let n = near.recvmmsg_unnamed(WINDOW, DATAGRAM, from)?;
            (taken..taken + n).filter(|n| (n + 1).is_multiple_of(WINDOW)).for_each(|_| data.taken.set());
            taken += n;
        }
        Ok(())
    })?;
    join([program, peer])
}

fn s24_udp_v6_in() -> Result<()> {
    let ends = Ends::new()?;
    join(udp_in(&ends, "s24-udp-v6-in", V6, datagrams(24 * MIB))?)
}
