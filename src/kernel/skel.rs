//! The skeleton generated from `bpf/flowtop.bpf.c`, and the proof that both sides mean the same
//! bytes. Nothing outside `kernel` sees it.

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

include!(concat!(env!("OUT_DIR"), "/flowtop.skel.rs"));

pub use types::{flowtop_key as RawKey, flowtop_owner as RawOwner};
pub use types::{flowtop_record as RawRecord, flowtop_stats as RawStats};

/// Entries of the filter arrays in read-only data (`FLOWTOP_MAX_FILTERS`).
pub const MAX_FILTERS: usize = 64;
/// Low bits of `RawKey::tgid_flags` (`FLOWTOP_KEY_*`).
pub const KEY_IPV6: u32 = 1;
pub const KEY_UDP: u32 = 2;
pub const KEY_TGID_SHIFT: u32 = 2;

const _: () = assert!(size_of::<RawKey>() == 40);
const _: () = assert!(size_of::<RawStats>() == 32);
const _: () = assert!(size_of::<RawOwner>() == 16);
const _: () = assert!(size_of::<RawRecord>() == 88);
const _: () = assert!(size_of::<[u32; MAX_FILTERS]>() == 256);

// SAFETY: `repr(C)` structs of integers and arrays of integers without padding (their sizes are
// asserted above to be the sums of their fields), so every bit pattern is a value.
unsafe impl plain::Plain for RawKey {}
// SAFETY: as above.
unsafe impl plain::Plain for RawStats {}
// SAFETY: as above.
unsafe impl plain::Plain for RawOwner {}
// SAFETY: as above.
unsafe impl plain::Plain for RawRecord {}
