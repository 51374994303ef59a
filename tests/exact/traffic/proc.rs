//! Roles of a case that are processes of their own, and how they wait for each other.

use std::os::fd::RawFd;

use anyhow::{Context, Result, bail};

use crate::{cases, sys, truth};

/// A forked role.
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
