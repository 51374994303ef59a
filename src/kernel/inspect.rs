//! Reads single sockets by their addresses, in more detail than the drain: whether their counters
//! count what calls return, and which bytes moved although no call counted them.

use anyhow::{Context, Result};

use super::drain::{Records, from_bytes};
use super::skel::{Program, RawRecord, RawTcp};
use super::tcp::Inspect;

/// Runs the program that reads sockets.
pub struct Inspector {
    program: Program,
    records: Records,
}

impl Inspector {
    /// Returns an inspector with the program and the map of sockets that it reads.
    pub const fn new(program: Program, records: Records) -> Self {
        Self { program, records }
    }

    /// Runs the program with no socket to read.
    ///
    /// # Errors
    /// When the kernel does not run it.
    pub fn try_access(&mut self) -> Result<()> {
        let nothing = self.records.fill(&self.program, &[]);
        nothing.context("run a program").map(drop)
    }

    /// Returns the sample of each socket, by the socket's address.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn inspect(&mut self, to_inspect: &[Inspect]) -> Result<Vec<(u64, RawTcp)>> {
        let mut read = Vec::with_capacity(to_inspect.len());
        for some in to_inspect.chunks(self.records.capacity.max(1)) {
            let records: Vec<RawRecord> = some.iter().map(record).collect();
            let filled = self.records.fill(&self.program, &records);
            for bytes in filled.context("read sockets again")? {
                let record: &RawRecord = from_bytes(bytes)?;
                read.push((record.sk, record.tcp));
            }
        }
        Ok(read)
    }
}

fn record(one: &Inspect) -> RawRecord {
    RawRecord {
        key: one.ends,
        sk: one.sk,
        ..RawRecord::default()
    }
}
