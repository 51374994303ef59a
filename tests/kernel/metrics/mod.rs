//! `--listen` with the real binary: three machines, each a network namespace, a real Prometheus
//! that scrapes them, and questions to it whose answers the traffic's makers know; clients that are
//! slow or mean no good; what is shipped beside it. Needs root, as all of `make test` does.
#![allow(clippy::expect_used, reason = "a test that cannot go on stops there")]

mod fleet;
mod machines;
mod prometheus;
mod readers;
pub mod server;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

#[track_caller]
pub fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {printed}");
}

/// Waits until there is an answer.
#[track_caller]
pub fn until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = find() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "it takes too long until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The answer to an HTTP request, head and body; none where nobody is there.
pub fn http(addr: SocketAddr, request: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.to_owned(), body.to_owned()))
}

pub fn scrape(addr: SocketAddr) -> Option<String> {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let (head, body) = http(addr, &request)?;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    Some(body)
}

/// The value of a sample, named with its labels as it is written.
pub fn value(page: &str, sample: &str) -> Option<f64> {
    let mut lines = page.lines();
    let line = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line?.parse().ok()
}

/// What promtool thinks of a page.
#[track_caller]
pub fn check_metrics(page: &str) {
    let mut promtool = program("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run promtool: make deps-test installs it");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && printed.is_empty(),
        "{printed}\n{page}"
    );
}

/// A port that was free a moment ago.
pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
