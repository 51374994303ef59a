//! Several readers of one flowtop: two Prometheus servers, a probe, and a restart between.

use super::fleet::Talker;
use super::machines::{Host, Netns, ip, unshare_net};
use super::prometheus::{Prometheus, increases, query};
use super::{scrape, until};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::folder::Folder;

const SERVERS: [&str; 2] = ["127.0.0.1:9090", "127.0.0.1:9091"];

/// Increase of each program's series in a direction, as far as a server has scraped it.
fn gained(server: &str, way: &str) -> BTreeMap<String, u64> {
    let range = format!("flowtop_group_{way}_bytes_total{{name=~\"talker-.*\"}}[5m]");
    let named = increases(server, &range).into_iter();
    named
        .map(|(labels, bytes)| (labels["name"].as_str().unwrap().to_owned(), bytes))
        .collect()
}

#[test]
fn every_server_finds_every_byte_beside_others_probes_and_a_restart() {
    let test = thread::spawn(|| {
        unshare_net();
        let hub = Netns::current();
        ip(&hub, "link set lo up");
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let panics = scope.spawn(|| readers(scope, &hub, &done)).join();
            done.store(true, Ordering::Relaxed);
            panics
        })
    });
    if let Err(panic) = test.join().and_then(|panics| panics) {
        std::panic::resume_unwind(panic);
    }
}

fn readers<'a>(scope: &'a thread::Scope<'a, '_>, hub: &Netns, done: &'a AtomicBool) {
    let folder = Folder::new("readers");
    let mut host = Host::new(hub, 0, &["-n", "0", "--scrape-interval", "3s"]);
    let addr = host.addr;
    let target = format!("  - targets: [\"{addr}\"]\n");
    // Each a phase of its own, by when it was started.
    let _servers = SERVERS.map(|server| Prometheus::start(hub, &folder, server, &target, None));
    scope.spawn(move || {
        while !done.load(Ordering::Relaxed) {
            scrape(addr);
            thread::sleep(Duration::from_millis(50));
        }
    });
    let scraped = |what: &str| {
        until(what, || {
            let count = "count_over_time(up[1m]) > 1 and up == 1";
            let all = SERVERS
                .iter()
                .all(|server| !query(server, count).is_empty());
            all.then_some(())
        });
    };
    scraped("both servers have scraped twice");

    let mut truth = BTreeMap::new();
    let mut talk = |host: &Host, names: std::ops::Range<u64>, bytes: u64| {
        for n in names {
            let name = format!("talker-{n}");
            let mut talker = Talker::start(&folder, &host.netns, &name);
            talker.send(bytes + n);
            talker.end();
            *truth.entry(name).or_default() += bytes + n;
        }
        let all: BTreeMap<String, u64> = truth.clone();
        for server in SERVERS {
            for way in ["rx", "tx"] {
                until("a server has seen it all", || {
                    let gained = gained(server, way);
                    let too_much = gained.iter().find(|(name, bytes)| **bytes > all[*name]);
                    assert_eq!(too_much, None, "{server} {way}");
                    (gained == all).then_some(())
                });
            }
        }
    };
    talk(&host, 0..12, 700_000);
    host.restart();
    scraped("both servers scrape again");
    // Some are new, some were there before.
    talk(&host, 8..16, 300_000);
}
