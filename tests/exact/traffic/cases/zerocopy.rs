//! Data that is not copied: MSG_ZEROCOPY on the way out, TCP_ZEROCOPY_RECEIVE on the way in.

use std::io;
use std::mem;
use std::ptr;

use anyhow::{Context, Result, bail, ensure};

use crate::cases::absent;
use crate::sock::{Fam, Sock, V4, V6, tcp_pair, udp_pair};
use crate::sys;
use crate::transfer::{pattern, special};
use crate::truth::Dir;

cases! {
    "MSG_ZEROCOPY sends, completions read from the error queue" => tcp_zerocopy_send,
    "MSG_ZEROCOPY on UDP" => udp_zerocopy_send,
    "TCP_ZEROCOPY_RECEIVE alone: bytes no recv ever returned" => tcp_zerocopy_receive,
    "TCP_ZEROCOPY_RECEIVE with a copy buffer for what cannot be mapped" => tcp_zerocopy_copybuf,
    "TCP_ZEROCOPY_RECEIVE and recv in turn on one socket, IPv6" => tcp_zerocopy_mixed,
    "TCP_ZEROCOPY_RECEIVE of page-sized segments, which are really mapped" => tcp_zerocopy_mapped,
}

/// Reads what is in the error queue until `want` sends are complete.
fn completions(s: &Sock, want: u32) -> Result<()> {
    let mut done = 0;
    while done < want {
        if !sys::poll(s.fd(), 0, 5000)? {
            bail!("only {done} of {want} sends completed");
        }
        let r = s.recvmsg(&mut [&mut [0; 100]], libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT);
        let control = match r {
            Ok(r) => r.control,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
            Err(e) => return Err(e.into()),
        };
        // cmsghdr, then sock_extended_err with the range of sends in ee_info..=ee_data.
        let word = |at: usize| u32::from_ne_bytes(control[at..at + 4].try_into().expect("word"));
        let head = mem::size_of::<libc::cmsghdr>();
        done += word(head + 12) - word(head + 8) + 1;
    }
    Ok(())
}

fn tcp_zerocopy_send() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    c.try_set(libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1i32).map_err(absent("SO_ZEROCOPY"))?;
    let buf = pattern(20_000);
    for i in 1..=10 {
        let n = c.send(&buf[..2000 * i], libc::MSG_ZEROCOPY)?;
        s.recv_exact(n)?;
        completions(&c, 1)?;
    }
    Ok(())
}

fn udp_zerocopy_send() -> Result<()> {
    let (a, b) = udp_pair(V4)?;
    a.try_set(libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1i32).map_err(absent("SO_ZEROCOPY on UDP"))?;
    let (buf, mut back) = (pattern(9000), [0; 9000]);
    for _ in 0..5 {
        a.send(&buf, libc::MSG_ZEROCOPY)?;
        b.recv(&mut back, 0)?;
        completions(&a, 1)?;
    }
    Ok(())
}

/// `struct tcp_zerocopy_receive` up to the copy buffer.
#[repr(C)]
#[derive(Default)]
struct Zerocopy {
    address: u64,
    length: u32,
    recv_skip_hint: u32,
    inq: u32,
    err: i32,
    copybuf_address: u64,
    copybuf_len: i32,
    flags: u32,
}

const TCP_ZEROCOPY_RECEIVE: i32 = 35;

/// Where a socket's pages may be mapped.
struct Window {
    at: *mut libc::c_void,
    len: usize,
}

impl Window {
    fn new(s: &Sock, len: usize) -> Result<Self> {
        // SAFETY: a fresh mapping of the socket touches no memory that is in use.
        let at = unsafe {
            libc::mmap(ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, s.fd(), 0)
        };
        if at == libc::MAP_FAILED {
            return Err(absent("mmap of a TCP socket")(io::Error::last_os_error()));
        }
        Ok(Self { at, len })
    }

    /// One call: bytes mapped, bytes copied, and the hint how many want a plain recv.
    fn receive(&self, s: &Sock, copybuf: Option<&mut [u8]>) -> Result<(usize, usize, usize)> {
        let mut zc = Zerocopy {
            address: self.at as u64,
            length: self.len as u32,
            ..Zerocopy::default()
        };
        if let Some(buf) = copybuf {
            zc.copybuf_address = buf.as_mut_ptr() as u64;
            zc.copybuf_len = buf.len() as i32;
        }
        let with_copybuf = zc.copybuf_len;
        let filled = s
            .get(libc::IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &mut zc)
            .map_err(absent("TCP_ZEROCOPY_RECEIVE"))?;
        let knows_copybuf = filled >= mem::offset_of!(Zerocopy, flags);
        let copied = if with_copybuf > 0 && knows_copybuf { zc.copybuf_len.max(0) } else { 0 };
        let (mapped, copied) = (zc.length as usize, copied as usize);
        let how = special("zerocopy_receive");
        s.note(Dir::Rx, mapped + copied, how);
        if mapped > 0 {
            // SAFETY: the range is this window's own; the pages go back to the kernel.
            unsafe { libc::madvise(self.at, mapped, libc::MADV_DONTNEED) };
        }
        Ok((mapped, copied, zc.recv_skip_hint as usize))
    }
}

/// Receives `total` bytes with the zerocopy call, by recv where the kernel says that it must be.
/// Returns how many were mapped and how many copied.
fn receive_all(s: &Sock, total: usize, copybuf: usize, turn: bool) -> Result<(usize, usize)> {
    let window = Window::new(s, 256 * 1024)?;
    let mut buf = vec![0; 1 << 20];
    let mut copy = vec![0; copybuf];
    let (mut left, mut mapped, mut copied) = (total, 0, 0);
    while left > 0 {
        s.wait_readable()?;
        let room = if copybuf > 0 { Some(copy.as_mut_slice()) } else { None };
        let (m, c, hint) = window.receive(s, room)?;
        mapped += m;
        copied += c;
        left -= m + c;
        if left > 0 && (hint > 0 || turn || m + c == 0) {
            let want = if turn { 5000 } else { hint.max(1) }.min(left).min(buf.len());
            match s.recv(&mut buf[..want], libc::MSG_DONTWAIT) {
                Ok(n) => left -= n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e).context("recv"),
            }
        }
    }
    Ok((mapped, copied))
}

/// Sends `total` bytes in page-aligned zerocopy pieces and receives them.
fn bulk(fam: Fam, total: usize, copybuf: usize, turn: bool) -> Result<(usize, usize)> {
    let (c, s) = tcp_pair(fam)?;
    // Without it the pages are shared with larger fragments and never mapped; that is fine too.
    let zerocopy = c.try_set(libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1i32).is_ok();
    let flags = if zerocopy { libc::MSG_ZEROCOPY } else { 0 };
    let pages = sys::map_anon(total)?;
    // SAFETY: the mapping has `total` bytes and is never unmapped.
    let pages = unsafe { std::slice::from_raw_parts_mut(pages, total) };
    pages.copy_from_slice(&pattern(total));
    let pages = &*pages;
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || -> Result<Sock> {
            let mut sent = 0;
            while sent < total {
                let end = total.min(sent + 61_440);
                sent += c.send(&pages[sent..end], flags)?;
            }
            Ok(c)
        });
        let got = receive_all(&s, total, copybuf, turn)?;
        writer.join().expect("writer")?;
        Ok(got)
    })
}

fn tcp_zerocopy_receive() -> Result<()> {
    bulk(V4, 300_000, 0, false).map(|_| ())
}

fn tcp_zerocopy_copybuf() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    // Small and odd amounts fit the copy buffer whole.
    for i in 1..=10 {
        c.send_all(&pattern(i * 333))?;
        receive_all(&s, i * 333, 32_768, false)?;
    }
    bulk(V4, 300_000, 32_768, false).map(|_| ())
}

fn tcp_zerocopy_mixed() -> Result<()> {
    bulk(V6, 300_000, 0, true).map(|_| ())
}

fn tcp_zerocopy_mapped() -> Result<()> {
    // Fifteen pages of data and the headers of IPv4 with timestamps make one packet.
    sys::new_netns(15 * 4096 + 52)?;
    let (mapped, _) = bulk(V4, 30 * 4096 * 4, 0, false)?;
    ensure!(mapped > 0, crate::cases::OnMissing("this kernel mapped no page".into()));
    Ok(())
}
