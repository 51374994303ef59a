//! The kernel's own counters of missed events: skipped programs, missed return probes, and calls
//! that found no room. They are read every interval and shown whenever they are not zero.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::backend::Backend;
use super::hooks::Hook;
use super::running_kernel::Preemption;
use super::skel::{self, Program, SharedData};
use super::tracefs::KprobeEvents;
use crate::model::flow::Counters;

/// Cumulative counts since the programs were loaded.
#[derive(Clone, Debug, Default)]
pub struct LossCounters {
    /// Bytes and messages of flows without a slot, beyond the overflow entries of their process.
    pub untracked: Counters,
    pub missed: u64,
    /// The part of `missed` that cost datagrams their peers, by [`Hook::peers`], but no bytes.
    pub peers: BTreeMap<&'static str, u64>,
    /// DNS answers that found the ring full.
    pub answers: u64,
}

impl LossCounters {
    /// The paths on which peers were missed since an earlier reading.
    pub fn peers_missed_since(&self, earlier: &Self) -> BTreeSet<&'static str> {
        let missed = self.peers.iter();
        let missed = missed.filter(|(path, count)| earlier.peers.get(*path) != Some(count));
        missed.map(|(path, _)| *path).collect()
    }
}

/// An attached program, whose `recursion_misses` are missed events.
pub struct Watched {
    program: Program,
    /// The path whose peers its skipped runs cost.
    peers: Option<&'static str>,
}

impl Watched {
    pub fn new(program: Program, hook: &Hook) -> Self {
        let peers = hook.peers();
        Self { program, peers }
    }
}

/// Reads the loss counters of the attached programs, and those that the programs keep in `data`.
///
/// # Errors
/// When the kernel does not answer.
pub fn read(
    data: &mut SharedData,
    attached: &[Watched],
    kprobes: Option<&KprobeEvents>,
) -> Result<LossCounters> {
    let mut missed = skel::missed_calls(data);
    let mut peers = BTreeMap::new();
    for watched in attached {
        let skipped = skel::recursion_misses(&watched.program);
        let skipped = skipped.context("read a program's missed events")?;
        missed += skipped;
        if let Some(path) = watched.peers {
            *peers.entry(path).or_default() += skipped;
        }
    }
    if let Some(kprobes) = kprobes {
        missed += kprobes.missed()?;
    }
    Ok(LossCounters {
        untracked: skel::untracked(data),
        missed,
        peers,
        answers: skel::lost_answers(data),
    })
}

/// Whether events may be missed that no counter reports. Tracepoint and kprobe programs skip events
/// during a preempted bpf() call; the kernel counts these since dd8657894c11 (v6.7). Trampolines
/// have counted their skipped runs since they skip any.
pub const fn misses_unknown(backend: Backend, preemption: Preemption, are_counted: bool) -> bool {
    match (backend, preemption) {
        (Backend::RawTracepoint | Backend::Fentry, _) | (_, Preemption::Off) => false,
        (_, Preemption::Possible) => !are_counted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_unknown_on_the_path_whose_program_was_skipped() {
        let reading = |recv, send| LossCounters {
            peers: BTreeMap::from([("udp_recv_peer", recv), ("udp_send_peer", send)]),
            ..LossCounters::default()
        };
        let missed = |now: (u64, u64), earlier: (u64, u64)| {
            let now = reading(now.0, now.1).peers_missed_since(&reading(earlier.0, earlier.1));
            now.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(missed((7, 1), (7, 1)), [""; 0]);
        assert_eq!(missed((8, 1), (7, 1)), ["udp_recv_peer"]);
        assert_eq!(missed((8, 2), (7, 1)), ["udp_recv_peer", "udp_send_peer"]);
    }

    #[test]
    fn misses_are_unknown_where_a_kernel_skips_programs_and_does_not_count_that() {
        use Backend::{Fentry, Kprobe, RawTracepoint, Tracepoint};
        use Preemption::{Off, Possible};
        for backend in [Kprobe, Tracepoint] {
            assert!(misses_unknown(backend, Possible, false));
            assert!(!misses_unknown(backend, Possible, true));
            assert!(!misses_unknown(backend, Off, false));
        }
        for backend in [RawTracepoint, Fentry] {
            assert!(!misses_unknown(backend, Possible, false));
        }
    }
}
