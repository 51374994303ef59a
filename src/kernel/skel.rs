//! The skeleton generated from `bpf/flowtop.bpf.c`, the proof that both sides mean the same bytes,
//! and safe ways to what it leaves unsafe. Nothing outside `kernel` sees it.

#![allow(
    missing_docs,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    clippy::expect_used,
    unsafe_op_in_unsafe_fn,
    dead_code,
    reason = "generated code"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::AtomicU32;

use libbpf_rs::{Program, libbpf_sys};

use crate::flow::Counters;

include!(concat!(env!("OUT_DIR"), "/flowtop.skel.rs"));

#[cfg(test)]
pub use types::flowtop_id as RawId;
pub use types::{
    flowtop_cgroup as RawCgroup, flowtop_cgroup_record as RawCgroupRecord, flowtop_key4 as RawKey4,
    flowtop_key6 as RawKey6, flowtop_owner as RawOwner, flowtop_owner_record as RawOwnerRecord,
    flowtop_record as RawRecord, flowtop_slot as RawSlot, flowtop_stats as RawStats,
    flowtop_tcp as RawTcp,
};

/// Low bits of `RawId::who` (`FLOWTOP_KEY_*`).
pub const KEY_IPV6: u32 = 1;
pub const KEY_PROTOCOL_SHIFT: u32 = 1;
pub const KEY_PROTOCOL_MASK: u32 = 15;
pub const KEY_SHIFT: u32 = 5;
pub const KEY_OVERFLOW: u32 = 1 << 31;
/// Bits of the filter's `families` (`FLOWTOP_FAMILY_*`).
pub const FAMILY_IPV4: u32 = 1;
pub const FAMILY_IPV6: u32 = 2;
pub const FAMILY_ALL: u32 = 7;
/// Bits of `RawTcp::marks` (`FLOWTOP_TCP_*`).
pub const TCP_READ: u32 = 1;
pub const TCP_RX_TORN: u32 = 2;
pub const TCP_TX_TORN: u32 = 4;
pub const TCP_ULP: u32 = 8;
pub const TCP_OTHER_PROTO: u32 = 16;
pub const TCP_REPAIR: u32 = 32;
pub const TCP_URGENT: u32 = 64;
pub const TCP_BUSY: u32 = 128;
/// Bit of `RawOwner::flags` (`FLOWTOP_OWNER_*`).
pub const OWNER_KERNEL: u32 = 1;

const _: () = assert!(size_of::<RawKey4>() == 24);
const _: () = assert!(size_of::<RawKey6>() == 48);
const _: () = assert!(size_of::<RawStats>() == 32);
const _: () = assert!(size_of::<RawSlot>() == 64);
const _: () = assert!(size_of::<RawOwner>() == 64);
const _: () = assert!(size_of::<RawOwnerRecord>() == 72);
const _: () = assert!(size_of::<RawCgroup>() == 1280);
const _: () = assert!(size_of::<RawCgroupRecord>() == 1288);
const _: () = assert!(size_of::<RawTcp>() == 88);
const _: () = assert!(size_of::<RawRecord>() == 208);

// SAFETY: `repr(C)` structs of integers and arrays of integers without padding (their sizes are
// asserted above to be the sums of their fields), so every bit pattern is a value.
unsafe impl plain::Plain for RawKey4 {}
// SAFETY: as above.
unsafe impl plain::Plain for RawKey6 {}
// SAFETY: as above.
unsafe impl plain::Plain for RawSlot {}
// SAFETY: as above.
unsafe impl plain::Plain for RawOwner {}
// SAFETY: as above.
unsafe impl plain::Plain for RawOwnerRecord {}
// SAFETY: as above.
unsafe impl plain::Plain for RawCgroup {}
// SAFETY: as above.
unsafe impl plain::Plain for RawCgroupRecord {}
// SAFETY: as above.
unsafe impl plain::Plain for RawRecord {}

/// The bytes of a record.
pub fn bytes_of(record: &RawRecord) -> &[u8] {
    // SAFETY: it has no padding (its size is asserted above), so all its bytes are initialized.
    unsafe { plain::as_bytes(record) }
}

/// The flag that says which buffer is active.
pub fn active(bss: &mut types::bss) -> &AtomicU32 {
    // SAFETY: `active` is an aligned u32 in memory shared with the programs for the life of `bss`;
    // the unique borrow rules out any other Rust reference to it, and the programs only read it.
    unsafe { AtomicU32::from_ptr(&raw mut bss.active) }
}

/// Slots taken in the flow maps of each buffer, of IPv4 and of IPv6. Programs add to those of the
/// active buffer.
pub fn held(bss: &mut types::bss) -> &[[AtomicU32; 2]; 2] {
    let held = (&raw mut bss.held.flows).cast::<[[AtomicU32; 2]; 2]>();
    // SAFETY: aligned integers of 32 bits in memory shared with the programs for the life of `bss`;
    // the unique borrow rules out any other Rust reference to them, and programs only add atomically.
    unsafe { &*held }
}

impl std::ops::AddAssign<&Self> for RawStats {
    fn add_assign(&mut self, other: &Self) {
        self.tx_bytes += other.tx_bytes;
        self.rx_bytes += other.rx_bytes;
        self.tx_msgs += other.tx_msgs;
        self.rx_msgs += other.rx_msgs;
    }
}

impl From<&RawStats> for Counters {
    fn from(raw: &RawStats) -> Self {
        Self {
            rx_bytes: raw.rx_bytes,
            tx_bytes: raw.tx_bytes,
            rx_msgs: raw.rx_msgs,
            tx_msgs: raw.tx_msgs,
        }
    }
}

/// What was counted without a slot, summed over the CPUs' slots. Cumulative.
pub fn untracked(bss: &types::bss) -> Counters {
    let mut sum = RawStats::default();
    for slot in &bss.untracked {
        // SAFETY: a valid reference to live memory that programs add to: integers of 64 aligned
        // bits, so none is torn in itself.
        let stats = unsafe { std::ptr::read_volatile(&raw const slot.stats) };
        sum += &stats;
    }
    (&sum).into()
}

/// Calls that found no room between entry and return. Cumulative.
pub fn missed_calls(bss: &types::bss) -> u64 {
    // SAFETY: as in `untracked`.
    unsafe { std::ptr::read_volatile(&raw const bss.missed_calls) }
}

/// `bpf_prog_info.recursion_misses`: runs the kernel skipped because the program, or for kprobe
/// and tracepoint programs any program, was already running on the CPU. Filled for trampolines
/// from 5.12, for kprobes and tracepoints from 6.7; zero on kernels that do not count it.
pub fn recursion_misses(program: &Program<'_>) -> io::Result<u64> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut len = size_of_val(&info) as u32;
    // SAFETY: `info` is a zeroed struct of the length given: the kernel fills at most that much
    // and, all array pointers being null, writes nowhere else.
    let ret = unsafe {
        libbpf_sys::bpf_prog_get_info_by_fd(program.as_fd().as_raw_fd(), &mut info, &mut len)
    };
    match ret {
        0 => Ok(info.recursion_misses),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}
