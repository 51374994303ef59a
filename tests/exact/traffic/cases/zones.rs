//! Sockets of one process with the same addresses and ports, which only their interfaces tell
//! apart.

use std::fs::File;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};

use crate::net::{self, End, enter, here};
use crate::sock::{Sock, V4, V6};
use crate::sys;
use crate::transfer::{pattern, unasked};
use crate::truth::Dir;

cases! {
    "UDP to one link-local address on two links, by one socket" => zone_udp,
    "the same, received without asking for the sender" => zone_udp_unasked,
    "TCP to one link-local address and port on two links, from one address and port" => zone_tcp,
    "TCP of one four-tuple in two VRFs" => vrf_tcp,
    "UDP of one four-tuple in two VRFs, connected and not" => vrf_udp,
}

/// Links of this namespace, each to a namespace of its own with the same link-local addresses.
struct Zones {
    home: File,
    links: [(u32, File); 2],
}

fn link_local(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host)
}

fn end(host: u16, port: u16, interface: u32) -> SocketAddr {
    SocketAddrV6::new(link_local(host), port, 0, interface).into()
}

/// The names of the links here; at the other end of each is one called `there`.
const LINKS: [&str; 2] = ["first", "second"];
const THERE: &str = "there";

impl Zones {
    fn new() -> Result<Self> {
        sys::modprobe("veth");
        let outside = here()?;
        sys::new_netns(0)?;
        let home = here()?;
        let link = |name| {
            enter(&outside)?;
            sys::new_netns(0)?;
            let other = here()?;
            net::veth(
                &End { name, mac: net::NEAR_MAC, namespace: home.as_raw_fd() },
                &End { name: THERE, mac: net::FAR_MAC, namespace: other.as_raw_fd() },
            )?;
            net::up(net::index(THERE)?)?;
            enter(&home)?;
            net::up(net::index(name)?)?;
            let index = Self::set_up(name, 2, 1, net::FAR_MAC)?;
            enter(&other)?;
            Self::set_up(THERE, 1, 2, net::NEAR_MAC)?;
            enter(&home)?;
            Ok::<_, anyhow::Error>((index, other))
        };
        let links = [link(LINKS[0])?, link(LINKS[1])?];
        Ok(Self { home, links })
    }

    fn set_up(name: &str, own: u16, other: u16, mac: net::Mac) -> Result<u32> {
        let index = net::running(name)?;
        net::address(index, IpAddr::V6(link_local(own)), 64)?;
        net::neighbour(index, IpAddr::V6(link_local(other)), mac)?;
        Ok(index)
    }

    /// What is made at the other end of a link, given the number of its interface there.
    fn at<T>(&self, which: usize, make: impl FnOnce(u32) -> Result<T>) -> Result<T> {
        enter(&self.links[which].1)?;
        let made = net::index(THERE).and_then(make);
        enter(&self.home)?;
        made
    }

    /// A UDP socket at the other end of each link, with the same address and port.
    fn servers(&self) -> Result<[Sock; 2]> {
        let server = |which| {
            self.at(which, |interface| {
                let s = Sock::udp(V6)?;
                s.bind(end(1, 7001, interface))?;
                s.recv_timeout(10_000)?;
                Ok(s)
            })
        };
        Ok([server(0)?, server(1)?])
    }
}

fn client() -> Result<Sock> {
    let s = Sock::udp(V6)?;
    s.bind(SocketAddr::new(V6.any().ip(), 5959))?;
    s.recv_timeout(10_000)?;
    Ok(s)
}

fn zone_udp() -> Result<()> {
    let zones = Zones::new()?;
    let (s, servers) = (client()?, zones.servers()?);
    let mut buf = [0; 1000];
    for i in 1..=5 {
        for (which, server) in servers.iter().enumerate() {
            s.sendto(&pattern(i * 30 * (which + 1)), 0, end(1, 7001, zones.links[which].0))?;
            let (_, from) = server.recvfrom(&mut buf, 0)?;
            server.sendto(&pattern(i * 20 * (which + 1)), 0, from)?;
            let (_, from) = s.recvfrom(&mut buf, 0)?;
            ensure!(from == end(1, 7001, zones.links[which].0), "{from} sent it");
        }
    }
    Ok(())
}

fn zone_udp_unasked() -> Result<()> {
    let zones = Zones::new()?;
    let (s, servers) = (client()?, zones.servers()?);
    let mut buf = [0; 1000];
    for i in 1..=5 {
        for (which, server) in servers.iter().enumerate() {
            let far = end(1, 7001, zones.links[which].0);
            s.sendto(&pattern(10), 0, far)?;
            let (_, from) = server.recvfrom(&mut buf, 0)?;
            server.sendto(&pattern(i * 20 * (which + 1)), 0, from)?;
            // SAFETY: the pointer and length describe a live, writable buffer.
            let n = unsafe { libc::recv(s.fd(), buf.as_mut_ptr().cast(), buf.len(), 0) };
            s.note(Dir::Rx, sys::cvt(n)?, unasked(far));
        }
    }
    Ok(())
}

fn bind_to_device(s: &Sock, name: &str) -> Result<()> {
    let mut device = [0u8; libc::IFNAMSIZ];
    device[..name.len()].copy_from_slice(name.as_bytes());
    s.try_set(libc::SOL_SOCKET, libc::SO_BINDTODEVICE, device)
        .with_context(|| format!("bind to {name}"))
}

fn zone_tcp() -> Result<()> {
    let zones = Zones::new()?;
    let mut pairs = Vec::new();
    for (which, name) in LINKS.into_iter().enumerate() {
        let l = zones.at(which, |interface| {
            let l = Sock::tcp(V6)?;
            l.bind(end(1, 7000, interface))?;
            l.listen()?;
            Ok(l)
        })?;
        let c = Sock::tcp(V6)?;
        c.set(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        bind_to_device(&c, name)?;
        c.bind(end(2, 6000, zones.links[which].0))?;
        c.connect(end(1, 7000, zones.links[which].0))?;
        pairs.push((c, l.accept()?));
    }
    for (which, (c, s)) in pairs.iter().enumerate() {
        c.send_all(&pattern(10_000 * (2 * which + 1)))?;
        s.recv_exact(10_000 * (2 * which + 1))?;
        s.send_all(&pattern(70 * (which + 1)))?;
        c.recv_exact(70 * (which + 1))?;
    }
    Ok(())
}

/// The VRFs of a new namespace, each with 10.66.0.1.
const VRFS: [&str; 2] = ["red", "blue"];

fn vrfs() -> Result<SocketAddr> {
    sys::modprobe("vrf");
    sys::modprobe("veth");
    sys::new_netns(0)?;
    let (own, at) = (here()?, "10.66.0.1:0".parse::<SocketAddr>()?);
    for (which, name) in VRFS.into_iter().enumerate() {
        let master = net::vrf(name, 100 + which as u32)?;
        let (one, other) = (format!("{name}-a"), format!("{name}-b"));
        net::veth(
            &End { name: &one, mac: net::NEAR_MAC, namespace: own.as_raw_fd() },
            &End { name: &other, mac: net::FAR_MAC, namespace: own.as_raw_fd() },
        )?;
        let member = net::index(&one)?;
        net::enslave(member, master)?;
        net::up(member)?;
        net::up(net::index(&other)?)?;
        net::running(&one)?;
        net::address(member, at.ip(), 24)?;
    }
    Ok(at)
}

/// A socket in a VRF with the port of this address.
fn in_vrf(s: Sock, vrf: &str, mut at: SocketAddr, port: u16) -> Result<Sock> {
    s.set(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    bind_to_device(&s, vrf)?;
    at.set_port(port);
    s.bind(at)?;
    Ok(s)
}

fn vrf_tcp() -> Result<()> {
    let at = vrfs()?;
    let mut pairs = Vec::new();
    for vrf in VRFS {
        let l = in_vrf(Sock::tcp(V4)?, vrf, at, 7000)?;
        l.listen()?;
        let c = in_vrf(Sock::tcp(V4)?, vrf, at, 6000)?;
        c.connect(l.local()?)?;
        pairs.push((c, l.accept()?));
    }
    for (which, (c, s)) in pairs.iter().enumerate() {
        c.send_all(&pattern(10_000 * (2 * which + 1)))?;
        s.recv_exact(10_000 * (2 * which + 1))?;
    }
    Ok(())
}

fn vrf_udp() -> Result<()> {
    let at = vrfs()?;
    let mut buf = [0; 1000];
    for is_connected in [false, true] {
        let mut pairs = Vec::new();
        for vrf in VRFS {
            pairs.push((in_vrf(Sock::udp(V4)?, vrf, at, 6001)?, in_vrf(Sock::udp(V4)?, vrf, at, 7001)?));
        }
        for (which, (c, s)) in pairs.iter().enumerate() {
            if is_connected {
                c.connect(s.local()?)?;
            }
            for _ in 0..5 {
                if is_connected {
                    c.send(&pattern(100 * (which + 1)), 0)?;
                } else {
                    c.sendto(&pattern(100 * (which + 1)), 0, s.local()?)?;
                }
                let (_, from) = s.recvfrom(&mut buf, 0)?;
                s.sendto(&pattern(10 * (which + 1)), 0, from)?;
                c.recvfrom(&mut buf, 0)?;
            }
        }
    }
    Ok(())
}
