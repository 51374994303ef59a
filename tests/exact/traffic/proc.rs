//! Roles of a case that are processes of their own, and how they wait for each other; and what a
//! process takes of the machine.

use std::fs;
use std::os::fd::RawFd;

use anyhow::{Context, Result, bail};

use crate::{cases, sys, truth};

/// A forked process that plays a role.
pub struct Child {
    pub pid: i32,
}

/// Forks a process that runs `role`, reports its truth and exits. Call without other threads.
pub fn spawn(role: impl FnOnce() -> Result<()>) -> Result<Child> {
    // SAFETY: the callers fork while single-threaded, so the child may go on as usual.
    let pid = sys::cvt(unsafe { libc::fork() }).context("fork")? as i32;
    if pid == 0 {
        sys::die_with_parent();
        sys::watchdog(None);
        truth::reset();
        leave(cases::report(role()));
    }
    Ok(Child { pid })
}

/// Ends this process with its truth told, running nothing else.
pub fn leave(code: i32) -> ! {
    truth::flush();
    // SAFETY: _exit never returns and needs nothing.
    unsafe { libc::_exit(code) }
}

/// What the threads of a process and its children wait in, for people: state, system call and
/// kernel stack.
pub fn tree(root: u32) -> String {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_of = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        *pid == root || status.contains(&format!("PPid:\t{root}\n"))
    };
    let tasks = pids.filter(is_of).flat_map(|pid| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"));
        tasks.into_iter().flatten().flatten()
    });
    let lines = tasks.map(|task| {
        let of = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let [stat, call, stack] = ["stat", "syscall", "stack"].map(of);
        format!("{stat}{call}{stack}")
    });
    lines.collect()
}

impl Child {
    pub fn join(self) -> Result<()> {
        let mut status = 0;
        loop {
            // SAFETY: the status is a live integer.
            match sys::cvt(unsafe { libc::waitpid(self.pid, &raw mut status, 0) }) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e).context("waitpid"),
                Ok(_) => break,
            }
        }
        if status != 0 {
            bail!("a role of the case ended with status {status:#x}");
        }
        Ok(())
    }
}

/// A one-way signal between processes: `set` lets one `wait` go on.
#[derive(Clone, Copy)]
pub struct Gate(RawFd, RawFd);

impl Gate {
    pub fn new() -> Result<Self> {
        sys::pipe().map(|(r, w)| Self(r, w))
    }

    pub fn set(&self) {
        sys::write_all(self.1, b"x");
    }

    pub fn wait(&self) -> Result<()> {
        match sys::read(self.0, &mut [0]) {
            Ok(1) => Ok(()),
            Ok(_) => bail!("the other side of a gate is gone"),
            Err(e) => Err(e).context("gate"),
        }
    }
}

/// What a process takes of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// Resident memory in bytes.
    pub memory: u64,
    pub files: u64,
    pub threads: u64,
    /// Processor time since it began, in seconds.
    pub cpu: f64,
}

impl Taken {
    /// What `/proc` says of it.
    pub fn of(pid: u32) -> Result<Self> {
        let folder = format!("/proc/{pid}");
        let text = |file: &str| {
            std::fs::read_to_string(format!("{folder}/{file}"))
                .with_context(|| format!("{folder}/{file}"))
        };
        let status = text("status")?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse().ok())
                .with_context(|| format!("no {name} in {folder}/status"))
        };
        let stat = text("stat")?;
        let (_, fields) = stat.rsplit_once(')').context("no comm in stat")?;
        // utime and stime, fields 14 and 15 of proc_pid_stat(5); the first here is field 3.
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Ok(Self {
            memory: field("VmRSS:")? << 10,
            files: std::fs::read_dir(format!("{folder}/fd"))?.count() as u64,
            threads: field("Threads:")?,
            cpu: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        })
    }
}
