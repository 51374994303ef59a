//! The real binary: what it says, where it says it, and how it ends. Where a test needs the kernel
//! side it needs root, as all of `make test` does; it fails where it cannot run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::folder::Folder;
use crate::common::{assert_matches_file, flowtop, stderr, stdout};
use rustix::process::{Pid, Signal, getuid, kill_process};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

fn run(args: &[&str]) -> Output {
    flowtop().args(args).output().unwrap()
}

/// Ends a child that does not end by itself, so that a failing test fails and does not hang.
#[track_caller]
fn wait(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("did not end");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_network_namespace_is_known_by_its_name() {
    let name = format!("flowtop-test-{}", std::process::id());
    let path = std::path::Path::new("/run/netns").join(&name);
    std::fs::create_dir_all("/run/netns").unwrap();
    // A link leads to the same inode as a mount does.
    std::os::unix::fs::symlink("/proc/self/ns/net", &path).unwrap();
    let filter = format!("netns {name}");
    let explained = flowtop().args(["--explain-filter", &filter]).output();
    std::fs::remove_file(&path).unwrap();
    let explained = stdout(&explained.unwrap());
    let own = std::fs::metadata("/proc/self/ns/net").unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&own);
    assert!(explained.contains(&format!("netns {inode}")), "{explained}");
    let missing = flowtop().args(["--batch", &filter]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(
        stderr(&missing).contains("ip netns"),
        "{}",
        stderr(&missing)
    );
}

#[test]
fn help_is_as_expected() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
    assert_matches_file("golden/help.txt", &stdout(&output));
}

#[test]
fn short_help_is_one_screen_of_the_common_options() {
    let output = run(&["-h"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
    let help = stdout(&output);
    assert_matches_file("golden/short-help.txt", &help);
    assert!((24..=40).contains(&help.lines().count()), "{help}");
    assert_eq!(stdout(&run(&["-vh"])), help, "beside other short options");
    assert_eq!(
        stdout(&run(&["-h", "--help"])),
        stdout(&run(&["--help"])),
        "the longer help is asked for"
    );
}

/// Every option of flowtop is one that the tables of other tools do not claim.
#[test]
fn options_of_other_tools_are_answered_in_one_line() {
    for (args, help) in [
        (
            &["--interface", "eth0"][..],
            "unknown option \"--interface\": flowtop counts at sockets",
        ),
        (
            &["-i", "eth0"],
            "--interval \"eth0\": -i is the length of an interval",
        ),
        (&["-i", "eth0"], "write interface eth0"),
        (&["-P"], "unknown option \"-P\": ports are always shown"),
        (&["-n"], "give a number of rows, as in -n 20"),
        (&["-F", "10.0.0.0/8"], "flowtop net 10.0.0.0/8"),
        (&["-v", "3"], "-v takes no number"),
        (&["-d", "2"], "use -i for the length of an interval"),
        (&["--no-resolve"], "unless -x is given"),
        (
            &["-g", "proc"],
            "error: --group: unknown group \"proc\": did you mean \"process\"?",
        ),
        (
            &["--exit-when", "cpu > 5"],
            "unknown word \"cpu\": test rate or bytes",
        ),
        (&["--exit-when", "rate > 1Mb"], "write 1Mbit or 1MB"),
        (&["-p", "nginx"], "the filter process nginx"),
        (&["-w", "x.pcap"], "use --record"),
        (
            &["--frobnicate"],
            "unknown option \"--frobnicate\": flowtop --help lists",
        ),
        (&["--grup", "process"], "did you mean --group?"),
        (&["--record-size", "1MB"], "--record is missing"),
        (
            &["--json", "--batch"],
            "--json cannot be used with --batch: leave out one of them",
        ),
        (&["--quiet=x"], "--quiet takes no value: leave \"x\" out"),
        (&["--once", "--once"], "--once was given twice"),
    ] {
        let output = run(args);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
        assert!(message.contains(help), "{args:?}: {message}");
        assert!(message.starts_with("error: "), "{message}");
        assert_eq!(message.lines().count(), 1, "{args:?}: {message}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = run(&["-V"]);
    assert_eq!(
        stdout(&output),
        format!("flowtop {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_manual_page_has_every_option() {
    let output = run(&["--man"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
    let page = stdout(&output);
    let title = page.lines().next().unwrap_or_default();
    let version = concat!("\"flowtop ", env!("CARGO_PKG_VERSION"), "\"");
    let has_title = title.starts_with(".TH FLOWTOP 8 20") && title.contains(version);
    assert!(has_title, "{title}");
    let help = stdout(&run(&["--help"]));
    let options = help
        .split_whitespace()
        .filter(|word| word.starts_with("--"));
    let options: Vec<&str> = options.collect();
    assert!(options.len() > 20, "{options:?}");
    for option in options {
        let option = option.trim_end_matches(|c: char| !c.is_ascii_lowercase());
        let option = option.replace('-', "\\-");
        assert!(page.contains(&option), "{option} is not in the manual page");
    }
}

/// The shell's own functions, called as it calls them for the Tab key.
#[test]
fn bash_completes_options_and_their_values() {
    let script = run(&["--completions", "bash"]);
    assert_eq!(script.status.code(), Some(0));
    assert_eq!(stderr(&script), "");
    for (typed, expected) in [
        ("--comp", "--completions"),
        ("--completions ", "bash fish zsh"),
        ("--backend k", "kprobe"),
        ("--units bits", "bits bits-iec"),
        ("-g net", "net/24"),
        ("--sort ti", ""),
        ("--json --color a", "auto always"),
        ("portr", "portrange"),
        ("o", "or"),
        ("proce", "process"),
    ] {
        let ask = format!(
            r#"{}
            COMP_WORDS=(flowtop {typed}); COMP_LINE="flowtop {typed}"
            [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
            COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            _flowtop flowtop "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
            echo "${{COMPREPLY[*]}}""#,
            stdout(&script)
        );
        let bash = Command::new("bash").args(["--norc", "-c", &ask]).output();
        let bash = bash.unwrap();
        assert_eq!(stdout(&bash).trim(), expected, "{typed}: {}", stderr(&bash));
    }
}

#[test]
fn bad_values_exit_2_with_the_fix_on_stderr() {
    let many: Vec<String> = (1..=65).map(|id: u32| id.to_string()).collect();
    for (args, fix) in [
        (vec!["-i", "0"], "give 0.01 to 86400 seconds"),
        (vec!["-i", "soon"], "give 0.01 to 86400 seconds"),
        (vec!["-p", "0"], "give a number from 1 to 4194304"),
        (vec!["-p", "nginx"], "give a number from 1 to 4194304"),
        (vec!["-t", "4194305"], "give a number from 1 to 4194304"),
        (vec!["-p", &many.join(",")], "name fewer"),
        (vec!["-c", "0"], "give a number from 1 up"),
        (vec!["-n", "-1"], "0 for all flows"),
        (vec!["-n", "ten"], "0 for all flows"),
        (
            vec!["--max-flows", "15"],
            "give a number from 16 to 16777216",
        ),
        (
            vec!["--backend", "xdp"],
            "--backend \"xdp\": use one of auto, raw_tracepoint, tracepoint, fentry, kprobe",
        ),
        (vec!["--json", "--batch"], "cannot be used with"),
        (vec!["--units", "bit"], "did you mean \"bits\"?"),
        (
            vec!["--color", "maybe"],
            "unknown choice \"maybe\": use auto, always or never",
        ),
        (vec!["--columns", "rate,usr"], "did you mean \"user\"?"),
        (vec!["--sort", "60s", "--json"], "only the live table"),
        (vec!["-g", "net/33", "--json"], "write net/24"),
        (vec!["--wide", "--json"], "cannot be used with"),
        (vec!["--sort", "peak"], "only the live table"),
        (vec!["--config", "/nonexistent"], "read /nonexistent: "),
        (vec!["--completions", "tcsh"], "bash, fish, zsh"),
        (vec!["--frobnicate"], "--help"),
        (
            vec!["eth0"],
            "error: filter: unknown word \"eth0\" (column 1): flowtop counts at sockets",
        ),
        (vec!["port", "80", "or"], "a term is missing after \"or\""),
        (vec!["tcp and (port 80"], "\"(\" is not closed"),
        (
            vec!["tcp or udp and port 80"],
            "write (tcp or udp) and port 80, or",
        ),
        (vec!["-p", "1", "net 10.0.0.1/8"], "write net 10.0.0.0/8"),
        (vec!["--explain-filter", "sport = :22"], "write local port"),
    ] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(stdout(&output), "", "{args:?}");
        assert!(
            stderr(&output).contains(fix),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

/// Without the kernel: it can be asked on any machine.
#[test]
fn a_filter_is_explained() {
    let explained = |args: &[&str]| {
        let output = run(&[&["--explain-filter"], args].concat());
        assert_eq!(stderr(&output), "");
        assert_eq!(output.status.code(), Some(0));
        stdout(&output)
    };
    let all = explained(&[
        "-p7", "-t9", "tcp", "port", "443", "and", "not", "comm", "ssh",
    ]);
    assert!(
        all.starts_with("filter:      (pid 7 or tid 9) and tcp and port 443 and not process ssh\n"),
        "{all}"
    );
    let (kernel, user) = all.split_once("\nuser space:  ").unwrap();
    assert!(
        kernel.ends_with("\nkernel:      (pid 7 or tid 9) and tcp and port 443"),
        "{all}"
    );
    assert!(
        user.ends_with("not process ssh  (process names are read when an interval ends)\n"),
        "{all}"
    );
    assert_eq!(
        explained(&["--no-pushdown", "pid 7"]),
        "filter:      pid 7\nkernel:      nothing, it counts everything\n\
         user space:  pid 7  (the kernel filters nothing with --no-pushdown or --replay)\n"
    );
    assert_eq!(
        explained(&["pid 7"]),
        "filter:      pid 7\nkernel:      pid 7\n\
         user space:  nothing, the kernel decides all of it\n"
    );
    assert_eq!(explained(&[]), "filter:      none, everything is counted\n");
}

#[test]
fn the_printed_configuration_is_one_that_says_the_same() {
    let folder = Folder::new("config");
    fs::create_dir(folder.join("flowtop")).unwrap();
    let file = folder.join("flowtop/config.toml");
    let print = |args: &[&str]| {
        let mut command = flowtop();
        command.env("XDG_CONFIG_HOME", folder.path());
        let output = command.arg("--print-config").args(args).output().unwrap();
        assert_eq!(stderr(&output), "");
        assert_eq!(output.status.code(), Some(0));
        stdout(&output)
    };
    assert_matches_file("golden/config.toml", &print(&[]));
    let asked = [
        "--units=bits",
        "--sort=process:desc",
        "--group=user",
        "--columns=rate,process",
        "--color=never",
        "--ascii",
    ];
    let printed = print(&asked);
    assert_ne!(printed, print(&[]));
    fs::write(&file, &printed).unwrap();
    assert_eq!(print(&[]), printed, "from the file as from the arguments");
    assert_ne!(print(&["--units=bytes"]), printed, "arguments go before");
}

#[test]
fn a_wrong_configuration_exits_2_with_file_line_and_key() {
    let folder = Folder::new("wrong");
    let file = folder.join("wrong.toml");
    fs::write(&file, "sort = \"rate\"\nunits = \"byte\"\n").unwrap();
    let output = flowtop().arg("--config").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout(&output), "");
    assert_eq!(
        stderr(&output),
        format!(
            "error: {}: line 2: units: unknown unit \"byte\": did you mean \"bytes\"?\n",
            file.display()
        )
    );
}

#[test]
fn text_is_in_the_units_asked_for() {
    let output = run(&["--batch", "--units=bits-iec", "-i", "0.05", "-c", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("bit/s  out "), "{text}");
    assert!(!text.contains("B/s"), "{text}");
}

#[test]
fn without_privilege_the_missing_capability_is_named() {
    let folder = Folder::with_mode("cli", 0o777);
    let mut command = Command::new(folder.copy_flowtop());
    let record = folder.join("x.jsonl");
    command
        .args(["--json", "-c", "1", "--record"])
        .arg(&record)
        .stdin(Stdio::null());
    if getuid().is_root() {
        // Also takes every capability and supplementary group away.
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    assert!(!record.exists(), "no file is left behind");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    let message = stderr(&output);
    assert!(message.starts_with("flowtop: "), "{message}");
    assert!(
        message.contains("CAP_BPF") && message.contains("CAP_PERFMON"),
        "{message}"
    );
    assert!(message.contains("sudo"), "the fix is named: {message}");
}

#[test]
fn a_closed_pipe_is_a_normal_end() {
    let mut child = flowtop()
        .args(["--json", "-i", "0.05"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    drop(reader);
    let code = wait(&mut child);
    let mut message = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut message)
        .unwrap();
    assert_eq!(code, Some(0), "{message}");
    assert_eq!(message, "");
    assert!(
        line.starts_with(r#"{"type":"interval","schema":3,"#),
        "{line}"
    );
}

#[test]
fn count_ends_after_that_many_intervals() {
    let output = run(&["--json", "-n", "0", "-i", "0.1", "-c", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let records: Vec<Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let intervals: Vec<&Value> = records.iter().filter(|r| r["type"] == "interval").collect();
    // A machine too busy to write one in time merges it into the next; none is lost.
    assert!((1..=3).contains(&intervals.len()), "{intervals:?}");
    let length: f64 = intervals
        .iter()
        .map(|r| r["seconds"].as_f64().unwrap())
        .sum();
    assert!(length >= 0.29, "{length}");
}

#[test]
fn a_signal_prints_the_last_partial_interval_and_is_a_normal_end() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = flowtop()
            .args(["--json", "-v", "-i", "3600"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // With -v the backend is named once everything is attached.
        let mut line = String::new();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        while !line.contains(" backend: ") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "ended too early");
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        // Reading on, so that it never waits for room in the pipe.
        let rest = thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        assert_eq!(wait(&mut child), Some(0), "{signal:?}");
        rest.join().unwrap().unwrap();
        let mut out = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut out)
            .unwrap();
        let record: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
        assert_eq!(record["type"], "interval");
        assert!(record["seconds"].as_f64().unwrap() < 3600.0);
    }
}

#[test]
fn the_first_interval_is_written_as_soon_as_it_ends() {
    let start = Instant::now();
    let mut child = flowtop()
        .args(["--batch", "-i", "0.2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("  exact") && !text.contains("unseen") {
        assert!(
            reader.read_line(&mut text).unwrap() > 0,
            "ended too early: {text}"
        );
    }
    assert!(start.elapsed() < PATIENCE);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(wait(&mut child), Some(0));
    assert!(
        text.starts_with("20"),
        "no time first, and notes elsewhere: {text}"
    );
}
