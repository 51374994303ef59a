//! Calls in the middle of which something else happens: another call, or an error.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use anyhow::{Context, Result, ensure};

use crate::cases::absent;
use crate::proc;
use crate::sock::{Fam, Sock, V4, V6, tcp_pair, udp_pair};
use crate::sys::{self, cvt, errno};
use crate::transfer::pattern;
use crate::truth::{self, Dir, How};

cases! {
    "a send of a file on a network block device: its page faults send by TCP in the same thread" => nbd,
    "a send by UDP that fails once its address is known, then one on a connected socket" => left_by_failed_send,
    "the same over IPv6" => left_by_failed_send_v6,
    "a peek after a send that failed" => left_then_peek,
}

/// Requests of `ioctl()`, from `linux/nbd.h`.
mod request {
    pub const SET_SOCK: u64 = 0xab00;
    pub const SET_BLKSIZE: u64 = 0xab01;
    pub const DO_IT: u64 = 0xab03;
    pub const CLEAR_SOCK: u64 = 0xab04;
    pub const SET_SIZE_BLOCKS: u64 = 0xab07;
    pub const DISCONNECT: u64 = 0xab08;
    /// Bytes of a request and of a reply without data.
    pub const LENGTH: usize = 28;
    pub const REPLY: usize = 16;
    pub const READ: u32 = 0;
    pub const CLOSE: u32 = 2;
}

const BLOCK: usize = 4096;
const BLOCKS: usize = 2048;

fn control(device: &File, request: u64, value: u64) -> io::Result<()> {
    // SAFETY: the requests of NBD take their argument by value.
    cvt(unsafe { libc::ioctl(device.as_raw_fd(), request as _, value) }).map(|_| ())
}

/// Serves zeroes to the kernel until it closes; says how many requests there were.
fn serve_blocks(s: &Sock, requests: RawFd) -> Result<()> {
    let (mut count, blocks) = (0u64, vec![0; BLOCK * BLOCKS]);
    loop {
        let mut request = [0; request::LENGTH];
        let mut got = 0;
        while got < request.len() {
            match s.recv(&mut request[got..], 0).context("a request")? {
                0 => return Ok(()),
                n => got += n,
            }
        }
        count += 1;
        let field = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| request[at + i]));
        // magic, type (flags above it), handle of 8 bytes, offset of 8 bytes, length
        match field(4) & 0xffff {
            request::CLOSE => break,
            request::READ => {
                let mut reply = 0x6744_6698u32.to_be_bytes().to_vec();
                reply.extend([0; 4]);
                reply.extend(&request[8..16]);
                ensure!(reply.len() == request::REPLY, "length of a reply");
                s.send_all(&reply)?;
                s.send_all(&blocks[..field(24) as usize])?;
            }
            other => anyhow::bail!("a request of type {other}"),
        }
    }
    sys::write_all(requests, &count.to_ne_bytes());
    Ok(())
}

fn nbd() -> Result<()> {
    // What the kernel reads of the device's socket is nobody's call.
    truth::lossy();
    sys::modprobe("nbd");
    let open = || OpenOptions::new().read(true).write(true).open("/dev/nbd0");
    let device = open().map_err(absent("/dev/nbd0"))?;
    let (kernels, servers) = tcp_pair(V4)?;
    let (c, s) = tcp_pair(V6)?;
    let requests = sys::pipe()?;
    let server = proc::spawn(|| serve_blocks(&servers, requests.1))?;
    // The server's end is the server's alone: the kernel waits for it to close.
    drop(servers);
    control(&device, request::SET_BLKSIZE, BLOCK as u64)?;
    control(&device, request::SET_SIZE_BLOCKS, BLOCKS as u64)?;
    control(&device, request::SET_SOCK, kernels.fd() as u64)?;
    std::thread::scope(|scope| {
        // Runs until the device is closed.
        scope.spawn(|| control(&device, request::DO_IT, 0));
        let sent = send_mapped(&c, &s);
        control(&device, request::DISCONNECT, 0)?;
        sent
    })?;
    control(&device, request::CLEAR_SOCK, 0)?;
    let mut count = [0; 8];
    ensure!(sys::read(requests.0, &mut count)? == count.len(), "no number of requests");
    let count = u64::from_ne_bytes(count) as usize;
    // Requests are sent by the thread that needs the page, or by a thread of the kernel.
    let how = How { peer: None, via: crate::compare::BY_ANYONE, loose: true };
    kernels.note(Dir::Tx, count * request::LENGTH, how);
    server.join()
}

/// Sends what is mapped from the device, which nobody has read yet.
fn send_mapped(c: &Sock, s: &Sock) -> Result<()> {
    const PIECE: usize = 2 * BLOCK;
    // The size is there once the other thread is.
    let size = "/sys/block/nbd0/size";
    let is_ready = || std::fs::read_to_string(size).is_ok_and(|size| size.trim() != "0");
    while !is_ready() || !is_connected() {
        sys::pause(5);
    }
    let device = File::open("/dev/nbd0").context("/dev/nbd0")?;
    let length = BLOCK * BLOCKS;
    // SAFETY: a fresh mapping touches no memory that is in use; it is never unmapped.
    let mapped = unsafe {
        let (prot, flags) = (libc::PROT_READ, libc::MAP_PRIVATE);
        libc::mmap(ptr::null_mut(), length, prot, flags, device.as_raw_fd(), 0)
    };
    ensure!(mapped != libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
    // SAFETY: the range is the mapping just made.
    cvt(unsafe { libc::madvise(mapped, length, libc::MADV_RANDOM) })?;
    for i in 0..sys::scaled(20) {
        // SAFETY: the piece lies in the mapping, whose length is that of 1024 pieces.
        let from = unsafe { mapped.cast::<u8>().add(i % 1024 * PIECE) };
        let n = c.send_raw(from, PIECE).context("send a page of the device")?;
        s.recv_exact(n)?;
    }
    Ok(())
}

/// Whether a thread serves the device: its pid is there while one does.
fn is_connected() -> bool {
    std::fs::exists("/sys/block/nbd0/pid").unwrap_or(false)
}

/// Sends that fail after their address is known: too long, nowhere to go, no room.
fn fail(s: &Sock, fam: Fam, to: SocketAddr) -> Result<()> {
    let unreachable: IpAddr = match fam {
        V4 => "203.0.113.9".parse()?,
        _ => "2001:db8::9".parse()?,
    };
    let too_long = s.sendto(&pattern(70_000), 0, to);
    ensure!(too_long.is_err_and(|e| errno(&e) == libc::EMSGSIZE), "70000 bytes went out");
    let nowhere = s.sendto(&pattern(100), 0, SocketAddr::new(unreachable, 9));
    ensure!(nowhere.is_err_and(|e| errno(&e) == libc::ENETUNREACH), "there is a way");
    Ok(())
}

fn left(fam: Fam) -> Result<()> {
    // Loopback only: all else is unreachable.
    sys::new_netns(0)?;
    let (other, elsewhere) = (Sock::udp_bound(fam)?, Sock::udp_bound(fam)?);
    let (a, b) = udp_pair(fam)?;
    let mut buf = [0; 2000];
    for i in 1..=10 {
        fail(&other, fam, elsewhere.local()?)?;
        a.send(&pattern(100 * i), 0)?;
        b.recv(&mut buf, 0)?;
        // The same socket, whose peer is another one by now.
        fail(&a, fam, elsewhere.local()?)?;
        a.send(&pattern(10 * i), 0)?;
        b.recv(&mut buf, 0)?;
    }
    Ok(())
}

fn left_by_failed_send() -> Result<()> {
    left(V4)
}

fn left_by_failed_send_v6() -> Result<()> {
    left(V6)
}

fn left_then_peek() -> Result<()> {
    sys::new_netns(0)?;
    let mut buf = [0; 2000];
    for fam in [V4, V6] {
        let (other, elsewhere) = (Sock::udp_bound(fam)?, Sock::udp_bound(fam)?);
        let ((a, b), (c, s)) = (udp_pair(fam)?, tcp_pair(fam)?);
        for i in 1..=10 {
            a.send(&pattern(100 * i), 0)?;
            c.send_all(&pattern(50 * i))?;
            for from in [&b, &s] {
                fail(&other, fam, elsewhere.local()?)?;
                from.recv(&mut buf, libc::MSG_PEEK)?;
                from.recv(&mut buf, libc::MSG_PEEK)?;
            }
            b.recv(&mut buf, 0)?;
            s.recv_exact(50 * i)?;
        }
    }
    Ok(())
}
