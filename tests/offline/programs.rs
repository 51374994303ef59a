//! The programs view, the joined table and rows that open in place, drawn into a buffer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use crate::common::screen::{app as table, draw, press, text};
use crate::common::{assert_matches_file, end, flow, interval};
use flowtop::model::flow::{Flow, Protocol};
use flowtop::options::TableOptions;
use flowtop::tui::{Action, App, Command, Edit};
use flowtop::view::{Column, Group, Preset, SortKey};
use std::time::Duration;

/// A machine with programs of one and of many processes, with few and with many peers.
fn machine() -> Vec<Flow> {
    let mut flows = Vec::new();
    let mut add = |name: &str, pid: u32, local: u16, peer: (&str, u16), bytes: (u64, u64)| {
        let (local, peer) = (end("10.0.0.5", local), end(peer.0, peer.1));
        let process = (pid, name.as_bytes());
        flows.push(flow(Protocol::Tcp, local, peer, process, bytes));
    };
    add(
        "nginx",
        1042,
        443,
        ("203.0.113.9", 52110),
        (430_000, 17_000_000),
    );
    add(
        "nginx",
        1042,
        443,
        ("203.0.113.9", 52144),
        (280_000, 11_000_000),
    );
    add(
        "nginx",
        1042,
        443,
        ("203.0.113.7", 52110),
        (240_000, 9_800_000),
    );
    for n in 0..129 {
        let peer = format!("192.0.2.{}", 1 + n);
        add("nginx", 1042, 443, (&peer, 40_000 + n), (2_000, 71_000));
    }
    add(
        "iperf3",
        31_337,
        5201,
        ("127.0.0.1", 40_118),
        (5_000_000, 0),
    );
    add(
        "iperf3",
        31_338,
        40_118,
        ("127.0.0.1", 5201),
        (0, 5_000_000),
    );
    add("restic", 8812, 40_022, ("198.51.100.9", 22), (0, 5_620_000));
    for n in 0..24u16 {
        let bytes = (780_000 - 30_000 * u64::from(n), 9_600);
        add(
            "curl",
            21_390 + u32::from(n),
            50_000 + n,
            ("10.0.0.12", 8080),
            bytes,
        );
    }
    for (n, name) in [
        "java",
        "prometheus",
        "sshd",
        "kubelet",
        "dnsmasq",
        "chronyd",
    ]
    .into_iter()
    .enumerate()
    {
        let n = n as u16;
        let bytes = (700 >> n, 900 >> n);
        add(
            name,
            600 + u32::from(n),
            9000 + n,
            ("10.0.0.31", 9100),
            bytes,
        );
    }
    flows
}

fn programs(width: u16, height: u16) -> App {
    let options = TableOptions {
        ascii: false,
        view: Preset::Programs,
        group: Group::Program,
        ..TableOptions::default()
    };
    let mut app = table(&options, width, height);
    let mut first = interval(machine());
    first.elapsed = Duration::from_secs(1);
    app.update(Action::IntervalEnded(first));
    app
}

fn screen(app: &App, width: u16, height: u16) -> String {
    text(&draw(app, width, height))
}

#[test]
fn the_programs_view_keeps_program_pid_both_ways_and_peer_at_80_columns() {
    for (width, height) in [(80, 24), (100, 24), (160, 50)] {
        let app = programs(width, height);
        let name = format!("screens/programs-{width}x{height}.txt");
        assert_matches_file(&name, &screen(&app, width, height));
    }
}

#[test]
fn rows_open_in_place_into_processes_peers_and_flows() {
    let mut app = programs(100, 24);
    // nginx, its first peer, and of curl the processes.
    let open_both = [
        Command::Down,
        Command::Expand,
        Command::Expand,
        Command::Expand,
    ];
    press(&mut app, &open_both);
    let shown = screen(&app, 100, 24);
    assert_matches_file("screens/programs-opened.txt", &shown);
    press(&mut app, &[Command::Fold, Command::Fold, Command::Fold]);
    let folded = screen(&app, 100, 24);
    assert!(
        !folded.contains('├') && folded.contains("▸nginx"),
        "{folded}"
    );
    press(&mut app, &[Command::Down, Command::Expand]);
    let curl = screen(&app, 100, 24);
    assert!(curl.contains("24 procs"), "{curl}");
    let process = curl.lines().find(|line| line.contains("├▸ curl "));
    assert!(process.is_some_and(|it| it.contains(" 21390 ")), "{curl}");
    assert!(curl.contains("20 other processes"), "{curl}");
}

#[test]
fn the_sum_of_other_rows_opens_into_more_of_them() {
    let mut app = programs(100, 40);
    press(&mut app, &[Command::Down, Command::Expand]);
    let count = |app: &App| screen(app, 100, 40).matches("├▸").count();
    let before = count(&app);
    assert!(screen(&app, 100, 40).contains("other peers"));
    while !screen(&app, 100, 40)
        .lines()
        .any(|line| line.starts_with('▸') && line.contains("other"))
    {
        press(&mut app, &[Command::Down]);
    }
    press(&mut app, &[Command::Expand]);
    assert_eq!(count(&app), 2 * before);
}

#[test]
fn enter_leads_to_processes_and_to_flows_with_every_step_in_the_title() {
    let mut app = programs(80, 24);
    let row_of = |app: &App, name: &str| {
        let text = screen(app, 80, 24);
        text.lines()
            .any(|line| line.starts_with(&format!("▸{name}")))
    };
    press(&mut app, &[Command::Home]);
    while !row_of(&app, "curl") {
        press(&mut app, &[Command::Down]);
    }
    press(&mut app, &[Command::Enter]);
    let page = screen(&app, 80, 24);
    assert!(
        page.contains("╶ curl ╴") && page.contains("processes"),
        "{page}"
    );
    press(&mut app, &[Command::Enter]);
    let opened = screen(&app, 80, 24);
    assert!(
        opened.contains("All › curl ╴") && opened.contains("21390"),
        "{opened}"
    );
    press(&mut app, &[Command::Down, Command::Enter, Command::Enter]);
    let flows = screen(&app, 80, 24);
    assert!(flows.contains("All › curl › 21390 ╴"), "{flows}");
    assert!(flows.contains("10.0.0.12:8080"), "{flows}");
    press(&mut app, &[Command::Back, Command::Back]);
    assert!(row_of(&app, "curl"), "{}", screen(&app, 80, 24));
    // Of a program with one process the flows are next.
    press(&mut app, &[Command::Home, Command::Enter, Command::Enter]);
    let flows = screen(&app, 80, 24);
    assert!(
        flows.contains("All › nginx ╴") && flows.contains("203.0.113.9:52110"),
        "{flows}"
    );
}

/// What the rates of the lines that stand for themselves sum up to, in and out, for whole numbers
/// of bytes.
fn sums(screen: &str) -> (u64, u64) {
    let rates = |line: &str| -> Vec<u64> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut rates = Vec::new();
        for (n, word) in words.iter().enumerate() {
            match words.get(n + 1) {
                Some(&"B/s") => rates.push(word.parse::<f64>().unwrap() as u64),
                _ if *word == "·" || *word == "·/s" => rates.push(0),
                _ => {}
            }
        }
        rates
    };
    let body = screen.lines().skip_while(|line| !line.contains("IN"));
    let tops = body.skip(1).filter(|line| !line.contains(['├', '└', '│']));
    let pairs = tops.map(rates).filter(|rates| rates.len() >= 2);
    pairs.fold((0, 0), |sum, rates| (sum.0 + rates[0], sum.1 + rates[1]))
}

#[test]
fn folding_and_opening_never_change_a_sum() {
    let mut seed = 5u64;
    let mut below = move |n: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    for round in 0..120 {
        let flows = (0..1 + below(60)).map(|_| {
            let pid = 1 + below(12) as u32;
            let name = [b'a' + (pid % 4) as u8; 3];
            let peer = end(&format!("192.0.2.{}", 1 + below(5)), 1000 + below(9) as u16);
            let local = end("10.0.0.5", 80 + below(3) as u16);
            flow(
                Protocol::Tcp,
                local,
                peer,
                (pid, &name),
                (1 + below(7), 1 + below(6)),
            )
        });
        let mut one = interval(flows.collect());
        let mut seen = std::collections::HashSet::new();
        one.flows.retain(|flow| seen.insert(flow.key));
        one.elapsed = Duration::from_secs(1);
        let total = one.total();
        let options = TableOptions {
            columns: Some(vec![Column::Rx, Column::Tx, Column::Remote]),
            ascii: false,
            view: Preset::Programs,
            group: [Group::Program, Group::Process, Group::User, Group::Remote][below(4) as usize],
            ..TableOptions::default()
        };
        let (width, height) = (70 + below(60) as u16, 14 + below(40) as u16);
        let mut app = table(&options, width, height);
        app.update(Action::IntervalEnded(one));
        for _ in 0..below(14) {
            let keys = [
                Command::Expand,
                Command::Expand,
                Command::Down,
                Command::Down,
                Command::Fold,
                Command::Up,
                Command::NextSort,
            ];
            press(&mut app, &[keys[below(7) as usize]]);
        }
        // A flow opens as its detail.
        if screen(&app, width, height).contains("╶ Flow of ") {
            press(&mut app, &[Command::Back]);
        }
        // At the top no row stands without the one that it is part of.
        press(&mut app, &[Command::Home]);
        let shown = screen(&app, width, height);
        assert_eq!(
            sums(&shown),
            (total.rx_bytes, total.tx_bytes),
            "{round}:\n{shown}"
        );
    }
}

#[test]
fn a_row_stays_open_while_the_table_changes() {
    let mut app = programs(100, 30);
    press(&mut app, &[Command::Down, Command::Expand]);
    assert!(screen(&app, 100, 30).contains("├▸ 203.0.113.9"));
    // nginx moves less than all others, then nothing.
    let mut flows = machine();
    for flow in &mut flows {
        if flow.owner.comm.as_bytes() == b"nginx" {
            (flow.counters.rx_bytes, flow.counters.tx_bytes) = (1, 1);
        }
    }
    app.update(Action::IntervalEnded(interval(flows)));
    let moved = screen(&app, 100, 30);
    let at = |name: &str| moved.lines().position(|line| line.contains(name)).unwrap();
    assert!(at("▸nginx") > at(" restic"), "{moved}");
    assert!(
        moved.lines().nth(at("▸nginx") + 1).unwrap().contains('├'),
        "{moved}"
    );
    let mut flows = machine();
    flows.retain(|flow| flow.owner.comm.as_bytes() != b"nginx");
    app.update(Action::IntervalEnded(interval(flows)));
    let idle = screen(&app, 100, 30);
    assert!(
        idle.contains('├') && idle.contains("idle 1 s") || idle.contains("idle 1s"),
        "{idle}"
    );
}

#[test]
fn a_filter_keeps_open_rows_and_the_sums() {
    let mut app = programs(100, 30);
    press(&mut app, &[Command::Down, Command::Expand, Command::Filter]);
    for c in "process nginx".chars() {
        app.update(Action::Type(Edit::Insert(c)));
    }
    app.update(Action::Type(Edit::Accept));
    let found = screen(&app, 100, 30);
    assert!(
        found.contains("├▸ 203.0.113.9") && !found.contains("restic"),
        "{found}"
    );
    assert!(found.contains("others"), "{found}");
}

#[test]
fn every_sort_column_has_a_mark_at_every_width() {
    let machine = interval(machine());
    for view in Preset::ALL {
        for column in Column::ALL {
            let options = TableOptions {
                ascii: false,
                view,
                group: view.spec().group,
                sort: SortKey::by(column),
                ..TableOptions::default()
            };
            for (width, height) in [(40, 12), (60, 11), (80, 24), (120, 24), (200, 24)] {
                let mut app = table(&options, width, height);
                app.update(Action::IntervalEnded(machine.clone()));
                for sort in [options.sort, options.sort.reversed()] {
                    let shown = screen(&app, width, height);
                    let mark = if sort.descending { '▼' } else { '▲' };
                    let tables = 1 + usize::from(view == Preset::Overview && height >= 12);
                    let marks = shown.matches(mark).count();
                    assert_eq!(
                        marks, tables,
                        "{view:?} by {sort} at {width}x{height}:\n{shown}"
                    );
                    press(&mut app, &[Command::Reverse]);
                }
            }
        }
    }
}

#[test]
fn low_screens_have_one_table_and_get_two_back() {
    let options = TableOptions {
        ascii: false,
        ..TableOptions::default()
    };
    let mut app = table(&options, 80, 24);
    app.update(Action::IntervalEnded(interval(machine())));
    assert!(screen(&app, 80, 24).contains("Egress"));
    app.update(Action::Resize(80, 11));
    let low = screen(&app, 80, 11);
    assert!(low.contains("IN +") && !low.contains("Egress"), "{low}");
    app.update(Action::Resize(80, 12));
    assert!(screen(&app, 80, 12).contains("Egress"));
}

#[test]
fn keys_show_the_views_and_the_columns_that_were_chosen_come_back() {
    let mut app = table(
        &TableOptions {
            ascii: false,
            ..TableOptions::default()
        },
        120,
        24,
    );
    app.update(Action::IntervalEnded(interval(machine())));
    let overview = screen(&app, 120, 24);
    for (view, heading) in [
        (Preset::Programs, "PROGRAM"),
        (Preset::Peers, "PEER"),
        (Preset::Tcp, "PROCESS"),
        (Preset::Containers, "CONTAINER"),
    ] {
        press(&mut app, &[Command::View(view)]);
        let shown = screen(&app, 120, 24);
        let headings = shown.lines().find(|line| line.contains("IN")).unwrap();
        assert!(
            headings.trim_start().starts_with(heading),
            "{view:?}:\n{shown}"
        );
    }
    press(&mut app, &[Command::View(Preset::Overview)]);
    let headings = |screen: &str| {
        let line = screen.lines().nth(3).unwrap();
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let back = screen(&app, 120, 24);
    assert!(back.contains("Ingress ╴"), "{back}");
    assert_eq!(headings(&back), headings(&overview));
}

#[test]
fn idle_rows_are_one_line_where_rows_are_scarce_and_rows_where_they_are_not() {
    let idle = |height: u16, moving: u32| {
        let many = |count: u32, bytes: u64| {
            (0..count).map(move |n| {
                let name = format!("p{n:02}");
                let peer = end("192.0.2.1", 1000 + n as u16);
                let process = (n + 1, name.as_bytes());
                flow(
                    Protocol::Tcp,
                    end("10.0.0.5", 80),
                    peer,
                    process,
                    (bytes, bytes),
                )
            })
        };
        let options = TableOptions {
            ascii: false,
            view: Preset::Programs,
            group: Group::Program,
            ..TableOptions::default()
        };
        let mut app = table(&options, 80, height);
        app.update(Action::IntervalEnded(interval(many(40, 500).collect())));
        app.update(Action::IntervalEnded(interval(many(moving, 700).collect())));
        screen(&app, 80, height)
    };
    let scarce = idle(24, 30);
    assert!(scarce.contains("\n  idle: p"), "{scarce}");
    assert!(scarce.contains(" more\n"), "{scarce}");
    let rows = |screen: &str| {
        screen
            .lines()
            .filter(|line| line.starts_with(" p") && line.contains("B/s"))
            .count()
    };
    assert_eq!(rows(&scarce), 17, "{scarce}");
    let plenty = idle(24, 5);
    assert!(!plenty.contains("idle: p"), "{plenty}");
    assert!(plenty.contains("more idle"), "{plenty}");
    let first_idle = plenty
        .lines()
        .position(|line| line.contains("idle 1"))
        .unwrap();
    let last_moving = plenty.lines().filter(|line| line.contains("700")).count() + 3;
    assert!(first_idle >= last_moving, "{plenty}");
}
