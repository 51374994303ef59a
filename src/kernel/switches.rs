//! Watches the machine's switches that disable attached probes, in every interval: no counter of
//! missed events rises while a probe is disabled.

use std::fs::File;
use std::path::Path;

use super::backend::{AttachPlan, Backend};
use super::tracefs::{FTRACE_SWITCH, KPROBES_SWITCH, is_switched_off};

/// A switch that a plan's probes depend on, and the paths that are unseen while it is off.
#[derive(Debug)]
pub struct Switches {
    /// Opened at the start: afterwards flowtop has no privilege to open it.
    files: Vec<File>,
    unseen: &'static [&'static str],
    was_off: bool,
}

impl Switches {
    /// Opens the switches of a plan. One that cannot be opened cannot be turned either: debugfs may
    /// not be mounted.
    pub fn of(plan: AttachPlan) -> Self {
        let (paths, unseen): (&[&str], &[&str]) = match (plan.backend, plan.kprobes) {
            // Only probes are disabled; tracepoints still run.
            (Backend::RawTracepoint | Backend::Tracepoint, true) => (
                &[FTRACE_SWITCH, KPROBES_SWITCH],
                &[
                    "splice_read",
                    "udp_recv_peer",
                    "udp_send_peer",
                    "zerocopy_receive",
                ],
            ),
            (Backend::RawTracepoint | Backend::Tracepoint, false) => (&[], &[]),
            (Backend::Fentry, _) => (&[FTRACE_SWITCH], &["probes_off"]),
            (Backend::Kprobe, _) => (&[FTRACE_SWITCH, KPROBES_SWITCH], &["probes_off"]),
        };
        Self::new(paths, unseen)
    }

    fn new(paths: &[impl AsRef<Path>], unseen: &'static [&'static str]) -> Self {
        Self {
            files: paths
                .iter()
                .filter_map(|path| File::open(path).ok())
                .collect(),
            unseen,
            was_off: false,
        }
    }

    /// Returns the paths that were unseen in the interval that ends now: their probes are off now,
    /// or were off when the interval began.
    pub fn unseen(&mut self) -> &'static [&'static str] {
        let off = self.files.iter().any(is_switched_off);
        let was_off = std::mem::replace(&mut self.was_off, off);
        if off || was_off { self.unseen } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_interval_in_which_probes_were_off_says_so_and_the_next_does_not() {
        let switch = std::env::temp_dir().join(format!("flowtop-switch-{}", std::process::id()));
        fs::write(&switch, "1\n").unwrap();
        let mut switches = Switches::new(&[&switch], &["probes_off"]);
        let mut turn = |state: &str| {
            fs::write(&switch, state).unwrap();
            !switches.unseen().is_empty()
        };
        assert_eq!(
            ["1\n", "0\n", "1\n", "1\n"].map(&mut turn),
            [false, true, true, false]
        );
        fs::remove_file(&switch).unwrap();
        let mut missing = Switches::new(&["/nowhere"], &["probes_off"]);
        assert!(missing.unseen().is_empty());
    }
}
