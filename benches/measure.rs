//! Processor time and medians, for the benchmarks and for the load that they run.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Returns the processor time that a thread (`ThreadCPUTime`) or process (`ProcessCPUTime`) used so
/// far: whatever else runs does not count.
pub fn processor_time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
