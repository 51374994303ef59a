//! The real binary in a pseudo-terminal under real traffic, read back as a terminal shows it. Needs
//! root, as all of `make test` does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

const PATIENCE: Duration = Duration::from_secs(20);

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
    keyboard: File,
    line: File,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Live {
    fn start(width: u16, height: u16, args: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let line = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let keyboard = File::from(master);
        resize(&keyboard, width, height);
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(env!("CARGO_BIN_EXE_flowtop"))
            .args(args)
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .stdin(line.try_clone().unwrap())
            .stdout(line.try_clone().unwrap())
            .stderr(line.try_clone().unwrap())
            .spawn()
            .unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(height, width, 0)));
        let (mut output, filling) = (keyboard.try_clone().unwrap(), Arc::clone(&screen));
        thread::spawn(move || {
            let mut bytes = [0; 8192];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                filling.lock().unwrap().process(&bytes[..n]);
            }
        });
        Self {
            child,
            keyboard,
            line,
            screen,
        }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    #[track_caller]
    fn wait_for(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let text = self.text();
            if is_there(&text) {
                return text;
            }
            assert!(start.elapsed() < PATIENCE, "no {what}:\n{text}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    fn see(&self, what: &str) -> String {
        self.wait_for(what, |text| text.contains(what))
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.line).unwrap().local_modes;
        !modes.contains(LocalModes::ICANON)
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
        self.wait_for("shell's screen", |_| {
            let screen = self.screen.lock().unwrap();
            let screen = screen.screen();
            !screen.alternate_screen()
                && !screen.hide_cursor()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
        });
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: &File, width: u16, height: u16) {
    let size = Winsize {
        ws_row: height,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
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

    live.screen.lock().unwrap().screen_mut().set_size(40, 140);
    resize(&live.keyboard, 140, 40);
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
