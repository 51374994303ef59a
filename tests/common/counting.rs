//! The real flowtop counting this machine's sockets, and the generator of known traffic.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// flowtop counting this machine's sockets. What it wrote is read when it has ended.
pub struct Flowtop {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Flowtop {
    /// Returns when everything is attached, which the first interval says.
    pub fn start(args: &[&str]) -> Self {
        Self::every("50ms", args)
    }

    pub fn every(interval: &str, args: &[&str]) -> Self {
        let mut flowtop = Command::new(env!("CARGO_BIN_EXE_flowtop"));
        flowtop.args(["--json", "-n", "0", "-i", interval]);
        flowtop.args(args);
        Self::spawned(flowtop)
    }

    /// Starts flowtop with one interval, which ends with flowtop: all that a test moves is in that
    /// interval, however slow the machine is. Returns when everything is attached, which a note of
    /// `--verbose` says.
    pub fn in_one_interval(args: &[&str]) -> Self {
        let mut flowtop = Command::new(env!("CARGO_BIN_EXE_flowtop"));
        flowtop.args(["--json", "--verbose", "-n", "0", "-i", "1h"]);
        flowtop.args(args).stdin(Stdio::null());
        flowtop.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = flowtop.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut notes = BufReader::new(child.stderr.take().unwrap());
        let mut note = String::new();
        while !note.contains(" backend: ") {
            note.clear();
            assert!(notes.read_line(&mut note).unwrap() > 0, "flowtop ended");
        }
        // Later notes must find a reader: their lines end with flowtop.
        thread::spawn(move || io::copy(&mut notes, &mut io::sink()));
        Self { child, stdout }
    }

    /// Starts a command that has all its arguments, `--json` among them.
    pub fn spawned(mut flowtop: Command) -> Self {
        let mut child = flowtop
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        assert!(first.contains(r#""type":"interval""#), "got {first:?}");
        Self { child, stdout }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Blocks until intervals have ended, so that what follows is counted in a later one. Gives
    /// what is read by then, also of intervals before: they may have been written long ago. The
    /// flows of an interval follow its record, so those of the last are not among them.
    pub fn await_intervals(&mut self, intervals: usize) -> Vec<Value> {
        let since = Timestamp::now();
        let mut lines = Vec::new();
        let mut seen = 0;
        while seen < intervals {
            let mut line = String::new();
            assert!(
                self.stdout.read_line(&mut line).unwrap() > 0,
                "flowtop ended"
            );
            let record: Value = serde_json::from_str(&line).unwrap();
            seen += usize::from(record["type"] == "interval" && time(&record) > since);
            lines.push(record);
        }
        lines
    }

    /// Ends it as Ctrl-C does and gives all its records.
    pub fn stop(mut self) -> Vec<Value> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        rest.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Both ends of a TCP connection over loopback: client and server.
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// When the interval of a record ended.
pub fn time(record: &Value) -> Timestamp {
    record["time"].as_str().unwrap().parse().unwrap()
}

/// `target/<profile>/examples/traffic`; cargo builds examples before it runs tests.
pub fn traffic_program() -> PathBuf {
    let flowtop = PathBuf::from(env!("CARGO_BIN_EXE_flowtop"));
    let program = flowtop.with_file_name("examples").join("traffic");
    assert!(
        program.is_file(),
        "no {}: cargo build --example traffic",
        program.display()
    );
    program
}
