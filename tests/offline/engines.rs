//! Recordings in the engines that contrib/fleet has recipes for, by the recipes as they are
//! shipped. The engines come from PyPI, see scripts/engines.sh; where they cannot be had, the tests
//! say so, and in CI fail.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::folder::Folder;
use crate::common::{flowtop, records};
use serde_json::{Value, json};

pub fn contrib(file: &str) -> PathBuf {
    root().join("contrib/fleet").join(file)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A Python that has the engines.
#[expect(clippy::print_stderr, reason = "a test that was left out says so")]
fn python() -> Option<PathBuf> {
    let found = Command::new(root().join("scripts/engines.sh"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if found.status.success() {
        let path = String::from_utf8(found.stdout).unwrap();
        return Some(path.trim().into());
    }
    let message = String::from_utf8_lossy(&found.stderr).into_owned();
    assert!(std::env::var_os("CI").is_none(), "{message}");
    eprintln!("\n!!! NOT TESTED: {message}");
    None
}

/// Answers of an engine, see engines.py; `None` where it cannot be had.
#[track_caller]
fn run_engine(engine: &str, args: &[&str]) -> Option<Vec<Value>> {
    let output = Command::new(python()?)
        .arg(root().join("tests/offline/engines.py"))
        .arg(engine)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{engine} {args:?}: {message}");
    Some(records(output.stdout))
}

/// The demo as another machine has it, on another day, in a container of a user.
fn as_of_web_1(recorded: &str) -> String {
    let other = recorded
        .replace("\"host\":\"demo\"", "\"host\":\"web-1\"")
        .replace("demo-backup", "nightly")
        .replace("\"time\":\"2026-11-25T", "\"time\":\"2026-11-24T")
        .replace(
            "\"uid\":0,\"user\":\"root\"",
            "\"uid\":33,\"user\":\"www-data\"",
        )
        .replace(
            "\"cgroup\":\"/\"",
            "\"cgroup\":\"/kubepods/p\",\"container\":\"c0ffee\",\"pod\":\"p0d\"",
        );
    for text in ["web-1", "nightly", "11-24T", "www-data", "c0ffee"] {
        assert!(other.contains(text), "{text}");
    }
    other
}

/// Sums of a process on a day of a host.
type Sums = BTreeMap<(String, String, String), (u64, u64)>;

/// One recording as of two machines and two days, compressed and plain.
struct Fleet {
    folder: Folder,
    truth: Sums,
    /// Bytes of all intervals, by host.
    counted: BTreeMap<String, u64>,
}

pub fn demo(output: &str) -> String {
    demo_with(&[output, "-n", "0"])
}

fn demo_with(args: &[&str]) -> String {
    let replayed = flowtop()
        .args(args)
        .arg("--replay")
        .arg(root().join("samples/demo.jsonl.zst"))
        .output()
        .unwrap();
    assert!(replayed.status.success());
    String::from_utf8(replayed.stdout).unwrap()
}

impl Fleet {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let recorded = demo("--json");
        let other = as_of_web_1(&recorded);
        fs::create_dir(folder.join("demo")).unwrap();
        fs::create_dir(folder.join("web-1")).unwrap();
        let packed = zstd::encode_all(recorded.as_bytes(), 3).unwrap();
        fs::write(folder.join("demo/a.jsonl.zst"), packed).unwrap();
        fs::write(folder.join("web-1/b.jsonl"), &other).unwrap();
        let (mut truth, mut counted) = (Sums::new(), BTreeMap::new());
        for record in records(recorded + &other) {
            let word = |field: &str| record[field].as_str().unwrap().to_owned();
            let [rx, tx] = ["rx_bytes", "tx_bytes"].map(|field| record[field].as_u64().unwrap());
            if record["type"] == "flow" {
                let day = word("time")[..10].to_owned();
                let sum = truth
                    .entry((day, word("host"), word("process")))
                    .or_default();
                *sum = (sum.0 + rx, sum.1 + tx);
            } else if record["type"] == "interval" {
                *counted.entry(word("host")).or_default() += rx + tx;
            }
        }
        assert!(truth.len() > 12, "{truth:?}");
        Self {
            folder,
            truth,
            counted,
        }
    }

    /// The files, as engines take them.
    fn files(&self) -> String {
        self.folder.file("*/*.jsonl*")
    }

    /// What the queries of duckdb.sql answer.
    fn expected(&self) -> [Value; 3] {
        let mut rows: Vec<_> = self.truth.iter().collect();
        rows.sort_by_key(|((day, host, process), (rx, tx))| {
            (day, host, std::cmp::Reverse(rx + tx), process)
        });
        let of_host = |host: &str| -> Vec<Value> {
            let rows = rows.iter().filter(|((_, of, _), _)| of == host).take(10);
            rows.map(|((day, host, process), (rx, tx))| {
                json!({"day": day, "host": host, "process": process, "rx_bytes": rx, "tx_bytes": tx})
            })
            .collect()
        };
        let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for ((_, _, process), (rx, tx)) in &self.truth {
            let sum = sums.entry(process).or_default();
            *sum = (sum.0 + 1, sum.1 + rx + tx);
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(process, (_, bytes))| (std::cmp::Reverse(*bytes), *process));
        let sums = sums.into_iter().take(10).map(
            |(process, (hosts, bytes))| json!({"process": process, "hosts": hosts, "bytes": bytes}),
        );
        [
            [of_host("web-1"), of_host("demo")].concat().into(),
            sums.collect(),
            self.trusted(),
        ]
    }

    fn trusted(&self) -> Value {
        let hosts = self.counted.iter().map(|(host, counted)| {
            json!({"host": host, "counted": counted, "untracked": 0, "missed": 0, "lacking": 0})
        });
        hosts.collect()
    }
}

fn path(file: PathBuf) -> String {
    file.into_os_string().into_string().unwrap()
}

#[test]
fn duckdb_finds_the_top_talkers_of_hosts_and_days_in_recordings_and_parquet() {
    let fleet = Fleet::new("duckdb");
    let (views, queries) = (path(contrib("records.sql")), path(contrib("duckdb.sql")));
    let files = format!("recordings={}", fleet.files());
    let Some(found) = run_engine("duckdb", &[&files, &views, &queries]) else {
        return;
    };
    assert_eq!(found, fleet.expected());
    // As the loop in parquet.sql does it, twice for one of them.
    let convert = path(contrib("parquet.sql"));
    for name in ["demo/a.jsonl.zst", "web-1/b.jsonl", "web-1/b.jsonl"] {
        let of = |what: &str, kind: &str| format!("{what}={}.{kind}", fleet.folder.file(name));
        let made = [
            format!("recordings={}", fleet.folder.file(name)),
            of("parquet", "parquet"),
            of("minutes", "minutes"),
            views.clone(),
            convert.clone(),
        ];
        run_engine("duckdb", &made.each_ref().map(String::as_str));
    }
    let on_parquet = fleet.folder.file("views.sql");
    let text = format!(
        "create temp view records as from read_parquet('{0}/*/*.parquet');\n\
         create temp view flows as from records where type = 'flow';\n\
         select sum(rx_bytes)::ubigint as rx, sum(tx_bytes)::ubigint as tx, count(distinct host) as hosts, \
         count(distinct \"user\") as users, count(distinct container) as containers \
         from read_parquet('{0}/*/*.minutes');\n",
        fleet.folder.path().display()
    );
    fs::write(&on_parquet, text).unwrap();
    let found = run_engine("duckdb", &[&on_parquet, &queries]).unwrap();
    let sum = |of: fn(&(u64, u64)) -> u64| fleet.truth.values().map(of).sum::<u64>();
    assert_eq!(
        found[0],
        json!([{"rx": sum(|s| s.0), "tx": sum(|s| s.1), "hosts": 2, "users": 2, "containers": 1}])
    );
    assert_eq!(found[1..], fleet.expected());
}

/// 100 MB of recordings: a copy of them needs more than the limit.
#[test]
fn duckdb_reads_recordings_without_a_copy_of_them() {
    let folder = Folder::new("duckdb-memory");
    let recorded = demo("--json");
    fs::write(folder.join("0.jsonl"), recorded).unwrap();
    for n in 1..60 {
        std::os::unix::fs::symlink(folder.join("0.jsonl"), folder.file(&format!("{n}.jsonl")))
            .unwrap();
    }
    let files = format!("recordings={}", folder.file("*.jsonl"));
    let sum = folder.file("sum.sql");
    fs::write(
        &sum,
        "select count(*) as n, count(distinct host) as hosts from flows;",
    )
    .unwrap();
    let args = ["memory=100MB", &files, &path(contrib("records.sql")), &sum];
    if let Some(found) = run_engine("duckdb", &args) {
        assert_eq!(found, [json!([{"n": 60 * 4565, "hosts": 1}])]);
    }
}

#[test]
fn duckdb_reads_csv_as_it_reads_json() {
    let folder = Folder::new("duckdb-csv");
    fs::write(folder.join("flows.csv"), demo("--csv")).unwrap();
    fs::write(folder.join("flows.jsonl"), demo("--json")).unwrap();
    let query = folder.file("query.sql");
    let text = "select time, host, proto, local_addr, local_port, remote_addr, remote_port, netns, pid, process, \
                uid, \"user\", cgroup, unit, container, pod, internal, rx_bytes, tx_bytes, rx_msgs, tx_msgs, \
                retransmits from flows order by all;\n";
    fs::write(&query, text).unwrap();
    let found = |file: &str, views: &str| {
        let files = format!("recordings={}", folder.file(file));
        run_engine("duckdb", &[&files, &path(contrib(views)), &query])
    };
    let Some(csv) = found("flows.csv", "csv.sql") else {
        return;
    };
    assert_eq!(csv[0].as_array().unwrap().len(), 4565);
    assert_eq!(Some(csv), found("flows.jsonl", "records.sql"));
}

/// Rows of [`engines.py`](engines.py)'s sums, with all that is asked later.
fn assert_sums(sums: &Value, truth: &Sums, rows: u64) {
    let expected = truth.iter().map(|((_, host, process), (rx, tx))| {
        let of_web = host == "web-1";
        let (user, uid) = if of_web {
            ("www-data", 33)
        } else {
            ("root", 0)
        };
        let (cgroup, container, pod) = match of_web {
            true => ("/kubepods/p", "c0ffee", "p0d"),
            false => ("/", "", ""),
        };
        json!([host, process, user, uid, cgroup, 1, container, pod, rx, tx])
    });
    let mut expected: Vec<Value> = expected.collect();
    expected.sort_by_key(|row| (row[0].to_string(), row[1].to_string()));
    let fields = [
        "host",
        "process",
        "user",
        "uid",
        "cgroup",
        "ports",
        "container",
        "pod",
        "rx",
        "tx",
    ];
    let found = sums.as_array().unwrap();
    let found_rows: Vec<Value> = found
        .iter()
        .map(|row| fields.map(|field| row[field].clone()).to_vec().into())
        .collect();
    assert_eq!(found_rows, expected);
    let count = found.iter().map(|row| row["rows"].as_u64().unwrap());
    assert_eq!(count.sum::<u64>(), rows);
    assert!(
        found
            .iter()
            .all(|row| row["proto"] == "tcp" || row["proto"] == "udp")
    );
}

#[test]
fn clickhouse_loads_recordings_twice_and_doubles_nothing() {
    let fleet = Fleet::new("clickhouse");
    let script = path(contrib("clickhouse.sql"));
    let Some(found) = run_engine("clickhouse", &[&script, &fleet.files(), "2"]) else {
        return;
    };
    let [by_host, _, again, trusted, sums] = found.as_slice() else {
        panic!("two queries, twice, and the sums, and not {found:?}")
    };
    assert_eq!(by_host, again);
    assert_eq!(*trusted, fleet.trusted());
    let [expected, ..] = fleet.expected();
    let renamed = expected
        .to_string()
        .replace("rx_bytes", "rx")
        .replace("tx_bytes", "tx");
    assert_eq!(*by_host, serde_json::from_str::<Value>(&renamed).unwrap());
    assert_sums(sums, &fleet.truth, 2 * 4565);
}

#[test]
fn vector_makes_of_lines_what_clickhouse_takes_and_drops_a_cut_line() {
    let fleet = Fleet::new("vector");
    let lines = fleet.folder.file("lines");
    let text = fs::read_to_string(fleet.folder.join("web-1/b.jsonl")).unwrap();
    let cut = &text[..300];
    fs::write(&lines, format!("{text}{cut}\n{}", demo("--json"))).unwrap();
    let (yaml, table) = (
        path(contrib("vector.yaml")),
        path(contrib("clickhouse.sql")),
    );
    let Some(found) = run_engine("vector", &[&yaml, &lines, &table]) else {
        return;
    };
    let [events, sums] = found.as_slice() else {
        panic!("events and sums, and not {found:?}")
    };
    assert_eq!(events["events"], 2 * text.lines().count());
    let failed = events["failed"].as_array().unwrap();
    assert!(
        failed.len() == 1 && failed[0].to_string().contains("parse json"),
        "{failed:?}"
    );
    assert_sums(sums, &fleet.truth, 2 * 4565);
}

#[test]
fn a_collector_of_opentelemetry_gets_every_byte_of_programs() {
    let folder = Folder::new("otlp");
    let groups = demo_with(&["--json", "-n", "0", "-g", "program"]);
    fs::write(folder.join("groups.jsonl"), &groups).unwrap();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for group in records(&groups) {
        if group["type"] != "group" {
            continue;
        }
        for (field, direction) in [("rx_bytes", "receive"), ("tx_bytes", "transmit")] {
            if let Some(bytes @ 1..) = group[field].as_u64() {
                let name = group["name"].as_str().unwrap();
                *expected
                    .entry(format!("process.network.io {name} {direction}"))
                    .or_default() += bytes;
            }
        }
    }
    let args = [path(contrib("otlp.py")), folder.file("groups.jsonl")];
    let Some(found) = run_engine("otlp", &args.each_ref().map(String::as_str)) else {
        return;
    };
    assert_eq!(found[0]["sums"], json!(expected));
    assert_eq!(found[0]["points"], found[0]["sent"]);
}

/// What Helm makes of the chart, each object of Kubernetes' own held against its schema.
fn rendered(values: &Value) -> Option<Vec<Value>> {
    let chart = path(root().join("contrib/helm/flowtop"));
    run_engine("helm", &[&chart, &values.to_string()])
}

/// A DaemonSet without its labels, of which Helm has some of its own.
fn unlabelled(mut object: Value) -> Value {
    object["metadata"]["labels"].take();
    object["spec"]["selector"].take();
    object["spec"]["template"]["metadata"]["labels"].take();
    object
}

#[test]
fn the_helm_chart_makes_the_daemon_set_and_every_value_has_its_place() {
    let Some(by_default) = rendered(&json!({})) else {
        return;
    };
    let manifest = path(root().join("contrib/kubernetes/flowtop.yaml"));
    let manifest = run_engine("kubernetes", &[&manifest]).unwrap();
    let [namespace, daemon_set] = manifest.as_slice() else {
        panic!("a namespace and a DaemonSet, and not {manifest:?}")
    };
    assert_eq!(namespace["kind"], "Namespace");
    let [made] = by_default.as_slice() else {
        panic!("a DaemonSet, and not {by_default:?}")
    };
    assert_eq!(unlabelled(made.clone()), unlabelled(daemon_set.clone()));
    let version = made["metadata"]["labels"]["app.kubernetes.io/version"].clone();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    assert_eq!(
        made["spec"]["selector"]["matchLabels"],
        made["spec"]["template"]["metadata"]["labels"]
    );

    let values = json!({
        "image": {"repository": "r.example/flowtop", "tag": "t", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "secret"}],
        "port": 9999, "group": "pod", "topN": 7, "scrapeInterval": "15s",
        "filter": "not class loopback", "extraArgs": ["--max-flows", "131072"],
        "resources": {"limits": {"memory": "256Mi"}},
        "tolerations": [], "nodeSelector": {"disk": "ssd"},
        "affinity": {"nodeAffinity": {}}, "priorityClassName": "high",
        "updateStrategy": {"type": "OnDelete"},
        "podAnnotations": {"a": "b"},
        "podMonitor": {"enabled": true, "labels": {"release": "stack"}},
    });
    let made = rendered(&values).unwrap();
    let [daemon_set, monitor] = made.as_slice() else {
        panic!("a DaemonSet and a PodMonitor, and not {made:?}")
    };
    let template = &daemon_set["spec"]["template"];
    let (pod, container) = (&template["spec"], &template["spec"]["containers"][0]);
    assert_eq!(
        container["args"],
        json!([
            "--quiet",
            "--listen",
            "$(NODE_IP):9999",
            "--group",
            "pod",
            "--top-n",
            "7",
            "--scrape-interval",
            "15s",
            "--max-flows",
            "131072",
            "not class loopback"
        ])
    );
    assert_eq!(container["image"], "r.example/flowtop:t");
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(container["ports"][0]["hostPort"], 9999);
    assert_eq!(container["ports"][0]["containerPort"], 9999);
    assert_eq!(container["resources"]["limits"]["memory"], "256Mi");
    assert_eq!(pod["imagePullSecrets"][0]["name"], "secret");
    assert_eq!(pod.get("tolerations"), None);
    assert_eq!(pod["nodeSelector"]["disk"], "ssd");
    assert_eq!(pod["affinity"], json!({"nodeAffinity": {}}));
    assert_eq!(pod["priorityClassName"], "high");
    assert_eq!(daemon_set["spec"]["updateStrategy"]["type"], "OnDelete");
    let annotations = &template["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], "9999");
    assert_eq!(annotations["a"], "b");
    assert_eq!(monitor["kind"], "PodMonitor");
    assert_eq!(monitor["metadata"]["labels"]["release"], "stack");
    let endpoint = json!([{"port": "metrics", "interval": "15s"}]);
    assert_eq!(monitor["spec"]["podMetricsEndpoints"], endpoint);
    assert_eq!(
        monitor["spec"]["selector"]["matchLabels"],
        template["metadata"]["labels"]
    );
}
