//! Names that processes resolved, by the answers that they received, and which of them is the name
//! of a flow's peer. A flow keeps the name that it began under. Knows no kernel and no
//! presentation.

#[cfg(test)]
mod tests;

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::{DefaultHashBuilder, HashMap};

use super::dns_answers::{ResolvedName, resolved_name};
use crate::model::dns::{DnsAnswer, DnsName, DnsNameOrigin};
use crate::model::flow::Flow;

/// Addresses of which names are known, of all processes and of one. A process that has more forgets
/// its own.
const MAX_ADDRESSES: usize = 16_384;
const MAX_PROCESS_ADDRESSES: usize = 1024;
/// Names of an address that a process is remembered to have resolved: whether there are several
/// takes two.
const MAX_NAMES: usize = 2;
/// Addresses whose names are known to all processes of a user.
const MAX_SHARED: usize = 8192;
/// Flows that keep their names, at most, and how long after their last bytes.
const MAX_FLOWS: usize = 131_072;
const KEPT_FOR: Duration = Duration::from_secs(600);
/// Intervals between two searches for what is no longer kept.
const SWEEP: u64 = 64;
/// Users below are those of the system (`UID_MIN` of login.defs): others believe their answers.
const MIN_USER: u32 = 1000;
/// Ports from here on are given to clients by default (`ip_local_port_range`): a socket below that
/// is a server's, to which anyone can send from port 53.
const MIN_CLIENT_PORT: u16 = 32_768;

/// A process: its number, and its start since boot.
type StartedProcess = (u32, Duration);
/// An address in a network namespace.
type NetAddr = (u32, IpAddr);

/// Remembers the answers of name servers, and names flows by them.
#[derive(Debug, Default)]
pub struct DnsNames {
    processes: HashMap<StartedProcess, ProcessNames>,
    /// Addresses in `processes`, summed.
    addresses: usize,
    /// The last answers, by the user whose process received them; `None`: a user of the system.
    shared: HashMap<(Option<u32>, NetAddr), ResolvedEntry>,
    flows: HashMap<u64, KnownFlow>,
    hasher: DefaultHashBuilder,
    /// Answers so far: the time by which what is oldest is forgotten.
    answers: u64,
    intervals: u64,
}

/// What a process resolved.
#[derive(Debug, Default)]
struct ProcessNames {
    names: HashMap<NetAddr, Vec<ResolvedEntry>>,
    last_answer: u64,
}

/// A name of an address.
#[derive(Clone, Debug)]
struct ResolvedEntry {
    name: Arc<str>,
    expires: Instant,
    answer: u64,
}

/// A flow that has moved bytes, with the name that it began under, if any.
#[derive(Debug)]
struct KnownFlow {
    last: Instant,
    name: Option<Arc<DnsName>>,
}

impl DnsNames {
    /// Takes answers in the order in which they were received, then names the flows of the interval
    /// in which they were. All flows must be there, before any filter.
    pub fn label(&mut self, answers: Vec<DnsAnswer>, flows: &mut [Flow], now: Instant) {
        for answer in &answers {
            if let Some(resolved) = resolved_name(&answer.bytes) {
                self.add(answer, &resolved, now);
            }
        }
        self.intervals += 1;
        for flow in flows.iter_mut() {
            let remote = flow.key.remote.addr;
            if remote.is_unspecified() || flow.key.overflow || flow.key.receives_copies() {
                continue;
            }
            let hash = self.hasher.hash_one(flow.key);
            let name = match self.flows.get_mut(&hash) {
                Some(known) => {
                    known.last = now;
                    known.name.clone()
                }
                None => {
                    let name = self.name_of(flow, now);
                    let known = KnownFlow {
                        last: now,
                        name: name.clone(),
                    };
                    if self.flows.len() < MAX_FLOWS {
                        self.flows.insert(hash, known);
                    }
                    name
                }
            };
            flow.dns_name = name;
        }
        if self.flows.len() >= MAX_FLOWS {
            self.flows.retain(|_, known| known.last == now);
        } else if self.intervals.is_multiple_of(SWEEP) {
            self.flows
                .retain(|_, known| now.duration_since(known.last) < KEPT_FOR);
        }
    }

    fn add(&mut self, answer: &DnsAnswer, resolved: &ResolvedName, now: Instant) {
        if !answer.connected && answer.local_port < MIN_CLIENT_PORT {
            return;
        }
        self.answers += 1;
        let name: Arc<str> = resolved.name.as_str().into();
        let id = (answer.tgid, answer.start);
        let process = self.processes.entry(id).or_default();
        process.last_answer = self.answers;
        for (addr, valid) in &resolved.addresses {
            let addr = (answer.netns, *addr);
            let entry = ResolvedEntry {
                name: Arc::clone(&name),
                expires: now + *valid,
                answer: self.answers,
            };
            if answer.connected {
                self.shared
                    .insert((user_of(answer.uid), addr), entry.clone());
            }
            let names = process.names.entry(addr).or_insert_with(|| {
                self.addresses += 1;
                Vec::new()
            });
            names.retain(|known| known.name != entry.name);
            names.push(entry);
            if names.len() > MAX_NAMES {
                names.remove(0);
            }
        }
        if process.names.len() > MAX_PROCESS_ADDRESSES {
            self.addresses -= process.forget_older_half();
        }
        if self.addresses > MAX_ADDRESSES {
            self.forget_processes();
        }
        if self.shared.len() > MAX_SHARED {
            let answers = self.shared.values().map(|entry| entry.answer);
            let middle = middle_of(answers);
            self.shared.retain(|_, entry| entry.answer > middle);
        }
    }

    /// Forgets the processes that received no answer for longest, half of them.
    fn forget_processes(&mut self) {
        let middle = middle_of(self.processes.values().map(|process| process.last_answer));
        self.processes
            .retain(|_, process| process.last_answer > middle);
        self.addresses = self
            .processes
            .values()
            .map(|process| process.names.len())
            .sum();
    }

    /// The name of a new flow's peer.
    fn name_of(&self, flow: &Flow, now: Instant) -> Option<Arc<DnsName>> {
        let addr = (flow.key.netns, flow.key.remote.addr);
        let start = flow.owner.start?;
        let process = self.processes.get(&(flow.key.tgid, start));
        let names = process.and_then(|process| process.names.get(&addr));
        if let Some(names) = names
            && let Some(last) = names.last()
        {
            let origin = match names.len() {
                1 if last.expires > now => DnsNameOrigin::Process,
                1 => DnsNameOrigin::Expired,
                _ => DnsNameOrigin::Several,
            };
            return Some(named(&last.name, origin));
        }
        let users = [user_of(flow.owner.uid?), None].into_iter();
        let mut shared = users.filter_map(|user| self.shared.get(&(user, addr)));
        let found = shared.find(|entry| entry.expires > now);
        found.map(|entry| named(&entry.name, DnsNameOrigin::Other))
    }
}

impl ProcessNames {
    /// Returns how many addresses were forgotten.
    fn forget_older_half(&mut self) -> usize {
        let before = self.names.len();
        let last = |names: &Vec<ResolvedEntry>| names.last().map_or(0, |entry| entry.answer);
        let middle = middle_of(self.names.values().map(last));
        self.names.retain(|_, names| last(names) > middle);
        before - self.names.len()
    }
}

/// The user whose processes believe each other's answers.
const fn user_of(uid: u32) -> Option<u32> {
    if uid < MIN_USER { None } else { Some(uid) }
}

/// The number that half of them do not exceed.
fn middle_of(numbers: impl Iterator<Item = u64>) -> u64 {
    let mut numbers: Vec<u64> = numbers.collect();
    let middle = numbers.len() / 2;
    if numbers.is_empty() {
        return 0;
    }
    *numbers.select_nth_unstable(middle).1
}

fn named(name: &Arc<str>, origin: DnsNameOrigin) -> Arc<DnsName> {
    Arc::new(DnsName {
        name: Arc::clone(name),
        origin,
    })
}
