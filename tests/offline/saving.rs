//! What leaves the live table by keys: settings, snapshots, recordings, copied texts; and totals
//! that restart.

use std::time::Duration;

use crate::common::screen::{self, draw, press, text};
use crate::common::{interval, web_server};
use flowtop::options::{SavedSettings, TableOptions};
use flowtop::text::units::Units;
use flowtop::tui::{Action, App, Command, Effect};
use flowtop::view::{Column, Group, Preset, SortKey};

const SIZE: (u16, u16) = (120, 40);

fn app() -> App {
    let mut app = screen::app(&TableOptions::default(), SIZE.0, SIZE.1);
    app.update(Action::IntervalEnded(interval(web_server())));
    app
}

fn footer(app: &App) -> String {
    let screen = text(&draw(app, SIZE.0, SIZE.1));
    screen.lines().last().unwrap().to_owned()
}

#[test]
fn settings_are_saved_as_they_are_shown() {
    let mut app = app();
    press(&mut app, &[Command::Save]);
    let default = SavedSettings {
        columns: None,
        units: Units::Bytes,
        view: Preset::Overview,
        sort: SortKey::by(Column::Rate),
        group: Group::Flow,
    };
    assert_eq!(app.take_request(), Some(Effect::Save(default.clone())));
    // Inside an opened group they are those of the table that it was opened from.
    let grouped = [
        Command::NextGroup,
        Command::Units,
        Command::Enter,
        Command::Enter,
    ];
    press(&mut app, &grouped);
    press(&mut app, &[Command::Save]);
    let Some(Effect::Save(saved)) = app.take_request() else {
        panic!("nothing is saved");
    };
    assert_ne!(saved.group, Group::Flow);
    assert_ne!(saved.units, default.units);
}

#[test]
fn the_footer_says_what_became_of_it_until_the_next_key_or_for_a_while() {
    let mut app = app();
    let keys = footer(&app);
    app.update(Action::Reported(Ok("settings saved in \u{1b}x".to_owned())));
    assert_eq!(footer(&app), " settings saved in \\x1bx");
    app.update(Action::Clock(Duration::from_secs(5)));
    assert_ne!(footer(&app), keys);
    app.update(Action::Clock(Duration::from_secs(6)));
    assert_eq!(footer(&app), keys);
    app.update(Action::Reported(Err("no folder".to_owned())));
    assert_eq!(footer(&app), " no folder");
    press(&mut app, &[Command::Totals]);
    assert!(!footer(&app).contains("no folder"));
}

#[test]
fn a_key_copies_the_peer_of_the_selected_row_and_then_its_process() {
    let mut app = app();
    press(&mut app, &[Command::Copy]);
    assert_eq!(app.take_request(), None);
    assert!(footer(&app).contains("select a row"), "{}", footer(&app));
    press(&mut app, &[Command::Down, Command::Copy]);
    let copied = |text: &str| Some(Effect::Copy(text.to_owned()));
    assert_eq!(app.take_request(), copied("203.0.113.7:52110"));
    assert!(
        footer(&app).contains("peer sent to the terminal's clipboard"),
        "{}",
        footer(&app)
    );
    assert!(
        footer(&app).contains("y again: process"),
        "{}",
        footer(&app)
    );
    press(&mut app, &[Command::Copy]);
    assert_eq!(app.take_request(), copied("nginx"));
    // Another row begins with its peer, and so does the flow that is open.
    press(&mut app, &[Command::Down, Command::Copy]);
    assert_eq!(app.take_request(), copied("198.51.100.23:40022"));
    press(&mut app, &[Command::Enter, Command::Copy]);
    assert_eq!(app.take_request(), copied("sshd-session"));
}

#[test]
fn totals_begin_anew_with_the_interval_under_way_and_the_chart_stays() {
    let mut app = app();
    for _ in 0..3 {
        app.update(Action::IntervalEnded(interval(web_server())));
    }
    // A time scale that stays: the usual one follows the history while there is little.
    press(&mut app, &[Command::LongerChart]);
    let total = |app: &App| {
        let screen = text(&draw(app, SIZE.0, SIZE.1));
        let line = screen.lines().nth(1).unwrap().to_owned();
        let total = line.split(" total").next().unwrap();
        total.rsplit("  ").next().unwrap().to_owned()
    };
    let chart = |app: &App| {
        let screen = text(&draw(app, SIZE.0, SIZE.1));
        screen
            .lines()
            .skip(2)
            .take(8)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let (four, chart_before) = (total(&app), chart(&app));
    press(&mut app, &[Command::ResetTotals]);
    assert!(
        footer(&app).contains("restart with this interval"),
        "{}",
        footer(&app)
    );
    // What is shown stays until there is something new.
    assert_eq!(total(&app), four);
    app.update(Action::IntervalEnded(interval(web_server())));
    let mut one = screen::app(&TableOptions::default(), SIZE.0, SIZE.1);
    one.update(Action::IntervalEnded(interval(web_server())));
    assert_eq!(total(&app), total(&one));
    assert_ne!(total(&app), four);
    let filled = |chart: &str| chart.chars().filter(|c| *c == '#').count();
    assert!(
        filled(&chart(&app)) > filled(&chart_before),
        "{}",
        chart(&app)
    );
}

#[test]
fn snapshots_and_recordings_are_asked_for_in_every_part_of_the_screen() {
    for open in [
        vec![],
        vec![Command::Help],
        vec![Command::Enter],
        vec![Command::Columns],
    ] {
        let mut app = app();
        press(&mut app, &open);
        press(&mut app, &[Command::Snapshot]);
        assert_eq!(app.take_request(), Some(Effect::Snapshot));
        press(&mut app, &[Command::Record]);
        assert_eq!(app.take_request(), Some(Effect::Record));
    }
}
