//! `flowtop run`: everything of a command and its descendants counts, with the command's own
//! rights.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::counting::Flowtop;
use crate::common::folder::Folder;
use crate::common::pty::Pty;
use crate::common::{flowtop, stderr, stdout};

/// Bytes of each answer.
const ANSWER: usize = 3000;

/// A server that is told who asks, in a line, and answers; what it received and sent by the process
/// that asked.
struct Server {
    port: u16,
    truth: Arc<Mutex<BTreeMap<u64, (u64, u64)>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let truth = Arc::new(Mutex::new(BTreeMap::<u64, (u64, u64)>::new()));
        let sums = Arc::clone(&truth);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, sums) = (client.unwrap(), Arc::clone(&sums));
                thread::spawn(move || answer(client, &sums));
            }
        });
        Self { port, truth }
    }

    /// A shell function `ask`, by which a shell tells its number and reads the answer, with
    /// builtins alone.
    fn ask(&self) -> String {
        format!(
            "ask() {{ exec 3<>/dev/tcp/127.0.0.1/{}; echo $BASHPID >&3; IFS= read -r -N {ANSWER} answer <&3; exec 3>&-; }}",
            self.port
        )
    }

    fn truth(&self) -> BTreeMap<u64, (u64, u64)> {
        self.truth.lock().unwrap().clone()
    }
}

fn answer(mut client: TcpStream, truth: &Mutex<BTreeMap<u64, (u64, u64)>>) {
    let mut line = String::new();
    BufReader::new(&client).read_line(&mut line).unwrap();
    // Before the answer, which the test waits for.
    let pid = line.trim().rsplit('/').next().unwrap().parse().unwrap();
    let mut sums = truth.lock().unwrap();
    let sum = sums.entry(pid).or_default();
    *sum = (sum.0 + ANSWER as u64, sum.1 + line.len() as u64);
    drop(sums);
    client.write_all(&[b'a'; ANSWER]).unwrap();
}

fn runner(args: &[&str]) -> Command {
    let mut command = flowtop();
    command.arg("run").args(args);
    command
}

fn run(args: &[&str]) -> Output {
    runner(args).output().unwrap()
}

/// The summary in JSON, which is the last line of standard error.
fn summary(output: &Output) -> Value {
    let text = stderr(output);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Bytes received and sent by process.
fn by_process(rows: &Value) -> BTreeMap<u64, (u64, u64)> {
    let mut sums = BTreeMap::<u64, (u64, u64)>::new();
    for row in rows.as_array().unwrap() {
        let [pid, rx, tx] = ["pid", "rx_bytes", "tx_bytes"].map(|key| row[key].as_u64().unwrap());
        let sum = sums.entry(pid).or_default();
        *sum = (sum.0 + rx, sum.1 + tx);
    }
    sums
}

#[test]
fn every_byte_of_every_descendant_counts() {
    let server = Server::start();
    // python3 takes the place of the first shell. The last shell asks only once its parent has
    // ended, and starts another one then. The pipe is open until all of them have ended.
    let script = format!(
        r#"{ask}
        ask
        for i in 1 2 3 4 5 6 7 8 9 10; do (ask) & done
        wait
        bash -c '{ask}; ask; (ask; (ask))'
        {{ (export PARENT=$BASHPID; bash -c '{ask}
            while read -r _ _ _ now _ </proc/$$/stat && [ "$now" = "$PARENT" ]; do :; done
            ask; (ask)
            ' &) ; }} | cat
        python3 -c 'import os, socket
s = socket.create_connection(("127.0.0.1", {port}))
s.sendall(b"%d\n" % os.getpid())
while s.recv(65536): pass'"#,
        ask = server.ask(),
        port = server.port
    );
    let output = run(&["--json", "--", "bash", "-c", &script]);
    let summary = summary(&output);
    let truth = server.truth();
    assert_eq!(truth.len(), 1 + 10 + 3 + 2, "{}", stderr(&output));
    assert_eq!(by_process(&summary["peers"]), truth);
    assert_eq!(summary["missed_events"], 0);
    assert_eq!(output.status.code(), Some(0));
    let total = truth
        .values()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let counted = ["rx_bytes", "tx_bytes"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!((counted[0], counted[1]), total);
    for row in summary["peers"].as_array().unwrap() {
        assert_eq!(row["class"], "loopback");
        assert_eq!(row["remote_addr"], "127.0.0.1");
        assert!(["bash", "python3"].contains(&row["process"].as_str().unwrap()));
    }
}

#[test]
fn a_command_ends_as_it_would_without_flowtop() {
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 128 + 15),
        ("kill -KILL $$", 128 + 9),
    ] {
        let output = run(&["--", "sh", "-c", script]);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{script}: {}",
            stderr(&output)
        );
    }
    let output = run(&["--", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(127));
    assert!(stderr(&output).contains("run \"/nonexistent\": No such file"));
    assert_eq!(run(&["--", "/etc/passwd"]).status.code(), Some(126));
    // Both streams and the environment are the command's.
    let mut echo = runner(&["--", "sh", "-c", "cat; echo $X >&2"]);
    let mut echo = echo
        .env("X", "from outside")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    echo = echo.stderr(Stdio::piped());
    let mut echo = echo.spawn().unwrap();
    echo.stdin.take().unwrap().write_all(b"into it").unwrap();
    let output = echo.wait_with_output().unwrap();
    assert_eq!(stdout(&output), "into it");
    assert!(stderr(&output).starts_with("from outside\nflowtop: "));
}

#[test]
fn a_wrong_allow_list_is_refused_before_the_command_starts() {
    let folder = Folder::new("run-refused");
    let (allow, mark) = (folder.file("allow"), folder.file("mark"));
    fs::write(&allow, "tcp\n\nport httpss\n").unwrap();
    let output = run(&["--allow", &allow, "--", "touch", &mark]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains(&format!("{allow}: line 3: ")),
        "{}",
        stderr(&output)
    );
    let output = run(&["--output", "/nonexistent/summary", "--", "touch", &mark]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert_eq!(run(&[]).status.code(), Some(2));
    assert!(!fs::exists(&mark).unwrap());
}

#[test]
fn an_allow_list_finds_exactly_what_it_does_not_name() {
    let (expected, other) = (Server::start(), Server::start());
    let folder = Folder::new("run-allow");
    let allow = folder.file("allow");
    fs::write(
        &allow,
        format!("# as agreed\nremote port {} # web\n", expected.port),
    )
    .unwrap();
    let script = format!("{}; ask; (ask); {}; (ask)", expected.ask(), other.ask());
    let output = run(&["--json", "--allow", &allow, "--", "bash", "-c", &script]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let summary = summary(&output);
    assert_eq!(summary["exit_code"], 0);
    assert_eq!(by_process(&summary["unexpected"]), other.truth());
    let row = &summary["unexpected"][0];
    assert_eq!(
        (row["proto"].as_str(), row["remote_port"].as_u64()),
        (Some("tcp"), Some(other.port.into()))
    );
    let output = run(&["--allow", &allow, "--", "bash", "-c", &script]);
    let text = stderr(&output);
    assert!(text.contains("unexpected, because no line of"), "{text}");
    assert!(
        text.contains(&format!("tcp 127.0.0.1:{}", other.port)),
        "{text}"
    );
    // Nothing but what is named; then everything.
    let only = format!("{}; ask; exit 3", expected.ask());
    let output = run(&["--allow", &allow, "--", "bash", "-c", &only]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    fs::write(&allow, "").unwrap();
    assert_eq!(
        run(&["--allow", &allow, "--", "bash", "-c", &only])
            .status
            .code(),
        Some(4)
    );
}

#[test]
fn zones_are_shown_and_allowed_and_flows_are_written_as_they_move() {
    let server = Server::start();
    let folder = Folder::new("run-zones");
    let (zones, allow) = (folder.file("zones"), folder.file("allow"));
    fs::write(&zones, "here 127.0.0.0/8 5 # nothing of it is on a wire\n").unwrap();
    fs::write(&allow, "zone her*\n").unwrap();
    let script = format!("{}; ask; exit 9", server.ask());
    let args = ["--zones", &zones, "--allow", &allow, "--live"];
    let command = ["--", "bash", "-c", &script];
    let output = run(&[&["--json"], &args[..], &command].concat());
    assert_eq!(output.status.code(), Some(9), "{}", stderr(&output));
    let summary = summary(&output);
    assert_eq!(summary["peers"][0]["zone"], "here");
    assert_eq!(summary["tx_cost_estimate"], 0.0);
    let text = stderr(&output);
    let live = text.lines().find(|line| line.contains("  tcp  ")).unwrap();
    assert!(
        live.contains(&format!("127.0.0.1:{}", server.port)),
        "{text}"
    );
    let output = run(&[&args[..4], &command].concat());
    let text = stderr(&output);
    assert!(
        text.contains("cost ~0 (estimate)") && text.contains("loopback, here"),
        "{text}"
    );
    let output = run(&[&args[2..4], &command].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("zone needs --zones FILE"));
}

/// Real sudo, with a rule of its own in a mount namespace of its own.
#[test]
fn by_sudo_a_command_is_its_callers_and_counts_from_its_first_byte() {
    let server = Server::start();
    let folder = Folder::with_mode("run-sudo", 0o755);
    let flowtop = folder.copy_flowtop();
    let rules = folder.file("sudoers");
    let rule = format!("nobody ALL=(root) NOPASSWD: {}\n", flowtop.display());
    fs::write(&rules, rule).unwrap();
    fs::set_permissions(&rules, std::os::unix::fs::PermissionsExt::from_mode(0o440)).unwrap();
    let script = format!("{}; id -u; ask; (ask); exit 7", server.ask());
    let through = r#"mount --bind "$1" /etc/sudoers; shift
        exec setpriv --reuid nobody --regid nogroup --clear-groups sudo -n "$@""#;
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", through, "sh", &rules])
        .arg(&flowtop)
        .args(["run", "--json", "--", "bash", "-c", &script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert_eq!(stdout(&output), "65534\n");
    let summary = summary(&output);
    assert_eq!(server.truth().len(), 2);
    assert_eq!(by_process(&summary["peers"]), server.truth());
}

#[test]
fn a_signal_reaches_the_command_once() {
    let ready = r#"echo ready; while :; do read -r -t 0.01 <>/dev/zero; done"#;
    // Sent to flowtop alone, by another process.
    let script = format!("trap 'exit 5' TERM; {ready}");
    let mut flowtop = runner(&["--", "bash", "-c", &script]);
    let mut flowtop = flowtop
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(flowtop.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    let pid = Pid::from_raw(flowtop.id().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let output = flowtop.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(stderr(&output).contains("exited with 5 after"));
    // From the terminal, to the whole group.
    let folder = Folder::new("run-signal");
    let count = folder.file("count");
    let pty = Pty::open(80, 24);
    let script = format!("trap 'echo x >>{count}' INT; trap 'exit 6' QUIT; {ready}");
    let mut flowtop = pty.command(env!("CARGO_BIN_EXE_flowtop"));
    let mut flowtop = flowtop
        .args(["run", "--", "bash", "-c", &script])
        .spawn()
        .unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader =
        pty.read(move |bytes| drop(sender.send(String::from_utf8_lossy(bytes).into_owned())));
    let mut seen = String::new();
    let wait_for = |text: &str, seen: &mut String| {
        while !seen.contains(text) {
            seen.push_str(&receiver.recv().unwrap());
        }
    };
    wait_for("ready", &mut seen);
    let mut keyboard = pty.keyboard.try_clone().unwrap();
    keyboard.write_all(b"\x03").unwrap();
    while fs::read_to_string(&count).unwrap_or_default().is_empty() {
        thread::yield_now();
    }
    keyboard.write_all(b"\x1c").unwrap();
    assert_eq!(flowtop.wait().unwrap().code(), Some(6));
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\n");
    wait_for("exited with 6 after", &mut seen);
    drop(pty);
    drop(keyboard);
    drop(reader);
}

/// What a process holds: its rights, and where its descriptors lead.
const HELD: &str = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|SigBlk|SigIgn)' /proc/self/status; \
                    for fd in /proc/$$/fd/*; do echo ${fd##*/} $(readlink $fd | sed 's/:.*//'); done; \
                    ulimit -a; echo $HOME $USER $SUDO_UID";

/// What the command holds, by flowtop and without.
fn held(
    program: &str,
    wrapper: &[&str],
    env: &[(&str, &str)],
    clean: &[(&str, &str)],
) -> [String; 2] {
    let command = |args: &[&str], env: &[(&str, &str)]| {
        let all = [wrapper, args, &["sh", "-c", HELD][..]].concat();
        let mut command = Command::new(all[0]);
        command
            .args(&all[1..])
            .env_remove("USER")
            .stdin(Stdio::null());
        let output = command.envs(env.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    [command(&[program, "run", "--"], env), command(&[], clean)]
}

#[test]
fn a_command_has_its_callers_rights_and_nothing_of_flowtops() {
    let flowtop = env!("CARGO_BIN_EXE_flowtop");
    // Root.
    let [with, without] = held(flowtop, &["env"], &[], &[]);
    assert_eq!(with, without);
    // By sudo.
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--init-groups"];
    let sudo = [
        ("SUDO_UID", "65534"),
        ("SUDO_GID", "65534"),
        ("HOME", "/root"),
    ];
    let [with, _] = held(flowtop, &["env"], &sudo, &[]);
    let home = [("HOME", "/nonexistent"), ("USER", "nobody")];
    let [_, without] = held("true", &user, &[], &home);
    assert_eq!(with, without);
    // By file capabilities.
    let folder = Folder::with_mode("run-lent", 0o755);
    let lent = folder.copy_flowtop();
    let capabilities = "cap_dac_override,cap_sys_admin,cap_perfmon,cap_bpf,cap_net_admin=ep";
    assert!(
        Command::new("setcap")
            .arg(capabilities)
            .arg(&lent)
            .status()
            .unwrap()
            .success()
    );
    let [with, without] = held(lent.to_str().unwrap(), &user, &home, &home);
    assert_eq!(with, without);
}

#[test]
fn a_tree_has_what_runs_and_what_comes_later() {
    let server = Server::start();
    // A child that is there already, and one that comes later.
    let script = format!(
        "{ask}; bash -c '{ask}; echo $$; read -r; ask; echo asked' <&4 & read -r; (ask); ask; echo asked; wait",
        ask = server.ask()
    );
    let start = |script: &str| {
        let mut child = Command::new("bash");
        let child = child
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        child.spawn().unwrap()
    };
    let mut outsider = start(&format!("{}; read -r; ask; echo asked", server.ask()));
    let fifo = Folder::new("run-tree");
    let path = fifo.file("go");
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    let mut inside = start(&format!("exec 4<>{path}; {script}"));
    let mut lines = BufReader::new(inside.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let child: u64 = line.trim().parse().unwrap();
    let root = u64::from(inside.id());
    let mut flowtop = Flowtop::start(&["tree", &root.to_string()]);
    let mut records = flowtop.await_intervals(1);
    fs::write(&path, "go\n").unwrap();
    inside.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    outsider.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.matches("asked").count(), 2);
    outsider.wait().unwrap();
    inside.wait().unwrap();
    records.extend(flowtop.stop());
    records.retain(|record| record["type"] == "flow");
    let counted = by_process(&Value::Array(records));
    let mut truth = server.truth();
    assert_eq!(truth.len(), 4);
    assert!(truth.remove(&u64::from(outsider.id())).is_some());
    assert!(truth.contains_key(&child) && truth.contains_key(&root));
    assert_eq!(counted, truth);
    // A recording does not say it, and a status of 2 says so.
    let mut replay = Command::new(env!("CARGO_BIN_EXE_flowtop"));
    let output = replay
        .args(["--replay", "samples/demo.jsonl.zst", "--json", "tree", "1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.status.signal(), None);
}
