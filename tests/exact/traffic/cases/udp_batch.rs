//! UDP calls that move several datagrams at once, or one datagram in several calls.

use anyhow::{Result, ensure};

use crate::cases::absent;
use crate::sock::{Fam, Sock, V4, V6, udp_pair};
use crate::transfer::{cmsg, pattern, peer};
use crate::truth::{Dir, How};

cases! {
    "sendmmsg to several peers, recvmmsg from several" => udp_mmsg_peers,
    "sendmmsg and recvmmsg on connected sockets" => udp_mmsg_connected,
    "sendmmsg that fails half-way" => udp_mmsg_partial,
    "UDP_SEGMENT: one send, many datagrams" => udp_gso,
    "UDP_SEGMENT as a control message to an unconnected peer, IPv6" => udp_gso_cmsg,
    "UDP_GRO: one receive, many datagrams" => udp_gro,
    "MSG_MORE: one datagram from many sends" => udp_msg_more,
    "UDP_CORK: one datagram, sent by setsockopt" => udp_cork,
    "a corked datagram whose later parts name no address" => udp_cork_unnamed,
    "a corked datagram that is given up" => udp_cork_dropped,
    "a corked datagram that goes on with sendto to someone else" => udp_cork_other_name,
}

/// Takes messages of these lengths, as many at once as there are.
fn recvmmsg_all(s: &Sock, lens: &[usize]) -> Result<()> {
    let mut got = Vec::new();
    while got.len() < lens.len() {
        got.extend(s.recvmmsg(16, 1000, libc::MSG_WAITFORONE)?);
    }
    ensure!(got == lens, "{got:?} instead of {lens:?}");
    Ok(())
}

fn udp_mmsg_peers() -> Result<()> {
    for fam in [V4, V6] {
        let hub = Sock::udp_bound(fam)?;
        let spokes = (0..5).map(|_| Sock::udp_bound(fam)).collect::<Result<Vec<_>>>()?;
        let parts: Vec<_> = (1..=5).map(|i| pattern(i * 100)).collect();
        let mut msgs = Vec::new();
        for (p, s) in parts.iter().zip(&spokes) {
            msgs.push((p.as_slice(), Some(s.local()?)));
        }
        ensure!(hub.sendmmsg(&msgs)? == 5, "not all went out");
        for s in &spokes {
            let (n, from) = s.recvfrom(&mut [0; 1000], 0)?;
            s.sendto(&pattern(n / 2), 0, from)?;
        }
        recvmmsg_all(&hub, &[50, 100, 150, 200, 250])?;
    }
    Ok(())
}

fn udp_mmsg_connected() -> Result<()> {
    let (a, b) = udp_pair(V4)?;
    let parts: Vec<_> = (1..=10).map(|i| pattern(i * 100)).collect();
    let msgs: Vec<_> = parts.iter().map(|p| (p.as_slice(), None)).collect();
    for _ in 0..5 {
        ensure!(a.sendmmsg(&msgs)? == 10, "not all went out");
        let lens: Vec<_> = parts.iter().map(Vec::len).collect();
        recvmmsg_all(&b, &lens)?;
    }
    Ok(())
}

fn udp_mmsg_partial() -> Result<()> {
    let (a, b) = udp_pair(V4)?;
    let (ok, huge) = (pattern(300), pattern(70_000));
    let sent = a.sendmmsg(&[(&ok, None), (&ok, None), (&huge, None), (&ok, None)])?;
    ensure!(sent == 2, "{sent} went out");
    recvmmsg_all(&b, &[300, 300])
}

const UDP_SEGMENT: i32 = 103;
const UDP_GRO: i32 = 104;

fn gso_pair(fam: Fam) -> Result<(Sock, Sock)> {
    let (a, b) = udp_pair(fam)?;
    a.try_set(libc::SOL_UDP, UDP_SEGMENT, 1000i32).map_err(absent("UDP_SEGMENT"))?;
    Ok((a, b))
}

fn udp_gso() -> Result<()> {
    let (a, b) = gso_pair(V4)?;
    for _ in 0..5 {
        ensure!(a.send(&pattern(20_500), 0)? == 20_500, "partial send");
        a.more_packets(Dir::Tx, None, 20);
        for i in 0..21 {
            let n = b.recv(&mut [0; 2000], 0)?;
            ensure!(n == if i < 20 { 1000 } else { 500 }, "segment {i}: {n}");
        }
    }
    Ok(())
}

fn udp_gso_cmsg() -> Result<()> {
    let (a, b) = (Sock::udp(V6)?, Sock::udp_bound(V6)?);
    let control = cmsg(libc::SOL_UDP, UDP_SEGMENT, 700u16);
    let p = pattern(7000);
    a.sendmsg(&[&p], Some(b.local()?), &control, 0).map_err(absent("UDP_SEGMENT message"))?;
    a.more_packets(Dir::Tx, Some(b.local()?), 9);
    for _ in 0..10 {
        ensure!(b.recvfrom(&mut [0; 2000], 0)?.0 == 700, "segment");
    }
    Ok(())
}

fn udp_gro() -> Result<()> {
    let (a, b) = gso_pair(V4)?;
    b.try_set(libc::SOL_UDP, UDP_GRO, 1i32).map_err(absent("UDP_GRO"))?;
    let mut buf = vec![0; 65_536];
    for _ in 0..5 {
        a.send(&pattern(15_300), 0)?;
        a.more_packets(Dir::Tx, None, 15);
        let mut got = 0;
        while got < 15_300 {
            let n = b.recvmsg(&mut [&mut buf], 0)?.n;
            b.more_packets(Dir::Rx, None, n.div_ceil(1000) as i64 - 1);
            got += n;
        }
    }
    Ok(())
}

fn udp_msg_more() -> Result<()> {
    for fam in [V4, V6] {
        let (a, b) = udp_pair(fam)?;
        for i in 0..30 {
            a.send(&pattern(100), if i % 3 == 2 { 0 } else { libc::MSG_MORE })?;
        }
        a.more_packets(Dir::Tx, None, -20);
        for _ in 0..10 {
            ensure!(b.recv(&mut [0; 1000], 0)? == 300, "length");
        }
    }
    Ok(())
}

const UDP_CORK: i32 = 1;

fn udp_cork() -> Result<()> {
    for fam in [V4, V6] {
        let (a, b) = udp_pair(fam)?;
        for _ in 0..5 {
            a.set(libc::SOL_UDP, UDP_CORK, 1)?;
            for _ in 0..4 {
                a.send(&pattern(123), 0)?;
            }
            a.set(libc::SOL_UDP, UDP_CORK, 0)?;
            a.more_packets(Dir::Tx, None, -3);
            ensure!(b.recv(&mut [0; 1000], 0)? == 492, "length");
        }
    }
    Ok(())
}

fn udp_cork_unnamed() -> Result<()> {
    for fam in [V4, V6] {
        let (a, b) = (Sock::udp_bound(fam)?, Sock::udp_bound(fam)?);
        a.sendto(&pattern(100), libc::MSG_MORE, b.local()?)?;
        // The kernel remembers where the datagram goes; the call does not say.
        let p = pattern(250);
        // SAFETY: the pointer and length describe a live slice.
        let n = unsafe { libc::send(a.fd(), p.as_ptr().cast(), p.len(), 0) };
        let n = crate::sys::cvt(n)?;
        a.note(Dir::Tx, n, How { via: "udp_cork_peer", ..peer(Some(b.local()?)) });
        a.more_packets(Dir::Tx, Some(b.local()?), -1);
        ensure!(b.recvfrom(&mut [0; 1000], 0)?.0 == 350, "length");
    }
    Ok(())
}

fn udp_cork_dropped() -> Result<()> {
    crate::truth::lossy();
    let (a, b) = udp_pair(V4)?;
    a.send(&pattern(400), libc::MSG_MORE)?;
    // Too long for one datagram: the whole of it is thrown away.
    ensure!(a.send(&pattern(65_400), libc::MSG_MORE).is_err(), "an endless datagram");
    a.send(&pattern(70), 0)?;
    let n = b.recv(&mut [0; 1000], 0)?;
    ensure!(n == 70 || n == 470, "{n} bytes");
    a.send(&pattern(90), libc::MSG_MORE)?;
    drop(a);
    Ok(())
}

fn udp_cork_other_name() -> Result<()> {
    let (a, b, c) = (Sock::udp_bound(V4)?, Sock::udp_bound(V4)?, Sock::udp_bound(V4)?);
    a.sendto(&pattern(100), libc::MSG_MORE, b.local()?)?;
    // All of it goes to the first address; what the second says is not looked at.
    let p = pattern(200);
    let raw = crate::addr::RawAddr::from(c.local()?);
    // SAFETY: buffer and address live across the call, lengths are right.
    let n = unsafe { libc::sendto(a.fd(), p.as_ptr().cast(), p.len(), 0, raw.ptr(), raw.len) };
    let n = crate::sys::cvt(n)?;
    a.note(Dir::Tx, n, How { via: "udp_cork_peer", ..peer(Some(b.local()?)) });
    a.more_packets(Dir::Tx, Some(b.local()?), -1);
    ensure!(b.recvfrom(&mut [0; 1000], 0)?.0 == 300, "length");
    ensure!(c.recvfrom(&mut [0; 1000], libc::MSG_DONTWAIT).is_err(), "sent to the second");
    Ok(())
}
