//! Whose bytes they are, on this machine's own kernel: containers by the cgroups that their engines
//! make, processes that become others, threads told apart. Needs root, as all of `make test` does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::common::counting::{Flowtop, traffic_program};
use rustix::thread::gettid;
use serde_json::Value;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef01234567";

/// A listener that takes every connection and reads it to its end.
struct Sink {
    addr: SocketAddr,
    listener: TcpListener,
}

impl Sink {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        Self { addr, listener }
    }

    /// The next connection's bytes.
    fn take(&self) -> usize {
        let mut all = Vec::new();
        let mut stream = self.listener.accept().unwrap().0;
        stream.read_to_end(&mut all).unwrap()
    }

    /// `traffic send` to here, not waited for.
    fn sender(&self, bytes: usize, args: &[&str]) -> Child {
        Command::new(traffic_program())
            .args(["send", &self.addr.to_string(), &bytes.to_string()])
            .args(args)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// The same, gone when this returns.
    fn sent(&self, bytes: usize, args: &[&str]) {
        let mut child = self.sender(bytes, args);
        assert_eq!(self.take(), bytes);
        assert!(child.wait().unwrap().success());
    }

    /// What was sent to here, of the flow records.
    fn flows<'a>(&self, records: &'a [Value]) -> Vec<&'a Value> {
        let port = self.addr.port();
        let sent = |flow: &&Value| {
            flow["type"] == "flow"
                && flow["remote_port"] == port
                && flow["remote_addr"] == "127.0.0.1"
        };
        records.iter().filter(sent).collect()
    }
}

fn bytes(flow: &Value) -> u64 {
    flow["tx_bytes"].as_u64().unwrap()
}

/// Where a hierarchy of cgroups is mounted: the first that `is` takes, of file system type and
/// options.
fn hierarchy(is: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let found = mounts.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let options = system.split(' ').nth(2)?;
        is(system.split(' ').next()?, options).then(|| mount.split(' ').nth(4))?
    });
    found.map(PathBuf::from)
}

/// How many tests' cgroups use each directory that a test made: tests run side by side, and the
/// last one removes it.
static USERS: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());

/// Cgroups that are removed when dropped, with every parent that no other test uses.
struct Cgroups {
    root: PathBuf,
    made: Vec<PathBuf>,
}

impl Cgroups {
    fn v2() -> Self {
        Self::below(hierarchy(|system, _| system == "cgroup2").unwrap())
    }

    /// On hosts where the pids controller is a hierarchy of its own.
    fn pids() -> Option<Self> {
        let pids = |options: &str| options.split(',').any(|option| option == "pids");
        hierarchy(|system, options| system == "cgroup" && pids(options)).map(Self::below)
    }

    const fn below(root: PathBuf) -> Self {
        let made = Vec::new();
        Self { root, made }
    }

    /// Makes a cgroup by its path; returns its directory.
    fn make(&mut self, path: &str) -> String {
        let mut dir = self.root.clone();
        let mut users = USERS.lock().unwrap();
        for part in Path::new(path.trim_start_matches('/')) {
            dir.push(part);
            if !users.contains_key(&dir) {
                if dir.exists() {
                    continue;
                }
                fs::create_dir(&dir).unwrap();
            }
            *users.entry(dir.clone()).or_default() += 1;
            self.made.push(dir.clone());
        }
        dir.to_str().unwrap().to_owned()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        for dir in self.made.iter().rev() {
            let left = users.get_mut(dir).unwrap();
            *left -= 1;
            if *left > 0 {
                continue;
            }
            users.remove(dir);
            if let Err(err) = fs::remove_dir(dir)
                && !thread::panicking()
            {
                panic!("{}: {err}", dir.display());
            }
        }
    }
}

/// As the engines write them; the last digits of an id are appended.
fn places() -> Vec<String> {
    let pod = "pod0a1b2c3d_4e5f_6789_abcd_ef0123456789";
    let slice = format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-{pod}.slice");
    let kind = format!("docker/{ID}0000000a/kubelet.slice/kubelet-{slice}");
    [
        format!("/docker/{ID}00000001"),
        format!("/system.slice/docker-{ID}00000002.scope"),
        format!("/machine.slice/libpod-{ID}00000003.scope/container"),
        format!("/libpod_parent/libpod-{ID}00000004"),
        format!("/default/{ID}00000005"),
        format!("/{slice}/cri-containerd-{ID}00000006.scope"),
        format!("/{slice}/crio-{ID}00000007.scope"),
        format!("/kubepods/besteffort/pod0a1b2c3d-4e5f-6789-abcd-ef0123456789/{ID}00000008"),
        format!("/{kind}/cri-containerd-{ID}00000009.scope"),
        "/lxc.payload.web".to_owned(),
        "/system.slice/flowtop-test.service".to_owned(),
        r"/system.slice/system-flowtop\x2dtest.slice/flowtop-test@1.service".to_owned(),
    ]
    .into()
}

/// Two processes in every place, all of them and their cgroups gone before the interval ends.
fn containers_are_exact(mut cgroups: Cgroups) {
    let sink = Sink::new();
    let flowtop = Flowtop::in_one_interval(&[]);
    let places = places();
    for (n, place) in places.iter().enumerate() {
        let dir = cgroups.make(place);
        sink.sent(1000 + n, &["--cgroup", &dir]);
        sink.sent(20_000 * (n + 1), &["--cgroup", &dir]);
    }
    drop(cgroups);
    let records = flowtop.stop();
    let flows = sink.flows(&records);
    assert_eq!(flows.len(), places.len() * 2, "a flow was cut in two");
    for (n, place) in places.iter().enumerate() {
        let here = flows.iter().filter(|flow| flow["cgroup"] == *place);
        let sum: u64 = here.map(|flow| bytes(flow)).sum();
        let expected = 1000 + n + 20_000 * (n + 1);
        assert_eq!(sum, expected as u64, "{place} in {flows:#?}");
    }
}

#[test]
fn containers_that_are_gone_are_exact_by_cgroup_v2() {
    containers_are_exact(Cgroups::v2());
}

#[test]
fn containers_that_are_gone_are_exact_by_the_pids_controller_of_v1() {
    // Only where there is such a hierarchy; tests/vm/hybrid.sh makes one.
    if let Some(pids) = Cgroups::pids() {
        containers_are_exact(pids);
    }
}

/// A name is whole up to the longest that there is, and where the path itself is too long the part
/// that is nearest to the root is left out, and said to be.
#[test]
fn the_longest_names_of_cgroups_are_whole() {
    let mut cgroups = Cgroups::v2();
    let pod = "pod0a1b2c3d_4e5f_6789_abcd_ef0123456789";
    let burstable = format!("kubepods-burstable-{pod}.slice:cri-containerd:{ID}000000a1");
    let unit = format!("{}.service", "u".repeat(247));
    let long = ["x", "y", "z", "v", "w"]
        .map(|letter| letter.repeat(255))
        .join("/");
    let deep = "/deep".repeat(20);
    let paths = [
        format!("/flowtop.slice/containerd.service/{burstable}"),
        format!("/flowtop.slice/{unit}"),
        format!("/flowtop.slice/{long}"),
        format!("/flowtop.service{deep}"),
    ];
    let sink = Sink::new();
    let flowtop = Flowtop::in_one_interval(&[]);
    for (n, path) in paths.iter().enumerate() {
        let dir = cgroups.make(path);
        sink.sent(500 + n, &["--cgroup", &dir]);
    }
    drop(cgroups);
    let records = flowtop.stop();
    let flow = |n: u64| {
        let flows = sink.flows(&records);
        let found = flows.into_iter().find(|flow| bytes(flow) == 500 + n);
        found.unwrap().clone()
    };
    let id = format!("{ID}000000a1");
    let first = flow(0);
    assert_eq!(first["cgroup"], paths[0]);
    assert_eq!(
        (&first["container"], &first["container_runtime"]),
        (&id.into(), &"containerd".into())
    );
    assert_eq!(first["pod"], "0a1b2c3d-4e5f-6789-abcd-ef0123456789");
    assert_eq!(
        (&flow(1)["cgroup"], &flow(1)["unit"]),
        (&paths[1].clone().into(), &unit.into())
    );
    // Five names of 255 bytes and one of 13 do not fit into 1280.
    assert_eq!(flow(2)["cgroup"], format!("/…/{long}"));
    assert_eq!(flow(3)["cgroup"], format!("/…{}", "/deep".repeat(16)));
    assert_eq!((flow(2).get("unit"), flow(3).get("unit")), (None, None));
}

/// A user may name cgroups below the user's own service manager as containers and units of the
/// system.
#[test]
fn names_that_a_user_chose_never_join_those_of_the_system() {
    let mut cgroups = Cgroups::v2();
    let container = format!("docker-{ID}000000f1.scope");
    let names = [container.as_str(), "nginx.service", "lxc.payload.db"];
    let sink = Sink::new();
    let user = "user.slice/user-61234.slice/user@61234.service/app.slice";
    let filter = format!("remote port {}", sink.addr.port());
    let only = format!("{filter} and unit nginx");
    let by = ["container", "unit"].map(|group| Flowtop::in_one_interval(&["-g", group, &filter]));
    let nginx = Flowtop::in_one_interval(&[&only]);
    for name in names {
        for (above, bytes) in [("flowtop.slice", 10), (user, 700)] {
            let dir = cgroups.make(&format!("/{above}/{name}"));
            sink.sent(bytes, &["--cgroup", &dir]);
        }
    }
    drop(cgroups);
    let records = nginx.stop();
    let flows: Vec<u64> = sink.flows(&records).into_iter().map(bytes).collect();
    assert_eq!(flows, [10]);
    let [containers, units] = by.map(|flowtop| {
        let rows = flowtop.stop();
        let rows = rows.into_iter().filter(|row| row["type"] == "group");
        rows.map(|row| (row["name"].as_str().unwrap().to_owned(), bytes(&row)))
            .collect::<BTreeMap<_, _>>()
    });
    let docker = "docker:0123456789ab";
    for (name, bytes) in [
        (docker, 10),
        ("lxc:db", 10),
        (&format!("{docker} of uid 61234"), 700),
        ("lxc:db of uid 61234", 700),
        ("no container", 710),
    ] {
        assert_eq!(
            containers.get(name),
            Some(&bytes),
            "{name} in {containers:?}"
        );
    }
    assert_eq!(units.get("nginx.service"), Some(&10), "{units:?}");
    // The user's containers are below the user's manager too.
    assert_eq!(units.get("user@61234.service"), Some(&2100), "{units:?}");
}

/// The kernel side keeps 1024 cgroups an interval, and with that `--max-flows` as many processes.
/// Of what found no room the number is told, and it is that of the processes whose flows are
/// without it.
#[test]
fn processes_and_cgroups_that_found_no_room_are_counted() {
    let mut cgroups = Cgroups::pids().unwrap_or_else(Cgroups::v2);
    let dirs: Vec<String> = (0..1200)
        .map(|n| cgroups.make(&format!("/many.slice/unit-{n}.service")))
        .collect();
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = receiver.local_addr().unwrap().port();
    let usual = Flowtop::in_one_interval(&[]);
    let small = Flowtop::in_one_interval(&["--max-flows", "4096"]);
    // A process each: bash needs no other program for these.
    let script = "for dir; do (echo 0 >$dir/cgroup.procs; echo >/dev/udp/127.0.0.1/$PORT); done";
    let status = Command::new("bash")
        .args(["-c", script, "bash"])
        .args(&dirs)
        .env("PORT", port.to_string())
        .status()
        .unwrap();
    assert!(status.success());
    let (usual, small) = (usual.stop(), small.stop());
    drop(cgroups);
    for records in [&usual, &small] {
        let mine = records.iter().filter(|flow| flow["remote_port"] == port);
        assert_eq!(mine.map(bytes).sum::<u64>(), 1200);
    }
    let (processes, unplaced) = unknown(&usual);
    assert_eq!(processes, 0);
    assert!((176..1200).contains(&unplaced), "{unplaced} of 1200");
    let (processes, _) = unknown(&small);
    assert!((176..1200).contains(&processes), "{processes} of 1200");
}

/// Processes of which nothing is known and those without a cgroup, as told in all intervals; held
/// against the flows of each.
fn unknown(records: &[Value]) -> (u64, u64) {
    let mut sums = (0, 0);
    let first = records
        .iter()
        .position(|record| record["type"] == "interval");
    let records = &records[first.unwrap()..];
    for interval in records.chunk_by(|_, next| next["type"] != "interval") {
        let (head, flows) = interval.split_first().unwrap();
        assert_eq!(head["type"], "interval");
        let reported = |name: &str| {
            head.get(name)
                .map_or(0, |reported| reported.as_u64().unwrap())
        };
        let reported = (reported("unknown_processes"), reported("unknown_cgroups"));
        let processes = |is: &dyn Fn(&Value) -> bool| {
            let flows = flows.iter().filter(|flow| flow["type"] == "flow");
            let pids = flows
                .filter(|flow| is(flow))
                .map(|flow| flow["pid"].as_u64());
            pids.collect::<BTreeSet<_>>().len() as u64
        };
        let has = |flow: &Value, field: &str| flow.get(field).is_some();
        let nameless = processes(&|flow| !has(flow, "uid"));
        let unplaced = processes(&|flow| has(flow, "uid") && !has(flow, "cgroup"));
        assert_eq!(reported, (nameless, unplaced));
        sums = (sums.0 + reported.0, sums.1 + reported.1);
    }
    sums
}

/// What a person would ask: two containers side by side, each with its own bytes, to the byte.
#[test]
fn two_containers_side_by_side_are_two_groups() {
    let mut cgroups = Cgroups::pids().unwrap_or_else(Cgroups::v2);
    let sink = Sink::new();
    let filter = format!("remote port {}", sink.addr.port());
    let flowtop = Flowtop::in_one_interval(&["-g", "container", &filter]);
    let ids = [format!("{ID}0000001a"), format!("{ID}0000001b")];
    let dirs = [
        cgroups.make(&format!("/docker/{}", ids[0])),
        cgroups.make(&format!("/system.slice/docker-{}.scope", ids[1])),
    ];
    for round in 1..=3 {
        sink.sent(70_000 * round, &["--cgroup", &dirs[0]]);
        sink.sent(1234 * round, &["--cgroup", &dirs[1]]);
    }
    sink.sent(77, &[]);
    drop(cgroups);
    let records = flowtop.stop();
    let groups = || records.iter().filter(|record| record["type"] == "group");
    let sum = |is: &dyn Fn(&Value) -> bool| -> u64 { groups().filter(|g| is(g)).map(bytes).sum() };
    assert_eq!(sum(&|group| group["container"] == ids[0]), 420_000);
    assert_eq!(sum(&|group| group["container"] == ids[1]), 7404);
    assert_eq!(sum(&|group| group.get("container").is_none()), 77);
    let total = records.iter().filter(|record| record["type"] == "interval");
    assert_eq!(sum(&|_| true), total.map(bytes).sum::<u64>());
}

/// The v1 group says more than that of v2, unless it is the root.
#[test]
fn on_a_hybrid_host_the_container_goes_before_the_unit() {
    let Some(mut pids) = Cgroups::pids() else {
        return;
    };
    let mut v2 = Cgroups::v2();
    let sink = Sink::new();
    let flowtop = Flowtop::start(&[]);
    let place = format!("/docker/{ID}000000ff");
    let (container, unit) = (pids.make(&place), v2.make("/flowtop-hybrid.service"));
    sink.sent(500, &["--cgroup", &container, "--cgroup", &unit]);
    sink.sent(600, &["--cgroup", &unit]);
    let records = flowtop.stop();
    let mut seen: Vec<_> = sink
        .flows(&records)
        .iter()
        .map(|flow| (bytes(flow), &flow["cgroup"]))
        .collect();
    seen.sort_by_key(|(bytes, _)| *bytes);
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[0].0, seen[0].1), (500, &Value::from(place)));
    assert_eq!(
        (seen[1].0, seen[1].1),
        (600, &Value::from("/flowtop-hybrid.service"))
    );
}

/// One number, two processes, one after the other: each interval tells of its own.
#[test]
fn a_pid_used_again_is_another_process() {
    let sink = Sink::new();
    let mut flowtop = Flowtop::start(&[]);
    let mut probe = Command::new("true").spawn().unwrap();
    let pid = probe.id();
    probe.wait().unwrap();
    let number = pid.to_string();
    let mut records = Vec::new();
    for (bytes, comm, uid) in [
        (700, "first-of-two", "65534"),
        (800, "second-of-two", "1234"),
    ] {
        sink.sent(bytes, &["--pid", &number, "--comm", comm, "--uid", uid]);
        // Two, so that the next is in an interval of its own.
        records.extend(flowtop.await_intervals(2));
    }
    records.extend(flowtop.stop());
    let facts: Vec<_> = sink
        .flows(&records)
        .iter()
        .map(|flow| {
            let comm = flow["process"].as_str().unwrap();
            (
                bytes(flow),
                flow["pid"] == pid,
                comm,
                flow["uid"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        (700, true, "first-of-two", 65534),
        (800, true, "second-of-two", 1234),
    ];
    assert_eq!(facts, expected);
}

#[test]
fn exec_is_seen_in_the_next_interval() {
    let sink = Sink::new();
    let mut flowtop = Flowtop::start(&[]);
    let mut child = sink.sender(300, &["--comm", "before", "--exec", "400"]);
    // The program's own connection ends with it, by exec.
    let mut first = sink.listener.accept().unwrap().0;
    first.read_exact(&mut [0; 300]).unwrap();
    let mut records = flowtop.await_intervals(2);
    child.stdin.take().unwrap().write_all(b"x").unwrap();
    assert_eq!(sink.take(), 400);
    assert!(child.wait().unwrap().success());
    records.extend(flowtop.stop());
    let flows = sink.flows(&records);
    let facts: Vec<_> = flows
        .iter()
        .map(|flow| {
            (
                bytes(flow),
                flow["pid"].as_u64().unwrap(),
                flow["process"].as_str().unwrap(),
            )
        })
        .collect();
    let pid = u64::from(child.id());
    assert_eq!(facts, [(300, pid, "before"), (400, pid, "traffic")]);
}

/// What a filter leaves to user space it needs to know: then the kernel tells threads apart.
#[test]
fn two_threads_on_one_socket_are_two_flows_where_a_filter_asks_for_threads() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let filter = format!("tid 4194304 or remote port {port}");
    let flowtop = Flowtop::in_one_interval(&[&filter]);
    let plain = Flowtop::in_one_interval(&[&format!("remote port {port}")]);
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut server = listener.accept().unwrap().0;
    let mut expected = Vec::new();
    for (name, bytes) in [("writer-one", 1000), ("writer-two", 250)] {
        let mut client = client.try_clone().unwrap();
        let writer = thread::Builder::new().name(name.to_owned()).spawn(move || {
            for _ in 0..4 {
                client.write_all(&vec![7; bytes]).unwrap();
            }
            gettid().as_raw_nonzero().get()
        });
        let tid = writer.unwrap().join().unwrap();
        server.read_exact(&mut vec![0; bytes * 4]).unwrap();
        expected.push((bytes as u64 * 4, tid as u64, name.to_owned()));
    }
    let mine = |records: &[Value]| {
        let me = std::process::id();
        let flows = records
            .iter()
            .filter(|record| record["type"] == "flow" && record["pid"] == me);
        flows.cloned().collect::<Vec<_>>()
    };
    let comm = fs::read_to_string("/proc/self/comm").unwrap();
    let mut seen: Vec<(u64, u64, String)> = Vec::new();
    for flow in mine(&flowtop.stop()) {
        assert_eq!(flow["process"], comm.trim_end());
        let tid = flow["tid"].as_u64().unwrap();
        match seen.iter_mut().find(|(_, known, _)| *known == tid) {
            Some((sum, ..)) => *sum += bytes(&flow),
            None => seen.push((
                bytes(&flow),
                tid,
                flow["thread"].as_str().unwrap().to_owned(),
            )),
        }
    }
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    let plain = mine(&plain.stop());
    assert_eq!(plain.iter().map(bytes).sum::<u64>(), 5000);
    assert!(
        plain
            .iter()
            .all(|flow| flow["tid"].is_null() && flow["thread"].is_null())
    );
}
