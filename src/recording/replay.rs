//! Turns recordings (JSON Lines as written by [`crate::jsonl::writer`]) back into intervals. Knows
//! no kernel and no presentation, and reads nothing of this machine but the files.
//!
//! What is in a file is foreign: lines, intervals and sums are bounded, and whatever cannot be is
//! damage. A file is read up to its damage, then the next one; what was read stays valid.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use crate::jsonl::input::{Recording, Stop, open};
pub use crate::jsonl::reader::{RecordedInterval, RecordingLength, RecordingReader};

use crate::filter::{Expr, Matcher};
use crate::jsonl::CorruptRecording;
use crate::jsonl::reader;
use crate::source::filtered::retain_matching;

/// Recordings in sequence: their intervals merged to the requested length, without the flows that
/// do not match.
pub struct Replay {
    files: VecDeque<Recording>,
    stop: Stop,
    reader: Option<RecordingReader>,
    sums: reader::RecordedSums,
    interval: Option<Duration>,
    matcher: Option<Matcher>,
    /// Text of the filter.
    filter: Option<String>,
    /// The interval that is being merged.
    joining: Option<RecordedInterval>,
    /// The interval after the merged one.
    held: VecDeque<Result<RecordedInterval, CorruptRecording>>,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Replay");
        shown.field("files", &self.files).finish_non_exhaustive()
    }
}

impl Replay {
    /// Replays these files. Ends when `stop` is set.
    pub fn new(
        files: &[Recording],
        interval: Option<Duration>,
        filter: Option<&Expr>,
        stop: &Stop,
    ) -> Self {
        Self {
            files: files.iter().cloned().collect(),
            stop: Arc::clone(stop),
            reader: None,
            sums: reader::RecordedSums::default(),
            interval,
            matcher: filter.map(Matcher::new),
            filter: filter.map(ToString::to_string),
            joining: None,
            held: VecDeque::new(),
        }
    }

    /// Returns the next interval as it was recorded, or the error at which reading of a file
    /// stopped; the next file follows.
    fn recorded(&mut self) -> Option<Result<RecordedInterval, CorruptRecording>> {
        loop {
            if let Some(reader) = &mut self.reader {
                let next = reader.read_next(&mut self.sums);
                // A file that was stopped before its end is not damaged.
                if self.stop.load(Ordering::Relaxed) {
                    return None;
                }
                match next {
                    Some(Ok(frame)) => return Some(Ok(frame)),
                    Some(Err(corruption)) => {
                        self.reader = None;
                        return Some(Err(corruption));
                    }
                    None => self.reader = None,
                }
            }
            let file = self.files.pop_front()?;
            match RecordingReader::open(&file, &self.stop) {
                Ok(reader) => self.reader = Some(reader),
                Err(error) => return Some(Err(unread(&file.name, &error))),
            }
        }
    }

    /// Returns the next merged interval.
    fn joined(&mut self) -> Option<Result<RecordedInterval, CorruptRecording>> {
        let Some(least) = self.interval else {
            return self.recorded();
        };
        loop {
            if let Some(held) = self.held.pop_front() {
                return Some(held);
            }
            let next = self.recorded();
            let Some(begun) = &mut self.joining else {
                match next {
                    Some(Ok(frame)) if frame.interval.elapsed < least => self.joining = Some(frame),
                    other => return other,
                }
                continue;
            };
            match next {
                Some(Ok(frame)) if begun.can_take(&frame, least) => begun.append(frame),
                Some(Ok(frame)) => self.held.extend(self.joining.replace(frame).map(Ok)),
                Some(Err(corruption)) => {
                    self.held.extend(self.joining.take().map(Ok));
                    self.held.push_back(Err(corruption));
                }
                None => return self.joining.take().map(Ok),
            }
        }
    }
}

impl Iterator for Replay {
    type Item = Result<RecordedInterval, CorruptRecording>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut next = self.joined();
        if let (Some(Ok(frame)), Some(matcher)) = (&mut next, &mut self.matcher) {
            retain_matching(matcher, &mut frame.interval);
            let recorded = frame.metadata.filter.take();
            frame.metadata.filter = and_filters(recorded, self.filter.clone());
        }
        next
    }
}

/// Returns the filter that matches if both match.
fn and_filters(recorded: Option<String>, given: Option<String>) -> Option<String> {
    match (recorded, given) {
        (Some(one), Some(other)) if one != other => Some(format!("({one}) and ({other})")),
        (one, other) => one.or(other),
    }
}

/// Measures the length of recordings with as little reading as possible. Ends early when `stop` is
/// set. Pipes are read once only, so they are skipped here.
pub fn measure(files: &[Recording], stop: &Stop) -> RecordingLength {
    let mut length = RecordingLength::default();
    for file in files {
        if let Ok(mut reader) = RecordingReader::open(file, stop) {
            reader.measure(&mut length, u64::MAX);
        }
    }
    length
}

fn unread(file: &Path, error: &io::Error) -> CorruptRecording {
    CorruptRecording {
        file: file.to_owned(),
        line: 1,
        what: error.to_string(),
        intervals: 0,
    }
}
