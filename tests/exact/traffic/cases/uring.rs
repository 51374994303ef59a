//! io_uring operations that move socket data: no system call of that name is ever made.

use std::mem;

use anyhow::{Result, ensure};
use io_uring::{opcode, types::Fd};

use crate::addr::RawAddr;
use crate::ring::Ring;
use crate::sock::{Fam, Sock, V4, V6, tcp_pair, udp_pair};
use crate::sys;
use crate::transfer::{pattern, peer, special, unasked};
use crate::truth::{Dir, How};

cases! {
    "send and recv on TCP" => uring_send_recv,
    "read, write, readv and writev on TCP" => uring_read_write,
    "sendmsg and recvmsg with addresses on unconnected UDP" => uring_udp_peers,
    "send and recv on connected UDP" => uring_udp_connected,
    "recv on unconnected UDP, which cannot ask for the address" => uring_udp_unasked,
    "recv with MSG_PEEK and MSG_TRUNC" => uring_peek,
    "a recv that waits in the ring before the data comes" => uring_recv_waits,
    "recv with MSG_WAITALL against a sender that dribbles" => uring_waitall,
    "a send larger than the buffers, with MSG_WAITALL" => uring_large_send,
    "splice between socket and pipe" => uring_splice,
    "connect and accept in the ring" => uring_connect_accept,
    "failed sends and receives" => uring_failures,
}

fn send(s: &Sock, buf: &[u8], flags: i32) -> io_uring::squeue::Entry {
    opcode::Send::new(Fd(s.fd()), buf.as_ptr(), buf.len() as u32).flags(flags).build()
}

fn recv(s: &Sock, buf: &mut [u8], flags: i32) -> io_uring::squeue::Entry {
    opcode::Recv::new(Fd(s.fd()), buf.as_mut_ptr(), buf.len() as u32).flags(flags).build()
}

const PLAIN: How = How { peer: None, via: "", loose: false };

fn uring_send_recv() -> Result<()> {
    let mut ring = Ring::new()?;
    let mut buf = vec![0; 4096];
    for fam in [V4, V6] {
        let (c, s) = tcp_pair(fam)?;
        for i in 1..=50 {
            let p = pattern(i * 60);
            ring.moves(&c, Dir::Tx, &send(&c, &p, 0), PLAIN)?;
            let mut got = 0;
            while got < p.len() {
                got += ring.moves(&s, Dir::Rx, &recv(&s, &mut buf, 0), PLAIN)?;
            }
        }
    }
    Ok(())
}

fn uring_read_write() -> Result<()> {
    let mut ring = Ring::new()?;
    let (c, s) = tcp_pair(V4)?;
    let (p, mut buf) = (pattern(3000), vec![0; 2000]);
    for _ in 0..20 {
        let e = opcode::Write::new(Fd(c.fd()), p.as_ptr(), p.len() as u32).build();
        ring.moves(&c, Dir::Tx, &e, PLAIN)?;
        let out = libc::iovec { iov_base: p.as_ptr().cast_mut().cast(), iov_len: 1000 };
        let e = opcode::Writev::new(Fd(c.fd()), &raw const out, 1).build();
        ring.moves(&c, Dir::Tx, &e, PLAIN)?;
        let mut got = 0;
        while got < 4000 {
            let e = opcode::Read::new(Fd(s.fd()), buf.as_mut_ptr(), 2000).build();
            got += ring.moves(&s, Dir::Rx, &e, PLAIN)?;
            if got == 4000 {
                break;
            }
            let back = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: 500 };
            let e = opcode::Readv::new(Fd(s.fd()), &raw const back, 1).build();
            got += ring.moves(&s, Dir::Rx, &e, PLAIN)?;
        }
    }
    Ok(())
}

/// A message header over one buffer and an address.
fn header(iov: &mut libc::iovec, name: &mut RawAddr) -> libc::msghdr {
    // SAFETY: msghdr is plain data.
    let mut msg: libc::msghdr = unsafe { mem::zeroed() };
    msg.msg_iov = iov;
    msg.msg_iovlen = 1;
    msg.msg_name = name.mut_ptr().cast();
    msg.msg_namelen = name.len;
    msg
}

fn uring_udp_peers() -> Result<()> {
    let mut ring = Ring::new()?;
    let mut round = |fam: Fam, n: usize| -> Result<()> {
        let (a, b) = (Sock::udp_bound(fam)?, Sock::udp_bound(fam)?);
        let (p, mut buf) = (pattern(n), vec![0; 2000]);
        let mut to = RawAddr::from(b.local()?);
        let mut iov = libc::iovec { iov_base: p.as_ptr().cast_mut().cast(), iov_len: n };
        let msg = header(&mut iov, &mut to);
        let e = opcode::SendMsg::new(Fd(a.fd()), &raw const msg).build();
        ring.moves(&a, Dir::Tx, &e, peer(Some(b.local()?)))?;
        let mut from = RawAddr::empty();
        let mut iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: 2000 };
        let mut msg = header(&mut iov, &mut from);
        let e = opcode::RecvMsg::new(Fd(b.fd()), &raw mut msg).build();
        let got = ring.run(&e)??;
        ensure!(from.get() == Some(a.local()?), "from someone else");
        b.note(Dir::Rx, got, peer(from.get()));
        Ok(())
    };
    for i in 1..=10 {
        round(V4, i * 100)?;
        round(V6, i * 90)?;
    }
    Ok(())
}

fn uring_udp_connected() -> Result<()> {
    let mut ring = Ring::new()?;
    let (a, b) = udp_pair(V4)?;
    let mut buf = vec![0; 2000];
    for i in 1..=20 {
        let p = pattern(i * 70);
        ring.moves(&a, Dir::Tx, &send(&a, &p, 0), PLAIN)?;
        ring.moves(&b, Dir::Rx, &recv(&b, &mut buf, 0), PLAIN)?;
    }
    Ok(())
}

fn uring_udp_unasked() -> Result<()> {
    let mut ring = Ring::new()?;
    let (a, b) = (Sock::udp_bound(V4)?, Sock::udp_bound(V4)?);
    let mut buf = vec![0; 2000];
    for i in 1..=10 {
        a.sendto(&pattern(i * 70), 0, b.local()?)?;
        ring.moves(&b, Dir::Rx, &recv(&b, &mut buf, 0), unasked(a.local()?))?;
    }
    Ok(())
}

fn uring_peek() -> Result<()> {
    let mut ring = Ring::new()?;
    let (c, s) = tcp_pair(V4)?;
    let (a, b) = udp_pair(V4)?;
    let mut buf = vec![0; 2000];
    for (from, to) in [(&c, &s), (&a, &b)] {
        for i in 1..=10 {
            from.send(&pattern(i * 100), 0)?;
            for _ in 0..3 {
                ring.run(&recv(to, &mut buf, libc::MSG_PEEK))??;
            }
            let e = recv(to, &mut buf[..50], libc::MSG_TRUNC);
            let n = ring.moves(to, Dir::Rx, &e, PLAIN)?;
            if n < i * 100 {
                to.recv_exact(i * 100 - n)?;
            }
        }
    }
    Ok(())
}

fn uring_recv_waits() -> Result<()> {
    let mut ring = Ring::new()?;
    let (c, s) = tcp_pair(V4)?;
    let mut buf = vec![0; 5000];
    for i in 1..=20 {
        ring.push(&recv(&s, &mut buf, 0))?;
        c.send_all(&pattern(i * 100))?;
        let n = ring.next()??.n;
        s.note(Dir::Rx, n, PLAIN);
        s.recv_exact(i * 100 - n)?;
    }
    Ok(())
}

fn uring_waitall() -> Result<()> {
    let mut ring = Ring::new()?;
    let (c, s) = tcp_pair(V4)?;
    let mut buf = vec![0; 5000];
    ring.push(&recv(&s, &mut buf, libc::MSG_WAITALL))?;
    for _ in 0..50 {
        c.send_all(&pattern(100))?;
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
    // Newer kernels gather the whole, each part a receive of its own.
    let n = ring.next()??.n;
    s.note(Dir::Rx, n, special(""));
    s.recv_exact(5000 - n)
}

fn uring_large_send() -> Result<()> {
    let mut ring = Ring::new()?;
    let (c, s) = tcp_pair(V4)?;
    let p = pattern(8 << 20);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| s.drain());
        let mut sent = 0;
        while sent < p.len() {
            let e = send(&c, &p[sent..], libc::MSG_WAITALL);
            sent += ring.moves(&c, Dir::Tx, &e, special(""))?;
        }
        c.shutdown(libc::SHUT_WR)?;
        ensure!(reader.join().expect("reader")? == sent, "not all came");
        Ok(())
    })
}

fn uring_splice() -> Result<()> {
    let mut ring = Ring::new()?;
    ring.require(opcode::Splice::CODE, "splice")?;
    let (c, s) = tcp_pair(V4)?;
    let (r, w) = sys::pipe()?;
    for i in 1..=10 {
        sys::write_all(w, &pattern(i * 300));
        let len = (i * 300) as u32;
        let e = opcode::Splice::new(Fd(r), -1, Fd(c.fd()), -1, len).build();
        let n = ring.moves(&c, Dir::Tx, &e, special("sendpage"))?;
        ensure!(n == i * 300, "{n} went out");
        s.wait_readable()?;
        let e = opcode::Splice::new(Fd(s.fd()), -1, Fd(w), -1, len).build();
        let n = ring.moves(&s, Dir::Rx, &e, special("splice_read"))?;
        let mut back = vec![0; n];
        sys::read(r, &mut back)?;
        s.recv_exact(i * 300 - n)?;
    }
    Ok(())
}

fn uring_connect_accept() -> Result<()> {
    let mut ring = Ring::new()?;
    let l = Sock::listener(V6)?;
    let c = Sock::tcp(V6)?;
    let none = std::ptr::null_mut();
    ring.push(&opcode::Accept::new(Fd(l.fd()), none, none.cast()).build())?;
    let to = RawAddr::from(l.local()?);
    ring.push(&opcode::Connect::new(Fd(c.fd()), to.ptr(), to.len).build())?;
    // Whichever completes first: the larger result is the accepted descriptor.
    let fd = ring.next()??.n.max(ring.next()??.n);
    let s = Sock::from_fd(fd as i32, c.proto());
    c.send_all(&pattern(5000))?;
    s.recv_exact(5000)?;
    s.send_all(&pattern(70))?;
    c.recv_exact(70)
}

fn uring_failures() -> Result<()> {
    let mut ring = Ring::new()?;
    let (c, s) = tcp_pair(V4)?;
    let mut buf = vec![0; 1000];
    let wait = libc::MSG_DONTWAIT;
    ensure!(ring.run(&recv(&s, &mut buf, wait))?.is_err(), "data from nowhere");
    ring.moves(&c, Dir::Tx, &send(&c, &pattern(100), 0), PLAIN)?;
    s.recv_exact(100)?;
    c.shutdown(libc::SHUT_WR)?;
    let p = pattern(900);
    ensure!(ring.run(&send(&c, &p, libc::MSG_NOSIGNAL))?.is_err(), "sent after shutdown");
    ensure!(ring.run(&recv(&s, &mut buf, 0))?? == 0, "data after the end");
    let lone = Sock::udp_bound(V4)?;
    ensure!(ring.run(&send(&lone, &p, 0))?.is_err(), "sent to nobody");
    Ok(())
}
