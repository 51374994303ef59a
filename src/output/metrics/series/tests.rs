use super::*;
use crate::testing::{Random, rounds};

const SECOND: Duration = Duration::from_secs(1);
/// Longest time between two scrapes.
const PACE: Duration = Duration::from_secs(60);
const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

fn key(name: impl ToString) -> SeriesKey {
    SeriesKey {
        kind: "process",
        name: name.to_string().into(),
    }
}

fn moved(groups: &[(&str, u64)]) -> Vec<(SeriesKey, Counters)> {
    let groups = groups.iter();
    groups
        .map(|&(name, bytes)| (key(name), rx(bytes)))
        .collect()
}

fn rx(bytes: u64) -> Counters {
    Counters {
        rx_bytes: bytes,
        rx_msgs: 1,
        ..Counters::default()
    }
}

/// A snapshot, as `name=bytes`, `other` last.
fn snapshot(series: &Series) -> String {
    let snapshot = series.snapshot();
    let mut text = String::new();
    for sample in &snapshot.series {
        text += &format!("{}={} ", sample.key.name, sample.counters.rx_bytes);
    }
    text + &format!("other={}", snapshot.other.rx_bytes)
}

fn add(series: &mut Series, groups: &[(&str, u64)], elapsed: Duration) {
    series.add(moved(groups), elapsed, EPOCH + series.now + elapsed);
}

/// Series whose beginnings are over at once.
fn without_pace(limit: usize) -> Series {
    Series::new(limit, Duration::ZERO)
}

#[test]
fn the_heaviest_have_series_and_the_rest_is_other() {
    let mut series = without_pace(2);
    let groups = [("a", 1), ("b", 5), ("c", 9), ("d", 2), ("b", 6)];
    add(&mut series, &groups, SECOND);
    assert_eq!(snapshot(&series), "b=11 c=9 other=3");
    add(&mut series, &groups, SECOND);
    assert_eq!(snapshot(&series), "b=22 c=18 other=6");
}

#[test]
fn a_series_is_taken_only_by_what_moves_twice_as_much() {
    let mut series = without_pace(1);
    add(&mut series, &[("a", 1000)], SECOND);
    assert_eq!(snapshot(&series), "a=1000 other=0");
    add(&mut series, &[("b", 1900)], SECOND);
    assert_eq!(snapshot(&series), "a=1000 other=1900");
    // It is evicted, and still exposed.
    add(&mut series, &[("a", 10), ("b", 200)], SECOND);
    assert_eq!(snapshot(&series), "a=1000 b=200 other=1910");
    // A lingering series is not replaced, except by itself.
    add(&mut series, &[("c", 1 << 30)], SECOND);
    assert_eq!(snapshot(&series), "a=1000 b=200 other=1073743734");
    add(&mut series, &[("a", 1 << 40)], SECOND);
    assert_eq!(
        snapshot(&series),
        format!("a={} b=200 other=1073743734", 1000 + (1u64 << 40))
    );
    add(&mut series, &[], LINGER);
    add(&mut series, &[("a", 1)], SECOND);
    assert_eq!(
        snapshot(&series),
        format!("a={} other=1073743734", 1001 + (1u64 << 40))
    );
}

#[test]
fn who_comes_back_goes_on_where_it_was() {
    let mut series = Series::new(1, SECOND);
    add(&mut series, &[("a", 100)], SECOND);
    assert_eq!(snapshot(&series), "a=0 other=0");
    add(&mut series, &[], 2 * SECOND);
    assert_eq!(snapshot(&series), "a=100 other=0");
    add(&mut series, &[("b", 1000)], SECOND);
    add(&mut series, &[], LINGER);
    assert_eq!(snapshot(&series), "b=1000 other=0");
    add(&mut series, &[("a", 10_000)], SECOND);
    assert_eq!(snapshot(&series), "a=100 b=1000 other=0");
    add(&mut series, &[], 2 * SECOND);
    assert_eq!(snapshot(&series), "a=10100 b=1000 other=0");
}

#[test]
fn a_beginning_is_exposed_for_two_scrape_intervals_and_reading_changes_nothing() {
    let mut series = Series::new(2, PACE);
    for n in 0..12 {
        add(&mut series, &[("a", 10)], 10 * SECOND);
        for _ in 0..3 {
            assert_eq!(snapshot(&series), "a=0 other=0", "{n}");
        }
    }
    add(&mut series, &[("a", 10), ("b", 5)], 10 * SECOND);
    assert_eq!(snapshot(&series), "a=130 b=0 other=0");
    let created: Vec<SystemTime> = series.snapshot().series.iter().map(|s| s.created).collect();
    assert_eq!(created, [EPOCH, EPOCH + 120 * SECOND]);
}

/// A Prometheus server: the increase of every counter from one scrape to the next. The first value
/// of a counter has no increase.
#[derive(Default)]
struct Prometheus {
    /// Since the last scrape.
    waited: Duration,
    last: HashMap<SeriesKey, u64>,
    gained: HashMap<SeriesKey, u64>,
}

impl Prometheus {
    fn scrape(&mut self, series: &Series) {
        self.waited = Duration::ZERO;
        let snapshot = series.snapshot();
        let other = SeriesKey {
            kind: "other",
            name: "other".into(),
        };
        let series = snapshot.series.into_iter();
        let all = series.map(|sample| (sample.key, sample.counters));
        for (key, counters) in all.chain([(other, snapshot.other)]) {
            let value = counters.rx_bytes;
            if let Some(last) = self.last.insert(key.clone(), value) {
                assert!(value >= last, "{key:?} went back from {last} to {value}");
                *self.gained.entry(key).or_default() += value - last;
            }
        }
    }
}

/// What up to 11 groups moved in an interval. One of 30 moves much for 20 intervals.
fn traffic(random: &mut Random, n: u64) -> Vec<(SeriesKey, Counters)> {
    let heavy = n / 20 % 30;
    let groups = (0..random.below(12)).map(|_| {
        let name = match random.below(3) {
            0 => heavy,
            _ => random.below(30),
        };
        let bytes = random.below(100) * (1 + 1000 * u64::from(name == heavy));
        (key(name), rx(bytes))
    });
    groups.collect()
}

/// Any number of servers, each with a phase and a jitter of its own, and probes that read now and
/// then.
#[test]
fn increases_add_up_to_what_was_counted_in_every_server_whoever_comes_and_goes() {
    let interval = Duration::from_secs(20);
    let mut random = Random(31);
    for _ in 0..rounds(60) {
        let limit = 1 + random.below(6) as usize;
        let mut series = Series::new(limit, PACE);
        let servers = 1 + random.below(4);
        let mut servers: Vec<Prometheus> = (0..servers).map(|_| Prometheus::default()).collect();
        for server in &mut servers {
            server.scrape(&series);
        }
        let (mut total, mut names) = (0, HashSet::new());
        for n in 0..400 {
            let groups = traffic(&mut random, n);
            let bytes = groups.iter().map(|(_, counters)| counters.rx_bytes);
            total += bytes.sum::<u64>();
            series.add(groups, interval, EPOCH);
            for server in &mut servers {
                server.waited += interval;
                if random.below(3) == 0 || server.waited >= PACE {
                    server.scrape(&series);
                }
            }
            for _ in 0..random.below(3) {
                assert_eq!(snapshot(&series), snapshot(&series));
            }
            let snapshot = series.snapshot();
            assert!(
                snapshot.series.len() <= 2 * limit,
                "{}",
                snapshot.series.len()
            );
            names.extend(snapshot.series.into_iter().map(|sample| sample.key));
        }
        assert!(names.len() > limit, "nobody ever made way");
        // Nobody waits longer than the documented pace.
        for _ in 0..2 {
            for server in &mut servers {
                server.scrape(&series);
            }
            series.add(Vec::new(), PACE, EPOCH);
        }
        for server in &mut servers {
            server.scrape(&series);
            let gained: u64 = server.gained.values().sum();
            assert_eq!(gained, total, "limit {limit}");
        }
    }
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut series = without_pace(10);
    let mut total = 0;
    for n in 0..20u64 {
        let groups: Vec<_> = (0..3000)
            .map(|i| (key(n * 3000 + i), rx(1 + i % 7)))
            .collect();
        total += groups
            .iter()
            .map(|(_, counters)| counters.rx_bytes)
            .sum::<u64>();
        series.add(groups, SECOND, EPOCH);
        assert!(series.groups.len() <= MAX_HIDDEN + 20);
    }
    let snapshot = series.snapshot();
    let sum: u64 = snapshot
        .series
        .iter()
        .map(|sample| sample.counters.rx_bytes)
        .sum();
    assert_eq!(sum + snapshot.other.rx_bytes, total);
}

#[test]
fn names_are_what_is_written_so_no_two_series_are_written_alike() {
    use crate::model::flow::Owner;
    use crate::stats::ranking;
    use crate::testing::{Intervals, flow};
    use crate::view::Group;
    let named = |name: &[u8]| {
        let mut flow = flow(1, 1, 1);
        flow.owner = Arc::new(Owner::named(name));
        let interval = Intervals::default().next(1000, vec![flow]);
        let group_totals = ranking::group_totals(&interval, Group::Process, &());
        SeriesKey::of(&group_totals[0], &())
    };
    assert_eq!(&*named(b"nginx").name, "nginx");
    assert_eq!(named(b"a\x1bb"), named(b"a\\x1bb"));
    assert_eq!(named(b"other").kind, "process");
    assert_eq!(named(b"").kind, "unknown");
}
