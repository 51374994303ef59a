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
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_that_works_takes_time() {
        let usage = SelfUsage::open();
        let before = usage.now();
        assert!(before.resident.unwrap() > 0);
        while usage.now().cpu == before.cpu {}
    }

    /// Of another process: the memory of this one changes with the other tests.
    #[test]
    fn memory_is_the_resident_size_of_status() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let folder = format!("/proc/{}", child.id());
        let usage = SelfUsage {
            statm: File::open(format!("{folder}/statm")).ok(),
        };
        // It may still start: what status says before and after is the same once it sleeps.
        let (in_status, resident) = loop {
            let before = resident_kib(&folder);
            let resident = usage.now().resident.unwrap();
            if before == resident_kib(&folder) {
                break (before, resident);
            }
        };
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(resident, in_status << 10);
        assert!(resident > 0);
    }

    fn resident_kib(folder: &str) -> u64 {
        let status = fs::read_to_string(format!("{folder}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kib.parse().unwrap()
    }
}
