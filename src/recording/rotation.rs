//! The files of a recording: what they are called, when one ends and another begins, and how bytes get
//! into them so that what is there is always whole intervals.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use zstd::stream::write::Encoder;

use super::folder::{RecordingFile, RecordingFolder};
use crate::model::interval::Interval;
use crate::options::RecordOptions;
use crate::text::sanitize::sanitize;

/// zstd's own default: half of the size of level 1, at a tenth of what ranking and JSON cost.
const LEVEL: i32 = 3;
/// What is to be done next, in order; a step that failed is tried again.
enum WriteStep {
    Write {
        bytes: Vec<u8>,
        /// Its records, where `bytes` are those compressed.
        text: Vec<u8>,
    },
    /// Append the end of a compressed file.
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
    /// Of all files before this one.
    bytes_before: u64,
    /// Encoded for the file that is open when all steps are done: its bytes and time.
    planned: (u64, Duration),
    /// What others did to the files, and was not taken yet.
    notes: Vec<String>,
    /// Whether a note has said that the path of the folder leads to another one by now.
    has_left_folder: bool,
}

impl RotatingFiles {
    /// Makes the first one, with the rights that this thread has now. `None` where someone has to read
    /// first and `is_stop_requested` says that there is no more time for it.
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

    /// Makes the first file in a folder that is open already, its name with the time.
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

    /// The folder in which files are made and removed from now on, by a name that leads to what is open.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        self.config.rotates().then(|| self.folder.by_descriptor())
    }

    /// What others did to the files since it was asked last.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The file that is written now.
    pub(super) fn name(&self) -> String {
        self.folder.path(&self.open.name).display().to_string()
    }

    /// Bytes that were written, to all files.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes_before + self.open.good
    }

    /// Takes the records of an interval; [`Self::write`] writes them.
    ///
    /// # Errors
    /// When they cannot be compressed.
    pub(super) fn encode(&mut self, text: &[u8], interval: &Interval) -> io::Result<()> {
        let (bytes, length) = self.planned;
        let is_full = self.config.size.is_some_and(|size| bytes >= size)
            || self.config.time.is_some_and(|time| length >= time);
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
        self.planned.1 += interval.elapsed;
        self.steps.push_back(step);
        Ok(())
    }

    /// Writes what was taken. After an error nothing of what failed is in the file, and it can be tried
    /// again.
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

    /// Looks whether others have cut or removed the file, as `copytruncate` of logrotate(8) does. What is cut
    /// goes on at the end that is there, in a frame of its own where it is compressed.
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

    /// Compresses what is to be written to this file once more, with nothing before it.
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

    /// Writes the end of the file, and has all of it on the disk.
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

    /// Removes the oldest files beyond those to be kept. One that cannot be removed stays.
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

/// Text as it comes out of an encoder: all of it can be read then, whatever becomes of this process.
fn compressed(encoder: &mut Encoder<'static, Vec<u8>>, text: &[u8]) -> io::Result<Vec<u8>> {
    encoder.write_all(text)?;
    encoder.flush()?;
    Ok(std::mem::take(encoder.get_mut()))
}
