//! Names of network interfaces, by their numbers: of flowtop's own network namespace, from the
//! files in `/proc/self/net` that list interfaces. `/sys` and sockets are closed to flowtop once it
//! is confined.

pub mod counters;

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::model::flow::Zone;
use crate::resolve::namespace;
use crate::sync::lock;

/// How long a list of interfaces is used, before an interface that is not in it makes flowtop read
/// again.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Names of interfaces, read when one is first looked up.
#[derive(Debug)]
pub struct Interfaces {
    /// Read at the start: a process that has changed its user may not look at its own namespaces.
    netns: Option<u32>,
    list: Mutex<InterfaceList>,
}

#[derive(Debug, Default)]
struct InterfaceList {
    names: HashMap<u32, Arc<str>>,
    read: Option<Instant>,
}

impl Default for Interfaces {
    fn default() -> Self {
        Self {
            netns: namespace::own_net(),
            list: Mutex::default(),
        }
    }
}

impl Interfaces {
    /// The name of an interface; `None` where it is of another namespace, or has gone.
    pub fn name(&self, zone: Zone) -> Option<Arc<str>> {
        if zone.ifindex == 0 || self.netns != Some(zone.netns) {
            return None;
        }
        // What a panicking holder left is at worst a name missing.
        let mut list = lock(&self.list);
        let stale = list.read.is_none_or(|read| read.elapsed() > FRESH_FOR);
        if stale {
            list.names = read();
            list.read = Some(Instant::now());
        }
        list.names.get(&zone.ifindex).cloned()
    }
}

/// The number of an interface by its name.
pub fn number(name: &str) -> Option<u32> {
    let found = read().into_iter().find(|(_, known)| **known == *name);
    found.map(|(ifindex, _)| ifindex)
}

/// Interfaces that have IPv4 or IPv6 addresses, or could have them.
fn read() -> HashMap<u32, Arc<str>> {
    let igmp = fs::read_to_string("/proc/self/net/igmp").unwrap_or_default();
    let inet6 = fs::read_to_string("/proc/self/net/if_inet6").unwrap_or_default();
    of_igmp(&igmp).chain(of_if_inet6(&inet6)).collect()
}

/// Lines of a number, a name and more, as in `1 lo : 1 V3`, each followed by indented lines of its
/// groups.
fn of_igmp(text: &str) -> impl Iterator<Item = (u32, Arc<str>)> {
    text.lines().skip(1).filter_map(|line| {
        if line.starts_with(char::is_whitespace) {
            return None;
        }
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.into()))
    })
}

/// Lines of an address, the interface's number in hexadecimal, three more numbers and its name.
fn of_if_inet6(text: &str) -> impl Iterator<Item = (u32, Arc<str>)> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let ifindex = u32::from_str_radix(words.nth(1)?, 16).ok()?;
        Some((ifindex, words.nth(3)?.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_from_the_lists_of_both_families() {
        let igmp = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
                    1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
                    4\teth0      :     1      V3\n";
        let all: Vec<_> = of_igmp(igmp).collect();
        assert_eq!(all, [(1, "lo".into()), (4, "eth0".into())]);
        let inet6 = "fe8000000000000000fc00fffe000001 1f 40 20 80     eth0\n";
        let all: Vec<_> = of_if_inet6(inet6).collect();
        assert_eq!(all, [(31, "eth0".into())]);
    }

    #[test]
    fn an_interface_has_a_name_in_its_own_namespace_only() {
        let netns = namespace::own_net().unwrap();
        let ifindex = number("lo").unwrap();
        let interfaces = Interfaces::default();
        assert_eq!(interfaces.name(Zone { ifindex, netns }), Some("lo".into()));
        let other = Zone {
            ifindex,
            netns: netns + 1,
        };
        assert_eq!(interfaces.name(other), None);
    }
}
