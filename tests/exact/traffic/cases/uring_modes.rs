//! io_uring in its other modes: worker threads, a polling thread, fixed files and buffers, zero
//! copy, multishot, bundles.

use anyhow::{Result, bail, ensure};
use io_uring::{IoUring, cqueue, opcode, squeue, types::Fd, types::Fixed};

use crate::cases::{OnMissing, absent};
use crate::ring::Ring;
use crate::sock::{Sock, V4, V6, tcp_pair, udp_pair};
use crate::sys::errno;
use crate::transfer::{pattern, peer, special};
use crate::truth::{Dir, How};

cases! {
    "IOSQE_ASYNC: worker threads move the data" => uring_async,
    "SQPOLL: a kernel thread moves the data" => uring_sqpoll,
    "registered files, the descriptors closed" => uring_fixed_files,
    "linked operations: recv, then send" => uring_linked,
    "send_zc on TCP" => uring_send_zc,
    "send_zc with registered buffers and an address, UDP" => uring_send_zc_udp,
    "sendmsg_zc" => uring_sendmsg_zc,
    "multishot recv: one submission, many receives" => uring_multishot,
    "recv into provided buffers" => uring_provided,
    "bundled recv: one receive over several buffers" => uring_bundle,
    "read and write with registered buffers" => uring_fixed_buffers,
    "single issuer with deferred task work" => uring_defer,
}

const PLAIN: How = How { peer: None, via: "", loose: false };

fn send(s: &Sock, buf: &[u8]) -> squeue::Entry {
    opcode::Send::new(Fd(s.fd()), buf.as_ptr(), buf.len() as u32).build()
}

fn recv(s: &Sock, buf: &mut [u8]) -> squeue::Entry {
    opcode::Recv::new(Fd(s.fd()), buf.as_mut_ptr(), buf.len() as u32).build()
}

/// Sends and receives over TCP and UDP with `flags` on every entry.
fn round_trips(ring: &mut Ring, flags: squeue::Flags) -> Result<()> {
    let mut buf = vec![0; 4096];
    let (c, s) = tcp_pair(V4)?;
    let (a, b) = udp_pair(V6)?;
    for (from, to) in [(&c, &s), (&a, &b)] {
        for i in 1..=20 {
            let p = pattern(i * 100);
            ring.moves(from, Dir::Tx, &send(from, &p).flags(flags), PLAIN)?;
            let mut got = 0;
            while got < p.len() {
                got += ring.moves(to, Dir::Rx, &recv(to, &mut buf).flags(flags), PLAIN)?;
            }
        }
    }
    Ok(())
}

fn uring_async() -> Result<()> {
    round_trips(&mut Ring::new()?, squeue::Flags::ASYNC)
}

fn uring_sqpoll() -> Result<()> {
    let mut ring = Ring::from(IoUring::builder().setup_sqpoll(50))?;
    round_trips(&mut ring, squeue::Flags::empty())
}

fn uring_defer() -> Result<()> {
    let mut ring = Ring::from(IoUring::builder().setup_single_issuer().setup_defer_taskrun())?;
    round_trips(&mut ring, squeue::Flags::empty())
}

fn uring_fixed_files() -> Result<()> {
    let mut ring = Ring::new()?;
    let (c, s) = tcp_pair(V4)?;
    let far = c.dup()?;
    ring.io.submitter().register_files(&[far.fd(), s.fd()]).map_err(absent("register files"))?;
    drop(far);
    let (p, mut buf) = (pattern(4000), vec![0; 5000]);
    for _ in 0..10 {
        let e = opcode::Send::new(Fixed(0), p.as_ptr(), 4000).build();
        ring.moves(&c, Dir::Tx, &e, PLAIN)?;
        let mut got = 0;
        while got < 4000 {
            let e = opcode::Recv::new(Fixed(1), buf.as_mut_ptr(), 5000).build();
            got += ring.moves(&s, Dir::Rx, &e, PLAIN)?;
        }
    }
    Ok(())
}

fn uring_linked() -> Result<()> {
    let mut ring = Ring::new()?;
    let (c, s) = tcp_pair(V4)?;
    let mut buf = vec![0; 300];
    for _ in 0..10 {
        let p = pattern(300);
        let e = recv(&s, &mut buf).flags(squeue::Flags::IO_LINK).user_data(1);
        let answer = send(&s, &p).user_data(2);
        // SAFETY: both buffers live until both completions are taken below.
        unsafe {
            ring.io.submission().push(&e).ok();
            ring.io.submission().push(&answer).ok();
        }
        ring.io.submit()?;
        c.send_all(&p)?;
        for _ in 0..2 {
            let d = ring.next()??;
            s.note(if d.user == 1 { Dir::Rx } else { Dir::Tx }, d.n, PLAIN);
        }
        c.recv_exact(300)?;
    }
    Ok(())
}

/// Takes the completion of a zero-copy send and the notice that its buffer is free.
fn zc_done(ring: &mut Ring) -> Result<usize> {
    let first = ring.next()??;
    if cqueue::more(first.flags) {
        let second = ring.next()??;
        ensure!(cqueue::notif(second.flags), "no notice");
    }
    Ok(first.n)
}

fn uring_send_zc() -> Result<()> {
    let mut ring = Ring::new()?;
    ring.require(opcode::SendZc::CODE, "send_zc")?;
    let (c, s) = tcp_pair(V4)?;
    for i in 1..=10 {
        let p = pattern(i * 1500);
        ring.push(&opcode::SendZc::new(Fd(c.fd()), p.as_ptr(), p.len() as u32).build())?;
        let n = std::thread::scope(|scope| -> Result<usize> {
            let taken = scope.spawn(|| s.recv_exact(i * 1500));
            let n = zc_done(&mut ring)?;
            taken.join().expect("reader")?;
            Ok(n)
        })?;
        ensure!(n == i * 1500, "partial send");
        c.note(Dir::Tx, n, PLAIN);
    }
    Ok(())
}

fn uring_send_zc_udp() -> Result<()> {
    let mut ring = Ring::new()?;
    ring.require(opcode::SendZc::CODE, "send_zc")?;
    let (a, b) = (Sock::udp_bound(V4)?, Sock::udp_bound(V4)?);
    let p = pattern(8192);
    let iov = libc::iovec { iov_base: p.as_ptr().cast_mut().cast(), iov_len: p.len() };
    // SAFETY: the buffer outlives the ring's use of it: the ring is dropped at the end.
    unsafe { ring.io.submitter().register_buffers(&[iov]) }.map_err(absent("buffers"))?;
    let to = crate::addr::RawAddr::from(b.local()?);
    for i in 1..=10u32 {
        let e = opcode::SendZc::new(Fd(a.fd()), p.as_ptr(), i * 100)
            .buf_index(Some(0))
            .dest_addr(to.ptr())
            .dest_addr_len(to.len)
            .zc_flags(4)
            .build();
        ring.push(&e)?;
        // A datagram's pages are free only when it is taken.
        let first = ring.next()??;
        a.note(Dir::Tx, first.n, peer(Some(b.local()?)));
        b.recvfrom(&mut [0; 2000], 0)?;
        if cqueue::more(first.flags) {
            ring.next()??;
        }
    }
    Ok(())
}

fn uring_sendmsg_zc() -> Result<()> {
    let mut ring = Ring::new()?;
    ring.require(opcode::SendMsgZc::CODE, "sendmsg_zc")?;
    let (c, s) = tcp_pair(V6)?;
    let p = pattern(9000);
    let mut iov = libc::iovec { iov_base: p.as_ptr().cast_mut().cast(), iov_len: p.len() };
    // SAFETY: msghdr is plain data.
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    msg.msg_iov = &raw mut iov;
    msg.msg_iovlen = 1;
    ring.push(&opcode::SendMsgZc::new(Fd(c.fd()), &raw const msg).build())?;
    let first = ring.next()??;
    c.note(Dir::Tx, first.n, PLAIN);
    s.recv_exact(first.n)?;
    if cqueue::more(first.flags) {
        ring.next()??;
    }
    Ok(())
}

/// Gives the ring `count` buffers of `size` bytes in group 7.
fn provide(ring: &mut Ring, count: u16, size: i32) -> Result<Vec<u8>> {
    ring.require(opcode::ProvideBuffers::CODE, "provided buffers")?;
    let mut pool = vec![0u8; usize::from(count) * size as usize];
    let e = opcode::ProvideBuffers::new(pool.as_mut_ptr(), size, count, 7, 0).build();
    ring.run(&e)?.map_err(absent("provided buffers"))?;
    Ok(pool)
}

fn uring_multishot() -> Result<()> {
    let mut ring = Ring::new()?;
    let _pool = provide(&mut ring, 200, 512)?;
    let (c, s) = tcp_pair(V4)?;
    ring.push(&opcode::RecvMulti::new(Fd(s.fd()), 7).build())?;
    if let Some(Err(e)) = ring.try_next() {
        return Err(absent("multishot recv")(e));
    }
    let mut got = 0;
    for i in 1..=40 {
        c.send_all(&pattern(i * 30))?;
        while got < (1..=i).sum::<usize>() * 30 {
            let d = match ring.next()? {
                Ok(d) => d,
                Err(e) if errno(&e) == libc::EINVAL => return Err(absent("multishot recv")(e)),
                Err(e) => return Err(e.into()),
            };
            got += s.note(Dir::Rx, d.n, PLAIN);
            if !cqueue::more(d.flags) {
                bail!("multishot ended after {got} bytes");
            }
        }
    }
    Ok(())
}

fn uring_provided() -> Result<()> {
    let mut ring = Ring::new()?;
    let _pool = provide(&mut ring, 100, 1000)?;
    let (a, b) = udp_pair(V4)?;
    for i in 1..=20 {
        a.send(&pattern(i * 40), 0)?;
        let e = opcode::Recv::new(Fd(b.fd()), std::ptr::null_mut(), 1000)
            .buf_group(7)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        ring.moves(&b, Dir::Rx, &e, PLAIN)?;
    }
    Ok(())
}

fn uring_bundle() -> Result<()> {
    let mut ring = Ring::new()?;
    let _pool = provide(&mut ring, 100, 1000)?;
    let (c, s) = tcp_pair(V4)?;
    let mut left = 20_000;
    c.send_all(&pattern(left))?;
    s.wait_readable()?;
    let bundle = ring.run(&opcode::RecvBundle::new(Fd(s.fd()), 7).build())?;
    match bundle {
        Ok(n) => left -= s.note(Dir::Rx, n, special("")),
        Err(e) if errno(&e) == libc::EINVAL => {
            s.recv_exact(left)?;
            return Err(OnMissing(format!("bundled recv: {e}")).into());
        }
        Err(e) => return Err(e.into()),
    }
    s.recv_exact(left)
}

fn uring_fixed_buffers() -> Result<()> {
    let mut ring = Ring::new()?;
    let (c, s) = tcp_pair(V4)?;
    let mut p = pattern(8192);
    let iov = libc::iovec { iov_base: p.as_mut_ptr().cast(), iov_len: p.len() };
    // SAFETY: the buffer outlives the ring's use of it: the ring is dropped at the end.
    unsafe { ring.io.submitter().register_buffers(&[iov]) }.map_err(absent("buffers"))?;
    for i in 1..=10u32 {
        let e = opcode::WriteFixed::new(Fd(c.fd()), p.as_ptr(), i * 300, 0).build();
        ring.moves(&c, Dir::Tx, &e, PLAIN)?;
        let e = opcode::ReadFixed::new(Fd(s.fd()), p.as_mut_ptr(), 8192, 0).build();
        let n = ring.moves(&s, Dir::Rx, &e, PLAIN)?;
        s.recv_exact(i as usize * 300 - n)?;
    }
    Ok(())
}
