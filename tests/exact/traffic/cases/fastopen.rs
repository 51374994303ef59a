//! TCP Fast Open: data before the connection, when the socket has no addresses yet.

use std::io::ErrorKind;

use anyhow::{Context, Result, ensure};

use crate::cases::absent;
use crate::sock::{Fam, Sock, V4, V6};
use crate::sys;
use crate::transfer::pattern;

cases! {
    "MSG_FASTOPEN: sendto connects, first without and then with a cookie" => fastopen_sendto,
    "MSG_FASTOPEN over IPv6" => fastopen_sendto_v6,
    "MSG_FASTOPEN on a non-blocking socket" => fastopen_nonblocking,
    "TCP_FASTOPEN_CONNECT: the first write connects" => fastopen_connect,
    "MSG_FASTOPEN to a listener without it: falls back" => fastopen_refused_option,
}

fn listener(fam: Fam, queue: i32) -> Result<Sock> {
    sys::new_netns(0)?;
    std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", "3").context("tcp_fastopen")?;
    let l = Sock::tcp(fam)?;
    l.bind(fam.loopback())?;
    if queue > 0 {
        l.set(libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue)?;
    }
    l.listen()?;
    Ok(l)
}

fn by_sendto(fam: Fam, queue: i32, nonblocking: bool) -> Result<()> {
    let l = listener(fam, queue)?;
    for i in 1..=4 {
        let c = Sock::tcp(fam)?;
        c.nonblocking(nonblocking)?;
        let mut left = i * 500;
        // Only what the call says it took is sent; without a cookie that may be nothing.
        match c.sendto(&pattern(left), libc::MSG_FASTOPEN, l.local()?) {
            Ok(n) => left -= n,
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(e) => return Err(absent("MSG_FASTOPEN")(e)),
        }
        let s = l.accept()?;
        ensure!(sys::poll(c.fd(), libc::POLLOUT, 5000)?, "never connected");
        c.nonblocking(false)?;
        c.refresh();
        c.send_all(&pattern(left + 100))?;
        s.recv_exact(i * 500 + 100)?;
        s.send_all(&pattern(77))?;
        c.recv_exact(77)?;
    }
    Ok(())
}

fn fastopen_sendto() -> Result<()> {
    by_sendto(V4, 16, false)
}

fn fastopen_sendto_v6() -> Result<()> {
    by_sendto(V6, 16, false)
}

fn fastopen_nonblocking() -> Result<()> {
    by_sendto(V4, 16, true)
}

fn fastopen_refused_option() -> Result<()> {
    by_sendto(V4, 0, false)
}

fn fastopen_connect() -> Result<()> {
    let l = listener(V4, 16)?;
    for i in 1..=4 {
        let c = Sock::tcp(V4)?;
        c.try_set(libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1i32)
            .map_err(absent("TCP_FASTOPEN_CONNECT"))?;
        c.connect(l.local()?)?;
        match c.write(&pattern(i * 300)) {
            Ok(n) => ensure!(n == i * 300, "partial write"),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.into()),
        }
        c.refresh();
        let s = l.accept()?;
        s.recv_exact(i * 300)?;
        s.send_all(&pattern(10))?;
        c.recv_exact(10)?;
    }
    Ok(())
}
