//! Whole screens of the live table, drawn into a buffer and compared with `tests/screens/`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

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

fn card(name: &str, rx: u64, tx: u64) -> InterfaceTraffic {
    let way = |bytes| LinkCounters {
        bytes,
        packets: bytes / 1000,
        ..LinkCounters::default()
    };
    InterfaceTraffic {
        name: name.into(),
        rx: way(rx),
        tx: way(tx),
    }
}

fn second_line(interval: &Interval, width: u16) -> String {
    let mut app = sized(app(Some(interval.clone())), width, 24);
    // Averages need no time to settle: the same again.
    app.update(Action::IntervalEnded(interval.clone()));
    let screen = text(&draw(&app, width, 24));
    screen.lines().nth(1).unwrap().to_owned()
}

#[test]
fn local_and_wire_stand_beside_the_rates_and_shorten_before_them() {
    // Sockets moved 11.3 and 148 MB, of which 999 bytes stay on the machine.
    let mut wired = interval(web_server());
    wired.interfaces = vec![card("eth0", 12_000_000, 155_000_000)];
    for (width, expected) in [
        (160, "local 999 B/s  wire eth0 in 12.0 MB/s out 155 MB/s"),
        (80, "local 999 B/s  wire 167 MB/s"),
        (60, "local 999 B/s"),
    ] {
        let line = second_line(&wired, width);
        assert!(line.ends_with(expected), "{width}: {line}");
        assert!(
            line.contains("in 11.3 MB/s") && line.contains("out  148 MB/s"),
            "{line}"
        );
    }
    wired.interfaces = vec![card("eth0", 12_000_000, 155_000_000), card("eth1", 0, 0)];
    assert!(second_line(&wired, 160).contains("wire 2 cards in"));
    assert!(!second_line(&interval(web_server()), 160).contains("wire"));
}

#[test]
fn what_cards_moved_beyond_sockets_and_headers_is_shown_where_it_is_notable() {
    let mut forwarded = interval(web_server());
    forwarded.interfaces = vec![card("eth0", 40_000_000, 155_000_000)];
    let line = second_line(&forwarded, 160);
    // 40 MB less 11.3 MB of sockets and 40,000 headers of 118 bytes.
    assert!(line.ends_with("not from sockets 24.0 MB/s"), "{line}");
    forwarded.interfaces = vec![card("eth0", 13_000_000, 155_000_000)];
    let line = second_line(&forwarded, 160);
    assert!(
        line.contains("wire eth0") && !line.contains("sockets"),
        "{line}"
    );
}

#[test]
fn units_stand_at_every_width_and_no_word_on_the_machines_name() {
    let app = app(Some(bad_interval(web_server())));
    for width in 13..60 {
        let screen = text(&draw(&app, width, 10));
        assert!(screen.starts_with(" web-01"), "{width}: {screen}");
        let head = |n| screen.lines().nth(n).unwrap_or_default();
        let (rx, tx) = match width {
            36.. => (head(1), head(1)),
            _ => (head(1), head(2)),
        };
        assert!(rx.contains("in 13.8 MB/s"), "{width}: {screen}");
        assert!(
            width < 14 || tx.contains("out  148 MB/s"),
            "{width}: {screen}"
        );
    }
}

#[test]
fn a_key_hides_what_stays_on_the_machine() {
    let mut app = sized(app(Some(interval(web_server()))), 120, 40);
    let shown = text(&draw(&app, 120, 40));
    assert!(shown.contains("127.0.0.1:6379"), "{shown}");
    press(&mut app, &[Command::LocalTraffic]);
    let hidden = text(&draw(&app, 120, 40));
    assert!(!hidden.contains("127.0.0.1:6379"), "{hidden}");
    assert!(hidden.contains("local traffic hidden"), "{hidden}");
    // Its bytes stay in the sums.
    let headline = |screen: &str| screen.lines().nth(1).unwrap().to_owned();
    assert_eq!(headline(&hidden), headline(&shown));
    press(&mut app, &[Command::LocalTraffic]);
    assert_eq!(text(&draw(&app, 120, 40)), shown);
}

#[test]
fn no_terminal_is_too_small() {
    let app = app(Some(bad_interval(web_server())));
    for width in 0..50 {
        for height in 0..16 {
            draw(&app, width, height);
        }
    }
    draw(&app, 1, 1);
    draw(&app, 500, 1);
    draw(&app, 1, 200);
}

/// Small, fast, repeatable: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// What the first rates of each section sum up to, for numbers that are whole.
fn sums(screen: &str) -> Vec<f64> {
    let mut sums = Vec::new();
    let mut in_section = false;
    for line in screen.lines() {
        if line.starts_with("╶ ") {
            in_section = true;
            sums.push(0.0);
        } else if in_section {
            let words: Vec<&str> = line.split_whitespace().collect();
            let rate = words.windows(2).find(|pair| pair[1] == "B/s");
            let number = rate.and_then(|pair| pair[0].parse::<f64>().ok());
            if let (Some(number), Some(sum)) = (number, sums.last_mut()) {
                *sum += number;
            }
        }
    }
    sums
}

#[test]
fn rows_and_the_rest_are_the_total_in_every_grouping_filter_and_place() {
    let mut random = Random(7);
    for round in 0..150 {
        let flows = (0..random.below(60)).map(|i| {
            let port = 1000 + i as u16;
            let peer = common::end(&format!("192.0.2.{}", 1 + random.below(9)), port);
            let local = common::end("10.0.0.5", 80 + random.below(3) as u16);
            let tgid = 1 + random.below(6) as u32;
            let name = [b'a' + tgid as u8; 3];
            let bytes = (random.below(7), random.below(6));
            flow(
                flowtop::model::flow::Protocol::Tcp,
                local,
                peer,
                (tgid, &name),
                bytes,
            )
        });
        let mut one = interval(flows.collect());
        one.elapsed = std::time::Duration::from_secs(1);
        one.losses.untracked.rx_bytes = random.below(3) * 20;
        let total = one.total();
        // Without averages, so that the only numbers are rates.
        let options = TableOptions {
            columns: Some(Vec::new()),
            rows: [None, Some(5)][random.below(2) as usize],
            ..options()
        };
        let look = DisplayOptions::new(&options, Depth::Mono, Background::Unknown);
        let (width, height) = (60 + random.below(100) as u16, 12 + random.below(40) as u16);
        let mut app = sized(with(Names::disabled(), look), width, height);
        app.update(Action::IntervalEnded(one));
        for _ in 0..random.below(5) {
            let commands = [
                Command::NextGroup,
                Command::Down,
                Command::PageDown,
                Command::NextSection,
                Command::NextSort,
                Command::Reverse,
                Command::Freeze,
            ];
            press(&mut app, &[commands[random.below(7) as usize]]);
        }
        if random.below(3) == 0 {
            type_in(&mut app, "process (bcd or bbb or ccc)");
        }
        let screen = text(&draw(&app, width, height));
        let expected = [total.rx_bytes as f64, total.tx_bytes as f64];
        if expected != [0.0, 0.0] {
            assert_eq!(sums(&screen), expected, "{round}: {screen}");
        }
    }
}

#[test]
fn no_cell_ever_holds_a_control_character() {
    let mut random = Random(11);
    let hostile = [
        "\x1b[2J",
        "a\nb",
        "\u{202e}x",
        "\u{9b}31m",
        "e\u{301}",
        "世界\u{200b}",
        "\x07",
    ];
    let look = DisplayOptions::new(&options(), Depth::True, Background::Dark);
    let names = Names::with(|_| Some("\x1b]0;x\x07\u{202e}host".to_owned()), || {}).unwrap();
    let host = Machine {
        host: "\x1b[31mhost\n".to_owned(),
        kernel: "6\t.1".to_owned(),
        uptime: std::time::Duration::ZERO,
    };
    let look = DisplayOptions {
        names: true,
        ..look
    };
    let context = RunContext {
        machine: host,
        ..context()
    };
    let mut app = App::new(context, names, Owners::disabled(), look);
    for round in 0..200 {
        let flows = (0..20u16).map(|i| {
            let name = hostile[random.below(7) as usize];
            let peer = common::end("2001:db8::1", i + 1);
            let bytes = (random.below(1 << 40), random.below(1 << 20));
            let process = (i.into(), name.as_bytes());
            flow(
                flowtop::model::flow::Protocol::Udp,
                common::end("::1", 9),
                peer,
                process,
                bytes,
            )
        });
        app.update(Action::IntervalEnded(interval(flows.collect())));
        let (width, height) = (random.below(220) as u16, random.below(60) as u16);
        app.update(Action::Resize(width, height));
        type_in(&mut app, hostile[random.below(7) as usize]);
        let key = [Edit::Cancel, Edit::Accept, Edit::DeleteToStart][random.below(3) as usize];
        app.update(Action::Type(key));
        let commands = [
            Command::Enter,
            Command::Help,
            Command::NextGroup,
            Command::Back,
            Command::Down,
        ];
        press(&mut app, &[commands[random.below(5) as usize]]);
        app.update(Action::Click(
            random.below(220) as u16,
            random.below(60) as u16,
        ));
        let screen = text(&draw(&app, width, height));
        let bad = screen.chars().find(|c| {
            c.is_control() && *c != '\n'
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        });
        assert_eq!(bad, None, "{round}: {screen:?}");
    }
}

#[test]
fn columns_do_not_move_when_narrower_flows_follow() {
    let mut app = app(Some(interval(web_server())));
    let heads = |app: &App| text(&draw(app, 120, 30)).lines().nth(3).unwrap().to_owned();
    let before = heads(&app);
    app.update(Action::IntervalEnded(interval(web_server().split_off(6))));
    assert_eq!(heads(&app), before);
}

/// What packet sockets hear is what other sockets move: the headline would have it twice.
#[test]
fn the_headline_keeps_copies_apart() {
    let end = |port| common::end("10.0.0.5", port);
    let capture = || {
        let process = (900, &b"tcpdump"[..]);
        let bytes = (50_000_000, 0);
        flow(Protocol::Packet, end(2048), end(0), process, bytes)
    };
    for (width, height) in [(80, 24), (160, 50)] {
        let screen = |flows| {
            let mut app = sized(app(Some(interval(flows))), width, height);
            press(&mut app, &[Command::Totals]);
            text(&draw(&app, width, height))
        };
        let own = screen(web_server());
        let mut flows = web_server();
        flows.push(capture());
        let with_copies = screen(flows);
        let headline = |screen: &str| screen.lines().nth(1).unwrap().to_owned();
        let copies = "  + 50.0 MB/s copies";
        assert!(headline(&with_copies).contains(copies), "{with_copies}");
        let words = |line: String| {
            let line = line.replace(copies, "");
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            words(headline(&with_copies))[..3],
            words(headline(&own))[..3]
        );
        if height == 50 {
            assert_eq!(words(headline(&with_copies)), words(headline(&own)));
            let chart = |screen: &str| screen.lines().skip(2).take(8).collect::<String>();
            assert_eq!(chart(&with_copies), chart(&own));
        }
    }
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
    assert!(
        screen.contains("192.0.2.53:53 ") && !screen.contains(":https"),
        "{screen}"
    );
    press(&mut app, &[Command::Names]);
    let screen = text(&draw(&app, 120, 40));
    assert!(screen.contains("192.0.2.53:domain "), "{screen}");
    assert!(screen.contains("10.0.0.5:https\n"), "{screen}");
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
    press(&mut app, &[Command::Enter]);
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
        let seen = (0..10).map(|_| {
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
        "flow program process thread user container unit remote net/24 port"
    );
    assert_eq!(
        circle(false, "net/16,48"),
        "net/16,48 port flow program process user container unit remote net/16,48"
    );
}

#[test]
fn help_comes_from_the_table_of_keys() {
    let mut app = sized(app(Some(interval(web_server()))), 120, 40);
    press(&mut app, &[Command::Help]);
    assert_matches_file("screens/help.txt", &text(&draw(&app, 120, 40)));
}

#[test]
fn what_is_counted_at_all_stands_in_the_header() {
    let filter = parse("tcp and not comm \"\u{1b}[2J\"", &NameTables::default()).unwrap();
    let capture = CaptureOptions {
        filter: FilterPlan::new(filter, Pushdown::Nothing),
        ..CaptureOptions::default()
    };
    let context = RunContext {
        capture,
        ..context()
    };
    let look = DisplayOptions::new(&options(), Depth::Mono, Background::Unknown);
    let mut app = App::new(context, Names::disabled(), Owners::disabled(), look);
    app.update(Action::IntervalEnded(interval(web_server())));
    let wide = text(&draw(&app, 120, 40));
    assert!(
        wide.contains("filter: tcp and not process \"\\x1b[2J\""),
        "{wide}"
    );
    let narrow = text(&draw(&sized(app, 48, 20), 48, 20));
    let head = narrow.lines().next().unwrap();
    assert!(
        head.contains("filter: tcp and not process") && head.contains('…'),
        "{narrow}"
    );
}

#[test]
fn a_filter_stands_in_the_title_and_the_rest_is_summed() {
    let mut app = sized(app(Some(interval(web_server()))), 80, 24);
    type_in(&mut app, "process sshd*");
    assert_matches_file("screens/filtered.txt", &text(&draw(&app, 80, 24)));
}

/// Half of a recording of forty intervals lies behind.
fn picture(state: PlayerState) -> PlayerSnapshot {
    let mut history = History::new();
    for n in 0..20 {
        let mut interval = interval(web_server());
        interval.ended += Duration::from_secs(n);
        history.add(&interval);
    }
    PlayerSnapshot {
        position: PlayerPosition {
            state,
            speed: 2.0,
            at: history.clock().at,
            whole: Some(history.clock().at * 2),
            corruptions: Vec::new(),
        },
        history,
        flows: 26,
        method: method(),
        metadata: RecordingMetadata {
            machine: Machine {
                host: "web-\u{1b}01".to_owned(),
                kernel: "6.18.5".to_owned(),
                ..Machine::default()
            },
            users: vec![(33, "www".into())],
            ..RecordingMetadata::default()
        },
    }
}

fn replaying(picture: PlayerSnapshot) -> App {
    let look = DisplayOptions::new(&options(), Depth::Mono, Background::Unknown);
    let names = Names::disabled();
    let context = RunContext {
        machine: Machine::default(),
        ..context()
    };
    let mut app = App::new(context, names, Owners::disabled(), look);
    app.begin_replay();
    app.update(Action::PlayerMoved(Box::new(picture)));
    app
}

#[test]
fn a_recording_has_its_time_speed_and_place_in_the_header() {
    let app = replaying(picture(PlayerState::Playing));
    assert_matches_file("screens/replay-80x24.txt", &text(&draw(&app, 80, 24)));
    assert_matches_file("screens/replay-160x50.txt", &text(&draw(&app, 160, 50)));
    let head = |state| {
        let screen = text(&draw(&replaying(picture(state)), 80, 24));
        screen.lines().next().unwrap().to_owned()
    };
    let (playing, paused) = (head(PlayerState::Playing), head(PlayerState::Paused));
    assert!(
        paused.starts_with(" web-\\x1b01   PAUSED   15:00:19 UTC  x2 "),
        "{paused}"
    );
    // Nothing jumps.
    assert_eq!(paused.replace("PAUSED", "PLAY  "), playing);
    assert_eq!(head(PlayerState::AtEnd).replace("END ", "PLAY"), playing);
    let mut app = replaying(picture(PlayerState::Playing));
    press(&mut app, &[Command::Help]);
    assert_matches_file("screens/replay-help.txt", &text(&draw(&app, 120, 40)));
    for width in 0..60 {
        draw(&replaying(picture(PlayerState::Seeking)), width, 10);
    }
}

#[test]
fn keys_and_the_bar_of_a_recording_go_to_the_player() {
    let mut app = sized(replaying(picture(PlayerState::Paused)), 80, 24);
    let asked = |app: &mut App, command| {
        press(app, &[command]);
        app.take_request()
    };
    let whole = picture(PlayerState::Paused).position.whole.unwrap();
    for (command, order) in [
        (Command::Pause, PlayerCommand::Toggle),
        (Command::StepForward, PlayerCommand::Step(1)),
        (Command::StepBack, PlayerCommand::Step(-1)),
        (
            Command::SeekForward,
            PlayerCommand::SeekBy(whole / 20, SeekDirection::Forward),
        ),
        (
            Command::SeekBack,
            PlayerCommand::SeekBy(whole / 20, SeekDirection::Back),
        ),
        (
            Command::SpeedUp,
            PlayerCommand::Speed(SeekDirection::Forward),
        ),
        (
            Command::SpeedDown,
            PlayerCommand::Speed(SeekDirection::Back),
        ),
    ] {
        assert_eq!(asked(&mut app, command), Some(Effect::Play(order)));
    }
    assert_eq!(
        asked(&mut app, Command::Slower),
        None,
        "intervals are as they are"
    );
    assert!(!app.is_paused(), "it is the player that stands still");
    let line = text(&draw(&app, 80, 24)).lines().next().unwrap().to_owned();
    let cells: Vec<char> = line.chars().collect();
    let first = cells.iter().position(|&c| c == '█').unwrap();
    let last = cells.iter().rposition(|&c| c == '─').unwrap();
    for (x, part) in [(first, 0.05), (last, 0.95)] {
        app.update(Action::Click(x as u16, 0));
        let Some(Effect::Play(PlayerCommand::SeekTo(asked))) = app.take_request() else {
            panic!("a click at {x} of {line}");
        };
        assert!((asked - part).abs() < 1e-9, "{asked}");
    }
    app.update(Action::Click(last as u16 + 2, 0));
    assert_eq!(app.take_request(), None);
    // Live there is nothing to play.
    let mut live = sized(self::app(Some(interval(web_server()))), 80, 24);
    assert_eq!(asked(&mut live, Command::StepForward), None);
}

#[test]
fn a_damaged_or_incomplete_recording_cannot_be_missed() {
    let mut picture = picture(PlayerState::AtEnd);
    picture.position.corruptions.push(CorruptRecording {
        file: "x\u{1b}.jsonl".into(),
        line: 7,
        what: "the last line is cut off".to_owned(),
        intervals: 3,
    });
    let mut app = replaying(picture);
    let screen = text(&draw(&app, 120, 40));
    assert!(
        screen
            .lines()
            .next()
            .unwrap()
            .ends_with(" ! recording damaged"),
        "{screen}"
    );
    press(&mut app, &[Command::Help, Command::End]);
    let help = text(&draw(&app, 120, 40));
    let message =
        "x\\x1b.jsonl: line 7: the last line is cut off; the 3 intervals before it were read";
    assert!(help.contains(message), "{help}");

    let mut live = self::app(Some(interval(web_server())));
    let mut status = Status {
        file: "day.jsonl".to_owned(),
        bytes: 1_234_567,
        ..Status::default()
    };
    live.update(Action::Recording(Some(status.clone())));
    let screen = text(&draw(&live, 100, 24));
    assert!(
        screen.contains("REC 1.23 MB") && screen.contains("exact"),
        "{screen}"
    );
    status.trouble = Some("No space left on device".to_owned());
    live.update(Action::Recording(Some(status.clone())));
    let screen = text(&draw(&live, 100, 24));
    assert!(
        screen
            .lines()
            .next()
            .unwrap()
            .ends_with(" ! recording stalled"),
        "{screen}"
    );
    status.trouble = None;
    status.lost.intervals = 2;
    live.update(Action::Recording(Some(status)));
    press(&mut live, &[Command::Help, Command::End]);
    let help = text(&draw(&live, 100, 40));
    assert!(
        help.contains("! recording incomplete") && help.contains("2 intervals with 0 B"),
        "{help}"
    );
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
