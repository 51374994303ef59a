//! What many flows take of user space, with no kernel behind them: processor time of each step from
//! an interval to what is shown, and memory, by counting what is allocated.
//!
//!     cargo bench --bench scale [-- FLOWS...]
//!
//! Prints a line of JSON for each number of flows, times in milliseconds (medians), memory in MiB;
//! and one for each run of the whole program over a simulated source, with its resident memory.
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

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;
use flowtop::jsonl::writer::Json;
use flowtop::model::interval::Interval;
use flowtop::options::{Output, TableOptions};
use flowtop::output::{Report, text};
use flowtop::resolve::names::Names;
use flowtop::resolve::owners::Owners;
use flowtop::source::signals::SignalHandler;
use flowtop::stats::ranking::Ranking;
use flowtop::tui::{Action, App, Background, Command, Depth, DisplayOptions, Machine, RunContext};
use flowtop::view::Group;
use measure::median;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;
use simulated::{Busy, config, interval, timed};

/// Counts the bytes that are in use, the most there were, and how often more was asked for.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static ASKED: AtomicUsize = AtomicUsize::new(0);

fn grow(bytes: usize) {
    ASKED.fetch_add(1, Relaxed);
    let now = IN_USE.fetch_add(bytes, Relaxed) + bytes;
    MOST.fetch_max(now, Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: what the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: what the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Large blocks are moved by their pages, not copied: never there twice.
        IN_USE.fetch_sub(layout.size(), Relaxed);
        grow(size);
        // SAFETY: what the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

const AREA: Rect = Rect::new(0, 0, 160, 50);

fn main() -> Result<()> {
    if let Ok(flows) = std::env::var(FLOWS) {
        return be_the_program(flows.parse()?);
    }
    let asked: Vec<u32> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let flows = if asked.is_empty() {
        vec![1000, 10_000, 65_536, 262_144, 1_000_000]
    } else {
        asked
    };
    for &flows in &flows {
        let rounds = (2_000_000 / flows.max(1)).clamp(3, 40).into();
        let table = table(flows, rounds);
        let stream = stream(flows, rounds)?;
        println!("{{\"flows\":{flows},{table},{stream}}}");
    }
    for flows in flows {
        for output in ["table", "json"] {
            println!("{}", program(flows, output)?);
        }
    }
    Ok(())
}

/// Set for the program in the pseudo-terminal: how many flows it has, and what it writes.
const FLOWS: &str = "FLOWTOP_BENCH_FLOWS";
const OUTPUT: &str = "FLOWTOP_BENCH_OUTPUT";
/// How long it runs.
const LENGTH: Duration = Duration::from_secs(8);

fn be_the_program(flows: u32) -> Result<()> {
    let source = Busy::new(flows, Duration::ZERO);
    if std::env::var(OUTPUT)? == "json" {
        let mut out = std::io::stdout().lock();
        return flowtop::stream(
            &config(Output::Json),
            Machine::default(),
            source,
            Some(SignalHandler::install()?),
            &mut out,
        );
    }
    let config = config(Output::Table);
    simulated::show(&config, source)
}

/// From collector to screen or stream, in a process of its own: resident memory in the end, and the
/// most there was.
fn program(flows: u32, output: &str) -> Result<String> {
    let terminal = pty::Pty::open(AREA.width, AREA.height);
    let mut command = terminal.command(std::env::current_exe()?);
    command.env(FLOWS, flows.to_string()).env(OUTPUT, output);
    let mut child = command.spawn()?;
    terminal.read(|_| ());
    std::thread::sleep(LENGTH);
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let field = |name: &str| -> f64 {
        let line = status.lines().find(|line| line.starts_with(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kib.unwrap() / 1024.0
    };
    let line = format!(
        "{{\"program\":\"{output}\",\"flows\":{flows},\"rss_mib\":{:.1},\"most_rss_mib\":{:.1}}}",
        field("VmRSS:"),
        field("VmHWM:")
    );
    child.kill()?;
    child.wait()?;
    Ok(line)
}

fn milliseconds(times: Vec<Duration>) -> f64 {
    median(times).as_secs_f64() * 1e3
}

/// The live table: taking in an interval, drawing, the dearest keys; what it keeps, the most it
/// took beside an interval, how often it asked for memory in one.
fn table(flows: u32, rounds: u64) -> String {
    let look = DisplayOptions::new(&TableOptions::default(), Depth::Mono, Background::Unknown);
    let before = IN_USE.load(Relaxed);
    let mut app = App::new(
        RunContext::default(),
        Names::disabled(),
        Owners::disabled(),
        look,
    );
    app.update(Action::Resize(AREA.width, AREA.height));
    let mut buffer = Buffer::empty(AREA);
    let (mut taken, mut drawn, mut keys, mut groups) = (vec![], vec![], vec![], vec![]);
    let (mut kept, mut most, mut asked) = (0, 0, 0);
    // Peers come and go at first, so that there are past flows too.
    for round in 0..rounds + 12 {
        let next = interval(flows, round);
        MOST.store(IN_USE.load(Relaxed), Relaxed);
        let before_asking = ASKED.load(Relaxed);
        timed(&mut taken, || app.update(Action::IntervalEnded(next)));
        timed(&mut drawn, || {
            buffer.reset();
            (&app).render(buffer.area, &mut buffer);
        });
        asked = ASKED.load(Relaxed) - before_asking;
        most = MOST.load(Relaxed) - before;
        kept = IN_USE.load(Relaxed) - before;
    }
    let mut act = |times: &mut Vec<Duration>, command| {
        timed(times, || {
            app.update(Action::Command(command));
            buffer.reset();
            (&app).render(buffer.area, &mut buffer);
        });
    };
    for _ in 0..rounds.min(9) {
        act(&mut keys, Command::NextSort);
        act(&mut keys, Command::PreviousSort);
        act(&mut groups, Command::NextGroup);
    }
    let [taken, drawn, keys, groups] = [taken, drawn, keys, groups].map(milliseconds);
    let (kept, most) = (mib(kept), mib(most));
    format!(
        "\"taken_ms\":{taken:.3},\"drawn_ms\":{drawn:.3},\"sort_ms\":{keys:.3},\"group_ms\":{groups:.3},\
         \"kept_mib\":{kept:.2},\"most_mib\":{most:.2},\"allocations\":{asked}"
    )
}

/// Streams: ranking and grouping an interval, writing it as JSON and text; their bytes, the most
/// memory beside the interval.
fn stream(flows: u32, rounds: u64) -> Result<String> {
    let interval: Interval = interval(flows, 0);
    let owners = Arc::new(Owners::passwd_only());
    let facts = Arc::clone(&owners);
    let mut json = Json {
        owners,
        ..Json::default()
    };
    let (mut top, mut all, mut top_json, mut all_json, mut top_text) =
        (vec![], vec![], vec![], vec![], vec![]);
    let groups = ["process", "remote", "unit", "port"];
    let mut grouped = groups.map(|_| vec![]);
    let mut out = Vec::new();
    let (before, mut most, mut bytes) = (IN_USE.load(Relaxed), 0, 0);
    for _ in 0..rounds.min(9) {
        MOST.store(IN_USE.load(Relaxed), Relaxed);
        let first = timed(&mut top, || Ranking::new(&interval, Some(10)));
        out.clear();
        timed(&mut top_json, || {
            json.append(&first, &Names::disabled(), &mut out)
        })?;
        out.clear();
        timed(&mut top_text, || {
            text::Text::default().append(&first, &Names::disabled(), &mut out)
        })?;
        for (name, times) in groups.iter().zip(&mut grouped) {
            let group: Group = name.parse()?;
            let ranking = timed(times, || {
                Ranking::grouped(&interval, group, &*facts, Some(10))
            });
            black_box(ranking);
        }
        let every = timed(&mut all, || Ranking::new(&interval, None));
        out.clear();
        timed(&mut all_json, || {
            json.append(&every, &Names::disabled(), &mut out)
        })?;
        bytes = out.len();
        most = MOST.load(Relaxed) - before;
    }
    let [top, all, top_json, all_json, top_text] =
        [top, all, top_json, all_json, top_text].map(milliseconds);
    let by: Vec<String> = groups
        .iter()
        .zip(grouped)
        .map(|(name, times)| format!("\"by_{name}_ms\":{:.3}", milliseconds(times)))
        .collect();
    Ok(format!(
        "\"top_ms\":{top:.3},\"all_ms\":{all:.3},{},\"json_top_ms\":{top_json:.4},\"text_top_ms\":{top_text:.4},\
         \"json_all_ms\":{all_json:.3},\"json_all_bytes\":{bytes},\"stream_most_mib\":{:.2}",
        by.join(","),
        mib(most)
    ))
}
