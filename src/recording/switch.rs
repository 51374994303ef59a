//! Starts and stops recordings while flowtop runs: that of `--record`, and those that a key starts
//! in the folder of `--snapshot-dir`.

use std::sync::{Arc, Mutex};

use anyhow::{Result, bail};

use super::recorder::{Recorder, Status};
use super::snapshots::SnapshotFolder;
use crate::jsonl::writer::Json;
use crate::model::interval::Interval;
use crate::sync::lock;
use crate::text::units;

/// The current recording, if any. The collector's thread adds intervals; the main thread starts and
/// stops it.
#[derive(Clone, Debug, Default)]
pub struct RecordingSwitch {
    running: Arc<Mutex<Option<Recorder>>>,
}

/// Result of starting or stopping a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingChange {
    Started {
        file: String,
    },
    Stopped {
        file: String,
        bytes: u64,
        intervals: u64,
    },
}

impl std::fmt::Display for RecordingChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Started { file } => write!(f, "recording to {file}"),
            Self::Stopped {
                file,
                bytes,
                intervals,
            } => write!(
                f,
                "recorded {} in {} to {file}",
                units::count(*intervals, "interval"),
                units::bytes(*bytes)
            ),
        }
    }
}

impl RecordingSwitch {
    /// A switch with this recording under way.
    pub fn new(running: Option<Recorder>) -> Self {
        Self {
            running: Arc::new(Mutex::new(running)),
        }
    }

    /// Adds an interval to the current recording, if any. Does not wait for a disk.
    pub fn put(&self, interval: &Interval) {
        if let Some(recorder) = &*lock(&self.running) {
            recorder.put(interval);
        }
    }

    /// Returns the status of the current recording.
    pub fn status(&self) -> Option<Status> {
        lock(&self.running).as_ref().map(Recorder::status)
    }

    /// Ends the current recording; does nothing without one.
    ///
    /// # Errors
    /// When the file cannot be ended, or intervals were lost.
    pub fn stop(&self) -> Result<Option<RecordingChange>> {
        // Takes the recording out first, so that new intervals do not wait until the disk has the
        // last ones.
        let Some(recorder) = lock(&self.running).take() else {
            return Ok(None);
        };
        let queued = recorder.finish()?;
        Ok(Some(RecordingChange::Stopped {
            file: queued.file,
            bytes: queued.bytes,
            intervals: queued.intervals,
        }))
    }

    /// Ends the current recording, or starts one in the folder.
    ///
    /// # Errors
    /// When the file cannot be made or ended, and where there is no folder.
    pub fn toggle(&self, folder: Option<&SnapshotFolder>, json: &Json) -> Result<RecordingChange> {
        if let Some(stopped) = self.stop()? {
            return Ok(stopped);
        }
        let Some(folder) = folder else {
            bail!("no folder to record in: start flowtop with --snapshot-dir DIR");
        };
        // The screen shows the status of a recording, so nothing is printed.
        let recorder = Recorder::start(folder.begin_recording()?, json.clone(), |_| {})?;
        let file = recorder.status().file;
        *lock(&self.running) = Some(recorder);
        Ok(RecordingChange::Started { file })
    }
}
