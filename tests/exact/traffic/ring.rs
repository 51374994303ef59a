//! A small io_uring for cases: submit, wait, and note what the completions say.

use std::io;

use anyhow::{Context, Result, bail};
use io_uring::{IoUring, Probe, cqueue, squeue};

use crate::cases::{OnMissing, absent};
use crate::sock::Sock;
use crate::truth::{Dir, How};

pub struct Ring {
    pub io: IoUring,
}

/// A completion: what the call returned, and the flags.
pub struct Done {
    pub n: usize,
    pub flags: u32,
    pub user: u64,
}

impl Ring {
    pub fn new() -> Result<Self> {
        Self::from(&IoUring::builder())
    }

    pub fn from(builder: &io_uring::Builder) -> Result<Self> {
        builder
            .build(16)
            .map(|io| Self { io })
            .map_err(absent("io_uring_setup"))
    }

    /// Refuses to go on when the kernel does not know `op`.
    pub fn require(&self, op: u8, what: &str) -> Result<()> {
        let mut probe = Probe::new();
        self.io
            .submitter()
            .register_probe(&mut probe)
            .map_err(absent("io_uring probe"))?;
        if !probe.is_supported(op) {
            return Err(OnMissing(format!("io_uring has no {what}")).into());
        }
        Ok(())
    }

    pub fn push(&mut self, entry: &squeue::Entry) -> Result<()> {
        // SAFETY: every caller keeps what its entry points to alive until the completion is taken.
        unsafe { self.io.submission().push(entry) }
            .ok()
            .context("submission queue full")?;
        self.io.submit().context("io_uring submit")?;
        Ok(())
    }

    /// The next completion; a negative result becomes an error.
    pub fn next(&mut self) -> Result<io::Result<Done>> {
        loop {
            if let Some(c) = self.io.completion().next() {
                return Ok(done(&c));
            }
            match self.io.submit_and_wait(1) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => drop(other.context("io_uring wait")?),
            }
        }
    }

    /// A completion if there is one already.
    pub fn try_next(&mut self) -> Option<io::Result<Done>> {
        self.io.completion().next().map(|c| done(&c))
    }

    /// One operation from submission to completion.
    pub fn run(&mut self, entry: &squeue::Entry) -> Result<io::Result<usize>> {
        self.push(entry)?;
        Ok(self.next()?.map(|d| d.n))
    }

    /// One operation that moves data through `s`.
    pub fn moves(&mut self, s: &Sock, dir: Dir, entry: &squeue::Entry, how: How) -> Result<usize> {
        match self.run(entry)? {
            Ok(n) => Ok(s.note(dir, n, how)),
            Err(e) => bail!("io_uring {dir:?}: {e}"),
        }
    }
}

fn done(c: &cqueue::Entry) -> io::Result<Done> {
    match usize::try_from(c.result()) {
        Ok(n) => Ok(Done {
            n,
            flags: c.flags(),
            user: c.user_data(),
        }),
        Err(_) => Err(io::Error::from_raw_os_error(-c.result())),
    }
}
