//! Sockets of other protocols than TCP and UDP: each has rows of its own protocol, with the bytes
//! that its calls returned, headers included where the call moved them.

use std::mem;

use anyhow::{Context, Result, ensure};

use crate::cases::absent;
use crate::sock::{Fam, Sock, V4, V6, alias, tcp_pair, udp_pair};
use crate::sys::{self, cvt};
use crate::transfer::{pattern, peer};
use crate::truth::{self, Dir, Proto};

cases! {
    "ICMP by a raw socket: what it receives begins with the IP header" => icmp_raw,
    "ICMPv6 by a raw socket: what it receives has no IP header" => icmp_raw_v6,
    "ICMP by ping sockets, not bound, bound and connected: the identifier stands for the port" => icmp_ping,
    "the same by ICMPv6" => icmp_ping_v6,
    "a raw socket of protocol 253, connected and not: no ports at all" => raw_ip,
    "the same over IPv6" => raw_ip_v6,
    "IP_HDRINCL: the caller writes the IP header, which counts" => raw_header_included,
    "a raw socket of protocol TCP hears the segments of TCP sockets: copies, in a row of their own" => raw_tcp_copies,
    "a raw socket of protocol UDP hears the datagrams of UDP sockets" => raw_udp_copies,
    "a packet socket of every interface hears what a TCP connection sends" => packet_hears_all,
    "SOCK_RAW packet sockets bound to an interface: the link's header counts" => packet_raw,
    "SOCK_DGRAM packet sockets: the kernel writes the link's header, which does not count" => packet_datagram,
    "UDP-Lite, which looks like UDP" => udplite,
    "the same over IPv6" => udplite_v6,
    "UDP-Lite sends between sends of a connected UDP socket: the peer of one is not the other's" => udplite_beside_udp,
    "SCTP, one association a socket" => sctp,
    "the same over IPv6" => sctp_v6,
    "SCTP, many associations on one socket: the socket has no peer" => sctp_many,
    "SCTP tells a program of its associations in messages: no data, and what the call returns counts" => sctp_notifications,
    "DCCP" => dccp,
    "the same over IPv6" => dccp_v6,
}

fn open(domain: i32, kind: i32, protocol: i32, proto: Proto, what: &str) -> Result<Sock> {
    Sock::open(domain, kind, protocol, proto).map_err(absent(what))
}

/// Receives so many messages, whose senders the truth does not have.
fn hear(s: &Sock, messages: usize) -> Result<()> {
    s.recv_timeout(10_000)?;
    for n in 0..messages {
        s.recv(&mut [0; 70_000], 0).with_context(|| format!("message {n} of {messages}"))?;
    }
    Ok(())
}

/// Receives what there is until it is more than `least` bytes.
fn hear_more_than(s: &Sock, least: usize) -> Result<()> {
    s.recv_timeout(10_000)?;
    let mut total = 0;
    while total <= least {
        total += s.recv(&mut [0; 70_000], 0).with_context(|| format!("heard {total} bytes only"))?;
    }
    Ok(())
}

/// The sum that ends every Internet checksum.
pub fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|c| [0, 0, c[0], *c.get(1).unwrap_or(&0)]);
    let sum: u32 = words.map(u32::from_be_bytes).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes()
}

/// An echo request with so many bytes of data. The kernel writes the checksum, except for ICMP by a
/// raw socket.
pub fn echo(kind: u8, data: usize) -> Vec<u8> {
    let mut packet = vec![kind, 0, 0, 0, 0x12, 0x34, 0, 1];
    packet.extend(pattern(data));
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum);
    packet
}

const ECHO: u8 = 8;
const ECHO6: u8 = 128;

fn icmp_raw() -> Result<()> {
    sys::new_netns(0)?;
    let s = open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP, Proto::Icmp, "raw socket")?;
    let bound = open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP, Proto::Icmp, "raw socket")?;
    bound.bind(alias(5))?;
    for i in 1..=5 {
        ensure!(s.sendto(&echo(ECHO, i * 100), 0, V4.loopback())? == 8 + i * 100, "length");
        // The request itself, and what the kernel answers.
        hear(&s, 2)?;
    }
    // Only what is for 127.0.0.5 comes to the socket that is bound.
    bound.connect(alias(6))?;
    bound.send(&echo(ECHO, 300), 0)?;
    hear(&bound, 1)?;
    hear(&s, 2)
}

fn icmp_raw_v6() -> Result<()> {
    sys::new_netns(0)?;
    let s = open(libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6, Proto::Icmp6, "raw socket")?;
    for i in 1..=5 {
        s.sendto(&echo(ECHO6, i * 100), 0, V6.loopback())?;
        hear(&s, 2)?;
    }
    s.connect(V6.loopback())?;
    s.send(&echo(ECHO6, 300), 0)?;
    hear(&s, 2)
}

fn ping(fam: Fam, protocol: i32, proto: Proto, kind: u8) -> Result<()> {
    // Allowed for everybody in this namespace of its own, and for both families.
    sys::new_netns(0)?;
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").context("ping")?;
    let open = || open(fam.domain(), libc::SOCK_DGRAM, protocol, proto, "ping socket");
    let free = open()?;
    for i in 1..=5 {
        free.sendto(&echo(kind, i * 100), 0, fam.loopback())?;
        hear(&free, 1)?;
    }
    let bound = open()?;
    let mut at = fam.loopback();
    at.set_port(4242);
    bound.bind(at)?;
    bound.sendto(&echo(kind, 700), 0, fam.loopback())?;
    hear(&bound, 1)?;
    let connected = open()?;
    connected.connect(fam.loopback())?;
    for _ in 0..3 {
        connected.send(&echo(kind, 60), 0)?;
        hear(&connected, 1)?;
    }
    Ok(())
}

fn icmp_ping() -> Result<()> {
    ping(V4, libc::IPPROTO_ICMP, Proto::Icmp, ECHO)
}

fn icmp_ping_v6() -> Result<()> {
    ping(V6, libc::IPPROTO_ICMPV6, Proto::Icmp6, ECHO6)
}

const EXPERIMENT: i32 = 253;

fn raw(fam: Fam, protocol: i32) -> Result<Sock> {
    open(fam.domain(), libc::SOCK_RAW, protocol, Proto::Raw, "raw socket")
}

fn raw_ip() -> Result<()> {
    sys::new_netns(0)?;
    let (a, b) = (raw(V4, EXPERIMENT)?, raw(V4, EXPERIMENT)?);
    a.bind(alias(1))?;
    b.bind(alias(2))?;
    for i in 1..=5 {
        a.sendto(&pattern(i * 200), 0, alias(2))?;
        hear(&b, 1)?;
    }
    a.connect(alias(2))?;
    b.connect(alias(1))?;
    for i in 1..=5 {
        a.send(&pattern(i * 100), 0)?;
        hear(&b, 1)?;
        b.send(&pattern(i * 10), 0)?;
        hear(&a, 1)?;
    }
    // Never bound: hears what it sends.
    let c = raw(V4, EXPERIMENT + 1)?;
    c.sendto(&pattern(50), 0, alias(3))?;
    hear(&c, 1)
}

fn raw_ip_v6() -> Result<()> {
    sys::new_netns(0)?;
    let (a, b) = (raw(V6, EXPERIMENT)?, raw(V6, EXPERIMENT)?);
    b.connect(V6.loopback())?;
    for i in 1..=5 {
        a.sendto(&pattern(i * 200), 0, V6.loopback())?;
        b.send(&pattern(i * 30), 0)?;
        hear(&a, 2)?;
        hear(&b, 2)?;
    }
    Ok(())
}

fn raw_header_included() -> Result<()> {
    sys::new_netns(0)?;
    let (out, heard) = (raw(V4, libc::IPPROTO_RAW)?, raw(V4, EXPERIMENT)?);
    heard.bind(alias(2))?;
    for i in 1..=5 {
        let length = (20 + i * 100) as u16;
        let mut packet = vec![0x45, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, EXPERIMENT as u8, 0, 0, 127, 0, 0, 1, 127, 0, 0, 2]);
        packet.extend(pattern(i * 100));
        ensure!(out.sendto(&packet, 0, alias(2))? == usize::from(length), "length");
        hear(&heard, 1)?;
    }
    Ok(())
}

fn raw_tcp_copies() -> Result<()> {
    sys::new_netns(0)?;
    let raw = raw(V4, libc::IPPROTO_TCP)?;
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(3000))?;
    s.recv_exact(3000)?;
    hear_more_than(&raw, 3000)?;
    // A segment nobody asked for; the kernel answers with a reset.
    let mut syn = vec![0x30, 0x39, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];
    syn.extend(pattern(100));
    raw.sendto(&syn, 0, V4.loopback())?;
    hear(&raw, 1)
}

fn raw_udp_copies() -> Result<()> {
    sys::new_netns(0)?;
    let raw = raw(V4, libc::IPPROTO_UDP)?;
    let (a, b) = udp_pair(V4)?;
    for i in 1..=5 {
        a.send(&pattern(i * 100), 0)?;
        b.recv(&mut [0; 1000], 0)?;
        let heard = raw.recv(&mut [0; 1000], 0)?;
        ensure!(heard == 28 + i * 100, "heard {heard} bytes");
    }
    let mut datagram = vec![0x30, 0x39, 0, 9, 0, 108, 0, 0];
    datagram.extend(pattern(100));
    raw.sendto(&datagram, 0, V4.loopback())?;
    hear(&raw, 1)
}

/// An EtherType for local experiments (IEEE 802).
const ETHERTYPE: u16 = 0x88b5;
/// The first interface of every network namespace.
const LO: u32 = 1;

pub fn packet(kind: i32, ethertype: u16) -> Result<Sock> {
    let protocol = i32::from(ethertype.to_be());
    let s = open(libc::AF_PACKET, kind, protocol, Proto::Packet, "packet socket")?;
    // Where they are a module of the kernel, there is no hook for them.
    s.set_layer("packet_sockets");
    Ok(s)
}

fn link(ethertype: u16, interface: u32) -> libc::sockaddr_ll {
    // SAFETY: sockaddr_ll is plain data.
    let mut to: libc::sockaddr_ll = unsafe { mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_protocol = ethertype.to_be();
    to.sll_ifindex = interface as i32;
    to.sll_halen = 6;
    to
}

pub fn bind_to_link(s: &Sock, ethertype: u16, interface: u32) -> Result<()> {
    let to = link(ethertype, interface);
    let len = mem::size_of_val(&to) as libc::socklen_t;
    // SAFETY: the address lives across the call and its length is right.
    cvt(unsafe { libc::bind(s.fd(), (&raw const to).cast(), len) }).context("bind to a link")?;
    Ok(())
}

fn send_to_link(s: &Sock, data: &[u8], ethertype: u16, interface: u32) -> Result<()> {
    let to = link(ethertype, interface);
    let len = mem::size_of_val(&to) as libc::socklen_t;
    // SAFETY: buffer and address live across the call, lengths are right.
    let n = cvt(unsafe {
        libc::sendto(s.fd(), data.as_ptr().cast(), data.len(), 0, (&raw const to).cast(), len)
    })?;
    ensure!(s.note(Dir::Tx, n, peer(None)) == data.len(), "length");
    Ok(())
}

fn packet_hears_all() -> Result<()> {
    sys::new_netns(0)?;
    let all = packet(libc::SOCK_RAW, libc::ETH_P_ALL as u16)?;
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(3000))?;
    s.recv_exact(3000)?;
    hear_more_than(&all, 3000)
}

fn packet_raw() -> Result<()> {
    sys::new_netns(0)?;
    let (a, b) = (packet(libc::SOCK_RAW, 0)?, packet(libc::SOCK_RAW, ETHERTYPE)?);
    bind_to_link(&b, ETHERTYPE, LO)?;
    for i in 1..=5 {
        let mut frame = vec![0; 12];
        frame.extend(ETHERTYPE.to_be_bytes());
        frame.extend(pattern(i * 100));
        // By a socket that is not bound, and by one that is.
        send_to_link(&a, &frame, ETHERTYPE, LO)?;
        hear(&b, 1)?;
        ensure!(b.send(&frame, 0)? == 14 + i * 100, "length");
        hear(&b, 1)?;
    }
    Ok(())
}

fn packet_datagram() -> Result<()> {
    sys::new_netns(0)?;
    let (a, b) = (packet(libc::SOCK_DGRAM, ETHERTYPE)?, packet(libc::SOCK_DGRAM, ETHERTYPE)?);
    bind_to_link(&b, ETHERTYPE, LO)?;
    for i in 1..=5 {
        send_to_link(&a, &pattern(i * 100), ETHERTYPE, LO)?;
        let mut buf = [0; 1000];
        for s in [&a, &b] {
            ensure!(s.recv(&mut buf, 0)? == i * 100, "length");
        }
    }
    Ok(())
}

fn lite(fam: Fam) -> Result<Sock> {
    open(fam.domain(), libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE, Proto::UdpLite, "UDP-Lite")
}

fn udplite_over(fam: Fam) -> Result<()> {
    let (a, b) = (lite(fam)?, lite(fam)?);
    b.bind(fam.loopback())?;
    let mut buf = [0; 1000];
    for i in 1..=5 {
        a.sendto(&pattern(i * 70), 0, b.local()?)?;
        let (n, from) = b.recvfrom(&mut buf, 0)?;
        b.sendto(&pattern(n / 2), 0, from)?;
        hear(&a, 1)?;
    }
    let c = lite(fam)?;
    c.bind(fam.loopback())?;
    c.connect(b.local()?)?;
    b.connect(c.local()?)?;
    for i in 1..=5 {
        c.send(&pattern(i * 90), 0)?;
        hear(&b, 1)?;
        b.send(&pattern(i * 9), 0)?;
        hear(&c, 1)?;
    }
    Ok(())
}

fn udplite() -> Result<()> {
    udplite_over(V4)
}

fn udplite_v6() -> Result<()> {
    udplite_over(V6)
}

fn udplite_beside_udp() -> Result<()> {
    for fam in [V4, V6] {
        let (out, into) = (lite(fam)?, lite(fam)?);
        into.bind(fam.loopback())?;
        let (a, b) = udp_pair(fam)?;
        for _ in 0..10 {
            out.sendto(&pattern(300), 0, into.local()?)?;
            a.send(&pattern(1000), 0)?;
            into.recvfrom(&mut [0; 1000], 0)?;
            b.recv(&mut [0; 1000], 0)?;
        }
    }
    Ok(())
}

pub fn sctp_socket(fam: Fam, kind: i32) -> Result<Sock> {
    sys::modprobe("sctp");
    open(fam.domain(), kind, libc::IPPROTO_SCTP, Proto::Sctp, "SCTP")
}

fn sctp_over(fam: Fam) -> Result<()> {
    let l = sctp_socket(fam, libc::SOCK_STREAM)?;
    l.bind(fam.loopback())?;
    l.listen()?;
    // Bound, and not.
    for is_bound in [true, false] {
        let c = sctp_socket(fam, libc::SOCK_STREAM)?;
        if is_bound {
            c.bind(fam.loopback())?;
        }
        c.connect(l.local()?)?;
        let s = l.accept()?;
        for i in 1..=10 {
            c.send(&pattern(i * 500), 0)?;
            s.recv_exact(i * 500)?;
            s.send(&pattern(i * 40), 0)?;
            c.recv_exact(i * 40)?;
        }
        // A message that takes several receives.
        c.send(&pattern(20_000), 0)?;
        for _ in 0..20 {
            s.recv_exact(1000)?;
        }
    }
    Ok(())
}

fn sctp() -> Result<()> {
    sctp_over(V4)
}

fn sctp_v6() -> Result<()> {
    sctp_over(V6)
}

fn sctp_many() -> Result<()> {
    let hub = sctp_socket(V4, libc::SOCK_SEQPACKET)?;
    hub.bind(V4.loopback())?;
    hub.listen()?;
    for i in 1..=3 {
        let s = sctp_socket(V4, libc::SOCK_SEQPACKET)?;
        s.bind(V4.loopback())?;
        s.sendto(&pattern(i * 100), 0, hub.local()?)?;
        let (n, from) = hub.recvfrom(&mut [0; 1000], 0)?;
        hub.sendto(&pattern(n * 2), 0, from)?;
        s.recvfrom(&mut [0; 1000], 0)?;
    }
    Ok(())
}

/// A program that asked for them receives notifications (MSG_NOTIFICATION) between its data.
fn sctp_notifications() -> Result<()> {
    const SOL_SCTP: i32 = 132;
    const SCTP_EVENTS: i32 = 11;
    // struct sctp_event_subscribe: data_io, association, address, send failure, peer error,
    // shutdown
    const EVENTS: [u8; 6] = [1, 1, 0, 0, 0, 1];
    // sac_type and sse_type, the first of a notification
    const ASSOC_CHANGE: u16 = 0x8001;
    const SHUTDOWN_EVENT: u16 = 0x8005;
    // Nobody sent what a notification says.
    truth::lossy();
    let l = sctp_socket(V4, libc::SOCK_STREAM)?;
    l.bind(V4.loopback())?;
    // SAFETY: the value lives across the call and its length is right.
    cvt(unsafe {
        let (at, len) = (EVENTS.as_ptr().cast(), EVENTS.len() as u32);
        libc::setsockopt(l.fd(), SOL_SCTP, SCTP_EVENTS, at, len)
    })
    .context("SCTP_EVENTS")?;
    l.listen()?;
    let c = sctp_socket(V4, libc::SOCK_STREAM)?;
    c.bind(V4.loopback())?;
    c.connect(l.local()?)?;
    let s = l.accept()?;
    let mut notified = Vec::new();
    let mut data = 0;
    c.send(&pattern(700), 0)?;
    c.shutdown(libc::SHUT_WR)?;
    let mut buf = [0; 2000];
    loop {
        match s.recv(&mut buf, 0)? {
            0 => break,
            700 => data += 700,
            n => notified.push((u16::from_ne_bytes([buf[0], buf[1]]), n)),
        }
    }
    let kinds: Vec<u16> = notified.iter().map(|(kind, _)| *kind).collect();
    ensure!(data == 700, "{data} bytes of data");
    // It is up, the peer is done, it is over.
    let expected = [ASSOC_CHANGE, SHUTDOWN_EVENT, ASSOC_CHANGE];
    ensure!(kinds == expected, "notifications are {notified:x?}");
    Ok(())
}

fn dccp_socket(fam: Fam) -> Result<Sock> {
    const SOCK_DCCP: i32 = 6;
    const SOL_DCCP: i32 = 269;
    const DCCP_SOCKOPT_SERVICE: i32 = 2;
    sys::modprobe(if fam == V4 { "dccp_ipv4" } else { "dccp_ipv6" });
    let s = open(fam.domain(), SOCK_DCCP, libc::IPPROTO_DCCP, Proto::Dccp, "DCCP")?;
    s.set(SOL_DCCP, DCCP_SOCKOPT_SERVICE, 7)?;
    Ok(s)
}

fn dccp_over(fam: Fam) -> Result<()> {
    // Data may still be under way when a connection is closed.
    truth::lossy();
    let (l, c) = (dccp_socket(fam)?, dccp_socket(fam)?);
    l.bind(fam.loopback())?;
    l.listen()?;
    c.connect(l.local()?)?;
    let s = l.accept()?;
    for i in 1..=10 {
        c.send(&pattern(i * 50), 0)?;
        ensure!(s.recv(&mut [0; 1000], 0)? == i * 50, "length");
        s.send(&pattern(i * 20), 0)?;
        ensure!(c.recv(&mut [0; 1000], 0)? == i * 20, "length");
    }
    Ok(())
}

fn dccp() -> Result<()> {
    dccp_over(V4)
}

fn dccp_v6() -> Result<()> {
    dccp_over(V6)
}
