//! What the kernel itself says was missed: programs it skipped, probes it could not serve, calls
//! that did not fit. Read every interval, shown whenever not zero.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyhow::{Context, Result};
use libbpf_rs::libbpf_sys;
use libbpf_rs::skel::Skel;

use super::skel::{FlowtopSkel, RawStats};
use super::tracefs::KprobeEvents;
use crate::flow::Counters;

/// Cumulative counts since the programs were loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Bytes and messages of flows that found the map full.
    pub untracked: Counters,
    /// Events not seen.
    pub missed: u64,
}

/// Reads all there is to read about `skel`, of which the programs named `attached` are in use.
///
/// # Errors
/// When the kernel does not answer.
pub fn read(
    skel: &FlowtopSkel<'_>,
    attached: &[&str],
    kprobes: Option<&KprobeEvents>,
) -> Result<Reading> {
    let mut reading = Reading::default();
    if let Some(bss) = skel.maps.bss_data.as_deref() {
        for slot in &bss.untracked {
            // SAFETY: `slot.stats` is live memory that programs add to; a volatile read of a valid
            // reference, of integers that are torn at worst between each other, never within
            // (aligned 64-bit words).
            let stats: RawStats = unsafe { std::ptr::read_volatile(&raw const slot.stats) };
            reading.untracked += Counters {
                rx_bytes: stats.rx_bytes,
                tx_bytes: stats.tx_bytes,
                rx_msgs: stats.rx_msgs,
                tx_msgs: stats.tx_msgs,
            };
        }
        // SAFETY: as above.
        reading.missed += unsafe { std::ptr::read_volatile(&raw const bss.missed_calls) };
    }
    for program in skel.object().progs() {
        if attached.iter().any(|name| program.name() == *name) {
            reading.missed += recursion_misses(program.as_fd())?;
        }
    }
    if let Some(kprobes) = kprobes {
        reading.missed += kprobes.missed()?;
    }
    Ok(reading)
}

/// `bpf_prog_info.recursion_misses`: runs the kernel skipped because the program, or for kprobe
/// and tracepoint programs any program, was already running on the CPU. Filled for trampolines
/// from 5.12, for kprobes and tracepoints from 6.7; zero on kernels that do not count it.
fn recursion_misses(program: BorrowedFd<'_>) -> Result<u64> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut len = u32::try_from(size_of_val(&info))?;
    // SAFETY: `info` is a zeroed struct of the length given: the kernel fills at most that much
    // and, all array pointers being null, writes nowhere else.
    let ret =
        unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &mut info, &mut len) };
    if ret != 0 {
        return Err(std::io::Error::from_raw_os_error(-ret))
            .context("read a program's missed events");
    }
    Ok(info.recursion_misses)
}
