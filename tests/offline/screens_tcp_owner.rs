//! What the kernel tells of packets, connections and owners, on the screen.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use crate::common::screen::{app, draw, press, text};
use crate::common::{assert_matches_file, detailed_flows, interval, web_server};
use flowtop::model::flow::Comm;
use flowtop::model::interval::SlotHolder;
use flowtop::options::TableOptions;
use flowtop::tui::{Action, Command, Edit};

#[test]
fn what_the_kernel_tells_of_connections_and_owners_is_shown() {
    let options = TableOptions {
        columns: Some(
            [
                "rate",
                "10s",
                "packets",
                "srtt",
                "retransmits",
                "cwnd",
                "proto",
                "local",
                "remote",
            ]
            .into_iter()
            .chain(["pid", "process", "user", "container"])
            .map(|column| column.parse().unwrap())
            .collect(),
        ),
        ascii: false,
        ..TableOptions::default()
    };
    let mut app = app(&options, 180, 30);
    app.update(Action::IntervalEnded(interval(detailed_flows())));
    assert_matches_file("screens/connections.txt", &text(&draw(&app, 180, 30)));
    press(&mut app, &[Command::Down, Command::Enter]);
    assert_matches_file("screens/connection.txt", &text(&draw(&app, 140, 45)));
    // The smallest useful terminal has all of it without scrolling.
    assert_matches_file("screens/connection-80x24.txt", &text(&draw(&app, 80, 24)));
    press(
        &mut app,
        &[Command::Back, Command::NextGroup, Command::NextGroup],
    );
    assert_matches_file(
        "screens/connections-grouped.txt",
        &text(&draw(&app, 180, 30)),
    );
    // A machine gone quiet keeps its columns.
    app.update(Action::IntervalEnded(interval(Vec::new())));
    let quiet = text(&draw(&app, 180, 30));
    assert!(
        quiet.contains("RETR") && quiet.contains("PKTS/s"),
        "{quiet}"
    );
}

#[test]
fn a_process_and_a_program_have_a_page_and_then_their_flows() {
    let options = TableOptions {
        ascii: false,
        ..TableOptions::default()
    };
    let mut app = app(&options, 80, 24);
    app.update(Action::IntervalEnded(interval(detailed_flows())));
    press(&mut app, &[Command::NextGroup, Command::Enter]);
    assert_matches_file("screens/program-80x24.txt", &text(&draw(&app, 80, 24)));
    press(
        &mut app,
        &[Command::Back, Command::NextGroup, Command::Enter],
    );
    let page = text(&draw(&app, 120, 40));
    assert_matches_file("screens/process-120x40.txt", &page);
    // Again: its flows, and back to the row.
    press(&mut app, &[Command::Enter]);
    let flows = text(&draw(&app, 80, 24));
    assert!(flows.contains("nginx 811 ╴"), "{flows}");
    assert!(flows.contains("203.0.113.7:52110"), "{flows}");
    press(&mut app, &[Command::Back]);
    let table = text(&draw(&app, 80, 24));
    assert!(table.contains("Ingress by process"), "{table}");
}

#[test]
fn a_page_is_of_the_flows_that_match_the_filter() {
    let options = TableOptions {
        ascii: false,
        ..TableOptions::default()
    };
    let page = |filter: &str| {
        let mut app = app(&options, 120, 40);
        app.update(Action::IntervalEnded(interval(detailed_flows())));
        press(&mut app, &[Command::Filter]);
        for c in filter.chars() {
            app.update(Action::Type(Edit::Insert(c)));
        }
        app.update(Action::Type(Edit::Accept));
        press(
            &mut app,
            &[Command::NextGroup, Command::NextGroup, Command::Enter],
        );
        (text(&draw(&app, 120, 40)), app)
    };
    let (all, mut app) = page("process nginx");
    assert!(all.contains("16 other peers"), "{all}");
    let (one, _) = page("process nginx and host 203.0.113.7");
    assert!(one.contains("The pace of its connection is set"), "{one}");
    assert!(
        one.contains("203.0.113.7") && !one.contains("2001:db8::7:5"),
        "{one}"
    );
    assert!(one.contains("1 known, 1 moved bytes"), "{one}");
    // Local traffic that is hidden in the tables is hidden here, and the page says why it is empty.
    press(&mut app, &[Command::LocalTraffic]);
    assert!(text(&draw(&app, 120, 40)).contains("16 other peers"));
    app.update(Action::IntervalEnded(interval(Vec::new())));
    let (rates, mut app) = page("process nginx and rate > 1MB/s");
    assert!(rates.contains("203.0.113.7"), "{rates}");
    app.update(Action::IntervalEnded(interval(Vec::new())));
    let idle = text(&draw(&app, 120, 40));
    assert!(
        idle.contains("None of its flows matches the filter now."),
        "{idle}"
    );
}

#[test]
fn the_number_of_flows_of_a_peer_is_never_cut() {
    let options = TableOptions {
        ascii: false,
        ..TableOptions::default()
    };
    for (width, height) in [(80, 24), (100, 30), (120, 30), (120, 40), (160, 50)] {
        let mut app = app(&options, width, height);
        let mut flows = detailed_flows();
        let mut more = flows.clone();
        for flow in &mut more {
            flow.key.local.port += 1;
        }
        flows.extend(more);
        app.update(Action::IntervalEnded(interval(flows)));
        press(&mut app, &[Command::NextGroup, Command::Enter]);
        let page = text(&draw(&app, width, height));
        assert!(page.contains("2 flows  203.0.113.7"), "{page}");
        assert!(page.contains("2 flows  [2001:db8::7:5]"), "{page}");
    }
}

#[test]
fn columns_that_never_had_anything_to_show_are_not_there() {
    let mut app = app(&TableOptions::default(), 250, 30);
    app.update(Action::IntervalEnded(interval(web_server())));
    assert!(!text(&draw(&app, 250, 30)).contains("RTT"));
    press(&mut app, &[Command::Columns]);
    assert!(!text(&draw(&app, 250, 30)).contains("cwnd"));
    app.update(Action::IntervalEnded(interval(detailed_flows())));
    assert!(text(&draw(&app, 250, 30)).contains("cwnd"));
    press(&mut app, &[Command::Back]);
    assert!(text(&draw(&app, 250, 30)).contains("RTT"));
}

#[test]
fn the_process_that_fills_the_flow_table_is_named_on_the_screen() {
    let mut app = app(&TableOptions::default(), 120, 40);
    let mut full = interval(web_server());
    full.losses.full = Some(SlotHolder {
        tgid: 123,
        comm: Comm::new(b"spray"),
        flows: 48,
        slots: 64,
    });
    app.update(Action::IntervalEnded(full));
    for (width, height) in [(60, 20), (120, 40)] {
        app.update(Action::Resize(width, height));
        let seen = text(&draw(&app, width, height));
        assert!(seen.contains("flow table full (spray)"), "{seen}");
    }
    press(&mut app, &[Command::Help, Command::End]);
    let seen = text(&draw(&app, 120, 40));
    assert!(
        seen.contains("spray (pid 123) holds 48 of 64 flows"),
        "{seen}"
    );
}
