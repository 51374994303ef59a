//! Arrays of records that programs write and user space reads as plain memory.

use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, bail};
use libbpf_rs::{Map, MapCore, ProgramInput, ProgramMut};
use memmap2::{MmapMut, MmapOptions};

use super::super::skel::{self, RawRecord};

/// An array map of fixed-size records, mapped.
pub struct Records {
    memory: MmapMut,
    pub capacity: usize,
}

impl Records {
    /// Maps an array of `T`.
    ///
    /// # Errors
    /// When the kernel refuses the mapping.
    pub fn map<T: plain::Plain>(map: &Map<'_>) -> Result<Self> {
        let capacity = usize::try_from(map.max_entries())?;
        // SAFETY: the kernel keeps the mapping's pages for the mapping's life. Programs write them
        // only while one is run, which is inside of calls with `&mut self` alone, and no reference
        // into them is held over that.
        let memory = unsafe {
            MmapOptions::new()
                .len(capacity * size_of::<T>())
                .map_mut(map.as_fd().as_raw_fd())
        }
        .context("map the drain's records")?;
        Ok(Self { memory, capacity })
    }

    /// Writes at most as many records as there is room for, runs a program that fills them in, and
    /// returns their bytes.
    ///
    /// # Errors
    /// When the kernel does not run it.
    pub fn fill(
        &mut self,
        program: &ProgramMut<'_>,
        records: &[RawRecord],
    ) -> Result<impl Iterator<Item = &[u8]>> {
        const SIZE: usize = size_of::<RawRecord>();
        self.memory.fill(0);
        for (to, from) in self.memory.chunks_exact_mut(SIZE).zip(records) {
            to.copy_from_slice(skel::bytes_of(from));
        }
        program.test_run(ProgramInput::default())?;
        Ok(self.memory.chunks_exact(SIZE).take(records.len()))
    }

    /// Runs a drain program until nothing is left, and hands over every record.
    ///
    /// # Errors
    /// When the kernel does not run it.
    pub fn each<T: plain::Plain>(
        &mut self,
        program: &ProgramMut<'_>,
        mut each: impl FnMut(&T),
    ) -> Result<()> {
        loop {
            let run = program.test_run(ProgramInput::default())?;
            let taken = usize::try_from(run.return_value)?;
            for raw in self.memory.chunks_exact(size_of::<T>()).take(taken) {
                each(from_bytes(raw)?);
            }
            if taken < self.capacity {
                return Ok(());
            }
        }
    }
}

/// Bytes of the kernel as what they are.
///
/// # Errors
/// When they are too few, or not aligned.
pub fn from_bytes<T: plain::Plain>(bytes: &[u8]) -> Result<&T> {
    match plain::from_bytes(bytes) {
        Ok(value) => Ok(value),
        Err(err) => bail!("decode a map's bytes: {err:?}"),
    }
}
