//! Kernel AIO on sockets: `io_submit` reads and writes them like files.

use std::ptr;

use anyhow::{Context, Result, ensure};

use crate::cases::absent;
use crate::sock::{Sock, V4, tcp_pair, udp_pair};
use crate::sys::cvt;
use crate::transfer::pattern;
use crate::truth::{Dir, How};

cases! {
    "io_submit with PREAD and PWRITE on TCP and UDP" => aio_read_write,
}

/// `struct iocb` (little endian).
#[repr(C)]
#[derive(Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    reqprio: i16,
    fd: u32,
    buf: u64,
    nbytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Event {
    data: u64,
    obj: u64,
    res: i64,
    res2: i64,
}

const PREAD: u16 = 0;
const PWRITE: u16 = 1;

/// One operation from submission to completion.
fn run(ctx: u64, s: &Sock, opcode: u16, buf: *mut u8, len: usize) -> Result<usize> {
    let fd = s.fd() as u32;
    let mut cb =
        Iocb { opcode, fd, buf: buf as u64, nbytes: len as u64, ..Iocb::default() };
    let list = [&raw mut cb];
    let mut event = Event::default();
    // SAFETY: control block, buffer and event live until the completion is taken in this block.
    unsafe {
        cvt(libc::syscall(libc::SYS_io_submit, ctx, 1i64, list.as_ptr())).context("io_submit")?;
        let no_limit = ptr::null::<libc::timespec>();
        cvt(libc::syscall(libc::SYS_io_getevents, ctx, 1i64, 1i64, &raw mut event, no_limit))
            .context("io_getevents")?;
    }
    let dir = if opcode == PWRITE { Dir::Tx } else { Dir::Rx };
    let n = usize::try_from(event.res).ok().context("the operation failed")?;
    Ok(s.note(dir, n, How::default()))
}

fn aio_read_write() -> Result<()> {
    let mut ctx = 0u64;
    // SAFETY: io_setup writes a live integer.
    cvt(unsafe { libc::syscall(libc::SYS_io_setup, 8, &raw mut ctx) }).map_err(absent("AIO"))?;
    let (c, s) = tcp_pair(V4)?;
    let (a, b) = udp_pair(V4)?;
    let mut buf = pattern(8000);
    for (from, to) in [(&c, &s), (&a, &b)] {
        for i in 1..=10 {
            let n = run(ctx, from, PWRITE, buf.as_mut_ptr(), i * 400)?;
            ensure!(n == i * 400, "partial write");
            let mut got = 0;
            while got < n {
                got += run(ctx, to, PREAD, buf.as_mut_ptr(), n - got)?;
            }
        }
    }
    Ok(())
}
