//! The calls that move data through a `Sock`, each noting what it returned.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::ptr;

use anyhow::{Context, Result, bail};

use crate::addr::RawAddr;
use crate::sock::Sock;
use crate::sys::cvt;
use crate::truth::{Dir, How, Proto};

/// `n` bytes that are not all the same.
pub fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 251) as u8).collect()
}

const NOT_CONSUMED: i32 = libc::MSG_PEEK | libc::MSG_ERRQUEUE;

/// What a `recvmsg` told beside the data.
pub struct Received {
    pub n: usize,
    pub from: Option<SocketAddr>,
    pub flags: i32,
    pub control: Vec<u8>,
}

impl Sock {
    fn noted(&self, dir: Dir, ret: isize, how: How) -> io::Result<usize> {
        cvt(ret).map(|n| self.note(dir, n, how))
    }

    pub fn send(&self, buf: &[u8], flags: i32) -> io::Result<usize> {
        // SAFETY: the pointer and length describe a live slice.
        let n = unsafe {
            libc::send(
                self.fd(),
                buf.as_ptr().cast(),
                buf.len(),
                flags | libc::MSG_NOSIGNAL,
            )
        };
        self.noted(Dir::Tx, n, How::default())
    }

    /// Sends memory that may fault on purpose.
    pub fn send_raw(&self, ptr: *const u8, len: usize) -> io::Result<usize> {
        // SAFETY: the kernel checks the range and answers EFAULT.
        let n = unsafe { libc::send(self.fd(), ptr.cast(), len, libc::MSG_NOSIGNAL) };
        self.noted(Dir::Tx, n, How::default())
    }

    /// Receives into memory that may fault on purpose.
    pub fn recv_raw(&self, ptr: *mut u8, len: usize, flags: i32) -> io::Result<usize> {
        // SAFETY: the kernel checks the range and answers EFAULT; callers pass mappings only.
        let n = unsafe { libc::recv(self.fd(), ptr.cast(), len, flags) };
        self.noted(Dir::Rx, n, How::default())
    }

    pub fn send_all(&self, mut buf: &[u8]) -> Result<()> {
        while !buf.is_empty() {
            let n = self.send(buf, 0).context("send")?;
            buf = &buf[n..];
        }
        Ok(())
    }

    pub fn write(&self, buf: &[u8]) -> io::Result<usize> {
        // SAFETY: the pointer and length describe a live slice.
        let n = unsafe { libc::write(self.fd(), buf.as_ptr().cast(), buf.len()) };
        self.noted(Dir::Tx, n, How::default())
    }

    pub fn writev(&self, parts: &[&[u8]]) -> io::Result<usize> {
        let iov = iovecs(parts);
        // SAFETY: every iovec describes a live slice.
        let n = unsafe { libc::writev(self.fd(), iov.as_ptr(), iov.len() as i32) };
        self.noted(Dir::Tx, n, How::default())
    }

    pub fn sendto(&self, buf: &[u8], flags: i32, to: SocketAddr) -> io::Result<usize> {
        let raw = RawAddr::from(to);
        let flags = flags | libc::MSG_NOSIGNAL;
        // SAFETY: buffer and address live across the call, lengths are right.
        let n = unsafe {
            let (p, len) = (buf.as_ptr().cast(), buf.len());
            libc::sendto(self.fd(), p, len, flags, raw.ptr(), raw.len)
        };
        self.noted(Dir::Tx, n, peer(Some(to)))
    }

    pub fn sendmsg(
        &self,
        parts: &[&[u8]],
        to: Option<SocketAddr>,
        control: &[u8],
        flags: i32,
    ) -> io::Result<usize> {
        let mut iov = iovecs(parts);
        let mut name = to.map(RawAddr::from);
        let mut msg = header(&mut iov, name.as_mut());
        msg.msg_control = control.as_ptr().cast_mut().cast();
        msg.msg_controllen = control.len();
        // SAFETY: all that the header points to lives across the call; sendmsg only reads it.
        let n = unsafe { libc::sendmsg(self.fd(), &raw const msg, flags | libc::MSG_NOSIGNAL) };
        self.noted(Dir::Tx, n, peer(to))
    }

    /// One `sendmmsg` of all `msgs`, each with its own destination; returns how many went out.
    pub fn sendmmsg(&self, msgs: &[(&[u8], Option<SocketAddr>)]) -> io::Result<usize> {
        let mut iovs: Vec<_> = msgs.iter().map(|(b, _)| iovecs(&[b])).collect();
        let mut names: Vec<_> = msgs.iter().map(|(_, to)| to.map(RawAddr::from)).collect();
        let mut vec: Vec<_> = iovs
            .iter_mut()
            .zip(&mut names)
            .map(|(iov, name)| libc::mmsghdr {
                msg_hdr: header(iov, name.as_mut()),
                msg_len: 0,
            })
            .collect();
        // SAFETY: all that the headers point to lives across the call.
        let sent = cvt(unsafe {
            let len = vec.len() as u32;
            libc::sendmmsg(self.fd(), vec.as_mut_ptr(), len, libc::MSG_NOSIGNAL)
        })?;
        for (hdr, (_, to)) in vec.iter().take(sent).zip(msgs) {
            self.note(Dir::Tx, hdr.msg_len as usize, peer(*to));
        }
        Ok(sent)
    }

    /// Receives on a connected socket.
    pub fn recv(&self, buf: &mut [u8], flags: i32) -> io::Result<usize> {
        // SAFETY: the pointer and length describe a live, writable slice.
        let n = unsafe { libc::recv(self.fd(), buf.as_mut_ptr().cast(), buf.len(), flags) };
        if flags & NOT_CONSUMED != 0 {
            return cvt(n);
        }
        self.noted(Dir::Rx, n, How::default())
    }

    /// Receives without asking for the address; `from` is who must have sent it.
    pub fn recv_unasked(&self, buf: &mut [u8], flags: i32, from: SocketAddr) -> io::Result<usize> {
        // SAFETY: the pointer and length describe a live, writable slice.
        let n = unsafe { libc::recv(self.fd(), buf.as_mut_ptr().cast(), buf.len(), flags) };
        self.noted(Dir::Rx, n, unasked(from))
    }

    /// `recvmsg` and `recvmmsg` without room for the address of `from`, who must have sent it.
    pub fn recvmsg_unnamed(
        &self,
        buf: &mut [u8],
        many: bool,
        from: SocketAddr,
    ) -> io::Result<usize> {
        let mut iov = iovecs(&[buf]);
        let mut hdr = libc::mmsghdr {
            msg_hdr: header(&mut iov, None),
            msg_len: 0,
        };
        // SAFETY: all that the header points to lives across the call; the slice is writable.
        let n = unsafe {
            if many {
                let none = ptr::null_mut();
                let got = libc::recvmmsg(self.fd(), &raw mut hdr, 1, libc::MSG_WAITFORONE, none);
                if got < 0 { -1 } else { hdr.msg_len as isize }
            } else {
                libc::recvmsg(self.fd(), &raw mut hdr.msg_hdr, 0)
            }
        };
        self.noted(Dir::Rx, n, peer(Some(from)))
    }

    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the pointer and length describe a live, writable slice.
        let n = unsafe { libc::read(self.fd(), buf.as_mut_ptr().cast(), buf.len()) };
        self.noted(Dir::Rx, n, How::default())
    }

    pub fn readv(&self, a: &mut [u8], b: &mut [u8]) -> io::Result<usize> {
        let iov = iovecs(&[a, b]);
        // SAFETY: both iovecs describe live, writable slices.
        let n = unsafe { libc::readv(self.fd(), iov.as_ptr(), 2) };
        self.noted(Dir::Rx, n, How::default())
    }

    pub fn recvfrom(&self, buf: &mut [u8], flags: i32) -> io::Result<(usize, SocketAddr)> {
        let mut raw = RawAddr::empty();
        // SAFETY: buffer, address and its length live across the call.
        let n = unsafe {
            let (p, len) = (buf.as_mut_ptr().cast(), buf.len());
            libc::recvfrom(self.fd(), p, len, flags, raw.mut_ptr(), &raw mut raw.len)
        };
        let n = cvt(n)?;
        let from = raw
            .get()
            .or(self.remote())
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        if flags & NOT_CONSUMED == 0 {
            self.note(Dir::Rx, n, peer(Some(from)));
        }
        Ok((n, from))
    }

    /// `recvmsg` with room for an address and control messages.
    pub fn recvmsg(&self, parts: &mut [&mut [u8]], flags: i32) -> io::Result<Received> {
        let shared: Vec<&[u8]> = parts.iter().map(|p| &**p).collect();
        let mut iov = iovecs(&shared);
        let mut raw = RawAddr::empty();
        let mut control = vec![0u8; 512];
        let mut msg = header(&mut iov, Some(&mut raw));
        msg.msg_control = control.as_mut_ptr().cast();
        msg.msg_controllen = control.len();
        // SAFETY: all that the header points to lives across the call; the slices are writable.
        let n = cvt(unsafe { libc::recvmsg(self.fd(), &raw mut msg, flags) })?;
        control.truncate(msg.msg_controllen);
        let named = msg.msg_namelen > 0;
        let from = if named { raw.get() } else { None };
        if flags & NOT_CONSUMED == 0 {
            let from = if self.proto() == Proto::Udp {
                from
            } else {
                None
            };
            self.note(Dir::Rx, n, peer(from));
        }
        Ok(Received {
            n,
            from,
            flags: msg.msg_flags,
            control,
        })
    }

    /// One `recvmmsg` of up to `count` messages of up to `size` bytes; returns their lengths.
    pub fn recvmmsg(&self, count: usize, size: usize, flags: i32) -> io::Result<Vec<usize>> {
        let mut bufs = vec![vec![0u8; size]; count];
        let mut iovs: Vec<_> = bufs.iter_mut().map(|b| iovecs(&[b.as_slice()])).collect();
        let mut names: Vec<_> = (0..count).map(|_| RawAddr::empty()).collect();
        let mut vec: Vec<_> = iovs
            .iter_mut()
            .zip(&mut names)
            .map(|(iov, name)| libc::mmsghdr {
                msg_hdr: header(iov, Some(name)),
                msg_len: 0,
            })
            .collect();
        // SAFETY: all that the headers point to lives across the call; no timeout is given.
        let got = cvt(unsafe {
            let len = count as u32;
            libc::recvmmsg(self.fd(), vec.as_mut_ptr(), len, flags, ptr::null_mut())
        })?;
        let udp = self.proto() == Proto::Udp;
        let mut lens = Vec::new();
        for (hdr, name) in vec.iter().take(got).zip(&names) {
            let from = if udp { name.get() } else { None };
            lens.push(self.note(Dir::Rx, hdr.msg_len as usize, peer(from)));
        }
        Ok(lens)
    }

    /// One `recvmmsg` of up to `count` messages of up to `size` bytes without room for the address
    /// of `from`, who must have sent them all; returns how many came.
    pub fn recvmmsg_unnamed(
        &self,
        count: usize,
        size: usize,
        from: SocketAddr,
    ) -> io::Result<usize> {
        let mut bufs = vec![vec![0u8; size]; count];
        let mut iovs: Vec<_> = bufs.iter_mut().map(|b| iovecs(&[b.as_slice()])).collect();
        let mut vec: Vec<_> = iovs
            .iter_mut()
            .map(|iov| libc::mmsghdr {
                msg_hdr: header(iov, None),
                msg_len: 0,
            })
            .collect();
        // SAFETY: all that the headers point to lives across the call; no timeout is given.
        let got = cvt(unsafe {
            let (len, none) = (count as u32, ptr::null_mut());
            libc::recvmmsg(self.fd(), vec.as_mut_ptr(), len, libc::MSG_WAITFORONE, none)
        })?;
        for hdr in vec.iter().take(got) {
            self.note(Dir::Rx, hdr.msg_len as usize, peer(Some(from)));
        }
        Ok(got)
    }

    pub fn recv_exact(&self, n: usize) -> Result<()> {
        let mut buf = vec![0; n.min(65_536)];
        let mut left = n;
        while left > 0 {
            let want = left.min(buf.len());
            match self.recv(&mut buf[..want], 0).context("recv")? {
                0 => bail!("end of stream with {left} of {n} bytes to come"),
                got => left -= got,
            }
        }
        Ok(())
    }

    /// Receives until the end of the stream.
    pub fn drain(&self) -> Result<usize> {
        let mut buf = vec![0; 65_536];
        let mut total = 0;
        loop {
            match self.recv(&mut buf, 0).context("recv")? {
                0 => return Ok(total),
                n => total += n,
            }
        }
    }

    /// `sendfile` from a file at its position.
    pub fn sendfile(&self, file: RawFd, len: usize) -> io::Result<usize> {
        // SAFETY: no offset is passed, so there is no memory argument.
        let n = unsafe { libc::sendfile(self.fd(), file, ptr::null_mut(), len) };
        self.noted(Dir::Tx, n, special("sendpage"))
    }

    /// `splice` from a pipe into the socket.
    pub fn splice_in(&self, pipe: RawFd, len: usize, flags: u32) -> io::Result<usize> {
        let n = splice(pipe, self.fd(), len, flags);
        self.noted(Dir::Tx, n, special("sendpage"))
    }

    /// `splice` from the socket into a pipe.
    pub fn splice_out(&self, pipe: RawFd, len: usize, flags: u32) -> io::Result<usize> {
        let n = splice(self.fd(), pipe, len, flags);
        self.noted(Dir::Rx, n, special("splice_read"))
    }
}

/// Calls `splice` without offsets.
pub fn splice(from: RawFd, to: RawFd, len: usize, flags: u32) -> isize {
    let none = ptr::null_mut();
    // SAFETY: no offsets are passed, so there is no memory argument.
    unsafe { libc::splice(from, none, to, none, len, flags) }
}

pub fn peer(peer: Option<SocketAddr>) -> How {
    How {
        peer,
        ..How::default()
    }
}

/// A receive on an unconnected UDP socket whose caller did not ask for the address.
pub fn unasked(from: SocketAddr) -> How {
    How {
        peer: Some(from),
        via: "udp_recv_peer",
        loose: false,
    }
}

/// A transfer off the usual path; how many messages it makes is the kernel's affair.
pub fn special(via: &'static str) -> How {
    How {
        peer: None,
        via,
        loose: true,
    }
}

fn iovecs(parts: &[&[u8]]) -> Vec<libc::iovec> {
    parts
        .iter()
        .map(|p| libc::iovec {
            iov_base: p.as_ptr().cast_mut().cast(),
            iov_len: p.len(),
        })
        .collect()
}

fn header(iov: &mut [libc::iovec], name: Option<&mut RawAddr>) -> libc::msghdr {
    // SAFETY: msghdr is plain data; all zeroes means nothing is passed.
    let mut msg: libc::msghdr = unsafe { mem::zeroed() };
    msg.msg_iov = iov.as_mut_ptr();
    msg.msg_iovlen = iov.len();
    if let Some(name) = name {
        msg.msg_name = name.mut_ptr().cast();
        msg.msg_namelen = name.len;
    }
    msg
}

/// One control message as bytes, padded as the kernel wants it.
pub fn cmsg<T: Copy>(level: i32, kind: i32, value: T) -> Vec<u8> {
    // Eight-byte words keep the buffer aligned for the header in front.
    let size = mem::size_of::<T>() as u32;
    // SAFETY: CMSG_SPACE and CMSG_LEN are arithmetic.
    let (space, len) = unsafe { (libc::CMSG_SPACE(size), libc::CMSG_LEN(size)) };
    let mut buf = vec![0u8; space as usize];
    let head = mem::size_of::<libc::cmsghdr>();
    buf[..8].copy_from_slice(&(len as usize).to_ne_bytes());
    buf[8..12].copy_from_slice(&level.to_ne_bytes());
    buf[12..16].copy_from_slice(&kind.to_ne_bytes());
    // SAFETY: the buffer has CMSG_SPACE(size) bytes, so `size` of them follow the header.
    unsafe {
        ptr::copy_nonoverlapping(
            (&raw const value).cast(),
            buf.as_mut_ptr().add(head),
            size as usize,
        )
    };
    buf
}
