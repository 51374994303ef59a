//! Data around the end of a connection, when the kernel begins to forget the addresses.

use anyhow::{Result, ensure};

use crate::sock::{Sock, V4, V6, tcp_pair};
use crate::sys;
use crate::transfer::pattern;
use crate::truth;

cases! {
    "a reset after data: read from a closed socket, local port must be the real one" => tcp_rst_unread,
    "both FINs seen, then the data is read" => tcp_fin_fin_read,
    "half-close: one direction goes on for long" => tcp_half_close,
    "SO_LINGER 0: the reset overtakes nothing that was read" => tcp_linger0,
    "the peer closes with our data unread" => tcp_peer_never_reads,
    "close with data unread: this side resets" => tcp_close_unread,
    "shutdown for reading, and data that comes all the same" => tcp_shutdown_read,
    "a reset wakes a blocked reader" => tcp_rst_wakes_reader,
    "a reset wakes a blocked writer in the middle of a write" => tcp_rst_wakes_writer,
    "shutdown from another thread ends a blocked recv" => tcp_shutdown_wakes,
    "SO_LINGER with a time: close waits for the data to be taken" => tcp_linger_wait,
    "the process ends with the socket open" => tcp_exit_open,
}

fn tcp_rst_unread() -> Result<()> {
    for fam in [V4, V6] {
        let (c, s) = tcp_pair(fam)?;
        c.send_all(&pattern(3000))?;
        s.recv_exact(1000)?;
        c.linger0()?;
        drop(c);
        sys::pause(5);
        s.recv_exact(2000)?;
    }
    Ok(())
}

fn tcp_fin_fin_read() -> Result<()> {
    for fam in [V4, V6] {
        let (c, s) = tcp_pair(fam)?;
        s.shutdown(libc::SHUT_WR)?;
        ensure!(c.drain()? == 0, "data from nowhere");
        c.send_all(&pattern(4000))?;
        drop(c);
        sys::pause(5);
        s.recv_exact(1500)?;
        ensure!(s.drain()? == 2500, "not all came");
    }
    Ok(())
}

fn tcp_half_close() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(100))?;
    c.shutdown(libc::SHUT_WR)?;
    ensure!(s.drain()? == 100, "not all came");
    for _ in 0..30 {
        s.send_all(&pattern(3000))?;
        c.recv_exact(3000)?;
    }
    drop(s);
    ensure!(c.drain()? == 0, "data after the end");
    Ok(())
}

fn tcp_linger0() -> Result<()> {
    truth::lossy();
    let (c, s) = tcp_pair(V4)?;
    s.send_all(&pattern(2000))?;
    c.recv_exact(2000)?;
    c.send_all(&pattern(6000))?;
    c.linger0()?;
    drop(c);
    let mut buf = [0; 10_000];
    while s.recv(&mut buf, 0).is_ok_and(|n| n > 0) {}
    ensure!(s.send(b"x", 0).is_err(), "sent after a reset");
    Ok(())
}

fn tcp_peer_never_reads() -> Result<()> {
    truth::lossy();
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(5000))?;
    s.send_all(&pattern(700))?;
    drop(s);
    sys::pause(5);
    let mut buf = [0; 1000];
    while c.recv(&mut buf, 0).is_ok_and(|n| n > 0) {}
    Ok(())
}

fn tcp_close_unread() -> Result<()> {
    truth::lossy();
    let (c, s) = tcp_pair(V6)?;
    c.send_all(&pattern(5000))?;
    s.recv_exact(2000)?;
    drop(s);
    sys::pause(5);
    let _ = c.send(&pattern(100), 0);
    let _ = c.send(&pattern(100), 0);
    Ok(())
}

fn tcp_shutdown_read() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    s.shutdown(libc::SHUT_RD)?;
    c.send_all(&pattern(2000))?;
    let mut buf = [0; 4000];
    let mut got = 0;
    while got < 2000 {
        got += s.recv(&mut buf, libc::MSG_DONTWAIT)?;
    }
    Ok(())
}

fn tcp_rst_wakes_reader() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(500))?;
    s.recv_exact(500)?;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| s.recv(&mut [0; 100], 0));
        sys::pause(10);
        c.linger0()?;
        drop(c);
        ensure!(reader.join().expect("reader").is_err(), "no reset");
        Ok(())
    })
}

fn tcp_rst_wakes_writer() -> Result<()> {
    truth::lossy();
    let (c, s) = tcp_pair(V4)?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| c.send(&pattern(8 << 20), 0));
        s.recv_exact(100_000)?;
        sys::pause(10);
        s.linger0()?;
        drop(s);
        // Part of it or ECONNRESET: whatever it returns is the truth.
        let _ = writer.join().expect("writer");
        Ok(())
    })
}

fn tcp_shutdown_wakes() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(900))?;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| s.recv(&mut [0; 5000], libc::MSG_WAITALL));
        sys::pause(20);
        s.shutdown(libc::SHUT_RDWR)?;
        ensure!(reader.join().expect("reader")? == 900, "not what had come");
        Ok(())
    })
}

fn tcp_linger_wait() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let l = libc::linger { l_onoff: 1, l_linger: 2 };
    c.try_set(libc::SOL_SOCKET, libc::SO_LINGER, l)?;
    c.send_all(&pattern(50_000))?;
    std::thread::scope(|scope| {
        scope.spawn(move || drop(c));
        s.drain().map(|_| ())
    })
}

fn tcp_exit_open() -> Result<()> {
    let l = Sock::listener(V4)?;
    let to = l.local()?;
    let child = crate::proc::spawn(move || {
        let c = Sock::tcp(V4)?;
        c.connect(to)?;
        c.send_all(&pattern(8000))?;
        std::mem::forget(c);
        Ok(())
    })?;
    let s = l.accept()?;
    child.join()?;
    ensure!(s.drain()? == 8000, "not all came");
    Ok(())
}
