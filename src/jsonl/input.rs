//! Opens recordings, once and with the rights of the caller. Each can be read several times;
//! flowtop opens no path afterwards.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::peer_zone::ZoneTable;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors that flowtop needs besides those of recordings.
const OTHER_DESCRIPTORS: u64 = 128;
/// Longest time until a reader that waits for input notices a stop.
const STOP_SEEN_WITHIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Set to stop every reader of recordings: an untrusted file decides how long reading takes.
pub type Stop = Arc<AtomicBool>;

/// A recording that is open, or why it could not be opened.
#[derive(Clone, Debug)]
pub struct Recording {
    pub(crate) name: PathBuf,
    file: Result<Arc<File>, (ErrorKind, String)>,
    /// Zones by which peers are looked up instead of those that the recording has.
    zones: Option<Arc<ZoneTable>>,
}

impl Recording {
    /// Returns its name as typed.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// The same recording, with zones of this table instead of its own; without a table with its
    /// own.
    #[must_use]
    pub fn with_zones(self, zones: Option<&Arc<ZoneTable>>) -> Self {
        Self {
            zones: zones.map(Arc::clone),
            ..self
        }
    }

    pub(crate) fn zones(&self) -> Option<Arc<ZoneTable>> {
        self.zones.as_ref().map(Arc::clone)
    }

    /// Returns a reader from the beginning of a file; of a pipe, from its current position.
    ///
    /// # Errors
    /// Why it could not be opened.
    pub(crate) fn input(&self, stop: &Stop) -> io::Result<RecordingInput> {
        let file = match &self.file {
            Ok(file) => Arc::clone(file),
            Err((kind, text)) => return Err(io::Error::new(*kind, text.clone())),
        };
        let is_file = file.metadata()?.is_file();
        Ok(RecordingInput {
            at: is_file.then_some(0),
            stop: Arc::clone(stop),
            file,
        })
    }
}

/// Opens recordings with the rights of this thread; `-` is standard input. A recording that cannot
/// be opened keeps its error until it is read.
pub fn open(files: &[PathBuf]) -> Vec<Recording> {
    make_room_for(files.len() as u64);
    let open = |name: &PathBuf| Recording {
        name: match name.as_os_str() == "-" {
            true => PathBuf::from("standard input"),
            false => name.clone(),
        },
        file: open_one(name).map(Arc::new).map_err(|error| {
            let is_limit = error.raw_os_error() == Some(Errno::MFILE.raw_os_error());
            let help = match is_limit {
                true => "; allow more open files: ulimit -n",
                false => "",
            };
            (error.kind(), format!("{error}{help}"))
        }),
        zones: None,
    };
    files.iter().map(open).collect()
}

/// O_NONBLOCK: the writer of a FIFO may never come.
fn open_one(name: &Path) -> io::Result<File> {
    if name.as_os_str() == "-" {
        let input = rustix::stdio::stdin().try_clone_to_owned()?;
        return Ok(File::from(input));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(openat(CWD, name, flags, Mode::empty())?))
}

/// Raises the soft limit of open files if the recordings need that; raising it takes no privilege.
fn make_room_for(files: u64) {
    let needed = files + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        let current = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
        let raised = Rlimit {
            current: Some(current),
            ..limit
        };
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

/// Reads a recording to its end or to a stop.
#[derive(Debug)]
pub(crate) struct RecordingInput {
    file: Arc<File>,
    /// Position of this reader in the file; other readers of the file have their own.
    at: Option<u64>,
    stop: Stop,
}

impl Read for RecordingInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(0);
            }
            if let Some(at) = &mut self.at {
                let read = self.file.read_at(buffer, *at)?;
                *at += read as u64;
                return Ok(read);
            }
            let mut readable = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut readable, Some(&STOP_SEEN_WITHIN)) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            match (&*self.file).read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }
}
