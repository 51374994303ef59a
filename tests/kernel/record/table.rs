//! Recordings in the live table.

use std::fs;
use std::process::Child;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{run, sample, unpacked};
use crate::common::folder::Folder;
use crate::common::pty::{PATIENCE, Pty, Watched};
use crate::common::{records, sum};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// flowtop on a terminal of its own.
struct Table {
    child: Child,
    terminal: Pty,
    screen: Arc<Watched<vt100::Parser>>,
}

impl Table {
    fn start(args: &[&str]) -> Self {
        let terminal = Pty::open(120, 30);
        let child = terminal
            .command(env!("CARGO_BIN_EXE_flowtop"))
            .args(args)
            .env("LC_ALL", "C.UTF-8")
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .env("XDG_STATE_HOME", "/dev/null")
            .spawn()
            .unwrap();
        let screen = Arc::new(Watched::new(vt100::Parser::new(30, 120, 0)));
        let drawing = Arc::clone(&screen);
        terminal.read(move |bytes| drawing.change(|screen| screen.process(bytes)));
        Self {
            child,
            terminal,
            screen,
        }
    }

    #[track_caller]
    fn see(&self, what: &str) -> String {
        self.see_all(&[what])
    }

    /// All of it in one picture, which is given.
    #[track_caller]
    fn see_all(&self, what: &[&str]) -> String {
        let mut text = String::new();
        let found = self.screen.wait_until(|screen| {
            text = screen.screen().contents();
            what.iter().all(|what| text.contains(what))
        });
        assert!(found, "not all of {what:?} in\n{text}");
        text
    }

    fn press(&mut self, keys: &str) {
        std::io::Write::write_all(&mut self.terminal.keyboard, keys.as_bytes()).unwrap();
    }

    #[track_caller]
    fn ends_with(mut self, code: i32) {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert_eq!(
                    status.code(),
                    Some(code),
                    "{}",
                    self.screen.with(|s| s.screen().contents())
                );
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.child.kill().unwrap();
        panic!("still running");
    }
}

/// The recorded time of the interval with this number, as the header has it.
fn time_of(records: &[Value], number: usize) -> String {
    let interval = records
        .iter()
        .filter(|r| r["type"] == "interval")
        .nth(number)
        .unwrap();
    let time = interval["time"].as_str().unwrap();
    format!("{} {} UTC", &time[..10], &time[11..19])
}

#[test]
fn a_recording_is_played_stepped_and_sought_in_the_live_table() {
    let all = records(&run(&["--replay", &sample(), "--json", "-n0"], 0).stdout);
    let last = all.iter().filter(|r| r["type"] == "interval").count() - 1;
    let mut table = Table::start(&["--replay", &sample()]);
    table.see("PLAY");
    table.press(" ");
    table.see("PAUSED");
    // To the beginning, then step by step: what is shown is what was recorded then.
    table.press(&"{".repeat(20));
    let first = time_of(&all, 0);
    table.see(&first);
    for number in 1..4 {
        table.press(".");
        table.see(&time_of(&all, number));
    }
    table.press(",,");
    table.see(&time_of(&all, 1));
    table.press("]");
    table.see("x2");
    table.press("[[");
    table.see("x0.5");
    // A click near the end of the bar, which 120 columns have from the 53rd on.
    // How long the whole is, and so how much of it this is, may be known a little later.
    let line = table.see(" %").lines().next().unwrap().to_owned();
    let percent = line.chars().position(|c| c == '%').unwrap();
    table.press(&format!("\x1b[<0;{};1M", percent - 4));
    table.see(&time_of(&all, last - 1)[..16]);
    table.press(&"}".repeat(20));
    table.see_all(&["100 %", "END", &time_of(&all, last)]);
    let total = sum(&all, "interval", "rx_bytes");
    table.press("t");
    let total = flowtop::text::units::bytes(total);
    table.see(&format!("{total} total"));
    table.press(" ");
    table.see(&first[..16]);
    table.press("q");
    table.ends_with(0);
}

#[test]
fn the_live_table_says_what_is_damaged_and_what_it_records() {
    let folder = Folder::new("table");
    let (cut, kept) = (folder.file("cut.jsonl"), folder.file("kept.jsonl.zst"));
    let text = unpacked(&sample());
    fs::write(&cut, &text[..text.len() / 8]).unwrap();
    let mut table = Table::start(&["--replay", &cut]);
    table.see("PLAY");
    table.press(&"}".repeat(20));
    table.see("recording damaged");
    // The state stands at the end of the help.
    table.press("?G");
    table.see("cut off");
    table.press("qq");
    table.see("not all of what was to be replayed could be read");
    table.ends_with(1);

    let mut table = Table::start(&["--record", &kept, "-i", "0.1"]);
    table.see("REC ");
    table.press("?G");
    table.see("recording to");
    table.press("qq");
    table.ends_with(0);
    let replayed = run(&["--replay", &kept, "--json"], 0).stdout;
    assert!(!replayed.is_empty());

    let table = Table::start(&["--record", "/dev/full", "-i", "0.1"]);
    table.see("recording stalled");
    kill_process(Pid::from_child(&table.child), Signal::TERM).unwrap();
    table.see("are not in it");
    table.ends_with(1);

    let table = Table::start(&["--replay", &sample(), "--exit-when", "rate > 1kB"]);
    table.see("ended by --exit-when");
    table.ends_with(3);
    Table::start(&["--replay", &sample(), "--once"]).ends_with(0);
    Table::start(&["--duration", "0.2"]).ends_with(0);
}
