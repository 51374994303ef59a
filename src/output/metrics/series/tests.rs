use super::*;
use crate::testing::{Random, rounds};

const SECOND: Duration = Duration::from_secs(1);

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

/// A scrape, as `name=bytes`, `other` last.
fn snapshot(series: &mut Series) -> String {
    let snapshot = series.scrape();
    let mut text = String::new();
    for (key, counters) in &snapshot.series {
        text += &format!("{}={} ", key.name, counters.rx_bytes);
    }
    text + &format!("other={}", snapshot.other.rx_bytes)
}

#[test]
fn the_heaviest_have_series_and_the_rest_is_other() {
    let mut series = Series::new(2);
    let groups = [("a", 1), ("b", 5), ("c", 9), ("d", 2), ("b", 6)];
    series.add(moved(&groups), SECOND);
    assert_eq!(snapshot(&mut series), "b=11 c=9 other=3");
    series.add(moved(&groups), SECOND);
    assert_eq!(snapshot(&mut series), "b=22 c=18 other=6");
}

#[test]
fn a_series_is_taken_only_by_what_moves_twice_as_much() {
    let mut series = Series::new(1);
    series.add(moved(&[("a", 1000)]), SECOND);
    assert_eq!(snapshot(&mut series), "a=1000 other=0");
    series.add(moved(&[("b", 1900)]), SECOND);
    assert_eq!(snapshot(&mut series), "a=1000 other=1900");
    // It is evicted, and still exposed. The new one is first exposed with the value it begins with.
    series.add(moved(&[("a", 10), ("b", 200)]), SECOND);
    assert_eq!(snapshot(&mut series), "a=1000 b=0 other=1910");
    assert_eq!(snapshot(&mut series), "a=1000 b=200 other=1910");
    // Nobody makes way while it lingers, but for itself.
    series.add(moved(&[("c", 1 << 30)]), SECOND);
    assert_eq!(snapshot(&mut series), "a=1000 b=200 other=1073743734");
    series.add(moved(&[("a", 1 << 40)]), SECOND);
    assert_eq!(
        snapshot(&mut series),
        format!("a={} b=200 other=1073743734", 1000 + (1u64 << 40))
    );
    series.add(Vec::new(), LINGER);
    series.add(moved(&[("a", 1)]), SECOND);
    assert_eq!(
        snapshot(&mut series),
        format!("a={} other=1073743734", 1001 + (1u64 << 40))
    );
}

#[test]
fn who_comes_back_goes_on_where_it_was() {
    let mut series = Series::new(1);
    series.add(moved(&[("a", 100)]), SECOND);
    assert_eq!(snapshot(&mut series), "a=100 other=0");
    series.add(moved(&[("b", 1000)]), SECOND);
    series.add(Vec::new(), LINGER);
    assert_eq!(snapshot(&mut series), "b=0 other=0");
    assert_eq!(snapshot(&mut series), "b=1000 other=0");
    series.add(moved(&[("a", 10_000)]), SECOND);
    assert_eq!(snapshot(&mut series), "a=100 b=1000 other=0");
    assert_eq!(snapshot(&mut series), "a=10100 b=1000 other=0");
}

/// What Prometheus makes of scrapes: the increase of every counter from one to the next; the first of one
/// tells it nothing, a smaller one is a restart.
#[derive(Default)]
struct Prometheus {
    last: HashMap<SeriesKey, u64>,
    gained: HashMap<SeriesKey, u64>,
}

impl Prometheus {
    fn scrape(&mut self, series: &mut Series) {
        let snapshot = series.scrape();
        let other = SeriesKey {
            kind: "other",
            name: "other".into(),
        };
        let all = snapshot.series.into_iter().chain([(other, snapshot.other)]);
        for (key, counters) in all {
            let value = counters.rx_bytes;
            if let Some(last) = self.last.insert(key.clone(), value) {
                assert!(value >= last, "{key:?} went back from {last} to {value}");
                *self.gained.entry(key).or_default() += value - last;
            }
        }
    }
}

#[test]
fn increases_add_up_to_what_was_counted_whoever_comes_and_goes() {
    let mut random = Random(31);
    for _ in 0..rounds(60) {
        let limit = 1 + random.below(6) as usize;
        let mut series = Series::new(limit);
        let mut prometheus = Prometheus::default();
        prometheus.scrape(&mut series);
        let (mut total, mut names, mut since) = (0, HashSet::new(), Duration::ZERO);
        for n in 0..400 {
            let groups: Vec<(SeriesKey, Counters)> = (0..random.below(12))
                // One of them moves much for a while.
                .map(|_| {
                    let name = match random.below(3) {
                        0 => n / 20 % 30,
                        _ => random.below(30),
                    };
                    (
                        key(name),
                        rx(random.below(100) * (1 + 1000 * u64::from(name == n / 20 % 30))),
                    )
                })
                .collect();
            total += groups
                .iter()
                .map(|(_, counters)| counters.rx_bytes)
                .sum::<u64>();
            series.add(groups, Duration::from_secs(20));
            // Twice in the time that a series lingers, at the least.
            since += Duration::from_secs(20);
            if random.below(4) == 0 || since >= LINGER / 2 - Duration::from_secs(20) {
                since = Duration::ZERO;
                prometheus.scrape(&mut series);
            }
            let snapshot = series.clone().scrape();
            assert!(
                snapshot.series.len() <= 2 * limit,
                "{}",
                snapshot.series.len()
            );
            names.extend(snapshot.series.into_iter().map(|(key, _)| key));
        }
        assert!(names.len() > limit, "nobody ever made way");
        // A series whose first value was not scraped yet is exposed with it the next time.
        prometheus.scrape(&mut series);
        prometheus.scrape(&mut series);
        let gained: u64 = prometheus.gained.values().sum();
        assert_eq!(gained, total, "limit {limit}");
    }
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut series = Series::new(10);
    let mut total = 0;
    for n in 0..20u64 {
        let groups: Vec<_> = (0..3000)
            .map(|i| (key(n * 3000 + i), rx(1 + i % 7)))
            .collect();
        total += groups
            .iter()
            .map(|(_, counters)| counters.rx_bytes)
            .sum::<u64>();
        series.add(groups, SECOND);
        assert!(series.groups.len() <= MAX_HIDDEN + 20);
    }
    let snapshot = series.scrape();
    let sum: u64 = snapshot.series.iter().map(|(_, c)| c.rx_bytes).sum();
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
