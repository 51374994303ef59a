//! The header: rates, wire, copies and what is counted.

use super::*;

fn card(name: &str, rx: u64, tx: u64) -> InterfaceTraffic {
    let counters = |bytes| LinkCounters {
        bytes,
        packets: bytes / 1000,
        ..LinkCounters::default()
    };
    InterfaceTraffic {
        name: name.into(),
        rx: counters(rx),
        tx: counters(tx),
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
    assert!(shown.contains("127.0.0.1:50000"), "{shown}");
    press(&mut app, &[Command::LocalTraffic]);
    let hidden = text(&draw(&app, 120, 40));
    assert!(!hidden.contains("127.0.0.1:50000"), "{hidden}");
    assert!(hidden.contains("local traffic hidden"), "{hidden}");
    // Its bytes stay in the sums.
    let headline = |screen: &str| screen.lines().nth(1).unwrap().to_owned();
    assert_eq!(headline(&hidden), headline(&shown));
    press(&mut app, &[Command::LocalTraffic]);
    assert_eq!(text(&draw(&app, 120, 40)), shown);
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
