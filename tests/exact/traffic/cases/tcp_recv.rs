//! Receives whose return value is not simply what was asked for, and those that take nothing.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::{Result, ensure};

use crate::cases::absent;
use crate::sock::{Sock, V4, V6, tcp_pair};
use crate::sys::{self, cvt, errno};
use crate::transfer::pattern;
use crate::truth;

cases! {
    "MSG_PEEK in a loop before every read: seen many times, taken once" => tcp_peek,
    "SO_PEEK_OFF: peeks that walk through the queue" => tcp_peek_off,
    "MSG_WAITALL against a sender that dribbles: one call, many wake-ups" => tcp_waitall_dribble,
    "MSG_WAITALL cut short by SO_RCVTIMEO and by the end of the stream" => tcp_waitall_short,
    "SO_RCVLOWAT against a sender that dribbles" => tcp_rcvlowat,
    "MSG_TRUNC: bytes thrown away by the kernel are received all the same" => tcp_trunc,
    "MSG_OOB: the urgent byte is skipped by recv and taken on its own" => tcp_oob,
    "SO_OOBINLINE: the urgent byte in its place" => tcp_oob_inline,
    "MSG_ERRQUEUE with transmit timestamps: recv returns what was sent" => tcp_errqueue,
    "a signal ends a MSG_WAITALL recv with part of the data" => tcp_signal_partial_recv,
    "a signal ends a blocked send with part of the data" => tcp_signal_partial_send,
    "TCP_QUICKACK and FIONREAD between reads: they take nothing" => tcp_quickack,
    "TCP_INQ and SO_TIMESTAMP control messages" => tcp_control_messages,
    "a receive into memory that faults" => tcp_fault_recv,
    "a send from memory that faults, at once and half-way" => tcp_fault_send,
    "sends that fail: EPIPE, ENOTCONN, EBADF" => tcp_failed_sends,
    "receives that fail: ENOTCONN, EAGAIN, timeouts" => tcp_failed_recvs,
}

fn tcp_peek() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let mut buf = [0; 4096];
    for i in 1..=50 {
        c.send_all(&pattern(i * 40))?;
        for _ in 0..3 {
            s.recv(&mut buf, libc::MSG_PEEK)?;
        }
        s.recv(&mut buf, libc::MSG_PEEK | libc::MSG_WAITALL | libc::MSG_DONTWAIT)?;
        s.recv_exact(i * 40)?;
    }
    Ok(())
}

fn tcp_peek_off() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    s.try_set(libc::SOL_SOCKET, libc::SO_PEEK_OFF, 0i32).map_err(absent("SO_PEEK_OFF on TCP"))?;
    c.send_all(&pattern(3000))?;
    s.wait_readable()?;
    let mut buf = [0; 1000];
    for _ in 0..3 {
        ensure!(s.recv(&mut buf, libc::MSG_PEEK)? == 1000, "peek");
    }
    s.recv_exact(3000)
}

fn tcp_waitall_dribble() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    std::thread::scope(|scope| {
        scope.spawn(|| -> Result<()> {
            for _ in 0..100 {
                c.send_all(&pattern(100))?;
                std::thread::sleep(std::time::Duration::from_micros(500));
            }
            Ok(())
        });
        let mut buf = [0; 10_000];
        ensure!(s.recv(&mut buf, libc::MSG_WAITALL)? == 10_000, "short MSG_WAITALL");
        Ok(())
    })
}

fn tcp_waitall_short() -> Result<()> {
    let (c, s) = tcp_pair(V6)?;
    let mut buf = [0; 10_000];
    s.recv_timeout(50)?;
    c.send_all(&pattern(300))?;
    s.wait_readable()?;
    ensure!(s.recv(&mut buf, libc::MSG_WAITALL)? == 300, "timeout");
    c.send_all(&pattern(500))?;
    s.wait_readable()?;
    drop(c);
    ensure!(s.recv(&mut buf, libc::MSG_WAITALL)? == 500, "end of stream");
    Ok(())
}

fn tcp_rcvlowat() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    s.set(libc::SOL_SOCKET, libc::SO_RCVLOWAT, 2000)?;
    std::thread::scope(|scope| {
        scope.spawn(|| -> Result<()> {
            for _ in 0..100 {
                c.send_all(&pattern(123))?;
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
            c.shutdown(libc::SHUT_WR)
        });
        s.drain().map(|_| ())
    })
}

fn tcp_trunc() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(9000))?;
    let mut buf = [0; 4000];
    ensure!(s.recv(&mut buf, libc::MSG_TRUNC | libc::MSG_WAITALL)? == 4000, "discard");
    // The pointer is not even looked at.
    let n = s.recv_raw(std::ptr::null_mut(), 3000, libc::MSG_TRUNC | libc::MSG_WAITALL)?;
    ensure!(n == 3000, "discard without a buffer");
    s.recv_exact(2000)
}

fn tcp_oob() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let mut buf = [0; 100];
    for _ in 0..10 {
        c.send_all(&pattern(50))?;
        c.send(b"xyz", libc::MSG_OOB)?;
        c.send_all(&pattern(20))?;
        ensure!(sys::poll(s.fd(), libc::POLLPRI, 5000)?, "no urgent data");
        ensure!(s.recv(&mut buf, libc::MSG_OOB | libc::MSG_PEEK)? == 1, "urgent peek");
        ensure!(s.recv(&mut buf, libc::MSG_OOB)? == 1, "urgent byte");
        s.recv_exact(72)?;
    }
    Ok(())
}

fn tcp_oob_inline() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    s.set(libc::SOL_SOCKET, libc::SO_OOBINLINE, 1)?;
    c.send_all(&pattern(50))?;
    c.send(b"xyz", libc::MSG_OOB)?;
    c.send_all(&pattern(20))?;
    s.recv_exact(73)
}

fn tcp_errqueue() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let flags = libc::SOF_TIMESTAMPING_TX_SOFTWARE
        | libc::SOF_TIMESTAMPING_SOFTWARE
        | libc::SOF_TIMESTAMPING_TX_SCHED
        | libc::SOF_TIMESTAMPING_TX_ACK;
    c.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags as i32)?;
    let mut looped = 0;
    let mut buf = [0; 3000];
    for _ in 0..20 {
        c.send_all(&pattern(1500))?;
        s.recv_exact(1500)?;
        while c.recvmsg(&mut [&mut buf], libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT).is_ok() {
            looped += 1;
        }
    }
    ensure!(looped > 0, "no timestamp ever came back");
    Ok(())
}

static RUNG: AtomicBool = AtomicBool::new(false);

extern "C" fn ring(_: i32) {
    RUNG.store(true, Relaxed);
}

/// Does `work` while another thread sends this one a signal again and again; calls that it
/// interrupts are not restarted.
fn interrupted<T>(work: impl FnOnce() -> T) -> Result<T> {
    // SAFETY: sigaction is plain data; all zeroes means no flags, empty mask.
    let mut act: libc::sigaction = unsafe { std::mem::zeroed() };
    act.sa_sigaction = ring as extern "C" fn(i32) as usize;
    // SAFETY: the handler only stores to an atomic.
    cvt(unsafe { libc::sigaction(libc::SIGUSR1, &raw const act, std::ptr::null_mut()) })?;
    // SAFETY: no preconditions.
    let me = unsafe { libc::pthread_self() };
    let done = AtomicBool::new(false);
    Ok(std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                sys::pause(40);
                // SAFETY: the thread waits for this one in its scope, so it is alive.
                unsafe { libc::pthread_kill(me, libc::SIGUSR1) };
            }
        });
        let result = work();
        done.store(true, Relaxed);
        result
    }))
}

fn tcp_signal_partial_recv() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let mut buf = [0; 5000];
    c.send_all(&pattern(1234))?;
    s.wait_readable()?;
    let n = interrupted(|| s.recv(&mut buf, libc::MSG_WAITALL))??;
    ensure!(n == 1234, "{n} of 1234");
    ensure!(RUNG.load(Relaxed), "no signal");
    let nothing = interrupted(|| s.recv(&mut buf, 0))?;
    ensure!(nothing.is_err_and(|e| e.kind() == ErrorKind::Interrupted), "data from nowhere");
    Ok(())
}

fn tcp_signal_partial_send() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let all = pattern(8 << 20);
    let sent = interrupted(|| c.send(&all, 0))??;
    ensure!(sent < all.len(), "the send was never held up");
    c.shutdown(libc::SHUT_WR)?;
    s.drain()?;
    Ok(())
}

fn tcp_quickack() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let mut waiting = 0;
    for i in 1..=50 {
        c.send_all(&pattern(i * 10))?;
        s.wait_readable()?;
        s.set(libc::IPPROTO_TCP, libc::TCP_QUICKACK, i as i32 % 2)?;
        // SAFETY: FIONREAD writes a live integer.
        cvt(unsafe { libc::ioctl(s.fd(), libc::FIONREAD, &raw mut waiting) })?;
        s.recv_exact(i * 10)?;
        s.set(libc::IPPROTO_TCP, libc::TCP_QUICKACK, 1)?;
    }
    Ok(())
}

fn tcp_control_messages() -> Result<()> {
    const TCP_INQ: i32 = 36;
    let (c, s) = tcp_pair(V4)?;
    s.set(libc::IPPROTO_TCP, TCP_INQ, 1)?;
    s.set(libc::SOL_SOCKET, libc::SO_TIMESTAMP, 1)?;
    c.send_all(&pattern(2500))?;
    s.wait_readable()?;
    let (mut got, mut buf) = (0, [0; 1000]);
    while got < 2500 {
        let r = s.recvmsg(&mut [&mut buf], 0)?;
        ensure!(!r.control.is_empty(), "no control message");
        got += r.n;
    }
    Ok(())
}

fn tcp_fault_recv() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let fault = |r: std::io::Result<usize>| r.is_err_and(|e| errno(&e) == libc::EFAULT);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| c.send_all(&pattern(400_000)));
        // What could be taken before the fault is returned, the rest stays in the queue.
        let map = sys::map_with_fault(200_704)?;
        let taken = s.recv_raw(map, 204_800, libc::MSG_WAITALL)?;
        ensure!(taken <= 200_704, "{taken} bytes beyond the fault");
        ensure!(fault(s.recv_raw(std::ptr::dangling_mut(), 100, 0)), "no fault");
        s.recv_exact(400_000 - taken)?;
        writer.join().expect("writer")
    })
}

fn tcp_fault_send() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let fault = |r: std::io::Result<usize>| r.is_err_and(|e| errno(&e) == libc::EFAULT);
    ensure!(fault(c.send_raw(std::ptr::dangling(), 100)), "no fault");
    let map = sys::map_with_fault(262_144)?;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| s.drain());
        // SAFETY: the address is inside the mapping; the send runs into its end after ten bytes.
        ensure!(fault(c.send_raw(unsafe { map.add(262_134) }, 4096)), "no fault");
        // What was taken before the fault is sent and returned.
        let mut sent = c.send_raw(map, 266_240)?;
        ensure!(sent <= 262_144, "{sent} bytes beyond the fault");
        sent += c.send_raw(map, 100)?;
        c.shutdown(libc::SHUT_WR)?;
        ensure!(reader.join().expect("reader")? == sent, "not what was sent");
        Ok(())
    })
}

fn tcp_failed_sends() -> Result<()> {
    let lone = Sock::tcp(V4)?;
    ensure!(lone.send(b"abc", 0).is_err_and(|e| errno(&e) == libc::EPIPE), "unconnected");
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(1000))?;
    c.shutdown(libc::SHUT_WR)?;
    for _ in 0..10 {
        ensure!(c.send(&pattern(1000), 0).is_err(), "sent after shutdown");
    }
    s.drain()?;
    let (c, s) = tcp_pair(V4)?;
    truth::lossy();
    drop(s);
    // The first may be taken before the reset comes back; then every send fails.
    for _ in 0..10 {
        let _ = c.send(&pattern(700), 0);
        sys::pause(1);
    }
    ensure!(c.send(b"x", 0).is_err(), "sent to a closed peer");
    ensure!(c.sendmsg(&[&pattern(10)], None, &[0; 3], 0).is_err(), "bad control message");
    Ok(())
}

fn tcp_failed_recvs() -> Result<()> {
    let mut buf = [0; 100];
    let lone = Sock::tcp(V4)?;
    ensure!(lone.recv(&mut buf, 0).is_err_and(|e| errno(&e) == libc::ENOTCONN), "unconnected");
    let (c, s) = tcp_pair(V4)?;
    s.recv_timeout(20)?;
    ensure!(s.recv(&mut buf, 0).is_err(), "data from nowhere");
    ensure!(s.recv(&mut buf, libc::MSG_OOB).is_err(), "urgent data from nowhere");
    ensure!(s.recv(&mut buf, libc::MSG_ERRQUEUE).is_err(), "an error from nowhere");
    c.send_all(b"0123456789")?;
    s.wait_readable()?;
    s.recv_exact(10)?;
    s.shutdown(libc::SHUT_RD)?;
    ensure!(s.recv(&mut buf, 0)? == 0, "data after shutdown");
    Ok(())
}
