//! MPTCP: a socket above TCP sockets of its own.

use anyhow::{Context, Result, ensure};

use crate::cases::absent;
use crate::sock::{Fam, Sock, V4, V6};
use crate::sys;
use crate::transfer::pattern;
use crate::truth::Proto;

cases! {
    "both ends MPTCP" => mptcp_both,
    "both ends MPTCP over IPv6" => mptcp_v6,
    "an MPTCP client falls back to TCP with a plain server" => mptcp_fallback,
    "an MPTCP listener with a plain client: the accepted socket is TCP" => mptcp_plain_client,
    "MSG_PEEK, MSG_WAITALL and partial reads" => mptcp_peek,
    "sendfile into and splice out of MPTCP" => mptcp_splice,
    "a large transfer with a slow reader" => mptcp_large,
    "half-close and data read after both ends are closed" => mptcp_close,
    "non-blocking sends until EAGAIN" => mptcp_nonblocking,
}

fn mptcp(fam: Fam) -> Result<Sock> {
    let domain = if fam == V4 { libc::AF_INET } else { libc::AF_INET6 };
    let s = Sock::open(domain, libc::SOCK_STREAM, libc::IPPROTO_MPTCP, Proto::Tcp)
        .map_err(absent("MPTCP"))?;
    s.set_layer("mptcp");
    Ok(s)
}

fn listener(fam: Fam) -> Result<Sock> {
    let l = mptcp(fam)?;
    l.bind(fam.loopback())?;
    l.listen()?;
    Ok(l)
}

fn pair(fam: Fam) -> Result<(Sock, Sock)> {
    let l = listener(fam)?;
    let c = mptcp(fam)?;
    c.connect(l.local()?)?;
    let s = l.accept()?;
    s.set_layer("mptcp");
    Ok((c, s))
}

fn exchange(c: &Sock, s: &Sock) -> Result<()> {
    for i in 1..=20 {
        c.send_all(&pattern(i * 500))?;
        s.recv_exact(i * 500)?;
        s.send_all(&pattern(i * 77))?;
        c.recv_exact(i * 77)?;
    }
    Ok(())
}

fn mptcp_both() -> Result<()> {
    let (c, s) = pair(V4)?;
    exchange(&c, &s)
}

fn mptcp_v6() -> Result<()> {
    let (c, s) = pair(V6)?;
    exchange(&c, &s)
}

fn mptcp_fallback() -> Result<()> {
    let l = Sock::listener(V4)?;
    let c = mptcp(V4)?;
    c.connect(l.local()?)?;
    exchange(&c, &l.accept()?)
}

fn mptcp_plain_client() -> Result<()> {
    let l = listener(V4)?;
    let c = Sock::tcp(V4)?;
    c.connect(l.local()?)?;
    let s = l.accept()?;
    exchange(&c, &s)
}

fn mptcp_peek() -> Result<()> {
    let (c, s) = pair(V4)?;
    let mut buf = [0; 4000];
    for i in 1..=20 {
        c.send_all(&pattern(i * 100))?;
        s.recv(&mut buf, libc::MSG_PEEK)?;
        s.recv(&mut buf[..50], libc::MSG_PEEK)?;
        let n = s.recv(&mut buf[..i * 60], libc::MSG_WAITALL)?;
        s.recv_exact(i * 100 - n)?;
    }
    Ok(())
}

fn mptcp_splice() -> Result<()> {
    let (c, s) = pair(V4)?;
    let file = sys::memfd(&pattern(60_000))?;
    let (r, w) = sys::pipe()?;
    let mut sent = 0;
    while sent < 60_000 {
        let n = c.sendfile(file, 10_000).context("sendfile")?;
        sent += n;
        let mut left = n;
        while left > 0 {
            let n = s.splice_out(w, left.min(4000), 0).context("splice out of MPTCP")?;
            ensure!(n > 0, "end of stream");
            sys::read(r, &mut vec![0; n])?;
            left -= n;
        }
    }
    Ok(())
}

fn mptcp_large() -> Result<()> {
    let (c, s) = pair(V4)?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            c.send_all(&pattern(1 << 20))?;
            c.shutdown(libc::SHUT_WR)
        });
        sys::pause(20);
        ensure!(s.drain()? == 1 << 20, "not all came");
        writer.join().expect("writer")
    })
}

fn mptcp_close() -> Result<()> {
    let (c, s) = pair(V4)?;
    c.send_all(&pattern(2000))?;
    c.shutdown(libc::SHUT_WR)?;
    s.send_all(&pattern(700))?;
    c.recv_exact(700)?;
    drop(c);
    sys::pause(5);
    ensure!(s.drain()? == 2000, "not all came");
    Ok(())
}

fn mptcp_nonblocking() -> Result<()> {
    let (c, s) = pair(V4)?;
    c.nonblocking(true)?;
    let mut sent = 0;
    while let Ok(n) = c.send(&pattern(50_000), 0) {
        sent += n;
        if sent > 8 << 20 {
            break;
        }
    }
    c.shutdown(libc::SHUT_WR)?;
    ensure!(s.drain()? == sent, "not all came");
    Ok(())
}
