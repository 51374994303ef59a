//! Files, names and what happens when there is no room.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::jsonl::input::{Stop, open};
use crate::recording::replay::Replay;
use crate::testing::{Intervals, flow};

/// A folder of its own, removed at the end.
struct ScratchFolder(PathBuf);

impl ScratchFolder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("flowtop-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(file: PathBuf) -> options::RecordOptions {
    options::RecordOptions {
        file,
        size: None,
        time: None,
        files: None,
    }
}

fn intervals(count: usize) -> Vec<Interval> {
    let mut intervals = Intervals::default();
    let flows = |n: usize| (0..50).map(|id| flow(id, n as u64, 1)).collect();
    (0..count).map(|n| intervals.next(1000, flows(n))).collect()
}

fn opened(config: &options::RecordOptions) -> Result<Opened> {
    Ok(Opened::open(config, || false)?.unwrap())
}

fn record(config: &options::RecordOptions, intervals: &[Interval]) -> Result<()> {
    let recorder = Recorder::start(opened(config).unwrap(), Json::default(), |_| ()).unwrap();
    let tap = |interval: &Interval| recorder.put(interval);
    intervals.iter().for_each(tap);
    recorder.finish().map(drop)
}

fn bytes(intervals: impl IntoIterator<Item = Interval>) -> u64 {
    let totals = intervals.into_iter().map(|interval| interval.total());
    totals.map(|total| total.rx_bytes + total.tx_bytes).sum()
}

fn replayed(files: &[PathBuf]) -> Vec<Interval> {
    let frames = Replay::new(&open(files), None, None, &Stop::default());
    frames.map(|frame| frame.unwrap().interval).collect()
}

#[test]
fn what_is_recorded_is_replayed_plain_and_compressed() {
    let folder = ScratchFolder::new("plain");
    let all = intervals(20);
    let mut sizes = Vec::new();
    for name in ["x.jsonl", "x.jsonl.zst"] {
        let file = folder.0.join(name);
        record(&config(file.clone()), &all).unwrap();
        let read = replayed(std::slice::from_ref(&file));
        assert_eq!(read.len(), 20);
        assert_eq!(bytes(read), bytes(all.clone()));
        sizes.push(fs::metadata(&file).unwrap().len());
        let error = opened(&config(file)).err().unwrap();
        assert!(format!("{error:#}").contains("exists"), "{error:#}");
    }
    assert!(sizes[1] * 10 < sizes[0], "{sizes:?}");
}

#[test]
fn a_full_file_is_followed_by_another_and_the_oldest_go() {
    for name in ["web.x.jsonl", "web.x.jsonl.zst", "web"] {
        let folder = ScratchFolder::new("rotated");
        // Of others, and to be left alone.
        let others = [
            format!("{name}.1"),
            format!("a-{name}"),
            "web.x-20261122T150000.123Z.txt".to_owned(),
        ];
        for other in &others {
            fs::write(folder.0.join(other), "").unwrap();
        }
        let by_time = options::RecordOptions {
            time: Some(Duration::from_secs(3)),
            ..config(folder.0.join(name))
        };
        let all = intervals(10);
        record(&by_time, &all).unwrap();
        let is_other = |path: &PathBuf| others.iter().any(|other| path.ends_with(other));
        let mine = || {
            folder
                .files()
                .into_iter()
                .filter(|path| !is_other(path))
                .collect::<Vec<_>>()
        };
        assert_eq!(mine().len(), 4);
        let counts = mine().into_iter().map(|file| replayed(&[file]).len());
        assert_eq!(counts.collect::<Vec<_>>(), [3, 3, 3, 1]);
        assert_eq!(
            bytes(replayed(&mine())),
            bytes(all.clone()),
            "in order of their names"
        );
        let few = options::RecordOptions {
            size: Some(100),
            files: Some(3),
            ..config(folder.0.join(name))
        };
        record(&few, &all).unwrap();
        assert_eq!(mine().len(), 3, "those of before too");
        assert_eq!(bytes(replayed(&mine())), bytes(all[7..].to_vec()));
        assert_eq!(folder.files().len(), 3 + others.len());
    }
}

/// Everything is refused by this device as by a full disk.
#[test]
fn what_could_not_be_written_in_the_end_is_counted_and_said() {
    let full = config(PathBuf::from("/dev/full"));
    let (sender, metadata) = std::sync::mpsc::channel();
    let recorder = Recorder::start(opened(&full).unwrap(), Json::default(), move |text| {
        drop(sender.send(text.to_owned()))
    })
    .unwrap();
    let tap = |interval: &Interval| recorder.put(interval);
    let all = intervals(5);
    tap(&all[0]);
    let printed = metadata.recv().unwrap();
    assert!(
        printed.contains("/dev/full") && printed.contains("No space left"),
        "{printed}"
    );
    all[1..].iter().for_each(tap);
    let status = recorder.status();
    assert!(status.trouble.unwrap().contains("No space left"));
    let message = format!("{:#}", recorder.finish().unwrap_err());
    let lost = units::bytes(bytes(all));
    assert!(
        message.contains(&format!("5 intervals with {lost}")),
        "{message}"
    );
}

#[test]
fn more_than_finds_room_is_joined_and_more_than_that_is_lost() {
    let queue = Queue::default();
    let all = intervals(200);
    for interval in &all {
        assert!(queue.put(interval), "the flows are always the same");
    }
    let mut intervals = Intervals::default();
    let mut large = |first: u32| {
        let flows = (0..100_000)
            .map(|id| crate::testing::sent(first + id, 1))
            .collect();
        intervals.next(1000, flows)
    };
    assert!(queue.put(&large(0)) && queue.put(&large(100_000)) && queue.put(&large(200_000)));
    assert!(!queue.put(&large(0)), "there are too many");
    queue.close();
    let mut waiting = Vec::new();
    while let Some(interval) = queue.take() {
        waiting.push(interval);
    }
    assert_eq!(waiting.len(), 64);
    let elapsed: Duration = waiting.iter().map(|interval| interval.elapsed).sum();
    assert_eq!(elapsed, Duration::from_secs(203));
    assert_eq!(bytes(waiting), bytes(all) + 300_000);
}

#[test]
fn a_recorder_that_is_not_finished_has_written_whole_intervals() {
    let folder = ScratchFolder::new("whole");
    let file = folder.0.join("x.jsonl.zst");
    let recorder = Recorder::start(
        opened(&config(file.clone())).unwrap(),
        Json::default(),
        |_| (),
    )
    .unwrap();
    let tap = |interval: &Interval| recorder.put(interval);
    for interval in &intervals(3) {
        tap(interval);
    }
    while recorder.status().intervals < 3 {
        thread::yield_now();
    }
    // As after kill -9.
    let copy = folder.0.join("copy");
    fs::copy(&file, &copy).unwrap();
    let frames: Vec<bool> = Replay::new(&open(&[copy]), None, None, &Stop::default())
        .map(|frame| frame.is_ok())
        .collect();
    assert_eq!(
        frames,
        [true, true, true, false],
        "three, and that the end is missing"
    );
    assert_eq!(recorder.status().bytes, fs::metadata(&file).unwrap().len());
    let ended = recorder.finish().unwrap();
    assert!(Path::new(&ended.file).exists());
}
