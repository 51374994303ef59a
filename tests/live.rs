//! The real binary in a pseudo-terminal under real traffic, read back as a terminal shows it. Needs
//! root, as all of `make test` does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

mod common;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::pty::{PATIENCE, Pty, Watched, is_raw, resize};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// What the terminal is asked for its background with.
const QUESTION: &[u8] = b"\x1b]11;?\x1b\\";

/// Traffic of known kinds, ended when dropped.
struct Traffic(Child);

impl Traffic {
    fn start() -> Self {
        let mut path = PathBuf::from(env!("CARGO_BIN_EXE_flowtop"));
        path.set_file_name("examples");
        let traffic = path.join("traffic");
        let child = Command::new(traffic)
            .args(["demo", "--seconds", "120"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// flowtop on a terminal of its own.
struct Live {
    child: Child,
    terminal: Pty,
    screen: Arc<Watched<vt100::Parser>>,
    /// Everything that was written, as it was.
    written: Arc<Watched<Vec<u8>>>,
}

impl Live {
    fn start(width: u16, height: u16, args: &[&str]) -> Self {
        let terminal = Pty::open(width, height);
        let child = terminal
            .command(env!("CARGO_BIN_EXE_flowtop"))
            .args(args)
            .env("LC_ALL", "C.UTF-8")
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .spawn()
            .unwrap();
        let screen = Arc::new(Watched::new(vt100::Parser::new(height, width, 0)));
        let written = Arc::new(Watched::default());
        let (filling, log) = (Arc::clone(&screen), Arc::clone(&written));
        terminal.read(move |bytes| {
            log.change(|log: &mut Vec<u8>| log.extend(bytes));
            filling.change(|screen| screen.process(bytes));
        });
        Self {
            child,
            terminal,
            screen,
            written,
        }
    }

    fn text(&self) -> String {
        self.screen.with(|screen| screen.screen().contents())
    }

    #[track_caller]
    fn wait_for(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        let seen = self.screen.wait_until(|screen| {
            text = screen.screen().contents();
            is_there(&text)
        });
        assert!(seen, "no {what}:\n{text}");
        text
    }

    #[track_caller]
    fn see(&self, what: &str) -> String {
        self.wait_for(what, |text| text.contains(what))
    }

    fn press(&mut self, keys: &str) {
        self.terminal.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn is_raw(&self) -> bool {
        is_raw(&self.terminal.line)
    }

    /// Whether it asks the terminal for its background.
    fn was_asked(&self) -> bool {
        let is_question = |part: &[u8]| part == QUESTION;
        self.written
            .wait_until(|written| written.windows(QUESTION.len()).any(is_question))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    #[track_caller]
    fn assert_gone(&mut self, code: i32) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "still runs:\n{}", self.text());
            thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status.code(), Some(code), "{}", self.text());
        assert!(!self.is_raw());
        let back = self.screen.wait_until(|screen| {
            let screen = screen.screen();
            !screen.alternate_screen()
                && !screen.hide_cursor()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
        });
        assert!(back, "no shell's screen: {}", self.text());
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_whole_table_is_worked_by_keys_and_mouse() {
    let _traffic = Traffic::start();
    let mut live = Live::start(100, 30, &["-i", "200ms"]);
    live.see("demo-backup");
    // Known rates: 20 MB/s from one process, 2 MB/s from another.
    live.wait_for("20 MB/s on top", |text| {
        let top = text
            .lines()
            .skip_while(|line| !line.contains("Egress"))
            .nth(2);
        top.is_some_and(|line| line.contains("demo-backup") && line.contains("MB/s"))
    });

    // Sorted by process, from A; then the other way round.
    for _ in 0..9 {
        if live.text().contains("PROCESS ▲") {
            break;
        }
        live.press("s");
        thread::sleep(Duration::from_millis(150));
    }
    live.see("PROCESS ▲");
    live.press("S");
    live.see("PROCESS ▼");
    // A click on a heading does the same: the rates stand at the left.
    live.press("\x1b[<0;7;4M\x1b[<0;7;4m");
    live.see("RATE ▼");

    live.press("/camera");
    live.wait_for("the filter", |text| {
        text.contains("/camera") && text.contains(" found, ") && !text.contains("demo-backup")
    });
    live.press("\r\x1b");
    live.see("demo-backup");

    live.press(" ");
    live.see("PAUSED");
    let before = live.text();
    thread::sleep(Duration::from_millis(700));
    let without_clock = |text: &str| text.lines().skip(1).collect::<Vec<_>>().join("\n");
    assert_eq!(without_clock(&before), without_clock(&live.text()));
    live.press(" ");
    live.wait_for("going on", |text| !text.contains("PAUSED"));

    live.press("g");
    live.see("Egress by process");
    live.press("\t\r");
    live.see("Egress › demo-backup");
    live.press("\r");
    let detail = live.see("╶ Flow ╴");
    assert!(
        detail.contains("demo-backup") && detail.contains("first seen"),
        "{detail}"
    );
    live.see("command");
    live.press("\x1b");
    live.see("Egress › demo-backup");

    live.screen
        .with(|screen| screen.screen_mut().set_size(40, 140));
    resize(&live.terminal.keyboard, 140, 40);
    live.see("ago ─");
    live.press("?");
    live.see("What is shown");
    live.press("q");
    live.assert_gone(0);
}

#[test]
fn suspended_it_gives_the_terminal_back_and_continued_it_goes_on() {
    let _traffic = Traffic::start();
    let mut live = Live::start(80, 24, &["-i", "200ms"]);
    live.see("demo-backup");
    assert!(live.is_raw());
    live.press("\x1a");
    let stat = format!("/proc/{}/stat", live.pid().as_raw_nonzero());
    let start = Instant::now();
    while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
        assert!(start.elapsed() < PATIENCE, "does not stop");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(!live.is_raw());
    live.wait_for("the shell's screen", |text| !text.contains("Egress"));
    kill_process(live.pid(), Signal::CONT).unwrap();
    live.see("demo-backup");
    assert!(live.is_raw());
    kill_process(live.pid(), Signal::TERM).unwrap();
    live.assert_gone(0);
}

/// Whether the row of a process has a colour behind some of its cells.
fn is_coloured(screen: &vt100::Screen, process: &str) -> bool {
    let (_, columns) = screen.size();
    let is_row = |row: &String| row.contains(process) && row.contains("B/s");
    let Some(row) = screen.rows(0, columns).position(|row| is_row(&row)) else {
        return false;
    };
    let cells = (0..columns).filter_map(|column| screen.cell(row as u16, column));
    let mut colours = cells.map(vt100::Cell::bgcolor);
    colours.any(|colour| colour != vt100::Color::Default)
}

#[test]
fn a_terminal_that_answers_is_believed_and_no_key_is_lost_to_that() {
    let _traffic = Traffic::start();
    let mut live = Live::start(100, 30, &["-i", "200ms"]);
    assert!(live.was_asked());
    // It says nothing yet: the table comes all the same, in colours that suit any background.
    live.see("demo-backup");
    let coloured = |screen: &mut vt100::Parser| is_coloured(screen.screen(), "demo-backup");
    assert!(!live.screen.with(coloured));
    // The answer comes late, in the middle of what is typed, and is none of it.
    live.press("/demo\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\-backup\r");
    live.see("/demo-backup ");
    let bar = live.screen.wait_until(coloured);
    assert!(bar, "no bar behind a row: {}", live.text());
    live.press("q");
    live.assert_gone(0);
}

#[test]
fn who_leaves_at_once_leaves_no_answer_to_the_shell() {
    for _ in 0..20 {
        let mut live = Live::start(80, 24, &[]);
        assert!(live.was_asked());
        let start = Instant::now();
        live.press("q");
        thread::sleep(Duration::from_millis(20));
        live.press("\x1b]11;rgb:0000/0000/0000\x07");
        let answered = start.elapsed();
        live.assert_gone(0);
        // Raw, so that it is told what is in the line though no Enter came.
        let mut modes = tcgetattr(&live.terminal.line).unwrap();
        modes.make_raw();
        tcsetattr(&live.terminal.line, OptionalActions::Now, &modes).unwrap();
        let left = rustix::io::ioctl_fionread(&live.terminal.line).unwrap();
        // A terminal that takes long is not waited for: on a busy machine this may be one.
        if answered < Duration::from_millis(50) {
            assert_eq!(left, 0, "bytes left for the shell");
            return;
        }
    }
    panic!("this machine is too busy to answer within 50 ms");
}
