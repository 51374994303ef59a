//! Whole screens of the live table, drawn into a buffer and compared with `tests/screens/`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

mod common;

use common::{assert_matches_file, bad_interval, flow, interval, method, web_server};
use flowtop::config::Config;
use flowtop::interval::Interval;
use flowtop::names::Names;
use flowtop::tui::{Action, App};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::widgets::Widget;

fn app(interval: Option<Interval>) -> App {
    let mut app = App::new(
        &Config::default(),
        "web-01".to_owned(),
        method(),
        Names::off(),
    );
    if let Some(interval) = interval {
        app.update(Action::Show(interval));
    }
    app
}

fn draw(app: &App, width: u16, height: u16) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    app.render(buffer.area, &mut buffer);
    buffer
}

fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let line: String = (0..buffer.area.width)
            .map(|x| buffer[(x, y)].symbol())
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
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
    assert!(quiet.contains("no traffic seen yet"), "{quiet}");
}

#[test]
fn a_machine_gone_quiet_keeps_its_tables() {
    let mut app = app(Some(interval(web_server())));
    app.update(Action::Show(interval(Vec::new())));
    let screen = text(&draw(&app, 80, 12));
    assert!(!screen.contains("no traffic seen yet"), "{screen}");
    assert_eq!(
        screen.matches("nothing in this interval").count(),
        2,
        "{screen}"
    );
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

#[test]
fn what_the_screen_shows_adds_up_to_the_totals() {
    // Every flow 1 byte in 1 s: sums can be read from the screen.
    let mut one = interval(
        (0..200u16)
            .map(|i| {
                let ends = (common::end("10.0.0.5", 80), common::end("192.0.2.1", i + 1));
                flow(
                    flowtop::flow::Protocol::Tcp,
                    ends.0,
                    ends.1,
                    (1, b"x"),
                    (1, 0),
                )
            })
            .collect(),
    );
    one.elapsed = std::time::Duration::from_secs(1);
    for height in 6..60 {
        let screen = text(&draw(&app(Some(one.clone())), 100, height));
        let rows = screen.matches("1.00 B/s").count();
        let rest: usize = screen
            .lines()
            .find_map(|line| line.trim().strip_suffix(" other flows")?.split_once(" B/s"))
            .map_or(0, |(sum, _)| sum.parse().unwrap());
        assert!(
            rest == 0 && rows == 0 || rows + rest == 200,
            "{height}: {screen}"
        );
    }
}

#[test]
fn columns_do_not_move_when_narrower_flows_follow() {
    let mut app = app(Some(interval(web_server())));
    let heads = |app: &App| text(&draw(app, 120, 40)).lines().nth(3).unwrap().to_owned();
    let before = heads(&app);
    app.update(Action::Show(interval(web_server().split_off(6))));
    assert_eq!(heads(&app), before);
}

#[test]
fn a_hostile_process_name_is_shown_not_obeyed() {
    let buffer = draw(&app(Some(interval(web_server()))), 120, 40);
    let screen = text(&buffer);
    assert!(screen.contains("\\x1b[2J\u{fffd}evil"), "{screen}");
    assert!(!screen.contains('\u{1b}'));
}

#[test]
fn a_host_name_takes_the_place_of_its_address_once_it_is_known() {
    let (told, tidings) = std::sync::mpsc::channel();
    let names = Names::with(
        |addr| (addr.to_string() == "203.0.113.7").then(|| "client.example.net".to_owned()),
        move || {
            let _ = told.send(());
        },
    )
    .unwrap();
    let mut app = App::new(&Config::default(), "web-01".to_owned(), method(), names);
    app.update(Action::Show(interval(web_server())));
    tidings.recv().unwrap();
    app.update(Action::NameFound);
    let screen = text(&draw(&app, 120, 40));
    assert!(screen.contains("client.example.net:52110"), "{screen}");
    assert!(!screen.contains("203.0.113.7"), "{screen}");
}
