//! What intervals add up to, held against what can be reckoned by hand or in a simpler way.

use super::*;
use crate::model::flow::Flow;
use crate::testing::{Intervals, Random, flow, key, rounds, some_overflow};

const DIRECTIONS: [Directions; 3] = [Directions::Rx, Directions::Tx, Directions::Both];

fn small(recent: usize, past: usize, sparks: usize) -> History {
    History::with_limits(HistoryLimits {
        recent,
        past,
        sparks,
    })
}

#[track_caller]
fn assert_close(a: f64, b: f64) {
    let scale = a.abs().max(b.abs()).max(1e-6);
    assert!((a - b).abs() / scale < 1e-9, "{a} is not {b}");
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn a_steady_flow_has_its_rate_as_every_average_from_the_first_interval_on() {
    let mut intervals = Intervals::default();
    let mut history = History::new();
    for millis in [1000, 500, 1500, 10, 60_000, 1000] {
        history.add(&intervals.next(millis, vec![flow(1, 5 * millis, 2 * millis)]));
        let traffic = &history.get(&key(1)).unwrap().traffic;
        let clock = history.clock();
        assert_close(traffic.avg10(Directions::Rx), 5000.0);
        assert_close(traffic.avg60(Directions::Tx), 2000.0);
        assert_close(traffic.avg60(Directions::Both), 7000.0);
        assert_close(traffic.average(Directions::Both, &clock), 7000.0);
        assert_close(traffic.rate(Directions::Rx, &clock), 5000.0);
    }
}

#[test]
fn a_short_flow_is_not_overestimated() {
    let mut intervals = Intervals::default();
    let mut history = History::new();
    // Long enough for what was before to weigh nothing.
    for _ in 0..2000 {
        history.add(&intervals.next(1000, vec![flow(1, 1, 1)]));
    }
    history.add(&intervals.next(1000, vec![flow(2, 1000, 0)]));
    let traffic = &history.get(&key(2)).unwrap().traffic;
    assert_close(
        traffic.avg10(Directions::Rx),
        1000.0 * (1.0 - (-0.1f64).exp()),
    );
    assert_close(
        traffic.avg60(Directions::Rx),
        1000.0 * (1.0 - (-1.0f64 / 60.0).exp()),
    );
    assert_close(traffic.average(Directions::Rx, &history.clock()), 1000.0);
    history.add(&intervals.next(10_000, vec![]));
    let traffic = &history.get(&key(2)).unwrap().traffic;
    assert_close(
        traffic.avg10(Directions::Rx),
        1000.0 * (1.0 - (-0.1f64).exp()) * (-1.0f64).exp(),
    );
    assert_close(
        traffic.average(Directions::Rx, &history.clock()),
        1000.0 / 11.0,
    );
}

/// The weighted mean by its definition: the integral of rate times weight.
fn by_definition(rates: &[(f64, f64)], tau: f64) -> f64 {
    let end: f64 = rates.iter().map(|(length, _)| length).sum();
    let mut begun = 0.0;
    let mut sum = 0.0;
    for (length, rate) in rates {
        let since = |at: f64| (-(end - at) / tau).exp();
        sum += rate * (since(begun + length) - since(begun));
        begun += length;
    }
    sum / (1.0 - (-end / tau).exp())
}

#[test]
fn averages_are_the_weighted_means_that_they_are_said_to_be() {
    let mut random = Random(1);
    for _ in 0..50 {
        let mut intervals = Intervals::default();
        let mut history = History::new();
        let mut rates = Vec::new();
        for _ in 0..40 {
            let millis = 10 + random.below(5000);
            // Silent at first, and now and then.
            let bytes = if rates.len() < 3 {
                0
            } else {
                random.below(4) * random.below(100_000)
            };
            let flows = if bytes > 0 {
                vec![flow(1, bytes, 0)]
            } else {
                Vec::new()
            };
            history.add(&intervals.next(millis, flows));
            rates.push((millis as f64 / 1e3, bytes as f64 * 1e3 / millis as f64));
            if let Some(stats) = history.get(&key(1)) {
                let traffic = &stats.traffic;
                assert_close(traffic.avg10(Directions::Rx), by_definition(&rates, 10.0));
                assert_close(traffic.avg60(Directions::Rx), by_definition(&rates, 60.0));
                let peak = rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
                assert_close(traffic.peak(Directions::Both).unwrap(), peak);
            }
        }
    }
}

#[test]
fn an_interval_counts_as_its_halves_would() {
    let mut whole = History::new();
    let mut halves = History::new();
    let (mut one, mut two) = (Intervals::default(), Intervals::default());
    for n in 1..50 {
        whole.add(&one.next(2000, vec![flow(1, 200 * n, 20)]));
        for _ in 0..2 {
            halves.add(&two.next(1000, vec![flow(1, 100 * n, 10)]));
        }
        let of = |history: &History| history.get(&key(1)).unwrap().traffic;
        let (a, b) = (of(&whole), of(&halves));
        for directions in DIRECTIONS {
            assert_close(a.avg10(directions), b.avg10(directions));
            assert_close(a.avg60(directions), b.avg60(directions));
            assert_eq!(directions.bytes(&a.total), directions.bytes(&b.total));
        }
    }
}

#[test]
fn peaks_are_of_one_interval_and_of_one_way() {
    let mut intervals = Intervals::default();
    let mut history = History::new();
    history.add(&intervals.next(500, vec![flow(1, 100, 0)]));
    history.add(&intervals.next(1000, vec![flow(1, 100, 120)]));
    history.add(&intervals.next(1000, vec![flow(1, 0, 150)]));
    let traffic = history.get(&key(1)).unwrap().traffic;
    let peaks = DIRECTIONS.map(|directions| traffic.peak(directions).unwrap());
    assert_eq!(peaks, [200.0, 150.0, 220.0]);
    let mut two = traffic;
    two += &traffic;
    assert_eq!(
        two.peak(Directions::Rx),
        None,
        "peaks of several do not add up"
    );
}

#[test]
fn an_interval_without_length_changes_no_average() {
    let mut intervals = Intervals::default();
    let mut history = History::new();
    history.add(&intervals.next(0, vec![flow(1, 7, 0)]));
    let traffic = history.get(&key(1)).unwrap().traffic;
    assert_eq!(traffic.avg10(Directions::Rx), 0.0);
    assert_eq!(traffic.peak(Directions::Rx), Some(0.0));
    assert_eq!(traffic.total.rx_bytes, 7);
    history.add(&intervals.next(1000, vec![flow(1, 7, 0)]));
    history.add(&intervals.next(0, vec![]));
    assert_close(
        history.get(&key(1)).unwrap().traffic.avg10(Directions::Rx),
        7.0,
    );
}

#[test]
fn times_are_those_of_the_intervals() {
    let mut intervals = Intervals::default();
    let mut history = History::new();
    history.add(&intervals.next(1000, vec![flow(1, 1, 0)]));
    let first = intervals.next(2000, vec![flow(2, 1, 0)]);
    history.add(&first);
    let last = intervals.next(1000, vec![flow(2, 0, 5)]);
    history.add(&last);
    history.add(&intervals.next(500, vec![]));
    let traffic = history.get(&key(2)).unwrap().traffic;
    let clock = history.clock();
    assert_eq!(traffic.first_seen(), first.ended - first.elapsed);
    assert_eq!(traffic.last_seen(), last.ended);
    assert_eq!(traffic.age(&clock), seconds(3.5));
    assert_eq!(traffic.idle(Directions::Rx, &clock), Some(seconds(1.5)));
    assert_eq!(traffic.idle(Directions::Tx, &clock), Some(seconds(0.5)));
    assert_eq!(traffic.idle(Directions::Both, &clock), Some(seconds(0.5)));
    let other = history.get(&key(1)).unwrap().traffic;
    assert_eq!(other.idle(Directions::Tx, &clock), None, "it never sent");
    assert_eq!(history.intervals(), 4);
}

#[test]
fn a_silent_flow_stays_ten_seconds_and_comes_back_as_it_was() {
    let mut intervals = Intervals::default();
    let mut history = History::new();
    history.add(&intervals.next(1000, vec![flow(1, 100, 0), flow(2, 1, 0)]));
    for _ in 0..10 {
        history.add(&intervals.next(1000, vec![flow(2, 1, 0)]));
        assert_eq!(history.recent().len(), 2);
    }
    history.add(&intervals.next(1000, vec![flow(2, 1, 0)]));
    assert_eq!(history.recent().len(), 1);
    assert_eq!(history.past().len(), 1);
    assert_eq!(history.get(&key(1)).unwrap().traffic.total.rx_bytes, 100);
    for _ in 0..100 {
        history.add(&intervals.next(1000, vec![flow(2, 1, 0)]));
    }
    history.add(&intervals.next(1000, vec![flow(1, 5, 0)]));
    assert_eq!(history.past().len(), 0);
    let clock = history.clock();
    let traffic = history.get(&key(1)).unwrap().traffic;
    assert_eq!(traffic.total.rx_bytes, 105);
    assert_eq!(traffic.age(&clock), seconds(113.0));
    assert_close(traffic.average(Directions::Rx, &clock), 105.0 / 113.0);
    assert_eq!(traffic.peak(Directions::Rx), Some(100.0));
    let mut rates = vec![(1.0, 100.0)];
    rates.extend([(1.0, 0.0); 111]);
    rates.push((1.0, 5.0));
    assert_close(traffic.avg60(Directions::Rx), by_definition(&rates, 60.0));
}

/// Flows, past flows, older ones and untracked bytes add up to everything that was counted.
#[track_caller]
fn assert_adds_up(history: &History, expected: Counters) {
    let flows = history.recent().iter().chain(history.past());
    let mut total: Counters = flows.clone().map(|flow| flow.traffic.total).sum();
    let mut now: Counters = flows.clone().map(|flow| flow.traffic.now).sum();
    total += history.older().traffic.total;
    now += history.older().traffic.now;
    total += history.losses_total().untracked;
    now += history.losses().untracked;
    assert_eq!(total, expected);
    assert_eq!(total, history.all().total);
    assert_eq!(now, history.all().now);
}

#[track_caller]
fn assert_averages_add_up(history: &History) {
    let flows = history.recent().iter().chain(history.past());
    for directions in DIRECTIONS {
        let older = history.older().traffic;
        let sum10: f64 = flows
            .clone()
            .map(|flow| flow.traffic.avg10(directions))
            .sum();
        let sum60: f64 = flows
            .clone()
            .map(|flow| flow.traffic.avg60(directions))
            .sum();
        assert_close(
            sum10 + older.avg10(directions),
            history.all().avg10(directions),
        );
        assert_close(
            sum60 + older.avg60(directions),
            history.all().avg60(directions),
        );
    }
}

#[test]
fn whatever_has_to_make_way_the_sums_stay_exact_and_the_stores_bounded() {
    let mut random = Random(7);
    for round in 0..rounds(40) {
        let mut intervals = Intervals::default();
        let limits = [1 + random.below(30), 1 + random.below(30), random.below(10)];
        let [recent, past, sparks] = limits.map(|limit| limit as usize);
        let mut history = small(recent, past, sparks);
        let mut expected = Counters::default();
        for _ in 0..60 {
            let mut ids: Vec<u32> = (0..200).collect();
            random.shuffle(&mut ids);
            ids.truncate(random.below(50) as usize);
            let flows: Vec<Flow> = ids
                .iter()
                .map(|&id| {
                    let rx_bytes = random.below(3) * random.below(1000);
                    some_overflow(id, flow(id, rx_bytes, 1 + random.below(9)))
                })
                .collect();
            let mut interval = intervals.next(1 + random.below(8000), flows);
            if round % 2 == 0 {
                interval.losses.untracked.rx_bytes = random.below(100);
                interval.losses.missed_events = 1;
            }
            expected += interval.total();
            history.add(&interval);
            assert_adds_up(&history, expected);
            if round % 2 == 1 {
                assert_averages_add_up(&history);
            }
            assert!(history.recent().len() <= recent);
            assert!(history.past().len() <= past);
            let rings = history.recent().iter().chain(history.past());
            let rings = rings.filter(|flow| flow.ring.is_some()).count();
            assert_eq!(rings, history.sparks);
            assert!(rings <= sparks);
            for flow in history.recent().iter().chain(history.past()) {
                assert_eq!(history.get(&flow.key).unwrap().key, flow.key);
            }
            let kept = history.recent().len() + history.past().len();
            assert_eq!(history.index.len(), kept, "no place without its flow");
        }
        assert_eq!(
            history.losses_total().missed_events,
            if round % 2 == 0 { 60 } else { 0 }
        );
    }
}

#[test]
fn what_makes_way_is_old_and_small() {
    let mut intervals = Intervals::default();
    let mut history = small(8, 100, 0);
    let bytes = |id: u32| if id.is_multiple_of(2) { 1000 } else { 1 };
    for id in 0..6 {
        history.add(&intervals.next(100, vec![flow(id, bytes(id), 0)]));
    }
    let rest = (6..10).map(|id| flow(id, 1, 0)).collect();
    history.add(&intervals.next(100, rest));
    let mut past: Vec<u32> = (0..10)
        .filter(|&id| history.past().iter().any(|flow| flow.key == key(id)))
        .collect();
    past.sort_unstable();
    let why = "not the large ones, not the latest, and not more than are too many";
    assert_eq!(past, [1, 3], "{why}");
}

#[test]
fn a_flow_takes_what_the_documents_say() {
    // docs/SCALE.md and the head of this module reckon with them.
    assert_eq!(size_of::<Flow>(), 216);
    assert_eq!(size_of::<FlowStats>(), 360);
    assert_eq!(size_of::<Ring>(), 976);
}

#[test]
fn of_more_new_flows_than_there_is_room_for_the_largest_are_taken_in() {
    let mut intervals = Intervals::default();
    let mut history = small(8, 100, 0);
    let known = || (0..8).map(|id| flow(id, 1, 0));
    history.add(&intervals.next(100, known().collect()));
    let new = (8..30).map(|id| flow(id, u64::from(id), 0));
    history.add(&intervals.next(100, known().chain(new).collect()));
    let is_kept = |id: &u32| history.get(&key(*id)).is_some();
    let kept: Vec<u32> = (0..30).filter(is_kept).collect();
    assert_eq!(kept, [0, 1, 2, 3, 4, 5, 6, 7, 28, 29]);
    assert_eq!(history.older().flows, 20);
    let older: u64 = (8..28).sum();
    assert_eq!(history.older().traffic.now.rx_bytes, older);
    assert_eq!(history.recent().len(), 8);
}

#[test]
fn the_chart_has_gaps_where_the_machine_slept() {
    let mut intervals = Intervals::default();
    let mut history = History::new();
    history.add(&intervals.next(1000, vec![flow(1, 10, 0)]));
    history.add(&intervals.next(1000, vec![flow(1, 20, 5)]));
    intervals.sleep(30);
    history.add(&intervals.next(1000, vec![]));
    let points: Vec<&Point> = history.points().collect();
    assert_eq!(points.len(), 3);
    assert_eq!(points[1].total.rx_bytes, 20);
    assert_eq!(points[1].total.tx_bytes, 5);
    let gaps: Vec<u64> = points
        .iter()
        .map(|point| point.gap_before.as_secs())
        .collect();
    assert_eq!(gaps, [0, 0, 30]);
    // A clock that is set back is no gap, and no panic.
    let mut earlier = Intervals::default();
    history.add(&earlier.next(1000, vec![]));
    assert_eq!(
        history.points().next_back().unwrap().gap_before,
        Duration::ZERO
    );
}

#[test]
fn short_intervals_are_joined_so_that_the_chart_reaches_as_far() {
    let mut intervals = Intervals::default();
    let mut history = History::new();
    for _ in 0..MAX_POINTS as u64 * 25 {
        history.add(&intervals.next(50, vec![flow(1, 1, 2)]));
    }
    assert_eq!(history.points().len(), MAX_POINTS);
    let reach: Duration = history.points().map(|point| point.elapsed).sum();
    assert!(reach >= Duration::from_secs(539), "{reach:?}");
    for point in history.points() {
        assert_eq!(point.total.rx_bytes, point.elapsed.as_millis() as u64 / 50);
    }
    let stats = history.get(&key(1)).unwrap();
    let line = history.sparkline([stats], Directions::Tx);
    assert!(line.len() <= MAX_BARS);
    assert!(
        line.iter().all(|rate| (rate.unwrap() - 40.0).abs() < 1e-9),
        "{line:?}"
    );
}

#[test]
fn a_sparkline_is_the_last_minute_bar_by_bar() {
    let mut intervals = Intervals::default();
    let mut history = History::new();
    for n in 0..100 {
        let mut flows = vec![flow(1, 10 * n, 1)];
        if n >= 97 {
            flows.push(flow(2, 7, 0));
        }
        history.add(&intervals.next(1000, flows));
    }
    let line = |ids: &[u32], directions| {
        let flows = ids.iter().map(|&id| history.get(&key(id)).unwrap());
        history.sparkline(flows, directions)
    };
    let expected: Vec<_> = (40..100).map(|n| Some(10.0 * f64::from(n))).collect();
    assert_eq!(line(&[1], Directions::Rx), expected);
    assert_eq!(line(&[1], Directions::Both)[59], Some(991.0));
    let new = line(&[2], Directions::Rx);
    assert_eq!(new[56..], [Some(0.0), Some(7.0), Some(7.0), Some(7.0)]);
    assert_eq!(new[0], Some(0.0), "it was not there: nothing moved");
    assert_eq!(line(&[1, 2], Directions::Rx)[59], Some(997.0));
    assert_eq!(line(&[], Directions::Rx), vec![Some(0.0); 60]);
}

#[test]
fn long_intervals_reach_a_minute_back_and_not_further() {
    let mut intervals = Intervals::default();
    let mut history = History::new();
    for _ in 0..30 {
        history.add(&intervals.next(7000, vec![flow(1, 70, 0)]));
    }
    let line = history.sparkline(history.recent(), Directions::Rx);
    assert_eq!(line, vec![Some(10.0); 9]);
}

#[test]
fn sparklines_are_for_the_largest_and_say_what_they_do_not_know() {
    let mut intervals = Intervals::default();
    let mut history = small(100, 100, 2);
    let bytes = |large: u32| {
        let flows =
            (0..6).map(|id| flow(id, if id == large { 1000 } else { u64::from(id) + 1 }, 0));
        flows.collect::<Vec<_>>()
    };
    history.add(&intervals.next(1000, bytes(5)));
    history.add(&intervals.next(1000, bytes(5)));
    let has = |history: &History, id| history.get(&key(id)).unwrap().ring.is_some();
    assert!(has(&history, 5) && has(&history, 4) && !has(&history, 0));
    for _ in 0..3 {
        history.add(&intervals.next(1000, bytes(0)));
    }
    assert!(has(&history, 0) && has(&history, 5) && !has(&history, 4));
    let line = |id| history.sparkline(history.get(&key(id)), Directions::Rx);
    assert_eq!(line(0)[..2], [None, None], "not kept then");
    assert_eq!(line(0)[4], Some(1000.0));
    assert_eq!(line(3), vec![None; 5], "not kept");
    assert_eq!(line(5)[0], Some(1000.0));
}

#[test]
fn equals_at_the_edge_make_room_for_a_sparkline_of_a_larger_flow() {
    let mut history = small(100, 100, 4);
    let mut intervals = Intervals::default();
    // More equals than have room, all of them from the beginning.
    let equals = || (0..10).map(|id| flow(id, 10, 10)).collect::<Vec<_>>();
    for _ in 0..3 {
        history.add(&intervals.next(1000, equals()));
    }
    let mut flows = equals();
    flows.push(flow(20, 5000, 1));
    history.add(&intervals.next(1000, flows));
    let line = history.sparkline(history.get(&key(20)), Directions::Rx);
    assert_eq!(line, [0.0, 0.0, 0.0, 5000.0].map(Some));
    assert_eq!(history.sparks, 4);
    let rings = history.recent().iter().filter(|flow| flow.ring.is_some());
    assert_eq!(rings.count(), 4);
}
