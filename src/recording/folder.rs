//! Where recordings are made: a folder that is opened once, and what is made, found and removed in it. Nothing
//! that another user puts there is written to, waited for or removed.

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

/// The time in a name, as in `20261122T150000.123Z`.
const TIME: &str = "%Y%m%dT%H%M%S%.3fZ";
const TIME_LENGTH: usize = 20;
/// Names with a time that are tried before giving up.
const TRIES: u32 = 1000;
/// How often it is looked whether a FIFO has a reader by now.
const READER_POLL: Duration = Duration::from_millis(50);
/// How long a reader may hold up one write before a note says so.
const READER_TIMEOUT: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
/// A recording tells who talks to whom: it is for its owner.
const PRIVATE: Mode = Mode::from_raw_mode(0o600);

/// A file that is written.
pub(super) struct RecordingFile {
    pub(super) name: OsString,
    pub(super) file: File,
    /// Whether it can be written at a place, and made shorter.
    pub(super) regular: bool,
    /// Bytes of whole intervals.
    pub(super) good: u64,
    /// It has no name any more.
    pub(super) is_removed: bool,
    /// Bytes of the interval under way that a reader has taken.
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

    /// Appends the bytes, all or none; to a reader, from where it stopped to read them.
    ///
    /// # Errors
    /// When the disk, or the reader, does not take them.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.regular {
            self.hand_over(bytes)?;
        } else if let Err(error) = self.file.write_all_at(bytes, self.good) {
            // Half an interval is none. Where this fails too, the next one is written over it.
            let _ = self.file.set_len(self.good);
            return Err(error);
        }
        self.good += bytes.len() as u64;
        Ok(())
    }

    /// Writes to a FIFO or device that may be slow: what it does not take within some time is tried again
    /// later, so that a reader that does not read cannot hold up the end.
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

/// Opens a folder by its path, with the rights that this thread has now.
pub(super) fn open_folder(path: &Path, access: OFlags) -> io::Result<OwnedFd> {
    let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// A name of an open folder, wherever that is moved.
pub(super) fn by_descriptor(folder: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", folder.as_raw_fd()).into()
}

/// Makes a file for its owner only that was not there: with `O_EXCL` no link is followed.
pub(super) fn create_new(folder: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags, PRIVATE)?.into())
}

/// The time as it stands in names of files, in an order that a shell lists them in.
pub(super) fn stamp(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.strftime(TIME).to_string()
}

/// A folder, and what files in it are called that come one after the other: the name that was given, with
/// the time before its extension, so that they are in order as a shell lists them.
pub(super) struct RecordingFolder {
    path: PathBuf,
    folder: OwnedFd,
    name: OsString,
    stem: String,
    extension: String,
}

impl RecordingFolder {
    /// Opens the folder, the one time that its path is looked up.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(super) fn open(config: &RecordOptions) -> io::Result<Self> {
        let path = match config.file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // Only a rotation lists what is there.
        let access = match config.rotates() {
            true => OFlags::RDONLY,
            false => OFlags::PATH,
        };
        let folder = open_folder(path, access)?;
        let name = config.file.file_name().unwrap_or_default();
        Ok(Self::of(folder, path.to_owned(), name.to_owned()))
    }

    /// A folder that is open already, for files that are called by `name` and their time.
    pub(super) fn of(folder: OwnedFd, path: PathBuf, name: OsString) -> Self {
        let text = name.to_string_lossy().into_owned();
        let plain = text.strip_suffix(".zst").unwrap_or(&text);
        // A name that begins with a point has no extension by that.
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

    /// A file of it as people know it.
    pub(super) fn path(&self, name: &OsString) -> PathBuf {
        match self.path == Path::new(".") {
            true => name.into(),
            false => self.path.join(name),
        }
    }

    /// A name of the open folder, wherever it is moved.
    pub(super) fn by_descriptor(&self) -> PathBuf {
        by_descriptor(&self.folder)
    }

    /// Whether the path leads to another folder than the one that is open.
    pub(super) fn is_another_now(&self) -> bool {
        let (Ok(open), Ok(now)) = (fstat(&self.folder), stat(&self.path)) else {
            return false;
        };
        (open.st_dev, open.st_ino) != (now.st_dev, now.st_ino)
    }

    /// The file of the name that was given, or what stands there if it is something to write to: a FIFO or a
    /// character device of nobody else's choosing. `None` where `is_stop_requested` says so before a FIFO
    /// has a reader.
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
        // By the descriptor, so that it is what was looked at; a tape or a watchdog is not touched before.
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
                // A FIFO that nobody reads yet (fifo(7)).
                Err(Errno::NXIO) if is_stop_requested() => return Ok(None),
                Err(Errno::NXIO) => thread::sleep(READER_POLL),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What stands at the name, looked at and not opened.
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
            // As /dev/stdout: a link that nobody else could have made.
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

    /// A new file, of now.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn create_next(&self) -> io::Result<RecordingFile> {
        let mut time = SystemTime::now();
        // Files that were made within a millisecond have names of later ones; the order of names is that of files.
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

    /// Names of those that are there, of earlier runs too: regular files of this user.
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

    /// Removes one of [`Self::existing`]; one that cannot be removed stays.
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
