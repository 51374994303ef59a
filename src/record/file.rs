//! The files of a recording: what they are called, when one ends and another begins, and how bytes get
//! into them so that what is there is always whole intervals.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use zstd::stream::write::Encoder;

use crate::config::Record;
use crate::interval::Interval;

/// zstd's own default: half of the size of level 1, at a tenth of what ranking and JSON cost.
const LEVEL: i32 = 3;
/// The time in a name, as in `20261122T150000.123Z`.
const TIME: &str = "%Y%m%dT%H%M%S%.3fZ";
const TIME_LENGTH: usize = 20;
/// Names with a time that are tried before giving up.
const TRIES: u32 = 1000;

/// What is to be done next, in order; a step that failed is tried again.
enum Step {
    /// Append these bytes.
    Write(Vec<u8>),
    /// Begin the next file.
    Next,
}

/// The files.
pub(super) struct Files {
    config: Record,
    names: Names,
    open: Open,
    encoder: Option<Encoder<'static, Vec<u8>>>,
    steps: VecDeque<Step>,
    /// Of all files before this one.
    bytes_before: u64,
    /// Encoded for the file that is open when all steps are done: its bytes and time.
    planned: (u64, Duration),
}

struct Open {
    path: PathBuf,
    file: File,
    /// Whether it can be written at a place, and made shorter.
    regular: bool,
    /// Bytes of whole intervals.
    good: u64,
}

impl Files {
    /// Makes the first one.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(super) fn create(config: Record) -> Result<Self> {
        let names = Names::of(&config);
        let path = &config.file;
        let open = if config.rotates() {
            names.create()
        } else {
            create(path.clone())
        };
        let open = open.with_context(|| format!("record {}", path.display()))?;
        let mut files = Self {
            encoder: None,
            config,
            names,
            open,
            steps: VecDeque::new(),
            bytes_before: 0,
            planned: (0, Duration::ZERO),
        };
        files.encoder = files.begin_encoding().context("begin to compress")?;
        files.remove_old();
        Ok(files)
    }

    /// The file that is written now.
    pub(super) fn name(&self) -> String {
        self.open.path.display().to_string()
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
            self.steps.push_back(Step::Next);
            self.encoder = self.begin_encoding()?;
            self.planned = (0, Duration::ZERO);
        }
        let bytes = match &mut self.encoder {
            None => text.to_vec(),
            Some(encoder) => {
                encoder.write_all(text)?;
                // All of it can be read now, whatever becomes of this process.
                encoder.flush()?;
                std::mem::take(encoder.get_mut())
            }
        };
        self.planned.0 += bytes.len() as u64;
        self.planned.1 += interval.elapsed;
        self.steps.push_back(Step::Write(bytes));
        Ok(())
    }

    /// Writes what was taken. After an error nothing of what failed is in the file, and it can be tried
    /// again.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(super) fn write(&mut self) -> io::Result<()> {
        while let Some(step) = self.steps.front() {
            match step {
                Step::Write(bytes) => self.open.append(bytes)?,
                Step::Next => {
                    let next = self.names.create()?;
                    self.bytes_before += self.open.good;
                    self.open = next;
                    self.remove_old();
                }
            }
            self.steps.pop_front();
        }
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
            self.steps.push_back(Step::Write(encoder.finish()?));
        }
        Ok(())
    }

    /// Removes the oldest files beyond those to be kept. One that cannot be removed stays.
    fn remove_old(&self) {
        let Some(most) = self.config.files else {
            return;
        };
        let mut all = self.names.existing();
        all.sort();
        let excess = all.len().saturating_sub(most);
        for old in all
            .iter()
            .take(excess)
            .filter(|old| **old != self.open.path)
        {
            let _ = fs::remove_file(old);
        }
    }
}

impl Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.regular {
            self.file.write_all(bytes)?;
        } else if let Err(error) = self.file.write_all_at(bytes, self.good) {
            // Half an interval is none. Where this fails too, the next one is written over it.
            let _ = self.file.set_len(self.good);
            return Err(error);
        }
        self.good += bytes.len() as u64;
        Ok(())
    }
}

/// What files are called that come one after the other: the name that was given, with the time before its
/// extension, so that they are in order as a shell lists them.
struct Names {
    folder: PathBuf,
    stem: String,
    extension: String,
}

impl Names {
    fn of(config: &Record) -> Self {
        let name = config
            .file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let plain = name.strip_suffix(".zst").unwrap_or(&name);
        // A name that begins with a point has no extension by that.
        let stem = match plain.rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem,
            _ => plain,
        };
        let folder = config.file.parent().unwrap_or(&config.file);
        Self {
            folder: folder.to_owned(),
            stem: stem.to_owned(),
            extension: name[stem.len()..].to_owned(),
        }
    }

    fn at(&self, time: SystemTime) -> PathBuf {
        let time = jiff::Timestamp::try_from(time).unwrap_or_default();
        let time = time.strftime(TIME);
        let name = format!("{}-{time}{}", self.stem, self.extension);
        self.folder.join(name)
    }

    /// A new file, of now.
    fn create(&self) -> io::Result<Open> {
        let mut time = SystemTime::now();
        for _ in 1..TRIES {
            match create(self.at(time)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    time += Duration::from_millis(1);
                }
                made => return made,
            }
        }
        create(self.at(time))
    }

    /// Those that are there, of earlier runs too.
    fn existing(&self) -> Vec<PathBuf> {
        let folder = match self.folder.as_os_str().is_empty() {
            true => ".".as_ref(),
            false => self.folder.as_path(),
        };
        let names = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter(|name| self.is_one(name))
            .map(|name| self.folder.join(name))
            .collect()
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
                .all(|(c, wanted)| match wanted {
                    b'd' => c.is_ascii_digit(),
                    wanted => c == wanted,
                })
        };
        time.is_some_and(|time| time.len() == TIME_LENGTH && digits(time))
    }
}

/// A new file; what is there is not written over, unless it is a device or a pipe.
fn create(path: PathBuf) -> io::Result<Open> {
    let is_there = fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file());
    let file = match is_there {
        true => OpenOptions::new().write(true).open(&path)?,
        false => File::create_new(&path)?,
    };
    Ok(Open {
        regular: file.metadata()?.is_file(),
        path,
        file,
        good: 0,
    })
}
