//! Sums the flows of one interval by groups.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use super::process_lookup::{ProcessLookup, ProcessRef};
use super::ranked::{Facts, Ranked, RowOrder, RowValue};
use super::ranking::Ranking;
use super::row_id::{Groups, RowId};
use crate::model::dns::DnsNameOrigin;
use crate::model::flow::{Comm, Counters, Endpoint, Flow, FlowKey, Owner, Packets, Protocol};
use crate::model::interval::Interval;
use crate::model::net::Net;
use crate::model::wire_estimate::{Cost, add_cost};
use crate::view::{Directions, Group, RowValues, SortValue};

/// A group's flows in one interval, summed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupTotals {
    pub id: RowId,
    /// Number of flows in the group.
    pub flows: usize,
    pub counters: Counters,
    /// Packets; a sum with an unknown part is unknown.
    pub packets: Option<Packets>,
    /// Estimated cost, of the flows whose zone has a price; `None` if none has.
    pub cost: Option<Cost>,
    /// Process id, and the process as the kernel recorded it, if all flows belong to one process;
    /// of several with one id, the latest.
    pub process: Option<(u32, Arc<Owner>)>,
    /// Number of processes in a program; `None` in other groups.
    pub processes: Option<usize>,
    /// The least certain origin of the peers' host names; `None` if a flow has no name.
    pub dns_origin: Option<DnsNameOrigin>,
    retransmits: Option<u64>,
    connections: usize,
    /// Flow from which `process` was taken, so that the order of the flows does not matter.
    taken_from: Option<FlowKey>,
}

impl GroupTotals {
    /// Returns the totals of one flow; the caller sets the group.
    fn new(flow: &Flow) -> Self {
        Self {
            id: RowId::default(),
            flows: 1,
            counters: flow.counters,
            packets: flow.packets,
            cost: flow.cost(),
            process: Some((flow.key.tgid, Arc::clone(&flow.owner))),
            processes: None,
            dns_origin: dns_origin(flow),
            retransmits: retransmits(flow),
            connections: usize::from(flow.tcp.is_some()),
            taken_from: Some(flow.key),
        }
    }

    fn add(&mut self, flow: &Flow) {
        self.flows += 1;
        self.counters += flow.counters;
        self.packets = self
            .packets
            .zip(flow.packets)
            .map(|(mine, theirs)| Packets {
                rx: mine.rx + theirs.rx,
                tx: mine.tx + theirs.tx,
            });
        add_cost(&mut self.cost, flow.cost());
        self.dns_origin = self
            .dns_origin
            .zip(dns_origin(flow))
            .map(|(mine, theirs)| mine.max(theirs));
        self.retransmits = self
            .retransmits
            .zip(retransmits(flow))
            .map(|(mine, theirs)| mine + theirs);
        self.connections += usize::from(flow.tcp.is_some());
        match &self.process {
            Some((tgid, owner)) if *tgid == flow.key.tgid => {
                let later = |owner: &Owner, key| (owner.start, Reverse(key));
                let theirs = Some(flow.key);
                if later(&flow.owner, theirs) > later(owner, self.taken_from) {
                    self.process = Some((*tgid, Arc::clone(&flow.owner)));
                    self.taken_from = theirs;
                }
            }
            _ => (self.process, self.taken_from) = (None, None),
        }
    }

    /// Returns the title. Not sanitized; empty if the name of a process is unknown.
    pub fn name(&self, lookup: &dyn ProcessLookup) -> String {
        match (&self.id, &self.process) {
            (RowId::Thread(_, 1..), Some((_, owner))) => owner.thread.to_string_lossy().into(),
            (RowId::Process(_) | RowId::Thread(..), Some((_, owner))) => owner.name(),
            (RowId::User(uid), _) => match lookup.user_name(*uid) {
                Some(name) => name.to_string(),
                None => self.id.to_string(),
            },
            _ => self.id.to_string(),
        }
    }

    /// Returns the title for tables: [`Self::name`], with the mark of a host name that may be
    /// another one.
    pub fn marked_name(&self, lookup: &dyn ProcessLookup) -> String {
        let name = self.name(lookup);
        match (&self.id, self.dns_origin) {
            (RowId::Host(_), Some(origin)) => format!("{}{name}", origin.mark()),
            _ => name,
        }
    }

    /// Returns the segments retransmitted in the interval; `None` if they are unknown for a
    /// connection, or if there is no connection.
    pub fn retransmits(&self) -> Option<u64> {
        self.retransmits.filter(|_| self.connections > 0)
    }
}

/// A flow without a connection retransmits nothing.
fn retransmits(flow: &Flow) -> Option<u64> {
    match &flow.tcp {
        None if flow.key.protocol == crate::model::flow::Protocol::Tcp => None,
        None => Some(0),
        Some(tcp) => tcp.retransmits.map(u64::from),
    }
}

fn dns_origin(flow: &Flow) -> Option<DnsNameOrigin> {
    flow.dns_name.as_ref().map(|dns| dns.origin)
}

impl Ranked for GroupTotals {
    type Key = RowId;

    fn key(&self) -> RowId {
        self.id.clone()
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn flows(&self) -> usize {
        self.flows
    }

    #[expect(private_interfaces, reason = "only rankings sort rows")]
    fn sort_value(
        &self,
        value: RowValue,
        directions: Directions,
        facts: &Facts<'_>,
    ) -> Option<SortValue> {
        value(&GroupValues(self, facts), directions)
    }
}

impl Ranking<GroupTotals> {
    /// Ranks an interval's flows by groups; `top_n` is the most rows each way, `None` for all.
    pub fn grouped(
        interval: &Interval,
        group: Group,
        lookup: &dyn ProcessLookup,
        top_n: Option<usize>,
    ) -> Self {
        Self::of(interval, &group_totals(interval, group, lookup), top_n)
    }

    /// Ranks an interval's flows by groups in a given order.
    pub fn grouped_sorted(
        interval: &Interval,
        group: Group,
        lookup: &dyn ProcessLookup,
        order: RowOrder,
        top_n: Option<usize>,
    ) -> Self {
        let all = group_totals(interval, group, lookup);
        Self::ordered(interval, &all, lookup, order, top_n)
    }
}

/// Sums an interval's flows by groups, in no order.
pub fn group_totals(
    interval: &Interval,
    group: Group,
    lookup: &dyn ProcessLookup,
) -> Vec<GroupTotals> {
    let mut group_totals: Vec<GroupTotals> = Vec::new();
    let mut groups = Groups::new(group, lookup);
    let mut processes: HashSet<(usize, u32)> = HashSet::new();
    for flow in &interval.flows {
        let process_ref = ProcessRef {
            tgid: flow.key.tgid,
            owner: &flow.owner,
            when: interval.ended,
        };
        let index = groups.index(flow.into(), &process_ref);
        match group_totals.get_mut(index) {
            Some(totals) => totals.add(flow),
            None => group_totals.push(GroupTotals::new(flow)),
        }
        if group == Group::Program && processes.insert((index, flow.key.tgid)) {
            let count = &mut group_totals[index].processes;
            *count = Some(count.unwrap_or(0) + 1);
        }
    }
    for (totals, id) in group_totals.iter_mut().zip(groups.into_ids()) {
        totals.id = id;
    }
    group_totals
}

/// The sortable values of a group; it has none of those of connections, which are not sums.
struct GroupValues<'a>(&'a GroupTotals, &'a Facts<'a>);

impl GroupValues<'_> {
    fn process_ref(&self) -> Option<ProcessRef<'_>> {
        let (tgid, owner) = self.0.process.as_ref()?;
        Some(self.1.process(*tgid, owner))
    }
}

impl RowValues for GroupValues<'_> {
    fn flows(&self) -> usize {
        self.0.flows
    }

    fn peak(&self, _: Directions) -> Option<f64> {
        None
    }

    fn protocol(&self) -> Option<Protocol> {
        match self.0.id {
            RowId::Port(protocol, _) => Some(protocol),
            _ => None,
        }
    }

    fn local(&self) -> Option<Endpoint> {
        None
    }

    fn remote(&self) -> Option<Endpoint> {
        match self.0.id {
            RowId::Remote(addr) | RowId::Net(Net { addr, .. }) => Some(Endpoint::new(addr, 0)),
            _ => None,
        }
    }

    fn pid(&self) -> Option<u32> {
        self.0.process.as_ref().map(|(tgid, _)| *tgid)
    }

    fn process(&self) -> Option<Comm> {
        match self.0.id {
            RowId::Program(comm, _) => Some(comm),
            _ => self.0.process.as_ref().map(|(_, owner)| owner.comm),
        }
    }

    fn user(&self) -> Option<Arc<str>> {
        match self.0.id {
            RowId::User(uid) => self.1.lookup.user_name(uid),
            _ => self.1.lookup.user(&self.process_ref()?),
        }
    }

    fn container(&self) -> Option<Arc<str>> {
        match &self.0.id {
            RowId::Container(location) | RowId::Pod(location) => Some(location.to_string().into()),
            RowId::Unit(name) | RowId::Named(_, name) => Some(Arc::clone(name)),
            RowId::Without(_) => None,
            _ => self.1.lookup.short_location(&self.process_ref()?),
        }
    }

    fn packets(&self, directions: Directions) -> Option<u64> {
        self.0.packets.map(|packets| directions.packets(&packets))
    }

    fn srtt_us(&self) -> Option<u32> {
        None
    }

    fn retransmits(&self) -> Option<u64> {
        self.0.retransmits()
    }

    fn host(&self) -> Option<Arc<str>> {
        match &self.0.id {
            RowId::Host(name) => Some(Arc::clone(name)),
            _ => None,
        }
    }

    fn zone(&self) -> Option<Arc<str>> {
        match &self.0.id {
            RowId::Zone(name) => Some(Arc::clone(name)),
            _ => None,
        }
    }

    fn cost(&self, directions: Directions) -> Option<f64> {
        self.0.cost.map(|cost| directions.cost(cost))
    }

    fn cwnd(&self) -> Option<u32> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::dns::DnsName;
    use crate::model::flow::{Direction, Tcp};
    use crate::testing::{Intervals, Random, flow, some_overflow};

    /// Flows of 60 processes, with more or fewer fields known.
    fn random_interval(random: &mut Random) -> Interval {
        let owners: Vec<Arc<Owner>> = (0..30)
            .map(|n| {
                let paths = ["/", "/a.slice/b.service", "/user.slice", "/machine-x.scope"];
                Arc::new(Owner {
                    uid: (n % 4 > 0).then_some(n % 3),
                    cgroup: (n % 5 > 0).then(|| Arc::from(paths[n as usize % paths.len()])),
                    ..Owner::named(b"x")
                })
            })
            .collect();
        let flows = (0..random.below(60) as u32).map(|id| {
            let mut flow = flow(
                id,
                random.below(4),
                1 + random.below(3) * random.below(1 << 40),
            );
            flow.key.tid = id;
            flow = some_overflow(id, flow);
            flow.owner = Arc::clone(&owners[flow.key.tgid as usize]);
            let mut maybe = |n: u64| (random.below(4) > 0).then(|| random.below(n));
            flow.packets = maybe(9).map(|rx| Packets { rx, tx: 1 });
            flow.dns_name = maybe(9).map(|n| {
                let name = ["a.example", "b.example", "c.example"][n as usize % 3];
                Arc::new(DnsName {
                    name: Arc::from(name),
                    origin: DnsNameOrigin::ALL[n as usize / 3],
                })
            });
            flow.tcp = maybe(9).map(|n| Tcp {
                retransmits: (n > 0).then_some(n as u32),
                ..Tcp::default()
            });
            flow
        });
        let mut flows: Vec<Flow> = flows.collect();
        random.shuffle(&mut flows);
        let mut interval = Intervals::default().next(1000, flows);
        interval.losses.untracked = Counters {
            rx_bytes: random.below(50),
            tx_bytes: random.below(50),
            rx_msgs: 1,
            tx_msgs: 2,
        };
        interval
    }

    fn groups() -> impl Iterator<Item = Group> {
        let other = ["net/8", "net/31,1"].map(|word| word.parse().unwrap());
        Group::ALL.into_iter().chain(other)
    }

    #[test]
    fn rows_and_other_and_untracked_are_the_total_in_every_grouping() {
        let mut random = Random(21);
        for _ in 0..300 {
            let interval = random_interval(&mut random);
            for group in groups() {
                let n = (random.below(4) > 0).then_some(random.below(12) as usize);
                let ranking = Ranking::grouped(&interval, group, &(), n);
                let mut sum = interval.losses.untracked;
                let (mut flows, mut count) = (0, 0);
                for row in ranking.rows() {
                    sum += row.counters;
                    flows += row.flows;
                    count += 1;
                }
                sum += ranking.unranked.moved;
                assert_eq!(sum, interval.total(), "{group} {n:?}");
                assert_eq!(flows + ranking.unranked.flows, interval.flows.len());
                if n.is_none() {
                    assert_eq!(ranking.unranked.rows, 0);
                }
                let all = Ranking::grouped(&interval, group, &(), None);
                assert_eq!(all.rows().count(), count + ranking.unranked.rows);
                for section in [&ranking.ingress, &ranking.egress] {
                    let sum = section.shown() + section.other.moved + section.untracked;
                    assert_eq!(sum, section.total, "{group} {n:?}");
                    assert!(section.rows.len() <= n.unwrap_or(usize::MAX));
                    let directions = section.direction;
                    let moving = interval.flows.iter();
                    let moving = moving
                        .filter(|flow| flow.counters.bytes(directions) > 0)
                        .count();
                    assert!(
                        section.flows() >= moving,
                        "silent ones of a group count too"
                    );
                }
            }
        }
    }

    #[test]
    fn a_row_is_the_sum_of_the_flows_that_are_in_it() {
        let mut random = Random(22);
        for _ in 0..100 {
            let interval = random_interval(&mut random);
            for group in groups() {
                for row in Ranking::grouped(&interval, group, &(), None).rows() {
                    let is_in = |flow: &&Flow| {
                        let process_ref = ProcessRef {
                            tgid: flow.key.tgid,
                            owner: &flow.owner,
                            when: interval.ended,
                        };
                        RowId::of(group, (*flow).into(), &process_ref, &()) == row.id
                    };
                    let flows: Vec<&Flow> = interval.flows.iter().filter(is_in).collect();
                    let sum: Counters = flows.iter().map(|flow| flow.counters).sum();
                    assert_eq!((row.flows, row.counters), (flows.len(), sum), "{group}");
                    let packets: Option<Vec<Packets>> = flows.iter().map(|f| f.packets).collect();
                    let rx = packets.map(|all| all.iter().map(|packets| packets.rx).sum());
                    assert_eq!(row.packets.map(|packets| packets.rx), rx);
                    let tcp =
                        |flow: &&&Flow| flow.key.protocol == crate::model::flow::Protocol::Tcp;
                    let tcp: Vec<_> = flows.iter().filter(|f| f.tcp.is_some() || tcp(f)).collect();
                    let known: Option<Vec<u32>> =
                        tcp.iter().map(|flow| flow.tcp?.retransmits).collect();
                    let known = known.filter(|known| !known.is_empty());
                    let sum = known.map(|all| all.iter().copied().map(u64::from).sum());
                    assert_eq!(row.retransmits(), sum, "{group}");
                    let origins: Option<Vec<_>> = flows.iter().map(|f| dns_origin(f)).collect();
                    let least_certain = origins.and_then(|all| all.into_iter().max());
                    assert_eq!(row.dns_origin, least_certain, "{group}");
                    let first = flows[0].key.tgid;
                    let one = flows.iter().all(|flow| flow.key.tgid == first);
                    assert_eq!(row.process.is_some(), one);
                    let tgids: HashSet<u32> = flows.iter().map(|flow| flow.key.tgid).collect();
                    let is_program = group == Group::Program;
                    assert_eq!(row.processes, is_program.then_some(tgids.len()));
                }
            }
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter() {
        let mut random = Random(23);
        for _ in 0..100 {
            let mut interval = random_interval(&mut random);
            for group in groups() {
                let rank = |interval: &Interval| Ranking::grouped(interval, group, &(), Some(5));
                let first = rank(&interval);
                random.shuffle(&mut interval.flows);
                let second = rank(&interval);
                assert_eq!(first.ingress, second.ingress, "{group}");
                assert_eq!(first.egress, second.egress, "{group}");
                assert_eq!(first.unranked, second.unranked, "{group}");
            }
        }
    }

    #[test]
    fn a_host_is_one_row_marked_if_the_name_of_a_flow_is_uncertain() {
        let named = |id, name: Option<(&str, DnsNameOrigin)>| {
            let dns_name = name.map(|(name, origin)| {
                Arc::new(DnsName {
                    name: Arc::from(name),
                    origin,
                })
            });
            Flow {
                dns_name,
                ..flow(id, 1, 0)
            }
        };
        let (sure, other) = (DnsNameOrigin::Process, DnsNameOrigin::Other);
        let flows = vec![
            named(0, Some(("api.example", other))),
            named(1, Some(("api.example", sure))),
            named(2, Some(("www.example", sure))),
            named(3, None),
        ];
        let interval = Intervals::default().next(1000, flows);
        let mut rows: Vec<_> = group_totals(&interval, Group::Host, &())
            .iter()
            .map(|row| (row.marked_name(&()), row.name(&()), row.flows))
            .collect();
        rows.sort_unstable();
        let row = |marked: &str, name: &str, flows| (marked.to_owned(), name.to_owned(), flows);
        let expected = [
            row("unknown", "unknown", 1),
            row("www.example", "www.example", 1),
            row("~api.example", "api.example", 2),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn groups_are_ranked_by_what_they_moved_that_way() {
        let interval = Intervals::default().next(
            1000,
            // Two flows a process.
            vec![flow(0, 5, 1), flow(1, 5, 1), flow(2, 9, 0), flow(4, 0, 3)],
        );
        let ranking = Ranking::grouped(&interval, Group::Process, &(), Some(1));
        let first = |directions| match directions {
            Direction::Rx => ranking.ingress.rows[0].id.clone(),
            Direction::Tx => ranking.egress.rows[0].id.clone(),
        };
        assert_eq!(first(Direction::Rx), RowId::Process(0));
        assert_eq!(first(Direction::Tx), RowId::Process(2));
        assert_eq!(
            (ranking.unranked.rows, ranking.unranked.moved.rx_bytes),
            (1, 9)
        );
    }
}
