//! Network namespaces, interfaces and addresses by rtnetlink: guests have no `ip` that knows them
//! all.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cases::absent;
use crate::sys::{self, cvt};

/// The network namespace this thread is in.
pub fn here() -> Result<File> {
    File::open("/proc/thread-self/ns/net").context("network namespace")
}

/// Moves this thread into a network namespace.
pub fn enter(namespace: &impl AsRawFd) -> Result<()> {
    // SAFETY: setns has no memory arguments.
    cvt(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })
        .map_err(absent("setns"))?;
    Ok(())
}

/// Index of an interface in this namespace.
pub fn index(name: &str) -> Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: if_nametoindex reads a terminated name.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    ensure!(index != 0, "no interface {name:?}");
    Ok(index)
}

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWNEIGH: u16 = 28;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VRF_TABLE: u16 = 1;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;

pub type Mac = [u8; 6];

/// The end of an interface's pair: its name, its address on the link, and its namespace.
pub struct End<'a> {
    pub name: &'a str,
    pub mac: Mac,
    pub namespace: RawFd,
}

struct Request(Vec<u8>);

impl Request {
    /// A request to make or to change something; `create` where it must be new.
    fn new(kind: u16, create: bool) -> Self {
        const REQUEST_AND_ACK: u16 = 5;
        const EXCLUSIVE_CREATE: u16 = 0x600;
        let flags = REQUEST_AND_ACK | if create { EXCLUSIVE_CREATE } else { 0 };
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        Self(bytes)
    }

    fn put(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Appends a `struct ifinfomsg`.
    fn link(self, index: u32, up: bool) -> Self {
        let flags = u32::from(up);
        self.put(&[0; 4])
            .put(&index.to_ne_bytes())
            .put(&flags.to_ne_bytes())
            .put(&flags.to_ne_bytes())
    }

    fn attribute(self, kind: u16, data: &[u8]) -> Self {
        self.nested(kind, |request| request.put(data))
    }

    fn nested(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let begin = self.0.len();
        self = self.put(&[0; 2]).put(&kind.to_ne_bytes());
        self = fill(self);
        let length = (self.0.len() - begin) as u16;
        self.0[begin..begin + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Sends it in this thread's namespace and waits for the answer.
    fn run(mut self, what: &str) -> Result<()> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: socket has no memory arguments.
        let fd = cvt(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) })?;
        let fd = fd as RawFd;
        sys::write_all(fd, &self.0);
        let mut answer = [0; 1024];
        let read = sys::read(fd, &mut answer);
        sys::close(fd);
        read.context("rtnetlink")?;
        // struct nlmsgerr follows the header of 16 bytes and begins with the negative error.
        let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
        match error {
            0 => Ok(()),
            _ => Err(std::io::Error::from_raw_os_error(-error)).map_err(absent(what)),
        }
    }
}

fn bytes_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn family_of(address: IpAddr) -> u8 {
    (if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    }) as u8
}

/// Makes a veth pair, each end in its namespace.
pub fn veth(one: &End, other: &End) -> Result<()> {
    let describe = |request: Request, end: &End| {
        request
            .attribute(IFLA_IFNAME, &[end.name.as_bytes(), &[0]].concat())
            .attribute(IFLA_ADDRESS, &end.mac)
            .attribute(IFLA_NET_NS_FD, &end.namespace.to_ne_bytes())
    };
    let request = describe(Request::new(RTM_NEWLINK, true).link(0, false), one);
    let peer =
        |data: Request| data.nested(VETH_INFO_PEER, |peer| describe(peer.link(0, false), other));
    request
        .nested(IFLA_LINKINFO, |info| {
            info.attribute(IFLA_INFO_KIND, b"veth")
                .nested(IFLA_INFO_DATA, peer)
        })
        .run("a veth pair")
}

/// Makes a VRF with a routing table of its own, and gives its index.
pub fn vrf(name: &str, table: u32) -> Result<u32> {
    Request::new(RTM_NEWLINK, true)
        .link(0, true)
        .attribute(IFLA_IFNAME, &[name.as_bytes(), &[0]].concat())
        .nested(IFLA_LINKINFO, |info| {
            info.attribute(IFLA_INFO_KIND, b"vrf")
                .nested(IFLA_INFO_DATA, |data| {
                    data.attribute(IFLA_VRF_TABLE, &table.to_ne_bytes())
                })
        })
        .run("a VRF")?;
    index(name)
}

/// Puts an interface into a VRF.
pub fn enslave(index: u32, master: u32) -> Result<()> {
    Request::new(RTM_NEWLINK, false)
        .link(index, false)
        .attribute(IFLA_MASTER, &master.to_ne_bytes())
        .run("a member of a VRF")
}

pub fn up(index: u32) -> Result<()> {
    Request::new(RTM_NEWLINK, false)
        .link(index, true)
        .run("an interface that is up")
}

/// Waits until an interface, both of whose ends are up, carries packets, and gives its index. The
/// kernel drops what is sent before: it takes note of the carrier in its own time. What is asked of
/// rtnetlink after that waits for the lock under which it does so.
pub fn running(name: &str) -> Result<u32> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_running(name)? {
        ensure!(Instant::now() < deadline, "{name} does not run");
        sys::pause(1);
    }
    index(name)
}

fn is_running(name: &str) -> Result<bool> {
    // SAFETY: ifreq is plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: socket has no memory arguments.
    let fd = cvt(unsafe { libc::socket(libc::AF_INET, kind, 0) })? as RawFd;
    // SAFETY: SIOCGIFFLAGS reads and writes one live ifreq.
    let got = cvt(unsafe { libc::ioctl(fd, libc::SIOCGIFFLAGS as _, &raw mut request) });
    sys::close(fd);
    got.context("SIOCGIFFLAGS")?;
    // SAFETY: the ioctl has filled in the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(i32::from(flags) & libc::IFF_RUNNING != 0)
}

/// Gives an interface an address that can be used at once.
pub fn address(index: u32, address: IpAddr, prefix: u8) -> Result<()> {
    let bytes = bytes_of(address);
    let nodad = if address.is_ipv6() { IFA_F_NODAD } else { 0 };
    Request::new(RTM_NEWADDR, true)
        .put(&[family_of(address), prefix, nodad, 0])
        .put(&index.to_ne_bytes())
        .attribute(IFA_LOCAL, &bytes)
        .attribute(IFA_ADDRESS, &bytes)
        .run("an address")?;
    match address {
        IpAddr::V4(_) => Ok(()),
        IpAddr::V6(address) => await_local(address, &interface_name(index)?),
    }
}

/// Name of an interface in this namespace.
fn interface_name(index: u32) -> Result<String> {
    let mut name = [0; libc::IFNAMSIZ];
    // SAFETY: if_indextoname writes at most IFNAMSIZ bytes, with their end.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    ensure!(!found.is_null(), "no interface {index}");
    // SAFETY: the kernel has ended the name within the buffer.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    Ok(name.to_str()?.to_owned())
}

/// Waits until an interface receives what is sent to its address: also without duplicate address
/// detection the kernel adds the local route in its own time. Two links can have one link-local
/// address, each with a route of its own.
fn await_local(address: Ipv6Addr, interface: &str) -> Result<()> {
    const RTF_LOCAL: u32 = 0x8000_0000;
    let address = format!("{:032x}", u128::from(address));
    let is_local = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let flags = fields
            .get(8)
            .and_then(|flags| u32::from_str_radix(flags, 16).ok());
        fields[0] == address
            && fields.last() == Some(&interface)
            && flags.is_some_and(|flags| flags & RTF_LOCAL != 0)
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !fs::read_to_string("/proc/thread-self/net/ipv6_route")?
        .lines()
        .any(is_local)
    {
        ensure!(
            Instant::now() < deadline,
            "nothing is received at {address} of {interface}"
        );
        sys::pause(1);
    }
    Ok(())
}

/// Tells an interface who a neighbour is, so that nobody has to ask.
pub fn neighbour(index: u32, address: IpAddr, mac: Mac) -> Result<()> {
    Request::new(RTM_NEWNEIGH, true)
        .put(&[family_of(address), 0, 0, 0])
        .put(&index.to_ne_bytes())
        .put(&NUD_PERMANENT.to_ne_bytes())
        .put(&[0; 2])
        .attribute(NDA_DST, &bytes_of(address))
        .attribute(NDA_LLADDR, &mac)
        .run("a neighbour")
}

/// Two network namespaces with a veth pair between them, both families, neighbours known.
pub struct Link {
    pub near: File,
    pub far: File,
}

pub const NEAR: &str = "near";
pub const NEAR_MAC: Mac = [2, 0, 0, 0, 0, 1];
pub const FAR_MAC: Mac = [2, 0, 0, 0, 0, 2];
const FAR: &str = "far";

impl Link {
    /// Leaves this thread where it was.
    pub fn new() -> Result<Self> {
        let home = here()?;
        sys::modprobe("veth");
        sys::new_netns(0)?;
        let far = here()?;
        sys::new_netns(0)?;
        let near = here()?;
        let (near_fd, far_fd) = (near.as_raw_fd(), far.as_raw_fd());
        veth(
            &End {
                name: NEAR,
                mac: NEAR_MAC,
                namespace: near_fd,
            },
            &End {
                name: FAR,
                mac: FAR_MAC,
                namespace: far_fd,
            },
        )?;
        let ends = [
            (NEAR, FAR_MAC, Self::near_ips(), Self::far_ips()),
            (FAR, NEAR_MAC, Self::far_ips(), Self::near_ips()),
        ];
        for (namespace, name) in [(&near, NEAR), (&far, FAR)] {
            enter(namespace)?;
            up(index(name)?)?;
        }
        for (namespace, (name, mac, own, others)) in [&near, &far].into_iter().zip(ends) {
            enter(namespace)?;
            let index = running(name)?;
            for ((own, prefix), (other, _)) in own.into_iter().zip(others) {
                address(index, own, prefix)?;
                neighbour(index, other, mac)?;
            }
        }
        enter(&home)?;
        Ok(Self { near, far })
    }

    /// The link that the variable describes, else a new one.
    pub fn given() -> Result<Self> {
        let Ok(given) = std::env::var(Self::VARIABLE) else {
            return Self::new();
        };
        let (near, far) = given.split_once(' ').context(Self::VARIABLE)?;
        Ok(Self {
            near: File::open(near)?,
            far: File::open(far)?,
        })
    }

    /// Where a parent says which link its cases may use.
    pub const VARIABLE: &str = "TRAFFIC_LINK";

    /// The variable's value, for children of this process.
    pub fn describe(&self) -> String {
        let me = std::process::id();
        let path = |end: &File| format!("/proc/{me}/fd/{}", end.as_raw_fd());
        format!("{} {}", path(&self.near), path(&self.far))
    }

    fn near_ips() -> [(IpAddr, u8); 2] {
        [(Ipv4Addr::new(10, 99, 0, 1).into(), 24), (v6(1).into(), 64)]
    }

    fn far_ips() -> [(IpAddr, u8); 2] {
        [(Ipv4Addr::new(10, 99, 0, 2).into(), 24), (v6(2).into(), 64)]
    }

    /// The near end's address, IPv6 or not, with a port; 0: the kernel chooses.
    pub fn near_end(is_v6: bool, port: u16) -> SocketAddr {
        SocketAddr::new(Self::near_ips()[usize::from(is_v6)].0, port)
    }

    /// The far end's address.
    pub fn far_end(is_v6: bool, port: u16) -> SocketAddr {
        SocketAddr::new(Self::far_ips()[usize::from(is_v6)].0, port)
    }
}

fn v6(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, host)
}

/// `traffic link`: makes a link, prints its description and keeps it until stdin ends.
pub fn hold_link() -> Result<()> {
    sys::die_with_parent();
    let link = Link::new()?;
    println!("{}", link.describe());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
