//! Rows of random histories, held against sums and orders made in a simpler way.

use super::*;
use crate::model::flow::{Endpoint, Flow, Owner, Packets, Protocol, Tcp};
use crate::model::net::Net;
use crate::resolve::owners::{CgroupLocation, Container, Process, Runtime, SharedLocation};
use crate::testing::{Intervals, Random, flow, key, rounds, some_overflow};
use crate::view::{Column, Prefix, SortBy};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

const DIRECTIONS: [Directions; 3] = [Directions::Rx, Directions::Tx, Directions::Both];

/// Facts about every process but each fifth.
struct FixedProcesses;

impl ProcessLookup for FixedProcesses {
    fn user_name(&self, uid: u32) -> Option<Arc<str>> {
        Some(Arc::from(format!("user-{uid}")))
    }

    fn process(&self, process_ref: &ProcessRef<'_>) -> Option<Arc<Process>> {
        let tgid = process_ref.tgid;
        let unit = (!tgid.is_multiple_of(3)).then(|| format!("unit-{}", tgid % 4));
        let container = tgid.is_multiple_of(4).then(|| Container {
            runtime: Runtime::Lxc,
            id: format!("box-{}", tgid % 8),
        });
        let location = CgroupLocation {
            unit,
            container,
            ..CgroupLocation::default()
        };
        (!tgid.is_multiple_of(5)).then(|| {
            Arc::new(Process {
                tgid,
                comm: String::new(),
                cmdline: Vec::new(),
                exe: None,
                uid: tgid % 3,
                user: Some(Arc::from(format!("user-{}", tgid % 3))),
                ppid: 1,
                parent: None,
                started: SystemTime::UNIX_EPOCH,
                start_ticks: 0,
                cgroup: Some(String::new()),
                location_name: SharedLocation::from(&location).name,
                location,
                exited: false,
            })
        })
    }
}

fn history_of(random: &mut Random) -> History {
    let mut intervals = Intervals::default();
    let mut history = History::new();
    for _ in 0..1 + random.below(12) {
        let mut ids: Vec<u32> = (0..60).collect();
        random.shuffle(&mut ids);
        ids.truncate(random.below(60) as usize);
        let flows: Vec<Flow> = ids
            .iter()
            .map(|&id| {
                (
                    id,
                    flow(id, random.below(4), random.below(3) * random.below(1 << 40)),
                )
            })
            .map(|(id, flow)| some_overflow(id, flow))
            .filter(|flow| !flow.counters.is_zero())
            .collect();
        let flows = flows.into_iter().map(|flow| with_condition(flow, random));
        let flows = flows.collect();
        let mut interval = intervals.next(1 + random.below(4000), flows);
        interval.losses.untracked.rx_bytes = random.below(50);
        interval.losses.untracked.tx_bytes = random.below(50);
        history.add(&interval);
    }
    history
}

/// The flow, perhaps with packets, TCP state and owner.
fn with_condition(mut flow: Flow, random: &mut Random) -> Flow {
    let mut maybe = |n: u64| (random.below(4) > 0).then(|| random.below(n) as u32);
    flow.packets = maybe(5).map(|n| Packets {
        rx: n.into(),
        tx: 1,
    });
    flow.tcp = maybe(3).map(|srtt_us| Tcp {
        srtt_us,
        cwnd: srtt_us + 1,
        retransmits: maybe(4),
        ..Tcp::default()
    });
    flow
}

fn view_of(random: &mut Random) -> RowQuery {
    let any = |random: &mut Random, n: usize| random.below(n as u64) as usize;
    let column = Column::ALL[any(random, Column::ALL.len())];
    let sort = SortKey::by(column);
    RowQuery {
        directions: DIRECTIONS[any(random, 3)],
        group: Group::ALL[any(random, Group::ALL.len())],
        sort: if random.below(2) == 0 {
            sort
        } else {
            sort.reversed()
        },
        past: random.below(2) == 0,
    }
}

fn add(sum: &mut (Counters, Counters), traffic: &TrafficStats) {
    sum.0 += traffic.now;
    sum.1 += traffic.total;
}

#[test]
fn every_view_adds_up_to_the_totals() {
    let mut random = Random(11);
    for _ in 0..rounds(1500) {
        let history = history_of(&mut random);
        let view = view_of(&mut random);
        let filter = random.below(3) as u32;
        let rows = Rows::new(&history, &view, &FixedProcesses, &|flow| {
            flow.key.tgid % 3 >= filter
        });
        let mut sum = (rows.untracked, rows.untracked_total);
        let (mut flows, mut moving) = (0, 0);
        for row in rows.iter(&history) {
            add(&mut sum, &row.traffic);
            flows += row.flows;
            moving += usize::from(view.directions.bytes(&row.traffic.now) > 0);
        }
        assert_eq!((rows.flows, rows.moving), (flows, moving));
        for rest in [&rows.filtered, &rows.silent] {
            add(&mut sum, &rest.traffic);
        }
        assert_eq!(sum, (history.all().now, history.all().total), "{view:?}");
        let flows = flows + rows.filtered.flows + rows.silent.flows;
        let kept = history.recent().len() + history.past().len();
        assert_eq!(flows as u64, kept as u64 + history.older().flows);
    }
}

#[test]
fn averages_of_groups_are_the_sums_of_those_of_their_flows() {
    let mut random = Random(12);
    for _ in 0..rounds(300) {
        let history = history_of(&mut random);
        let view = RowQuery {
            past: true,
            ..view_of(&mut random)
        };
        let rows = Rows::new(&history, &view, &FixedProcesses, &|_| true);
        for row in rows.iter(&history) {
            let flows = history.recent().iter().chain(history.past());
            let members: Vec<&FlowStats> = flows
                .filter(|flow| is_in(flow, &view, &rows.clock))
                .filter(|flow| group_of(view.group, flow, &FixedProcesses) == row.id)
                .collect();
            assert_eq!(members.len(), row.flows);
            let sum: f64 = members
                .iter()
                .map(|flow| flow.traffic.avg60(view.directions))
                .sum();
            assert!((sum - row.traffic.avg60(view.directions)).abs() <= 1e-9 * sum.max(1.0));
            let oldest = members
                .iter()
                .map(|flow| flow.traffic.age(&rows.clock))
                .max();
            assert_eq!(Some(row.traffic.age(&rows.clock)), oldest);
            let idle = |traffic: &TrafficStats| traffic.idle(view.directions, &rows.clock);
            let least = members.iter().map(|flow| idle(&flow.traffic)).min();
            assert_eq!(Some(idle(&row.traffic)), least);
            assert_eq!(
                row.traffic.peak(view.directions).is_some(),
                members.len() == 1
            );
        }
    }
}

#[test]
fn rows_are_in_the_order_asked_for_and_found_by_their_ids() {
    let mut random = Random(13);
    for _ in 0..rounds(1000) {
        let history = history_of(&mut random);
        let view = view_of(&mut random);
        let mut rows = Rows::new(&history, &view, &FixedProcesses, &|_| true);
        let clock = rows.clock;
        let all: Vec<Row> = rows.iter(&history).collect();
        let in_order = |ends: &[Row]| idle_by_hand(&view, &clock, &ends[0], &ends[1]).is_lt();
        assert!(all.windows(2).all(in_order), "{view:?}");
        for (n, row) in all.iter().enumerate() {
            assert_eq!(rows.id(&history, n).as_ref(), Some(&row.id));
            assert_eq!(rows.find(&history, &row.id), Some(n));
            let idle = row.idle(view.directions, &clock).is_some();
            assert_eq!(rows.is_idle(&history, n), idle);
        }
        let mut first: Vec<usize> = (0..all.len()).collect();
        random.shuffle(&mut first);
        first.truncate(random.below(60) as usize);
        rows.bring_forward(&first);
        let others = (0..all.len()).filter(|n| !first.contains(n));
        let expected = first.iter().copied().chain(others);
        let expected: Vec<&RowId> = expected.map(|n| &all[n].id).collect();
        let ids: Vec<RowId> = rows.iter(&history).map(|row| row.id).collect();
        assert_eq!(ids.iter().collect::<Vec<_>>(), expected);
    }
}

/// The order of two rows of which idle ones stand last.
fn idle_by_hand(view: &RowQuery, clock: &Clock, a: &Row, b: &Row) -> Ordering {
    let idle = |row: &Row| row.idle(view.directions, clock).filter(|_| !view.past);
    let average = |row: &Row| row.traffic.avg10(view.directions);
    let by_idle = idle(a).cmp(&idle(b));
    match idle(a).is_some() && idle(b).is_some() {
        true => by_idle.then(average(b).total_cmp(&average(a))),
        false => by_idle,
    }
    .then_with(|| by_hand(view, clock, a, b))
}

/// The order of two rows, without the keys that they are sorted by.
fn by_hand(view: &RowQuery, clock: &Clock, a: &Row, b: &Row) -> Ordering {
    let directions = view.directions;
    let real = |row: &Row| -> Option<f64> {
        let traffic = &row.traffic;
        Some(match view.sort.column {
            Column::Rate | Column::Share | Column::Spark => traffic.rate(directions, clock),
            Column::Rx => traffic.rate(Directions::Rx, clock),
            Column::Tx => traffic.rate(Directions::Tx, clock),
            Column::Msgs => traffic.msg_rate(directions, clock),
            Column::Total => directions.bytes(&traffic.total) as f64,
            Column::Avg10 => traffic.avg10(directions),
            Column::Avg60 => traffic.avg60(directions),
            Column::Average => traffic.average(directions, clock),
            Column::Peak => traffic.peak(directions)?,
            Column::Flows => row.flows as f64,
            Column::Age => traffic.age(clock).as_secs_f64(),
            Column::Pid => f64::from(row.common.tgid?),
            Column::Packets => row.condition.packets(directions)? as f64,
            Column::Srtt => f64::from(row.condition.srtt_us?),
            Column::Retransmits => row.condition.retransmits? as f64,
            Column::Cwnd => f64::from(row.condition.cwnd?),
            Column::Cost => directions.cost(row.condition.cost?),
            _ => return None,
        })
    };
    let text = |row: &Row| -> Option<String> {
        let process = || FixedProcesses.process(&row.process_ref()?);
        let end = |end: Option<Endpoint>| end.map(|end| format!("{} {:05}", end.addr, end.port));
        match view.sort.column {
            Column::Protocol => row.common.protocol.map(|protocol| protocol.to_string()),
            Column::Local => end(row.common.local),
            Column::Remote => match &row.id {
                RowId::Remote(addr) | RowId::Net(Net { addr, .. }) => Some(format!("{addr} 00000")),
                _ => end(row.common.remote),
            },
            Column::Process => row
                .common
                .comm
                .map(|comm| comm.to_string_lossy().into_owned()),
            Column::User => match &row.id {
                RowId::User(uid) => Some(format!("user-{uid}")),
                _ => process()?.user.as_deref().map(str::to_owned),
            },
            Column::Host => row.common.dns_name.as_ref().map(|dns| dns.name.to_string()),
            Column::Zone => row.common.zone.as_ref().map(|zone| zone.name.to_string()),
            Column::Container => match &row.id {
                RowId::Container(_) | RowId::Unit(_) => Some(row.id.to_string()),
                RowId::Without(_) => None,
                _ => process()?.location_name.as_deref().map(str::to_owned),
            },
            _ => None,
        }
    };
    let turned = |order: Ordering| {
        if view.sort.descending {
            order.reverse()
        } else {
            order
        }
    };
    let by = match (real(a), real(b)) {
        (Some(a), Some(b)) => turned(a.total_cmp(&b)),
        (a, b) if a.is_some() != b.is_some() => b.is_some().cmp(&a.is_some()),
        _ => match (text(a), text(b)) {
            (Some(a), Some(b)) => turned(a.cmp(&b)),
            (a, b) => b.is_some().cmp(&a.is_some()),
        },
    };
    // Equal texts and facts stand by size, so coarsely that rates do not disturb the order.
    let is_of_row = matches!(view.sort.column.spec().sort_by, SortBy::Row(_));
    let size = |row: &Row| match row.traffic.avg10(directions) {
        average if is_of_row && average > 0.0 => average.log2().floor(),
        _ => f64::NEG_INFINITY,
    };
    by.then_with(|| size(b).total_cmp(&size(a)))
        .then_with(|| a.id.cmp(&b.id))
}

#[test]
fn the_order_of_the_input_does_not_matter() {
    let mut random = Random(14);
    for _ in 0..200 {
        let mut flows: Vec<Flow> = (0..40)
            .map(|id| flow(id, random.below(3), random.below(3)))
            .collect();
        let view = view_of(&mut random);
        let mut rows = || {
            random.shuffle(&mut flows);
            let mut history = History::new();
            history.add(&Intervals::default().next(1000, flows.clone()));
            let rows = Rows::new(&history, &view, &FixedProcesses, &|_| true);
            let ids = rows.iter(&history).map(|row| (row.id, row.flows));
            ids.collect::<Vec<_>>()
        };
        assert_eq!(rows(), rows());
    }
}

#[test]
fn each_grouping_puts_together_what_belongs_together() {
    let mut history = History::new();
    let flows = (0..30).map(|id| flow(id, 1, 1)).collect();
    history.add(&Intervals::default().next(1000, flows));
    let ids = |group| {
        let view = RowQuery {
            group,
            ..RowQuery::default()
        };
        let rows = Rows::new(&history, &view, &FixedProcesses, &|_| true);
        let ids = rows.iter(&history).map(|row| row.id);
        ids.collect::<BTreeSet<_>>()
    };
    assert_eq!(
        ids(Group::Flow),
        (0..30).map(|id| RowId::Flow(key(id))).collect()
    );
    assert_eq!(ids(Group::Process), (0..15).map(RowId::Process).collect());
    let users = (0..3).map(RowId::User).chain([RowId::Unknown]);
    assert_eq!(ids(Group::User), users.collect());
    let peers = (2..5).map(|host| RowId::Remote(IpAddr::from([10, 0, 0, host])));
    assert_eq!(ids(Group::Remote), peers.collect());
    let units = (0..4).map(|n| RowId::Unit(Arc::from(format!("unit-{n}"))));
    let rest = |group| [RowId::Without(group), RowId::Unknown];
    assert_eq!(ids(Group::Unit), units.chain(rest(Group::Unit)).collect());
    let container = |id: &str| {
        RowId::Container(Arc::new(CgroupLocation {
            container: Some(Container {
                runtime: Runtime::Lxc,
                id: id.to_owned(),
            }),
            ..CgroupLocation::default()
        }))
    };
    let containers = ["box-0", "box-4"].map(container).into_iter();
    assert_eq!(
        ids(Group::Container),
        containers.chain(rest(Group::Container)).collect()
    );
    let net = |v4| ids(Group::Net(Prefix { v4, v6: 64 }));
    let first = |host| IpAddr::from([10, 0, 0, host]);
    assert_eq!(net(24), [RowId::Net(Net::of(first(0), 24))].into());
    let nets = [2, 4].map(|host| RowId::Net(Net::of(first(host), 31)));
    assert_eq!(net(31), nets.into());
}

#[test]
fn a_service_is_the_smaller_port_that_is_known() {
    let port = |local, remote| {
        let mut key = key(1);
        key.local.port = local;
        key.remote.port = remote;
        let mut history = History::new();
        let flow = Flow {
            key,
            ..flow(1, 1, 1)
        };
        history.add(&Intervals::default().next(1000, vec![flow]));
        group_of(Group::Port, &history.recent()[0], &())
    };
    assert_eq!(port(443, 50_000), RowId::Port(Protocol::Tcp, 443));
    assert_eq!(port(50_000, 443), RowId::Port(Protocol::Tcp, 443));
    assert_eq!(port(53, 0), RowId::Port(Protocol::Tcp, 53));
    assert_eq!(port(0, 0), RowId::Unknown);
}

#[test]
fn without_facts_users_and_containers_are_one_unknown_row() {
    let mut history = History::new();
    let flows = (0..9).map(|id| flow(id, 1, 1)).collect();
    history.add(&Intervals::default().next(1000, flows));
    for group in [Group::User, Group::Container] {
        let view = RowQuery {
            group,
            ..RowQuery::default()
        };
        let rows = Rows::new(&history, &view, &(), &|_| true);
        let row = rows.row(&history, 0).unwrap();
        assert_eq!((row.id, row.flows, rows.len()), (RowId::Unknown, 9, 1));
    }
}

#[test]
fn a_row_says_what_its_flows_have_in_common() {
    let mut history = History::new();
    // One process, one name; two protocols, two peers.
    history.add(&Intervals::default().next(1000, vec![flow(4, 1, 1), flow(5, 1, 1)]));
    let view = RowQuery {
        group: Group::Process,
        ..RowQuery::default()
    };
    let rows = Rows::new(&history, &view, &(), &|_| true);
    let row = rows.row(&history, 0).unwrap();
    let common = &row.common;
    assert_eq!(row.flows, 2);
    assert_eq!(common.tgid, Some(2));
    assert_eq!(common.comm, Some(flow(4, 1, 1).owner.comm));
    assert_eq!(
        (common.protocol, common.local, common.remote),
        (None, None, None)
    );
}

#[test]
fn a_flow_is_a_row_of_the_ways_it_moved_bytes_lately() {
    let mut intervals = Intervals::default();
    let mut history = History::new();
    history.add(&intervals.next(1000, vec![flow(1, 5, 0), flow(2, 5, 5), flow(3, 0, 9)]));
    for _ in 0..11 {
        history.add(&intervals.next(1000, vec![flow(2, 0, 5)]));
    }
    let ids = |directions, past| {
        let view = RowQuery {
            directions,
            past,
            ..RowQuery::default()
        };
        let rows = Rows::new(&history, &view, &(), &|_| true);
        let ids = rows.iter(&history).map(|row| row.id);
        ids.collect::<BTreeSet<_>>()
    };
    let of = |ids: &[u32]| {
        ids.iter()
            .map(|&id| RowId::Flow(key(id)))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(ids(Directions::Rx, false), of(&[]));
    assert_eq!(ids(Directions::Tx, false), of(&[2]));
    assert_eq!(ids(Directions::Rx, true), of(&[1, 2]));
    assert_eq!(ids(Directions::Tx, true), of(&[2, 3]));
    assert_eq!(ids(Directions::Both, true), of(&[1, 2, 3]));
}

#[test]
fn sparklines_of_rows_are_the_sums_of_those_of_their_flows() {
    let mut random = Random(15);
    for _ in 0..50 {
        let history = history_of(&mut random);
        let view = RowQuery {
            past: false,
            ..view_of(&mut random)
        };
        let rows = Rows::new(&history, &view, &FixedProcesses, &|_| true);
        for (n, row) in rows.iter(&history).enumerate() {
            let clock = history.clock();
            let members = history.recent().iter().filter(|flow| {
                is_in(flow, &view, &clock) && group_of(view.group, flow, &FixedProcesses) == row.id
            });
            let line = history.sparkline(members, view.directions);
            assert_eq!(rows.sparkline(&history, n), line);
        }
    }
}

/// Flow `id`, with TCP state and owner.
fn with_owner(id: u32, uid: u32, cgroup: &str) -> Flow {
    Flow {
        owner: Arc::new(Owner {
            uid: Some(uid),
            cgroup: Some(Arc::from(cgroup)),
            ..Owner::clone(&flow(id, 1, 1).owner)
        }),
        ..flow(id, 1, 1)
    }
}

#[test]
fn what_the_kernel_said_of_a_process_goes_before_what_proc_says() {
    // By /proc, process 2 is of user-2 in unit-2, and nothing is known of process 5.
    let flows = vec![
        flow(5, 1, 1),
        with_owner(4, 70, "/a.service"),
        with_owner(10, 71, "/b.service"),
    ];
    let mut history = History::new();
    history.add(&Intervals::default().next(1000, flows));
    let ids = |group| {
        let view = RowQuery {
            group,
            sort: SortKey::by(Column::Pid),
            ..RowQuery::default()
        };
        let rows = Rows::new(&history, &view, &FixedProcesses, &|_| true);
        let ids = rows.iter(&history).map(|row| row.id);
        ids.collect::<BTreeSet<_>>()
    };
    let user = RowId::User;
    assert_eq!(ids(Group::User), [user(2), user(70), user(71)].into());
    let unit = |name: &str| RowId::Unit(Arc::from(name));
    let units = [unit("unit-2"), unit("a.service"), unit("b.service")];
    assert_eq!(ids(Group::Unit), units.into());
}
