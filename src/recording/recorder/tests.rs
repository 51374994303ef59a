//! Files, names and what happens when there is no room.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::jsonl::input::{Stop, open};
use crate::jsonl::sums::LedgerReader;
use crate::model::flow::{Flow, Owner};
use crate::recording::replay::Replay;
use crate::stats::usage::{GroupSums, UsageSums};
use crate::testing::{Intervals, Random, flow};
use crate::view::Group;

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
        sums: None,
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

fn ledger(file: &Path) -> Vec<UsageSums> {
    let file = open(&[file.to_owned()]).pop().unwrap();
    let reader = LedgerReader::open(&file, &Stop::default());
    let periods = reader.unwrap().unwrap();
    periods.map(|period| period.unwrap()).collect()
}

#[test]
fn a_ledger_has_the_sums_of_each_period() {
    let folder = ScratchFolder::new("ledger");
    let file = folder.0.join("ledger.jsonl.zst");
    let config = options::RecordOptions {
        sums: Some(Duration::from_secs(10)),
        ..config(file.clone())
    };
    // From second 1,000,001 on: the first period ends with second 1,000,010.
    let all = intervals(25);
    record(&config, &all).unwrap();
    let periods = ledger(&file);
    let lengths: Vec<u64> = periods.iter().map(|it| it.elapsed.as_secs()).collect();
    assert_eq!(lengths, [10, 10, 5]);
    for (period, intervals) in periods.iter().zip(all.chunks(10)) {
        let moved = period.total.rx_bytes + period.total.tx_bytes;
        assert_eq!(moved, bytes(intervals.to_vec()));
        assert_eq!(period.ended, intervals.last().unwrap().ended);
        let programs = &period.groups[&Group::Program];
        assert_eq!((period.groups.len(), programs.len()), (5, 13));
        // Four flows of each program, by one byte in each interval.
        assert_eq!(programs["p3"].tx_bytes, 4 * intervals.len() as u64);
    }
    let refused = open(&[file]);
    let mut replay = Replay::new(&refused, None, None, &Stop::default());
    let error = replay.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("flowtop usage"), "{error}");
}

/// A server with 40 programs of 10 users in 20 containers and 20 units.
fn busy_hour(random: &mut Random) -> Vec<Flow> {
    let of = |n: u32, random: &mut Random| {
        let mut owner = Owner::named(format!("program-{n}").as_bytes());
        owner.uid = Some(1000 + n % 10);
        let cgroup = match n % 2 {
            0 => format!("/system.slice/docker-{:012x}{:052x}.scope", n / 2, 0),
            _ => format!("/system.slice/service-{}.service", n / 2),
        };
        owner.cgroup = Some(cgroup.into());
        // Up to a terabyte an hour, of any size.
        let amount = |random: &mut Random| {
            let most = 1 << random.below(40);
            random.below(most)
        };
        let (rx, tx) = (amount(random), amount(random));
        let mut flow = flow(n, rx, tx);
        flow.counters.rx_msgs = rx / 1000 + 1;
        flow.counters.tx_msgs = tx / 1000 + 1;
        flow.owner = Arc::new(owner);
        flow
    };
    (0..40).map(|n| of(n, random)).collect()
}

#[test]
fn a_ledger_of_a_year_of_hours_takes_less_than_50_mb() {
    let folder = ScratchFolder::new("year");
    let file = folder.0.join("ledger.jsonl.zst");
    let config = options::RecordOptions {
        sums: Some(Duration::from_secs(3600)),
        ..config(file.clone())
    };
    let (mut random, mut times) = (Random(1), Intervals::default());
    let hours = 7 * 24;
    let all: Vec<Interval> = (0..hours)
        .map(|_| times.next(3_600_000, busy_hour(&mut random)))
        .collect();
    let recorder = Recorder::start(opened(&config).unwrap(), Json::default(), |_| ()).unwrap();
    for (n, interval) in (0..).zip(&all) {
        // The queue would join intervals that come faster than they are written.
        while recorder.status().intervals + 8 < n {
            thread::sleep(Duration::from_millis(1));
        }
        recorder.put(interval);
    }
    recorder.finish().unwrap();
    let periods = ledger(&file);
    let rows: usize = periods
        .iter()
        .flat_map(|it| it.groups.values())
        .map(GroupSums::len)
        .sum();
    let size = fs::metadata(&file).unwrap().len();
    let year = size * 365 / 7;
    println!(
        "{} periods, {rows} rows, {size} bytes; a year has {year}",
        periods.len()
    );
    let counts = |group| periods[0].groups[&group].len();
    let counted = [Group::Program, Group::User, Group::Container, Group::Unit].map(counts);
    assert_eq!((periods.len(), counted), (hours, [40, 10, 21, 21]));
    assert!(year < 50_000_000, "a year takes {year} bytes");
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
