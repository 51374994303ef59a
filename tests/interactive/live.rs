//! The real binary in a pseudo-terminal under real traffic, read back as a terminal shows it. Needs
//! root, as all of `make test` does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Child;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::demo::Demo;
use crate::common::pty::{PATIENCE, Pty, Watched, is_raw, resize};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// What the terminal is asked for its background with.
const QUESTION: &[u8] = b"\x1b]11;?\x1b\\";

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
        Self::start_by(&[], width, height, args)
    }

    /// Started by another program, which makes its surroundings.
    fn start_by(wrapper: &[&str], width: u16, height: u16, args: &[&str]) -> Self {
        let terminal = Pty::open(width, height);
        let mut words = wrapper.to_vec();
        words.push(env!("CARGO_BIN_EXE_flowtop"));
        words.extend(args);
        let child = terminal
            .command(words[0])
            .args(&words[1..])
            .env("LC_ALL", "C.UTF-8")
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .env("XDG_STATE_HOME", "/dev/null")
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
    let traffic = Demo::start();
    let pids = traffic.pids();
    let mut live = Live::start(100, 30, &["-i", "200ms", "-p", &pids]);
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
    let sorted = |text: &str| {
        let heading = text.lines().find(|line| line.contains("PROCESS"))?;
        let (column, _) = heading.split_once(['▲', '▼'])?;
        column.split_whitespace().next_back().map(str::to_owned)
    };
    for _ in 0..9 {
        // None where it is by a column that finds no room.
        let by = sorted(&live.text());
        if by.as_deref() == Some("PROCESS") {
            break;
        }
        live.press(">");
        live.wait_for("another order", |text| sorted(text) != by);
    }
    live.see("PROCESS ▲");
    live.press("S");
    live.see("PROCESS ▼");
    // A click on a heading does the same: the rates stand behind process and PID.
    live.press("\x1b[<0;27;4M\x1b[<0;27;4m");
    live.see("IN ▼");

    live.press("fprocess demo-camera");
    live.wait_for("the filter", |text| {
        text.contains("filter: process demo-camera")
            && text.contains(" matching, ")
            && !text.contains("demo-backup")
    });
    live.press("\r\x1b");
    live.see("demo-backup");

    // Words are found, and no row leaves; the cursor moves within them.
    live.press("/cam\x01demo-\x05era");
    let found = live.wait_for("the words", |text| text.contains("find: demo-camera"));
    assert!(found.contains("demo-backup"), "{found}");
    live.see("▸demo-camera");
    live.press("\r\x1b\x1b");
    live.wait_for("no words", |text| !text.contains("/demo-camera"));

    live.press(" ");
    // A second later only the clock is drawn: what is held is on the screen whole by then.
    live.wait_for("a picture at rest", |text| {
        text.contains("PAUSED") && !text.contains("PAUSED 0 s")
    });
    let before = live.text();
    thread::sleep(Duration::from_millis(700));
    let without_clock = |text: &str| text.lines().skip(1).collect::<Vec<_>>().join("\n");
    assert_eq!(without_clock(&before), without_clock(&live.text()));
    live.press(" ");
    live.wait_for("going on", |text| !text.contains("PAUSED"));

    live.press("g");
    live.see("Group by");
    live.press("3");
    live.see("Egress by process");
    // On a busy machine another process may stand above it.
    live.press("/demo-backup");
    live.see("▸demo-backup");
    live.press("\r\x1b");
    live.wait_for("no words", |text| !text.contains("/demo-backup"));
    // First the page of the process, then its flows.
    live.press("\r");
    live.wait_for("the process", |text| {
        let parts = ["╶ demo-backup", "messages", "command"];
        parts.iter().all(|part| text.contains(part))
    });
    live.press("\r");
    live.see("Egress › demo-backup");
    live.press("\r");
    live.wait_for("the flow", |text| {
        let parts = ["╶ Flow of ", "demo-backup", "first seen"];
        parts.iter().all(|part| text.contains(part))
    });
    live.see("command");
    live.press("\x1b");
    live.see("Egress › demo-backup");

    live.screen
        .with(|screen| screen.screen_mut().set_size(40, 140));
    resize(&live.terminal.keyboard, 140, 40);
    live.see("ago ─");
    live.press("?");
    live.see("Find, filter, sort, group");
    live.press("q");
    live.see("Egress › demo-backup");
    live.press("q");
    live.assert_gone(0);
}

#[test]
fn texts_of_prompts_come_back_in_the_next_run() {
    let traffic = Demo::start();
    let pids = traffic.pids();
    let folder = std::env::temp_dir().join(format!("flowtop-state-{}", std::process::id()));
    let state = format!("XDG_STATE_HOME={}", folder.display());
    let args = ["-i", "200ms", "-p", &pids];
    let mut live = Live::start_by(&["env", &state], 100, 30, &args);
    live.see("First start: ⏎ opens a row, / finds words, ? shows all keys");
    live.see("demo-backup");
    live.press("fprocess demo-bac\t\r");
    live.see("filter: process demo-backup  ");
    live.press("q");
    live.assert_gone(0);
    let file = folder.join("flowtop/prompts");
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "fprocess demo-backup\n"
    );

    let mut live = Live::start_by(&["env", &state], 100, 30, &args);
    let text = live.see("demo-backup");
    assert!(!text.contains("First start"), "{text}");
    live.press("f\x1b[A");
    live.see("matches 1 flow in the tables");
    live.see("filter: process demo-backup");
    live.press("\rq");
    live.assert_gone(0);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Where `/proc` tells other times of start than the kernel side, and where it shows processes of
/// others to one group only.
#[test]
fn a_process_has_its_command_line_in_a_time_namespace_and_where_proc_hides_it() {
    let traffic = Demo::start();
    let pids = traffic.pids();
    let hidden =
        |options: &str| format!("mount -t proc -o {options} proc /proc && exec \"$0\" \"$@\"");
    let (invisible, of_a_group) = (hidden("hidepid=2"), hidden("hidepid=2,gid=50"));
    for wrapper in [
        &["unshare", "--time", "--boottime", "86400", "--fork"][..],
        &["unshare", "-m", "sh", "-c", &invisible],
        &["unshare", "-m", "sh", "-c", &of_a_group],
    ] {
        let mut live = Live::start_by(wrapper, 100, 40, &["-i", "200ms", "-p", &pids]);
        live.see("demo-backup");
        live.press("\r");
        live.see("╶ Flow of ");
        let what = format!("command line by {wrapper:?}");
        let text = live.wait_for(&what, |text| text.contains("command"));
        assert!(text.contains("started"), "{text}");
        live.press("qq");
        live.assert_gone(0);
    }
}

/// Under a shell it stops: tests/interactive/jobs.rs.
#[test]
fn a_session_leader_gives_the_terminal_back_for_control_z_and_takes_it_again_at_once() {
    let traffic = Demo::start();
    let pids = traffic.pids();
    let mut live = Live::start(80, 24, &["-i", "200ms", "-p", &pids]);
    live.see("demo-backup");
    assert!(live.is_raw());
    // Nobody could continue it.
    live.press("\x1a");
    live.see("demo-backup");
    let stat = format!("/proc/{}/stat", live.pid().as_raw_nonzero());
    let is_stopped = || std::fs::read_to_string(&stat).unwrap().contains(") T ");
    let start = Instant::now();
    while !live.is_raw() {
        assert!(start.elapsed() < PATIENCE, "does not come back");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(!is_stopped());
    // Whoever stops it by force can continue it.
    kill_process(live.pid(), Signal::STOP).unwrap();
    while !is_stopped() {
        assert!(start.elapsed() < PATIENCE, "does not stop");
        thread::sleep(Duration::from_millis(10));
    }
    kill_process(live.pid(), Signal::CONT).unwrap();
    live.press("?");
    live.see("╶ Help ╴");
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
    let traffic = Demo::start();
    let pids = traffic.pids();
    let mut live = Live::start(100, 30, &["-i", "200ms", "-p", &pids]);
    assert!(live.was_asked());
    // It says nothing yet: the table comes all the same, in colours that suit any background.
    live.see("demo-backup");
    let coloured = |screen: &mut vt100::Parser| is_coloured(screen.screen(), "demo-store");
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
    let mut late = 0;
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
            if left == 0 {
                return;
            }
            // It counts from before this process heard of it, which may have been long after. One
            // that never waits is late every time.
            late += 1;
            assert!(late < 3, "bytes left for the shell");
        }
    }
    panic!("this machine is too busy to answer within 50 ms");
}

/// The line of a flow in one of the sections.
fn line_of(text: &str, section: &str, local: SocketAddr, remote: SocketAddr) -> Option<String> {
    let lines = text.lines().skip_while(|line| !line.contains(section));
    let mut lines = lines.skip(1).take_while(|line| !line.starts_with('╶'));
    let peer = format!(" {remote} local ");
    let port = local.port().to_string();
    let found = lines.find(|line| {
        let own = line.split_once(&peer).map(|(_, own)| own);
        own.is_some_and(|own| own.split_whitespace().next() == Some(&port))
    });
    found.map(str::to_owned)
}

#[test]
fn totals_are_what_the_generator_sent_to_the_byte() {
    // This process is the generator, and the only one that is counted.
    let pid = std::process::id().to_string();
    let mut live = Live::start(120, 30, &["-i", "100ms", "-p", &pid]);
    live.see("no traffic seen yet: the selected processes moved no bytes");

    let mut expected = Vec::new();
    let mut kept = Vec::new();
    // Below 1000 every byte is shown, above three digits. In many small parts, over many intervals.
    for (total, shown) in [(987, "987 B"), (12_345_678, "12.3 MB"), (99_951, "100 kB")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut from = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut to, _) = listener.accept().unwrap();
        let mut left: usize = total;
        let parts = 40;
        while left > 0 {
            let part = left.min(total.div_ceil(parts));
            from.write_all(&vec![1; part]).unwrap();
            to.read_exact(&mut vec![0; part]).unwrap();
            left -= part;
            thread::sleep(Duration::from_millis(10));
        }
        let ends = (from.local_addr().unwrap(), to.local_addr().unwrap());
        expected.push((ends, shown));
        kept.push((from, to));
    }
    let (from, to) = (
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    let ends = (from.local_addr().unwrap(), to.local_addr().unwrap());
    from.connect(ends.1).unwrap();
    to.connect(ends.0).unwrap();
    for part in [300, 20, 1] {
        from.send(&vec![1; part]).unwrap();
        assert_eq!(to.recv(&mut [0; 400]).unwrap(), part);
    }
    expected.push((ends, "321 B"));

    live.press("t");
    live.see("Egress totals");
    for ((from, to), shown) in expected {
        for (section, local, remote) in [("Egress", from, to), ("Ingress", to, from)] {
            let is_there = |text: &str| {
                let line = line_of(text, section, local, remote);
                line.is_some_and(|line| line.contains(&format!(" {shown} ")))
            };
            live.wait_for(
                &format!("{shown} from {local} to {remote} in {section}"),
                is_there,
            );
        }
    }
    let text = live.text();
    // 987 + 12,345,678 + 99,951 + 321, each way; nothing else, and nothing twice.
    let (mut tables, mut rest) = (0, 0);
    for line in text.lines() {
        tables += usize::from(line.contains("all 4, 100 %"));
        rest += usize::from(line.contains("other flow"));
    }
    assert_eq!((tables, rest), (2, 0), "{text}");
    assert_eq!(text.matches("12.4 MB total").count(), 2, "{text}");
    live.press("q");
    live.assert_gone(0);
}
