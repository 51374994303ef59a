//! Surroundings that lack something flowtop needs, each made for real: it names what is missing and
//! the fix, when it runs and in `--doctor` alike. Needs root, as all of `make test` does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// flowtop, started by a shell that does something before.
fn after(prepare: &str, args: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("{prepare}; exec \"$0\" \"$@\"");
    command.args(["-m", "sh", "-c", &script, env!("CARGO_BIN_EXE_flowtop")]);
    command
        .args(args)
        .stdin(Stdio::null())
        .env_remove("SUDO_UID");
    command
}

/// Both say it: a run that ends with 1, and the doctor.
#[track_caller]
fn assert_named(prepare: &str, args: &[&str], words: &[&str]) {
    for mode in [&["--once"][..], &["--doctor", "--json"]] {
        let output = after(prepare, &[mode, args].concat()).output().unwrap();
        let message = text(&output);
        assert_eq!(output.status.code(), Some(1), "{mode:?}: {message}");
        for word in words {
            assert!(message.contains(word), "{mode:?}: no {word:?} in {message}");
        }
    }
}

#[test]
fn a_sysfs_that_is_not_mounted_is_named() {
    let words = ["sysfs is not mounted", "mount -t sysfs sysfs /sys"];
    assert_named("mount -t tmpfs none /sys", &[], &words);
}

/// A control group of v1 or v2 with one controller, gone at the end.
struct Group(PathBuf);

impl Group {
    fn new(controller: &str, name: &str) -> Self {
        let v1 = PathBuf::from("/sys/fs/cgroup").join(controller);
        let root = match v1.is_dir() {
            true => v1,
            false => {
                let control = "/sys/fs/cgroup/cgroup.subtree_control";
                fs::write(control, format!("+{controller}")).unwrap();
                PathBuf::from("/sys/fs/cgroup")
            }
        };
        let path = root.join(format!("flowtop-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Sets a limit, by its name of v1 or of v2.
    fn limit(&self, names: [&str; 2], value: &str) -> String {
        let files = names.map(|name| self.0.join(name));
        let file = files.into_iter().find(|file| file.exists()).unwrap();
        fs::write(&file, value).unwrap();
        file.to_str().unwrap().to_owned()
    }

    fn join(&self) -> String {
        format!("echo $$ >{}/cgroup.procs", self.0.display())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_limit_of_memory_is_named_with_a_number_of_flows_that_fits() {
    let group = Group::new("memory", "memory");
    let file = group.limit(["memory.limit_in_bytes", "memory.max"], "40M");
    let words = [&file, "MB of kernel memory", "--max-flows 16384"];
    assert_named(&group.join(), &[], &words);
    // The word is kept.
    let args = ["--once", "--json", "-i", "10ms", "--max-flows", "16384"];
    let output = after(&group.join(), &args).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_limit_of_64_mib_refuses_the_default_number_of_flows_instead_of_being_exceeded() {
    let group = Group::new("memory", "memory-64m");
    let file = group.limit(["memory.limit_in_bytes", "memory.max"], "64M");
    // With 65,536 flows the kernel kills flowtop at its start.
    assert_named(&group.join(), &[], &[&file, "--max-flows 32768"]);
    let args = ["--once", "--json", "-i", "10ms", "--max-flows", "32768"];
    let output = after(&group.join(), &args).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_limit_of_threads_leaves_fewer_threads_for_names() {
    let group = Group::new("pids", "pids");
    group.limit(["pids.max", "pids.max"], "8");
    let args = ["--once", "--json", "-i", "10ms", "-x"];
    let output = after(&group.join(), &args).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_cgroup_namespace_of_its_own_leaves_peers_of_udp_unseen() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let root = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let path = words.next()?;
        (words.next()? == "cgroup2").then_some(path)
    });
    let root = root.unwrap();
    let group = Group(PathBuf::from(format!(
        "{root}/flowtop-namespace-{}",
        std::process::id()
    )));
    fs::create_dir(&group.0).unwrap();
    let mount = format!("umount {root} && mount -t cgroup2 none {root}");
    let inside = format!(
        "{}; exec unshare -C -m sh -c '{mount} && exec \"$0\" \"$@\"' \"$0\" \"$@\"",
        group.join()
    );
    let unseen = |prepare: &str| {
        let args = ["--json", "-c", "1", "-i", "0.2", "--backend", "tracepoint"];
        let output = after(prepare, &args).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let line = output.stdout.split(|byte| *byte == b'\n').next().unwrap();
        let record: serde_json::Value = serde_json::from_slice(line).unwrap();
        let unseen = record["unseen"].as_array().unwrap();
        unseen.iter().any(|path| path == "udp_send_peer")
    };
    // Where there are kprobes, peers do not come from the hooks of cgroups.
    let kprobes = std::path::Path::new("/sys/bus/event_source/devices/kprobe").exists();
    assert_eq!(unseen(&inside), !kprobes);
    assert!(!unseen("true"));
}
