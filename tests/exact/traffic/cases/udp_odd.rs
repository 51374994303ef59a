//! UDP beyond one sender and one receiver: multicast, broadcast, port sharing, forged datagrams.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};

use crate::cases::absent;
use crate::sock::{Sock, V4, V6, alias};
use crate::sys;
use crate::transfer::{cmsg, pattern};
use crate::truth::{self, Proto};

cases! {
    "IPv4 multicast on lo, with loop-back: one send, two receivers" => udp_multicast_v4,
    "IPv6 multicast on lo" => udp_multicast_v6,
    "broadcast on lo" => udp_broadcast,
    "IP_PKTINFO chooses the source: the socket still says 0.0.0.0" => udp_pktinfo,
    "SO_REUSEPORT: the kernel chooses the receiver" => udp_reuseport,
    "a datagram forged by a raw socket: its source is the peer" => udp_forged,
    "a datagram with a bad checksum is skipped by recv" => udp_bad_checksum,
    "UDP_NO_CHECK6 and SO_NO_CHECK" => udp_no_checksum,
    "addresses other than 127.0.0.1" => udp_aliases,
    "IPV6_ADDRFORM turns a v4-mapped socket into an IPv4 one" => udp_addrform,
    "many threads send on one socket to different peers" => udp_threads_one_socket,
}

fn udp_multicast_v4() -> Result<()> {
    truth::lossy();
    let group = Ipv4Addr::new(239, 7, 7, 7);
    let lo = libc::in_addr { s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be() };
    let join = libc::ip_mreq {
        imr_multiaddr: libc::in_addr { s_addr: u32::from(group).to_be() },
        imr_interface: lo,
    };
    let mut port = 0;
    let mut members = Vec::new();
    for _ in 0..2 {
        let m = Sock::udp(V4)?;
        m.set(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        m.bind(SocketAddr::new(group.into(), port))?;
        port = m.local()?.port();
        m.try_set(libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, join).map_err(absent("multicast"))?;
        m.recv_timeout(5000)?;
        members.push(m);
    }
    let s = Sock::udp_bound(V4)?;
    s.try_set(libc::IPPROTO_IP, libc::IP_MULTICAST_IF, lo)?;
    for i in 1..=5 {
        s.sendto(&pattern(i * 100), 0, SocketAddr::new(group.into(), port))
            .map_err(absent("multicast send"))?;
        for m in &members {
            m.recvfrom(&mut [0; 1000], 0).context("member")?;
        }
    }
    Ok(())
}

fn udp_multicast_v6() -> Result<()> {
    truth::lossy();
    let group: Ipv6Addr = "ff01::77".parse()?;
    let m = Sock::udp(V6)?;
    m.bind(V6.any())?;
    let join = libc::ipv6_mreq {
        ipv6mr_multiaddr: libc::in6_addr { s6_addr: group.octets() },
        ipv6mr_interface: 1,
    };
    m.try_set(libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, join).map_err(absent("multicast"))?;
    m.recv_timeout(5000)?;
    let s = Sock::udp(V6)?;
    s.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, 1)?;
    s.bind(V6.loopback())?;
    let to = SocketAddr::new(group.into(), m.local()?.port());
    s.sendto(&pattern(700), 0, to).map_err(absent("multicast send"))?;
    m.recvfrom(&mut [0; 1000], 0).map_err(absent("multicast receive"))?;
    Ok(())
}

fn udp_broadcast() -> Result<()> {
    let b = Sock::udp(V4)?;
    b.bind(V4.any())?;
    b.recv_timeout(2000)?;
    let a = Sock::udp_bound(V4)?;
    a.set(libc::SOL_SOCKET, libc::SO_BROADCAST, 1)?;
    a.try_set(libc::SOL_SOCKET, libc::SO_BINDTODEVICE, *b"lo\0")?;
    let to = SocketAddr::new(Ipv4Addr::new(127, 255, 255, 255).into(), b.local()?.port());
    a.sendto(&pattern(800), 0, to).map_err(absent("broadcast"))?;
    b.recvfrom(&mut [0; 1000], 0).map_err(absent("broadcast receive"))?;
    Ok(())
}

fn udp_pktinfo() -> Result<()> {
    let (a, b) = (Sock::udp(V4)?, Sock::udp_bound(V4)?);
    b.set(libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    let info = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: u32::from(Ipv4Addr::new(127, 0, 0, 77)).to_be() },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let control = cmsg(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
    for _ in 0..5 {
        a.sendmsg(&[&pattern(500)], Some(b.local()?), &control, 0)?;
        let r = b.recvmsg(&mut [&mut [0; 1000]], 0)?;
        let from = r.from.context("no address")?;
        ensure!(from.ip() == Ipv4Addr::new(127, 0, 0, 77), "{from} sent it");
        b.sendto(&pattern(60), 0, from)?;
        a.recvfrom(&mut [0; 100], 0)?;
    }
    Ok(())
}

fn udp_reuseport() -> Result<()> {
    let a = Sock::udp(V4)?;
    a.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    a.bind(V4.loopback())?;
    let b = Sock::udp(V4)?;
    b.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    b.bind(a.local()?)?;
    for i in 1..=50 {
        let c = Sock::udp(V4)?;
        c.sendto(&pattern(i), 0, a.local()?)?;
        let to = if sys::first_readable(a.fd(), b.fd())? { &a } else { &b };
        to.recvfrom(&mut [0; 100], 0)?;
    }
    Ok(())
}

/// Sends a UDP datagram from `127.0.0.99:4242` with a header of its own making.
fn forge(to: SocketAddr, data: &[u8], checksum: u16) -> Result<()> {
    let s = Sock::open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW, Proto::Raw)
        .map_err(absent("raw socket"))?;
    let len = (28 + data.len()) as u16;
    let mut p = vec![0x45, 0];
    p.extend(len.to_be_bytes());
    p.extend([0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 99, 127, 0, 0, 1]);
    p.extend(4242u16.to_be_bytes());
    p.extend(to.port().to_be_bytes());
    p.extend((len - 20).to_be_bytes());
    p.extend(checksum.to_be_bytes());
    p.extend(data);
    s.sendto(&p, 0, to).context("raw send")?;
    Ok(())
}

fn udp_forged() -> Result<()> {
    let b = Sock::udp_bound(V4)?;
    b.recv_timeout(5000)?;
    forge(b.local()?, &pattern(600), 0)?;
    let (n, from) = b.recvfrom(&mut [0; 1000], 0)?;
    ensure!(n == 600 && from == "127.0.0.99:4242".parse()?, "{n} from {from}");
    truth::lossy();
    Ok(())
}

fn udp_bad_checksum() -> Result<()> {
    truth::lossy();
    let (a, b) = (Sock::udp_bound(V4)?, Sock::udp_bound(V4)?);
    b.recv_timeout(5000)?;
    for _ in 0..3 {
        forge(b.local()?, &pattern(600), 0xbad1)?;
    }
    // Taken and thrown away, or (unchecked on lo) received: what recv returns is the truth.
    a.sendto(&pattern(111), 0, b.local()?)?;
    while b.recvfrom(&mut [0; 1000], 0)?.1 != a.local()? {}
    Ok(())
}

fn udp_no_checksum() -> Result<()> {
    const UDP_NO_CHECK6_TX: i32 = 101;
    const UDP_NO_CHECK6_RX: i32 = 102;
    let (a, b) = crate::sock::udp_pair(V6)?;
    a.set(libc::SOL_UDP, UDP_NO_CHECK6_TX, 1)?;
    b.set(libc::SOL_UDP, UDP_NO_CHECK6_RX, 1)?;
    let (c, d) = crate::sock::udp_pair(V4)?;
    c.set(libc::SOL_SOCKET, libc::SO_NO_CHECK, 1)?;
    for (from, to) in [(a, b), (c, d)] {
        from.send(&pattern(900), 0)?;
        ensure!(to.recv(&mut [0; 1000], 0)? == 900, "length");
    }
    Ok(())
}

fn udp_aliases() -> Result<()> {
    let (a, b) = (Sock::udp(V4)?, Sock::udp(V4)?);
    a.bind(alias(4))?;
    b.bind(alias(5))?;
    a.sendto(&pattern(500), 0, b.local()?)?;
    b.recvfrom(&mut [0; 1000], 0)?;
    b.connect(a.local()?)?;
    b.send(&pattern(300), 0)?;
    a.recvfrom(&mut [0; 1000], 0)?;
    Ok(())
}

fn udp_addrform() -> Result<()> {
    let (a, b) = crate::sock::udp_pair(crate::sock::Mapped)?;
    a.send(&pattern(200), 0)?;
    b.recv(&mut [0; 1000], 0)?;
    a.try_set(libc::IPPROTO_IPV6, libc::IPV6_ADDRFORM, libc::AF_INET)
        .map_err(absent("IPV6_ADDRFORM"))?;
    a.send(&pattern(300), 0)?;
    b.recv(&mut [0; 1000], 0)?;
    b.send(&pattern(50), 0)?;
    a.recv(&mut [0; 1000], 0)?;
    Ok(())
}

fn udp_threads_one_socket() -> Result<()> {
    let hub = Sock::udp_bound(V4)?;
    let spokes = (0..8).map(|_| Sock::udp_bound(V4)).collect::<Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = spokes
            .iter()
            .enumerate()
            .map(|(i, s)| {
                let hub = &hub;
                scope.spawn(move || -> Result<()> {
                    for n in 1..=sys::scaled(100) {
                        hub.sendto(&pattern(n + i), 0, s.local()?)?;
                        s.recvfrom(&mut [0; 1000], 0)?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|t| t.join().expect("thread"))
    })
}
