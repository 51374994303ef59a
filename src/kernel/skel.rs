//! The skeleton generated from `bpf/flowtop.bpf.c`, assertions that C and Rust agree on its types,
//! and safe functions around its unsafe ones. Private to `kernel`.

use std::cell::Cell;
use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::AtomicU32;

use anyhow::{Context, Result, ensure};
use libbpf_rs::skel::SkelBuilder as _;
use libbpf_rs::{Map, MapCore, Mut, ProgramImpl, libbpf_sys};
use memmap2::{MmapMut, MmapOptions};

use crate::model::flow::Counters;

pub use generated::*;

mod generated {
    #![allow(
        clippy::all,
        clippy::too_many_lines,
        clippy::undocumented_unsafe_blocks,
        clippy::unwrap_used,
        clippy::expect_used,
        unsafe_op_in_unsafe_fn,
        dead_code,
        unused_qualifications,
        reason = "generated code"
    )]

    include!(concat!(env!("OUT_DIR"), "/flowtop.skel.rs"));
}

use types::{
    flowtop_family_bits as family_bits, flowtop_filter_bounds as filter_bounds,
    flowtop_key_bits as key_bits, flowtop_owner_flags as owner_flags, flowtop_sizes as sizes,
    flowtop_tcp_marks as tcp_marks, rodata,
};

use crate::filter::{MAX_NETNS, MAX_NETS, MAX_PORTS, MAX_TASKS, MAX_TREES, MAX_UIDS};

#[cfg(test)]
pub use types::flowtop_id as RawId;
pub use types::{
    flowtop_answer as RawAnswer, flowtop_cgroup as RawCgroup,
    flowtop_cgroup_record as RawCgroupRecord, flowtop_key4 as RawKey4, flowtop_key6 as RawKey6,
    flowtop_owner as RawOwner, flowtop_owner_record as RawOwnerRecord, flowtop_record as RawRecord,
    flowtop_row4 as RawRow4, flowtop_row6 as RawRow6, flowtop_rows as RawRows,
    flowtop_slot as RawSlot, flowtop_stats as RawStats, flowtop_tcp as RawTcp,
};

// Parts of `RawId::owner_kind`.
pub const KEY_IPV6: u32 = key_bits::FLOWTOP_KEY_IPV6.0;
pub const KEY_PROTOCOL_SHIFT: u32 = key_bits::FLOWTOP_KEY_PROTOCOL_SHIFT.0;
pub const KEY_PROTOCOL_MASK: u32 = key_bits::FLOWTOP_KEY_PROTOCOL_MASK.0;
pub const KEY_SHIFT: u32 = key_bits::FLOWTOP_KEY_SHIFT.0;
pub const KEY_OVERFLOW: u32 = key_bits::FLOWTOP_KEY_OVERFLOW.0;
/// Bits of the filter's `families`.
pub const FAMILY_IPV4: u32 = family_bits::FLOWTOP_FAMILY_IPV4.0;
pub const FAMILY_IPV6: u32 = family_bits::FLOWTOP_FAMILY_IPV6.0;
pub const FAMILY_ALL: u32 = FAMILY_IPV4 | FAMILY_IPV6 | family_bits::FLOWTOP_FAMILY_NONE.0;
// Bits of `RawTcp::marks`.
pub const TCP_READ: u32 = tcp_marks::FLOWTOP_TCP_READ.0;
pub const TCP_RX_TORN: u32 = tcp_marks::FLOWTOP_TCP_RX_TORN.0;
pub const TCP_TX_TORN: u32 = tcp_marks::FLOWTOP_TCP_TX_TORN.0;
pub const TCP_ULP: u32 = tcp_marks::FLOWTOP_TCP_ULP.0;
pub const TCP_OTHER_PROTO: u32 = tcp_marks::FLOWTOP_TCP_OTHER_PROTO.0;
pub const TCP_REPAIR: u32 = tcp_marks::FLOWTOP_TCP_REPAIR.0;
pub const TCP_URGENT: u32 = tcp_marks::FLOWTOP_TCP_URGENT.0;
pub const TCP_BUSY: u32 = tcp_marks::FLOWTOP_TCP_BUSY.0;
// Bits of `RawOwner::flags`.
pub const OWNER_KERNEL: u32 = owner_flags::FLOWTOP_OWNER_KERNEL.0;
pub const OWNER_TREES_SHIFT: u32 = owner_flags::FLOWTOP_OWNER_TREES_SHIFT.0;
/// Sockets that one run of `sample_records` or `inspect_records` reads: the bound of its loop.
pub const SAMPLES: u32 = sizes::FLOWTOP_SAMPLES.0;
/// Rows per CPU, family and buffer.
const ROWS: usize = sizes::FLOWTOP_ROWS.0 as usize;
/// Overflow entries in each buffer.
pub const OVERFLOW_ENTRIES: u32 = sizes::FLOWTOP_OVERFLOW_ENTRIES.0;

// The bounds of the filter's lists are the same on both sides.
const _: () = assert!(filter_bounds::FLOWTOP_MAX_TASKS.0 as usize == MAX_TASKS);
const _: () = assert!(filter_bounds::FLOWTOP_MAX_UIDS.0 as usize == MAX_UIDS);
const _: () = assert!(filter_bounds::FLOWTOP_MAX_NETNS.0 as usize == MAX_NETNS);
const _: () = assert!(filter_bounds::FLOWTOP_MAX_PORTS.0 as usize == MAX_PORTS);
const _: () = assert!(filter_bounds::FLOWTOP_MAX_NETS.0 as usize == MAX_NETS);
const _: () = assert!(filter_bounds::FLOWTOP_MAX_TREES.0 as usize == MAX_TREES);
const _: fn(&rodata) -> &[u32; MAX_TASKS] = |data| &data.tgids;
const _: fn(&rodata) -> &[u32; MAX_UIDS] = |data| &data.uids;

const _: () = assert!(size_of::<RawKey4>() == 24);
const _: () = assert!(size_of::<RawKey6>() == 48);
const _: () = assert!(size_of::<RawRow4>() == 64);
const _: () = assert!(size_of::<RawRow6>() == 128);
const _: () = assert!(size_of::<RawRows>() == 2 * (ROWS * (64 + 128) + 64));
const _: () = assert!(size_of::<RawStats>() == 32);
const _: () = assert!(size_of::<RawSlot>() == 64);
const _: () = assert!(size_of::<RawOwner>() == 64);
const _: () = assert!(size_of::<RawOwnerRecord>() == 72);
const _: () = assert!(size_of::<RawCgroup>() == 1288);
const _: () = assert!(size_of::<RawCgroupRecord>() == 1296);
const _: () = assert!(size_of::<RawTcp>() == 88);
const _: () = assert!(size_of::<RawRecord>() == 208);
const _: () = assert!(size_of::<RawAnswer>() == 32);

// SAFETY: `repr(C)` structs of integers and arrays of integers without padding (their sizes are
// asserted above to be the sums of their fields), so every bit pattern is a value.
unsafe impl plain::Plain for RawKey4 {}
// SAFETY: as above.
unsafe impl plain::Plain for RawKey6 {}
// SAFETY: as above.
unsafe impl plain::Plain for RawSlot {}
// SAFETY: as above.
unsafe impl plain::Plain for RawRows {}
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
// SAFETY: as above.
unsafe impl plain::Plain for RawAnswer {}

/// Returns the bytes of a record.
pub fn bytes_of(record: &RawRecord) -> &[u8] {
    // SAFETY: it has no padding (its size is asserted above), so all its bytes are initialized.
    unsafe { plain::as_bytes(record) }
}

/// Passes on the rows of one buffer of a CPU, which no program writes any more, and frees them.
pub fn take_rows(rows: *mut RawRows, buffer: usize, mut each: impl FnMut(RawKey6, RawStats)) {
    // SAFETY: the caller's pointer is into the mapped array, whose elements are these structs,
    // aligned for them. Programs write the other buffer only, so no other thread or program touches
    // this one; by raw pointers, for references must not reach what programs write.
    unsafe {
        let buffer = (&raw mut (*rows).buffers)
            .cast::<types::flowtop_row_buffer>()
            .add(buffer);
        let taken = (&raw mut (*buffer).taken).read_volatile();
        let v4 = (&raw mut (*buffer).v4).cast::<RawRow4>();
        for i in 0..if taken[0] > 0 { ROWS } else { 0 } {
            let row = v4.add(i).read_volatile();
            if row.key.id.owner_kind != 0 {
                let key = RawKey6 {
                    id: row.key.id,
                    remote_addr: [row.key.remote_addr, 0, 0, 0],
                    local_addr: [row.key.local_addr, 0, 0, 0],
                };
                each(key, row.stats);
                v4.add(i).write_volatile(RawRow4::default());
            }
        }
        let v6 = (&raw mut (*buffer).v6).cast::<RawRow6>();
        for i in 0..if taken[1] > 0 { ROWS } else { 0 } {
            let row = v6.add(i).read_volatile();
            if row.key.id.owner_kind != 0 {
                each(row.key, row.stats);
                v6.add(i).write_volatile(RawRow6::default());
            }
        }
        (&raw mut (*buffer).taken).write_volatile([0; 2]);
    }
}

/// Whether all rows of one buffer of a CPU are free.
#[cfg(test)]
pub fn rows_are_free(rows: *const RawRows, buffer: usize) -> bool {
    // SAFETY: as in `take_rows`; a copy, of memory that nothing writes meanwhile.
    let rows = unsafe { rows.read_volatile() };
    let buffer = &rows.buffers[buffer];
    let v4 = buffer.v4.iter().map(|row| row.key.id.owner_kind);
    let v6 = buffer.v6.iter().map(|row| row.key.id.owner_kind);
    v4.chain(v6).all(|owner| owner == 0)
}

thread_local! {
    /// The object that [`unpacked_object`] handed out, until it is freed.
    static UNPACKED: Cell<Option<*mut [u8]>> = const { Cell::new(None) };
}

/// Unpacks the object that `build.rs` embeds. [`with_open_object`] frees it.
fn unpacked_object() -> &'static [u8] {
    let object: &'static mut [u8] = Vec::leak(unpack());
    UNPACKED.set(Some(object));
    object
}

/// Opens the object, passes it to a function, and frees it afterwards.
///
/// # Errors
/// When libbpf cannot open it, and those of the function.
pub fn with_open_object<T>(
    use_object: impl for<'obj> FnOnce(OpenFlowtopSkel<'obj>) -> Result<T>,
) -> Result<T> {
    let used = {
        let mut storage = MaybeUninit::uninit();
        let open = FlowtopSkelBuilder::default().open(&mut storage);
        open.context("open the BPF object").and_then(use_object)
    };
    if let Some(object) = UNPACKED.take() {
        // SAFETY: a box that was leaked. References to it are in skeletons only, and that which was
        // opened here is gone: what the function returns cannot hold one, whose life is only known
        // to be some `'obj`.
        drop(unsafe { Box::from_raw(object) });
    }
    used
}

/// A program that user space runs.
pub struct Program(OwnedFd);

impl Program {
    /// Duplicates the descriptor of a loaded program.
    ///
    /// # Errors
    /// When there is no room for another descriptor.
    pub fn new(program: &ProgramImpl<'_, Mut>) -> Result<Self> {
        let fd = program.as_fd().try_clone_to_owned();
        Ok(Self(fd.context("keep a program")?))
    }

    /// Runs the program once, without a context, and returns what it returned.
    ///
    /// # Errors
    /// When the kernel does not run it.
    pub fn run(&self) -> io::Result<u32> {
        let mut opts = libbpf_sys::bpf_test_run_opts {
            sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
            ..Default::default()
        };
        // SAFETY: `opts` is a zeroed struct of the size it names: no pointer in it is followed.
        let ret = unsafe { libbpf_sys::bpf_prog_test_run_opts(self.0.as_raw_fd(), &mut opts) };
        match ret {
            0 => Ok(opts.retval),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        }
    }
}

/// The variables that programs and user space share, mapped.
pub struct SharedData(MmapMut);

impl SharedData {
    /// Maps the `.bss` of a loaded object.
    ///
    /// # Errors
    /// When the kernel refuses the mapping.
    pub fn map(map: &Map<'_>) -> Result<Self> {
        let size = size_of::<types::bss>();
        ensure!(map.value_size() as usize >= size, "the data is too small");
        // SAFETY: the kernel keeps the pages for the mapping's life. Programs write them at any
        // time: who reads them does so by atomics and volatile reads.
        let memory = unsafe {
            MmapOptions::new()
                .len(size)
                .map_mut(map.as_fd().as_raw_fd())
        };
        Ok(Self(memory.context("map the BPF object's data")?))
    }

    fn variables(&mut self) -> *mut types::bss {
        self.0.as_mut_ptr().cast()
    }
}

// Every event reads `active`: what programs or the drain write is on other cache lines.
const _: () = {
    let line = offset_of!(types::bss, active) / 64;
    assert!(line != offset_of!(types::bss, held) / 64);
    assert!(line != offset_of!(types::bss, nr_records) / 64);
    assert!(line < offset_of!(types::bss, untracked) / 64);
    assert!(line != offset_of!(types::bss, missed_calls) / 64);
    assert!(line != offset_of!(types::bss, lost_answers) / 64);
};

/// Returns the flag that selects the active buffer.
pub fn active(data: &mut SharedData) -> &AtomicU32 {
    let bss = data.variables();
    // SAFETY: `active` is an aligned u32 in memory that is mapped for the life of `data`; the
    // unique borrow rules out any other Rust reference to it, and the programs only read it.
    unsafe { AtomicU32::from_ptr(&raw mut (*bss).active) }
}

/// Contents of each buffer, written by the programs.
#[repr(C)]
pub struct HeldEntries {
    /// Slots taken, by buffer, of IPv4 and of IPv6.
    pub flows: [[AtomicU32; 2]; 2],
    /// Not 0 if a process or a cgroup has an entry, by buffer.
    pub owners: [AtomicU32; 2],
    /// Not 0 if flows without a slot have an entry, by buffer.
    pub overflow: [AtomicU32; 2],
}

const _: () = assert!(size_of::<HeldEntries>() == offset_of!(types::held_entries, pad));

/// Returns the contents of each buffer. Programs add to those of the active buffer.
pub fn held(data: &mut SharedData) -> &HeldEntries {
    let bss = data.variables();
    // SAFETY: aligned integers of 32 bits, in the order of `held_entries`, in memory that is mapped
    // for the life of `data`; the unique borrow rules out any other Rust reference to them, and
    // programs only add atomically or store whole integers.
    unsafe { &*(&raw mut (*bss).held).cast::<HeldEntries>() }
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

/// Returns the counters of flows without a slot, summed over the CPUs' slots. Cumulative.
pub fn untracked(data: &mut SharedData) -> Counters {
    let bss = data.variables();
    let mut sum = RawStats::default();
    // SAFETY: live memory that programs add to: integers of 64 aligned bits, so none is torn in
    // itself.
    unsafe {
        let slots: *const [types::untracked_slot] = &raw const (*bss).untracked;
        for slot in 0..slots.len() {
            let slot = slots.cast::<types::untracked_slot>().add(slot);
            sum += &(&raw const (*slot).stats).read_volatile();
        }
    }
    (&sum).into()
}

/// Returns the number of calls that were not carried from entry to return. Cumulative.
pub fn missed_calls(data: &mut SharedData) -> u64 {
    let bss = data.variables();
    // SAFETY: as in `untracked`.
    unsafe { (&raw const (*bss).missed_calls).read_volatile() }
}

/// Returns the number of DNS answers that found the ring full. Cumulative.
pub fn lost_answers(data: &mut SharedData) -> u64 {
    let bss = data.variables();
    // SAFETY: as in `untracked`.
    unsafe { (&raw const (*bss).lost_answers).read_volatile() }
}

/// `bpf_prog_info.recursion_misses`: runs the kernel skipped because the program, or for kprobe
/// and tracepoint programs any program, was already running on the CPU. Filled for trampolines
/// from 5.12, for raw tracepoints from 6.1, for kprobes and tracepoints from 6.7; zero on kernels
/// that do not count it.
pub fn recursion_misses(program: &Program) -> io::Result<u64> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut len = size_of_val(&info) as u32;
    // SAFETY: `info` is a zeroed struct of the length given: the kernel fills at most that much
    // and, all array pointers being null, writes nowhere else.
    let ret =
        unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.0.as_raw_fd(), &mut info, &mut len) };
    match ret {
        0 => Ok(info.recursion_misses),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}
