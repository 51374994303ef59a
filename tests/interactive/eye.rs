//! The live table as an eye sees it, under real churn: rows that move stand above those that do
//! not, in the order of the heading, and fill the screen.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::io::Write as _;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::common::pty::{Pty, Watched};

const WIDTH: u16 = 80;
const HEIGHT: u16 = 24;
/// Pictures that are looked at, of each kind of table.
const LOOKS: usize = 60;
/// Pictures before the table has settled.
const WARM_UP: usize = 10;
/// What the terminal is told at the end of each picture (mode 2026).
const END_OF_PICTURE: &[u8] = b"\x1b[?2026l";
/// A row keeps its place while it changes by less than 1/16, so two neighbours may be apart by this
/// factor in the wrong order; rates have three digits.
const STEADINESS: f64 = (17.0 / 16.0) / (15.0 / 16.0) * 1.01;

/// Set for the process whose flows are looked at.
const ROLE: &str = "FLOWTOP_TEST_CHURN";
const TEST: &str = "eye::sixty_looks_under_churn_find_the_order_of_the_heading_and_a_full_screen";

/// A process with flows that move for a while, then pause, each with a rate of its own. No socket
/// of it is this test's own process's, because another test counts these.
struct Churn(Child);

impl Churn {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let command = command.args([TEST, "--exact"]).env(ROLE, "1");
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// The life of that process, until it is killed or its parent ends.
    fn run() {
        let parent = rustix::process::getppid();
        for n in 0..48 {
            thread::spawn(move || Self::flow(n));
        }
        while rustix::process::getppid() == parent {
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn flow(n: u32) {
        let [one, other] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        one.connect(other.local_addr().unwrap()).unwrap();
        other.connect(one.local_addr().unwrap()).unwrap();
        let mut seed = u64::from(n) + 1;
        let mut below = |most: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % most
        };
        let data = vec![7; 60_000];
        let mut buffer = vec![0; 60_000];
        let size = 100.0 * 1.14_f64.powi(i32::try_from(n).unwrap());
        loop {
            // Of every third of them most of the time nothing moves.
            let rounds = if n.is_multiple_of(3) { 4 } else { 200 };
            for _ in 0..rounds {
                let jitter = 0.85 + below(30) as f64 / 100.0;
                let size = (size * jitter) as usize;
                one.send(&data[..size]).unwrap();
                other.recv(&mut buffer).unwrap();
                thread::sleep(Duration::from_millis(25));
            }
            thread::sleep(Duration::from_millis(400 + below(900)));
        }
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// flowtop on a terminal that keeps every whole picture.
struct Watching {
    child: Child,
    terminal: Pty,
    pictures: Arc<Watched<Vec<String>>>,
}

impl Watching {
    fn start(args: &[&str]) -> Self {
        let terminal = Pty::open(WIDTH, HEIGHT);
        let child = terminal
            .command(env!("CARGO_BIN_EXE_flowtop"))
            .args(args)
            .env("LC_ALL", "C.UTF-8")
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .spawn()
            .unwrap();
        let pictures = Arc::new(Watched::new(Vec::new()));
        let kept = Arc::clone(&pictures);
        let mut parser = vt100::Parser::new(HEIGHT, WIDTH, 0);
        let mut waiting: Vec<u8> = Vec::new();
        terminal.read(move |bytes| {
            waiting.extend(bytes);
            while let Some(end) = waiting
                .windows(END_OF_PICTURE.len())
                .position(|part| part == END_OF_PICTURE)
            {
                let rest = waiting.split_off(end + END_OF_PICTURE.len());
                parser.process(&waiting);
                waiting = rest;
                let picture = parser.screen().contents();
                kept.change(|kept: &mut Vec<String>| {
                    // What is drawn again for a name or a process is the same look.
                    if kept.last() != Some(&picture) {
                        kept.push(picture.clone());
                    }
                });
            }
        });
        Self {
            child,
            terminal,
            pictures,
        }
    }

    /// The next pictures that hold `what`.
    #[track_caller]
    fn look(&self, what: &str) -> Vec<String> {
        let first = self.pictures.with(|pictures| pictures.len());
        let mut seen = Vec::new();
        let there = self.pictures.wait_until(|pictures| {
            let new = pictures.iter().skip(first);
            let new = new.filter(|picture| picture.contains(what)).skip(WARM_UP);
            seen = new.cloned().collect();
            seen.len() >= LOOKS
        });
        let last = self.pictures.with(|pictures| pictures.last().cloned());
        assert!(there, "{} looks with {what}: {last:?}", seen.len());
        seen.truncate(LOOKS);
        seen
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a look at a table finds.
#[derive(Debug, Default)]
struct Findings {
    rows: usize,
    idle_above_moving: usize,
    inversions: usize,
}

/// Bytes a second of the first `count` rates of a row; `None` for an idle row.
fn rates(row: &str, count: usize) -> Option<f64> {
    if row.contains(" idle ") || row.contains(" ended ") {
        return None;
    }
    let words: Vec<&str> = row.split_whitespace().collect();
    let mut rates = Vec::new();
    for (n, word) in words.iter().enumerate() {
        let unit = words.get(n + 1).and_then(|unit| unit.strip_suffix("B/s"));
        match (unit, *word) {
            (_, "·") => rates.push(0.0),
            (Some(prefix), number) => {
                let factor = match prefix {
                    "" => 1.0,
                    "k" => 1e3,
                    "M" => 1e6,
                    _ => 1e9,
                };
                rates.push(number.parse::<f64>().unwrap() * factor);
            }
            _ => {}
        }
    }
    Some(rates.iter().take(count).sum())
}

/// Looks at the tables of a picture, of which each has `count` columns of rates to be sorted by.
fn findings(picture: &str, count: usize) -> Findings {
    let mut found = Findings::default();
    let mut above: Option<Option<f64>> = None;
    let mut in_table = false;
    for line in picture.lines() {
        if line.contains(" ▼") {
            (in_table, above) = (true, None);
        } else if line.contains(" other flow") || line.starts_with("╶ ") || line.contains("idle:")
        {
            in_table = false;
        } else if in_table && line.contains("127.0.0.1") {
            found.rows += 1;
            let now = rates(line, count);
            match (above, now) {
                (Some(None), Some(_)) => found.idle_above_moving += 1,
                (Some(Some(above)), Some(now)) if now > above * STEADINESS => {
                    found.inversions += 1;
                }
                _ => {}
            }
            above = Some(now);
        }
    }
    found
}

fn assert_calm(pictures: &[String], count: usize, lines: usize) {
    let mut sum = Findings::default();
    let mut worst = String::new();
    for picture in pictures {
        let found = findings(picture, count);
        if found.idle_above_moving + found.inversions > 0 {
            worst.clone_from(picture);
        }
        sum.rows += found.rows;
        sum.idle_above_moving += found.idle_above_moving;
        sum.inversions += found.inversions;
    }
    let last = pictures.last().map_or("", String::as_str);
    assert_eq!(
        (sum.idle_above_moving, sum.inversions),
        (0, 0),
        "idle rows above moving ones, and rows in the wrong order, in {LOOKS} looks; the last of them:\n{worst}"
    );
    let fill = sum.rows as f64 / (lines * pictures.len()) as f64;
    assert!(fill >= 0.95, "rows fill {fill:.3} of their lines:\n{last}");
}

#[test]
fn sixty_looks_under_churn_find_the_order_of_the_heading_and_a_full_screen() {
    if std::env::var_os(ROLE).is_some() {
        Churn::run();
        return;
    }
    let churn = Churn::start();
    let pid = churn.0.id().to_string();
    let mut watching = Watching::start(&["-i", "200ms", "-p", &pid]);
    // Header, footer, and of each section title, headings and the sum of others.
    let split = usize::from(HEIGHT) - 3 - 2 * 3;
    assert_calm(&watching.look("Egress"), 1, split);
    watching.terminal.keyboard.write_all(b"b").unwrap();
    // Header, footer, headings, the sum of others, idle rows, and what is selected.
    let joined = usize::from(HEIGHT) - 3 - 4;
    assert_calm(&watching.look("IN +"), 2, joined);
}
