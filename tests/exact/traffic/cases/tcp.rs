//! TCP streams over every kind of address, and the ways a connection comes about.

use std::io;

use anyhow::{Context, Result, bail, ensure};

use crate::cases::absent;
use crate::sock::{Fam, Mapped, Sock, V4, V6, alias, tcp_pair};
use crate::sys;
use crate::transfer::pattern;

cases! {
    "a stream over IPv4" => tcp_v4,
    "a stream over IPv6" => tcp_v6,
    "both ends IPv6 sockets with v4-mapped addresses: an IPv4 flow" => tcp_mapped,
    "IPv4 client of a [::] listener: the two ends differ in family, not in address" => tcp_dual_stack,
    "v4-mapped client of an IPv4 listener" => tcp_mapped_client,
    "addresses other than 127.0.0.1 on both ends" => tcp_alias_addresses,
    "connect to 0.0.0.0 and [::], which become the loopback address" => tcp_connect_any,
    "both ends at once in both directions" => tcp_duplex,
    "one byte to and fro" => tcp_ping_pong,
    "a socket connected to itself: both directions in one row" => tcp_self_connect,
    "a non-blocking connect" => tcp_nonblocking_connect,
    "thousands of short connections" => tcp_many_short,
    "one pair of addresses used by one connection after the other" => tcp_same_addresses_again,
    "accept only after all data has come" => tcp_accept_after_data,
    "the client is gone before accept" => tcp_accept_after_close,
    "TCP_DEFER_ACCEPT: the connection appears with its first data" => tcp_defer_accept,
    "SO_REUSEPORT listeners share a port" => tcp_reuseport,
    "a client bound with IP_FREEBIND and IP_TRANSPARENT" => tcp_transparent,
    "many connections of one pair of processes at once" => tcp_hundred_at_once,
}

/// Sends a different amount each way and reads it to the end.
fn exchange(c: &Sock, s: &Sock) -> Result<()> {
    c.send_all(&pattern(30_001))?;
    s.recv_exact(30_001)?;
    s.send_all(&pattern(10_007))?;
    c.recv_exact(10_007)
}

fn over(fam: Fam) -> Result<()> {
    let (c, s) = tcp_pair(fam)?;
    exchange(&c, &s)
}

fn tcp_v4() -> Result<()> {
    over(V4)
}

fn tcp_v6() -> Result<()> {
    over(V6)
}

fn tcp_mapped() -> Result<()> {
    over(Mapped)
}

fn tcp_dual_stack() -> Result<()> {
    let l = Sock::tcp(V6)?;
    l.set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    l.bind(V6.any())?;
    l.listen()?;
    let mut to = V4.loopback();
    to.set_port(l.local()?.port());
    let c = Sock::tcp(V4)?;
    c.connect(to)?;
    exchange(&c, &l.accept()?)
}

fn tcp_mapped_client() -> Result<()> {
    let l = Sock::listener(V4)?;
    let mut to = Mapped.loopback();
    to.set_port(l.local()?.port());
    let c = Sock::tcp(Mapped)?;
    c.connect(to)?;
    exchange(&c, &l.accept()?)
}

fn tcp_alias_addresses() -> Result<()> {
    let l = Sock::tcp(V4)?;
    l.bind(alias(2))?;
    l.listen()?;
    let c = Sock::tcp(V4)?;
    c.bind(alias(3))?;
    c.connect(l.local()?)?;
    exchange(&c, &l.accept()?)
}

fn tcp_connect_any() -> Result<()> {
    for fam in [V4, V6] {
        let l = Sock::tcp(fam)?;
        l.bind(fam.any())?;
        l.listen()?;
        let c = Sock::tcp(fam)?;
        c.connect(l.local()?)?;
        exchange(&c, &l.accept()?)?;
    }
    Ok(())
}

fn tcp_duplex() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let run = |a: &Sock, n: usize, expect: usize| -> Result<()> {
        std::thread::scope(|scope| {
            let tx = scope.spawn(move || a.send_all(&pattern(n)));
            a.recv_exact(expect)?;
            tx.join().expect("sender")
        })
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(&s, 400_000, 300_000));
        run(&c, 300_000, 400_000)?;
        other.join().expect("other side")
    })
}

fn tcp_ping_pong() -> Result<()> {
    let (c, s) = tcp_pair(V6)?;
    for _ in 0..sys::scaled(1000) {
        c.send_all(b"?")?;
        s.recv_exact(1)?;
        s.send_all(b"!")?;
        c.recv_exact(1)?;
    }
    Ok(())
}

fn tcp_self_connect() -> Result<()> {
    let s = Sock::tcp(V4)?;
    s.bind(V4.loopback())?;
    s.connect(s.local()?)?;
    s.send_all(&pattern(5000))?;
    s.recv_exact(5000)
}

fn tcp_nonblocking_connect() -> Result<()> {
    let l = Sock::listener(V4)?;
    let c = Sock::tcp(V4)?;
    c.nonblocking(true)?;
    // Loopback may connect at once; anything else must say "in progress".
    if let Err(e) = c.try_connect(l.local()?) {
        ensure!(sys::errno(&e) == libc::EINPROGRESS, "connect: {e}");
    }
    ensure!(sys::poll(c.fd(), libc::POLLOUT, 5000)?, "connect never finished");
    c.nonblocking(false)?;
    c.refresh();
    exchange(&c, &l.accept()?)
}

fn tcp_many_short() -> Result<()> {
    let l = Sock::listener(V4)?;
    let to = l.local()?;
    let n = sys::scaled(2000);
    let serve = || -> Result<()> {
        for i in 0..n {
            let s = l.accept()?;
            s.recv_exact(10 + i % 90)?;
            s.send_all(&pattern(100))?;
            match s.drain() {
                // The reset can overtake the end of the stream: where the client moves to another
                // CPU between the two, each waits in the backlog of its own.
                Err(err) if is_reset(&err) => {}
                end => drop(end?),
            }
        }
        Ok(())
    };
    let connect = || -> Result<()> {
        for i in 0..n {
            let c = Sock::tcp(V4)?;
            c.connect(to)?;
            c.send_all(&pattern(10 + i % 90))?;
            c.recv_exact(100)?;
            // Leaves no TIME_WAIT behind that could use up the ports.
            c.linger0()?;
            c.shutdown(libc::SHUT_WR)?;
        }
        Ok(())
    };
    // Who fails says why, and leaves the other not waiting for ever.
    let ended = |done: Result<()>| {
        if done.is_err() {
            l.shutdown(libc::SHUT_RD)?;
        }
        done
    };
    std::thread::scope(|scope| {
        let server = scope.spawn(|| ended(serve().context("server")));
        let done = ended(connect().context("client"));
        match (server.join().expect("server"), done) {
            (Err(server), Err(client)) => bail!("{server:#}; {client:#}"),
            (server, client) => server.and(client),
        }
    })
}

fn is_reset(err: &anyhow::Error) -> bool {
    let err = err.downcast_ref::<io::Error>();
    err.is_some_and(|err| err.kind() == io::ErrorKind::ConnectionReset)
}

fn tcp_same_addresses_again() -> Result<()> {
    let l = Sock::listener(V4)?;
    let first = Sock::tcp(V4)?;
    first.bind(V4.loopback())?;
    let from = first.local()?;
    drop(first);
    for i in 1..=20 {
        let c = Sock::tcp(V4)?;
        c.set(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        c.bind(from)?;
        c.connect(l.local()?)?;
        let s = l.accept()?;
        c.send_all(&pattern(100 * i))?;
        s.recv_exact(100 * i)?;
        c.linger0()?;
        s.linger0()?;
    }
    Ok(())
}

fn tcp_accept_after_data() -> Result<()> {
    let l = Sock::listener(V4)?;
    let c = Sock::tcp(V4)?;
    c.connect(l.local()?)?;
    c.send_all(&pattern(20_000))?;
    l.accept()?.recv_exact(20_000)
}

fn tcp_accept_after_close() -> Result<()> {
    let l = Sock::listener(V4)?;
    let c = Sock::tcp(V4)?;
    c.connect(l.local()?)?;
    c.send_all(&pattern(20_000))?;
    drop(c);
    let s = l.accept()?;
    ensure!(s.drain()? == 20_000, "not all data came");
    Ok(())
}

fn tcp_defer_accept() -> Result<()> {
    let l = Sock::listener(V4)?;
    l.set(libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 5)?;
    let c = Sock::tcp(V4)?;
    c.connect(l.local()?)?;
    c.send_all(&pattern(777))?;
    let s = l.accept()?;
    s.recv_exact(777)?;
    exchange(&c, &s)
}

fn tcp_reuseport() -> Result<()> {
    let a = Sock::tcp(V4)?;
    a.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    a.bind(V4.loopback())?;
    a.listen()?;
    let b = Sock::tcp(V4)?;
    b.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    b.bind(a.local()?)?;
    b.listen()?;
    for _ in 0..20 {
        let c = Sock::tcp(V4)?;
        c.connect(a.local()?)?;
        let l = if sys::first_readable(a.fd(), b.fd())? { &a } else { &b };
        exchange(&c, &l.accept()?)?;
    }
    Ok(())
}

fn tcp_transparent() -> Result<()> {
    sys::new_netns(0)?;
    let l = Sock::listener(V4)?;
    let c = Sock::tcp(V4)?;
    c.set(libc::IPPROTO_IP, libc::IP_FREEBIND, 1)?;
    c.try_set(libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1).map_err(absent("IP_TRANSPARENT"))?;
    c.bind("127.9.8.7:0".parse()?)?;
    c.connect(l.local()?)?;
    exchange(&c, &l.accept()?)
}

fn tcp_hundred_at_once() -> Result<()> {
    let l = Sock::listener(V4)?;
    let mut pairs = Vec::new();
    for _ in 0..100 {
        let c = Sock::tcp(V4)?;
        c.connect(l.local()?)?;
        pairs.push((c, l.accept()?));
    }
    for round in 1..=5 {
        for (i, (c, _)) in pairs.iter().enumerate() {
            c.send_all(&pattern(round * 10 + i))?;
        }
        for (i, (_, s)) in pairs.iter().enumerate() {
            s.recv_exact(round * 10 + i)?;
        }
    }
    Ok(())
}
