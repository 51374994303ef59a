//! What keys and the mouse do to the live table, without a terminal: an action goes in, and what is
//! then drawn is looked at.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::time::Duration;

use crate::common::screen::{self, press};
use crate::common::{interval, web_server};
use flowtop::options::TableOptions;
use flowtop::tui::{Action, App, Command, Edit, Effect};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

const SIZE: (u16, u16) = (100, 30);

fn app() -> App {
    app_of(&TableOptions {
        ascii: false,
        ..TableOptions::default()
    })
}

fn app_of(options: &TableOptions) -> App {
    let mut app = screen::app(options, SIZE.0, SIZE.1);
    app.update(Action::IntervalEnded(interval(web_server())));
    app
}

fn screen(app: &App) -> String {
    let mut buffer = Buffer::empty(Rect::new(0, 0, SIZE.0, SIZE.1));
    app.render(buffer.area, &mut buffer);
    let line = |y| {
        (0..SIZE.0)
            .map(|x| buffer[(x, y)].symbol())
            .collect::<String>()
    };
    (0..SIZE.1).map(|y| line(y) + "\n").collect()
}

/// The line with the mark of the selected row.
fn selected(app: &App) -> Option<String> {
    let screen = screen(app);
    let line = screen.lines().find(|line| line.starts_with('▸'))?;
    Some(line.to_owned())
}

#[track_caller]
fn assert_selected(app: &App, what: &str) {
    let line = selected(app).unwrap_or_default();
    assert!(
        line.contains(what),
        "{what:?} is not selected:\n{}",
        screen(app)
    );
}

#[test]
fn nothing_is_selected_until_someone_selects() {
    let mut app = app();
    assert_eq!(selected(&app), None);
    press(&mut app, &[Command::Down]);
    assert_selected(&app, "203.0.113.7");
    press(&mut app, &[Command::Down]);
    assert_selected(&app, "sshd-session");
    press(&mut app, &[Command::Up, Command::Up]);
    assert_selected(&app, "203.0.113.7");
    press(&mut app, &[Command::Back]);
    assert_eq!(selected(&app), None);
}

#[test]
fn the_selection_follows_its_flow() {
    let mut app = app();
    press(&mut app, &[Command::Down, Command::Down]);
    assert_selected(&app, "sshd-session");
    let mut flows = web_server();
    flows[1].counters.rx_bytes = 900_000_000;
    app.update(Action::IntervalEnded(interval(flows)));
    let screen = screen(&app);
    let first = screen.lines().nth(4).unwrap();
    assert!(
        first.starts_with('▸') && first.contains("sshd-session"),
        "{screen}"
    );
}

#[test]
fn one_scrolls_past_n_to_all_flows() {
    let mut app = app_of(&TableOptions {
        ascii: false,
        rows: Some(10),
        ..TableOptions::default()
    });
    press(&mut app, &[Command::End]);
    let last = screen(&app);
    assert!(
        last.contains("17 to 26 of 26") && selected(&app).is_some(),
        "{last}"
    );
    press(&mut app, &[Command::PageUp, Command::Home]);
    assert!(screen(&app).contains("top 10 of 26"));
    press(
        &mut app,
        &[Command::NextSection, Command::PageDown, Command::PageDown],
    );
    let second = screen(&app);
    assert!(
        second.contains("top 10 of 26") && second.contains("11 to 20 of 24"),
        "{second}"
    );
}

#[test]
fn any_column_sorts_both_ways() {
    let mut app = app();
    let top = |app: &App| screen(app).lines().nth(4).unwrap().to_owned();
    for _ in 0..20 {
        if screen(&app).contains("PID ▲") {
            break;
        }
        press(&mut app, &[Command::NextSort]);
    }
    assert!(top(&app).contains("named"), "{}", screen(&app));
    press(&mut app, &[Command::Reverse]);
    assert!(top(&app).contains("sshd-session"), "{}", screen(&app));
    press(&mut app, &[Command::PreviousSort]);
    assert!(screen(&app).contains("PROCESS ▲"), "{}", screen(&app));
}

#[test]
fn pausing_loses_nothing() {
    let mut app = app();
    app.update(Action::Clock(Duration::from_secs(10)));
    press(&mut app, &[Command::Pause]);
    let before = screen(&app);
    assert!(before.contains("PAUSED 0 s"), "{before}");
    for _ in 0..3 {
        app.update(Action::IntervalEnded(interval(web_server())));
    }
    app.update(Action::Clock(Duration::from_secs(75)));
    let held = screen(&app);
    assert!(held.contains("PAUSED 1 min 05 s"), "{held}");
    let rows = |screen: &str| {
        screen
            .lines()
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&held), rows(&before));
    press(&mut app, &[Command::Pause, Command::Totals]);
    // Four intervals of 9,801,234 bytes.
    assert!(screen(&app).contains("39.2 MB"), "{}", screen(&app));
    assert!(!screen(&app).contains("PAUSED"));
}

fn typed(app: &mut App, text: &str) -> String {
    for c in text.chars() {
        app.update(Action::Type(Edit::Insert(c)));
    }
    screen(app)
}

#[test]
fn a_filter_acts_while_it_is_typed_and_escape_takes_back_one_step() {
    let mut app = app();
    press(&mut app, &[Command::Filter]);
    assert!(app.is_typing());
    let found = typed(&mut app, "process named");
    assert!(
        found.contains("all 1 matching") && !found.contains("sshd"),
        "{found}"
    );
    app.update(Action::Type(Edit::Accept));
    assert!(!app.is_typing());
    press(
        &mut app,
        &[
            Command::NextGroup,
            Command::NextGroup,
            Command::Enter,
            Command::Enter,
        ],
    );
    let shown = screen(&app);
    assert!(
        shown.contains("Ingress › named 700 ╴") && shown.contains("filter: process named"),
        "{shown}"
    );
    press(&mut app, &[Command::Back]);
    let shown = screen(&app);
    assert!(
        shown.contains("Ingress by process ╴") && shown.contains("filter: process named"),
        "{shown}"
    );
    press(&mut app, &[Command::Back]);
    let shown = screen(&app);
    assert!(
        shown.contains("Ingress by process ╴") && !shown.contains("filter:"),
        "{shown}"
    );
    press(&mut app, &[Command::Back]);
    assert!(screen(&app).contains("Ingress ╴") && screen(&app).contains("sshd"));
    press(&mut app, &[Command::Filter]);
    typed(&mut app, "process named");
    app.update(Action::Type(Edit::Cancel));
    assert!(screen(&app).contains("Ingress ╴") && screen(&app).contains("sshd"));
}

#[test]
fn a_filter_that_is_not_finished_never_empties_the_table() {
    let mut app = app();
    press(&mut app, &[Command::Filter]);
    let text = "local port 22 and not process xyz";
    let mut before_prompt = screen(&app);
    for c in text.chars() {
        let now = typed(&mut app, &c.to_string());
        assert!(now.contains("sshd-session"), "{now}");
        before_prompt = now;
    }
    assert!(!before_prompt.contains("named"), "{before_prompt}");
    app.update(Action::Type(Edit::DeleteToStart));
    // The parser's own words, above the line.
    for (text, said) in [
        ("port 44x", "! \"44x\" is not a port or service"),
        (
            "sport 22",
            "write local port for the port of this machine's end",
        ),
        ("--interface", "options belong on the command line"),
        ("port 1", "no flow matches yet; the rows are as before"),
    ] {
        let shown = typed(&mut app, text);
        assert!(shown.contains(said), "{shown}");
        assert!(shown.contains("sshd-session"), "{shown}");
        app.update(Action::Type(Edit::DeleteToStart));
    }
    // What is wrong cannot be applied, what matches nothing now can.
    typed(&mut app, "port 44x");
    app.update(Action::Type(Edit::Accept));
    assert!(app.is_typing());
    app.update(Action::Type(Edit::DeleteBefore));
    app.update(Action::Type(Edit::Accept));
    assert!(!app.is_typing());
    assert!(!screen(&app).contains("sshd"), "{}", screen(&app));
}

#[test]
fn finding_removes_no_row_and_goes_from_match_to_match_through_both_tables() {
    let mut app = app();
    // The prompt takes a line of the table, so one row more is summed.
    let all = |screen: &str| (screen.contains(" of 26, "), screen.contains(" of 24, "));
    let before = screen(&app);
    press(&mut app, &[Command::Find]);
    let found = typed(&mut app, "SSHD");
    assert!(found.contains("rows match"), "{found}");
    assert_eq!(all(&found), all(&before));
    assert_selected(&app, "sshd");
    app.update(Action::Type(Edit::Accept));
    let first = screen(&app);
    press(&mut app, &[Command::NextMatch]);
    assert_ne!(screen(&app), first);
    assert_selected(&app, "sshd");
    press(&mut app, &[Command::PreviousMatch]);
    assert_selected(&app, "sshd");
    let first = screen(&app);
    press(&mut app, &[Command::Find]);
    let nothing = typed(&mut app, "nowhere");
    assert!(nothing.contains("no row matches"), "{nothing}");
    assert_eq!(all(&nothing), all(&before));
    app.update(Action::Type(Edit::Cancel));
    assert_eq!(screen(&app), first);
    press(&mut app, &[Command::Back, Command::Back]);
    assert_eq!(screen(&app), before);
}

#[test]
fn detail_opens_and_closes_with_everything_as_it_was() {
    let mut app = app();
    press(&mut app, &[Command::Down, Command::Down]);
    let before = screen(&app);
    press(&mut app, &[Command::Enter]);
    let detail = screen(&app);
    assert!(
        detail.contains("╶ Flow of ") && detail.contains("198.51.100.23:40022"),
        "{detail}"
    );
    press(&mut app, &[Command::Back]);
    assert_eq!(screen(&app), before);
}

#[test]
fn a_frozen_order_is_marked_and_stays() {
    let mut app = app();
    press(&mut app, &[Command::Freeze]);
    let mut flows = web_server();
    flows[3].counters.rx_bytes = 900_000_000;
    app.update(Action::IntervalEnded(interval(flows.clone())));
    let held = screen(&app);
    assert!(held.contains("order frozen"), "{held}");
    assert!(
        held.lines().nth(4).unwrap().contains("203.0.113.7"),
        "{held}"
    );
    press(&mut app, &[Command::Freeze]);
    assert!(
        screen(&app).lines().nth(4).unwrap().contains("named"),
        "{}",
        screen(&app)
    );
}

#[test]
fn units_intervals_columns_and_tables_change_by_key() {
    let mut app = app();
    press(&mut app, &[Command::Units, Command::Units]);
    assert!(screen(&app).contains("78.4 Mbit/s"), "{}", screen(&app));
    press(&mut app, &[Command::Slower]);
    let longer = Duration::from_secs(2);
    assert_eq!(app.take_request(), Some(Effect::SetInterval(longer)));
    assert_eq!(app.take_request(), None);
    press(&mut app, &[Command::Faster, Command::Faster]);
    let shorter = Duration::from_millis(500);
    assert_eq!(app.take_request(), Some(Effect::SetInterval(shorter)));
    assert!(screen(&app).contains("every 500 ms"));
    press(
        &mut app,
        &[
            Command::Columns,
            Command::Down,
            Command::Enter,
            Command::Back,
        ],
    );
    assert!(!screen(&app).contains("PID"), "{}", screen(&app));
    press(&mut app, &[Command::Combine]);
    let both = screen(&app);
    assert!(
        both.contains("IN +       OUT ▼") && !both.contains("Egress"),
        "{both}"
    );
    press(&mut app, &[Command::Suspend]);
    assert_eq!(app.take_request(), Some(Effect::Suspend));
    press(&mut app, &[Command::Quit]);
    assert!(app.has_quit());
}

#[test]
fn the_mouse_selects_opens_sorts_and_scrolls() {
    let mut app = app();
    app.update(Action::Click(30, 5));
    assert_selected(&app, "sshd-session");
    app.update(Action::Click(30, 5));
    assert!(screen(&app).contains("╶ Flow of "));
    press(&mut app, &[Command::Back]);
    app.update(Action::Wheel(30, 5, 3));
    assert_selected(&app, "127.0.0.1:50000");
    app.update(Action::Wheel(30, 20, 1));
    app.update(Action::Click(28, 3));
    assert!(screen(&app).contains("IN ▲"), "{}", screen(&app));
    app.update(Action::Click(28, 3));
    assert!(screen(&app).contains("IN ▼"), "{}", screen(&app));
    // Nothing is there.
    app.update(Action::Click(500, 500));
    app.update(Action::Click(0, 0));
}

#[test]
fn quit_closes_what_is_open_and_leaves_only_from_the_table() {
    for open in [Command::Help, Command::Columns, Command::Enter] {
        let mut app = app();
        let table = screen(&app);
        press(&mut app, &[Command::Down, open]);
        let opened = screen(&app);
        assert!(opened.contains("q close"), "{opened}");
        press(&mut app, &[Command::Quit, Command::Back]);
        assert!(!app.has_quit());
        assert_eq!(screen(&app), table);
        press(&mut app, &[Command::Quit]);
        assert!(app.has_quit());
        // Control-C leaves from anywhere.
        let mut app = self::app();
        press(&mut app, &[open]);
        app.update(Action::Stop);
        assert!(app.has_quit());
    }
}
