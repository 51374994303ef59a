//! The truth of a case against what flowtop wrote about its processes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::Value;

use crate::subject::{AvailableColumns, Counts, DnsName, FlowId, Owner, dns_name, number, text};
use crate::sys;

/// A flow as the case's own system calls returned it.
#[derive(Clone, Debug, Default)]
pub struct TrueFlow {
    pub counts: Counts,
    /// The number of messages is open.
    loose_rx: bool,
    loose_tx: bool,
    /// Datagrams received and sent, of UDP; `None` where that is open.
    packets: Option<(u64, u64)>,
    /// Host name of the peer, where the case resolved one.
    dns_name: Option<DnsName>,
    /// The part that went by way of these paths.
    via: Vec<(Vec<String>, Counts)>,
}

/// All that the processes of a case reported.
#[derive(Default)]
pub struct CaseTruth {
    /// The processes and who they are.
    pub owners: BTreeMap<(u64, u64), Owner>,
    pub flows: BTreeMap<FlowId, TrueFlow>,
    pub absent: Option<String>,
    pub errors: Vec<String>,
    pub lossy: bool,
}

impl CaseTruth {
    pub fn take(&mut self, line: &str) -> Result<()> {
        let line: Value = serde_json::from_str(line)?;
        match line["type"].as_str() {
            Some("process") => {
                let start = number(&line, "start_ns")? / sys::NS_PER_TICK;
                let process = (number(&line, "pid")?, start);
                let owner = self.owners.entry(process).or_default();
                owner.comms.extend(line["comm"].as_str().map(str::to_owned));
                let uids = line["uids"].as_array().into_iter().flatten();
                owner.uids.extend(uids.filter_map(Value::as_u64));
                owner.cgroups.insert(text(&line, "cgroup")?);
                self.lossy |= line["lossy"] == true;
            }
            Some("absent") => self.absent = Some(text(&line, "why")?),
            Some("error") => self.errors.push(text(&line, "what")?),
            Some("truth") => self.take_flow(&line)?,
            _ => {}
        }
        Ok(())
    }

    fn take_flow(&mut self, line: &Value) -> Result<()> {
        let packets = line["rx_packets"].as_u64().zip(line["tx_packets"].as_u64());
        let flow = self
            .flows
            .entry(FlowId::parse(line)?)
            .or_insert_with(|| TrueFlow {
                packets: Some((0, 0)),
                ..TrueFlow::default()
            });
        flow.packets = flow
            .packets
            .zip(packets)
            .map(|(sum, more)| (sum.0 + more.0, sum.1 + more.1));
        flow.dns_name = flow.dns_name.take().or_else(|| dns_name(line));
        flow.loose_rx |= line["rx_msgs"].is_null();
        flow.loose_tx |= line["tx_msgs"].is_null();
        flow.counts.add(&Counts {
            rx_bytes: number(line, "rx_bytes")?,
            tx_bytes: number(line, "tx_bytes")?,
            rx_msgs: line["rx_msgs"].as_u64().unwrap_or(0),
            tx_msgs: line["tx_msgs"].as_u64().unwrap_or(0),
        });
        for (names, part) in line["via"].as_object().into_iter().flatten() {
            let n = |i: usize| part[i].as_u64().unwrap_or(0);
            let part = Counts {
                rx_bytes: n(0),
                tx_bytes: n(1),
                rx_msgs: n(2),
                tx_msgs: n(3),
            };
            flow.via
                .push((names.split('+').map(str::to_owned).collect(), part));
        }
        Ok(())
    }

    /// What was sent from A to B must have been received by B from A, where both are ours.
    pub fn inconsistencies(&self) -> Vec<String> {
        type Ends<'a> = (&'a str, (&'a str, u64), (&'a str, u64));
        let mut moved: BTreeMap<Ends, (u64, u64)> = BTreeMap::new();
        for (id, flow) in &self.flows {
            // Ends without ports are not each other's; and the kernel answers ICMP by itself.
            if ["icmp", "icmp6", "raw", "packet"].contains(&id.proto.as_str()) {
                continue;
            }
            let local = (id.local_addr.as_str(), id.local_port);
            let remote = (id.remote_addr.as_str(), id.remote_port);
            if [local.0, remote.0]
                .iter()
                .any(|a| ["0.0.0.0", "::", "*"].contains(a))
            {
                return Vec::new();
            }
            moved.entry((&id.proto, local, remote)).or_default().0 += flow.counts.tx_bytes;
            moved.entry((&id.proto, remote, local)).or_default().1 += flow.counts.rx_bytes;
        }
        moved
            .into_iter()
            .filter(|(_, (tx, rx))| !self.lossy && tx != rx)
            .map(|((proto, from, to), (tx, rx))| {
                format!(
                    "the truth is not true: {proto} {}:{} -> {}:{} sent {tx}, received {rx}",
                    from.0, from.1, to.0, to.1
                )
            })
            .collect()
    }

    /// Whether a process of the case has, or had, this number.
    pub fn has(&self, pid: u64) -> bool {
        self.owners
            .range((pid, 0)..=(pid, u64::MAX))
            .next()
            .is_some()
    }

    /// A name of the process, where it told one: in a PID namespace of its own it does not.
    pub fn comm(&self, pid: u64) -> Option<&str> {
        let mut owners = self.owners.range((pid, 0)..=(pid, u64::MAX));
        owners.find_map(|(_, owner)| owner.comms.first().map(String::as_str))
    }

    pub fn totals(&self) -> Counts {
        let mut sum = Counts::default();
        self.flows.values().for_each(|f| sum.add(&f.counts));
        sum
    }
}

/// What may be seen of a flow: everything, or less where a path is declared unseen.
#[derive(Clone, Debug, Default)]
struct Expected {
    least: Counts,
    most: Counts,
    msgs_rx: bool,
    msgs_tx: bool,
}

/// Whether a case was seen as it was.
#[derive(Default)]
pub struct Verdict {
    pub complaints: Vec<String>,
    /// The paths of the case that flowtop says it cannot see.
    pub unseen: BTreeSet<String>,
    pub flows: usize,
    /// Bytes too many (or too few) over all flows of the case.
    pub diff: i128,
    /// Messages too few, at least.
    pub missing: u64,
    /// Something else than too little is wrong.
    pub wrong: bool,
}

const UNKNOWN_PEER: &str = "udp_recv_peer";
/// Beside it: the socket was connected to someone else after the datagram had come.
const CONNECTED_SINCE: &str = "connected_since";
/// What the kernel sends through a socket of the case, in the context of whoever is there.
pub const BY_ANYONE: &str = "by_anyone";

fn expected(
    truth: &CaseTruth,
    unseen: &BTreeSet<String>,
    used: &mut BTreeSet<String>,
) -> BTreeMap<FlowId, Expected> {
    let mut out: BTreeMap<FlowId, Expected> = BTreeMap::new();
    for (id, flow) in &truth.flows {
        let mut e = Expected {
            least: flow.counts,
            most: flow.counts,
            msgs_rx: !flow.loose_rx,
            msgs_tx: !flow.loose_tx,
        };
        for (names, part) in &flow.via {
            let mut hidden: Vec<_> = names.iter().filter(|n| unseen.contains(*n)).collect();
            used.extend(hidden.iter().map(|n| (*n).clone()));
            hidden.extend(names.iter().filter(|n| *n == BY_ANYONE));
            if hidden.iter().any(|n| *n == UNKNOWN_PEER) {
                // All of it must be there, under a peer that is not known.
                for c in [&mut e.least, &mut e.most] {
                    c.rx_bytes -= part.rx_bytes;
                    c.rx_msgs = c.rx_msgs.saturating_sub(part.rx_msgs);
                }
                let star = out.entry(unknown_peer(id)).or_insert_with(|| Expected {
                    msgs_rx: true,
                    msgs_tx: true,
                    ..Expected::default()
                });
                star.least.add(part);
                star.most.add(part);
                star.msgs_rx &= !flow.loose_rx;
            } else if !hidden.is_empty() {
                e.least.rx_bytes -= part.rx_bytes;
                e.least.tx_bytes -= part.tx_bytes;
                e.msgs_rx &= part.rx_bytes == 0;
                e.msgs_tx &= part.tx_bytes == 0;
            }
        }
        out.insert(id.clone(), e);
    }
    out
}

/// The row that stands for everybody a socket heard from without knowing whom. Its local address
/// is left out: `::` may be `0.0.0.0` for a peer that is not known.
fn unknown_peer(id: &FlowId) -> FlowId {
    FlowId {
        local_addr: "*".into(),
        remote_addr: "*".into(),
        remote_port: 0,
        ifindex: 0,
        ..id.clone()
    }
}

/// A peer that is not known may be taken for the one the socket is connected to by now.
fn take_for_unknown(truth: &CaseTruth, got: &mut BTreeMap<FlowId, Counts>) {
    for (id, flow) in &truth.flows {
        if !flow
            .via
            .iter()
            .any(|(names, _)| names.iter().any(|n| n == CONNECTED_SINCE))
        {
            continue;
        }
        let same_socket = |g: &FlowId| {
            (g.process(), &g.proto, g.local_port) == (id.process(), &id.proto, id.local_port)
        };
        let taken: Vec<FlowId> = got
            .keys()
            .filter(|g| same_socket(g) && !truth.flows.contains_key(*g))
            .cloned()
            .collect();
        for g in taken {
            let counts = got.remove(&g).unwrap_or_default();
            got.entry(unknown_peer(id)).or_default().add(&counts);
        }
    }
}

/// A missed event may cost a datagram its peer alone. Its bytes must be there: what a socket
/// received from nobody in particular is what its flows lack, and each of these datagrams is a
/// missed event.
fn take_for_missed(
    v: &mut Verdict,
    expected: &BTreeMap<FlowId, Expected>,
    got: &mut BTreeMap<FlowId, Counts>,
) {
    let stars: Vec<FlowId> = got
        .keys()
        .filter(|id| **id == unknown_peer(id) && !expected.contains_key(*id))
        .cloned()
        .collect();
    for star in stars {
        let mut left = got.remove(&star).unwrap_or_default();
        v.complaints.push(format!(
            "{star}: the peers of {} datagrams were missed",
            left.rx_msgs
        ));
        for (id, e) in expected {
            if unknown_peer(id) != star {
                continue;
            }
            let flow = got.entry(id.clone()).or_default();
            let lacks = |of: fn(&Counts) -> u64| of(&e.least).saturating_sub(of(flow));
            let bytes = left.rx_bytes.min(lacks(|counts| counts.rx_bytes));
            let msgs = left.rx_msgs.min(lacks(|counts| counts.rx_msgs));
            flow.rx_bytes += bytes;
            flow.rx_msgs += msgs;
            left.rx_bytes -= bytes;
            left.rx_msgs -= msgs;
            v.missing += msgs;
        }
        // More than the flows of the socket lack: it is not the truth.
        if left != Counts::default() {
            got.insert(star, left);
        }
    }
}

pub fn compare(truth: &CaseTruth, seen: &AvailableColumns) -> Verdict {
    let mut v = Verdict::default();
    let misses_peers = seen.is_seen_with_misses(UNKNOWN_PEER);
    let mut unseen = seen.unseen.clone();
    if misses_peers {
        unseen.remove(UNKNOWN_PEER);
    }
    let expected = expected(truth, &unseen, &mut v.unseen);
    let mut got: BTreeMap<FlowId, Counts> = BTreeMap::new();
    for (id, counts) in &seen.flows {
        if truth.has(id.pid) && counts.rx_bytes + counts.tx_bytes > 0 {
            let id = if id.proto == "udp" && id.remote_addr == "*" {
                unknown_peer(id)
            } else {
                id.clone()
            };
            got.entry(id).or_default().add(counts);
        }
    }
    if !v.unseen.is_empty() {
        take_for_unknown(truth, &mut got);
    }
    if misses_peers {
        take_for_missed(&mut v, &expected, &mut got);
    }
    v.flows = got.len();
    for (id, e) in &expected {
        let g = got.remove(id).unwrap_or_default();
        check_flow(&mut v, id, e, &g);
    }
    check_packets(&mut v, truth, seen);
    check_names(&mut v, truth, seen);
    for (id, g) in got {
        v.diff += i128::from(g.rx_bytes) + i128::from(g.tx_bytes);
        v.wrong = true;
        v.complaints.push(format!(
            "{id}: not in the truth, got rx {} tx {}",
            g.rx_bytes, g.tx_bytes
        ));
    }
    for (process, owner) in &truth.owners {
        if let Some(shown) = seen.owners.get(process) {
            let complaints = owner.complaints(process.0, shown);
            v.wrong |= !complaints.is_empty();
            v.complaints.extend(complaints);
        }
    }
    v
}

/// Datagrams of the flows that were seen to the byte. Only the tracepoints do not tell them.
fn check_packets(v: &mut Verdict, truth: &CaseTruth, seen: &AvailableColumns) {
    for (id, flow) in &truth.flows {
        let (Some(expected), Some(got)) = (flow.packets, seen.packets.get(id)) else {
            continue;
        };
        let exact = seen.flows.get(id) == Some(&flow.counts);
        if exact
            && *got != Some(expected)
            && (got.is_some() || !seen.backend.ends_with("tracepoint"))
        {
            v.wrong = true;
            v.complaints.push(format!(
                "{id}: packets (rx, tx) expected {expected:?}, got {got:?}"
            ));
        }
    }
}

/// Every record of a flow that the case resolved a name for has this name.
fn check_names(v: &mut Verdict, truth: &CaseTruth, seen: &AvailableColumns) {
    for (id, flow) in &truth.flows {
        let (Some(name), Some(got)) = (&flow.dns_name, seen.dns_names.get(id)) else {
            continue;
        };
        for wrong in got.iter().filter(|got| got.as_ref() != Some(name)) {
            v.wrong = true;
            v.complaints
                .push(format!("{id}: name expected {name:?}, got {wrong:?}"));
        }
    }
}

fn check_flow(v: &mut Verdict, id: &FlowId, e: &Expected, g: &Counts) {
    let mut check = |what: &str, got: u64, least: u64, most: u64, bytes: bool, msgs: bool| {
        if got >= least && got <= most {
            return;
        }
        let nearest = if got < least { least } else { most };
        v.wrong |= got > most;
        if got < least {
            // A call at least, where calls are not compared.
            v.missing += if bytes { u64::from(!msgs) } else { least - got };
        }
        if bytes {
            v.diff += i128::from(got) - i128::from(nearest);
        }
        let range = if least == most {
            most.to_string()
        } else {
            format!("{least}..={most}")
        };
        v.complaints
            .push(format!("{id}: {what} expected {range}, got {got}"));
    };
    check(
        "rx",
        g.rx_bytes,
        e.least.rx_bytes,
        e.most.rx_bytes,
        true,
        e.msgs_rx,
    );
    check(
        "tx",
        g.tx_bytes,
        e.least.tx_bytes,
        e.most.tx_bytes,
        true,
        e.msgs_tx,
    );
    if e.msgs_rx {
        check(
            "rx_msgs",
            g.rx_msgs,
            e.least.rx_msgs,
            e.most.rx_msgs,
            false,
            true,
        );
    }
    if e.msgs_tx {
        check(
            "tx_msgs",
            g.tx_msgs,
            e.least.tx_msgs,
            e.most.tx_msgs,
            false,
            true,
        );
    }
}
