//! Arrays of records that programs write and user space reads as plain memory.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{Context, Result, bail};
use libbpf_rs::{Map, MapCore};
use memmap2::{MmapMut, MmapOptions};

use super::super::skel::{self, Program, RawRecord};

/// Bytes of an array that are mapped at first. Every mapped byte is resident, read or not.
const MAPPED_AT_FIRST: usize = 64 << 10;

/// An array map of fixed-size records, mapped as far as records were written so far.
pub struct Records {
    memory: MmapMut,
    map: OwnedFd,
    /// Number of records of the whole array.
    pub capacity: usize,
}

impl Records {
    /// Maps an array of `T`.
    ///
    /// # Errors
    /// When the kernel refuses the mapping.
    pub fn map<T: plain::Plain>(map: &Map<'_>) -> Result<Self> {
        let capacity = usize::try_from(map.max_entries())?;
        let map = map.as_fd().try_clone_to_owned()?;
        let first = (MAPPED_AT_FIRST / size_of::<T>()).clamp(1, capacity.max(1));
        Ok(Self {
            memory: map_records::<T>(&map, first)?,
            map,
            capacity,
        })
    }

    /// Maps at least this many records of the array. Maps more at once, because bursts come in
    /// rising numbers.
    fn extend<T: plain::Plain>(&mut self, records: usize) -> Result<()> {
        let mapped = self.memory.len() / size_of::<T>();
        if records > mapped {
            let size = records.max(mapped * 2).min(self.capacity);
            self.memory = map_records::<T>(&self.map, size)?;
        }
        Ok(())
    }

    /// Writes records, at most as many as the array holds, runs a program that fills them in, and
    /// returns their bytes.
    ///
    /// # Errors
    /// When the kernel does not run it.
    pub fn fill(
        &mut self,
        program: &Program,
        records: &[RawRecord],
    ) -> Result<impl Iterator<Item = &[u8]>> {
        const SIZE: usize = size_of::<RawRecord>();
        self.extend::<RawRecord>(self.capacity)?;
        self.memory.fill(0);
        for (to, from) in self.memory.chunks_exact_mut(SIZE).zip(records) {
            to.copy_from_slice(skel::bytes_of(from));
        }
        program.run()?;
        Ok(self.memory.chunks_exact(SIZE).take(records.len()))
    }

    /// Runs a drain program until it has returned all of the at most `entries` entries of its map.
    /// Each run walks the map from its beginning, so no further run checks that the map is empty;
    /// debug builds make that run and assert it.
    ///
    /// # Errors
    /// When the kernel does not run it.
    pub fn each<T: plain::Plain>(
        &mut self,
        program: &Program,
        entries: u32,
        mut each: impl FnMut(&T),
    ) -> Result<()> {
        let mut left = usize::try_from(entries)?;
        while left > 0 {
            let taken = usize::try_from(program.run()?)?;
            self.extend::<T>(taken)?;
            for raw in self.memory.chunks_exact(size_of::<T>()).take(taken) {
                each(from_bytes(raw)?);
            }
            left = left.saturating_sub(taken);
            if taken < self.capacity {
                break;
            }
        }
        if cfg!(debug_assertions) {
            assert_eq!(program.run()?, 0, "entries in a map that is skipped");
        }
        Ok(())
    }
}

fn map_records<T>(map: &OwnedFd, records: usize) -> Result<MmapMut> {
    // SAFETY: the kernel keeps the mapping's pages for the mapping's life. Programs write them only
    // while one is run, which is inside of calls with `&mut self` of `Records` alone, and no
    // reference into them is held over that.
    let memory = unsafe {
        MmapOptions::new()
            .len(records * size_of::<T>())
            .map_mut(map.as_raw_fd())
    };
    memory.context("map the drain's records")
}

/// Casts bytes from the kernel to a type.
///
/// # Errors
/// When they are too few, or not aligned.
pub fn from_bytes<T: plain::Plain>(bytes: &[u8]) -> Result<&T> {
    match plain::from_bytes(bytes) {
        Ok(value) => Ok(value),
        Err(err) => bail!("decode a map's bytes: {err:?}"),
    }
}
