//! The system's way from an address to a name, without the C library: `/etc/hosts`, then the
//! servers of `/etc/resolv.conf`. Works in a static binary, and uses no module of `nsswitch.conf`.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::dns::Servers;
use super::hosts::Hosts;
use super::name_cache::{LookupOutcome, LookupResult, NameQuestion};
use super::resolv_conf::Conf;
use super::watched_file::WatchedFile;

use crate::sync::lock;

const HOSTS: &str = "/etc/hosts";
/// Lists of blocked hosts have a few megabytes.
const MAX_HOSTS: u64 = 16 << 20;
const RESOLV_CONF: &str = "/etc/resolv.conf";
const MAX_RESOLV_CONF: u64 = 64 << 10;
/// How long an answer is good that needed no server: a change of the file ends it sooner.
const LOCAL_FOR: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct System {
    files: Mutex<ResolverFiles>,
}

#[derive(Debug)]
struct ResolverFiles {
    hosts_file: WatchedFile,
    resolv_conf: WatchedFile,
    hosts: Arc<Hosts>,
    servers: Arc<Servers>,
    /// Counts the changes of either.
    generation: u64,
}

impl System {
    pub(super) fn new() -> Self {
        let files = ResolverFiles {
            hosts_file: WatchedFile::new(HOSTS, MAX_HOSTS),
            resolv_conf: WatchedFile::new(RESOLV_CONF, MAX_RESOLV_CONF),
            hosts: Arc::default(),
            servers: Arc::new(Servers::new(Conf::default())),
            generation: 0,
        };
        Self {
            files: Mutex::new(files),
        }
    }

    /// Looks a name up; blocks until the servers answer or time out, if the question may use them.
    pub(super) fn lookup(&self, question: NameQuestion) -> LookupResult {
        let addr = question.addr;
        let (hosts, servers, generation) = {
            let mut files = lock(&self.files);
            files.refresh();
            let (hosts, servers) = (Arc::clone(&files.hosts), Arc::clone(&files.servers));
            (hosts, servers, files.generation)
        };
        let (outcome, ttl) = match hosts.name(addr) {
            Some(name) => (LookupOutcome::Name(name.to_owned()), LOCAL_FOR),
            None if !question.uses_servers || !may_be_known_to_servers(addr) => {
                (LookupOutcome::NoPtrRecord, LOCAL_FOR)
            }
            None => servers.look_up(addr),
        };
        LookupResult {
            outcome,
            ttl,
            generation,
        }
    }
}

impl ResolverFiles {
    fn refresh(&mut self) {
        if let Some(text) = self.hosts_file.changed() {
            self.hosts = Arc::new(Hosts::parse(&text));
            self.generation += 1;
        }
        if let Some(text) = self.resolv_conf.changed() {
            self.servers = Arc::new(Servers::new(Conf::parse(&text)));
            self.generation += 1;
        }
    }
}

/// Private addresses may be known to the servers of their network; these mean something on one
/// machine or link only, or are no machine's at all.
fn may_be_known_to_servers(addr: IpAddr) -> bool {
    if addr.is_unspecified() || addr.is_loopback() || addr.is_multicast() {
        return false;
    }
    match addr {
        IpAddr::V4(addr) => !addr.is_link_local() && !addr.is_broadcast(),
        IpAddr::V6(addr) => !addr.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_asked_for_what_they_may_know_only() {
        let may_ask = |addr: &str| may_be_known_to_servers(addr.parse().unwrap());
        for addr in [
            "8.8.8.8",
            "10.0.0.1",
            "100.64.0.1",
            "2001:db8::1",
            "fd00::1",
        ] {
            assert!(may_ask(addr), "{addr}");
        }
        for addr in [
            "0.0.0.0",
            "127.0.0.53",
            "169.254.169.254",
            "224.0.0.251",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::fb",
        ] {
            assert!(!may_ask(addr), "{addr}");
        }
    }
}
