//! Three machines, each a network namespace, and a real Prometheus that scrapes them.

use super::machines::{Host, Netns, ip, unshare_net};
use super::prometheus::{self, Prometheus};
use super::{check_metrics, http, program, run, scrape, until};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _, stdin};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use crate::common::folder::Folder;
use flowtop::output::metrics::METRICS;
use serde_json::Value;

const PROMETHEUS: &str = "127.0.0.1:9090";

fn query(expr: &str) -> Vec<(Value, f64)> {
    prometheus::query(PROMETHEUS, expr)
}

/// A label and the value of each series of an instant query, once there are at least `least`. If a
/// scrape took too long on a busy machine, a series is missing until the next one.
#[track_caller]
fn values_by_label(expr: &str, label: &str, least: usize) -> Vec<(String, u64)> {
    let series = until(expr, || Some(query(expr)).filter(|all| all.len() >= least));
    series
        .into_iter()
        .map(|(labels, value)| (labels[label].as_str().unwrap().to_owned(), value as u64))
        .collect()
}

/// A process that sends itself as many bytes as its orders say.
pub(super) struct Talker {
    child: Child,
    orders: ChildStdin,
    printed: BufReader<ChildStdout>,
}

impl Talker {
    /// With any name that a file can have: it is a link to this test, see [`talk`].
    pub(super) fn start(folder: &Folder, netns: &Netns, name: &str) -> Self {
        let path = folder.join(name);
        if !path.exists() {
            symlink(std::env::current_exe().unwrap(), &path).unwrap();
        }
        let mut command = Command::new(path);
        command
            .args([
                "metrics::fleet::talk",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = netns.around(&mut command).spawn().unwrap();
        Self {
            orders: child.stdin.take().unwrap(),
            printed: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Returns when all were received.
    pub(super) fn send(&mut self, bytes: u64) {
        writeln!(self.orders, "{bytes}").unwrap();
        let wanted = format!("moved {bytes}\n");
        let mut line = String::new();
        while !line.ends_with(&wanted) {
            line.clear();
            assert!(self.printed.read_line(&mut line).unwrap() > 0, "it ended");
        }
    }

    pub(super) fn end(mut self) {
        drop(self.orders);
        self.printed.read_to_string(&mut String::new()).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

/// What a [`Talker`] is: no test.
#[test]
#[ignore = "it is started by others"]
#[allow(clippy::print_stdout, reason = "it is read by who started it")]
fn talk() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    for line in stdin().lines() {
        let bytes: u64 = line.unwrap().parse().unwrap();
        let mut left = bytes;
        while left > 0 {
            let piece = left.min(30_000) as usize;
            client.write_all(&vec![7; piece]).unwrap();
            server.read_exact(&mut vec![0; piece]).unwrap();
            left -= piece as u64;
        }
        println!("moved {bytes}");
    }
}

fn contrib(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("contrib")
        .join(file)
}

/// Every expression of the dashboard, as Grafana would send it for the last minute of all hosts.
fn panels() -> Vec<String> {
    let text = fs::read_to_string(contrib("grafana/flowtop.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let exprs = targets.map(|target| {
        let expr = target["expr"].as_str().unwrap();
        expr.replace("$instance", ".*")
            .replace("$__rate_interval", "1m")
            .replace("$__range", "5m")
    });
    exprs.collect()
}

#[test]
fn prometheus_knows_who_talks_most_in_a_fleet() {
    let fleet = thread::spawn(|| {
        unshare_net();
        let hub = Netns::current();
        ip(&hub, "link set lo up");
        fleet(&hub);
    });
    if let Err(panic) = fleet.join() {
        std::panic::resume_unwind(panic);
    }
}

#[expect(clippy::too_many_lines, reason = "one story, told in its order")]
fn fleet(hub: &Netns) {
    let folder = Folder::new("fleet");
    let hosts: Vec<Host> = (0..3)
        .map(|n| Host::new(hub, n, &["-n", "4", "--scrape-interval", "3s"]))
        .collect();
    let targets = hosts.iter().enumerate().map(|(n, host)| {
        format!(
            "  - targets: [\"{}\"]\n    labels: {{host: \"{n}\"}}\n",
            host.addr
        )
    });
    let targets: String = targets.collect();
    let rules = contrib("prometheus/flowtop.rules.yml");
    let _prometheus = Prometheus::start(hub, &folder, PROMETHEUS, &targets, Some(&rules));
    until("all are scraped twice", || {
        query("count(count_over_time(flowtop_rx_bytes_total[1m]) > 1) == 3")
            .first()
            .map(drop)
    });

    // Each begins after the first scrapes, as most processes do. One ends at once.
    let hostile = "e\"v\\\n{}\u{1b}[1m";
    let traffic: &[(usize, &str, &[u64])] = &[
        (0, "backup", &[10_000_001, 8_000_000]),
        (0, "web", &[3_000_000, 1]),
        (1, "replica", &[20_000_003]),
        (1, "backup", &[7_000_007]),
        (2, "camera", &[5_000_000, 4_000_004]),
        (2, "web", &[9_000_009]),
        (2, hostile, &[2_000_002]),
        (2, "small-1", &[300_000]),
        (2, "small-2", &[200_000]),
        (2, "small-3", &[100_000]),
    ];
    let mut talkers = Vec::new();
    let mut truth = 0;
    for (host, name, sent) in traffic {
        let mut talker = Talker::start(&folder, &hosts[*host].netns, name);
        talker.send(sent[0]);
        truth += sent[0];
        talkers.push((talker, sent));
    }
    let (replica, _) = talkers.remove(2);
    replica.end();
    for (talker, sent) in &mut talkers {
        for &bytes in &sent[1..] {
            talker.send(bytes);
            truth += bytes;
        }
    }

    for (talker, _) in talkers {
        talker.end();
    }

    // What groups have gained in all, exactly: counters that begin at 0 and never go back.
    let gained = |way: &str| {
        format!(
            "max_over_time(flowtop_group_{way}_bytes_total[5m]) - \
             min_over_time(flowtop_group_{way}_bytes_total[5m])"
        )
    };
    let all = format!("sum({}) >= {truth}", gained("rx"));
    until("Prometheus has all", || query(&all).first().map(drop));
    for way in ["rx", "tx"] {
        // Over all hosts.
        let named = |list: &[(&str, u64)]| -> Vec<(String, u64)> {
            list.iter()
                .map(|(name, n)| ((*name).to_owned(), *n))
                .collect()
        };
        let top = format!("topk(4, sum by (name) ({}))", gained(way));
        assert_eq!(
            values_by_label(&top, "name", 4),
            named(&[
                ("backup", 25_000_008),
                ("replica", 20_000_003),
                ("web", 12_000_010),
                ("camera", 9_000_004),
            ])
        );
        // As it is asked every day. Prometheus extrapolates to the edges of the time asked for, so
        // what is nearly equal may change places.
        let usual = format!(
            "topk(4, sum by (name) (increase(flowtop_group_{way}_bytes_total{{kind!=\"other\"}}[5m])))"
        );
        let names = values_by_label(&usual, "name", 4)
            .into_iter()
            .map(|(name, _)| name);
        let names: BTreeSet<String> = names.collect();
        assert_eq!(
            names.iter().collect::<Vec<_>>(),
            ["backup", "camera", "replica", "web"]
        );
        // By host.
        let by_host = format!("sort_desc(topk by (host) (1, {}))", gained(way));
        let by_host: Vec<_> = query(&by_host)
            .into_iter()
            .map(|(labels, bytes)| (labels["host"].clone(), labels["name"].clone(), bytes as u64))
            .collect();
        let expected = [
            ("1", "replica", 20_000_003),
            ("0", "backup", 18_000_001),
            ("2", "web", 9_000_009),
        ];
        let expected = expected.map(|(host, name, bytes)| (host.into(), name.into(), bytes));
        assert_eq!(by_host, expected);
        // One host has more groups than series, of which it has 4, and at most 4 that make way.
        let series = format!("flowtop_group_{way}_bytes_total{{host=\"2\", kind!=\"other\"}}");
        let reported: Vec<String> = values_by_label(&series, "name", 4)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert!((4..=8).contains(&reported.len()), "{reported:?}");
        assert!(
            !reported.iter().any(|name| name == "small-3"),
            "{reported:?}"
        );
        // What has none is other, and all is the total.
        let other = format!("flowtop_group_{way}_bytes_total{{host=\"2\", kind=\"other\"}}");
        assert!(
            values_by_label(&other, "host", 1)[0].1 >= 300_000,
            "{other}"
        );
        let difference = format!(
            "flowtop_{way}_bytes_total - on (host) sum by (host) (flowtop_group_{way}_bytes_total) \
             - on (host) flowtop_group_hidden_{way}_bytes \
             - on (host) flowtop_untracked_{way}_bytes_total"
        );
        let mut balance = values_by_label(&difference, "host", 3);
        balance.sort();
        assert_eq!(balance, named(&[("0", 0), ("1", 0), ("2", 0)]));
        // What flowtop itself answers is counted too.
        let total = values_by_label(
            &format!("sum by (job) (flowtop_{way}_bytes_total)"),
            "job",
            1,
        );
        assert!(total[0].1 > truth, "{total:?} {truth}");
    }
    let harmless = values_by_label(
        "sum by (name) (flowtop_group_rx_msgs_total{name=~\"e.*\"})",
        "name",
        1,
    );
    assert_eq!(harmless[0].0, "e\"v\\\\n{}\\x1b[1m");

    // What is shipped asks for what there is.
    for expr in panels() {
        until(&expr, || query(&expr).first().map(drop));
    }
    // The kernel of a test may lack a way to see a path, which is worth a note.
    let firing = query("ALERTS{alertname!~\"FlowtopHeavySender|FlowtopUnseenPath\"}");
    assert_eq!(firing, [], "nothing is wrong here");
    let request = "GET /api/v1/rules HTTP/1.0\r\n\r\n";
    let (_, rules) = http(PROMETHEUS.parse().unwrap(), request).unwrap();
    let rules: Value = serde_json::from_str(&rules).unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 9);
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    check_metrics(&scrape(hosts[2].addr).unwrap());
}

#[test]
fn what_is_shipped_names_only_metrics_that_there_are() {
    let mut named = BTreeSet::new();
    for file in ["grafana/flowtop.json", "prometheus/flowtop.rules.yml"] {
        let text = fs::read_to_string(contrib(file)).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let is_metric = |word: &&str| word.starts_with("flowtop_") || word.starts_with("process_");
        named.extend(words.filter(is_metric).map(str::to_owned));
    }
    let known: BTreeSet<String> = METRICS
        .iter()
        .map(|metric| metric.name.to_owned())
        .collect();
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(named.len() > 10, "{named:?}");
    let rules = contrib("prometheus/flowtop.rules.yml");
    run(program("promtool").args(["check", "rules"]).arg(rules));
    let cases = contrib("prometheus/flowtop.rules.test.yml");
    run(program("promtool").args(["test", "rules"]).arg(cases));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md");
    let page = fs::read_to_string(page).unwrap();
    for name in known {
        assert!(page.contains(&name), "docs/METRICS.md does not have {name}");
    }
}
