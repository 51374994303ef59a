//! The calls a TCP stream can be written and read with, and sockets too full or too slow.

use std::io::ErrorKind;
use std::ptr;

use anyhow::{Context, Result, ensure};

use crate::cases::absent;
use crate::sock::{Sock, V4, V6, tcp_pair};
use crate::sys::{self, cvt, errno};
use crate::transfer::{pattern, special};
use crate::truth::{Dir, How};

cases! {
    "receive buffers far larger than the data: the size asked for is not the size got" => tcp_large_buffers,
    "non-blocking writer: EAGAIN and partial writes" => tcp_nonblocking_partial,
    "one blocking write of 8 MiB that waits many times" => tcp_write_8m,
    "read and write instead of recv and send" => tcp_read_write,
    "readv and writev" => tcp_readv_writev,
    "preadv2 and pwritev2 on a socket" => tcp_preadv2,
    "sendmsg and recvmsg with several parts" => tcp_sendmsg_recvmsg,
    "sendmmsg and recvmmsg: many messages in one system call" => tcp_mmsg,
    "TCP_NODELAY with small writes" => tcp_nodelay_small,
    "TCP_CORK" => tcp_cork,
    "MSG_MORE" => tcp_msg_more,
    "an edge-triggered epoll reader that reads until EAGAIN" => tcp_epoll_edge,
    "select and poll loops with MSG_DONTWAIT" => tcp_poll_dontwait,
    "two descriptors of one socket" => tcp_dup,
    "a tiny receive buffer: zero windows and probes" => tcp_zero_window,
    "TCP_NOTSENT_LOWAT: a writer that waits for its own queue" => tcp_notsent_lowat,
    "SO_SNDTIMEO: a partial write by timeout" => tcp_send_timeout,
    "zero-length sends and receives" => tcp_zero_length,
    "stdio: fdopen, fprintf, fgets on a socket" => tcp_stdio,
    "SO_BUSY_POLL and another congestion control on the way" => tcp_tuned,
}

fn tcp_large_buffers() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let mut buf = vec![0; 1 << 20];
    for i in 1..=100 {
        c.send_all(&pattern(i))?;
        let n = s.recv(&mut buf, 0)?;
        ensure!(n == i, "{n} of {i} bytes");
    }
    Ok(())
}

fn tcp_nonblocking_partial() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    c.set(libc::SOL_SOCKET, libc::SO_SNDBUF, 16_384)?;
    c.nonblocking(true)?;
    let buf = pattern(100_000);
    let (mut refused, mut sent) = (0, 0);
    while refused < 20 {
        match c.send(&buf, 0) {
            Ok(n) => sent += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                refused += 1;
                let n = sent.min(60_000);
                s.recv_exact(n)?;
                sent -= n;
            }
            Err(e) => return Err(e.into()),
        }
    }
    c.shutdown(libc::SHUT_WR)?;
    s.drain()?;
    Ok(())
}

fn tcp_write_8m() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let all = pattern(8 << 20);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| s.drain());
        let n = c.write(&all)?;
        ensure!(n == all.len(), "partial write");
        c.shutdown(libc::SHUT_WR)?;
        ensure!(reader.join().expect("reader")? == n, "not all came");
        Ok(())
    })
}

fn tcp_read_write() -> Result<()> {
    let (c, s) = tcp_pair(V6)?;
    let mut buf = [0; 4000];
    for i in 1..50 {
        c.write(&pattern(i * 50))?;
        let mut got = 0;
        while got < i * 50 {
            got += s.read(&mut buf)?;
        }
    }
    Ok(())
}

fn tcp_readv_writev() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let (a, b) = (pattern(700), pattern(1300));
    let (mut x, mut y) = (vec![0; 1000], vec![0; 4000]);
    for _ in 0..20 {
        c.writev(&[&a, &b, &[]])?;
        let mut got = 0;
        while got < 2000 {
            got += s.readv(&mut x, &mut y)?;
        }
    }
    Ok(())
}

fn tcp_preadv2() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let (out, mut back) = (pattern(3000), vec![0; 5000]);
    let write = libc::iovec { iov_base: out.as_ptr().cast_mut().cast(), iov_len: out.len() };
    let read = libc::iovec { iov_base: back.as_mut_ptr().cast(), iov_len: back.len() };
    // SAFETY: the iovec describes a live slice.
    let n = cvt(unsafe { libc::pwritev2(c.fd(), &raw const write, 1, -1, 0) });
    c.note(Dir::Tx, n.map_err(absent("pwritev2"))?, How::default());
    let mut got = 0;
    // RWF_NOWAIT is for newer kernels only.
    for flags in [libc::RWF_NOWAIT, 0] {
        // SAFETY: the iovec describes a live, writable slice.
        let n = cvt(unsafe { libc::preadv2(s.fd(), &raw const read, 1, -1, flags) });
        match n {
            Err(e) if errno(&e) == libc::EOPNOTSUPP => {}
            n => got += s.note(Dir::Rx, n.context("preadv2")?, How::default()),
        }
        if got == 3000 {
            break;
        }
    }
    s.recv_exact(3000 - got)
}

fn tcp_sendmsg_recvmsg() -> Result<()> {
    let (c, s) = tcp_pair(V6)?;
    let (a, b) = (pattern(111), pattern(2222));
    let (mut x, mut y) = (vec![0; 500], vec![0; 3000]);
    for _ in 0..20 {
        c.sendmsg(&[&a, &b], None, &[], 0)?;
        let mut got = 0;
        while got < 2333 {
            got += s.recvmsg(&mut [&mut x, &mut y], 0)?.n;
        }
    }
    Ok(())
}

fn tcp_mmsg() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let parts: Vec<_> = (1..=10).map(|i| pattern(i * 100)).collect();
    let msgs: Vec<_> = parts.iter().map(|p| (p.as_slice(), None)).collect();
    for _ in 0..5 {
        ensure!(c.sendmmsg(&msgs)? == 10, "not all messages went out");
        let mut got = 0;
        while got < 5500 {
            got += s.recvmmsg(4, 700, libc::MSG_WAITFORONE)?.iter().sum::<usize>();
        }
    }
    Ok(())
}

fn tcp_nodelay_small() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    c.set(libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    for i in 0..500 {
        c.send_all(&pattern(1 + i % 7))?;
    }
    c.shutdown(libc::SHUT_WR)?;
    s.drain()?;
    Ok(())
}

fn tcp_cork() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    for _ in 0..5 {
        c.set(libc::IPPROTO_TCP, libc::TCP_CORK, 1)?;
        for _ in 0..20 {
            c.send_all(&pattern(37))?;
        }
        c.set(libc::IPPROTO_TCP, libc::TCP_CORK, 0)?;
        s.recv_exact(740)?;
    }
    Ok(())
}

fn tcp_msg_more() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    for i in 0..60 {
        c.send(&pattern(99), if i % 3 == 2 { 0 } else { libc::MSG_MORE })?;
    }
    s.recv_exact(60 * 99)
}

fn tcp_epoll_edge() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    s.nonblocking(true)?;
    // SAFETY: epoll_create1 has no memory arguments.
    let ep = cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })? as i32;
    let mut ev = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 1 };
    // SAFETY: the event lives across the call.
    cvt(unsafe { libc::epoll_ctl(ep, libc::EPOLL_CTL_ADD, s.fd(), &raw mut ev) })?;
    std::thread::scope(|scope| {
        scope.spawn(|| -> Result<()> {
            (0..50).try_for_each(|_| c.send_all(&pattern(3001)))?;
            c.shutdown(libc::SHUT_WR)
        });
        let mut buf = [0; 1024];
        loop {
            // SAFETY: room for one event.
            cvt(unsafe { libc::epoll_wait(ep, &raw mut ev, 1, 5000) })?;
            loop {
                match s.recv(&mut buf, 0) {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e.into()),
                }
            }
        }
    })
}

fn tcp_poll_dontwait() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let mut buf = [0; 100_000];
    for _ in 0..50 {
        let again = s.recv(&mut buf, libc::MSG_DONTWAIT);
        ensure!(again.is_err(), "data from nowhere");
        c.send_all(&pattern(500))?;
        s.wait_readable()?;
        // SAFETY: the sets and the timeout live across the call; the descriptor is below 1024.
        let ready = unsafe {
            let mut set: libc::fd_set = std::mem::zeroed();
            libc::FD_SET(s.fd(), &raw mut set);
            let none = ptr::null_mut();
            cvt(libc::select(s.fd() + 1, &raw mut set, none, none, ptr::null_mut()))?
        };
        ensure!(ready == 1, "select");
        s.recv(&mut buf, libc::MSG_DONTWAIT)?;
    }
    Ok(())
}

fn tcp_dup() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let (c2, s2) = (c.dup()?, s.dup()?);
    c.send_all(&pattern(1000))?;
    c2.send_all(&pattern(2000))?;
    drop(c);
    c2.send_all(&pattern(4000))?;
    s.recv_exact(3500)?;
    drop(s);
    s2.recv_exact(3500)
}

fn tcp_zero_window() -> Result<()> {
    let l = Sock::listener(V4)?;
    l.set(libc::SOL_SOCKET, libc::SO_RCVBUF, 2304)?;
    let c = Sock::tcp(V4)?;
    c.connect(l.local()?)?;
    let s = l.accept()?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            c.send_all(&pattern(40_000))?;
            c.shutdown(libc::SHUT_WR)
        });
        sys::pause(30);
        s.drain()?;
        writer.join().expect("writer")
    })
}

fn tcp_notsent_lowat() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    c.set(libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, 4096)?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            (0..20).try_for_each(|_| c.send_all(&pattern(20_000)))?;
            c.shutdown(libc::SHUT_WR)
        });
        s.drain()?;
        writer.join().expect("writer")
    })
}

fn tcp_send_timeout() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    c.set(libc::SOL_SOCKET, libc::SO_SNDBUF, 16_384)?;
    let t = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
    c.try_set(libc::SOL_SOCKET, libc::SO_SNDTIMEO, t)?;
    let n = c.send(&pattern(8 << 20), 0)?;
    ensure!(n < 8 << 20, "nothing was held up");
    c.shutdown(libc::SHUT_WR)?;
    s.drain()?;
    Ok(())
}

fn tcp_zero_length() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    ensure!(c.send(&[], 0)? == 0, "sent nothing as something");
    c.write(&[])?;
    c.sendmsg(&[], None, &[], 0)?;
    c.send_all(b"abc")?;
    s.wait_readable()?;
    ensure!(s.recv(&mut [], 0)? == 0, "received without room");
    s.recv_exact(3)?;
    drop(c);
    ensure!(s.drain()? == 0, "data after the end");
    Ok(())
}

fn tcp_stdio() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    // SAFETY: the stream owns a fresh duplicate and is closed in the same block.
    let wrote = unsafe {
        let out = libc::fdopen(libc::dup(c.fd()), c"w".as_ptr());
        ensure!(!out.is_null(), "fdopen");
        let n = libc::fprintf(out, c"%s %d\n".as_ptr(), c"hello from stdio".as_ptr(), 12345);
        libc::fclose(out);
        n
    };
    c.note(Dir::Tx, wrote as usize, special(""));
    s.recv_exact(wrote as usize)
}

fn tcp_tuned() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    for (a, b) in [(&c, &s), (&s, &c)] {
        // Either may be refused; the data must be counted anyway.
        let _ = b.try_set(libc::SOL_SOCKET, libc::SO_BUSY_POLL, 50i32);
        let _ = a.try_set(libc::IPPROTO_TCP, libc::TCP_CONGESTION, *b"reno");
        a.send_all(&pattern(12_345))?;
        b.recv_exact(12_345)?;
    }
    Ok(())
}
