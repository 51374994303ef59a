//! Moves everything out of the retired buffer and turns it into flows.
//!
//! Kernels with bpf_for_each_map_elem() (from 5.13) drain in the kernel: programs move the maps'
//! entries into arrays that are mapped here, so that no bpf() look-up makes probes skip events.
//! Older kernels are drained by batches of system calls; they do not preempt themselves by default,
//! so nothing is skipped.

mod batches;
mod decoder;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod records;
mod rows;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use libbpf_rs::{MapCore as _, MapFlags, MapHandle, ProgramMut, ProgramType, libbpf_sys};

use self::batches::Batches;
pub use self::decoder::Decoder;
use self::decoder::{DrainedOwners, protocol_of};
pub use self::records::{Records, from_bytes};
use self::rows::CpuRows;
use super::buffers::Held;
use super::inspect::Inspector;
use super::runnable::RunnableThreads;
use super::skel::{FlowtopSkel, Program, RawCgroupRecord, RawOwnerRecord, RawRecord};
use crate::model::flow::Flow;
use crate::model::interval::{Audit, Unknown};

/// Maximum number of readings, before a flip, of sockets that a call holds.
const SOON_TRIES: u32 = 8;

/// Which of the two buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// The maps `*_a`, active when the flag is 0.
    A,
    /// The maps `*_b`, active when the flag is 1.
    B,
}

impl Buffer {
    /// The buffer's number in arrays of both, which is the flag that makes it active.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One value for each map of a buffer.
struct Buffered<T> {
    cgroups: T,
    owners: T,
    flows4: T,
    flows6: T,
    overflow: T,
}

impl<T> Buffered<T> {
    /// Applies a function to each value.
    fn try_map<U>(self, make: impl Fn(T) -> Result<U>) -> Result<Buffered<U>> {
        Ok(Buffered {
            cgroups: make(self.cgroups)?,
            owners: make(self.owners)?,
            flows4: make(self.flows4)?,
            flows6: make(self.flows6)?,
            overflow: make(self.overflow)?,
        })
    }
}

/// Takes the counts out of the retired buffer, and keeps the state that the next interval is
/// compared with.
pub struct Drain {
    method: DrainMethod,
    rows: CpuRows,
    decoder: Decoder,
    inspector: Inspector,
    /// Threads that ran or waited for a processor when sockets were read last, of processes whose
    /// bytes may be missing.
    runnable: Vec<RunnableThreads>,
    /// A map for the trial look-up of [`Drain::try_access`].
    owners: MapHandle,
    begun: Instant,
}

/// How the buffer is drained; depends on the kernel.
enum DrainMethod {
    /// Programs run by BPF_PROG_TEST_RUN, writing to mapped memory.
    InKernel {
        programs: [Buffered<Program>; 2],
        records: Records,
        owners: Records,
        cgroups: Records,
    },
    /// bpf(BPF_MAP_LOOKUP_AND_DELETE_BATCH), which needs 5.6.
    Batches(Box<Batches>),
}

/// Whether the kernel has the helper of the drain programs (5.13).
pub fn in_kernel_supported() -> bool {
    ProgramType::RawTracepoint
        .is_helper_supported(libbpf_sys::BPF_FUNC_for_each_map_elem)
        .unwrap_or(false)
}

impl Drain {
    /// Prepares to drain a loaded object.
    ///
    /// # Errors
    /// When the records cannot be mapped or the number of CPUs is unknown.
    pub fn new(skel: &FlowtopSkel<'_>, in_kernel: bool, decoder: Decoder) -> Result<Self> {
        let maps = &skel.maps;
        let method = if in_kernel {
            DrainMethod::InKernel {
                programs: drain_programs(skel)?,
                records: Records::map::<RawRecord>(&maps.records)?,
                owners: Records::map::<RawOwnerRecord>(&maps.owner_records)?,
                cgroups: Records::map::<RawCgroupRecord>(&maps.cgroup_records)?,
            }
        } else {
            DrainMethod::Batches(Box::new(Batches::new(skel)?))
        };
        Ok(Self {
            method,
            rows: CpuRows::map(&maps.rows)?,
            decoder,
            inspector: Inspector::new(
                Program::new(&skel.progs.inspect_records)?,
                Records::map::<RawRecord>(&maps.inspected)?,
            ),
            runnable: Vec::new(),
            owners: MapHandle::try_from(&maps.owners_a).context("keep a map")?,
            begun: Instant::now(),
        })
    }

    /// Empties the retired buffer, which no running program may still write, into `flows`. Maps
    /// that hold nothing are skipped, because a walk takes 14 ns a bucket, empty or not. Returns
    /// the number of processes that found the map of owners full, and the comparison of the counts
    /// with the sockets' own counters.
    ///
    /// # Errors
    /// When the kernel refuses a drain; what was taken before stands in `flows`.
    pub fn take(
        &mut self,
        retired: Buffer,
        held: Held,
        flows: &mut Vec<Flow>,
    ) -> Result<(Unknown, Audit)> {
        let unknown = self.empty(retired, held, flows)?;
        let samples = &mut self.decoder.samples;
        let to_inspect = samples.sockets_to_inspect();
        let inspected = self.inspector.inspect(&to_inspect)?;
        let audit = samples.settle(self.begun.elapsed(), &inspected, flows);
        let doubted = samples.doubted_processes().iter();
        self.runnable = doubted
            .map(|&tgid| RunnableThreads::read(Path::new("/proc"), tgid))
            .collect();
        Ok((unknown, audit))
    }

    /// Prepares the audit right before a flip: finds threads that have not run since the previous
    /// one, and reads sockets if calls were missed in the previous interval.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn read_soon(&mut self) -> Result<()> {
        let samples = &mut self.decoder.samples;
        let threads = self.runnable.drain(..);
        samples.hold(threads.filter_map(|it| it.may_still_wait().then_some(it.tgid)));
        let mut to_inspect = samples.sockets_before_flip();
        for _ in 0..SOON_TRIES {
            if to_inspect.is_empty() {
                break;
            }
            let in_call = samples.note_soon(&self.inspector.inspect(&to_inspect)?);
            to_inspect.retain(|one| in_call.contains(&one.sk));
        }
        Ok(())
    }

    /// Notes whether calls were missed in the interval that was drained last.
    pub const fn note_missed(&mut self, has_missed: bool) {
        self.decoder.samples.note_missed(has_missed);
    }

    /// Makes the system calls of a drain, and takes nothing.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn try_access(&mut self) -> Result<()> {
        self.inspector.try_access()?;
        let owner = 0_u32.to_ne_bytes();
        let found = self.owners.lookup(&owner, MapFlags::ANY);
        found.context("look into a map").map(drop)
    }

    fn empty(&mut self, retired: Buffer, held: Held, flows: &mut Vec<Flow>) -> Result<Unknown> {
        let (decoder, rows) = (&mut self.decoder, &mut self.rows);
        flows.reserve(held.flows.iter().map(|&flows| flows as usize).sum());
        rows.take(retired);
        decoder.samples.next_interval();
        decoder.unknown_owners.clear();
        let mut owners = decoder.owners();
        match &mut self.method {
            DrainMethod::InKernel {
                programs,
                records,
                owners: owner_records,
                cgroups,
            } => {
                let drains = &programs[retired.index()];
                let take_flows = [
                    (&drains.flows4, held.flows[0]),
                    (&drains.flows6, held.flows[1]),
                    (&drains.overflow, some(held.overflow)),
                ];
                cgroups
                    .each(
                        &drains.cgroups,
                        some(held.owners),
                        |raw: &RawCgroupRecord| {
                            owners.add_cgroup(raw.id, &raw.cgroup);
                        },
                    )
                    .context("drain the cgroups")?;
                owner_records
                    .each(&drains.owners, some(held.owners), |raw: &RawOwnerRecord| {
                        owners.add(raw.id, &raw.owner);
                    })
                    .context("drain the owners")?;
                for (program, entries) in take_flows {
                    records
                        .each(program, entries, |raw: &RawRecord| {
                            let merged = rows.merge(raw);
                            decoder.append(merged.as_ref().unwrap_or(raw), &owners, flows);
                        })
                        .context("drain the flows")?;
                }
            }
            DrainMethod::Batches(batches) => {
                batches.take(retired, held, &mut owners, |raw, owners| {
                    let merged = rows.merge(raw);
                    decoder.append(merged.as_ref().unwrap_or(raw), owners, flows);
                })?
            }
        }
        for raw in rows.without_record() {
            decoder.append(&raw, &owners, flows);
        }
        Ok(Unknown {
            processes: decoder.unknown_owners.len() as u64,
            cgroups: owners.without_cgroup,
            // Known after the drain: `LossCounters::answers`.
            answers: 0,
        })
    }
}

/// Returns the drain programs of both buffers.
fn drain_programs(skel: &FlowtopSkel<'_>) -> Result<[Buffered<Program>; 2]> {
    let progs = &skel.progs;
    let a = Buffered {
        cgroups: &progs.drain_cgroups_a,
        owners: &progs.drain_owners_a,
        flows4: &progs.drain_flows4_a,
        flows6: &progs.drain_flows6_a,
        overflow: &progs.drain_overflow_a,
    };
    let b = Buffered {
        cgroups: &progs.drain_cgroups_b,
        owners: &progs.drain_owners_b,
        flows4: &progs.drain_flows4_b,
        flows6: &progs.drain_flows6_b,
        overflow: &progs.drain_overflow_b,
    };
    let keep = |program: &ProgramMut<'_>| Program::new(program);
    Ok([a.try_map(keep)?, b.try_map(keep)?])
}

/// Returns an upper bound of the entries of a map that is only known to be empty or not.
const fn some(has_entries: bool) -> u32 {
    if has_entries { u32::MAX } else { 0 }
}
