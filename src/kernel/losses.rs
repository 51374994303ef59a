//! The kernel's own counters of missed events: skipped programs, missed return probes, and calls
//! that found no room. They are read every interval and shown whenever they are not zero.

use anyhow::{Context, Result};

use super::backend::Backend;
use super::running_kernel::Preemption;
use super::skel::{self, Program, SharedData};
use super::tracefs::KprobeEvents;
use crate::model::flow::Counters;

/// Cumulative counts since the programs were loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossCounters {
    /// Bytes and messages of flows without a slot that did not even fit into their process's sum.
    pub untracked: Counters,
    pub missed: u64,
    /// Answers of name servers that found no room.
    pub answers: u64,
}

/// Reads all there is to read about the programs that are attached, and what they note in `data`.
///
/// # Errors
/// When the kernel does not answer.
pub fn read(
    data: &mut SharedData,
    attached: &[Program],
    kprobes: Option<&KprobeEvents>,
) -> Result<LossCounters> {
    let mut missed = skel::missed_calls(data);
    for program in attached {
        missed += skel::recursion_misses(program).context("read a program's missed events")?;
    }
    if let Some(kprobes) = kprobes {
        missed += kprobes.missed()?;
    }
    Ok(LossCounters {
        untracked: skel::untracked(data),
        missed,
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
