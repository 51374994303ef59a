//! Computes the kernel memory that the maps take, and checks that the machine has it.

use std::fs;

use anyhow::Result;

use super::memory_limit::{self, MemoryLimit};
use super::requirements::{self, MissingRequirement};
use super::skel;

/// Returns the kernel memory of the flow maps, in bytes, for `max_flows` flows of IPv4 and as many
/// of IPv6, and for the entries of flows without a slot, in two buffers. An entry of a preallocated
/// hash map takes 64 bytes plus its key (24, 48, 8) and its value (64), regardless of the number of
/// CPUs (measured).
const fn map_bytes(max_flows: u32) -> u64 {
    2 * (max_flows as u64 * (2 * 64 + 24 + 48 + 2 * 64)
        + skel::OVERFLOW_ENTRIES as u64 * (64 + 8 + 64))
}

/// Returns the kernel memory of the rows, in bytes. The kernel allocates them for every possible
/// CPU.
fn row_bytes() -> u64 {
    let cpus = libbpf_rs::num_possible_cpus().unwrap_or(1);
    (cpus * size_of::<skel::RawRows>()) as u64
}

/// Default of `--max-flows`: flows per family.
pub(super) const DEFAULT_MAX_FLOWS: u32 = 65_536;

/// Size of the flow maps, and the memory they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapMemory {
    /// Flows of IPv4, and as many of IPv6, in each of the two buffers.
    pub flows: u32,
    /// Kernel memory, in bytes.
    pub bytes: u64,
}

/// Returns the memory that the maps take on this machine with `--max-flows`, or with its default.
///
/// # Errors
/// When that is more than there is room for.
pub fn map_memory(max_flows: Option<u32>) -> Result<MapMemory> {
    let flows = max_flows.unwrap_or(DEFAULT_MAX_FLOWS);
    check_memory(flows)?;
    let bytes = map_bytes(flows) + row_bytes();
    Ok(MapMemory { flows, bytes })
}

/// Memory that flowtop takes beside the flow maps, in bytes: the other maps, and the process itself.
const OTHER_BYTES: u64 = 15_000_000;
/// Memory that flowtop takes beside the flow maps, in bytes, with a reserve for a run: used to
/// propose a number of flows.
const AMPLE_BYTES: u64 = 22_000_000;

/// Checks that the maps, which are allocated in full at the start, leave half of the available
/// memory free and fit into the limits of the own cgroups.
///
/// # Errors
/// When they would take more than half of what is available, or more than a cgroup may.
fn check_memory(max_flows: u32) -> Result<(), MissingRequirement> {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let half = MemoryLimit {
        bytes: available_bytes(&meminfo) / 2,
        whose: "half of the memory that is available".to_owned(),
    };
    // Before 5.11 maps are charged to no cgroup.
    let of_cgroups = memory_limit::of_cgroups().filter(|_| !requirements::is_memlock_charged());
    let needed = map_bytes(max_flows) + row_bytes();
    let rooms = [(Some(half), 0, 0), (of_cgroups, OTHER_BYTES, AMPLE_BYTES)];
    for (room, other, ample) in rooms {
        let Some(room) = room else {
            continue;
        };
        if needed + other > room.bytes {
            let fitting = fitting_flows(room.bytes.saturating_sub(ample + row_bytes()));
            let whose = &room.whose;
            return Err(requirements::of_memory(
                max_flows,
                needed + other,
                room.bytes,
                whose,
                fitting,
            ));
        }
    }
    Ok(())
}

/// Returns the largest power of two of flows whose maps fit into `bytes`.
fn fitting_flows(bytes: u64) -> Option<u32> {
    let flows = (4..24).rev().map(|power| 1 << power);
    flows.into_iter().find(|&flows| map_bytes(flows) <= bytes)
}

/// Returns `MemAvailable` of /proc/meminfo in bytes; `u64::MAX` if it is missing.
fn available_bytes(meminfo: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(u64::MAX, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_in_bytes() {
        assert_eq!(
            available_bytes("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"),
            2 << 20
        );
        assert_eq!(available_bytes(""), u64::MAX);
    }
}
