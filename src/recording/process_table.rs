//! The file of `--publish`: cumulative counters of processes, in the layout that docs/PUBLISH.md
//! describes and `contrib/publish` reads. All numbers are in the byte order of the machine.
//!
//! Rows are written by pwrite(2) between two writes of `generation`: it is odd while rows change.
//! Each write holds the lock of its page, so readers that map the file see the three in this order.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, fchmod, flock, fstat, openat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::folder::{create_new, open_folder};
use crate::model::flow::{Comm, Counters};
use crate::model::interval::Interval;

/// What the file begins with.
pub const MAGIC: [u8; 8] = *b"flowtopP";
pub const VERSION: u32 = 1;
pub const HEADER_SIZE: usize = 128;
pub const ROW_SIZE: usize = 64;
/// Processes with a row: 512 kB in all. Of more, those whose bytes are oldest are summed.
pub const ROWS: u32 = 8192;
/// Byte of the header that `generation` begins at.
const GENERATION: u64 = 24;
/// Byte of the header after `generation`.
const SUMS: usize = 32;
/// The owner writes, the group reads: the folder's, if the folder hands its group down (setgid).
const READABLE: Mode = Mode::from_raw_mode(0o640);

/// A process: its number in the initial PID namespace, and its start in nanoseconds since boot, 0
/// if unknown.
type ProcessId = (u32, u64);

#[derive(Clone, Copy, Debug, Default)]
struct ProcessRow {
    id: ProcessId,
    comm: Comm,
    moved: Counters,
    /// Interval of its last bytes.
    changed: u64,
}

impl ProcessRow {
    fn bytes(&self) -> [u8; ROW_SIZE] {
        let mut bytes = [0; ROW_SIZE];
        /// The row is that of a process.
        const USED: u32 = 1;
        put(&mut bytes, 0, &self.id.0.to_ne_bytes());
        put(&mut bytes, 4, &USED.to_ne_bytes());
        put(&mut bytes, 8, &self.id.1.to_ne_bytes());
        put_counters(&mut bytes, 16, &self.moved);
        put(&mut bytes, 48, self.comm.as_bytes());
        bytes
    }
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

fn put_counters(bytes: &mut [u8], at: usize, counters: &Counters) {
    let Counters {
        rx_bytes,
        tx_bytes,
        rx_msgs,
        tx_msgs,
    } = *counters;
    for (n, field) in [rx_bytes, tx_bytes, rx_msgs, tx_msgs]
        .into_iter()
        .enumerate()
    {
        put(bytes, at + 8 * n, &field.to_ne_bytes());
    }
}

/// Rows of processes and what is in none. The rows, `evicted` and `untracked` add up to `total`.
#[derive(Debug, Default)]
struct ProcessRows {
    rows: Vec<ProcessRow>,
    index: HashMap<ProcessId, usize>,
    /// Every row by the interval of its last bytes.
    by_age: BTreeSet<(u64, usize)>,
    total: Counters,
    evicted: Counters,
    untracked: Counters,
    missed_events: u64,
    intervals: u64,
    ended: Option<SystemTime>,
    /// Rows that differ from those in the file.
    changed: BTreeSet<usize>,
}

impl ProcessRows {
    fn add(&mut self, interval: &Interval) {
        self.intervals += 1;
        self.ended = Some(interval.ended);
        self.total += interval.total();
        self.untracked += interval.losses.untracked;
        self.missed_events += interval.losses.missed_events;
        for flow in &interval.flows {
            let start = flow.owner.start.unwrap_or(Duration::ZERO).as_nanos();
            let id = (flow.key.tgid, u64::try_from(start).unwrap_or(0));
            let at = self.row_of(id);
            let row = &mut self.rows[at];
            // The name of now: a process may change it.
            if !flow.owner.comm.is_empty() {
                row.comm = flow.owner.comm;
            }
            row.moved += flow.counters;
            self.by_age.remove(&(row.changed, at));
            row.changed = self.intervals;
            self.by_age.insert((row.changed, at));
            self.changed.insert(at);
        }
    }

    /// The row of a process: its own, a free one, or that of the process whose bytes are oldest.
    fn row_of(&mut self, id: ProcessId) -> usize {
        if let Some(&at) = self.index.get(&id) {
            return at;
        }
        let is_full = self.rows.len() >= ROWS as usize;
        let at = match self.by_age.pop_first() {
            Some((_, oldest)) if is_full => {
                let row = self.rows[oldest];
                self.index.remove(&row.id);
                self.evicted += row.moved;
                oldest
            }
            first => {
                self.by_age.extend(first);
                self.rows.push(ProcessRow::default());
                self.rows.len() - 1
            }
        };
        self.rows[at] = ProcessRow {
            id,
            ..ProcessRow::default()
        };
        self.index.insert(id, at);
        at
    }

    /// The header from `SUMS` on.
    fn header(&self, is_running: bool) -> [u8; HEADER_SIZE - SUMS] {
        let mut bytes = [0; HEADER_SIZE - SUMS];
        let since = self
            .ended
            .and_then(|it| it.duration_since(SystemTime::UNIX_EPOCH).ok());
        let updated = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
        put(&mut bytes, 0, &updated.unwrap_or(0).to_ne_bytes());
        put(&mut bytes, 8, &std::process::id().to_ne_bytes());
        put(&mut bytes, 12, &u32::from(is_running).to_ne_bytes());
        put(&mut bytes, 16, &(self.rows.len() as u32).to_ne_bytes());
        put_counters(&mut bytes, 24, &self.total);
        for (n, field) in [
            self.evicted.rx_bytes,
            self.evicted.tx_bytes,
            self.untracked.rx_bytes,
            self.untracked.tx_bytes,
            self.missed_events,
        ]
        .into_iter()
        .enumerate()
        {
            put(&mut bytes, 56 + 8 * n, &field.to_ne_bytes());
        }
        bytes
    }
}

/// The table, and the file that it is published in.
#[derive(Debug)]
pub(super) struct ProcessTable {
    file: File,
    generation: u64,
    processes: ProcessRows,
}

impl ProcessTable {
    /// Makes the file, with the rights that this thread has now. What stands there already is
    /// replaced only if it is a table of this user that nobody writes.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
        let folder = open_folder(parent, OFlags::PATH)?;
        let file = match create_new(&folder, name) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let flags = OFlags::RDONLY
                    | OFlags::NOFOLLOW
                    | OFlags::NONBLOCK
                    | OFlags::NOCTTY
                    | OFlags::CLOEXEC;
                let is_other = || {
                    io::Error::other(
                        "this exists and is not a table of yours: remove it or choose another name",
                    )
                };
                let found = match openat(&folder, name, flags, Mode::empty()) {
                    Err(Errno::LOOP) => return Err(is_other()),
                    found => File::from(found?),
                };
                if !is_own_table(&found)? {
                    return Err(is_other());
                }
                lock(&found)?;
                unlinkat(&folder, name, AtFlags::empty())?;
                create_new(&folder, name)?
            }
            made => made?,
        };
        lock(&file)?;
        fchmod(&file, READABLE)?;
        let mut table = Self {
            file,
            generation: 0,
            processes: ProcessRows::default(),
        };
        // All of it now, so that no full disk can stop it later.
        let mut whole = vec![0; HEADER_SIZE + ROWS as usize * ROW_SIZE];
        put(&mut whole, 0, &MAGIC);
        for (n, field) in [VERSION, HEADER_SIZE as u32, ROW_SIZE as u32, ROWS]
            .iter()
            .enumerate()
        {
            put(&mut whole, 8 + 4 * n, &field.to_ne_bytes());
        }
        put(&mut whole, SUMS, &table.processes.header(true));
        table.file.write_all_at(&whole, 0)?;
        table.generation = 0;
        Ok(table)
    }

    /// Adds an interval and writes what changed. After an error the rows are written with the next
    /// interval.
    ///
    /// # Errors
    /// When the file cannot be written; `generation` stays odd then.
    pub(super) fn put(&mut self, interval: &Interval) -> io::Result<()> {
        self.processes.add(interval);
        self.write(true)
    }

    /// Adds bytes that came in no interval.
    pub(super) fn add_untracked(&mut self, moved: Counters) {
        self.processes.total += moved;
        self.processes.untracked += moved;
    }

    /// Marks the table as one that nobody writes any more.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.write(false)
    }

    fn write(&mut self, is_running: bool) -> io::Result<()> {
        self.generation |= 1;
        self.file
            .write_all_at(&self.generation.to_ne_bytes(), GENERATION)?;
        let mut bytes = Vec::new();
        let mut start = None;
        // Rows that lie together are one write.
        for &at in &self.processes.changed {
            let end = start.map(|start| start + bytes.len() / ROW_SIZE);
            if end != Some(at) {
                self.write_rows(start, &bytes)?;
                bytes.clear();
                start = Some(at);
            }
            bytes.extend(self.processes.rows[at].bytes());
        }
        self.write_rows(start, &bytes)?;
        let header = self.processes.header(is_running);
        self.file.write_all_at(&header, SUMS as u64)?;
        self.generation += 1;
        self.file
            .write_all_at(&self.generation.to_ne_bytes(), GENERATION)?;
        self.processes.changed.clear();
        Ok(())
    }

    fn write_rows(&self, start: Option<usize>, bytes: &[u8]) -> io::Result<()> {
        match start {
            None => Ok(()),
            Some(start) => {
                let at = HEADER_SIZE + start * ROW_SIZE;
                self.file.write_all_at(bytes, at as u64)
            }
        }
    }
}

/// Whether this is a regular file of this user, of one name, that begins as a table does.
fn is_own_table(file: &File) -> io::Result<bool> {
    let what = fstat(file)?;
    let is_mine = FileType::from_raw_mode(what.st_mode).is_file()
        && what.st_uid == geteuid().as_raw()
        && what.st_nlink == 1;
    let mut start = [0; MAGIC.len()];
    Ok(is_mine && file.read_exact_at(&mut start, 0).is_ok() && start == MAGIC)
}

/// Holds the file for as long as it is open: only one flowtop writes a table.
fn lock(file: &File) -> io::Result<()> {
    match flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(io::Error::other(
            "another flowtop publishes there: choose another name",
        )),
        locked => Ok(locked?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Intervals, Random, sent};

    #[test]
    fn rows_evicted_and_untracked_add_up_to_the_total() {
        let (mut rows, mut intervals, mut random) =
            (ProcessRows::default(), Intervals::default(), Random(1));
        for round in 0..20 {
            // More processes than rows, of which some stay.
            let flows = (0..1000).map(|n| match n < 10 {
                true => sent(n, 1),
                false => sent(1000 * round + n, random.below(1000) + 1),
            });
            let mut interval = intervals.next(1000, flows.collect());
            interval.losses.untracked.tx_bytes = 3;
            rows.add(&interval);
            let moved: Counters = rows.rows.iter().map(|row| row.moved).sum();
            let known = [moved, rows.evicted, rows.untracked];
            let sum: Counters = known.into_iter().sum();
            assert_eq!(sum, rows.total);
        }
        assert_eq!(rows.rows.len(), ROWS as usize);
        assert_eq!(rows.by_age.len(), rows.rows.len());
        assert_eq!(rows.index.len(), rows.rows.len());
        // Those that move in each interval are never evicted.
        for n in 0..10 {
            assert_eq!(rows.rows[rows.index[&(n, 0)]].moved.tx_bytes, 20);
        }
    }
}
