//! The live table under a real (pseudo) terminal: it comes back as it was, whatever the end, and
//! no key touches the intervals. Each test starts itself again as a child that has the terminal.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on stops there, and says why"
)]

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::process::{Child, ExitStatus, exit};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::common;
use crate::common::pty::{PATIENCE, Pty, Watched, resize};
use anyhow::{Result, bail};
use flowtop::model::interval::Interval;
use flowtop::options::{TableOptions, TimingOptions};
use flowtop::sandbox::Confinement;
use flowtop::source::Source;
use flowtop::source::signals::SignalHandler;
use flowtop::tui::{self, RunContext};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, Termios, tcgetattr};

const ROLE: &str = "FLOWTOP_TEST_ROLE";
const LOG: &str = "FLOWTOP_TEST_LOG";
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// Intervals of those roles that have many flows.
const MANY_EVERY: Duration = Duration::from_millis(500);

/// What the child's source does when its interval ends.
struct Played {
    role: String,
    began: Instant,
    /// Whether the early reading of the first interval is done.
    has_begun: bool,
    log: Option<File>,
}

impl Source for Played {
    fn end_interval(&mut self) -> Result<Interval> {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        match self.role.as_str() {
            // Their first interval is read early, when the terminal may not be taken yet.
            "error" | "panic" if is_first => {}
            "error" => bail!("the map went away"),
            "panic" => panic!("a bug"),
            "hang" | "stuck" => loop {
                thread::sleep(Duration::from_secs(1));
            },
            // Hardly ever at rest: it takes nearly as long as an interval, and a processor for half
            // of that.
            "busy" => {
                let begin = Instant::now();
                while begin.elapsed() < MANY_EVERY * 9 / 20 {
                    std::hint::spin_loop();
                }
                thread::sleep(MANY_EVERY * 9 / 20);
            }
            _ => {}
        }
        let now = Instant::now();
        if let Some(log) = &mut self.log {
            writeln!(log, "{}", (now - self.began).as_micros())?;
        }
        let flows = match self.role.as_str() {
            "many" | "busy" => common::many_flows(10_000),
            _ => common::web_server(),
        };
        let mut interval = common::interval(flows);
        interval.elapsed = now - self.began;
        self.began = now;
        Ok(interval)
    }
}

/// The child's life, if this process is one.
fn be_the_child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let interval = match role.as_str() {
        // By then the terminal is taken, on a busy machine too.
        "error" | "panic" => Duration::from_secs(3),
        "keys" | "stuck" => Duration::from_millis(100),
        "flood" => Duration::from_millis(10),
        "many" | "busy" => MANY_EVERY,
        _ => Duration::from_secs(3600),
    };
    let log = std::env::var_os(LOG).map(|path| File::create(path).unwrap());
    if role == "no-room" {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        rustix::stdio::dup2_stdout(full).unwrap();
    }
    let context = RunContext {
        timing: TimingOptions {
            interval,
            ..TimingOptions::default()
        },
        method: common::method(),
        confinement: Some(Confinement::declined()),
        ..RunContext::default()
    };
    let source = Played {
        role,
        began: Instant::now(),
        has_begun: false,
        log,
    };
    let signals = SignalHandler::install().unwrap();
    match tui::live(
        &TableOptions::default(),
        source,
        context,
        Box::new(tui::NoFiles),
        signals,
    ) {
        Ok(()) => exit(0),
        Err(error) => {
            eprintln!("flowtop: {error:#}");
            exit(1);
        }
    }
}

struct Session {
    child: Child,
    /// The terminal's own end.
    keyboard: File,
    /// Kept open, so that its modes can be looked at after the child has gone.
    line: Option<File>,
    before: Termios,
    after: Option<Termios>,
    seen: Arc<Watched<String>>,
    screen: Arc<Watched<vt100::Parser>>,
    reader: Option<JoinHandle<()>>,
}

impl Session {
    /// Starts the test of this name again in a role, on a new terminal of 80x24.
    fn start(test: &str, role: &str, log: Option<&str>) -> Self {
        let terminal = Pty::open(80, 24);
        let before = tcgetattr(&terminal.line).unwrap();
        let mut command = terminal.command(std::env::current_exe().unwrap());
        command
            .args([&format!("terminal::{test}"), "--exact", "--nocapture"])
            .env(ROLE, role);
        if let Some(log) = log {
            command.env(LOG, log);
        }
        let child = command.spawn().unwrap();
        let seen = Arc::new(Watched::default());
        let screen = Arc::new(Watched::new(vt100::Parser::new(24, 80, 0)));
        let (filling, drawing) = (Arc::clone(&seen), Arc::clone(&screen));
        let reader = terminal.read(move |bytes| {
            let text = String::from_utf8_lossy(bytes);
            filling.change(|seen: &mut String| seen.push_str(&text));
            drawing.change(|screen| screen.process(bytes));
        });
        let Pty { keyboard, line } = terminal;
        Self {
            child,
            keyboard,
            line: Some(line),
            before,
            after: None,
            seen,
            screen,
            reader: Some(reader),
        }
    }

    fn seen(&self) -> String {
        self.seen.with(|seen| seen.clone())
    }

    #[track_caller]
    fn wait_for(&self, what: &str) {
        let found = self.seen.wait_until(|seen| seen.contains(what));
        assert!(found, "no {what:?} in {:?}", self.seen());
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    #[track_caller]
    fn end(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.hang_up();
                return status;
            }
            if start.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("still running: {:?}", self.seen());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Keeps the modes that were left behind, and waits for the last of what was written: the
    /// reader comes to its end once nobody has the line open.
    fn hang_up(&mut self) {
        let line = self.line.take().unwrap();
        self.after = Some(tcgetattr(&line).unwrap());
        drop(line);
        self.reader.take().unwrap().join().unwrap();
    }

    #[track_caller]
    fn assert_raw(&self) {
        let modes = tcgetattr(self.line.as_ref().unwrap()).unwrap().local_modes;
        assert!(!modes.contains(LocalModes::ICANON) && !modes.contains(LocalModes::ECHO));
    }

    /// Modes as before, cursor visible, alternate screen left once, nothing drawn afterwards.
    #[track_caller]
    fn assert_restored(&self) {
        let after = self.after.as_ref().unwrap();
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        assert_eq!(after.control_modes, self.before.control_modes);
        let seen = self.seen();
        assert_eq!(
            seen.matches(LEAVE).count(),
            seen.matches(ENTER).count(),
            "{seen:?}"
        );
        let (_, rest) = seen.rsplit_once(LEAVE).unwrap();
        assert!(seen.contains(SHOW_CURSOR), "{seen:?}");
        assert!(
            !rest.contains("gress") && !rest.contains("\x1b[?25l"),
            "{rest:?}"
        );
    }
}

#[test]
fn q_leaves_and_the_terminal_is_as_before() {
    be_the_child();
    let mut session = Session::start("q_leaves_and_the_terminal_is_as_before", "quiet", None);
    session.wait_for("help");
    session.assert_raw();
    session.press("q");
    assert_eq!(session.end().code(), Some(0));
    session.assert_restored();
}

#[test]
fn the_first_rows_do_not_wait_for_the_end_of_the_first_interval() {
    be_the_child();
    let test = "the_first_rows_do_not_wait_for_the_end_of_the_first_interval";
    // Its intervals last an hour.
    let mut session = Session::start(test, "quiet", None);
    let has_rows = |screen: &mut vt100::Parser| screen.screen().contents().contains("nginx");
    let start = Instant::now();
    assert!(session.screen.wait_until(has_rows), "{}", session.seen());
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    session.press("q");
    assert_eq!(session.end().code(), Some(0));
    session.assert_restored();
}

#[test]
fn every_drawing_is_one_synchronised_update() {
    const BEGIN: &str = "\x1b[?2026h";
    const END: &str = "\x1b[?2026l";
    be_the_child();
    let test = "every_drawing_is_one_synchronised_update";
    let mut session = Session::start(test, "keys", None);
    session.wait_for("nginx");
    answer(&mut session, "?", |text| text.contains("row down"));
    session.press("qq");
    assert_eq!(session.end().code(), Some(0));
    session.assert_restored();
    let seen = session.seen();
    let drawn = seen
        .split_once(ENTER)
        .unwrap()
        .1
        .rsplit_once(LEAVE)
        .unwrap()
        .0;
    let mut updates = drawn.split(BEGIN);
    // Before the first one the terminal is only prepared.
    assert!(!updates.next().unwrap().contains("flowtop  "), "{drawn:?}");
    let mut drawings = 0;
    for update in updates {
        let (inside, after) = update
            .split_once(END)
            .unwrap_or_else(|| panic!("{update:?}"));
        assert!(!inside.contains(END));
        // Nothing that moves the cursor or draws comes between two updates.
        assert!(
            !after.contains('H') && !after.contains("nginx"),
            "{after:?}"
        );
        drawings += 1;
    }
    assert!(drawings >= 3, "{drawings}");
}

#[test]
fn control_c_leaves_and_the_terminal_is_as_before() {
    be_the_child();
    let test = "control_c_leaves_and_the_terminal_is_as_before";
    let mut session = Session::start(test, "quiet", None);
    session.wait_for("help");
    session.press("\x03");
    assert_eq!(session.end().code(), Some(0));
    session.assert_restored();
}

#[test]
fn the_terminal_is_restored_after_an_error() {
    be_the_child();
    let test = "the_terminal_is_restored_after_an_error";
    let mut session = Session::start(test, "error", None);
    session.wait_for("help");
    assert_eq!(session.end().code(), Some(1));
    session.assert_restored();
    let seen = session.seen();
    let (_, message) = seen.rsplit_once(LEAVE).unwrap();
    assert!(
        message.contains("flowtop: the map went away"),
        "{message:?}"
    );
}

#[test]
fn the_terminal_is_restored_after_a_panic() {
    be_the_child();
    let mut session = Session::start("the_terminal_is_restored_after_a_panic", "panic", None);
    session.wait_for("help");
    assert_eq!(session.end().code(), Some(1));
    session.assert_restored();
    let seen = session.seen();
    let (_, message) = seen.rsplit_once(LEAVE).unwrap();
    // Printed in the alternate screen, it would be gone with it.
    assert!(message.contains("panicked at"), "{message:?}");
    assert!(
        message.contains("stopped by a bug in flowtop"),
        "{message:?}"
    );
}

#[test]
fn the_terminal_is_restored_after_sigterm() {
    be_the_child();
    let mut session = Session::start("the_terminal_is_restored_after_sigterm", "quiet", None);
    session.wait_for("help");
    session.send(Signal::TERM);
    assert_eq!(session.end().code(), Some(0));
    session.assert_restored();
}

#[test]
fn a_second_sigint_does_not_wait_for_a_source_that_hangs() {
    be_the_child();
    let test = "a_second_sigint_does_not_wait_for_a_source_that_hangs";
    let mut session = Session::start(test, "hang", None);
    session.wait_for("help");
    session.send(Signal::INT);
    session.wait_for(LEAVE);
    thread::sleep(Duration::from_millis(400));
    assert!(
        session.child.try_wait().unwrap().is_none(),
        "the source hangs"
    );
    session.send(Signal::INT);
    assert_eq!(session.end().code(), Some(130));
    session.assert_restored();
}

#[test]
fn a_second_sigint_does_not_wait_for_a_terminal_that_stalls() {
    /// Rounds of sizes after which nothing new means that a drawing blocks: on a busy machine the
    /// next one may come late.
    const STILL: u32 = 8;
    be_the_child();
    let test = "a_second_sigint_does_not_wait_for_a_terminal_that_stalls";
    let mut session = Session::start(test, "flood", None);
    session.wait_for("help");
    // From now on nobody reads: drawings fill the terminal until one of them blocks.
    let stalled = session.seen.stall();
    let (start, mut before, mut still) = (Instant::now(), 0, 0);
    while still < STILL {
        for (width, height) in [(200, 60), (80, 24), (200, 60), (80, 24)] {
            resize(&session.keyboard, width, height);
            thread::sleep(Duration::from_millis(50));
        }
        let waiting = rustix::io::ioctl_fionread(&session.keyboard).unwrap();
        still = if waiting > 0 && waiting == before {
            still + 1
        } else {
            0
        };
        before = waiting;
        assert!(start.elapsed() < PATIENCE, "the terminal never fills");
    }
    session.send(Signal::INT);
    thread::sleep(Duration::from_millis(500));
    let waits = session.child.try_wait().unwrap().is_none();
    session.send(Signal::INT);
    let start = Instant::now();
    let code = loop {
        match session.child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None if start.elapsed() > PATIENCE => {
                session.child.kill().unwrap();
                panic!("waits for the terminal");
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    drop(stalled);
    session.hang_up();
    assert!(waits, "the terminal did not stall: this shows nothing");
    assert_eq!(code, Some(130));
    // The screen cannot be given back, the keyboard can.
    let after = session.after.unwrap();
    assert_eq!(after.local_modes, session.before.local_modes);
}

#[test]
fn the_terminal_is_restored_after_an_error_in_taking_it_over() {
    be_the_child();
    let test = "the_terminal_is_restored_after_an_error_in_taking_it_over";
    let mut session = Session::start(test, "no-room", None);
    assert_eq!(session.end().code(), Some(1));
    let after = session.after.as_ref().unwrap();
    assert_eq!(after.local_modes, session.before.local_modes);
    assert!(
        session.seen().contains("switch to the alternate screen"),
        "{}",
        session.seen()
    );
}

#[test]
fn a_change_of_size_is_drawn_at_once() {
    be_the_child();
    let mut session = Session::start("a_change_of_size_is_drawn_at_once", "quiet", None);
    session.wait_for("help");
    assert!(!session.seen().contains("\x1b[40;"));
    resize(&session.keyboard, 120, 40);
    session.wait_for("\x1b[40;");
    session.press("q");
    assert_eq!(session.end().code(), Some(0));
    session.assert_restored();
}

#[test]
fn a_key_press_does_not_shorten_the_interval() {
    be_the_child();
    let log = std::env::temp_dir().join(format!("flowtop-keys-{}", std::process::id()));
    let test = "a_key_press_does_not_shorten_the_interval";
    let start = Instant::now();
    let mut session = Session::start(test, "keys", Some(log.to_str().unwrap()));
    session.wait_for("help");
    let first = Instant::now();
    let ended = || std::fs::read_to_string(&log).unwrap().lines().count();
    let mut pressed = 0;
    while first.elapsed() < Duration::from_millis(1500) || pressed <= 100 || ended() <= 3 {
        assert!(first.elapsed() < PATIENCE, "{pressed} pressed");
        session.press("x\x1b[B \rt ");
        pressed += 4;
        thread::sleep(Duration::from_millis(2));
    }
    // What Enter has opened is closed first.
    session.press("qq");
    assert_eq!(session.end().code(), Some(0));
    let lasted = start.elapsed();
    let lengths = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    let lengths: Vec<u64> = lengths.lines().map(|line| line.parse().unwrap()).collect();
    // The last one is cut by leaving. A grid of 100 ms has no more points than this, and a late
    // end makes only the next one shorter, by as much as it was late.
    assert!(pressed > 100 && lengths.len() > 2, "{pressed}, {lengths:?}");
    let full = &lengths[..lengths.len() - 1];
    assert!(
        full.len() as u128 <= lasted.as_millis() / 100 + 1,
        "{lengths:?}"
    );
    let mean = full.iter().sum::<u64>() / full.len() as u64;
    assert!(mean >= 95_000, "{lengths:?}");
}

#[test]
fn keys_are_answered_while_the_source_hangs() {
    be_the_child();
    let test = "keys_are_answered_while_the_source_hangs";
    let mut session = Session::start(test, "stuck", None);
    session.wait_for("help");
    // Its first interval has ended by now, and never comes.
    thread::sleep(Duration::from_millis(300));
    for (key, answer) in [("?", "Move"), ("q", "find"), ("q", LEAVE)] {
        session.press(key);
        session.wait_for(answer);
    }
    session.send(Signal::KILL);
    session.end();
}

/// Time from a key to the whole of what it brings on the screen.
fn answer(session: &mut Session, key: &str, is_there: impl Fn(&str) -> bool) -> Duration {
    let start = Instant::now();
    session.press(key);
    let answered = session
        .screen
        .wait_until(|screen| is_there(&screen.screen().contents()));
    assert!(answered, "{key:?} is not answered");
    start.elapsed()
}

/// How long it takes is for `cargo bench --bench screen` to say. Here: that it is no matter to a
/// key what the collector is doing. Two programs with the same flows get the same keys in turns, so
/// that what else runs on the machine is the same to both.
#[test]
fn a_key_is_answered_as_soon_with_a_collector_that_is_always_busy() {
    be_the_child();
    let test = "a_key_is_answered_as_soon_with_a_collector_that_is_always_busy";
    let mut sessions = ["many", "busy"].map(|role| Session::start(test, role, None));
    for session in &sessions {
        let has_flows =
            |screen: &mut vt100::Parser| screen.screen().contents().contains("10000 flows");
        assert!(session.screen.wait_until(has_flows));
    }
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..25 {
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            let help = |text: &str| text.contains("row down");
            times.push(answer(session, "?", help));
            times.push(answer(session, "?", |text| !help(text)));
        }
        // So that keys come at any time of an interval.
        thread::sleep(MANY_EVERY * 3 / 20);
    }
    for mut session in sessions {
        session.press("q");
        session.end();
    }
    let [quick, busy] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    assert!(busy < quick * 4, "{busy:?}, and {quick:?} at rest");
}
