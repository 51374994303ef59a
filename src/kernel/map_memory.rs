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

/// Kernel memory that the rows of so many possible CPUs take, in bytes.
const fn row_bytes(cpus: usize) -> u64 {
    (cpus * size_of::<skel::RawRows>()) as u64
}

fn possible_cpus() -> usize {
    libbpf_rs::num_possible_cpus().unwrap_or(1)
}

/// Processes of the kernel side, in each of the two buffers. They are fewer than flows, and of one
/// too many `/proc` knows. Threads may be as many as flows.
pub(super) fn owner_entries(max_flows: u32, by_thread: bool) -> u32 {
    match by_thread {
        true => max_flows,
        false => (max_flows / 4).max(1024),
    }
}

/// Flows per run of the drain, or a sixteenth of the map's slots if that is more: each run walks
/// the map from its beginning, 14 ns a bucket.
const RECORDS: u32 = 16_384;

/// Flows that one run of a drain in the kernel hands over.
pub(super) fn record_entries(max_flows: u32) -> u32 {
    RECORDS.max(max_flows / 16).min(max_flows)
}

/// Kernel memory of the other maps that grow with `--max-flows`, in bytes: an entry of a process
/// takes 64 bytes, its key (8) and its value (64).
fn companion_bytes(max_flows: u32, by_thread: bool) -> u64 {
    let owners = u64::from(owner_entries(max_flows, by_thread)) * 2 * (64 + 8 + 64);
    owners + u64::from(record_entries(max_flows)) * size_of::<skel::RawRecord>() as u64
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
pub fn map_memory(max_flows: Option<u32>, by_thread: bool) -> Result<MapMemory> {
    let flows = max_flows.unwrap_or(DEFAULT_MAX_FLOWS);
    check_memory(flows, by_thread)?;
    let bytes = map_bytes(flows) + row_bytes(possible_cpus());
    Ok(MapMemory { flows, bytes })
}

/// The most memory that flowtop takes from here on beside the maps that grow with `--max-flows`, in
/// bytes: the other maps, the programs and what libbpf needs to load them. Measured on Linux 6.18
/// as the peak of a cgroup: 19.3 MB with 1,024, 16,384 and 65,536 flows, of which it has 3 to 4 MB
/// by now.
const OTHER_BYTES: u64 = 17_000_000;
/// `OTHER_BYTES` with a margin, for the number of flows that is proposed. Intervals and names find
/// the memory that libbpf had at the start.
const AMPLE_BYTES: u64 = 19_000_000;

/// Checks that the maps, which are allocated in full at the start, leave half of the available
/// memory free and fit into the limits of the own cgroups.
///
/// # Errors
/// When they would take more than half of what is available, or more than a cgroup may.
fn check_memory(max_flows: u32, by_thread: bool) -> Result<(), MissingRequirement> {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let half = MemoryLimit {
        bytes: available_bytes(&meminfo) / 2,
        whose: "half of the memory that is available".to_owned(),
    };
    // Before 5.11 maps are charged to no cgroup.
    let of_cgroups = memory_limit::of_cgroups().filter(|_| !requirements::is_memlock_charged());
    let rows = row_bytes(possible_cpus());
    let maps = |flows| map_bytes(flows) + companion_bytes(flows, by_thread) + rows;
    let rooms = [(Some(half), 0, 0), (of_cgroups, OTHER_BYTES, AMPLE_BYTES)];
    for (room, other, ample) in rooms {
        let Some(room) = room else {
            continue;
        };
        let needed = maps(max_flows) + other;
        if needed > room.bytes {
            let fitting = fitting_flows(room.bytes.saturating_sub(ample), maps);
            let whose = &room.whose;
            return Err(requirements::of_memory(
                max_flows, needed, room.bytes, whose, fitting,
            ));
        }
    }
    Ok(())
}

/// Returns the largest power of two of flows whose maps fit into `bytes`.
fn fitting_flows(bytes: u64, maps: impl Fn(u32) -> u64) -> Option<u32> {
    let flows = (4..24).rev().map(|power| 1 << power);
    flows.into_iter().find(|&flows| maps(flows) <= bytes)
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

    #[test]
    fn memory_grows_with_possible_cpus_by_their_rows_alone() {
        let more = row_bytes(512) - row_bytes(2);
        assert_eq!(more, 510 * 49_280);
        assert!(row_bytes(1) <= 64 << 10, "at most 64 KiB a CPU");
        // The formula of docs/COUNTING.md.
        assert_eq!(map_bytes(DEFAULT_MAX_FLOWS), 65_536 * 656 + 2 * 8192 * 136);
    }

    #[test]
    fn the_proposed_number_of_flows_fits_with_everything_else() {
        let maps = |flows| map_bytes(flows) + companion_bytes(flows, false);
        // What `docker run --memory 64m` leaves of its limit at the check.
        let room = (64 << 20) - 4_000_000;
        assert!(maps(DEFAULT_MAX_FLOWS) + OTHER_BYTES > room);
        let fitting = fitting_flows(room - AMPLE_BYTES, maps);
        assert_eq!(fitting, Some(32_768));
        assert_eq!(fitting_flows(0, maps), None);
    }
}
