//! The files of a recording: their names, when the next one begins, and writes that leave whole
//! intervals in them at any time.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use zstd::stream::write::Encoder;

use super::folder::{RecordingFile, RecordingFolder};
use crate::options::RecordOptions;
use crate::text::sanitize::sanitize;

/// Compression level, zstd's default: half the size of level 1, for a tenth of the time that
/// ranking and JSON take.
const LEVEL: i32 = 3;
/// A pending step; steps run in order, and a failed one is retried.
enum WriteStep {
    Write {
        bytes: Vec<u8>,
        /// The interval's records; `bytes` holds them compressed.
        text: Vec<u8>,
    },
    /// Append the end of the compressed file.
    End(Vec<u8>),
    /// Begin the next file.
    Next,
}

pub(super) struct RotatingFiles {
    config: RecordOptions,
    folder: RecordingFolder,
    open: RecordingFile,
    encoder: Option<Encoder<'static, Vec<u8>>>,
    steps: VecDeque<WriteStep>,
    /// Sum of all earlier files.
    bytes_before: u64,
    /// Bytes and time encoded for the file that is open once all steps are done.
    planned: (u64, Duration),
    /// Changes by other programs that were not reported yet.
    notes: Vec<String>,
    /// Whether a note has reported that the path leads to another folder.
    has_left_folder: bool,
}

impl RotatingFiles {
    /// Creates the first file with the rights of this thread. Returns `None` if a FIFO has no
    /// reader and `is_stop_requested` becomes true.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(super) fn create(
        config: RecordOptions,
        is_stop_requested: impl FnMut() -> bool,
    ) -> Result<Option<Self>> {
        let shown = config.file.to_string_lossy().into_owned();
        let context = || format!("record {}", sanitize(&shown));
        let folder = RecordingFolder::open(&config).with_context(context)?;
        let opened = match config.rotates() {
            true => folder.create_next().map(Some),
            false => folder.create(is_stop_requested),
        };
        let Some(open) = opened.with_context(context)? else {
            return Ok(None);
        };
        Self::begin(config, folder, open).map(Some)
    }

    /// Creates the first file in an open folder, named after the current time.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(super) fn create_in(folder: RecordingFolder, config: RecordOptions) -> Result<Self> {
        let shown = config.file.to_string_lossy().into_owned();
        let open = folder.create_next();
        let open = open.with_context(|| format!("record {}", sanitize(&shown)))?;
        Self::begin(config, folder, open)
    }

    fn begin(config: RecordOptions, folder: RecordingFolder, open: RecordingFile) -> Result<Self> {
        let mut files = Self {
            folder,
            open,
            encoder: None,
            steps: VecDeque::new(),
            bytes_before: 0,
            planned: (0, Duration::ZERO),
            notes: Vec::new(),
            has_left_folder: false,
            config,
        };
        files.encoder = files.begin_encoding().context("begin to compress")?;
        files.remove_old();
        Ok(files)
    }

    /// A path of the open folder in which files are created and removed.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        self.config.rotates().then(|| self.folder.by_descriptor())
    }

    /// Takes the changes by other programs since the last call.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The time that each sum is of, where sums are kept in place of flows.
    pub(super) fn sums(&self) -> Option<Duration> {
        self.config.sums
    }

    /// Returns the name of the current file.
    pub(super) fn name(&self) -> String {
        self.folder.path(&self.open.name).display().to_string()
    }

    /// Returns the bytes written to all files.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes_before + self.open.good
    }

    /// Encodes the records of an interval of this length; [`Self::write`] writes them.
    ///
    /// # Errors
    /// When they cannot be compressed.
    pub(super) fn encode(&mut self, text: &[u8], length: Duration) -> io::Result<()> {
        let (bytes, planned) = self.planned;
        let is_full = self.config.size.is_some_and(|size| bytes >= size)
            || self.config.time.is_some_and(|time| planned >= time);
        if is_full {
            self.end_encoding()?;
            self.steps.push_back(WriteStep::Next);
            self.encoder = self.begin_encoding()?;
            self.planned = (0, Duration::ZERO);
        }
        let step = match &mut self.encoder {
            None => WriteStep::Write {
                bytes: text.to_vec(),
                text: Vec::new(),
            },
            Some(encoder) => WriteStep::Write {
                bytes: compressed(encoder, text)?,
                text: text.to_vec(),
            },
        };
        if let WriteStep::Write { bytes, .. } = &step {
            self.planned.0 += bytes.len() as u64;
        }
        self.planned.1 += length;
        self.steps.push_back(step);
        Ok(())
    }

    /// Writes the pending steps. A step that fails leaves nothing in the file and can be retried.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(super) fn write(&mut self) -> io::Result<()> {
        while !self.steps.is_empty() {
            self.check_file()?;
            match self.steps.front() {
                Some(WriteStep::Write { bytes, .. } | WriteStep::End(bytes)) => {
                    self.open.append(bytes)?
                }
                Some(WriteStep::Next) => self.begin_next()?,
                None => {}
            }
            self.steps.pop_front();
        }
        Ok(())
    }

    fn begin_next(&mut self) -> io::Result<()> {
        if !self.has_left_folder && self.folder.is_another_now() {
            self.has_left_folder = true;
            self.note(
                "its folder was replaced: recording goes on in the folder that was there at the start; \
                 start flowtop again to record into the new one",
            );
        }
        let next = self.folder.create_next()?;
        self.bytes_before += self.open.good;
        self.open = next;
        self.remove_old();
        Ok(())
    }

    /// Detects whether another program truncated or removed the file, as `copytruncate` of
    /// logrotate(8) does. A truncated file continues at its new end, in a new frame if it is
    /// compressed.
    fn check_file(&mut self) -> io::Result<()> {
        if !self.open.regular {
            return Ok(());
        }
        let metadata = self.open.file.metadata()?;
        if metadata.nlink() == 0 && !self.open.is_removed {
            self.open.is_removed = true;
            self.note("the file was removed: what is recorded is lost with it when flowtop ends");
        }
        if metadata.len() < self.open.good {
            self.note("the file was truncated by another program: recording goes on at its end");
            self.open.good = metadata.len();
            self.reencode()?;
        }
        Ok(())
    }

    fn note(&mut self, what: &str) {
        self.notes.push(format!("record {}: {what}", self.name()));
    }

    /// Compresses the pending interval again, as the first of its frame.
    fn reencode(&mut self) -> io::Result<()> {
        let Some(mut encoder) = self.begin_encoding()? else {
            return Ok(());
        };
        for step in &mut self.steps {
            match step {
                WriteStep::Write { bytes, text } => *bytes = compressed(&mut encoder, text)?,
                WriteStep::End(bytes) => {
                    *bytes = encoder.finish()?;
                    return Ok(());
                }
                WriteStep::Next => return Ok(()),
            }
        }
        self.encoder = Some(encoder);
        Ok(())
    }

    /// Writes the end of the file and flushes all of it to the disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.end_encoding()?;
        self.write()?;
        match self.open.regular {
            true => self.open.file.sync_all(),
            false => Ok(()),
        }
    }

    fn begin_encoding(&self) -> io::Result<Option<Encoder<'static, Vec<u8>>>> {
        let name = self.config.file.as_os_str().as_encoded_bytes();
        if !name.ends_with(b".zst") {
            return Ok(None);
        }
        let mut encoder = Encoder::new(Vec::new(), LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Some(encoder))
    }

    fn end_encoding(&mut self) -> io::Result<()> {
        if let Some(encoder) = self.encoder.take() {
            self.steps.push_back(WriteStep::End(encoder.finish()?));
        }
        Ok(())
    }

    /// Removes the oldest files beyond the number to keep. A file that cannot be removed stays.
    fn remove_old(&self) {
        let Some(most) = self.config.files else {
            return;
        };
        let mut all = self.folder.existing();
        all.sort();
        let excess = all.len().saturating_sub(most);
        for old in all
            .iter()
            .take(excess)
            .filter(|old| **old != self.open.name)
        {
            self.folder.remove(old);
        }
    }
}

/// Encodes text so that all of it can be decoded even if this process is killed next.
fn compressed(encoder: &mut Encoder<'static, Vec<u8>>, text: &[u8]) -> io::Result<Vec<u8>> {
    encoder.write_all(text)?;
    encoder.flush()?;
    Ok(std::mem::take(encoder.get_mut()))
}
