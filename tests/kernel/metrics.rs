//! `--listen` with the real binary: three machines, each a network namespace, a real Prometheus that
//! scrapes them, and questions to it whose answers the traffic's makers know; clients that are slow or
//! mean no good; what is shipped beside it. Needs root, as all of `make test` does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on stops there"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _, stdin};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common;
use crate::common::counting::Flowtop;
use crate::common::folder::Folder;
use flowtop::output::metrics::METRICS;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use serde_json::Value;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);
const PROMETHEUS: &str = "127.0.0.1:9090";

/// A process that is told to end when dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {printed}");
}

fn flowtop(args: &[&str]) -> Command {
    let mut command = common::flowtop();
    command.args(args);
    command
}

/// A network namespace.
#[derive(Clone)]
struct Netns(Arc<File>);

impl Netns {
    /// Of the calling thread.
    fn current() -> Self {
        Self(Arc::new(File::open("/proc/thread-self/ns/net").unwrap()))
    }

    fn new() -> Self {
        let made = thread::spawn(|| {
            unshare_net();
            Self::current()
        });
        made.join().unwrap()
    }

    /// Runs something on a thread in it.
    fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let act = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&*self.0), kind).unwrap();
            act()
        };
        thread::scope(|scope| scope.spawn(act).join().unwrap())
    }

    fn inode(&self) -> u64 {
        self.0.metadata().unwrap().ino()
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Makes a command run in it.
    fn around<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let netns = self.clone();
        let enter = move || {
            let kind = Some(LinkNameSpaceType::Network);
            Ok(move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&*netns.0),
                kind,
            )?)
        };
        // SAFETY: between fork and exec only a system call is made.
        unsafe { command.pre_exec(enter) }
    }
}

fn unshare_net() {
    // SAFETY: of the flags, only FILES is unsafe to unshare, and it is not among these.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("make a network: run as root");
}

fn ip(netns: &Netns, args: &str) {
    run(netns.around(program("ip").args(args.split(' '))));
}

/// A machine of the fleet, with a flowtop that counts what is in its namespace.
struct Host {
    netns: Netns,
    addr: SocketAddr,
    _flowtop: Running,
}

impl Host {
    fn new(hub: &Netns, n: usize, args: &[&str]) -> Self {
        let netns = Netns::new();
        let (link, addr) = (format!("host{n}"), format!("198.18.{n}.2:9435"));
        ip(
            hub,
            &format!(
                "link add {link} type veth peer name uplink netns {}",
                netns.path()
            ),
        );
        ip(hub, &format!("addr add 198.18.{n}.1/30 dev {link}"));
        ip(hub, &format!("link set {link} up"));
        ip(&netns, &format!("addr add 198.18.{n}.2/30 dev uplink"));
        ip(&netns, "link set uplink up");
        ip(&netns, "link set lo up");
        let filter = format!("netns {}", netns.inode());
        let mut command = flowtop(&["--quiet", "-i", "100ms", "--max-flows", "1024"]);
        command
            .args(["--listen", "0.0.0.0:9435"])
            .args(args)
            .arg(filter);
        let flowtop = Running::start(netns.around(&mut command));
        let addr = addr.parse().unwrap();
        until("flowtop counts", || {
            value(&scrape(addr)?, "flowtop_intervals_total")?
                .gt(&0.0)
                .then_some(())
        });
        Self {
            netns,
            addr,
            _flowtop: flowtop,
        }
    }
}

/// Waits until there is an answer.
#[track_caller]
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "it takes too long until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The answer to an HTTP request, head and body; none where nobody is there.
fn http(addr: SocketAddr, request: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.to_owned(), body.to_owned()))
}

fn scrape(addr: SocketAddr) -> Option<String> {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let (head, body) = http(addr, &request)?;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    Some(body)
}

/// The value of a sample, named with its labels as it is written.
fn value(page: &str, sample: &str) -> Option<f64> {
    let mut lines = page.lines();
    let line = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line?.parse().ok()
}

/// Asks Prometheus: labels and value of every answer.
#[track_caller]
fn ask(query: &str) -> Vec<(Value, f64)> {
    let mut encoded = String::new();
    for byte in query.bytes() {
        encoded += &format!("%{byte:02x}");
    }
    let request = format!("GET /api/v1/query?query={encoded} HTTP/1.0\r\n\r\n");
    let (_, body) = http(PROMETHEUS.parse().unwrap(), &request).unwrap();
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    let answers = answer["data"]["result"].as_array().unwrap().iter();
    let answers = answers.map(|answer| {
        let value = answer["value"][1].as_str().unwrap();
        (answer["metric"].clone(), value.parse().unwrap())
    });
    answers.collect()
}

/// The same, of so many answers or more, as label and value in the order of the answer. Where a scrape
/// took too long on a busy machine, an answer is there again after the next.
#[track_caller]
fn answers(query: &str, label: &str, least: usize) -> Vec<(String, u64)> {
    let answers = until(query, || Some(ask(query)).filter(|all| all.len() >= least));
    let named = answers.into_iter();
    named
        .map(|(labels, value)| (labels[label].as_str().unwrap().to_owned(), value as u64))
        .collect()
}

/// A process that sends itself as many bytes as it is told to.
struct Talker {
    child: Child,
    orders: ChildStdin,
    printed: BufReader<ChildStdout>,
}

impl Talker {
    /// With any name that a file can have: it is a link to this test, see [`talk`].
    fn start(folder: &Folder, netns: &Netns, name: &str) -> Self {
        let path = folder.join(name);
        if !path.exists() {
            symlink(std::env::current_exe().unwrap(), &path).unwrap();
        }
        let mut command = Command::new(path);
        command
            .args(["metrics::talk", "--exact", "--ignored", "--nocapture"])
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
    fn send(&mut self, bytes: u64) {
        writeln!(self.orders, "{bytes}").unwrap();
        let wanted = format!("moved {bytes}\n");
        let mut line = String::new();
        while !line.ends_with(&wanted) {
            line.clear();
            assert!(self.printed.read_line(&mut line).unwrap() > 0, "it ended");
        }
    }

    fn end(mut self) {
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
    let hosts: Vec<Host> = (0..3).map(|n| Host::new(hub, n, &["-n", "4"])).collect();
    let targets = hosts.iter().enumerate().map(|(n, host)| {
        format!(
            "  - targets: [\"{}\"]\n    labels: {{host: \"{n}\"}}\n",
            host.addr
        )
    });
    let targets: String = targets.collect();
    let config = format!(
        "global:\n scrape_interval: 1s\n scrape_timeout: 1s\n evaluation_interval: 500ms\n\
         rule_files: [\"{}\"]\nscrape_configs:\n- job_name: flowtop\n  static_configs:\n{targets}",
        contrib("prometheus/flowtop.rules.yml").display()
    );
    let file = folder.join("prometheus.yml");
    fs::write(&file, config).unwrap();
    let _prometheus = Running::start(
        hub.around(&mut program("prometheus"))
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={PROMETHEUS}"))
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("log")).unwrap()),
    );
    let prometheus = PROMETHEUS.parse().unwrap();
    until("Prometheus is ready", || {
        let (head, _) = http(prometheus, "GET /-/ready HTTP/1.0\r\n\r\n")?;
        head.contains(" 200 ").then_some(())
    });
    until("all are scraped twice", || {
        ask("count(count_over_time(flowtop_rx_bytes_total[1m]) > 1) == 3")
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
    until("Prometheus has all", || ask(&all).first().map(drop));
    for way in ["rx", "tx"] {
        // Over all hosts.
        let named = |list: &[(&str, u64)]| -> Vec<(String, u64)> {
            list.iter()
                .map(|(name, n)| ((*name).to_owned(), *n))
                .collect()
        };
        let top = format!("topk(4, sum by (name) ({}))", gained(way));
        assert_eq!(
            answers(&top, "name", 4),
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
        let names = answers(&usual, "name", 4).into_iter().map(|(name, _)| name);
        let names: BTreeSet<String> = names.collect();
        assert_eq!(
            names.iter().collect::<Vec<_>>(),
            ["backup", "camera", "replica", "web"]
        );
        // By host.
        let by_host = format!("sort_desc(topk by (host) (1, {}))", gained(way));
        let by_host: Vec<_> = ask(&by_host)
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
        let reported: Vec<String> = answers(&series, "name", 4)
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
        assert!(answers(&other, "host", 1)[0].1 >= 300_000, "{other}");
        let difference = format!(
            "flowtop_{way}_bytes_total - on (host) sum by (host) (flowtop_group_{way}_bytes_total) \
             - on (host) flowtop_group_hidden_{way}_bytes \
             - on (host) flowtop_untracked_{way}_bytes_total"
        );
        let mut balance = answers(&difference, "host", 3);
        balance.sort();
        assert_eq!(balance, named(&[("0", 0), ("1", 0), ("2", 0)]));
        // What flowtop itself answers is counted too.
        let total = answers(
            &format!("sum by (job) (flowtop_{way}_bytes_total)"),
            "job",
            1,
        );
        assert!(total[0].1 > truth, "{total:?} {truth}");
    }
    let harmless = answers(
        "sum by (name) (flowtop_group_rx_msgs_total{name=~\"e.*\"})",
        "name",
        1,
    );
    assert_eq!(harmless[0].0, "e\"v\\\\n{}\\x1b[1m");

    // What is shipped asks for what there is.
    for expr in panels() {
        until(&expr, || ask(&expr).first().map(drop));
    }
    let firing = ask("ALERTS{alertname!=\"FlowtopHeavySender\"}");
    assert_eq!(firing, [], "nothing is wrong here");
    let request = "GET /api/v1/rules HTTP/1.0\r\n\r\n";
    let (_, rules) = http(prometheus, request).unwrap();
    let rules: Value = serde_json::from_str(&rules).unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 5);
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    check_metrics(&scrape(hosts[2].addr).unwrap());
}

/// What promtool thinks of a page.
#[track_caller]
fn check_metrics(page: &str) {
    let mut promtool = program("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run promtool: make deps-test installs it");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && printed.is_empty(),
        "{printed}\n{page}"
    );
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
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md");
    let page = fs::read_to_string(page).unwrap();
    for name in known {
        assert!(page.contains(&name), "docs/METRICS.md does not have {name}");
    }
}

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn metrics_are_the_sums_of_what_is_written_beside_them() {
    let addr = free_port();
    // What is written is joined where its writer is late by an interval, what is counted for the page
    // is not: so these are long.
    let port = addr.port().to_string();
    let mut flowtop = Flowtop::every("500ms", &["--listen", &port, "-g", "user"]);
    let mut records = flowtop.await_intervals(2);
    let page = scrape(addr).unwrap();
    let intervals = value(&page, "flowtop_intervals_total").unwrap() as usize;
    records.extend(flowtop.await_intervals(2));
    // A series that is new in the second scrape begins at 0 there.
    scrape(addr).unwrap();
    records.extend(flowtop.await_intervals(2));
    let later = scrape(addr).unwrap();
    records.extend(flowtop.stop());
    assert!(TcpStream::connect(addr).is_err(), "it ended");

    // `start` has read one interval.
    let of = |page: &str| value(page, "flowtop_intervals_total").unwrap() as usize - 1;
    assert!(intervals >= 3 && of(&later) > of(&page), "{page}");
    let ended: Vec<&Value> = records
        .iter()
        .filter(|record| record["type"] == "interval")
        .collect();
    for field in ["rx_bytes", "tx_bytes"] {
        let sample = format!("flowtop_{field}_total");
        let sum = |page: &str| -> u64 {
            let ended = ended[..of(page)].iter();
            ended.map(|record| record[field].as_u64().unwrap()).sum()
        };
        let moved = value(&later, &sample).unwrap() - value(&page, &sample).unwrap();
        assert_eq!(moved as u64, sum(&later) - sum(&page), "{field}");
        assert!(moved > 0.0, "at least the scrape was counted");
    }
    let user = r#"flowtop_group_tx_bytes_total{kind="user",name="root"}"#;
    assert!(value(&later, user) > Some(0.0), "{later}");
    check_metrics(&later);
}

#[test]
fn clients_that_are_slow_or_mean_no_good_hurt_nobody() {
    let addr = free_port();
    let port = addr.port().to_string();
    let _flowtop =
        Running::start(flowtop(&["-q", "-i", "50ms", "--listen", &port]).stderr(Stdio::null()));
    let intervals = || value(&scrape(addr)?, "flowtop_intervals_total");
    let before = until("it counts", intervals);
    let mut held = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(addr).unwrap();
        match n % 4 {
            0 => {}
            1 => stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").unwrap(),
            2 => drop(stream.write_all(&[b'x'; 20_000])),
            // Never reads what it asks for.
            _ => stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .unwrap(),
        }
        held.push(stream);
    }
    for (request, status) in [
        ("\0\u{1}\u{2}\r\n\r\n", "400"),
        ("DELETE /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "405"),
        ("GET /etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "200"),
        ("GET /metrics HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.0\r\n\r\n", "200"),
    ] {
        let (head, _) = http(addr, request).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    until("it goes on counting", || {
        (intervals()? > before + 3.0).then_some(())
    });
    let accept = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\
                  Accept: application/openmetrics-text\r\n\r\n";
    let (head, body) = http(addr, accept).unwrap();
    assert!(
        head.contains("application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(body.ends_with("\n# EOF\n"));
    // Whoever came first made way.
    held[0].set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(!matches!(held[0].read(&mut [0]), Ok(1..)));
    drop(held);
}

#[test]
fn what_cannot_be_listened_at_is_said_before_anything_is_counted() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for (listen, code, printed) in [
        (addr.as_str(), 1, "another program listens there"),
        ("192.0.2.1:9435", 1, "name an address of this machine"),
        ("web:9435", 2, "give a port, as in 9435"),
        ("::9435", 2, ":9435 for every address"),
    ] {
        let output = flowtop(&["-q", "-c", "1", "--listen", listen])
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains(printed), "{message}");
    }
    let output = flowtop(&["-q", "-c", "2", "-i", "50ms", "--listen", "0"])
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
}

/// Status code of `/metrics`, asked for by a target and fields.
fn status(addr: SocketAddr, target: &str, fields: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\n{fields}\r\n");
    let (head, body) = http(addr, &request).unwrap();
    let status = head.split(' ').nth(1).unwrap().to_owned();
    if status == "421" {
        assert!(body.contains("ask by its address"), "{body}");
    }
    status
}

#[test]
fn a_page_of_another_site_cannot_read_metrics_and_a_scraper_calls_the_machine_as_it_likes() {
    unshare_net();
    let hub = Netns::current();
    let host = Host::new(&hub, 9, &[]);
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_str().unwrap();
    let browser = "User-Agent: Mozilla/5.0\r\nAccept-Language: en\r\n";
    let scraper = "User-Agent: Prometheus/3.5.0\r\nAccept: text/plain;q=0.5\r\n";
    let (network, loopback) = (host.addr, SocketAddr::from(([127, 0, 0, 1], 9435)));
    for (from, addr, name, fields, expected) in [
        (&hub, network, "web.internal", scraper, "200"),
        (&hub, network, "evil.example", browser, "421"),
        (&hub, network, &network.ip().to_string(), browser, "200"),
        (&host.netns, loopback, "evil.example", scraper, "421"),
        (&host.netns, loopback, "evil.example", browser, "421"),
        (&host.netns, loopback, "localhost", browser, "200"),
        (&host.netns, loopback, machine, browser, "200"),
        (
            &host.netns,
            loopback,
            &format!("{machine}.internal"),
            scraper,
            "200",
        ),
    ] {
        let ask = || {
            let by_field = format!("Host: {name}:9435\r\n{fields}");
            // RFC 9112, 3.2.2: the target counts, and the field does not.
            let target = format!("http://{name}:9435/metrics");
            let by_target = format!("Host: localhost\r\n{fields}");
            [
                status(addr, "/metrics", &by_field),
                status(addr, &target, &by_target),
            ]
        };
        assert_eq!(
            from.within(ask),
            [expected; 2],
            "{addr} as {name}: {fields}"
        );
    }
}

#[test]
fn a_port_of_every_address_is_reached_by_ipv4_and_ipv6() {
    for listen in [":9435", "*:9435"] {
        let netns = Netns::new();
        ip(&netns, "link set lo up");
        let sysctl = "echo 1 >/proc/sys/net/ipv6/bindv6only";
        run(netns.around(program("sh").args(["-c", sysctl])));
        let mut command = flowtop(&[
            "-q",
            "-i",
            "100ms",
            "--max-flows",
            "1024",
            "--listen",
            listen,
        ]);
        let _flowtop = Running::start(netns.around(&mut command));
        netns.within(|| {
            for addr in ["127.0.0.1:9435", "[::1]:9435"] {
                until("metrics are served", || scrape(addr.parse().unwrap()));
            }
        });
    }
}

#[test]
fn a_port_of_every_address_is_reached_where_the_kernel_has_no_ipv6() {
    let addr = free_port();
    let listen = format!(":{}", addr.port());
    let mut command = flowtop(&[
        "-q",
        "-i",
        "100ms",
        "--max-flows",
        "1024",
        "--listen",
        &listen,
    ]);
    let _flowtop = Running::start(without_ipv6(&mut command));
    until("metrics are served", || scrape(addr));
}

/// Makes a command run as on a kernel without IPv6, which makes no socket of it.
fn without_ipv6(command: &mut Command) -> &mut Command {
    let inet6 = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        libc::AF_INET6 as u64,
    )
    .unwrap();
    let rules = BTreeMap::from([(
        libc::SYS_socket,
        vec![SeccompRule::new(vec![inet6]).unwrap()],
    )]);
    let (allow, refuse) = (
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EAFNOSUPPORT as u32),
    );
    let filter = SeccompFilter::new(
        rules,
        allow,
        refuse,
        std::env::consts::ARCH.try_into().unwrap(),
    )
    .unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    let confine = move || seccompiler::apply_filter(&program).map_err(|_| ErrorKind::Other.into());
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(confine) }
}
