//! What the live table costs: taking in an interval, ranking it, drawing it, and answering a key,
//! with few and with many flows. `cargo bench --bench screen`; prints medians, and how much of a
//! core one interval a second takes. And how long it takes from a key to what it brings on the
//! screen of a pseudo-terminal, with intervals coming and a collector that is always busy.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark: it talks on stdout, and stops where it cannot go on"
)]

mod measure;
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/common/pty.rs"]
mod pty;
mod simulated;

use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use flowtop::options::{Output, TableOptions};
use flowtop::resolve::names::Names;
use flowtop::resolve::owners::Owners;
use flowtop::tui::{Action, App, Background, Command, Depth, DisplayOptions, Edit, RunContext};
use measure::median;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;
use simulated::{Busy, config, interval, timed};

const ROUNDS: u64 = 40;

/// Set for the program in the pseudo-terminal: how many flows it has.
const FLOWS: &str = "FLOWTOP_BENCH_FLOWS";
/// Ctrl-G, as a terminal sends it.
const NEXT_GROUP: &str = "\x07";
/// Groupings that Ctrl-G goes through.
const GROUPINGS: usize = 16;
/// Number of keys that are pressed in the pseudo-terminal.
const KEYS: usize = 200;

fn be_the_program(flows: u32) -> Result<()> {
    let config = config(Output::Table);
    // The collector takes a whole interval to end one, the processor included.
    let source = Busy::new(flows, config.timing.interval * 95 / 100);
    simulated::show(&config, source)
}

/// Times from a key to all of what it brings, by turns: groupings, which rank anew, and help.
fn key_times(flows: u32) -> Vec<Duration> {
    let mut terminal = pty::Pty::open(80, 24);
    let program = std::env::current_exe().unwrap();
    let mut command = terminal.command(program);
    let mut child = command.env(FLOWS, flows.to_string()).spawn().unwrap();
    let screen = Arc::new(pty::Watched::new(vt100::Parser::new(24, 80, 0)));
    let drawing = Arc::clone(&screen);
    terminal.read(move |bytes| drawing.change(|screen| screen.process(bytes)));
    let wait = |what: &str| {
        assert!(
            screen.wait_until(|screen| screen.screen().contents().contains(what)),
            "no {what}: {}",
            screen.with(|screen| screen.screen().contents())
        );
    };
    wait(&format!("{flows} flows"));
    let steps = [
        (NEXT_GROUP, "Egress by program"),
        (NEXT_GROUP, "Egress by process"),
        ("\r", "messages"),
        ("q", "Egress by process"),
        ("?", "go back one step"),
        ("?", "Egress by process"),
        (NEXT_GROUP, "Egress by user"),
        (NEXT_GROUP, "Egress by container"),
        (NEXT_GROUP, "Egress by unit"),
        (NEXT_GROUP, "Egress by remote"),
        (NEXT_GROUP, "Egress by net/24"),
        (NEXT_GROUP, "Egress by port"),
        (NEXT_GROUP, "Egress by pod"),
        (NEXT_GROUP, "Egress by namespace"),
        (NEXT_GROUP, "Egress by compose"),
        (NEXT_GROUP, "Egress by job"),
        (NEXT_GROUP, "Egress by class"),
        (NEXT_GROUP, "Egress by zone"),
        (NEXT_GROUP, "Egress by host"),
        (NEXT_GROUP, "Egress -"),
        ("g", "Group by"),
        ("g", "Egress -"),
    ];
    let mut times = Vec::new();
    for (key, answer) in steps.into_iter().cycle().take(KEYS) {
        // At any time of an interval.
        std::thread::sleep(Duration::from_millis(23));
        let start = Instant::now();
        terminal.keyboard.write_all(key.as_bytes()).unwrap();
        wait(answer);
        times.push(start.elapsed());
    }
    terminal.keyboard.write_all(b"q").unwrap();
    child.wait().unwrap();
    times.sort_unstable();
    times
}

fn main() -> Result<()> {
    if let Ok(flows) = std::env::var(FLOWS) {
        return be_the_program(flows.parse()?);
    }
    costs();
    println!(
        "\nfrom a key to the screen, {KEYS} keys   flows       median         95 %         most"
    );
    for flows in [100, 1000, 10_000] {
        let times = key_times(flows);
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        println!(
            "{:>34} {flows:>8} {:>12.2?} {:>12.2?} {:>12.2?}",
            "80x24",
            at(50),
            at(95),
            at(100)
        );
    }
    Ok(())
}

fn costs() {
    println!(
        "processor time, median of {ROUNDS} rounds   flows   interval     drawing   key+drawing   grouping+drawing   of a core at 1 s"
    );
    for (width, height) in [(80, 24), (200, 50)] {
        for flows in [100, 1000, 10_000] {
            let look =
                DisplayOptions::new(&TableOptions::default(), Depth::Mono, Background::Unknown);
            let mut app = App::new(
                RunContext::default(),
                Names::disabled(),
                Owners::disabled(),
                look,
            );
            app.update(Action::Resize(width, height));
            let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
            let (mut taken, mut drawn, mut keys) = (Vec::new(), Vec::new(), Vec::new());
            let mut groupings = Vec::new();
            for round in 0..ROUNDS {
                let next = interval(flows, round);
                timed(&mut taken, || app.update(Action::IntervalEnded(next)));
                timed(&mut drawn, || {
                    buffer.reset();
                    black_box(&app).render(buffer.area, &mut buffer);
                });
                // The dearest keys: each of them ranks anew.
                timed(&mut keys, || {
                    app.update(Action::Command(Command::NextSort));
                    buffer.reset();
                    app.render(buffer.area, &mut buffer);
                });
                app.update(Action::Command(Command::PreviousSort));
                timed(&mut keys, || {
                    app.update(Action::Command(Command::Filter));
                    app.update(Action::Type(Edit::Insert('7')));
                    buffer.reset();
                    app.render(buffer.area, &mut buffer);
                });
                app.update(Action::Type(Edit::Cancel));
                // All groupings by turns, the last of them back to flows.
                for _ in 0..GROUPINGS {
                    timed(&mut groupings, || {
                        app.update(Action::Command(Command::NextGroup));
                        buffer.reset();
                        app.render(buffer.area, &mut buffer);
                    });
                }
            }
            let text: String = buffer.content().iter().map(|cell| cell.symbol()).collect();
            assert!(!text.contains("Egress by"), "not all groupings: {text}");
            let grouping = groupings.iter().sum::<Duration>() / groupings.len() as u32;
            let (taken, drawn, keys) = (median(taken), median(drawn), median(keys));
            println!(
                "{:>34} {flows:>12} {:>10.2?} {:>11.2?} {:>13.2?} {:>18.2?} {:>17.2} %",
                format!("{width}x{height}"),
                taken,
                drawn,
                keys,
                grouping,
                (taken + drawn).as_secs_f64() * 100.0
            );
        }
    }
}
