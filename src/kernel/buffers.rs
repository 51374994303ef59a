//! Which of the two buffers the programs write, and the wait after a change.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags};

use super::drain::Buffer;
use super::skel::FlowtopSkel;

/// Makes the other buffer the active one and returns the one retired. Programs that already read
/// the flag still write that: see [`wait_for_running_programs`].
///
/// # Errors
/// When the object has no `.bss`, which it has.
pub fn flip(skel: &mut FlowtopSkel<'_>) -> Result<Buffer> {
    let bss = skel
        .maps
        .bss_data
        .as_deref_mut()
        .context("find the BPF object's data")?;
    // SAFETY: `active` is an aligned u32 in memory shared with the programs for the life of `bss`;
    // no other Rust reference to it exists, and the programs only read it.
    let active = unsafe { AtomicU32::from_ptr(&raw mut bss.active) };
    Ok(match active.fetch_xor(1, Ordering::SeqCst) {
        0 => Buffer::A,
        _ => Buffer::B,
    })
}

/// Returns when every program that may have read the flag before the flip has ended: the kernel
/// updates a slot of a map of maps so (`maybe_wait_bpf_programs()`). A sleep would guess, and
/// membarrier() returns at once on one CPU and fails under nohz_full (measured: events lost).
///
/// # Errors
/// When the kernel refuses the update.
pub fn wait_for_running_programs(skel: &FlowtopSkel<'_>) -> Result<()> {
    let slot = skel.maps.grace_slot.as_fd().as_raw_fd();
    skel.maps
        .grace
        .update(&0u32.to_ne_bytes(), &slot.to_ne_bytes(), MapFlags::ANY)
        .context("wait for running programs")
}
