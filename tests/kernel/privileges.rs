//! What flowtop needs and what it gives up, on this machine's own kernel; by backend and kernel it
//! is `tests/vm/privileges.sh`. Needs root, as all of `make test` does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::counting::Flowtop;
use crate::common::folder::Folder;
use crate::common::pty::{PATIENCE, Pty};
use serde_json::Value;

/// A thread's name, and the fields of its `/proc/PID/task/TID/status`.
pub(crate) type Thread = (String, BTreeMap<String, String>);

/// Every thread of a process.
pub(crate) fn threads(pid: u32) -> Vec<Thread> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let tasks = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap());
    tasks
        .map(|status| {
            let fields = status.lines().filter_map(|line| line.split_once(":\t"));
            let fields: BTreeMap<String, String> = fields
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            (fields["Name"].clone(), fields)
        })
        .collect()
}

/// Whom a flowtop of root's becomes.
pub(crate) const NOBODY: &str = "65534";

/// `files` is the user whose files the threads open.
pub(crate) fn assert_given_up(threads: &[Thread], user: &str, files: &str) {
    for (name, status) in threads {
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status[set], "0000000000000000", "{set} of {name}");
        }
        assert_eq!(status["NoNewPrivs"], "1", "{name}");
        assert_eq!(status["Seccomp"], "2", "{name}");
        assert_eq!(
            status["Uid"],
            [user, user, user, files].join("\t"),
            "{name}"
        );
    }
}

/// A way to run flowtop, and what every thread of it must hold then.
struct Mode {
    /// As the table in docs/PRIVILEGES.md names it.
    name: &'static str,
    args: Vec<String>,
    /// Whom sudo says it was called by.
    sudo_user: Option<&'static str>,
    user: &'static str,
    files_of: &'static str,
}

/// Starts a mode, reads what its threads hold once it counts, and ends it.
fn held_in(mode: &Mode) -> Vec<Thread> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtop"));
    command.args(["--json", "-i", "50ms"]).args(&mode.args);
    if let Some(user) = mode.sudo_user {
        command.env("SUDO_UID", user).env("SUDO_GID", user);
    }
    let mut flowtop = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut stdout = BufReader::new(flowtop.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    let held = threads(flowtop.id());
    // Its reader goes away.
    drop(stdout);
    assert!(flowtop.wait().unwrap().success(), "{}: {first}", mode.name);
    held
}

#[test]
fn every_thread_leaves_root_and_its_capabilities_in_every_mode() {
    let folder = with_flowtop("modes");
    let users = folder.join("users");
    fs::create_dir(&users).unwrap();
    chown(&users, Some(12_345), Some(12_345)).unwrap();
    let mode = |name, args: &[&str], sudo_user, user| Mode {
        name,
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        sudo_user,
        user,
        files_of: user,
    };
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (single, rotated) = (file("a.jsonl"), file("b.jsonl"));
    let (users_single, users_rotated) = (file("users/a.jsonl"), file("users/b.jsonl"));
    let rotate = ["--record-time", "1h"];
    let free = || std::net::TcpListener::bind("127.0.0.1:0")?.local_addr();
    let port = free().unwrap().port().to_string();
    let sudo = Some("12345");
    let modes = [
        mode("JSON, started by root", &[], None, NOBODY),
        mode("JSON, by sudo", &[], sudo, "12345"),
        mode("with `-x`", &["-x"], None, NOBODY),
        mode("with `--listen`", &["--listen", &port], None, NOBODY),
        mode("with `--record`", &["--record", &single], None, NOBODY),
        mode(
            "with `--record`, by sudo",
            &["--record", &users_single],
            sudo,
            "12345",
        ),
        Mode {
            files_of: "0",
            ..mode(
                "with `--record --record-time`",
                &["--record", &rotated, rotate[0], rotate[1]],
                None,
                NOBODY,
            )
        },
        mode(
            "with `--record --record-time`, by sudo",
            &["--record", &users_rotated, rotate[0], rotate[1]],
            sudo,
            "12345",
        ),
    ];
    let mut table = String::new();
    for mode in &modes {
        let held = held_in(mode);
        assert!(held.len() >= 2, "{}: {held:?}", mode.name);
        assert_given_up(&held, mode.user, mode.files_of);
        let user = match (mode.user, mode.files_of) {
            (NOBODY, "0") => "nobody, files of root",
            (NOBODY, _) => "nobody",
            _ => "the caller",
        };
        table.push_str(&format!("| {} | {user} | nothing |\n", mode.name));
    }
    let flowtop = Path::new(env!("CARGO_BIN_EXE_flowtop"));
    let target = flowtop.parent().and_then(Path::parent).unwrap();
    fs::create_dir_all(target.join("lending")).unwrap();
    fs::write(target.join("lending/modes.md"), table).unwrap();
}

#[test]
fn the_live_table_has_given_up_all_that_it_can() {
    let pty = Pty::open(80, 24);
    let (drawn, seen) = std::sync::mpsc::channel();
    let reader = pty.read(move |bytes| drop(drawn.send(bytes.to_vec())));
    let mut flowtop = pty.command(env!("CARGO_BIN_EXE_flowtop")).spawn().unwrap();
    let mut screen = Vec::new();
    while !String::from_utf8_lossy(&screen).contains("Ingress") {
        screen.extend(seen.recv_timeout(PATIENCE).unwrap());
    }
    let threads = threads(flowtop.id());
    // Main, the collector, the keyboard, signals, and those for names and owners.
    assert!(threads.len() >= 5, "{threads:?}");
    assert_given_up(&threads, NOBODY, NOBODY);
    (&pty.keyboard).write_all(b"q").unwrap();
    assert!(flowtop.wait().unwrap().success());
    drop(pty);
    reader.join().unwrap();
}

#[test]
fn without_the_sandbox_nothing_is_given_up() {
    let flowtop = Flowtop::start(&["--no-sandbox"]);
    for (name, status) in threads(flowtop.id()) {
        assert_ne!(status["CapEff"], "0000000000000000", "{name}");
        assert_eq!((&*status["NoNewPrivs"], &*status["Seccomp"]), ("0", "0"));
    }
    flowtop.stop();
}

/// What is kept then is kept for counting: files are the caller's business all the same.
#[test]
fn without_the_sandbox_a_recording_is_made_with_the_callers_rights() {
    let folder = with_flowtop("unconfined");
    for rotating in [&[][..], &["--record-time", "1h"]] {
        let file = folder.join("a.jsonl");
        let output = Command::new(folder.join("flowtop"))
            .args(["--no-sandbox", "-q", "-c", "1", "-i", "10ms", "--record"])
            .arg(&file)
            .args(rotating)
            .env("SUDO_UID", "12345")
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("Permission denied"), "{message}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{message}");
    }
}

/// With names and without: sockets are what a run needs, and what it does not need is tried.
#[test]
fn the_doctor_tries_what_names_must_not_open() {
    for names in [&[][..], &["-x"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowtop"));
        command.args(names);
        let (output, report) = doctor(command);
        assert!(output.status.success(), "{report:#}");
        let refused = check(&report, "refused")["value"].as_str().unwrap();
        for what in [
            "connect to anything but a name server",
            "read a secret file",
            "open an MPTCP socket",
            "open a raw socket",
            "send on an unconnected socket",
            "connect by sending (TCP Fast Open)",
        ] {
            assert!(refused.contains(what), "{names:?}: {refused}");
        }
    }
}

#[test]
fn a_guard_that_flowtop_did_not_start_refuses() {
    let folder = with_flowtop("guard");
    let file = folder.join("kprobe_events");
    fs::write(&file, "p:flowtop_1/a b\n").unwrap();
    for args in [&["flowtop_1"][..], &["b"], &[], &["flowtop_1", "more"]] {
        let mut options = fs::OpenOptions::new();
        let list = options.read(true).append(true).open(&file).unwrap();
        let output = Command::new(folder.join("flowtop"))
            .arg("--kprobe-guard")
            .args(args)
            .stdin(Stdio::null())
            .stdout(list)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "p:flowtop_1/a b\n");
    }
}

/// A replay whose recording comes by a pipe: it is confined when that is read, and then stays until
/// the pipe ends.
#[test]
fn a_replay_has_given_up_everything_before_it_reads() {
    let mut flowtop = Command::new(env!("CARGO_BIN_EXE_flowtop"))
        .args(["-v", "--json", "--replay", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut message = String::new();
    let mut stderr = BufReader::new(flowtop.stderr.take().unwrap());
    stderr.read_line(&mut message).unwrap();
    assert!(message.contains("no capabilities"), "{message}");
    assert_given_up(&threads(flowtop.id()), NOBODY, NOBODY);
    drop(flowtop.stdin.take());
    assert!(flowtop.wait().unwrap().success());
}

#[test]
fn a_replay_keeps_nothing_and_reads_what_its_caller_may() {
    let copy = with_flowtop("replay");
    let [others, roots] = ["others.jsonl.zst", "roots.jsonl.zst"].map(|name| copy.join(name));
    for (file, uid) in [(&others, 65_534), (&roots, 0)] {
        fs::copy("samples/demo.jsonl.zst", file).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        chown(file, Some(uid), None).unwrap();
    }
    let replayed = |command: &mut Command, file: &str| {
        let output = command.args(["-v", "--csv", "--replay", file]).output();
        let output = output.unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), output.stdout, message)
    };
    let whole = replayed(
        &mut Command::new(copy.join("flowtop")),
        "samples/demo.jsonl.zst",
    )
    .1;
    assert!(whole.len() > 10_000, "{}", whole.len());
    let [others, roots] = [others, roots].map(|file| file.to_str().unwrap().to_owned());

    // The user that root becomes may not read what is root's alone: it is open by then.
    let (code, read, message) = replayed(&mut Command::new(copy.join("flowtop")), &roots);
    assert_eq!((code, &read), (Some(0), &whole), "{message}");
    assert!(message.contains("no capabilities"), "{message}");
    let (code, read, message) = replayed(&mut Command::new(copy.join("flowtop")), &others);
    assert_eq!((code, &read), (Some(0), &whole), "{message}");
    assert!(message.contains("no capabilities"), "{message}");
    // In containers root often has the other one only.
    let mut container = Command::new("setpriv");
    container.args(["--bounding-set", "-dac_read_search"]);
    let (code, read, message) = replayed(container.arg(copy.join("flowtop")), &roots);
    assert_eq!((code, &read), (Some(0), &whole), "{message}");
    assert!(message.contains("no capabilities"), "{message}");

    let (code, read, message) = replayed(&mut as_nobody(&copy.join("flowtop"), ""), &others);
    assert_eq!((code, &read), (Some(0), &whole), "{message}");
    let (code, _, message) = replayed(&mut as_nobody(&copy.join("flowtop"), ""), &roots);
    assert_eq!(code, Some(1), "{message}");
    assert!(
        message.contains("roots.jsonl.zst: line 1: Permission denied"),
        "{message}"
    );

    // What a shell makes of <(...): a pipe that is opened by the name of a descriptor.
    let mut shell = as_nobody(Path::new("bash"), "");
    let line = r#""$0" -v --csv --replay <(cat "$1")"#;
    let shell = shell
        .args(["-c", line])
        .arg(copy.join("flowtop"))
        .arg(&others);
    let output = shell.output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && output.stdout == whole,
        "{message}"
    );
}

fn check<'a>(report: &'a Value, id: &str) -> &'a Value {
    let mut checks = report["checks"].as_array().unwrap().iter();
    checks.find(|check| check["id"] == id).unwrap()
}

fn doctor(mut command: Command) -> (Output, Value) {
    let output = command.args(["--doctor", "--json"]).output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap();
    (output, report)
}

#[test]
fn the_doctor_counts_its_own_bytes_before_and_behind_the_sandbox() {
    let (output, report) = doctor(Command::new(env!("CARGO_BIN_EXE_flowtop")));
    assert!(output.status.success(), "{report:#}");
    assert_eq!(report["works"], true);
    let backends = report["backends"].as_array().unwrap();
    assert_eq!(backends.len(), 4);
    let taken = backends
        .iter()
        .find(|backend| backend["backend"] == report["backend"])
        .unwrap();
    assert_eq!(
        (&taken["exact"], &taken["attaches"]),
        (&true.into(), &true.into())
    );
    for flow in taken["flows"].as_array().unwrap() {
        assert_eq!(flow["rx_bytes"], flow["counted_rx_bytes"], "{flow}");
        assert!(flow["tx_bytes"].as_u64() > Some(0), "{flow}");
    }
    assert_eq!(check(&report, "self_test")["state"], "ok");
    let refused = check(&report, "refused")["value"].as_str().unwrap();
    for what in [
        "create a file",
        "write a file",
        "run a program",
        "signal another process",
    ] {
        assert!(refused.contains(what), "{refused}");
    }
}

/// A folder with a copy of the binary, which others than root may reach.
fn with_flowtop(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.copy_flowtop();
    folder
}

/// A command as the user nobody, with these capabilities, as in `+bpf,+perfmon`.
fn as_nobody(program: &Path, capabilities: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args(["--inh-caps", &format!("-all{capabilities}")])
        .args(["--ambient-caps", &format!("-all{capabilities}")])
        .arg(program)
        .stdin(Stdio::null());
    command
}

/// What the doctor says is needed, and what mounting tracefs takes where it is not mounted: by
/// setcap(8)'s names, without `cap_`.
fn needed() -> Vec<String> {
    let (_, report) = doctor(Command::new(env!("CARGO_BIN_EXE_flowtop")));
    let setcap = report["setcap"].as_str().unwrap();
    let names = setcap.strip_suffix("=ep").unwrap().split(',');
    let mut names: Vec<String> = names
        .map(|name| name.strip_prefix("cap_").unwrap().to_owned())
        .collect();
    if !Path::new("/sys/kernel/tracing/events").exists() {
        names.push("sys_admin".to_owned());
    }
    names
}

fn unseen(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().next().unwrap_or_default();
    let record: Value = serde_json::from_str(first).unwrap_or_default();
    record["unseen"].clone()
}

#[test]
fn unprivileged_user_with_doctor_capabilities_counts_everything() {
    let copy = with_flowtop("ambient");
    let capabilities: String = needed().iter().map(|name| format!(",+{name}")).collect();
    let args = ["--json", "-c", "1", "-i", "50ms"];
    let nobodys = as_nobody(&copy.join("flowtop"), &capabilities)
        .args(args)
        .output()
        .unwrap();
    assert!(
        nobodys.status.success(),
        "{capabilities}: {}",
        String::from_utf8_lossy(&nobodys.stderr)
    );
    let roots = Command::new(copy.join("flowtop"))
        .args(args)
        .output()
        .unwrap();
    assert_eq!(unseen(&nobodys), unseen(&roots));
}

/// As root of a container has them, by what the peers of UDP need where there are no kprobes.
#[test]
fn without_net_admin_the_peers_of_udp_are_unseen_and_all_bytes_are_counted() {
    let flowtop = |capabilities: &str| {
        let held = format!("-all,+bpf,+perfmon,+dac_override{capabilities}");
        Command::new("setpriv")
            .args(["--inh-caps", "-all", "--bounding-set", &held])
            .arg(env!("CARGO_BIN_EXE_flowtop"))
            .args(["--json", "-c", "1", "-i", "50ms"])
            .args(["--backend", "raw_tracepoint"])
            .output()
            .unwrap()
    };
    let (with, without) = (flowtop(",+net_admin"), flowtop(""));
    for output in [&with, &without] {
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{message}");
    }
    let has =
        |output: &Output, path: &str| unseen(output).as_array().unwrap().contains(&path.into());
    let kprobes = !has(&with, "splice_read");
    assert!(!has(&with, "udp_send_peer"));
    assert_eq!(has(&without, "udp_send_peer"), !kprobes);
    let record = String::from_utf8_lossy(&without.stdout);
    let reason = "reporting the peers of UDP without kprobes needs CAP_NET_ADMIN";
    assert_eq!(record.contains(reason), !kprobes, "{record}");
}

/// The capabilities of the file, which `make setcap` gives it.
#[test]
fn a_file_with_capabilities_needs_no_sudo() {
    let copy = with_flowtop("file");
    let names: Vec<String> = needed().iter().map(|name| format!("cap_{name}")).collect();
    let set = Command::new("setcap")
        .arg(format!("{}=ep", names.join(",")))
        .arg(copy.join("flowtop"))
        .status()
        .unwrap();
    assert!(set.success());
    let output = as_nobody(&copy.join("flowtop"), "")
        .args(["--json", "-c", "1", "-i", "50ms"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn without_privileges_the_fix_is_named() {
    let copy = with_flowtop("without");
    let (output, report) = doctor(as_nobody(&copy.join("flowtop"), ""));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report["works"], false);
    let capabilities = check(&report, "capabilities");
    assert_eq!(capabilities["state"], "fail");
    let fix = capabilities["fix"].as_str().unwrap();
    assert!(fix.contains("sudo setcap cap_"), "{fix}");
    // And a run says the same.
    let run = as_nobody(&copy.join("flowtop"), "")
        .arg("--batch")
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(1));
    let error = String::from_utf8_lossy(&run.stderr);
    assert!(error.contains("CAP_BPF") && error.contains(fix), "{error}");
}

/// Bit by bit: each of the two that every backend needs is named when it alone is missing.
#[test]
fn missing_capability_is_named() {
    let copy = with_flowtop("one");
    for (held, missing) in [(",+bpf", "CAP_PERFMON"), (",+perfmon", "CAP_BPF")] {
        let run = as_nobody(&copy.join("flowtop"), held)
            .arg("--batch")
            .output()
            .unwrap();
        assert_eq!(run.status.code(), Some(1));
        let error = String::from_utf8_lossy(&run.stderr);
        let what = error.split(':').nth(1).unwrap();
        assert!(what.ends_with(&format!("needs {missing}")), "{error}");
    }
}
