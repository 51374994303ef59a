//! Many threads: blocked at once, sharing sockets, with names of their own.

use std::thread;

use anyhow::{Result, ensure};

use crate::proc;
use crate::sock::{Sock, V4, V6, tcp_pair, udp_pair};
use crate::sys::{self, cvt};
use crate::transfer::pattern;

cases! {
    "300 threads blocked in recv at once, then served" => threads_blocked_recv,
    "300 threads blocked in recvfrom on UDP" => threads_blocked_udp,
    "many threads blocked in send on full buffers" => threads_blocked_send,
    "many threads read from one socket" => threads_one_reader_socket,
    "the thread that moves data did not make the socket" => thread_not_creator,
    "a thread with a name of its own: comm is the leader's" => thread_renamed,
    "the leader is gone, other threads go on" => thread_leader_gone,
    "a blocked recv in one thread, sends in another on the same socket" => threads_full_duplex,
    "a descriptor closed while another thread is blocked in recv on it" => thread_close_blocked,
    "threads that come and go, one transfer each" => threads_short_lived,
}

/// Long enough for blocked threads to be really blocked; the result does not depend on it.
fn settle() {
    sys::pause(50);
}

fn threads_blocked_recv() -> Result<()> {
    let n = sys::scaled(300);
    let pairs = (0..n).map(|_| tcp_pair(V4)).collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let readers: Vec<_> = pairs
            .iter()
            .enumerate()
            .map(|(i, (_, s))| {
                scope.spawn(move || (0..5).try_for_each(|_| s.recv_exact(100 + i)))
            })
            .collect();
        settle();
        for _ in 0..5 {
            for (i, (c, _)) in pairs.iter().enumerate() {
                c.send_all(&pattern(100 + i))?;
            }
        }
        readers.into_iter().try_for_each(|r| r.join().expect("reader"))
    })
}

fn threads_blocked_udp() -> Result<()> {
    let n = sys::scaled(300);
    let pairs = (0..n).map(|_| udp_pair(V4)).collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let readers: Vec<_> = pairs
            .iter()
            .map(|(_, b)| scope.spawn(move || b.recvfrom(&mut [0; 1000], 0)))
            .collect();
        settle();
        for (i, (a, _)) in pairs.iter().enumerate() {
            a.send(&pattern(1 + i), 0)?;
        }
        readers.into_iter().try_for_each(|r| {
            r.join().expect("reader")?;
            Ok(())
        })
    })
}

fn threads_blocked_send() -> Result<()> {
    let l = Sock::listener(V4)?;
    l.set(libc::SOL_SOCKET, libc::SO_RCVBUF, 8192)?;
    let to = l.local()?;
    let connect = || -> Result<_> {
        let c = Sock::tcp(V4)?;
        c.set(libc::SOL_SOCKET, libc::SO_SNDBUF, 8192)?;
        c.connect(to)?;
        Ok((c, l.accept()?))
    };
    let pairs = (0..sys::scaled(50)).map(|_| connect()).collect::<Result<Vec<_>>>()?;
    let buf = pattern(60_000);
    thread::scope(|scope| {
        let writers: Vec<_> = pairs
            .iter()
            .map(|(c, _)| {
                let buf = &buf;
                scope.spawn(move || -> Result<()> {
                    let n = c.send(buf, 0)?;
                    ensure!(n == buf.len(), "partial send");
                    c.shutdown(libc::SHUT_WR)
                })
            })
            .collect();
        settle();
        for (_, s) in &pairs {
            s.drain()?;
        }
        writers.into_iter().try_for_each(|w| w.join().expect("writer"))
    })
}

fn threads_one_reader_socket() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(|| s.drain())).collect();
        let writers: Vec<_> = (0..4)
            .map(|i| scope.spawn({
                let c = &c;
                move || (0..50).try_for_each(|n| c.send_all(&pattern(100 * i + n + 1)))
            }))
            .collect();
        writers.into_iter().try_for_each(|w| w.join().expect("writer"))?;
        c.shutdown(libc::SHUT_WR)?;
        let mut got = 0;
        for r in readers {
            got += r.join().expect("reader")?;
        }
        let sent: usize = (0..4).flat_map(|i| (0..50).map(move |n| 100 * i + n + 1)).sum();
        ensure!(got == sent, "{got} of {sent}");
        Ok(())
    })
}

fn thread_not_creator() -> Result<()> {
    let (c, s) = thread::spawn(|| tcp_pair(V6)).join().expect("creator")?;
    thread::spawn(move || c.send_all(&pattern(20_000)).map(|()| c)).join().expect("writer")?;
    s.recv_exact(20_000)
}

fn thread_renamed() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            sys::set_comm("a-thread");
            c.send_all(&pattern(5000))
        });
        writer.join().expect("writer")?;
        let reader = scope.spawn(|| {
            sys::set_comm("b-thread");
            s.recv_exact(5000)
        });
        reader.join().expect("reader")
    })
}

fn thread_leader_gone() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let child = proc::spawn(move || {
        thread::spawn(move || {
            settle();
            let done = s.recv_exact(4000).and_then(|()| s.send_all(&pattern(300)));
            proc::leave(crate::cases::report(done));
        });
        // SAFETY: ends this thread alone; its stack stays mapped and nothing is shared with it.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
        unreachable!("the leader came back");
    })?;
    c.send_all(&pattern(4000))?;
    c.recv_exact(300)?;
    child.join()
}

fn threads_full_duplex() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    thread::scope(|scope| {
        let reader = scope.spawn(|| c.drain());
        settle();
        for i in 1..=50 {
            c.send_all(&pattern(i * 11))?;
            s.recv_exact(i * 11)?;
        }
        s.send_all(&pattern(333))?;
        s.shutdown(libc::SHUT_WR)?;
        ensure!(reader.join().expect("reader")? == 333, "not all came");
        Ok(())
    })
}

fn thread_close_blocked() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let other = s.dup()?;
    thread::scope(|scope| {
        let s = &s;
        let reader = scope.spawn(move || s.recv_exact(2000));
        settle();
        // The descriptor goes, the call in progress keeps the socket.
        // SAFETY: dup2 over a descriptor this case owns, so that its number stays taken.
        cvt(unsafe { libc::dup2(other.fd(), s.fd()) })?;
        c.send_all(&pattern(2000))?;
        reader.join().expect("reader")
    })
}

fn threads_short_lived() -> Result<()> {
    let l = Sock::listener(V4)?;
    let to = l.local()?;
    for i in 1..=sys::scaled(100) {
        thread::scope(|scope| {
            let client = scope.spawn(move || -> Result<()> {
                let c = Sock::tcp(V4)?;
                c.connect(to)?;
                c.send_all(&pattern(i * 5))
            });
            let s = l.accept()?;
            s.recv_exact(i * 5)?;
            client.join().expect("client")
        })?;
    }
    Ok(())
}
