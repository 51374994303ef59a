//! UDP datagrams: connected sockets, sizes, flags, and what recv does to a datagram.

use std::io::ErrorKind;

use anyhow::{Result, ensure};

use crate::cases::absent;
use crate::sock::{Fam, Mapped, Sock, V4, V6, udp_pair};
use crate::sys::errno;
use crate::transfer::pattern;
use crate::truth;

cases! {
    "connected both ways over IPv4" => udp_connected_v4,
    "connected both ways over IPv6" => udp_connected_v6,
    "connected, IPv6 sockets with v4-mapped addresses: counted once, as IPv4" => udp_connected_mapped,
    "read and write" => udp_read_write,
    "readv, writev, sendmsg and recvmsg" => udp_vectors,
    "a datagram larger than the buffer: only what was taken counts" => udp_truncated,
    "the same with MSG_TRUNC: recv returns the full length" => udp_msg_trunc,
    "datagrams of length zero" => udp_zero_length,
    "MSG_PEEK, also of part of a datagram" => udp_peek,
    "SO_PEEK_OFF" => udp_peek_off,
    "the largest datagram, fragmented or not" => udp_largest,
    "sends that fail: EMSGSIZE, EDESTADDRREQ, EACCES, EINVAL, EFAULT" => udp_failed_sends,
    "receives that fail: EAGAIN, timeout, EFAULT after the datagram is taken" => udp_failed_recvs,
    "ECONNREFUSED, then the peer appears" => udp_refused,
    "MSG_ERRQUEUE: timestamps that carry the sent data, IP_RECVERR" => udp_errqueue,
    "a receive buffer that overflows: dropped datagrams were sent all the same" => udp_dropped,
    "a socket connected to itself" => udp_self,
    "many sizes" => udp_sizes,
}

fn over(fam: Fam) -> Result<()> {
    let (a, b) = udp_pair(fam)?;
    let mut buf = vec![0; 65_536];
    for i in 1..=50 {
        a.send(&pattern(i * 30), 0)?;
        b.recv(&mut buf, 0)?;
        b.send(&pattern(i * 7), 0)?;
        a.recvfrom(&mut buf, 0)?;
    }
    Ok(())
}

fn udp_connected_v4() -> Result<()> {
    over(V4)
}

fn udp_connected_v6() -> Result<()> {
    over(V6)
}

fn udp_connected_mapped() -> Result<()> {
    over(Mapped)
}

fn udp_read_write() -> Result<()> {
    let (a, b) = udp_pair(V4)?;
    let mut buf = [0; 2000];
    for i in 1..=50 {
        a.write(&pattern(i * 30))?;
        ensure!(b.read(&mut buf)? == i * 30, "length");
    }
    Ok(())
}

fn udp_vectors() -> Result<()> {
    let (a, b) = udp_pair(V6)?;
    let (mut x, mut y) = (vec![0; 100], vec![0; 4000]);
    for i in 1..=20 {
        let p = pattern(i * 11);
        a.writev(&[&p, &p])?;
        b.readv(&mut x, &mut y)?;
        a.sendmsg(&[&p, b"tail", &p], None, &[], 0)?;
        b.recvmsg(&mut [&mut x, &mut y], 0)?;
    }
    Ok(())
}

fn udp_truncated() -> Result<()> {
    truth::lossy();
    for fam in [V4, V6] {
        let (a, b) = udp_pair(fam)?;
        let mut buf = [0; 100];
        a.send(&pattern(1000), 0)?;
        ensure!(b.recv(&mut buf, 0)? == 100, "length");
        a.send(&pattern(1000), 0)?;
        let r = b.recvmsg(&mut [&mut buf], 0)?;
        ensure!(r.n == 100 && r.flags & libc::MSG_TRUNC != 0, "no truncation");
    }
    Ok(())
}

fn udp_msg_trunc() -> Result<()> {
    for fam in [V4, V6] {
        let (a, b) = udp_pair(fam)?;
        let mut buf = [0; 100];
        a.send(&pattern(1000), 0)?;
        ensure!(b.recv(&mut buf, libc::MSG_TRUNC)? == 1000, "length");
        a.send(&pattern(1000), 0)?;
        ensure!(b.recv(&mut buf, libc::MSG_TRUNC | libc::MSG_PEEK)? == 1000, "length");
        ensure!(b.recvfrom(&mut [], libc::MSG_TRUNC)?.0 == 1000, "length");
    }
    Ok(())
}

fn udp_zero_length() -> Result<()> {
    let (a, b) = udp_pair(V4)?;
    let mut buf = [0; 100];
    for _ in 0..5 {
        a.send(&[], 0)?;
        ensure!(b.recv(&mut buf, 0)? == 0, "length");
    }
    a.send(&pattern(10), 0)?;
    a.send(&[], 0)?;
    ensure!(b.recv(&mut buf, 0)? == 10, "length");
    ensure!(b.recvfrom(&mut buf, 0)?.0 == 0, "length");
    Ok(())
}

fn udp_peek() -> Result<()> {
    for fam in [V4, V6] {
        let (a, b) = udp_pair(fam)?;
        let mut buf = [0; 2000];
        for i in 1..=20 {
            a.send(&pattern(i * 50), 0)?;
            b.recv(&mut buf[..10], libc::MSG_PEEK)?;
            b.recv(&mut buf, libc::MSG_PEEK)?;
            b.recvfrom(&mut buf, libc::MSG_PEEK)?;
            ensure!(b.recv(&mut buf, 0)? == i * 50, "length");
        }
    }
    Ok(())
}

fn udp_peek_off() -> Result<()> {
    let (a, b) = udp_pair(V4)?;
    b.try_set(libc::SOL_SOCKET, libc::SO_PEEK_OFF, 0i32).map_err(absent("SO_PEEK_OFF"))?;
    let mut buf = [0; 300];
    a.send(&pattern(1000), 0)?;
    for _ in 0..3 {
        b.recv(&mut buf, libc::MSG_PEEK)?;
    }
    ensure!(b.recv(&mut [0; 2000], 0)? == 1000, "length");
    Ok(())
}

fn udp_largest() -> Result<()> {
    let mut buf = vec![0; 70_000];
    for (fam, max) in [(V4, 65_507), (V6, 65_527)] {
        let (a, b) = udp_pair(fam)?;
        let n = a.send(&pattern(max), 0)?;
        ensure!(b.recv(&mut buf, 0)? == n, "length");
    }
    Ok(())
}

fn udp_failed_sends() -> Result<()> {
    let (a, b) = udp_pair(V4)?;
    let fails = |r: std::io::Result<usize>, want: i32| -> Result<()> {
        match r {
            Err(e) if errno(&e) == want => Ok(()),
            other => anyhow::bail!("{other:?} instead of errno {want}"),
        }
    };
    fails(a.send(&pattern(65_508), 0), libc::EMSGSIZE)?;
    fails(a.send_raw(std::ptr::dangling(), 900), libc::EFAULT)?;
    let open = Sock::udp_bound(V4)?;
    fails(open.send(&pattern(100), 0), libc::EDESTADDRREQ)?;
    fails(open.sendto(&pattern(100), 0, "255.255.255.255:9".parse()?), libc::EACCES)?;
    fails(open.sendto(&pattern(100), 0, "127.0.0.1:0".parse()?), libc::EINVAL)?;
    fails(open.sendto(&pattern(100), libc::MSG_OOB, b.local()?), libc::EOPNOTSUPP)?;
    let v6 = Sock::udp_bound(V6)?;
    fails(v6.sendto(&pattern(70_000), 0, v6.local()?), libc::EMSGSIZE)?;
    a.send(&pattern(321), 0)?;
    b.recv(&mut [0; 1000], 0)?;
    Ok(())
}

fn udp_failed_recvs() -> Result<()> {
    truth::lossy();
    let (a, b) = udp_pair(V4)?;
    let mut buf = [0; 100];
    let r = b.recv(&mut buf, libc::MSG_DONTWAIT);
    ensure!(r.is_err_and(|e| e.kind() == ErrorKind::WouldBlock), "data from nowhere");
    b.recv_timeout(20)?;
    ensure!(b.recv(&mut buf, 0).is_err(), "data from nowhere");
    a.send(&pattern(700), 0)?;
    b.wait_readable()?;
    let r = b.recv_raw(std::ptr::dangling_mut(), 700, 0);
    ensure!(r.is_err_and(|e| errno(&e) == libc::EFAULT), "no fault");
    // The kernel may have thrown the datagram away or kept it.
    let _ = b.recv(&mut [0; 1000], libc::MSG_DONTWAIT);
    a.send(&pattern(50), 0)?;
    b.wait_readable()?;
    ensure!(b.recv(&mut buf, 0)? == 50, "length");
    Ok(())
}

fn udp_refused() -> Result<()> {
    truth::lossy();
    let gone = Sock::udp_bound(V4)?;
    let to = gone.local()?;
    drop(gone);
    let a = Sock::udp_bound(V4)?;
    a.connect(to)?;
    a.send(&pattern(100), 0)?;
    let mut refused = 0;
    for _ in 0..10 {
        match a.send(&pattern(100), 0) {
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => refused += 1,
            other => drop(other?),
        }
    }
    ensure!(refused > 0, "never refused");
    let r = a.recv(&mut [0; 10], libc::MSG_DONTWAIT);
    ensure!(r.is_err(), "data from nowhere");
    let b = Sock::udp(V4)?;
    b.bind(to)?;
    b.connect(a.local()?)?;
    while a.send(&pattern(55), 0).is_err() {}
    // One of the refused ones may have been on its way until now.
    while b.recv(&mut [0; 200], 0)? != 55 {}
    Ok(())
}

fn udp_errqueue() -> Result<()> {
    truth::lossy();
    for fam in [V4, V6] {
        let (a, b) = udp_pair(fam)?;
        let flags = libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
        a.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags as i32)?;
        let (level, name) = match fam {
            V4 => (libc::IPPROTO_IP, libc::IP_RECVERR),
            _ => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        };
        a.set(level, name, 1)?;
        let (mut looped, mut buf) = (0, [0; 3000]);
        let mut take = || {
            while let Ok(r) = a.recvmsg(&mut [&mut buf], libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) {
                looped += r.n;
            }
        };
        for _ in 0..10 {
            a.send(&pattern(1200), 0)?;
            b.recv(&mut [0; 2000], 0)?;
            take();
        }
        // Refused datagrams come back in the queue, with their data.
        drop(b);
        for _ in 0..5 {
            let _ = a.send(&pattern(400), 0);
            take();
        }
        ensure!(looped > 0, "nothing in the error queue");
    }
    Ok(())
}

fn udp_dropped() -> Result<()> {
    truth::lossy();
    let (a, b) = udp_pair(V4)?;
    b.set(libc::SOL_SOCKET, libc::SO_RCVBUF, 4096)?;
    for _ in 0..100 {
        a.send(&pattern(1000), 0)?;
    }
    let mut got = 0;
    while b.recv(&mut [0; 2000], libc::MSG_DONTWAIT).is_ok() {
        got += 1;
    }
    ensure!(got > 0 && got < 100, "{got} of 100 arrived");
    Ok(())
}

fn udp_self() -> Result<()> {
    let s = Sock::udp_bound(V6)?;
    s.connect(s.local()?)?;
    for i in 1..=20 {
        s.send(&pattern(i * 10), 0)?;
        s.recv(&mut [0; 1000], 0)?;
    }
    Ok(())
}

fn udp_sizes() -> Result<()> {
    let (a, b) = udp_pair(V4)?;
    let mut buf = vec![0; 65_536];
    for n in [1, 2, 512, 1472, 1473, 4096, 16_383, 16_384, 32_768, 60_000] {
        a.send(&pattern(n), 0)?;
        ensure!(b.recv(&mut buf, 0)? == n, "length");
    }
    Ok(())
}
