//! flowtop as a job: in every relation to a terminal that a program can have, and with every signal
//! that stops, continues or ends one, beside what less(1) does there where it is installed. What
//! came of it goes to `target/faults/jobs.md`, for docs/FAULTS.md. Needs root, as all of `make
//! test` does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::common::pty::{PATIENCE, Pty, Watched, is_raw};
use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// A program that takes the terminal.
#[derive(Clone, Copy, PartialEq)]
enum Program {
    Flowtop,
    Less,
}

/// What starts the program under test.
#[derive(Clone, Copy, PartialEq)]
enum Run {
    /// Typed at a shell.
    Shell,
    /// By a script of the same user, as `make run`.
    Script,
    /// By a script of root's, which flowtop has left: it is another user's then.
    RootsScript,
    /// As the first of its session, as by `ssh -t` and `docker exec -it`.
    SessionLeader,
    /// By timeout(1) in a script, which puts it into the background.
    Timeout,
}

struct Session {
    shell: Child,
    pty: Pty,
    seen: Arc<Watched<String>>,
    reader: Option<JoinHandle<()>>,
    program: Program,
}

impl Program {
    fn command(self, run: Run) -> String {
        match (self, run) {
            (Self::Less, _) => "less /etc/services".to_owned(),
            // It stays root's then, as its script is.
            (Self::Flowtop, Run::Script) => {
                format!("{} -i 100ms --no-sandbox", env!("CARGO_BIN_EXE_flowtop"))
            }
            (Self::Flowtop, _) => format!("{} -i 100ms", env!("CARGO_BIN_EXE_flowtop")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Flowtop => "flowtop",
            Self::Less => "less",
        }
    }
}

impl Session {
    /// Runs the program, and waits until it has the terminal.
    fn start(program: Program, run: Run) -> Self {
        let session = Self::shell(program, run);
        match run {
            Run::SessionLeader => {}
            Run::Shell => session.line(&program.command(run)),
            Run::Script | Run::RootsScript => {
                session.line(&format!("sh -c '{}; echo after'", program.command(run)));
            }
            Run::Timeout => {
                let script = format!("timeout 1 {}; echo =$?=", program.command(run));
                session.line(&format!("sh -c '{script}'"));
            }
        }
        if run != Run::Timeout {
            // The last thing that is drawn.
            session.wait_for(match program {
                Program::Flowtop => "help",
                Program::Less => "/etc/services\x1b[27m",
            });
            session.wait_until(|session| is_raw(&session.pty.line));
        }
        session
    }

    /// A shell, or the program itself, as the first of a session.
    fn shell(program: Program, run: Run) -> Self {
        let pty = Pty::open(80, 24);
        let mut command = match run {
            Run::SessionLeader => {
                let line = program.command(run);
                let mut words = line.split(' ');
                let mut command = pty.command(words.next().unwrap());
                command.args(words);
                command
            }
            _ => {
                let mut command = pty.command("bash");
                command
                    .args(["--norc", "--noprofile", "-i"])
                    .env("PS1", "<prompt>");
                command
            }
        };
        command
            .env_remove("LESS")
            .env_remove("COLUMNS")
            .env_remove("LINES");
        let shell = command.spawn().unwrap();
        let seen = Arc::new(Watched::default());
        let filling = Arc::clone(&seen);
        let reader = pty.read(move |bytes| {
            let text = String::from_utf8_lossy(bytes);
            filling.change(|seen: &mut String| seen.push_str(&text));
        });
        Self {
            shell,
            pty,
            seen,
            reader: Some(reader),
            program,
        }
    }

    fn press(&self, keys: &str) {
        (&self.pty.keyboard).write_all(keys.as_bytes()).unwrap();
    }

    fn line(&self, line: &str) {
        self.press(&format!("{line}\r"));
    }

    fn seen(&self) -> String {
        self.seen.with(|seen| seen.clone())
    }

    #[track_caller]
    fn wait_for(&self, what: &str) {
        let found = self.seen.wait_until(|seen| seen.contains(what));
        assert!(found, "no {what:?} in {:?}", self.seen());
    }

    /// Waits for what no output tells of.
    #[track_caller]
    fn wait_until(&self, is_so: impl Fn(&Self) -> bool) {
        assert!(self.is_soon(PATIENCE, is_so), "in vain: {:?}", self.seen());
    }

    fn is_soon(&self, within: Duration, is_so: impl Fn(&Self) -> bool) -> bool {
        let start = Instant::now();
        while start.elapsed() < within {
            if is_so(self) {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// The program of this session, and its state as in proc(5).
    fn process(&self) -> Option<(Pid, char)> {
        let session = self.shell.id().to_string();
        let found = fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (pid, rest) = stat.split_once(" (")?;
            let (name, rest) = rest.rsplit_once(") ")?;
            let fields: Vec<&str> = rest.split(' ').collect();
            let is_it = name == self.program.name() && fields[3] == session && fields[0] != "Z";
            is_it.then(|| (pid.parse().unwrap(), fields[0].chars().next().unwrap()))
        });
        found.map(|(pid, state)| (Pid::from_raw(pid).unwrap(), state))
    }

    fn is_stopped(&self) -> bool {
        self.process().is_some_and(|(_, state)| state == 'T')
    }

    fn send(&self, signal: Signal) {
        kill_process(self.process().unwrap().0, signal).unwrap();
    }

    /// Whether the shell has the terminal: it has it raw too, to edit its line.
    fn has_prompt(&self) -> bool {
        let seen = self.seen();
        seen.rfind("<prompt>") > seen.rfind(ENTER).max(seen.rfind("fg\r\n"))
    }

    /// To all processes of the job: a script that is not stopped goes on waiting for its program.
    fn send_to_job(&self, signal: Signal) {
        let group = getpgid(Some(self.process().unwrap().0)).unwrap();
        kill_process_group(group, signal).unwrap();
    }

    fn is_given_back(&self) -> bool {
        let seen = self.seen();
        (self.has_prompt() || !is_raw(&self.pty.line))
            && seen.matches(LEAVE).count() == seen.matches(ENTER).count()
    }

    /// What becomes of the program, in words. What has stopped is brought to the foreground again.
    fn outcome(&self, event: &str) -> String {
        let drawn = self.seen().len();
        // What is to end may draw once more before.
        let is_ending = ENDINGS.iter().any(|(name, _)| *name == event);
        let goes_on_when_drawn = self.program == Program::Flowtop && !is_ending;
        let settled = |session: &Self| {
            session.process().is_none()
                || session.is_stopped()
                || goes_on_when_drawn && session.seen().len() > drawn + 400
        };
        let patience = Duration::from_millis(match (self.program, event) {
            // What less does is looked at, and not held to anything.
            (Program::Less, _) => 500,
            // Nothing is to happen, however long one looks.
            (Program::Flowtop, "SIGWINCH") => 2000,
            // The terminal is not to be given back.
            (Program::Flowtop, "SIGSTOP") => 4000,
            (Program::Flowtop, _) => 20_000,
        });
        self.is_soon(patience, settled);
        if self.process().is_none() {
            let is_back = self.is_soon(patience, Self::is_given_back);
            return match is_back {
                true => "ends, terminal given back".to_owned(),
                false => "ends, terminal not given back".to_owned(),
            };
        }
        if !self.is_stopped() {
            return "goes on".to_owned();
        }
        let given_back = self.is_soon(patience / 4, Self::is_given_back);
        let entered = self.seen().matches(ENTER).count();
        self.wait_until(Self::has_prompt);
        self.line("fg");
        let resumed = self.is_soon(patience * 3, |session| {
            let is_drawn = session.seen().matches(ENTER).count() > entered;
            !session.is_stopped() && is_raw(&session.pty.line) && is_drawn
        });
        let given_back = match given_back {
            true => "stops, terminal given back",
            false => "stops",
        };
        match resumed {
            true => format!("{given_back}; `fg` resumes"),
            false => format!("{given_back}; `fg` leaves it without the terminal"),
        }
    }

    /// Ends whatever is left.
    fn end(mut self) {
        while let Some((pid, _)) = self.process() {
            let _ = kill_process(pid, Signal::KILL);
            self.wait_until(|session| session.process().is_none_or(|(other, _)| other != pid));
        }
        let _ = self.shell.kill();
        self.shell.wait().unwrap();
        let reader = self.reader.take().unwrap();
        drop(self.pty);
        reader.join().unwrap();
    }
}

const RESUMES: &str = "stops, terminal given back; `fg` resumes";
const ENDS: &str = "ends, terminal given back";

/// How something happens to a program, in words and in deed.
type Happening = (&'static str, fn(&Session));

/// What does not end it, one after the other.
const STOPS: [Happening; 5] = [
    ("^Z", |session| session.press("\x1a")),
    ("SIGTSTP", |session| session.send_to_job(Signal::TSTP)),
    ("SIGSTOP", |session| session.send_to_job(Signal::STOP)),
    ("SIGCONT", |session| session.send(Signal::CONT)),
    ("SIGWINCH", |session| session.send(Signal::WINCH)),
];

const ENDINGS: [Happening; 7] = [
    ("SIGTERM", |session| session.send(Signal::TERM)),
    ("SIGINT", |session| session.send(Signal::INT)),
    ("SIGHUP", |session| session.send(Signal::HUP)),
    ("SIGQUIT", |session| session.send(Signal::QUIT)),
    ("SIGUSR1", |session| session.send(Signal::USR1)),
    ("SIGALRM", |session| session.send(Signal::ALARM)),
    ("SIGTERM while stopped, then SIGCONT", |session| {
        session.send(Signal::STOP);
        session.wait_until(Session::is_stopped);
        session.send(Signal::TERM);
        session.send(Signal::CONT);
    }),
];

/// The outcomes of one way to run a program.
fn outcomes(program: Program, run: Run) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let session = Session::start(program, run);
    for (name, happens) in STOPS {
        // A session leader has no shell that could continue it.
        if run == Run::SessionLeader && name == "SIGSTOP" {
            continue;
        }
        happens(&session);
        found.push((name, session.outcome(name)));
    }
    session.end();
    // Who runs it makes no difference to these, but whether a shell waits for it.
    if matches!(run, Run::Shell | Run::SessionLeader) {
        for (name, happens) in ENDINGS {
            let session = Session::start(program, run);
            happens(&session);
            found.push((name, session.outcome(name)));
            session.end();
        }
    }
    found
}

fn has_less() -> bool {
    Command::new("less").arg("-V").output().is_ok()
}

#[test]
fn flowtop_stops_resumes_and_ends_as_less_does_wherever_it_runs() {
    let runs = [
        (Run::Shell, "typed at a shell"),
        (Run::Script, "by a script (`make run`)"),
        (Run::RootsScript, "by a script of root's, as `nobody`"),
        (
            Run::SessionLeader,
            "session leader (`ssh -t`, `docker exec -it`)",
        ),
    ];
    let each = runs.map(|(run, name)| {
        thread::spawn(move || {
            let flowtop = outcomes(Program::Flowtop, run);
            let less = has_less().then(|| outcomes(Program::Less, run));
            (run, name, flowtop, less)
        })
    });
    let mut table = String::new();
    let mut wrong = Vec::new();
    for one in each {
        let (run, name, flowtop, less) = one.join().unwrap();
        for (n, (what, outcome)) in flowtop.iter().enumerate() {
            let expected = match *what {
                "SIGCONT" | "SIGWINCH" => "goes on",
                // The kernel drops what nobody could continue from.
                "^Z" | "SIGTSTP" if run == Run::SessionLeader => "goes on",
                "^Z" | "SIGTSTP" => RESUMES,
                "SIGSTOP" => "stops; `fg` resumes",
                _ => ENDS,
            };
            if outcome != expected {
                wrong.push(format!("{name}, {what}: {outcome}; not: {expected}"));
            }
            let less = less.as_ref().map_or("-", |less| &less[n].1);
            writeln!(table, "| {name} | {what} | {outcome} | {less} |").unwrap();
        }
    }
    let flowtop = Path::new(env!("CARGO_BIN_EXE_flowtop"));
    let folder = flowtop
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("faults");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("jobs.md"), table).unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_background_job_waits_for_the_terminal_and_ends_when_told_to() {
    let session = Session::shell(Program::Flowtop, Run::Shell);
    session.line(&format!("{} &", Program::Flowtop.command(Run::Shell)));
    session.wait_until(Session::is_stopped);
    assert!(
        !session.seen().contains(ENTER),
        "it took a terminal that was not its own"
    );
    // Brought to the foreground it is a live table as any.
    session.line("fg");
    session.wait_for(ENTER);
    session.press("\x1a");
    session.wait_until(Session::is_stopped);
    // Continued in the background it stops again, as it can do nothing there.
    let reported = |session: &Session| session.seen().matches("Stopped").count();
    let before = reported(&session);
    session.line("bg");
    // The shell has to know it, or `kill` would not continue what it ends.
    session.wait_until(|session| {
        session.line("");
        thread::sleep(Duration::from_millis(50));
        reported(session) > before
    });
    session.line("kill %1");
    session.wait_until(|session| session.process().is_none());
    session.end();
}

#[test]
fn timeout_ends_a_table_that_it_has_put_into_the_background() {
    let session = Session::start(Program::Flowtop, Run::Timeout);
    session.wait_for("=124=");
    assert_eq!(session.process(), None);
    assert!(!session.seen().contains(ENTER));
    session.end();
}

#[test]
fn a_pasted_text_is_no_key_and_one_line_in_a_prompt() {
    let session = Session::start(Program::Flowtop, Run::SessionLeader);
    session.wait_for("\x1b[?2004h");
    let paste = |text: &str| session.press(&format!("\x1b[200~{text}\x1b[201~"));
    paste("10.0.0.1 quick check");
    session.press("/");
    paste("port 7000 and\n\tnot comm x\x01y");
    session.wait_for("port 7000 and not comm xy");
    session.press("\x03");
    session.wait_until(|session| session.process().is_none());
    assert!(session.seen().contains("\x1b[?2004l"));
    session.end();
}

#[test]
fn a_terminal_that_knows_no_size_is_drawn_on() {
    let session = Session::shell(Program::Flowtop, Run::Shell);
    session.line("stty rows 0 cols 0");
    session.line(&Program::Flowtop.command(Run::Shell));
    // The last line of 24, at its place.
    session.wait_for("\x1b[24;");
    session.press("q");
    session.wait_until(|session| session.process().is_none());
    session.line(&format!(
        "COLUMNS=100 LINES=30 {}",
        Program::Flowtop.command(Run::Shell)
    ));
    session.wait_for("\x1b[30;");
    session.press("q");
    session.wait_until(|session| session.process().is_none());
    session.end();
}

#[test]
fn what_was_asked_for_once_is_there_to_read_afterwards() {
    for (asked, has_screen) in [("--once", false), ("-c 2", true), ("--duration 0.3", true)] {
        let session = Session::shell(Program::Flowtop, Run::Shell);
        let flowtop = Program::Flowtop.command(Run::Shell);
        session.line(&format!("{flowtop} {asked}; echo =aft''er="));
        session.wait_for("=after=\r\n");
        let seen = session.seen();
        assert_eq!(seen.contains(ENTER), has_screen, "{asked}");
        let left = seen.rsplit(LEAVE).next().unwrap();
        let left = left.split("=after=\r\n").next().unwrap();
        let lines = left.lines().filter(|line| !line.trim().is_empty());
        assert!(lines.count() >= 2, "{asked} left {left:?}");
        session.end();
    }
}

#[test]
fn a_standard_error_that_nobody_reads_changes_nothing() {
    let flowtop = env!("CARGO_BIN_EXE_flowtop");
    for (redirected, what) in [
        ("| true", "gone"),
        (">/dev/full", "full"),
        ("<&-", "closed"),
    ] {
        let redirected = match what {
            "closed" => "2>&-".to_owned(),
            "full" => format!("2{redirected}"),
            _ => "2> >(true)".to_owned(),
        };
        let line = format!("{flowtop} -v --once --json -i 50ms {redirected} >/dev/null; echo $?");
        let output = Command::new("bash").args(["-c", &line]).output().unwrap();
        let code = String::from_utf8_lossy(&output.stdout);
        assert_eq!(code.trim(), "0", "standard error {what}");
    }
}

#[test]
fn a_terminal_that_is_closed_ends_the_table_in_good_order() {
    // SIGHUP comes with it, or is ignored.
    for prepare in [":", "trap '' HUP"] {
        let pty = Pty::open(80, 24);
        let mut command = pty.command("sh");
        let line = format!("{prepare}; exec \"$0\" -i 100ms");
        command.args(["-c", &line, env!("CARGO_BIN_EXE_flowtop")]);
        let mut flowtop = command.spawn().unwrap();
        let Pty { mut keyboard, line } = pty;
        let mut seen = String::new();
        let mut bytes = [0; 4096];
        while !seen.contains("help") {
            let read = keyboard.read(&mut bytes).unwrap();
            seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        drop((keyboard, line));
        assert_eq!(flowtop.wait().unwrap().code(), Some(0), "{prepare}");
    }
}
