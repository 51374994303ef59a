//! Socket addresses between the kernel's form and Rust's, and the form a flow is written in.

use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::{sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};

/// A `sockaddr` with its length, as the system calls want it.
pub struct RawAddr {
    pub storage: sockaddr_storage,
    pub len: socklen_t,
}

impl RawAddr {
    /// Room for an address the kernel fills in.
    pub fn empty() -> Self {
        Self {
            // SAFETY: sockaddr_storage is plain data; all zeroes is valid (AF_UNSPEC).
            storage: unsafe { mem::zeroed() },
            len: mem::size_of::<sockaddr_storage>() as socklen_t,
        }
    }

    pub fn ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub fn mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.storage).cast()
    }

    /// The address, when it is an IP one.
    pub fn get(&self) -> Option<SocketAddr> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says that this is a sockaddr_in, and the storage is larger.
                let sin = unsafe { *self.ptr().cast::<sockaddr_in>() };
                let ip = Ipv4Addr::from(u32::from_be(sin.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(sin.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: the family says that this is a sockaddr_in6, and the storage is larger.
                let sin6 = unsafe { *self.ptr().cast::<sockaddr_in6>() };
                let ip = sin6.sin6_addr.s6_addr.into();
                let port = u16::from_be(sin6.sin6_port);
                Some(SocketAddrV6::new(ip, port, 0, sin6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for RawAddr {
    fn from(addr: SocketAddr) -> Self {
        let mut raw = Self::empty();
        match addr {
            SocketAddr::V4(a) => {
                let sin = sockaddr_in {
                    sin_family: libc::AF_INET as u16,
                    sin_port: a.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from(*a.ip()).to_be(),
                    },
                    sin_zero: [0; 8],
                };
                // SAFETY: the storage is large enough and aligned for every sockaddr.
                unsafe { raw.mut_ptr().cast::<sockaddr_in>().write(sin) };
                raw.len = mem::size_of::<sockaddr_in>() as socklen_t;
            }
            SocketAddr::V6(a) => {
                let sin6 = sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as u16,
                    sin6_port: a.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr {
                        s6_addr: a.ip().octets(),
                    },
                    sin6_scope_id: a.scope_id(),
                };
                // SAFETY: as above.
                unsafe { raw.mut_ptr().cast::<sockaddr_in6>().write(sin6) };
                raw.len = mem::size_of::<sockaddr_in6>() as socklen_t;
            }
        }
        raw
    }
}

/// The pair as a flow is written: v4-mapped becomes IPv4, and so does a `::` that talks to IPv4.
pub fn as_flow(local: SocketAddr, remote: SocketAddr) -> (SocketAddr, SocketAddr) {
    let (mut l, r) = (local.ip().to_canonical(), remote.ip().to_canonical());
    if r.is_ipv4() && l.is_ipv6() && l.is_unspecified() {
        l = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    }
    (
        SocketAddr::new(l, local.port()),
        SocketAddr::new(r, remote.port()),
    )
}
