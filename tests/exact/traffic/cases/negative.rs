//! Sockets that are neither TCP nor UDP flows: they move bytes and must leave no row.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::ptr;

use anyhow::{Context, Result, ensure};

use crate::addr::RawAddr;
use crate::cases::absent;
use crate::sock::{Sock, V4, tcp_pair, udp_pair};
use crate::sys::{self, cvt};
use crate::transfer::pattern;

cases! {
    "AF_UNIX streams, datagrams and packets" => none_unix,
    "pipes and files" => none_pipe,
    "ICMP by a raw and by a ping socket" => none_icmp,
    "UDP-Lite, which looks like UDP" => none_udplite,
    "a raw socket of protocol TCP hears segments; only the TCP sockets count" => none_raw_tcp,
    "a raw socket of protocol UDP hears datagrams; only the UDP sockets count" => none_raw_udp,
    "a packet socket hears everything on lo" => none_packet,
    "netlink" => none_netlink,
    "SCTP, DCCP and SMC, where they exist" => none_other_transports,
    "connections that are made and never used" => none_idle,
    "listen, bind, connect, refused" => none_refused,
}

/// A socket outside the truth.
fn open(domain: i32, kind: i32, protocol: i32, what: &str) -> Result<RawFd> {
    // SAFETY: socket has no memory arguments.
    let fd = cvt(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) });
    fd.map(|fd| fd as RawFd).map_err(absent(what))
}

fn bind(fd: RawFd, addr: SocketAddr) -> Result<SocketAddr> {
    let mut raw = RawAddr::from(addr);
    // SAFETY: the address lives across both calls.
    unsafe {
        cvt(libc::bind(fd, raw.ptr(), raw.len)).context("bind")?;
        cvt(libc::getsockname(fd, raw.mut_ptr(), &raw mut raw.len)).context("getsockname")?;
    }
    raw.get().context("address")
}

fn sendto(fd: RawFd, data: &[u8], to: SocketAddr) -> std::io::Result<usize> {
    let raw = RawAddr::from(to);
    // SAFETY: buffer and address live across the call, lengths are right.
    cvt(unsafe { libc::sendto(fd, data.as_ptr().cast(), data.len(), 0, raw.ptr(), raw.len) })
}

fn recv(fd: RawFd, flags: i32) -> std::io::Result<usize> {
    let mut buf = [0u8; 4096];
    // SAFETY: the pointer and length describe a live, writable buffer.
    cvt(unsafe { libc::recv(fd, buf.as_mut_ptr().cast(), buf.len(), flags) })
}

/// Takes what is there until it is more than `least` bytes.
fn hear(fd: RawFd, least: usize) -> Result<()> {
    let mut total = 0;
    while total <= least {
        ensure!(sys::poll(fd, libc::POLLIN, 5000)?, "heard {total} bytes only");
        total += recv(fd, libc::MSG_DONTWAIT)?;
    }
    Ok(())
}

fn none_unix() -> Result<()> {
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        let mut ends = [0; 2];
        // SAFETY: the array has room for two descriptors.
        cvt(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
        for _ in 0..50 {
            sys::write_all(ends[0], &pattern(3000));
            ensure!(recv(ends[1], 0)? == 3000, "length");
        }
    }
    Ok(())
}

fn none_pipe() -> Result<()> {
    let (r, w) = sys::pipe()?;
    let file = sys::memfd(&pattern(60_000))?;
    // SAFETY: no offset is passed, so there is no memory argument.
    let n = cvt(unsafe { libc::sendfile(w, file, ptr::null_mut(), 60_000) })?;
    sys::read(r, &mut vec![0; n])?;
    Ok(())
}

/// An echo request; the kernel answers.
fn echo(raw: bool) -> Vec<u8> {
    let mut p = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
    p.extend(pattern(500));
    if raw {
        let sum: u32 = p.chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c[1]]))).sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        p[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    p
}

fn none_icmp() -> Result<()> {
    let raw = open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP, "raw socket")?;
    sendto(raw, &echo(true), V4.loopback())?;
    hear(raw, 500)?;
    // Allowed for everybody in this namespace of its own.
    sys::new_netns(0)?;
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").context("ping")?;
    let ping = open(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP, "ping socket")?;
    sendto(ping, &echo(false), V4.loopback())?;
    hear(ping, 500)?;
    Ok(())
}

fn none_udplite() -> Result<()> {
    let lite = |what| open(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE, what);
    let (a, b) = (lite("UDP-Lite")?, lite("UDP-Lite")?);
    let to = bind(b, V4.loopback())?;
    for _ in 0..10 {
        sendto(a, &pattern(700), to)?;
        ensure!(recv(b, 0)? == 700, "length");
    }
    Ok(())
}

fn none_raw_tcp() -> Result<()> {
    let raw = open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_TCP, "raw socket")?;
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(3000))?;
    s.recv_exact(3000)?;
    hear(raw, 3000)?;
    // A segment nobody asked for; the kernel answers with a reset.
    let mut syn = vec![0x30, 0x39, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];
    syn.extend(pattern(100));
    sendto(raw, &syn, V4.loopback())?;
    hear(raw, 0)?;
    Ok(())
}

fn none_raw_udp() -> Result<()> {
    let raw = open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_UDP, "raw socket")?;
    let (a, b) = udp_pair(V4)?;
    a.send(&pattern(900), 0)?;
    b.recv(&mut [0; 1000], 0)?;
    hear(raw, 899)?;
    let mut datagram = vec![0x30, 0x39, 0, 9, 0, 108, 0, 0];
    datagram.extend(pattern(100));
    sendto(raw, &datagram, V4.loopback())?;
    hear(raw, 0)?;
    Ok(())
}

fn none_packet() -> Result<()> {
    let all = i32::from((libc::ETH_P_ALL as u16).to_be());
    let packet = open(libc::AF_PACKET, libc::SOCK_RAW, all, "packet socket")?;
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(3000))?;
    s.recv_exact(3000)?;
    hear(packet, 3000)?;
    Ok(())
}

fn none_netlink() -> Result<()> {
    let nl = open(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE, "netlink")?;
    // RTM_GETLINK dump: nlmsghdr with an rtgenmsg.
    let mut req = [0u8; 20];
    req[0] = 20;
    req[4..8].copy_from_slice(&[18, 0, 1, 3]);
    // SAFETY: the pointer and length describe a live buffer.
    cvt(unsafe { libc::send(nl, req.as_ptr().cast(), req.len(), 0) })?;
    ensure!(recv(nl, 0)? > 0, "no answer");
    Ok(())
}

fn none_other_transports() -> Result<()> {
    const IPPROTO_SCTP: i32 = 132;
    let l = open(libc::AF_INET, libc::SOCK_STREAM, IPPROTO_SCTP, "SCTP")?;
    let to = bind(l, V4.loopback())?;
    // SAFETY: no memory arguments.
    cvt(unsafe { libc::listen(l, 5) })?;
    let c = open(libc::AF_INET, libc::SOCK_STREAM, IPPROTO_SCTP, "SCTP")?;
    let raw = RawAddr::from(to);
    // SAFETY: the address lives across the call.
    cvt(unsafe { libc::connect(c, raw.ptr(), raw.len) }).context("connect")?;
    // SAFETY: accept may be called without room for the address.
    let s = cvt(unsafe { libc::accept(l, ptr::null_mut(), ptr::null_mut()) })? as RawFd;
    sys::write_all(c, &pattern(1000));
    ensure!(recv(s, 0)? == 1000, "length");
    Ok(())
}

fn none_idle() -> Result<()> {
    for _ in 0..20 {
        let (c, s) = tcp_pair(V4)?;
        drop(c);
        ensure!(s.drain()? == 0, "data from nowhere");
        let _ = udp_pair(V4)?;
    }
    Ok(())
}

fn none_refused() -> Result<()> {
    let l = Sock::listener(V4)?;
    let to = l.local()?;
    drop(l);
    let c = Sock::tcp(V4)?;
    ensure!(c.try_connect(to).is_err(), "connected to nobody");
    ensure!(c.send(b"abc", 0).is_err(), "sent to nobody");
    ensure!(c.recv(&mut [0; 10], 0).is_err(), "received from nobody");
    Ok(())
}
