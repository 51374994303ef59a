//! What the kernel itself says was missed: programs it skipped, probes it could not serve, calls
//! that did not fit. Read every interval, shown whenever not zero.

use anyhow::{Context, Result};
use libbpf_rs::skel::Skel;

use super::skel::{self, FlowtopSkel};
use super::tracefs::KprobeEvents;
use crate::flow::Counters;

/// Cumulative counts since the programs were loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Bytes and messages of flows that found no room, not even as their process's.
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
    let bss = skel.maps.bss_data.as_deref();
    let bss = bss.context("find the BPF object's data")?;
    let mut missed = skel::missed_calls(bss);
    for program in skel.object().progs() {
        if attached.iter().any(|name| program.name() == *name) {
            missed += skel::recursion_misses(&program).context("read a program's missed events")?;
        }
    }
    if let Some(kprobes) = kprobes {
        missed += kprobes.missed()?;
    }
    Ok(Reading {
        untracked: skel::untracked(bss),
        missed,
    })
}
