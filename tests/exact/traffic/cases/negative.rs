//! Sockets that are of no network, or move nothing: they must leave no row.

use std::os::fd::RawFd;
use std::ptr;

use anyhow::{Result, ensure};

use crate::cases::absent;
use crate::sock::{Sock, V4, tcp_pair, udp_pair};
use crate::sys::{self, cvt};
use crate::transfer::pattern;

cases! {
    "AF_UNIX streams, datagrams and packets" => none_unix,
    "pipes and files" => none_pipe,
    "netlink" => none_netlink,
    "connections that are made and never used" => none_idle,
    "listen, bind, connect, refused" => none_refused,
}

/// A socket outside the truth.
fn open(domain: i32, kind: i32, protocol: i32, what: &str) -> Result<RawFd> {
    // SAFETY: socket has no memory arguments.
    let fd = cvt(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) });
    fd.map(|fd| fd as RawFd).map_err(absent(what))
}

fn recv(fd: RawFd) -> std::io::Result<usize> {
    let mut buf = [0u8; 4096];
    // SAFETY: the pointer and length describe a live, writable buffer.
    cvt(unsafe { libc::recv(fd, buf.as_mut_ptr().cast(), buf.len(), 0) })
}

fn none_unix() -> Result<()> {
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        let mut ends = [0; 2];
        // SAFETY: the array has room for two descriptors.
        cvt(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
        for _ in 0..50 {
            sys::write_all(ends[0], &pattern(3000));
            ensure!(recv(ends[1])? == 3000, "length");
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

fn none_netlink() -> Result<()> {
    let nl = open(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE, "netlink")?;
    // RTM_GETLINK dump: nlmsghdr with an rtgenmsg.
    let mut req = [0u8; 20];
    req[0] = 20;
    req[4..8].copy_from_slice(&[18, 0, 1, 3]);
    // SAFETY: the pointer and length describe a live buffer.
    cvt(unsafe { libc::send(nl, req.as_ptr().cast(), req.len(), 0) })?;
    ensure!(recv(nl)? > 0, "no answer");
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
