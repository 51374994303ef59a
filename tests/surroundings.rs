//! What flowtop does and says where its surroundings are odd: namespaces, limits and switches as
//! containers, units and chroots have them, made by each test for itself. Needs root, as all of
//! `make test` does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

mod common;

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::Value;

const FLOWTOP: &str = env!("CARGO_BIN_EXE_flowtop");

/// A listener that reads every connection to its end.
fn sink() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().read_to_end(&mut Vec::new());
        }
    });
    port
}

/// Runs a script of bash, with flowtop as `$0`, in namespaces of its own, by options of unshare(1).
fn unshared(options: &[&str], script: &str, args: &[&str]) -> Output {
    let mut command = Command::new("unshare");
    command.args(options).args(["bash", "-c", script, FLOWTOP]);
    command.args(args).stdin(Stdio::null()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn records(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// Sum of a field over the flows to a port.
fn sum(records: &[Value], field: &str, port: u16) -> u64 {
    let flows = records.iter().filter(|record| record["type"] == "flow");
    let flows = flows.filter(|flow| flow["remote_port"] == port);
    flows.map(|flow| flow[field].as_u64().unwrap()).sum()
}

/// `$1` is an option, `$2` a port. The sender of 1000 bytes has id 1 in flowtop's pid namespace; that of
/// 500 has another there, and 1 in a pid namespace below; that of 2000 was not asked for.
const SENDERS: &str = r#"
    send() { exec 3<>/dev/tcp/127.0.0.1/$2; printf "%$1s" x >&3; exec 3>&-; }
    export -f send
    coproc nested { exec unshare -p -f bash -c 'read; send 500 '$2; }
    exec 6>&${nested[1]}
    while read -r below <"/proc/$nested_PID/task/$nested_PID/children"; [ -z "$below" ]; do :; done
    coproc flowtop { exec "$0" --json -n 0 -i 50ms "$1" "1,${below% }"; }
    exec 5<&${flowtop[0]}
    read -r first <&5
    send 1000 $2
    echo >&6; wait $nested_PID
    bash -c "send 2000 $2"
    kill $flowtop_PID
    cat <&5
"#;

#[test]
fn pid_and_tid_filters_take_the_ids_of_flowtops_own_pid_namespace() {
    for option in ["-p", "-t"] {
        let port = sink();
        let output = unshared(
            &["-p", "-f", "--mount-proc"],
            SENDERS,
            &[option, &port.to_string()],
        );
        let records = records(&output);
        assert_eq!(
            sum(&records, "tx_bytes", port),
            1500,
            "{option}: {}",
            stderr(&output)
        );
        let mut flows = records.iter().filter(|record| record["type"] == "flow");
        assert!(flows.all(|flow| flow["pid"].as_u64() > Some(1)));
    }
}

#[test]
fn an_id_that_no_process_has_is_noted_and_flowtop_goes_on() {
    let run = |args: &[&str]| {
        let mut command = Command::new(FLOWTOP);
        let command = command.args(["--json", "-c", "1", "-i", "10ms"]).args(args);
        let output = command.output().unwrap();
        assert!(output.status.success());
        assert_eq!(records(&output)[0]["type"], "interval");
        stderr(&output)
    };
    let said = run(&["-p", "4194304"]);
    assert_eq!(said, "flowtop: no process has the id 4194304 yet\n");
    let tid = thread::spawn(move || {
        let tid = rustix::thread::gettid().as_raw_nonzero().to_string();
        (run(&["-p", &tid]), run(&["-t", &tid]), tid)
    });
    let (as_pid, as_tid, tid) = tid.join().unwrap();
    assert!(as_pid.contains(&format!("use --tid {tid}")), "{as_pid}");
    assert_eq!(as_tid, "");

    let script = r#""$0" --json -c 1 -i 10ms -p 999999"#;
    let output = unshared(&["-p", "-f", "--mount-proc"], script, &[]);
    let said = stderr(&output);
    assert!(said.contains("no process has the id 999999"), "{said}");
    assert!(said.contains("--pid=host"), "{said}");
}

/// Mounts cgroup v2 as a container with a cgroup namespace has it.
const PRIVATE_CGROUPS: &str = r#"
    for group in /sys/fs/cgroup/unified /sys/fs/cgroup; do
        [ -e $group/cgroup.controllers ] && break
    done
    mkdir $group/flowtop-$$
    trap 'echo $$ >'$group'/cgroup.procs; rmdir '$group/flowtop-$$ EXIT
    echo $$ >$group/flowtop-$$/cgroup.procs
    unshare -C -m bash -c '
        umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
        "$0" --doctor --json | tr -d "\n" >&2
        exec "$0" --json -c 1 -i 10ms' "$0"
"#;

#[test]
fn a_cgroup_namespace_that_hides_peers_of_udp_is_named_in_unseen_and_by_the_doctor() {
    let has_kprobes = Path::new("/sys/bus/event_source/devices/kprobe").exists();
    let unseen = |output: &Output| {
        let unseen = records(output)[0]["unseen"].to_string();
        unseen.contains("udp_send_peer")
    };
    let script = r#"exec "$0" --json -c 1 -i 10ms"#;
    assert!(!unseen(&unshared(&["-m"], script, &[])));
    let output = unshared(&["-m"], PRIVATE_CGROUPS, &[]);
    assert_eq!(unseen(&output), !has_kprobes, "{}", stderr(&output));
    let doctor = stderr(&output);
    assert_eq!(doctor.contains("--cgroupns=host"), !has_kprobes, "{doctor}");
}
