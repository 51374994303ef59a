//! The resources that this process uses.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use rustix::param::page_size;
use rustix::time::{ClockId, clock_gettime};

/// Reads flowtop's CPU time and memory. `/proc/self/statm` is opened once, before the sandbox
/// forbids it.
#[derive(Debug)]
pub(super) struct SelfUsage {
    statm: Option<File>,
}

/// The usage at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UsageSample {
    /// Processor time of all threads, in user space and in the kernel.
    pub cpu: Duration,
    /// Resident memory in bytes, if it can be read.
    pub resident: Option<u64>,
}

impl SelfUsage {
    pub(super) fn open() -> Self {
        Self {
            statm: File::open("/proc/self/statm").ok(),
        }
    }

    pub(super) fn now(&self) -> UsageSample {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        UsageSample {
            cpu: Duration::try_from(cpu).unwrap_or_default(),
            resident: self.resident(),
        }
    }

    /// statm(5) has the resident size as its second number, in pages.
    fn resident(&self) -> Option<u64> {
        let mut text = [0; 128];
        let length = self.statm.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
        Some(pages * page_size() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_takes_time_and_memory() {
        let cost = SelfUsage::open();
        let before = cost.now();
        let held = vec![1u8; 64 << 20];
        let sum: u64 = held.iter().map(|&byte| u64::from(byte)).sum();
        let after = cost.now();
        assert_eq!(sum, 64 << 20);
        assert!(after.cpu > before.cpu);
        let [before, after] = [before, after].map(|now| now.resident.unwrap());
        assert!(after > before + (32 << 20), "{before} {after}");
    }
}
