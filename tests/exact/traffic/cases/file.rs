//! Data that comes from files and pipes or goes there: sendfile, splice, tee, vmsplice.

use std::os::fd::RawFd;

use anyhow::{Context, Result, ensure};

use crate::sock::{Fam, Sock, V4, V6, tcp_pair, udp_pair};
use crate::sys::{self, cvt};
use crate::transfer::{pattern, special, splice, unasked};
use crate::truth::{Dir, How};

cases! {
    "sendfile to TCP" => sendfile_tcp,
    "sendfile to TCP, non-blocking, as much as fits" => sendfile_tcp_partial,
    "sendfile to a connected IPv4 UDP socket" => sendfile_udp_v4,
    "sendfile to a connected IPv6 UDP socket" => sendfile_udp_v6,
    "file to pipe to TCP by splice" => splice_file_tcp,
    "splice with SPLICE_F_MORE and single pages" => splice_more,
    "TCP to pipe by splice: no recv at all" => splice_tcp_pipe,
    "splice and recv in turn on one socket" => splice_mixed,
    "splice of what a closed peer left" => splice_after_close,
    "a proxy: TCP to pipe to TCP" => splice_proxy,
    "tee: the pipe is read twice, the socket once" => tee_pipe,
    "vmsplice to pipe to TCP" => vmsplice_tcp,
    "UDP to pipe by splice, connected and unconnected" => splice_udp_pipe,
    "pipe to UDP by splice" => splice_pipe_udp,
    "splice that finds nothing, or a full pipe" => splice_nothing,
}

/// Empties a pipe of exactly `n` bytes.
fn drain_pipe(pipe: RawFd, n: usize) -> Result<()> {
    let mut buf = vec![0; 65_536];
    let mut left = n;
    while left > 0 {
        let want = left.min(buf.len());
        let got = sys::read(pipe, &mut buf[..want]).context("pipe")?;
        ensure!(got > 0, "end of the pipe");
        left -= got;
    }
    Ok(())
}

fn sendfile_tcp() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let file = sys::memfd(&pattern(200_000))?;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| s.drain());
        let mut sent = 0;
        while sent < 200_000 {
            sent += c.sendfile(file, 70_000)?;
        }
        ensure!(c.sendfile(file, 100)? == 0, "data after the end of the file");
        c.send_all(&pattern(5000))?;
        c.shutdown(libc::SHUT_WR)?;
        ensure!(reader.join().expect("reader")? == 205_000, "not all came");
        Ok(())
    })
}

fn sendfile_tcp_partial() -> Result<()> {
    let (c, s) = tcp_pair(V6)?;
    c.set(libc::SOL_SOCKET, libc::SO_SNDBUF, 20_000)?;
    c.nonblocking(true)?;
    let file = sys::memfd(&pattern(900_000))?;
    let mut sent = 0;
    for _ in 0..4 {
        while let Ok(n @ 1..) = c.sendfile(file, 900_000) {
            sent += n;
        }
        s.recv(&mut vec![0; 50_000], 0)?;
        sys::pause(2);
    }
    ensure!(sent > 0, "nothing went out");
    c.shutdown(libc::SHUT_WR)?;
    s.drain()?;
    Ok(())
}

fn sendfile_udp(fam: Fam) -> Result<()> {
    let (a, b) = udp_pair(fam)?;
    let file = sys::memfd(&pattern(20_000))?;
    let mut buf = vec![0; 65_536];
    for len in [100, 1000, 4000, 6000] {
        let n = a.sendfile(file, len)?;
        ensure!(n == len, "{n} of {len}");
        let mut got = 0;
        while got < len {
            got += b.recv(&mut buf, 0)?;
        }
    }
    Ok(())
}

fn sendfile_udp_v4() -> Result<()> {
    sendfile_udp(V4)
}

fn sendfile_udp_v6() -> Result<()> {
    sendfile_udp(V6)
}

/// Moves `len` bytes from a file through the pipe into the socket.
fn file_to(s: &Sock, file: RawFd, (r, w): (RawFd, RawFd), len: usize, flags: u32) -> Result<()> {
    let mut left = len;
    while left > 0 {
        let mut in_pipe = cvt(splice(file, w, left.min(60_000), 0)).context("file to pipe")?;
        left -= in_pipe;
        while in_pipe > 0 {
            in_pipe -= s.splice_in(r, in_pipe, flags).context("pipe to socket")?;
        }
    }
    Ok(())
}

fn splice_file_tcp() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let file = sys::memfd(&pattern(150_000))?;
    let pipe = sys::pipe()?;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| s.recv_exact(150_000));
        file_to(&c, file, pipe, 150_000, 0)?;
        reader.join().expect("reader")
    })
}

fn splice_more() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let file = sys::memfd(&pattern(40_000))?;
    let pipe = sys::pipe()?;
    for _ in 0..9 {
        file_to(&c, file, pipe, 4096, libc::SPLICE_F_MORE)?;
    }
    c.send_all(&pattern(10))?;
    s.recv_exact(9 * 4096 + 10)
}

/// Splices `total` bytes out of the socket and throws them away.
fn splice_all(s: &Sock, total: usize) -> Result<()> {
    let (r, w) = sys::pipe()?;
    let mut left = total;
    while left > 0 {
        let n = s.splice_out(w, left.min(50_000), libc::SPLICE_F_MOVE)?;
        ensure!(n > 0, "end of stream with {left} to come");
        drain_pipe(r, n)?;
        left -= n;
    }
    sys::close(r);
    sys::close(w);
    Ok(())
}

fn splice_tcp_pipe() -> Result<()> {
    for fam in [V4, V6] {
        let (c, s) = tcp_pair(fam)?;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| c.send_all(&pattern(120_000)));
            splice_all(&s, 120_000)?;
            writer.join().expect("writer")
        })?;
    }
    Ok(())
}

fn splice_mixed() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    for i in 1..=20 {
        c.send_all(&pattern(3000))?;
        splice_all(&s, 50 * i)?;
        s.recv_exact(3000 - 100 * i)?;
        splice_all(&s, 50 * i)?;
    }
    Ok(())
}

fn splice_after_close() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(9000))?;
    s.recv_exact(1000)?;
    c.linger0()?;
    drop(c);
    sys::pause(5);
    splice_all(&s, 8000)?;
    let (c, s) = tcp_pair(V4)?;
    s.shutdown(libc::SHUT_WR)?;
    c.drain()?;
    c.send_all(&pattern(7000))?;
    drop(c);
    sys::pause(5);
    splice_all(&s, 7000)
}

fn splice_proxy() -> Result<()> {
    let (c, front) = tcp_pair(V4)?;
    let (back, s) = tcp_pair(V6)?;
    let (r, w) = sys::pipe()?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            c.send_all(&pattern(200_000))?;
            c.shutdown(libc::SHUT_WR)
        });
        let reader = scope.spawn(|| s.drain());
        loop {
            let mut n = front.splice_out(w, 60_000, 0)?;
            if n == 0 {
                break;
            }
            while n > 0 {
                n -= back.splice_in(r, n, 0)?;
            }
        }
        back.shutdown(libc::SHUT_WR)?;
        ensure!(reader.join().expect("reader")? == 200_000, "not all came");
        writer.join().expect("writer")
    })
}

fn tee_pipe() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(10_000))?;
    s.wait_readable()?;
    let ((r, w), (r2, w2)) = (sys::pipe()?, sys::pipe()?);
    let mut left = 10_000;
    while left > 0 {
        let n = s.splice_out(w, left, 0)?;
        // SAFETY: tee has no memory arguments.
        let copied = cvt(unsafe { libc::tee(r, w2, n, 0) })?;
        drain_pipe(r2, copied)?;
        drain_pipe(r, n)?;
        left -= n;
    }
    Ok(())
}

fn vmsplice_tcp() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let (r, w) = sys::pipe()?;
    let pages = sys::map_anon(65_536)?;
    for flags in [0, libc::SPLICE_F_GIFT] {
        let iov = libc::iovec { iov_base: pages.cast(), iov_len: 40_000 };
        // SAFETY: the iovec describes a part of a mapping that is never unmapped.
        let mut n = cvt(unsafe { libc::vmsplice(w, &raw const iov, 1, flags) })?;
        let total = n;
        while n > 0 {
            n -= c.splice_in(r, n, libc::SPLICE_F_MOVE)?;
        }
        s.recv_exact(total)?;
    }
    Ok(())
}

fn splice_udp_pipe() -> Result<()> {
    let (a, b) = udp_pair(V4)?;
    let (r, w) = sys::pipe()?;
    a.send(&pattern(3000), 0)?;
    let n = cvt(splice(b.fd(), w, 4096, 0)).context("connected")?;
    b.note(Dir::Rx, n, special(""));
    drain_pipe(r, n)?;
    let open = Sock::udp_bound(V4)?;
    let from = Sock::udp_bound(V4)?;
    from.sendto(&pattern(2000), 0, open.local()?)?;
    let n = cvt(splice(open.fd(), w, 4096, 0)).context("unconnected")?;
    open.note(Dir::Rx, n, How { loose: true, ..unasked(from.local()?) });
    drain_pipe(r, n)
}

fn splice_pipe_udp() -> Result<()> {
    for fam in [V4, V6] {
        let (a, b) = udp_pair(fam)?;
        let (r, w) = sys::pipe()?;
        sys::write_all(w, &pattern(3000));
        ensure!(a.splice_in(r, 3000, 0)? == 3000, "not all went out");
        let mut got = 0;
        while got < 3000 {
            got += b.recv(&mut [0; 4096], 0)?;
        }
    }
    Ok(())
}

fn splice_nothing() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let (r, w) = sys::pipe()?;
    let flags = libc::SPLICE_F_NONBLOCK;
    s.nonblocking(true)?;
    ensure!(s.splice_out(w, 1000, flags).is_err(), "data from nowhere");
    c.send_all(&pattern(1000))?;
    s.wait_readable()?;
    // A full pipe takes nothing from the socket.
    // SAFETY: fcntl with plain integers.
    cvt(unsafe { libc::fcntl(w, libc::F_SETPIPE_SZ, 4096) })?;
    sys::write_all(w, &pattern(4096));
    ensure!(s.splice_out(w, 1000, flags).is_err(), "a full pipe took data");
    drain_pipe(r, 4096)?;
    let n = s.splice_out(w, 600, flags)?;
    drain_pipe(r, n)?;
    s.nonblocking(false)?;
    s.recv_exact(1000 - n)?;
    c.shutdown(libc::SHUT_WR)?;
    ensure!(s.splice_out(w, 1000, 0)? == 0, "data after the end");
    Ok(())
}
