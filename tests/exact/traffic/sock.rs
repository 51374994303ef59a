//! A socket that adds to the truth whatever its calls return. Setting up is here, moving data in
//! `transfer`.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::addr::RawAddr;
use crate::sys::{self, cvt};
use crate::truth::{self, Dir, How, Moved, Proto};

/// Which addresses a case runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fam {
    V4,
    V6,
    /// IPv6 sockets with v4-mapped addresses.
    Mapped,
}

pub use Fam::{Mapped, V4, V6};

impl Fam {
    pub fn domain(self) -> i32 {
        if self == V4 {
            libc::AF_INET
        } else {
            libc::AF_INET6
        }
    }

    /// The loopback address, port chosen by the kernel.
    pub fn loopback(self) -> SocketAddr {
        let ip: IpAddr = match self {
            V4 => Ipv4Addr::LOCALHOST.into(),
            V6 => Ipv6Addr::LOCALHOST.into(),
            Mapped => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
        };
        SocketAddr::new(ip, 0)
    }

    /// The wildcard address, port chosen by the kernel.
    pub fn any(self) -> SocketAddr {
        let ip: IpAddr = match self {
            V4 => Ipv4Addr::UNSPECIFIED.into(),
            V6 | Mapped => Ipv6Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(ip, 0)
    }
}

/// `127.0.0.n`, port chosen by the kernel.
pub fn alias(n: u8) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(127, 0, 0, n).into(), 0)
}

/// asm-generic/socket.h; libc does not name it.
const SO_BINDTOIFINDEX: i32 = 62;

#[derive(Default)]
struct Names {
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    /// Index of the interface that the socket is bound to; 0: none.
    bound: u32,
}

pub struct Sock {
    fd: RawFd,
    proto: Proto,
    netns: u64,
    names: Mutex<Names>,
    /// The special path all of this socket's data takes: "ktls", "mptcp" or nothing.
    layer: Mutex<&'static str>,
}

impl Drop for Sock {
    fn drop(&mut self) {
        sys::close(self.fd);
    }
}

impl Sock {
    pub fn from_fd(fd: RawFd, proto: Proto) -> Self {
        Self {
            fd,
            proto,
            netns: sys::netns_of(fd),
            names: Mutex::default(),
            layer: Mutex::new(""),
        }
    }

    pub fn open(domain: i32, kind: i32, protocol: i32, proto: Proto) -> io::Result<Self> {
        // SAFETY: socket has no memory arguments.
        let fd = cvt(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })?;
        Ok(Self::from_fd(fd as RawFd, proto))
    }

    pub fn tcp(fam: Fam) -> Result<Self> {
        Self::open(fam.domain(), libc::SOCK_STREAM, 0, Proto::Tcp).context("TCP socket")
    }

    pub fn udp(fam: Fam) -> Result<Self> {
        Self::open(fam.domain(), libc::SOCK_DGRAM, 0, Proto::Udp).context("UDP socket")
    }

    /// A UDP socket bound to the loopback address.
    pub fn udp_bound(fam: Fam) -> Result<Self> {
        let s = Self::udp(fam)?;
        s.bind(fam.loopback())?;
        Ok(s)
    }

    /// A listener on the loopback address.
    pub fn listener(fam: Fam) -> Result<Self> {
        let s = Self::tcp(fam)?;
        s.bind(fam.loopback())?;
        s.listen()?;
        Ok(s)
    }

    pub fn fd(&self) -> RawFd {
        self.fd
    }

    pub fn proto(&self) -> Proto {
        self.proto
    }

    pub fn set_layer(&self, layer: &'static str) {
        *self.layer.lock().unwrap_or_else(PoisonError::into_inner) = layer;
    }

    pub fn bind(&self, addr: SocketAddr) -> Result<()> {
        let raw = RawAddr::from(addr);
        // SAFETY: the address lives across the call and its length is right.
        cvt(unsafe { libc::bind(self.fd, raw.ptr(), raw.len) })
            .with_context(|| format!("bind {addr}"))?;
        Ok(())
    }

    pub fn listen(&self) -> Result<()> {
        // SAFETY: listen has no memory arguments.
        cvt(unsafe { libc::listen(self.fd, 1024) }).context("listen")?;
        Ok(())
    }

    pub fn try_connect(&self, addr: SocketAddr) -> io::Result<()> {
        let raw = RawAddr::from(addr);
        // SAFETY: the address lives across the call and its length is right.
        cvt(unsafe { libc::connect(self.fd, raw.ptr(), raw.len) })?;
        self.refresh();
        // A connection that waits for its first data has no peer to tell yet.
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.remote.get_or_insert(addr);
        Ok(())
    }

    pub fn connect(&self, addr: SocketAddr) -> Result<()> {
        self.try_connect(addr)
            .with_context(|| format!("connect {addr}"))
    }

    /// `connect` to `AF_UNSPEC`: TCP drops the connection, UDP forgets its peer.
    pub fn disconnect(&self) -> Result<()> {
        let raw = RawAddr::empty();
        // SAFETY: the address lives across the call and its length is right.
        cvt(unsafe { libc::connect(self.fd, raw.ptr(), raw.len) }).context("disconnect")?;
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = Names::default();
        Ok(())
    }

    pub fn try_accept(&self) -> io::Result<Self> {
        let none = std::ptr::null_mut();
        // SAFETY: accept may be called without room for the address.
        let fd = cvt(unsafe { libc::accept4(self.fd, none, none.cast(), libc::SOCK_CLOEXEC) })?;
        let s = Self::from_fd(fd as RawFd, self.proto);
        s.refresh();
        Ok(s)
    }

    pub fn accept(&self) -> Result<Self> {
        self.try_accept().context("accept")
    }

    pub fn local(&self) -> Result<SocketAddr> {
        self.query_local().context("getsockname")
    }

    fn query_local(&self) -> Option<SocketAddr> {
        let mut raw = RawAddr::empty();
        // SAFETY: the storage and its length live across the call.
        cvt(unsafe { libc::getsockname(self.fd, raw.mut_ptr(), &raw mut raw.len) }).ok()?;
        raw.get()
    }

    fn query_remote(&self) -> Option<SocketAddr> {
        let mut raw = RawAddr::empty();
        // SAFETY: the storage and its length live across the call.
        cvt(unsafe { libc::getpeername(self.fd, raw.mut_ptr(), &raw mut raw.len) }).ok()?;
        raw.get()
    }

    /// What a packet socket is bound to: its EtherType in place of a port, and its interface.
    fn query_packet(&self) -> (Option<SocketAddr>, u32) {
        let mut raw = RawAddr::empty();
        // SAFETY: the storage and its length live across the call.
        let named = cvt(unsafe { libc::getsockname(self.fd, raw.mut_ptr(), &raw mut raw.len) });
        if named.is_err() {
            return (None, 0);
        }
        // SAFETY: getsockname of a packet socket fills in a sockaddr_ll, and the storage is larger.
        let link = unsafe { *raw.ptr().cast::<libc::sockaddr_ll>() };
        let end = SocketAddr::new(
            Ipv4Addr::UNSPECIFIED.into(),
            u16::from_be(link.sll_protocol),
        );
        (Some(end), link.sll_ifindex as u32)
    }

    /// An option of SOL_SOCKET that is a number.
    fn number(&self, name: i32) -> i32 {
        let mut value = 0;
        let got = self.get(libc::SOL_SOCKET, name, &mut value);
        got.map_or(0, |_| value)
    }

    /// Takes the addresses from the kernel; a closed connection keeps the ones it had.
    pub fn refresh(&self) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.bound = self.number(SO_BINDTOIFINDEX) as u32;
        if self.proto == Proto::Packet {
            (names.local, names.bound) = self.query_packet();
        } else if matches!(self.proto, Proto::Raw | Proto::Icmp | Proto::Icmp6) {
            // getpeername takes port 0 for a socket that is not connected: what `connect` left
            // stays.
            names.local = self.query_local();
        } else if !self.proto.is_stream() {
            names.local = self.query_local();
            names.remote = self.query_remote();
        } else if let Some(remote) = self.query_remote() {
            names.local = self.query_local();
            names.remote = Some(remote);
        } else if names.remote.is_none() {
            names.local = self.query_local();
        }
    }

    /// The peer the socket is connected to.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remote
    }

    /// Adds `n` bytes in one message to the truth, and returns them.
    pub fn note(&self, dir: Dir, n: usize, how: How) -> usize {
        self.note_many(dir, n, 1, how)
    }

    /// Adds `n` bytes in `msgs` messages to the truth, and returns them.
    pub fn note_many(&self, dir: Dir, n: usize, msgs: u64, how: How) -> usize {
        if n == 0 {
            return 0;
        }
        let socket = self.flow(how.peer);
        let layer = *self.layer.lock().unwrap_or_else(PoisonError::into_inner);
        let via = match (layer, how.via) {
            ("", via) => via.to_owned(),
            (layer, "") => layer.to_owned(),
            (layer, via) => format!("{layer}+{via}"),
        };
        let moved = Moved {
            bytes: n as u64,
            msgs,
        };
        truth::add(socket, dir, moved, &via, how.loose);
        n
    }

    /// Says what the flow's peer is called by the answers of name servers, and for which reason.
    pub fn named(&self, name: &'static str, origin: &'static str) {
        truth::named(self.flow(None), name, origin);
    }

    /// This socket and `peer`, or whom it is connected to.
    fn flow(&self, peer: Option<SocketAddr>) -> truth::Socket {
        if !self.proto.is_stream() || self.remote().is_none() {
            self.refresh();
        }
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = matches!(self.proto, Proto::Tcp | Proto::Udp);
        let peer = peer.filter(|_| is_known).or(names.remote);
        let Some(mut local) = names.local else {
            panic!("bytes on a socket without an address");
        };
        let Some(mut remote) = peer.or_else(|| (!is_known).then(|| unknown(local))) else {
            panic!("bytes on a socket without a peer");
        };
        if matches!(self.proto, Proto::Raw | Proto::Icmp | Proto::Icmp6) {
            remote.set_port(0);
            if self.proto == Proto::Raw {
                local.set_port(self.number(libc::SO_PROTOCOL) as u16);
            } else if self.number(libc::SO_TYPE) == libc::SOCK_RAW {
                local.set_port(0);
            }
        }
        truth::Socket {
            proto: self.proto,
            netns: self.netns,
            ifindex: on_interface(names.bound, remote),
            local,
            remote,
        }
    }

    /// Says that so many datagrams more were moved than there were calls: see
    /// [`truth::more_packets`].
    pub fn more_packets(&self, dir: Dir, peer: Option<SocketAddr>, more: i64) {
        truth::more_packets(self.flow(peer), dir, more);
    }

    pub fn try_set<T>(&self, level: i32, name: i32, value: T) -> io::Result<()> {
        let len = mem::size_of::<T>() as libc::socklen_t;
        // SAFETY: the value lives across the call and the length is its size.
        cvt(unsafe { libc::setsockopt(self.fd, level, name, (&raw const value).cast(), len) })?;
        Ok(())
    }

    /// Sets an integer option.
    pub fn set(&self, level: i32, name: i32, value: i32) -> Result<()> {
        self.try_set(level, name, value)
            .with_context(|| format!("setsockopt({level}, {name}, {value})"))
    }

    /// Reads an option into `value` and returns the length the kernel filled in.
    pub fn get<T>(&self, level: i32, name: i32, value: &mut T) -> io::Result<usize> {
        let mut len = mem::size_of::<T>() as libc::socklen_t;
        let to = (value as *mut T).cast();
        // SAFETY: the value lives across the call and the length is its size.
        cvt(unsafe { libc::getsockopt(self.fd, level, name, to, &raw mut len) })?;
        Ok(len as usize)
    }

    pub fn nonblocking(&self, on: bool) -> Result<()> {
        let on = i32::from(on);
        // SAFETY: FIONBIO reads a live integer.
        cvt(unsafe { libc::ioctl(self.fd, libc::FIONBIO, &raw const on) }).context("FIONBIO")?;
        Ok(())
    }

    pub fn shutdown(&self, how: i32) -> Result<()> {
        // SAFETY: shutdown has no memory arguments.
        cvt(unsafe { libc::shutdown(self.fd, how) }).context("shutdown")?;
        Ok(())
    }

    /// Receiving gives up after `millis`.
    pub fn recv_timeout(&self, millis: i64) -> Result<()> {
        let t = libc::timeval {
            tv_sec: millis / 1000,
            tv_usec: millis % 1000 * 1000,
        };
        self.try_set(libc::SOL_SOCKET, libc::SO_RCVTIMEO, t)
            .context("SO_RCVTIMEO")
    }

    /// Closing sends a reset instead of a FIN.
    pub fn linger0(&self) -> Result<()> {
        let l = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        self.try_set(libc::SOL_SOCKET, libc::SO_LINGER, l)
            .context("SO_LINGER")
    }

    /// Another descriptor of the same socket.
    pub fn dup(&self) -> Result<Self> {
        // SAFETY: dup has no memory arguments.
        let fd = cvt(unsafe { libc::dup(self.fd) }).context("dup")? as RawFd;
        let s = Self::from_fd(fd, self.proto);
        s.refresh();
        Ok(s)
    }

    /// Waits until there is something to read (or the end).
    pub fn wait_readable(&self) -> Result<()> {
        if !sys::poll(self.fd, libc::POLLIN, 10_000)? {
            bail!("nothing to read within ten seconds");
        }
        Ok(())
    }
}

/// The peer of a socket that is not connected, of a protocol whose messages flowtop does not look
/// into.
fn unknown(local: SocketAddr) -> SocketAddr {
    match local {
        SocketAddr::V4(_) => V4.any(),
        SocketAddr::V6(_) => V6.any(),
    }
}

/// The interface that a flow is told apart by: what its socket is bound to, else the link of a
/// link-local peer.
fn on_interface(bound: u32, remote: SocketAddr) -> u32 {
    match remote {
        SocketAddr::V6(to) if bound == 0 && to.ip().is_unicast_link_local() => to.scope_id(),
        _ => bound,
    }
}

/// A connected pair: the connecting and the accepted socket.
pub fn tcp_pair(fam: Fam) -> Result<(Sock, Sock)> {
    let l = Sock::listener(fam)?;
    let c = Sock::tcp(fam)?;
    c.connect(l.local()?)?;
    let s = l.accept()?;
    Ok((c, s))
}

/// Two UDP sockets connected to each other.
pub fn udp_pair(fam: Fam) -> Result<(Sock, Sock)> {
    let a = Sock::udp_bound(fam)?;
    let b = Sock::udp_bound(fam)?;
    a.connect(b.local()?)?;
    b.connect(a.local()?)?;
    Ok((a, b))
}
