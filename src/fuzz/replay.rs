//! What holds of any bytes as a recording.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use crate::jsonl::reader::{RecordedInterval, RecordingLength, RecordingReader};
use crate::jsonl::writer::Json;
use crate::output::Report;
use crate::output::csv::Csv;
use crate::output::text::Text;
use crate::resolve::names::Names;
use crate::stats::history::History;
use crate::stats::ranking::Ranking;
use crate::view::Group;

/// Intervals that are looked at: a recording may unpack to a thousand times its length.
const MAX_INTERVALS: usize = 200;
/// Lines that are measured, for the same reason.
const MAX_LINES: u64 = 100_000;

/// Any bytes are read as a recording up to their damage. What was read is written as a recording
/// that reads the same, and adds up whatever is made of it. Its measured length is that of its
/// intervals.
///
/// # Panics
/// When that is not so.
pub fn replay(bytes: &[u8]) {
    let (frames, damaged) = read(bytes);
    let first = written(&frames);
    let (again, damaged_again) = read(&first);
    assert!(!damaged_again);
    assert_eq!(again.len(), frames.len());
    assert!(written(&again) == first);
    measured(bytes, &frames, damaged);
    shown(&frames);
}

fn reader(bytes: &[u8]) -> Option<RecordingReader> {
    RecordingReader::new(Path::new("fuzz"), Box::new(Cursor::new(bytes.to_vec()))).ok()
}

/// The intervals, and whether anything is wrong behind them.
fn read(bytes: &[u8]) -> (Vec<RecordedInterval>, bool) {
    let Some(reader) = reader(bytes) else {
        return (Vec::new(), true);
    };
    let mut frames = Vec::new();
    for frame in reader.take(MAX_INTERVALS) {
        match frame {
            Ok(frame) => frames.push(frame),
            Err(corruption) => {
                let shown = corruption.to_string();
                assert!(!shown.chars().any(char::is_control), "{shown:?}");
                return (frames, true);
            }
        }
    }
    (frames, false)
}

fn written(frames: &[RecordedInterval]) -> Vec<u8> {
    let (mut out, mut json) = (Vec::new(), Json::default());
    for frame in frames {
        json.learn(&frame.metadata);
        let ranking = Ranking::new(&frame.interval, None);
        assert!(json.append(&ranking, &Names::disabled(), &mut out).is_ok());
    }
    out
}

/// Measuring counts every interval that is read, and only a damaged recording has more.
fn measured(bytes: &[u8], frames: &[RecordedInterval], damaged: bool) {
    let Some(mut reader) = reader(bytes) else {
        return;
    };
    let mut length = RecordingLength::default();
    if reader.measure(&mut length, MAX_LINES) {
        return;
    }
    let read = frames.len() as u64;
    let elapsed: Duration = frames.iter().map(|frame| frame.interval.elapsed).sum();
    assert!(length.intervals >= read && length.elapsed >= elapsed);
    if !damaged && frames.len() < MAX_INTERVALS {
        assert_eq!((length.intervals, length.elapsed), (read, elapsed));
    }
}

fn shown(frames: &[RecordedInterval]) {
    let (mut text, mut csv, mut history) = (Text::default(), Csv::default(), History::new());
    let mut moved = 0;
    let mut elapsed = Duration::ZERO;
    for RecordedInterval {
        interval, metadata, ..
    } in frames
    {
        history.add(interval);
        let total = interval.total();
        moved += total.rx_bytes + total.tx_bytes;
        elapsed += interval.elapsed;
        let ranking = Ranking::new(interval, Some(3));
        let mut out = Vec::new();
        text.learn(metadata);
        let reports: [&mut dyn Report; 2] = [&mut text, &mut csv];
        for report in reports {
            assert!(
                report
                    .append(&ranking, &Names::disabled(), &mut out)
                    .is_ok()
            );
        }
        for group in [Group::Process, Group::User, Group::Unit, Group::Port] {
            let ranking = Ranking::grouped(interval, group, &(), Some(3));
            let appended = text.append_groups(group, &ranking, &Names::disabled(), &mut out);
            assert!(appended.is_ok());
        }
        let out = String::from_utf8_lossy(&out);
        assert!(!out.chars().any(|c| c.is_control() && c != '\n'), "{out:?}");
    }
    let all = history.all().total;
    assert_eq!(all.rx_bytes + all.tx_bytes, moved);
    assert_eq!(history.clock().at, elapsed);
}
