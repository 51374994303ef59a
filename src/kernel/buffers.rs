//! Switches the buffer that the programs write, and waits until no program writes the retired one.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use rustix::thread::{MembarrierCommand, membarrier};

use super::backend::Backend;
use super::drain::Buffer;
use super::skel::{self, FlowtopSkel, SharedData};

/// Activates the other buffer and returns the retired one. Programs that have read the flag before
/// still write the retired buffer: see [`GracePeriod::wait`].
pub fn flip(data: &mut SharedData) -> Buffer {
    match skel::active(data).fetch_xor(1, Ordering::SeqCst) {
        0 => Buffer::A,
        _ => Buffer::B,
    }
}

/// Contents of a retired buffer, by which the drain skips empty maps.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Number of flows with a slot, of IPv4 and IPv6.
    pub flows: [u32; 2],
    /// Whether processes have entries; without them cgroups have none either.
    pub owners: bool,
    /// Whether flows without a slot have entries.
    pub overflow: bool,
}

/// Returns the contents of the retired buffer, which no running program may still write, and resets
/// the counters for the programs. Call it once before each drain.
pub fn take_held(data: &mut SharedData, retired: Buffer) -> Held {
    let held = skel::held(data);
    let buffer = retired.index();
    let take = |count: &AtomicU32| count.swap(0, Ordering::Relaxed);
    Held {
        flows: held.flows[buffer].each_ref().map(take),
        owners: take(&held.owners[buffer]) > 0,
        overflow: take(&held.overflow[buffer]) > 0,
    }
}

/// The wait for programs that run.
pub struct GracePeriod {
    backend: Backend,
    /// A map of maps with one slot, and the map that is put into it.
    outer: MapHandle,
    inner: MapHandle,
}

impl GracePeriod {
    /// Prepares the wait for the programs of `backend`.
    ///
    /// # Errors
    /// When there is no room for more descriptors.
    pub fn new(skel: &FlowtopSkel<'_>, backend: Backend) -> Result<Self> {
        Ok(Self {
            backend,
            outer: MapHandle::try_from(&skel.maps.grace).context("keep a map")?,
            inner: MapHandle::try_from(&skel.maps.grace_slot).context("keep a map")?,
        })
    }

    /// Returns when every program that may have read the flag before the flip has ended; a sleep
    /// would be a guess.
    ///
    /// Tracepoint and kprobe programs run with preemption off, so membarrier's synchronize_rcu()
    /// waits for them. On a single CPU membarrier returns at once, and no program can be half done
    /// there while this thread runs. Fentry programs can be preempted half done; for them the
    /// update of a slot of a map of maps waits (`maybe_wait_bpf_programs()`). That update would not
    /// do for the other backends: the system call holds `bpf_prog_active` for a moment, and if it
    /// is preempted in it, their programs skip every event on that CPU (measured on 7.2 in a storm
    /// of eight pairs on two CPUs: 306 to 943 of 4 to 6 million events in 512 flips, and none by
    /// membarrier).
    ///
    /// # Errors
    /// When the kernel refuses both.
    pub fn wait(&self) -> Result<()> {
        // Refused under nohz_full.
        if self.backend != Backend::Fentry && membarrier(MembarrierCommand::Global).is_ok() {
            return Ok(());
        }
        let slot = self.inner.as_fd().as_raw_fd();
        self.outer
            .update(&0u32.to_ne_bytes(), &slot.to_ne_bytes(), MapFlags::ANY)
            .context("wait for running programs")
    }
}
