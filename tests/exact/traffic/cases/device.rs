//! Sockets that talk over a device other than lo: a TUN interface whose other end is this program.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};

use crate::cases::absent;
use crate::sock::{Sock, V4, V6};
use crate::sys::{self, cvt, errno};
use crate::transfer::pattern;
use crate::truth;

cases! {
    "UDP over a TUN device: the answer is written by hand" => device_udp,
    "UDP between link-local addresses: the link is no part of the address, but of the flow" => device_link_local,
}

/// A TUN interface `flow0` in a fresh network namespace.
fn tun() -> Result<(File, libc::ifreq)> {
    const TUNSETIFF: u64 = 0x4004_54ca;
    sys::new_netns(0)?;
    let _ = std::process::Command::new("modprobe")
        .arg("tun")
        .stderr(std::process::Stdio::null())
        .status();
    let open = |path| OpenOptions::new().read(true).write(true).open(path);
    let file = open("/dev/net/tun").map_err(absent("/dev/net/tun"))?;
    // SAFETY: ifreq is plain data.
    let mut req: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in req.ifr_name.iter_mut().zip(b"flow0") {
        *to = *from as libc::c_char;
    }
    req.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    // SAFETY: TUNSETIFF reads and writes a live ifreq.
    cvt(unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF as _, &raw mut req) })
        .map_err(absent("TUNSETIFF"))?;
    Ok((file, req))
}

fn up(s: &Sock, req: &mut libc::ifreq) -> Result<()> {
    req.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads a live ifreq.
    cvt(unsafe { libc::ioctl(s.fd(), libc::SIOCSIFFLAGS as _, &raw const *req) })?;
    Ok(())
}

/// The next packet that carries UDP; others (router solicitations) are passed over.
fn next_udp(tun: &mut File) -> Result<Vec<u8>> {
    loop {
        let mut packet = vec![0; 2000];
        let n = tun.read(&mut packet).context("tun")?;
        packet.truncate(n);
        let protocol = if packet[0] >> 4 == 4 { packet[9] } else { packet[6] };
        if protocol == 17 {
            return Ok(packet);
        }
    }
}

fn device_udp() -> Result<()> {
    truth::lossy();
    let (mut tun, mut req) = tun()?;
    let s = Sock::udp(V4)?;
    // A point-to-point device begins with a netmask of one host.
    for (op, what) in [(libc::SIOCSIFADDR, "10.77.0.1:0"), (libc::SIOCSIFNETMASK, "255.255.255.0:0")]
    {
        let address = crate::addr::RawAddr::from(what.parse::<SocketAddr>()?);
        // SAFETY: an IPv4 address fits a sockaddr.
        req.ifr_ifru.ifru_addr = unsafe { *address.ptr() };
        // SAFETY: the ioctl reads a live ifreq.
        cvt(unsafe { libc::ioctl(s.fd(), op as _, &raw const req) }).context("address")?;
    }
    up(&s, &mut req)?;
    s.recv_timeout(5000)?;
    for i in 1..=5 {
        s.sendto(&pattern(i * 100), 0, "10.77.0.2:5000".parse()?)?;
        let mut packet = next_udp(&mut tun)?;
        // Turned round: addresses and ports change places, which leaves both checksums right.
        for (a, b, len) in [(12, 16, 4), (20, 22, 2)] {
            (0..len).for_each(|k| packet.swap(a + k, b + k));
        }
        // No checksum: the kernel may have left it to the device.
        packet[26..28].fill(0);
        tun.write_all(&packet).context("tun")?;
        let (n, from) = s.recvfrom(&mut [0; 2000], 0)?;
        ensure!(n == i * 100 && from == "10.77.0.2:5000".parse()?, "{n} from {from}");
    }
    Ok(())
}

#[repr(C)]
struct Address6 {
    addr: [u8; 16],
    prefix: u32,
    index: i32,
}

fn device_link_local() -> Result<()> {
    truth::lossy();
    let (mut tun, mut req) = tun()?;
    let s = Sock::udp(V6)?;
    up(&s, &mut req)?;
    // SAFETY: if_nametoindex reads a terminated name.
    let index = unsafe { libc::if_nametoindex(c"flow0".as_ptr()) };
    let ours: Ipv6Addr = "fe80::77".parse()?;
    let a = Address6 { addr: ours.octets(), prefix: 64, index: index as i32 };
    // SAFETY: SIOCSIFADDR on an IPv6 socket reads a live in6_ifreq.
    cvt(unsafe { libc::ioctl(s.fd(), libc::SIOCSIFADDR as _, &raw const a) })
        .map_err(absent("IPv6 address"))?;
    let to = SocketAddrV6::new("fe80::88".parse()?, 6000, 0, index).into();
    // The kernel makes a new address usable in its own time.
    while let Err(e) = s.try_connect(to) {
        ensure!(errno(&e) == libc::EADDRNOTAVAIL, "connect: {e}");
        sys::pause(5);
    }
    for i in 1..=5 {
        s.send(&pattern(i * 50), 0)?;
        ensure!(next_udp(&mut tun)?.len() == 48 + i * 50, "length");
    }
    Ok(())
}
