//! Names that others chose, as hostile as they can be, in every output of the real binary:
//! processes, control groups, users, hosts by /etc/hosts and by a name server. Nothing of them
//! reaches a terminal as it is, and no column moves. Needs root, as all of `make test` does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crate::common::counting::traffic_program;
use crate::common::lan::{Lan, NSD};
use crate::common::pty::{PATIENCE, Pty, Watched};
use flowtop::text::sanitize::{columns, is_unsafe_char};
use serde_json::Value;

/// Names of 15 bytes, as processes have them.
const COMMS: &[&[u8]] = &[
    b"\x1b]0;PWN\x07",
    b"\x1b[2J\x1b[31m",
    b"\xc2\x9b31mC1",
    b"\xe2\x80\xaegpj.exe",
    b"\xff\xfe\x80bad",
    b"a\nb\r\tc",
    // Marks that are stacked, a zero-width joiner, wide characters, a skin tone.
    b"e\xcc\x81\xcc\x81\xcc\x81\xe2\x80\x8dx",
    "例例例例例".as_bytes(),
    "\u{1f44d}\u{1f3fd}ok".as_bytes(),
    // Blanks alone, and words of flowtop's own.
    b"   ",
    "\u{a0}\u{3000}".as_bytes(),
    b"flowtop (own)",
    b"[kworker/0:1]",
    b"unknown",
    b"harmless",
];
/// One of a control group; it has everything.
const CGROUP: &str = "\x1b[2J\x07\u{9b}31m\u{202e}例\u{301}\u{e49}\u{e49}\u{200b}\u{feff}.service";
const USER: &str = "ev\x1b[1mil\u{202e}";
const HOST: &str = "\x1b]2;PWN\x07\u{9b}1m\u{202e}host";

/// Senders of all these names, one after the other, until it is dropped.
struct Senders {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
    cgroup: Option<PathBuf>,
}

impl Senders {
    /// From and to 198.51.100.8, of user 4321, in a control group.
    fn start() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mut mounts = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let root = mounts.find(|fields| fields[2] == "cgroup2");
        let cgroup = root.map(|fields| PathBuf::from(fields[1]).join(CGROUP));
        if let Some(cgroup) = &cgroup {
            fs::create_dir_all(cgroup).unwrap();
        }
        let listener = TcpListener::bind("198.51.100.8:5000").unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, group) = (Arc::clone(&stop), cgroup.clone());
        let thread = thread::spawn(move || {
            // By a name server's name.
            let (from, to) = (
                UdpSocket::bind("192.0.2.8:0"),
                UdpSocket::bind("192.0.2.9:5000"),
            );
            let (from, to) = (from.unwrap(), to.unwrap());
            for comm in COMMS.iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let mut send = Command::new(traffic_program());
                send.args([
                    "send",
                    "198.51.100.8:5000",
                    "5000",
                    "--uid",
                    "4321",
                    "--comm",
                ]);
                send.arg(OsStr::from_bytes(comm));
                if let Some(group) = &group {
                    send.arg("--cgroup").arg(group);
                }
                let mut child = send.stdin(Stdio::null()).spawn().unwrap();
                let mut bytes = Vec::new();
                listener
                    .accept()
                    .unwrap()
                    .0
                    .read_to_end(&mut bytes)
                    .unwrap();
                assert!(child.wait().unwrap().success());
                from.send_to(b"hello", to.local_addr().unwrap()).unwrap();
            }
        });
        Self {
            stop,
            thread: Some(thread),
            cgroup,
        }
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
        if let Some(cgroup) = &self.cgroup {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

/// What flowtop writes of the senders, line by line, until that is enough.
fn watch(args: &[&str], mut is_enough: impl FnMut(&str) -> bool) {
    let mut flowtop = Command::new(env!("CARGO_BIN_EXE_flowtop"))
        .args(["port 5000", "-x", "-n", "0", "-i", "300ms"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let mut lines = BufReader::new(flowtop.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next().unwrap().unwrap();
        assert!(!line.chars().any(is_unsafe_char), "{args:?}: {line:?}");
        if is_enough(&line) {
            break;
        }
        assert!(
            start.elapsed() < 3 * PATIENCE,
            "{args:?}: not enough; at last {line}"
        );
    }
    drop(lines);
    assert!(flowtop.wait().unwrap().success());
}

/// What is left to be seen of some texts.
fn all_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> impl FnMut(&str) -> bool {
    let mut left: Vec<String> = texts.into_iter().map(str::to_owned).collect();
    move |line| {
        left.retain(|text| !line.contains(text.as_str()));
        left.is_empty()
    }
}

/// How some of the names are shown.
const SHOWN: &[&str] = &[
    r"\x1b]0;PWN\x07",
    r"\x1b[2J\x1b[31m",
    r"\x9b31mC1",
    r"\u{202e}gpj.exe",
    "\u{fffd}\u{fffd}\u{fffd}bad",
    r"a\nb\r\tc",
    r"e\u{301}\u{301}\u{301}\u{200d}x",
    "例例例例例",
    "\u{1f44d}\\u{1f3fd}ok",
    r"\u{20}\u{20}\u{20}",
    r"\xa0\u{3000}",
    r"flowtop \u{28}own)",
    r"\u{5b}kworker/0:1]",
    r"\u{75}nknown",
    "harmless",
];

#[test]
fn names_of_others_cannot_drive_a_terminal_or_move_a_column() {
    Lan::enter("hostile", |lan| {
        let records = "8 PTR *.\n9 PTR evil\\027[31m\\007\\194\\1551m.example.\n";
        let _nsd = lan.nsd(&[("2.0.192.in-addr.arpa", records)]);
        lan.write("resolv.conf", &format!("nameserver {NSD}\n"));
        lan.write("hosts", &format!("198.51.100.8 {HOST}\n"));
        lan.replace("passwd", &format!("root:x:0:0::/:\n{USER}:x:4321:0::/:\n"));
        let senders = Senders::start();
        json(senders.cgroup.is_some());
        text();
        screen();
    });
}

fn json(has_cgroup: bool) {
    let mut left: Vec<String> = COMMS
        .iter()
        .map(|comm| String::from_utf8_lossy(comm).into_owned())
        .collect();
    let (mut host, mut server) = (false, false);
    watch(&["--json"], |line| {
        let record: Value = serde_json::from_str(line).unwrap();
        if record["type"] != "flow" {
            return false;
        }
        // What there was, to the character.
        left.retain(|comm| record["process"] != *comm);
        if record["uid"] == 4321 {
            assert_eq!(record["user"], USER);
            let group = format!("/{CGROUP}");
            assert!(!has_cgroup || record["cgroup"] == group, "{record}");
        }
        assert_ne!(record["remote_name"], "*", "that is an unknown peer");
        host |= record["remote_name"] == HOST;
        server |= record["remote_name"] == r"evil\027[31m\007\194\1551m.example";
        left.is_empty() && host && server
    });
}

fn text() {
    // The process is the last: what stands before it is in its place, whatever the names are.
    let mut place = 0;
    let mut all = all_of(SHOWN.iter().copied());
    watch(&["--batch"], |line| {
        if let Some((before, _)) = line.split_once("PROCESS") {
            place = columns(before);
        } else if line.contains("  tcp  ") {
            // Hosts may be longer than the column in their own rows.
            let shown = SHOWN.iter().find_map(|name| line.strip_suffix(name));
            let fits = shown.is_some_and(|before| columns(before) == place);
            assert!(
                fits || !line.contains("harmless") || place == 0,
                "{place}: {line}"
            );
        }
        all(line)
    });
    let mut user = 0;
    let mut all = all_of(SHOWN.iter().copied().chain([r"ev\x1b[1mil\u{202e}"]));
    watch(&["--batch", "--wide", "-g", "process"], |line| {
        if let Some((before, _)) = line.split_once("  USER") {
            user = columns(before) + 2;
        } else if let Some((before, _)) = line.split_once(r"ev\x1b") {
            assert_eq!(columns(before), user, "{line}");
        }
        all(line)
    });
}

/// flowtop on a terminal, whose screen is read back as a terminal shows it.
fn screen() {
    let terminal = Pty::open(180, 50);
    let mut flowtop = terminal
        .command(env!("CARGO_BIN_EXE_flowtop"))
        .args(["port 5000", "-x", "-i", "300ms", "--group", "process"])
        .env("LC_ALL", "C.UTF-8")
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .spawn()
        .unwrap();
    let screen = Arc::new(Watched::new(vt100::Parser::new(50, 180, 0)));
    let written = Arc::new(Watched::<Vec<u8>>::default());
    let (filling, log) = (Arc::clone(&screen), Arc::clone(&written));
    terminal.read(move |bytes| {
        log.change(|log| log.extend(bytes));
        filling.change(|screen| screen.process(bytes));
    });
    let mut keyboard = terminal.keyboard.try_clone().unwrap();
    let place = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.contains(name));
        line.map(|line| columns(line.split_once(name).unwrap().0))
    };
    // The widest of them, whole, in its place as another is. A screen is looked at while it is
    // drawn, so for a moment rows may be of two drawings.
    let saw = screen.wait_until(|screen| {
        let text = screen.screen().contents();
        let harmless = place(&text, "harmless");
        let fits = harmless.is_some() && place(&text, "例例例例例") == harmless;
        fits && text.contains(r"\x1b[2J")
    });
    let shown = || screen.with(|screen| screen.screen().contents());
    assert!(saw, "{}", shown());
    // All of what is known of one, hosts too.
    keyboard.write_all(b"\r").unwrap();
    let saw = screen.wait_until(|screen| screen.screen().contents().contains("messages"));
    assert!(saw, "{}", shown());
    keyboard.write_all(b"\r").unwrap();
    let saw = screen.wait_until(|screen| screen.screen().contents().contains(" › "));
    assert!(saw, "{}", shown());
    keyboard.write_all(b"\r").unwrap();
    let saw = screen.wait_until(|screen| screen.screen().contents().contains("host"));
    assert!(saw, "{}", shown());
    keyboard.write_all(b"qq").unwrap();
    assert!(flowtop.wait().unwrap().success());
    let written = written.with(|written| String::from_utf8_lossy(written).into_owned());
    for evil in [
        "\x1b]0;PWN",
        "\x1b]2;PWN",
        "\u{9b}",
        "\u{202e}",
        "\u{301}",
        "\u{e49}",
        "\u{200d}",
    ] {
        assert!(!written.contains(evil), "{evil:?} was written");
    }
}

/// A word that sets the terminal's title, clears it, turns the writing direction, and begins a
/// line.
const WORD: &str = "x\x1b]0;PWN\x07\x1b[2J\u{9b}31m\u{202e}\nFORGED";

/// What a command that ends by itself writes to a terminal.
fn written(arguments: &[&OsStr], program: &Path, folder: &Path) -> String {
    let pty = Pty::open(200, 50);
    let reported = Arc::new(Watched::new(Vec::new()));
    let take = Arc::clone(&reported);
    let reader = pty.read(move |bytes| take.change(|reported| reported.extend_from_slice(bytes)));
    let mut command = pty.command(program);
    command
        .args(arguments)
        .current_dir(folder)
        .env("XDG_CONFIG_HOME", "/nonexistent");
    let mut child = command.spawn().unwrap();
    drop(command);
    child.wait().unwrap();
    drop(pty);
    reader.join().unwrap();
    reported.with(|reported| String::from_utf8_lossy(reported).into_owned())
}

/// Panics where a text from a terminal has a control that is not a line's end, or a forged line.
#[track_caller]
fn assert_harmless(text: &str, what: &[&OsStr]) {
    // A terminal's line discipline writes a line end as both.
    let text = text.replace("\r\n", "\n");
    let hostile = text.chars().find(|&c| is_unsafe_char(c) && c != '\n');
    assert_eq!(hostile, None, "{what:?}: {text:?}");
    assert!(
        !text.lines().any(|line| line.starts_with("FORGED")),
        "{what:?}: {text:?}"
    );
    assert!(!text.trim().is_empty(), "{what:?} says nothing");
}

#[test]
fn no_message_carries_an_argument_or_a_file_name_to_the_terminal_as_it_is() {
    let folder = std::env::temp_dir().join(format!("flowtop-words-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    let sub = folder.join(WORD);
    fs::create_dir_all(&sub).unwrap();
    let file = format!("{WORD}.jsonl");
    fs::write(folder.join(&file), format!("{WORD}\n")).unwrap();
    let config = format!("{WORD}.toml");
    fs::write(folder.join(&config), format!("units = {WORD:?}\n")).unwrap();
    let keys = "keys.toml";
    fs::write(folder.join(keys), "\"\\u001b[2J\" = 1\n").unwrap();
    let pause = "pause.toml";
    fs::write(folder.join(pause), "keys.pause = \"\\u202e\"\n").unwrap();
    let inner = format!("{WORD}/no/b.jsonl");
    let both = format!("--batch={WORD}");
    let unknown = format!("--{WORD}");
    let comm = format!("comm '{}'", WORD.replace('\n', ""));
    let program = Path::new(env!("CARGO_BIN_EXE_flowtop"));
    let options = [
        "-n",
        "-p",
        "-t",
        "-i",
        "-c",
        "--duration",
        "--exit-when",
        "--record-size",
        "--record-time",
        "--record-files",
        "--listen",
        "--scrape-interval",
        "--listen-host",
        "--backend",
        "--max-flows",
        "-g",
        "--sort",
        "--columns",
        "--units",
        "--color",
        "--completions",
        "--explain-filter",
    ];
    let mut cases: Vec<Vec<&str>> = options.iter().map(|&option| vec![option, WORD]).collect();
    cases.extend([
        // Files that are not there, are folders, or are no recordings.
        vec!["--replay", "nothing\x1b[2J"],
        vec!["--replay", WORD],
        vec!["--replay", &file, "--batch"],
        vec!["--replay", "tcp and port 443 \x1b[2J"],
        vec!["--record", &file],
        vec!["--record", WORD],
        vec!["--record", &inner, "-q", "-c", "1", "-i", "10ms"],
        vec!["--config", WORD],
        vec!["--config", "nothing\x1b[2J"],
        vec!["--config", &config],
        vec!["--config", keys],
        vec!["--config", pause, "--print-config"],
        // What is printed, and what is wrong as a whole.
        vec!["--explain-filter", &comm],
        vec!["--batch", "-c", "1", "-i", "10ms", &comm],
        vec!["-q", "--exit-when", "rate >= 0", "-i", "10ms", &comm],
        vec![&both],
        vec![&unknown],
        vec!["--sort", "60s", "--batch"],
        vec!["tcp", WORD],
        vec!["--replay", &file, "--record", WORD],
    ]);
    for case in &cases {
        let arguments: Vec<&OsStr> = case.iter().map(OsStr::new).collect();
        assert_harmless(&written(&arguments, program, &folder), &arguments);
    }
    // What it is called is an argument too.
    let link = folder.join("\x1b[2Jtop");
    std::os::unix::fs::symlink(program, &link).unwrap();
    let arguments = [OsStr::new("--nothing")];
    assert_harmless(&written(&arguments, &link, &folder), &arguments);
    // No valid UTF-8.
    let arguments = [
        OsStr::new("--replay"),
        OsStr::from_bytes(b"\xff\x1b[2J\x9b"),
    ];
    assert_harmless(&written(&arguments, program, &folder), &arguments);
    fs::remove_dir_all(&folder).unwrap();
}
