//! Asking, remembering, and what is done when a number is given to another process.

use super::*;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

fn process(tgid: u32, start_ticks: u64, started: SystemTime) -> Process {
    Process {
        tgid,
        comm: format!("process {start_ticks}"),
        cmdline: Vec::new(),
        exe: None,
        uid: 0,
        user: None,
        ppid: 1,
        parent: None,
        started,
        start_ticks,
        cgroup: None,
        location: CgroupLocation::default(),
        location_name: None,
        exited: false,
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn asking_does_not_wait_and_the_answer_comes() {
    let (release, gate) = channel::<()>();
    let (notify, notified) = channel();
    let owners = Owners::with(
        move |tgid| {
            let _ = gate.recv();
            Some(process(tgid, 1, at(5)))
        },
        move || {
            let _ = notify.send(());
        },
    )
    .unwrap();
    // The look-up hangs until released: were asking to wait, this would never return.
    assert_eq!(owners.get(7), None);
    for tgid in 0..10 * QUEUE as u32 {
        assert_eq!(owners.get(tgid), None, "not even with a full queue");
    }
    release.send(()).unwrap();
    notified.recv().unwrap();
    assert_eq!(owners.get(7).unwrap().start_ticks, 1);
    assert_eq!(Owners::disabled().get(7), None);
}

#[test]
fn facts_are_looked_at_again_only_while_someone_asks() {
    let mut cache = ProcessCache::new(CACHE);
    let now = Instant::now();
    assert!(cache.get(1, now).1);
    assert!(!cache.get(1, now).1, "requested once");
    assert!(store(&mut cache, 1, Some(process(1, 1, at(5))), now));
    assert!(!cache.get(1, now).1);
    assert!(cache.get(1, now + FRESH_FOR).1);
    assert!(!cache.get(1, now + FRESH_FOR).1, "under way");
    // The start is computed again each time; that alone is no change.
    let again = process(1, 1, at(5) + Duration::from_nanos(1));
    assert!(!store(&mut cache, 1, Some(again), now));
}

#[test]
fn an_exec_is_news_and_an_end_leaves_what_was_known() {
    let mut cache = ProcessCache::new(CACHE);
    let now = Instant::now();
    cache.get(1, now);
    store(&mut cache, 1, Some(process(1, 1, at(5))), now);
    let other = Process {
        comm: "other".to_owned(),
        ..process(1, 1, at(5))
    };
    assert!(store(&mut cache, 1, Some(other), now));
    let known = cache.get(1, now).0;
    assert_eq!(known.current.unwrap().comm, "other");
    assert_eq!(known.before, None, "it is the same process");
    assert!(store(&mut cache, 1, None, now));
    assert!(!store(&mut cache, 1, None, now), "no news twice");
    let current = cache.get(1, now).0.current.unwrap();
    assert!(current.exited && current.comm == "other");
    cache.get(2, now);
    assert!(!store(&mut cache, 2, None, now), "never seen is no news");
    assert!(
        !store(&mut cache, 3, Some(process(3, 1, at(5))), now),
        "never requested"
    );
}

#[test]
fn a_number_given_to_another_does_not_give_it_the_flows_of_the_first() {
    let (notify, notified) = channel();
    let mut starts = [(10, at(1000)), (20, at(2000))].into_iter();
    let owners = Owners::with(
        move |tgid| {
            starts
                .next()
                .map(|(ticks, started)| process(tgid, ticks, started))
        },
        move || {
            let _ = notify.send(());
        },
    )
    .unwrap();
    owners.get(1);
    notified.recv().unwrap();
    {
        // As if FRESH_FOR had passed.
        let queue = owners.background.as_ref().unwrap();
        lock(&queue.cache).request_dropped(1, Instant::now());
    }
    owners.get(1);
    notified.recv().unwrap();
    let ticks = |when| owners.get_at(1, when).map(|process| process.start_ticks);
    assert_eq!(owners.get(1).unwrap().start_ticks, 20);
    assert_eq!(ticks(at(2500)), Some(20));
    assert_eq!(ticks(at(2000)), Some(20));
    assert_eq!(ticks(at(1500)), Some(10));
    assert_eq!(ticks(at(500)), None, "of neither");
    assert!(owners.get_at(1, at(1500)).unwrap().exited);
}

#[test]
fn a_start_that_the_kernel_told_finds_its_process_and_no_other() {
    let (notify, notified) = channel();
    let mut starts = [10, 20].into_iter();
    let owners = Owners::with(
        move |tgid| starts.next().map(|ticks| process(tgid, ticks, at(ticks))),
        move || {
            let _ = notify.send(());
        },
    )
    .unwrap();
    let tick = Duration::from_secs(1) / rustix::param::clock_ticks_per_second() as u32;
    let ticks = |n: u32, more| {
        let found = owners.get_started(1, tick * n + Duration::from_nanos(more));
        found.map(|process| process.start_ticks)
    };
    assert_eq!(ticks(10, 0), None, "not known yet");
    notified.recv().unwrap();
    assert_eq!(ticks(10, 0), Some(10));
    assert_eq!(ticks(10, 999_999), Some(10), "within the tick");
    assert_eq!(ticks(9, 0), None, "one that was before it");
    // A later one: looked for at once, and not when what is known has become stale.
    assert_eq!(ticks(20, 0), None);
    notified.recv_timeout(FRESH_FOR / 2).unwrap();
    assert_eq!(ticks(20, 0), Some(20));
    assert_eq!(ticks(10, 0), Some(10));
    assert!(owners.get_started(1, tick * 10).unwrap().exited);
}

#[test]
fn the_kernels_start_of_this_process_is_the_one_proc_tells() {
    // A process of its own, so that two clocks can be put around its start.
    let boottime = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let before = boottime();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let after = boottime();
    let found = reader().read(child.id()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!found.started_before(before) && !found.started_at(after + Duration::from_secs(1)));
    assert!(found.started_at(before) || found.started_before(after) || found.started_at(after));
}

#[test]
fn what_the_kernel_told_needs_no_proc() {
    let owners = Owners::disabled();
    let name = |path: &str| owners.located(&Arc::from(path), None).name.clone();
    let nginx = "/system.slice/nginx.service";
    assert_eq!(name(nginx).as_deref(), Some("nginx.service"));
    assert_eq!(name("/"), None);
    for n in 0..2 * MAX_LOCATIONS {
        name(&format!("/system.slice/{n}.service"));
    }
    assert!(lock(&owners.locations).len() <= MAX_LOCATIONS);
    assert_eq!(name(nginx).as_deref(), Some("nginx.service"));
    assert_eq!(owners.user_name(0), None);
    let owners = Owners::system(|| {}).unwrap();
    assert_eq!(owners.user_name(0).as_deref(), Some("root"));
}

#[test]
fn a_question_that_found_no_room_is_asked_again() {
    let mut cache = ProcessCache::new(CACHE);
    let now = Instant::now();
    cache.get(1, now);
    cache.request_dropped(1, now);
    assert!(cache.get(1, now).1);
    store(&mut cache, 1, Some(process(1, 1, at(5))), now);
    assert!(cache.get(1, now + FRESH_FOR).1);
    cache.request_dropped(1, now);
    let later = now + FRESH_FOR + Duration::from_secs(60);
    let (known, is_due) = cache.get(1, later);
    assert!(is_due && known.current.is_some(), "what is known stays");
}

fn reader() -> ProcessReader {
    ProcessReader::new("/proc", "/etc/passwd")
}

#[test]
fn this_process_is_known_as_it_is() {
    let me = std::process::id();
    let process = reader().read(me).unwrap();
    assert_eq!(process.tgid, me);
    assert_eq!(process.exe, std::env::current_exe().ok());
    let arguments: Vec<String> = std::env::args().collect();
    assert_eq!(process.cmdline, arguments);
    assert_eq!(process.uid, rustix::process::geteuid().as_raw());
    assert_eq!(process.ppid, std::os::unix::process::parent_id());
    assert!(process.parent.is_some());
    let age = SystemTime::now().duration_since(process.started).unwrap();
    assert!(age < Duration::from_secs(3600), "{age:?}");
    assert!(!process.exited);
}

#[test]
fn the_start_of_a_process_is_its_start() {
    let before = SystemTime::now();
    let mut child = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let after = SystemTime::now();
    let found = reader().read(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    let started = found.unwrap().started;
    // Ticks are of 10 ms.
    let slack = Duration::from_millis(50);
    assert!(started + slack >= before && started <= after + slack);
    assert_eq!(reader().read(child.id()), None, "gone");
}

#[test]
fn a_process_without_arguments_and_program_has_none() {
    // kthreadd, or whatever has number 2 here: reading must not fail.
    if let Some(process) = reader().read(2) {
        assert!(
            process
                .cmdline
                .iter()
                .all(|argument| argument.len() <= 4096)
        );
    }
    assert_eq!(reader().read(0), None);
    assert_eq!(reader().read(u32::MAX), None);
}

/// A folder like /proc, gone at the end.
struct FakeProc(PathBuf);

impl FakeProc {
    fn new(name: &str) -> Self {
        let name = format!("flowtop-proc-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn put(&self, tgid: u32, file: &str, text: &[u8]) {
        let folder = self.0.join(tgid.to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), text).unwrap();
    }

    fn read(&self, tgid: u32) -> Option<Process> {
        ProcessReader::new(&self.0, self.0.join("passwd")).read(tgid)
    }
}

impl Drop for FakeProc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stat(comm: &str, ppid: u32, start: u64) -> Vec<u8> {
    let rest = "1 1 0 -1 4194304 1 1 1 1 1 1 1 1 20 0 1 0";
    format!("7 ({comm}) S {ppid} {rest} {start} 1 1\n").into_bytes()
}

#[test]
fn names_that_look_like_fields_are_names() {
    let proc = FakeProc::new("names");
    proc.put(7, "stat", &stat("a) R 99 (b", 8, 4321));
    proc.put(8, "stat", &stat("parent", 1, 1));
    proc.put(
        7,
        "status",
        b"Name:\ta\\nUid:\t9\nUid:\t1\t33\t3\t4\nGid:\t5\n",
    );
    proc.put(7, "cmdline", b"nginx: worker process\0\0\0\0");
    proc.put(7, "cgroup", b"0::/system.slice/nginx.service\n");
    fs::write(proc.0.join("passwd"), "web:x:33:33::/:\n").unwrap();
    let process = proc.read(7).unwrap();
    assert_eq!(process.comm, "a) R 99 (b");
    assert_eq!((process.ppid, process.start_ticks), (8, 4321));
    assert_eq!(process.parent.as_deref(), Some("parent"));
    assert_eq!(process.uid, 33, "the effective one");
    assert_eq!(process.user.as_deref(), Some("web"));
    assert_eq!(process.cmdline, ["nginx: worker process"]);
    assert_eq!(process.location_name.as_deref(), Some("nginx.service"));
    assert_eq!(process.exe, None);
}

#[test]
fn a_process_that_may_not_be_looked_into_is_known_by_what_is_open_to_all() {
    let proc = FakeProc::new("little");
    proc.put(7, "stat", &stat("x", 0, 5));
    let process = proc.read(7).unwrap();
    assert_eq!(process.cmdline, Vec::<String>::new());
    assert_eq!(process.uid, rustix::process::geteuid().as_raw());
    assert_eq!((process.location_name, process.parent), (None, None));
    proc.put(8, "stat", b"8 (cut off");
    assert_eq!(proc.read(8), None);
    proc.put(9, "stat", b"");
    assert_eq!(proc.read(9), None);
}

#[test]
fn hostile_arguments_are_cut_and_replaced_but_not_dropped() {
    let proc = FakeProc::new("hostile");
    proc.put(7, "stat", &stat("x", 0, 5));
    let mut arguments = b"a\0\xff\xfe\x1b[2J\0\0b\0".to_vec();
    proc.put(7, "cmdline", &arguments);
    let expected = ["a", "\u{fffd}\u{fffd}\u{1b}[2J", "", "b"];
    assert_eq!(proc.read(7).unwrap().cmdline, expected);
    arguments = vec![b'x'; 1 << 20];
    proc.put(7, "cmdline", &arguments);
    assert_eq!(proc.read(7).unwrap().cmdline[0].len(), 4096);
}
