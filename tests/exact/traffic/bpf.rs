//! The bpf() system call, and programs of a few instructions.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use anyhow::{Context, Result};

use crate::sys::cvt;

/// One instruction: `struct bpf_insn`.
pub const fn instruction(code: u8, dst: u8, src: u8, off: i16, imm: u32) -> u64 {
    code as u64 | ((src << 4 | dst) as u64) << 8 | (off as u16 as u64) << 16 | (imm as u64) << 32
}

pub fn bpf(command: u64, attr: &[u32]) -> io::Result<RawFd> {
    let size = size_of_val(attr);
    // SAFETY: the attributes live across the call and their size is right.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), size) };
    cvt(result).map(|fd| fd as RawFd)
}

/// The same, where the kernel answers with a new descriptor.
pub fn bpf_fd(command: u64, attr: &[u32]) -> io::Result<OwnedFd> {
    // Before Linux 5.11 programs and maps are locked memory; later it does not matter whether this
    // is allowed.
    let all = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the limit lives across the call.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const all) };
    // SAFETY: the kernel has just made this descriptor for us.
    bpf(command, attr).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An address as the two words that it takes among attributes.
pub fn pointer<T>(to: &[T]) -> [u32; 2] {
    let address = to.as_ptr() as u64;
    [address as u32, (address >> 32) as u32]
}

/// Loads a program of a type and of an expected attach type.
pub fn load(program_type: u32, attach_type: u32, program: &[u64]) -> Result<OwnedFd> {
    const PROG_LOAD: u64 = 5;
    // union bpf_attr up to expected_attach_type
    let mut attr = [0u32; 18];
    (attr[0], attr[1], attr[17]) = (program_type, program.len() as u32, attach_type);
    attr[2..4].copy_from_slice(&pointer(program));
    attr[4..6].copy_from_slice(&pointer(c"GPL".to_bytes_with_nul()));
    bpf_fd(PROG_LOAD, &attr).context("load a program")
}
