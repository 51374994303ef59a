//! The folder of recordings: opened once, then used by its descriptor to make, list and remove
//! files. flowtop never writes to, waits for or removes anything that another user put there.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, stat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::options::RecordOptions;

/// Format of the time in a file name, as in `20261122T150000.123Z`.
const TIME: &str = "%Y%m%dT%H%M%S%.3fZ";
const TIME_LENGTH: usize = 20;
/// Most names with a time that are tried before flowtop gives up.
const TRIES: u32 = 1000;
/// Time between two attempts to open a FIFO that has no reader yet.
const READER_POLL: Duration = Duration::from_millis(50);
/// Longest time that a reader may hold up one write before a note reports it.
const READER_TIMEOUT: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
/// Mode of new files: a recording shows who talks to whom, so only its owner may read it.
const PRIVATE: Mode = Mode::from_raw_mode(0o600);

/// A file that is being written.
pub(super) struct RecordingFile {
    pub(super) name: OsString,
    pub(super) file: File,
    /// Whether the file can be truncated and written at an offset.
    pub(super) regular: bool,
    /// Bytes of whole intervals.
    pub(super) good: u64,
    /// Whether the file's name was removed.
    pub(super) is_removed: bool,
    /// Bytes of the current interval that a reader has taken.
    taken: usize,
}

impl RecordingFile {
    fn new(name: OsString, file: File, regular: bool) -> Self {
        Self {
            name,
            file,
            regular,
            good: 0,
            is_removed: false,
            taken: 0,
        }
    }

    /// Appends the bytes, all or none; for a FIFO, continues where its reader stopped.
    ///
    /// # Errors
    /// When the disk, or the reader, does not take them.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.regular {
            self.hand_over(bytes)?;
        } else if let Err(error) = self.file.write_all_at(bytes, self.good) {
            // Cuts the incomplete interval off. If cutting fails too, the next interval is written
            // over it.
            let _ = self.file.set_len(self.good);
            return Err(error);
        }
        self.good += bytes.len() as u64;
        Ok(())
    }

    /// Writes to a FIFO or device that may be slow. What it does not take within a limited time is
    /// tried again later, so that a reader that has stopped cannot hold up the end of flowtop.
    fn hand_over(&mut self, bytes: &[u8]) -> io::Result<()> {
        while self.taken < bytes.len() {
            match self.file.write(&bytes[self.taken..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.taken += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut writable = [PollFd::new(&self.file, PollFlags::OUT)];
                    if poll(&mut writable, Some(&READER_TIMEOUT))? == 0 {
                        return Err(io::Error::other("its reader does not read"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.taken = 0;
        Ok(())
    }
}

/// Opens a folder by its path with the rights of this thread.
pub(super) fn open_folder(path: &Path, access: OFlags) -> io::Result<OwnedFd> {
    let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// A path of a file in an open folder, valid wherever the folder is moved.
pub(super) fn by_descriptor(folder: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", folder.as_raw_fd()).into()
}

/// Creates a file that only its owner can read. `O_EXCL` fails for existing files and follows no
/// link.
pub(super) fn create_new(folder: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags, PRIVATE)?.into())
}

/// Formats the time for file names, so that a shell lists files in the order of time.
pub(super) fn stamp(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.strftime(TIME).to_string()
}

/// An open folder and the base name of its files. Each file name has its time before the extension,
/// so that a shell lists files in the order of time.
pub(super) struct RecordingFolder {
    path: PathBuf,
    folder: OwnedFd,
    name: OsString,
    stem: String,
    extension: String,
}

impl RecordingFolder {
    /// Opens the folder; its path is looked up only here.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(super) fn open(config: &RecordOptions) -> io::Result<Self> {
        let path = match config.file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // Only rotation reads the folder.
        let access = match config.rotates() {
            true => OFlags::RDONLY,
            false => OFlags::PATH,
        };
        let folder = open_folder(path, access)?;
        let name = config.file.file_name().unwrap_or_default();
        Ok(Self::of(folder, path.to_owned(), name.to_owned()))
    }

    /// Takes an open folder; names of its files consist of `name` and their time.
    pub(super) fn of(folder: OwnedFd, path: PathBuf, name: OsString) -> Self {
        let text = name.to_string_lossy().into_owned();
        let plain = text.strip_suffix(".zst").unwrap_or(&text);
        // A leading point begins no extension.
        let stem = match plain.rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem,
            _ => plain,
        };
        Self {
            folder,
            path,
            stem: stem.to_owned(),
            extension: text[stem.len()..].to_owned(),
            name,
        }
    }

    /// Returns the path of a file for messages.
    pub(super) fn path(&self, name: &OsString) -> PathBuf {
        match self.path == Path::new(".") {
            true => name.into(),
            false => self.path.join(name),
        }
    }

    /// A path of the open folder, valid wherever the folder is moved.
    pub(super) fn by_descriptor(&self) -> PathBuf {
        by_descriptor(&self.folder)
    }

    /// Whether the path now leads to another folder than the open one.
    pub(super) fn is_another_now(&self) -> bool {
        let (Ok(open), Ok(now)) = (fstat(&self.folder), stat(&self.path)) else {
            return false;
        };
        (open.st_dev, open.st_ino) != (now.st_dev, now.st_ino)
    }

    /// Creates the file of the given name, or opens an existing FIFO or character device that no
    /// other user chose. Returns `None` if `is_stop_requested` becomes true before a FIFO has a
    /// reader.
    ///
    /// # Errors
    /// When it cannot be made or opened.
    pub(super) fn create(
        &self,
        mut is_stop_requested: impl FnMut() -> bool,
    ) -> io::Result<Option<RecordingFile>> {
        let found = match self.create_new(&self.name) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.find()?,
            made => return made.map(Some),
        };
        // Opens the inspected file by its descriptor, so that nobody can exchange it; opening a
        // tape or a watchdog by path would already act on it.
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        loop {
            match openat(CWD, &path, flags, Mode::empty()) {
                Ok(file) => {
                    return Ok(Some(RecordingFile::new(
                        self.name.clone(),
                        file.into(),
                        false,
                    )));
                }
                // ENXIO: the FIFO has no reader yet (fifo(7)).
                Err(Errno::NXIO) if is_stop_requested() => return Ok(None),
                Err(Errno::NXIO) => thread::sleep(READER_POLL),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Inspects a name without opening the file.
    fn find(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let mut found = openat(
            &self.folder,
            &self.name,
            flags | OFlags::NOFOLLOW,
            Mode::empty(),
        )?;
        let mut what = fstat(&found)?;
        let folder = fstat(&self.folder)?;
        let is_ours = |what: &Stat| what.st_uid == 0 || what.st_uid == geteuid().as_raw();
        let is_closed = is_ours(&folder) && folder.st_mode & 0o022 == 0;
        if FileType::from_raw_mode(what.st_mode) == FileType::Symlink {
            // A link such as /dev/stdout, which only root can create.
            if !(is_closed && is_ours(&what)) {
                return Err(io::Error::other(
                    "this is a link that another user may have made: name what it leads to",
                ));
            }
            found = openat(&self.folder, &self.name, flags, Mode::empty())?;
            what = fstat(&found)?;
        }
        let kind = FileType::from_raw_mode(what.st_mode);
        match kind {
            FileType::Fifo | FileType::CharacterDevice if is_closed || is_ours(&what) => Ok(found),
            FileType::Fifo | FileType::CharacterDevice => Err(io::Error::other(format!(
                "this belongs to user {}, who put it there: choose another name or folder",
                what.st_uid
            ))),
            FileType::RegularFile => Err(ErrorKind::AlreadyExists.into()),
            _ => Err(io::Error::other(
                "only a new file, a FIFO or a character device can be recorded to",
            )),
        }
    }

    /// Creates a file named after the current time.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn create_next(&self) -> io::Result<RecordingFile> {
        let mut time = SystemTime::now();
        // A file made within the millisecond of another one is named after a later time, so that
        // names stay in order.
        let newest = self.existing().into_iter().max();
        for _ in 1..TRIES {
            let name = self.name_at(time);
            if newest.as_ref().is_some_and(|newest| name <= *newest) {
                time += Duration::from_millis(1);
                continue;
            }
            match self.create_new(&name) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    time += Duration::from_millis(1);
                }
                made => return made,
            }
        }
        self.create_new(&self.name_at(time))
    }

    fn create_new(&self, name: &OsString) -> io::Result<RecordingFile> {
        let file = create_new(&self.folder, name)?;
        Ok(RecordingFile::new(name.clone(), file, true))
    }

    fn name_at(&self, time: SystemTime) -> OsString {
        format!("{}-{}{}", self.stem, stamp(time), self.extension).into()
    }

    /// Lists the files of earlier runs as well: regular files of this user.
    pub(super) fn existing(&self) -> Vec<OsString> {
        let user = geteuid().as_raw();
        let folder = Dir::read_from(&self.folder).into_iter().flatten().flatten();
        let names = folder.map(|entry| {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            name.to_owned()
        });
        let is_mine = |name: &OsString| {
            let what = statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW);
            let is_file = |what: &Stat| FileType::from_raw_mode(what.st_mode).is_file();
            what.is_ok_and(|what| is_file(&what) && what.st_uid == user)
        };
        names
            .filter(|name| name.to_str().is_some_and(|name| self.is_one(name)))
            .filter(is_mine)
            .collect()
    }

    /// Removes one of [`Self::existing`]; a file that cannot be removed stays.
    pub(super) fn remove(&self, name: &OsString) {
        let _ = unlinkat(self.folder.as_fd(), name, AtFlags::empty());
    }

    fn is_one(&self, name: &str) -> bool {
        let time = name
            .strip_prefix(&self.stem)
            .and_then(|name| name.strip_prefix('-'))
            .and_then(|name| name.strip_suffix(&self.extension));
        let digits = |time: &str| {
            let shape = "dddddddd T dddddd . ddd Z".replace(' ', "");
            time.bytes()
                .zip(shape.bytes())
                .all(|(c, expected)| match expected {
                    b'd' => c.is_ascii_digit(),
                    expected => c == expected,
                })
        };
        time.is_some_and(|time| time.len() == TIME_LENGTH && digits(time))
    }
}
