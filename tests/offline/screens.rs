//! Whole screens of the live table, drawn into a buffer and compared with `tests/screens/`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

mod header;
mod invariants;
mod replay;

use crate::common;
use crate::common::screen::{draw, press, text};
use crate::common::{assert_matches_file, bad_interval, flow, interval, method, web_server};
use flowtop::filter::{FilterPlan, NameTables, Pushdown, parse};
use flowtop::jsonl::CorruptRecording;
use flowtop::model::flow::Protocol;
use flowtop::model::interval::{InterfaceTraffic, Interval, LinkCounters, RecordingMetadata};
use flowtop::options::{CaptureOptions, Palette, TableOptions};
use flowtop::recording::player::{
    PlayerCommand, PlayerPosition, PlayerSnapshot, PlayerState, SeekDirection,
};
use flowtop::recording::recorder::Status;
use flowtop::resolve::names::{Names, Services};
use flowtop::resolve::owners::Owners;
use flowtop::sandbox::Confinement;
use flowtop::stats::history::History;
use flowtop::tui::{
    Action, App, Background, Command, Depth, DisplayOptions, Edit, Effect, Machine, RunContext,
};
use flowtop::view::Group;
use ratatui::style::{Color, Modifier};
use std::time::Duration;

fn options() -> TableOptions {
    TableOptions {
        ascii: false,
        color: true,
        ..TableOptions::default()
    }
}

fn machine() -> Machine {
    Machine {
        host: "web-01".to_owned(),
        kernel: "6.18.5".to_owned(),
        uptime: std::time::Duration::from_secs(93_000),
    }
}

fn context() -> RunContext {
    RunContext {
        machine: machine(),
        method: method(),
        ..RunContext::default()
    }
}

fn with(names: Names, look: DisplayOptions) -> App {
    App::new(context(), names, Owners::disabled(), look)
}

fn app(interval: Option<Interval>) -> App {
    let options = options();
    let look = DisplayOptions::new(&options, Depth::Mono, Background::Unknown);
    let mut app = with(Names::disabled(), look);
    if let Some(interval) = interval {
        app.update(Action::IntervalEnded(interval));
    }
    app
}

/// As on a terminal of that size, where keys and the mouse know it too.
fn sized(mut app: App, width: u16, height: u16) -> App {
    app.update(Action::Resize(width, height));
    app
}

fn type_in(app: &mut App, text: &str) {
    press(app, &[Command::Filter]);
    for c in text.chars() {
        app.update(Action::Type(Edit::Insert(c)));
    }
}

#[test]
fn the_smallest_useful_view_is_80x24() {
    let screen = text(&draw(&app(Some(interval(web_server()))), 80, 24));
    assert_matches_file("screens/80x24.txt", &screen);
}

#[test]
fn more_room_is_used() {
    let screen = text(&draw(&app(Some(interval(web_server()))), 120, 40));
    assert_matches_file("screens/120x40.txt", &screen);
}

#[test]
fn a_narrow_terminal_keeps_rate_ends_and_process() {
    let screen = text(&draw(&app(Some(interval(web_server()))), 60, 20));
    assert_matches_file("screens/60x20.txt", &screen);
}

#[test]
fn a_quiet_machine_is_one_calm_line() {
    assert_matches_file("screens/quiet.txt", &text(&draw(&app(None), 80, 8)));
    assert_matches_file("screens/quiet.txt", &text(&draw(&app(None), 80, 8)));
    let quiet = text(&draw(&app(Some(interval(Vec::new()))), 80, 8));
    assert!(
        quiet.contains("no traffic seen yet: no socket moved bytes in 1 s"),
        "{quiet}"
    );
    let mut app = app(Some(interval(Vec::new())));
    app.update(Action::Sockets(212));
    let reported = text(&draw(&app, 80, 8));
    let line = "no traffic seen yet: 0 of 212 open sockets moved bytes in 1 s";
    assert!(reported.contains(line), "{reported}");
}

#[test]
fn a_machine_gone_quiet_keeps_its_tables() {
    let mut app = app(Some(interval(web_server())));
    app.update(Action::IntervalEnded(interval(Vec::new())));
    let screen = text(&draw(&app, 80, 12));
    assert!(!screen.contains("no traffic seen yet"), "{screen}");
    // Rows are kept for a while, and say that nothing moves.
    assert!(
        screen.contains("idle 1 s") && screen.contains("203.0.113.7:52110"),
        "{screen}"
    );
    assert!(!screen.contains("147 MB/s"), "{screen}");
}

#[test]
fn trouble_cannot_be_missed() {
    let buffer = draw(&app(Some(bad_interval(web_server()))), 80, 24);
    assert_matches_file("screens/trouble.txt", &text(&buffer));
    let mark = (0..80).find(|&x| buffer[(x, 0)].symbol() == "!").unwrap();
    assert!(buffer[(mark, 0)].modifier.contains(Modifier::REVERSED));
}

#[test]
fn all_is_well_is_dim() {
    let buffer = draw(&app(Some(interval(web_server()))), 80, 24);
    assert!(text(&buffer).lines().next().unwrap().ends_with("exact"));
    assert!(buffer[(78, 0)].modifier.contains(Modifier::DIM));
}

#[test]
fn long_names_of_protocols_are_shown_whole() {
    for protocol in [Protocol::Packet, Protocol::UdpLite] {
        let mut flows = web_server();
        let local = common::end("10.0.0.5", 2048);
        let capture = (900, &b"tcpdump"[..]);
        flows.push(flow(protocol, local, local, capture, (50_000_000, 0)));
        let app = sized(app(Some(interval(flows))), 100, 24);
        let screen = text(&draw(&app, 100, 24));
        assert!(screen.contains(&format!(" {protocol} ")), "{screen}");
    }
}

#[test]
fn a_hostile_process_name_is_shown_not_obeyed() {
    let buffer = draw(&app(Some(interval(web_server()))), 120, 40);
    let screen = text(&buffer);
    assert!(screen.contains("\\x1b[2J\u{fffd}evil"), "{screen}");
    assert!(!screen.contains('\u{1b}'));
}

#[test]
fn services_take_the_place_of_ports_with_names_and_own_look_ups_are_marked() {
    let names = Names::with(|_| None, || ()).unwrap();
    let names = names.with_services(Services::built_in());
    let look = DisplayOptions::new(&options(), Depth::Mono, Background::Unknown);
    let mut app = with(names, look);
    let mut flows = web_server();
    flows.push(flow(
        flowtop::model::flow::Protocol::Udp,
        common::end("10.0.0.5", 40_001),
        common::end("192.0.2.53", 53),
        (std::process::id(), b"flowtop"),
        (50_000_000, 45),
    ));
    app.update(Action::IntervalEnded(interval(flows)));
    let screen = text(&draw(&app, 120, 40));
    assert!(screen.contains("flowtop (own)"), "{screen}");
    assert!(screen.contains("192.0.2.53:domain "), "{screen}");
    assert!(screen.contains(" https\n"), "{screen}");
    press(&mut app, &[Command::Names]);
    let screen = text(&draw(&app, 120, 40));
    assert!(
        screen.contains("192.0.2.53:53 ") && !screen.contains("https"),
        "{screen}"
    );
    press(&mut app, &[Command::Names]);
    let screen = text(&draw(&app, 120, 40));
    assert!(screen.contains("192.0.2.53:domain "), "{screen}");
    press(&mut app, &[Command::Down, Command::Enter]);
    let screen = text(&draw(&app, 120, 40));
    assert!(screen.contains("192.0.2.53:53  domain"), "{screen}");
    assert!(screen.contains(", flowtop's own look-ups"), "{screen}");
    press(&mut app, &[Command::Back]);
    while !text(&draw(&app, 120, 40)).contains("by port") {
        press(&mut app, &[Command::NextGroup]);
    }
    let screen = text(&draw(&app, 120, 40));
    assert!(screen.contains("tcp port 443 (https)"), "{screen}");
}

#[test]
fn a_host_name_takes_the_place_of_its_address_once_it_is_known() {
    let (notify, notified) = std::sync::mpsc::channel();
    let names = Names::with(
        |addr| (addr.to_string() == "203.0.113.7").then(|| "client.example.net".to_owned()),
        move || {
            let _ = notify.send(());
        },
    )
    .unwrap();
    let options = TableOptions {
        host_names: true,
        ..options()
    };
    let look = DisplayOptions::new(&options, Depth::Mono, Background::Unknown);
    let mut app = with(names, look);
    app.update(Action::IntervalEnded(interval(web_server())));
    draw(&app, 120, 40);
    notified.recv().unwrap();
    app.update(Action::NameFound);
    let screen = text(&draw(&app, 120, 40));
    assert!(screen.contains("client.example.net:52110"), "{screen}");
    assert!(!screen.contains("203.0.113.7"), "{screen}");
    press(&mut app, &[Command::Names]);
    let screen = text(&draw(&app, 120, 40));
    assert!(screen.contains("203.0.113.7"), "{screen}");
}

#[test]
fn a_large_terminal_is_used() {
    let mut app = sized(app(Some(interval(web_server()))), 200, 50);
    for n in 1..40u64 {
        let mut next = interval(web_server());
        next.flows[0].counters.tx_bytes += n * 3_000_000;
        next.flows[1].counters.rx_bytes += n * n * 40_000;
        next.ended += std::time::Duration::from_secs(n);
        app.update(Action::IntervalEnded(next));
    }
    assert_matches_file("screens/200x50.txt", &text(&draw(&app, 200, 50)));
    assert_matches_file("screens/160x50.txt", &text(&draw(&app, 160, 50)));
}

#[test]
fn ascii_is_all_there_is_where_nothing_else_can_be_drawn() {
    let options = TableOptions {
        ascii: true,
        ..options()
    };
    let look = DisplayOptions::new(&options, Depth::Mono, Background::Unknown);
    let mut app = sized(with(Names::disabled(), look), 200, 50);
    for _ in 0..5 {
        let mut flows = web_server();
        flows.remove(5);
        app.update(Action::IntervalEnded(interval(flows)));
    }
    let modes = [
        vec![],
        vec![Command::Down],
        vec![Command::NextGroup],
        vec![Command::Back, Command::Enter],
        vec![Command::Help],
        vec![Command::Back, Command::Columns],
    ];
    for commands in modes {
        press(&mut app, &commands);
        let screen = text(&draw(&app, 200, 50));
        let other = screen.chars().find(|c| !c.is_ascii());
        assert_eq!(other, None, "{screen}");
    }
}

#[test]
fn without_colours_nothing_has_one_and_with_them_directions_do() {
    let colours = |depth, background| {
        let options = options();
        let look = DisplayOptions::new(&options, depth, background);
        let mut app = with(Names::disabled(), look);
        app.update(Action::IntervalEnded(bad_interval(web_server())));
        let buffer = draw(&app, 160, 50);
        let mut seen: Vec<Color> = buffer
            .content
            .iter()
            .flat_map(|cell| [cell.fg, cell.bg])
            .collect();
        seen.retain(|color| *color != Color::Reset);
        seen.sort_by_key(|color| format!("{color:?}"));
        seen.dedup();
        seen
    };
    assert_eq!(colours(Depth::Mono, Background::Dark), []);
    for depth in [Depth::Ansi16, Depth::Ansi256, Depth::True] {
        let (dark, light) = (
            colours(depth, Background::Dark),
            colours(depth, Background::Light),
        );
        assert!(
            dark.len() >= 3 && light.len() >= 3,
            "{depth:?}: {dark:?}, {light:?}"
        );
        assert_ne!(dark, light);
        // Where it is not known only colours of the terminal's own palette are used.
        let unknown = colours(depth, Background::Unknown);
        assert_eq!(unknown, [Color::Cyan, Color::Red, Color::Yellow]);
    }
}

#[test]
fn colours_that_were_asked_for_are_used() {
    let options = TableOptions {
        palette: Palette {
            rx: Some("#010203".parse().unwrap()),
            ..Palette::default()
        },
        ..options()
    };
    let look = DisplayOptions::new(&options, Depth::True, Background::Unknown);
    let mut app = with(Names::disabled(), look);
    app.update(Action::IntervalEnded(interval(web_server())));
    let buffer = draw(&app, 80, 24);
    assert!(
        buffer
            .content
            .iter()
            .any(|cell| cell.fg == Color::Rgb(1, 2, 3))
    );
}

#[test]
fn one_flow_in_detail() {
    let mut app = sized(app(Some(interval(web_server()))), 120, 40);
    press(&mut app, &[Command::Down, Command::Enter]);
    assert_matches_file("screens/detail.txt", &text(&draw(&app, 120, 40)));
}

#[test]
fn grouped_by_process_and_opened() {
    let mut app = sized(app(Some(interval(web_server()))), 80, 24);
    press(&mut app, &[Command::NextGroup; 2]);
    assert_matches_file("screens/processes.txt", &text(&draw(&app, 80, 24)));
    press(&mut app, &[Command::Enter, Command::Enter]);
    assert_matches_file("screens/one-process.txt", &text(&draw(&app, 80, 24)));
}

#[test]
fn the_key_for_groups_has_threads_only_where_they_are_told_apart() {
    let circle = |by_thread, group: &str| {
        let capture = CaptureOptions {
            by_thread,
            ..CaptureOptions::default()
        };
        let options = TableOptions {
            group: group.parse().unwrap(),
            ..options()
        };
        let look = DisplayOptions::new(&options, Depth::Mono, Background::Unknown);
        let context = RunContext {
            capture,
            ..context()
        };
        let app = App::new(context, Names::disabled(), Owners::disabled(), look);
        let mut app = sized(app, 120, 40);
        app.update(Action::IntervalEnded(interval(web_server())));
        let seen = (0..Group::ALL.len()).map(|_| {
            let screen = text(&draw(&app, 120, 40));
            press(&mut app, &[Command::NextGroup]);
            let title = screen.lines().find(|line| line.contains("Ingress"));
            let group = title.and_then(|title| title.split(" by ").nth(1));
            let group = group.and_then(|rest| rest.split_whitespace().next());
            group.unwrap_or("flow").to_owned()
        });
        seen.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        circle(true, "flow"),
        "flow program process thread user container unit remote net/24 port pod namespace compose job class zone host"
    );
    assert_eq!(
        circle(false, "net/16,48"),
        "net/16,48 port pod namespace compose job class zone host flow program process user container unit remote net/16,48"
    );
}

#[test]
fn help_comes_from_the_table_of_keys() {
    let mut app = sized(app(Some(interval(web_server()))), 120, 40);
    press(&mut app, &[Command::Help]);
    assert_matches_file("screens/help.txt", &text(&draw(&app, 120, 40)));
}

#[test]
fn a_filter_stands_in_the_header_with_its_share_and_the_rest_is_summed() {
    let mut app = sized(app(Some(interval(web_server()))), 80, 24);
    type_in(&mut app, "process sshd*");
    assert_matches_file("screens/filtered.txt", &text(&draw(&app, 80, 24)));
}

#[test]
fn kernel_backend_and_what_was_given_up_stand_in_the_help() {
    let shown = |confinement| {
        let options = options();
        let look = DisplayOptions::new(&options, Depth::Mono, Background::Unknown);
        let context = RunContext {
            confinement: Some(confinement),
            ..context()
        };
        let mut app = App::new(context, Names::disabled(), Owners::disabled(), look);
        let header = text(&draw(&app, 160, 24));
        let header = header.lines().next().unwrap().to_owned();
        press(&mut app, &[Command::Help, Command::End]);
        (header, text(&draw(&app, 160, 40)))
    };
    let (header, help) = shown(Confinement::declined());
    assert!(!header.contains("confined"), "{header}");
    assert!(help.contains("--no-sandbox keeps all privileges"), "{help}");
    assert!(help.contains("Linux 6.18.5, tracepoint backend"), "{help}");
    let confined = Confinement {
        declined: false,
        landlock: Some(6),
        no_new_privs: true,
        seccomp: true,
        ..Confinement::declined()
    };
    let (_, help) = shown(confined);
    assert!(help.contains("files by Landlock 6"), "{help}");
}
