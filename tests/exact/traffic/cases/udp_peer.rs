//! UDP sockets without a fixed peer: whose bytes are they, and where does the peer stand?

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use crate::sock::{Fam, Mapped, Sock, V4, V6, alias, udp_pair};
use crate::sys;
use crate::transfer::{pattern, unasked};
use crate::truth::{Dir, How};

cases! {
    "sendto and recvfrom with several peers on one IPv4 socket" => udp_peers_v4,
    "the same over IPv6" => udp_peers_v6,
    "the same with v4-mapped addresses" => udp_peers_mapped,
    "sockets bound to any: local is 0.0.0.0 or ::" => udp_peers_any,
    "one [::] socket with IPv4 and IPv6 peers" => udp_peers_dual_stack,
    "never bound: the first send chooses the port" => udp_autobind,
    "an AF_INET address given to an IPv6 socket" => udp_inet_address_on_v6,
    "receives without asking for the address: recv and read" => udp_recv_unasked,
    "the same on an IPv6 socket that hears both families" => udp_recv_unasked_v6,
    "recvmsg and recvmmsg without a name: the kernel asks for the address by itself" => udp_recv_unnamed,
    "sendto another address on a connected socket" => udp_sendto_other,
    "sendmsg with a name on a connected IPv6 socket, to an IPv4 peer" => udp_sendmsg_other_v6,
    "connect again: a second peer on the same socket" => udp_reconnect,
    "AF_UNSPEC: the peer is forgotten, the local address too" => udp_disconnect,
    "send to 0.0.0.0 and ::, which mean this host" => udp_send_to_any,
    "a thousand peers of one socket" => udp_many_peers,
    "a server that answers on the same socket, as DNS does" => udp_server,
    "a datagram queued before connect: received on a connected socket from someone else" => udp_queued_before_connect,
    "the same without asking for the address" => udp_queued_unasked,
}

fn peers(fam: Fam) -> Result<()> {
    let hub = Sock::udp_bound(fam)?;
    let spokes = (0..4).map(|_| Sock::udp_bound(fam)).collect::<Result<Vec<_>>>()?;
    let mut buf = [0; 4000];
    for round in 1..=5 {
        for (i, s) in spokes.iter().enumerate() {
            s.sendto(&pattern(100 * round + i), 0, hub.local()?)?;
            let (n, from) = hub.recvfrom(&mut buf, 0)?;
            ensure!(from == s.local()?, "{from} sent it");
            hub.sendto(&pattern(2 * n), 0, from)?;
            s.recvfrom(&mut buf, 0)?;
        }
    }
    Ok(())
}

fn udp_peers_v4() -> Result<()> {
    peers(V4)
}

fn udp_peers_v6() -> Result<()> {
    peers(V6)
}

fn udp_peers_mapped() -> Result<()> {
    peers(Mapped)
}

/// The loopback address with the port of a socket that is bound to any.
fn reach(fam: Fam, s: &Sock) -> Result<SocketAddr> {
    let mut to = fam.loopback();
    to.set_port(s.local()?.port());
    Ok(to)
}

fn udp_peers_any() -> Result<()> {
    let mut buf = [0; 1000];
    for fam in [V4, V6] {
        let (a, b) = (Sock::udp(fam)?, Sock::udp(fam)?);
        a.bind(fam.any())?;
        b.bind(fam.any())?;
        for i in 1..=10 {
            a.sendto(&pattern(i * 20), 0, reach(fam, &b)?)?;
            let (_, from) = b.recvfrom(&mut buf, 0)?;
            b.sendto(&pattern(i * 10), 0, from)?;
            a.recvmsg(&mut [&mut buf], 0)?;
        }
    }
    Ok(())
}

fn udp_peers_dual_stack() -> Result<()> {
    let hub = Sock::udp(V6)?;
    hub.set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    hub.bind(V6.any())?;
    let mut buf = [0; 1000];
    for fam in [V4, V6, Mapped] {
        let s = Sock::udp_bound(fam)?;
        for i in 1..=10 {
            s.sendto(&pattern(i * 20), 0, reach(fam, &hub)?)?;
            let (_, from) = hub.recvfrom(&mut buf, 0)?;
            hub.sendto(&pattern(i * 10), 0, from)?;
            s.recvfrom(&mut buf, 0)?;
        }
    }
    Ok(())
}

fn udp_autobind() -> Result<()> {
    let mut buf = [0; 1000];
    for fam in [V4, V6] {
        let (a, b) = (Sock::udp(fam)?, Sock::udp_bound(fam)?);
        a.sendto(&pattern(300), 0, b.local()?)?;
        let (_, from) = b.recvfrom(&mut buf, 0)?;
        b.sendto(&pattern(100), 0, from)?;
        a.recvfrom(&mut buf, 0)?;
        let c = Sock::udp(fam)?;
        c.connect(b.local()?)?;
        c.send(&pattern(40), 0)?;
        b.recvfrom(&mut buf, 0)?;
    }
    Ok(())
}

fn udp_inet_address_on_v6() -> Result<()> {
    let a = Sock::udp(V6)?;
    let b = Sock::udp_bound(V4)?;
    let mut buf = [0; 1000];
    a.sendto(&pattern(700), 0, b.local()?)?;
    let (_, from) = b.recvfrom(&mut buf, 0)?;
    b.sendto(&pattern(200), 0, from)?;
    a.recvfrom(&mut buf, 0)?;
    a.connect(b.local()?)?;
    a.send(&pattern(30), 0)?;
    b.recvfrom(&mut buf, 0)?;
    Ok(())
}

fn udp_recv_unasked() -> Result<()> {
    let hub = Sock::udp_bound(V4)?;
    let spokes = (0..3).map(|_| Sock::udp_bound(V4)).collect::<Result<Vec<_>>>()?;
    let mut buf = [0; 4000];
    for round in 1..=5 {
        for (i, s) in spokes.iter().enumerate() {
            let from = s.local()?;
            s.sendto(&pattern(100 * round + i), 0, hub.local()?)?;
            hub.recv_unasked(&mut buf, 0, from)?;
            s.sendto(&pattern(50), 0, hub.local()?)?;
            // SAFETY: the pointer and length describe a live, writable buffer.
            let n = unsafe { libc::read(hub.fd(), buf.as_mut_ptr().cast(), buf.len()) };
            hub.note(Dir::Rx, sys::cvt(n)?, unasked(from));
            s.sendto(&pattern(70), 0, hub.local()?)?;
            hub.recvfrom(&mut buf, 0)?;
        }
    }
    Ok(())
}

fn udp_recv_unnamed() -> Result<()> {
    for fam in [V4, V6] {
        let hub = Sock::udp_bound(fam)?;
        let spokes = [Sock::udp_bound(fam)?, Sock::udp_bound(fam)?];
        for i in 1..=5 {
            for s in &spokes {
                for many in [false, true] {
                    s.sendto(&pattern(i * 60), 0, hub.local()?)?;
                    hub.recvmsg_unnamed(&mut [0; 1000], many, s.local()?)?;
                }
            }
        }
    }
    Ok(())
}

fn udp_recv_unasked_v6() -> Result<()> {
    let hub = Sock::udp(V6)?;
    hub.set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    hub.bind(V6.any())?;
    let mut buf = [0; 1000];
    for fam in [V4, V6] {
        let s = Sock::udp_bound(fam)?;
        for i in 1..=10 {
            s.sendto(&pattern(i * 20), 0, reach(fam, &hub)?)?;
            hub.recv_unasked(&mut buf, 0, s.local()?)?;
        }
    }
    Ok(())
}

fn udp_sendto_other() -> Result<()> {
    let (a, b) = udp_pair(V4)?;
    let other = Sock::udp_bound(V4)?;
    let mut buf = [0; 1000];
    for i in 1..=10 {
        a.send(&pattern(i * 10), 0)?;
        b.recv(&mut buf, 0)?;
        a.sendto(&pattern(i * 33), 0, other.local()?)?;
        other.recvfrom(&mut buf, 0)?;
        // What the other answers is not for a connected socket.
        a.sendto(&pattern(i * 3), 0, b.local()?)?;
        b.recv(&mut buf, 0)?;
    }
    Ok(())
}

fn udp_sendmsg_other_v6() -> Result<()> {
    let (a, v4) = (Sock::udp(V6)?, Sock::udp_bound(V4)?);
    let b = Sock::udp_bound(V6)?;
    a.connect(b.local()?)?;
    let mut to = Mapped.loopback();
    to.set_port(v4.local()?.port());
    let mut buf = [0; 1000];
    a.send(&pattern(100), 0)?;
    b.recvfrom(&mut buf, 0)?;
    let (c, d) = (Sock::udp(V6)?, Sock::udp_bound(V6)?);
    c.sendmsg(&[&pattern(200)], Some(to), &[], 0)?;
    v4.recvfrom(&mut buf, 0)?;
    c.sendmsg(&[&pattern(300)], Some(d.local()?), &[], 0)?;
    d.recvfrom(&mut buf, 0)?;
    Ok(())
}

fn udp_reconnect() -> Result<()> {
    let a = Sock::udp_bound(V4)?;
    let mut buf = [0; 1000];
    for i in 1..=5 {
        let b = Sock::udp_bound(V4)?;
        b.connect(a.local()?)?;
        a.connect(b.local()?)?;
        a.send(&pattern(i * 100), 0)?;
        b.recv(&mut buf, 0)?;
        b.send(&pattern(i * 10), 0)?;
        a.recv(&mut buf, 0)?;
    }
    Ok(())
}

fn udp_disconnect() -> Result<()> {
    let mut buf = [0; 1000];
    for fam in [V4, V6] {
        let (a, b) = (Sock::udp(fam)?, Sock::udp_bound(fam)?);
        a.connect(b.local()?)?;
        a.send(&pattern(500), 0)?;
        b.recvfrom(&mut buf, 0)?;
        a.disconnect()?;
        ensure!(a.send(&pattern(1), 0).is_err(), "sent to nobody");
        a.sendto(&pattern(200), 0, b.local()?)?;
        let (_, from) = b.recvfrom(&mut buf, 0)?;
        b.sendto(&pattern(90), 0, from)?;
        a.recvfrom(&mut buf, 0)?;
    }
    Ok(())
}

fn udp_send_to_any() -> Result<()> {
    let mut buf = [0; 1000];
    for fam in [V4, V6] {
        let (a, b) = (Sock::udp_bound(fam)?, Sock::udp_bound(fam)?);
        let mut any = fam.any();
        any.set_port(b.local()?.port());
        a.sendto(&pattern(600), 0, any)?;
        let (_, from) = b.recvfrom(&mut buf, 0)?;
        ensure!(from == a.local()?, "{from} sent it");
    }
    Ok(())
}

fn udp_many_peers() -> Result<()> {
    let hub = Sock::udp_bound(V4)?;
    let mut buf = [0; 1000];
    for i in 0..sys::scaled(1000) {
        let s = Sock::udp(V4)?;
        s.bind(alias((i % 200) as u8 + 1))?;
        s.sendto(&pattern(1 + i % 400), 0, hub.local()?)?;
        let (n, from) = hub.recvfrom(&mut buf, 0)?;
        hub.sendto(&pattern(n / 2 + 1), 0, from)?;
        s.recvfrom(&mut buf, 0)?;
    }
    Ok(())
}

fn udp_server() -> Result<()> {
    let server = Sock::udp(V4)?;
    server.bind(V4.any())?;
    let to = reach(V4, &server)?;
    let rounds = sys::scaled(200);
    let child = crate::proc::spawn(|| {
        let mut buf = [0; 1000];
        for _ in 0..rounds {
            let (n, from) = server.recvfrom(&mut buf, 0)?;
            server.sendto(&pattern(n * 3), 0, from)?;
        }
        Ok(())
    })?;
    for i in 0..rounds {
        let s = Sock::udp(V4)?;
        s.connect(to)?;
        s.send(&pattern(20 + i % 50), 0)?;
        s.recv(&mut [0; 1000], 0)?;
    }
    child.join()
}

/// A datagram from `b` waits in `a` when `a` connects to `c`.
fn queued() -> Result<(Sock, Sock, Sock)> {
    let (a, b, c) = (Sock::udp_bound(V4)?, Sock::udp_bound(V4)?, Sock::udp_bound(V4)?);
    b.sendto(&pattern(400), 0, a.local()?)?;
    a.connect(c.local()?)?;
    Ok((a, b, c))
}

fn udp_queued_before_connect() -> Result<()> {
    let (a, b, _c) = queued()?;
    let (_, from) = a.recvfrom(&mut [0; 1000], 0)?;
    ensure!(from == b.local()?, "{from} sent it");
    Ok(())
}

fn udp_queued_unasked() -> Result<()> {
    let (a, b, _c) = queued()?;
    let mut buf = [0u8; 1000];
    // SAFETY: the pointer and length describe a live, writable buffer.
    let n = unsafe { libc::recv(a.fd(), buf.as_mut_ptr().cast(), buf.len(), 0) };
    // Who cannot see the sender takes it for the one the socket is connected to by now.
    let how = How { via: "udp_recv_peer+connected_since", ..unasked(b.local()?) };
    a.note(Dir::Rx, sys::cvt(n)?, how);
    Ok(())
}
