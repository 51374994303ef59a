//! Traffic of known kinds.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::counting::traffic_program;
use super::pty::PATIENCE;

/// `traffic demo`, ended when dropped.
pub struct Demo(Child);

impl Demo {
    pub fn start() -> Self {
        let child = Command::new(traffic_program())
            .args(["demo", "--seconds", "120"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Its processes, as `--pid` takes them.
    pub fn pids(&self) -> String {
        let id = self.0.id();
        let start = Instant::now();
        loop {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
            let children = children.unwrap();
            let pids: Vec<&str> = children.split_whitespace().collect();
            let comm = |pid: &&str| fs::read_to_string(format!("/proc/{pid}/comm"));
            // `traffic demo` starts this process last.
            let is_last = |pid| comm(pid).is_ok_and(|comm| comm.trim_end() == "demo-resolver");
            if pids.iter().any(is_last) {
                return pids.join(",");
            }
            assert!(start.elapsed() < PATIENCE, "{children}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}
