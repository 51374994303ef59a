//! The collector against sources that count, are late, fail or panic. Times are real but short,
//! and only what may not depend on the machine's speed is asserted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use anyhow::bail;

use super::*;
use crate::model::flow::{Counters, Endpoint, Flow, FlowKey, Protocol};
use crate::model::interval::Losses;

const TICK: Duration = Duration::from_millis(10);
const NEVER: Duration = Duration::from_secs(3600);

/// Moves `moved` bytes an interval; what has been handed out is in the shared sum.
struct Script {
    began: Instant,
    ended: Arc<AtomicU64>,
    takes: Duration,
    fail_after: u64,
}

impl Script {
    fn new() -> (Self, Arc<AtomicU64>) {
        let ended = Arc::new(AtomicU64::new(0));
        let script = Self {
            began: Instant::now(),
            ended: Arc::clone(&ended),
            takes: Duration::ZERO,
            fail_after: u64::MAX,
        };
        (script, ended)
    }
}

impl Source for Script {
    fn end_interval(&mut self) -> Result<Interval> {
        thread::sleep(self.takes);
        let nth = self.ended.fetch_add(1, Ordering::SeqCst);
        if nth >= self.fail_after {
            bail!("read the map");
        }
        let now = Instant::now();
        let elapsed = now - self.began;
        self.began = now;
        let key = FlowKey::new(Protocol::Tcp, Endpoint::default(), Endpoint::default(), 1);
        let counters = Counters {
            rx_bytes: 1,
            tx_bytes: 1000,
            rx_msgs: 1,
            tx_msgs: 1,
        };
        Ok(Interval {
            ended: SystemTime::now(),
            elapsed,
            flows: vec![Flow::new(key, counters, Arc::default())],
            losses: Losses::default(),
            interfaces: Vec::new(),
            method: Arc::default(),
        })
    }
}

fn start(
    source: Script,
    interval: Duration,
    count: Option<u64>,
) -> (Collector, Receiver<CollectorEvent>) {
    let (sender, notices) = channel();
    let schedule = Schedule {
        interval,
        early: None,
        count,
        duration: None,
    };
    let collector = Collector::start(source, schedule, move |notice| {
        let _ = sender.send(notice);
    });
    (collector.unwrap(), notices)
}

/// Takes everything until the end.
fn drain(collector: &Collector, notices: &Receiver<CollectorEvent>) -> (Vec<Interval>, Result<()>) {
    let mut intervals = Vec::new();
    loop {
        let notice = notices.recv().unwrap();
        intervals.extend(collector.take());
        if let CollectorEvent::Finished(outcome) = notice {
            return (intervals, outcome);
        }
    }
}

#[test]
fn count_ends_after_that_many_full_intervals_without_a_partial_one() {
    let (source, ended) = Script::new();
    let began = source.began;
    let (collector, notices) = start(source, TICK, Some(3));
    let (intervals, outcome) = drain(&collector, &notices);
    outcome.unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), 3);
    assert!(began.elapsed() >= 3 * TICK);
    let moved: u64 = intervals
        .iter()
        .map(|interval| interval.total().rx_bytes)
        .sum();
    assert_eq!(moved, 3);
}

#[test]
fn an_early_reading_is_part_of_the_first_interval_and_not_counted() {
    let (source, ended) = Script::new();
    let began = source.began;
    let (sender, notices) = channel();
    let schedule = Schedule {
        interval: 20 * TICK,
        early: Some(TICK),
        count: Some(2),
        duration: None,
    };
    let collector = Collector::start(source, schedule, move |notice| drop(sender.send(notice)));
    let (intervals, outcome) = drain(&collector.unwrap(), &notices);
    outcome.unwrap();
    // The grid does not move: two intervals last as long as without the early reading.
    assert!(began.elapsed() >= 40 * TICK);
    assert_eq!(ended.load(Ordering::SeqCst), 3);
    let moved: u64 = intervals
        .iter()
        .map(|interval| interval.total().rx_bytes)
        .sum();
    assert_eq!(moved, 3);
    assert!(intervals[0].elapsed >= TICK);
}

#[test]
fn a_first_interval_that_is_short_is_not_divided() {
    let (source, ended) = Script::new();
    let (sender, notices) = channel();
    let schedule = Schedule {
        interval: 2 * TICK,
        early: Some(TICK),
        count: Some(1),
        duration: None,
    };
    let collector = Collector::start(source, schedule, move |notice| drop(sender.send(notice)));
    drain(&collector.unwrap(), &notices).1.unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), 1);
}

#[test]
fn the_first_interval_is_complete() {
    let (source, _) = Script::new();
    let (collector, notices) = start(source, 3 * TICK, Some(1));
    let (intervals, _) = drain(&collector, &notices);
    assert!(
        intervals[0].elapsed >= 3 * TICK,
        "{:?}",
        intervals[0].elapsed
    );
}

#[test]
fn a_stop_hands_over_the_last_partial_interval() {
    let (source, ended) = Script::new();
    let (collector, notices) = start(source, NEVER, None);
    collector.stop();
    let (intervals, outcome) = drain(&collector, &notices);
    outcome.unwrap();
    assert_eq!(intervals.len(), 1);
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    assert!(intervals[0].elapsed < NEVER);
}

#[test]
fn a_slow_reader_gets_one_merged_interval_and_loses_nothing() {
    let (source, ended) = Script::new();
    let (collector, notices) = start(source, TICK, Some(5));
    let outcome = loop {
        if let CollectorEvent::Finished(outcome) = notices.recv().unwrap() {
            break outcome;
        }
    };
    outcome.unwrap();
    let merged = collector.take().unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), 5);
    assert_eq!(merged.total().rx_bytes, 5);
    assert_eq!(merged.flows.len(), 1);
    assert!(merged.elapsed >= 5 * TICK);
    assert!(collector.take().is_none());
}

#[test]
fn egress_is_not_forgotten_every_second_interval() {
    let (source, ended) = Script::new();
    let (collector, notices) = start(source, TICK, Some(4));
    let (intervals, _) = drain(&collector, &notices);
    for interval in &intervals {
        let total = interval.total();
        assert!(total.tx_bytes > 0);
        assert_eq!(total.tx_bytes, 1000 * total.rx_bytes);
    }
    let sent: u64 = intervals
        .iter()
        .map(|interval| interval.total().tx_bytes)
        .sum();
    assert_eq!(sent, 1000 * ended.load(Ordering::SeqCst));
}

#[test]
fn an_error_arrives_after_what_was_read_before_it() {
    let (source, _) = Script::new();
    let (collector, notices) = start(
        Script {
            fail_after: 2,
            ..source
        },
        TICK,
        None,
    );
    let (intervals, outcome) = drain(&collector, &notices);
    assert_eq!(outcome.unwrap_err().to_string(), "read the map");
    let moved: u64 = intervals
        .iter()
        .map(|interval| interval.total().rx_bytes)
        .sum();
    assert_eq!(moved, 2);
}

#[test]
fn a_panic_in_the_source_is_an_error_and_not_a_hang() {
    struct Panics;
    impl Source for Panics {
        fn end_interval(&mut self) -> Result<Interval> {
            panic!("bad record");
        }
    }
    let (sender, notices) = channel();
    let schedule = Schedule {
        interval: TICK,
        early: None,
        count: None,
        duration: None,
    };
    let collector =
        Collector::start(Panics, schedule, move |notice| drop(sender.send(notice))).unwrap();
    let (_, outcome) = drain(&collector, &notices);
    assert!(outcome.unwrap_err().to_string().contains("bad record"));
}

#[test]
fn a_shorter_interval_takes_effect_at_once_and_keeps_what_was_counted() {
    let (source, _) = Script::new();
    let (collector, notices) = start(source, NEVER, Some(2));
    collector.set_interval(TICK);
    let (intervals, outcome) = drain(&collector, &notices);
    outcome.unwrap();
    let moved: u64 = intervals
        .iter()
        .map(|interval| interval.total().rx_bytes)
        .sum();
    assert_eq!(moved, 2);
}

#[test]
fn a_source_slower_than_the_interval_can_still_be_stopped() {
    let (source, _) = Script::new();
    let (collector, notices) = start(
        Script {
            takes: 3 * TICK,
            ..source
        },
        TICK,
        None,
    );
    assert!(matches!(notices.recv().unwrap(), CollectorEvent::Ready));
    collector.stop();
    drain(&collector, &notices).1.unwrap();
}

#[test]
fn the_grid_does_not_drift() {
    let start = Instant::now();
    let mut grid = Grid::new(start, TICK);
    for n in 1..1000 {
        assert_eq!(grid.next, start + n * TICK);
        // Always a bit late, never as late as a whole interval.
        let late = Duration::from_micros(u64::from(n) * 7 % 9999);
        grid.advance(grid.next + late);
    }
}

#[test]
fn a_late_end_skips_to_the_next_grid_point() {
    let start = Instant::now();
    let mut grid = Grid::new(start, TICK);
    grid.advance(start + 5 * TICK + TICK / 2);
    assert_eq!(grid.next, start + 6 * TICK);
    grid.advance(start + 7 * TICK);
    assert_eq!(
        grid.next,
        start + 8 * TICK,
        "exactly on a point is that point's turn gone"
    );
}

#[test]
fn changing_the_interval_moves_the_end_of_the_one_under_way() {
    let start = Instant::now();
    let mut grid = Grid::new(start, TICK);
    grid.advance(start + TICK);
    grid.set_interval(4 * TICK);
    assert_eq!(grid.next, start + 5 * TICK);
    grid.advance(start + 5 * TICK);
    assert_eq!(grid.next, start + 9 * TICK);
}

#[test]
fn a_duration_ends_on_the_grid_or_hands_over_what_is_under_way() {
    for (interval, most) in [(TICK, 3), (NEVER, 1)] {
        let (source, ended) = Script::new();
        let (began, length) = (source.began, 3 * TICK);
        let (sender, notices) = channel();
        let schedule = Schedule {
            interval,
            early: None,
            count: None,
            duration: Some(length),
        };
        let collector =
            Collector::start(source, schedule, move |notice| drop(sender.send(notice))).unwrap();
        let (intervals, outcome) = drain(&collector, &notices);
        outcome.unwrap();
        // A late one skips to the next point of the grid, and the last one never does.
        assert!((1..=most).contains(&ended.load(Ordering::SeqCst)));
        assert!(began.elapsed() >= length);
        let elapsed: Duration = intervals.iter().map(|interval| interval.elapsed).sum();
        assert!(elapsed >= length, "{elapsed:?}");
    }
}
