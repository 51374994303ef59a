//! The folder that the live table saves in: snapshots of the screen, and recordings that a key
//! starts. It is opened once, with the rights of the caller and before flowtop is confined.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use rustix::fs::{OFlags, fstat};
use rustix::process::geteuid;

use super::folder::{RecordingFolder, by_descriptor, create_new, open_folder, stamp};
use super::recorder::Opened;
use crate::options::RecordOptions;
use crate::text::sanitize::sanitize;

/// Beginning of all file names.
const STEM: &str = "flowtop";
const RECORDING: &str = "flowtop.jsonl.zst";
/// Most times that are tried for a name before flowtop gives up.
const TRIES: u32 = 1000;

/// A folder for snapshots.
#[derive(Debug)]
pub struct SnapshotFolder {
    path: PathBuf,
    folder: OwnedFd,
}

impl SnapshotFolder {
    /// Opens the folder; its path is looked up only here.
    ///
    /// # Errors
    /// When this thread may not open the folder, or there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.to_string_lossy();
        let folder = open_folder(path, OFlags::PATH)
            .with_context(|| format!("open --snapshot-dir {}", sanitize(&shown)))?;
        Ok(Self {
            path: path.to_owned(),
            folder,
        })
    }

    /// Opens a folder of the caller's own, and creates it for nobody else.
    ///
    /// # Errors
    /// When the folder cannot be created or opened, or is another user's.
    pub fn open_own(path: &Path) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let folder = open_folder(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        if fstat(&folder)?.st_uid != geteuid().as_raw() {
            bail!("it is another user's");
        }
        Ok(Self {
            path: path.to_owned(),
            folder,
        })
    }

    /// A path of the open folder, valid wherever the folder is moved.
    pub fn by_descriptor(&self) -> PathBuf {
        by_descriptor(&self.folder)
    }

    /// Writes new files that differ only in their extensions, each readable by its owner alone.
    /// Returns their path without an extension.
    ///
    /// # Errors
    /// When a file cannot be made or written.
    pub fn save(&self, files: &[(&str, Vec<u8>)]) -> Result<PathBuf> {
        let mut time = SystemTime::now();
        let mut tries = TRIES;
        let (stem, mut open) = loop {
            let name = format!("{STEM}-{}", stamp(time));
            match self.create(&name, files) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries > 0 => {
                    time += Duration::from_millis(1);
                    tries -= 1;
                }
                made => {
                    let open = made.with_context(|| format!("save {}", self.shown(&name)))?;
                    break (name, open);
                }
            }
        };
        for ((extension, bytes), file) in files.iter().zip(&mut open) {
            let name = format!("{stem}.{extension}");
            file.write_all(bytes)
                .with_context(|| format!("save {}", self.shown(&name)))?;
        }
        Ok(self.path.join(stem))
    }

    fn create(&self, stem: &str, files: &[(&str, Vec<u8>)]) -> io::Result<Vec<std::fs::File>> {
        let names = files
            .iter()
            .map(|(extension, _)| format!("{stem}.{extension}"));
        names
            .map(|name| create_new(&self.folder, name.as_ref()))
            .collect()
    }

    fn shown(&self, name: &str) -> String {
        sanitize(&self.path.join(name).to_string_lossy()).into_owned()
    }

    /// Makes the file of a new recording.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn begin_recording(&self) -> Result<Opened> {
        let folder = self.folder.try_clone().context("open the folder again")?;
        let folder = RecordingFolder::of(folder, self.path.clone(), OsString::from(RECORDING));
        let config = RecordOptions {
            file: self.path.join(RECORDING),
            size: None,
            time: None,
            files: None,
            sums: None,
        };
        Opened::create_in(folder, config)
    }
}
