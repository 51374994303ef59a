//! The view of the live table while rows move: a selection is shown, and drags nothing along.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::time::Duration;

use crate::common::screen::{draw, press, text};
use crate::common::{end, flow, interval};
use flowtop::model::flow::{Flow, Protocol};
use flowtop::options::TableOptions;
use flowtop::tui::{Action, App, Command, Edit};

const WIDTH: u16 = 100;
const HEIGHT: u16 = 30;

/// Sixty flows by what they received, each of a process with its number in its name.
fn flows(bytes: impl Fn(u64) -> u64) -> Vec<Flow> {
    let one = |n: u64| {
        let name = format!("p{n:02}");
        let peer = end("192.0.2.1", 1000 + n as u16);
        let process = (100 + n as u32, name.as_bytes());
        let local = end("10.0.0.5", 443);
        flow(Protocol::Tcp, local, peer, process, (bytes(n), 0))
    };
    (0..60)
        .map(one)
        .filter(|flow| flow.counters.rx_bytes > 0)
        .collect()
}

fn descending(n: u64) -> u64 {
    1_000_000 - n * 10_000
}

/// One table with every flow in the order of the numbers.
fn app() -> App {
    let options = TableOptions {
        ascii: false,
        ..TableOptions::default()
    };
    let mut app = crate::common::screen::app(&options, WIDTH, HEIGHT);
    press(&mut app, &[Command::Combine]);
    show(&mut app, 0, flows(descending));
    app
}

fn show(app: &mut App, second: u64, flows: Vec<Flow>) {
    let mut next = interval(flows);
    next.ended += Duration::from_secs(second);
    app.update(Action::IntervalEnded(next));
}

fn screen(app: &App) -> String {
    text(&draw(app, WIDTH, HEIGHT))
}

/// The processes in sight, in their order.
fn processes(app: &App) -> Vec<String> {
    let word = |line: &str| {
        let word = line.trim_start_matches(['▸', '*', ' ']).split(' ').next();
        word.unwrap_or_default().to_owned()
    };
    let is_process = |word: &String| {
        word.len() == 3 && word.starts_with('p') && word[1..].bytes().all(|b| b.is_ascii_digit())
    };
    screen(app).lines().map(word).filter(is_process).collect()
}

fn selected(app: &App) -> Option<String> {
    let screen = screen(app);
    let line = screen.lines().find(|line| line.starts_with('▸'))?;
    Some(line[3..6].to_owned())
}

#[test]
fn a_selected_row_moves_with_its_flow_within_the_screen() {
    let mut app = app();
    press(&mut app, &[Command::Down; 3]);
    assert_eq!(selected(&app).as_deref(), Some("p02"));
    show(
        &mut app,
        1,
        flows(|n| if n == 2 { 5_000_000 } else { descending(n) }),
    );
    assert_eq!(selected(&app).as_deref(), Some("p02"));
    assert_eq!(processes(&app)[0], "p02");
}

#[test]
fn a_row_that_leaves_the_screen_does_not_drag_the_view_unless_that_is_wanted() {
    let falls = |n| if n == 2 { 1 } else { descending(n) };
    let mut app = self::app();
    press(&mut app, &[Command::Down; 3]);
    show(&mut app, 1, flows(falls));
    assert_eq!(processes(&app)[..3], ["p00", "p01", "p03"]);
    assert_eq!(selected(&app), None);
    // A step begins where one looks.
    let mut stepped = self::app();
    press(&mut stepped, &[Command::Down; 3]);
    show(&mut stepped, 1, flows(falls));
    press(&mut stepped, &[Command::Down]);
    assert_eq!(selected(&stepped).as_deref(), Some("p00"));
    // It comes back as the selected one.
    show(&mut app, 2, flows(descending));
    assert_eq!(selected(&app).as_deref(), Some("p02"));

    press(&mut app, &[Command::Follow]);
    assert!(screen(&app).contains("following"), "{}", screen(&app));
    show(&mut app, 3, flows(falls));
    assert_eq!(selected(&app).as_deref(), Some("p02"));
    assert_ne!(processes(&app)[0], "p00");
    press(&mut app, &[Command::Home]);
    assert!(!screen(&app).contains("following"));
    assert_eq!(selected(&app).as_deref(), Some("p00"));
}

#[test]
fn a_new_order_shows_its_first_rows() {
    for command in [Command::Reverse, Command::NextSort, Command::PreviousSort] {
        let mut app = app();
        press(&mut app, &[Command::End]);
        assert_eq!(selected(&app).as_deref(), Some("p59"));
        press(&mut app, &[command]);
        let mut fresh = self::app();
        press(&mut fresh, &[command]);
        assert_eq!(processes(&app), processes(&fresh), "{command:?}");
    }
}

#[test]
fn the_view_returns_to_the_top_when_the_selected_flow_ends() {
    let mut app = app();
    press(&mut app, &[Command::End]);
    assert_ne!(processes(&app)[0], "p00");
    // Idle for 10 s, then gone.
    for second in 1..13 {
        show(
            &mut app,
            second,
            flows(|n| if n == 59 { 0 } else { descending(n) }),
        );
    }
    assert_eq!(selected(&app), None);
    assert_eq!(processes(&app)[0], "p00");
}

#[test]
fn pages_and_ends_move_by_what_is_shown_and_stop_at_the_ends() {
    let mut app = app();
    let page = processes(&app).len();
    press(&mut app, &[Command::PageDown]);
    assert_eq!(selected(&app), Some(format!("p{:02}", page - 1)));
    press(&mut app, &[Command::PageDown]);
    assert_eq!(selected(&app), Some(format!("p{:02}", 2 * page - 1)));
    press(&mut app, &[Command::PageDown; 9]);
    assert_eq!(selected(&app).as_deref(), Some("p59"));
    assert_eq!(processes(&app).len(), page);
    press(&mut app, &[Command::PageUp; 9]);
    assert_eq!(selected(&app).as_deref(), Some("p00"));
    press(&mut app, &[Command::End, Command::Home]);
    assert_eq!(processes(&app)[0], "p00");
}

#[test]
fn after_any_resize_the_ranks_in_the_title_are_those_of_rows() {
    let mut app = app();
    press(&mut app, &[Command::End]);
    for height in (0..40).rev().chain(0..40) {
        app.update(Action::Resize(WIDTH, height));
        let screen = text(&draw(&app, WIDTH, height));
        let Some((before, after)) = screen.split_once(" to ") else {
            continue;
        };
        let number = |word: Option<&str>| word.and_then(|word| word.parse::<usize>().ok());
        let first = number(before.split_whitespace().next_back()).unwrap();
        let last = number(after.split_whitespace().next()).unwrap();
        assert!(first <= last && last <= 60, "{height}: {first} to {last}");
    }
}

#[test]
fn a_pinned_row_stands_on_top_until_it_is_let_go() {
    let mut app = app();
    press(&mut app, &[Command::Down; 5]);
    press(&mut app, &[Command::Pin, Command::Back]);
    let first = |app: &App| processes(app)[0].clone();
    assert_eq!(first(&app), "p04");
    assert!(screen(&app).contains("*p04"), "{}", screen(&app));
    press(&mut app, &[Command::Reverse]);
    assert_eq!(first(&app), "p04");
    press(
        &mut app,
        &[Command::Reverse, Command::Down, Command::Pin, Command::Back],
    );
    assert_eq!(first(&app), "p00");
}

#[test]
fn a_condition_of_the_row_narrows_the_filter() {
    let mut app = app();
    press(&mut app, &[Command::Down; 2]);
    press(&mut app, &[Command::Only]);
    let list = screen(&app);
    for entry in [
        "1   process p01",
        "2   pid 101",
        "remote host 192.0.2.1",
        "local port 443",
    ] {
        assert!(list.contains(entry), "{list}");
    }
    app.update(Action::Choose(3));
    let shown = screen(&app);
    assert!(shown.contains("filter: remote port 1001"), "{shown}");
    assert_eq!(processes(&app), ["p01"]);
    press(
        &mut app,
        &[
            Command::Back,
            Command::Home,
            Command::Exclude,
            Command::Enter,
        ],
    );
    assert_eq!(processes(&app)[0], "p01");
    press(&mut app, &[Command::Home, Command::Exclude, Command::Enter]);
    let shown = screen(&app);
    assert!(
        shown.contains("filter: not process p00 and not process p01"),
        "{shown}"
    );
    assert_eq!(processes(&app)[0], "p02");
    // What a list adds can be edited like what was typed.
    press(&mut app, &[Command::Filter]);
    app.update(Action::Type(Edit::DeleteWordBefore));
    app.update(Action::Type(Edit::Insert('x')));
    app.update(Action::Type(Edit::Accept));
    assert_eq!(processes(&app)[0], "p01");
}

/// What the list of groupings marks as set.
fn grouping(app: &App) -> Option<String> {
    let screen = screen(app);
    let line = screen.lines().find(|line| line.contains(" * "))?;
    line.split_once(" * ")?
        .1
        .split_whitespace()
        .next()
        .map(str::to_owned)
}

#[test]
fn the_list_of_groupings_marks_the_current_one_and_keys_and_clicks_choose() {
    let mut app = app();
    press(&mut app, &[Command::Combine, Command::Group]);
    let list = screen(&app);
    assert!(list.contains("Group by"), "{list}");
    assert_eq!(grouping(&app).as_deref(), Some("flow"), "{list}");
    // The keys of the entries count on with letters.
    for (key, group) in [
        ("2", "program"),
        ("7", "remote"),
        ("9", "port"),
        ("e", "class"),
    ] {
        let line = list
            .lines()
            .find(|line| line.contains(&format!(" {group} ")));
        let line = line.unwrap_or_else(|| panic!("no {group}: {list}"));
        assert!(
            line.trim_start_matches('▸').trim_start().starts_with(key),
            "{line}"
        );
    }
    app.update(Action::Choose(13));
    assert!(
        screen(&app).contains("Ingress by class"),
        "{}",
        screen(&app)
    );
    press(&mut app, &[Command::Group]);
    assert_eq!(grouping(&app).as_deref(), Some("class"));
    press(&mut app, &[Command::Up, Command::Enter]);
    assert!(screen(&app).contains("Ingress by job"), "{}", screen(&app));
    // A second time it closes, as Escape does, and nothing has changed.
    for close in [Command::Group, Command::Back, Command::Quit] {
        press(&mut app, &[Command::Group]);
        assert!(screen(&app).contains("Group by"));
        press(&mut app, &[close]);
        let table = screen(&app);
        assert!(
            !table.contains("Group by") && table.contains("Ingress by job"),
            "{table}"
        );
        assert!(!app.has_quit());
    }
    press(&mut app, &[Command::Group]);
    let y = screen(&app)
        .lines()
        .position(|line| line.contains(" user "));
    app.update(Action::Click(9, y.unwrap() as u16));
    assert!(screen(&app).contains("Ingress by user"), "{}", screen(&app));
}

#[test]
fn the_list_of_columns_to_sort_by_marks_the_current_one_and_takes_digits() {
    let mut app = app();
    press(&mut app, &[Command::Sort]);
    let list = screen(&app);
    let marked: Vec<&str> = list.lines().filter(|line| line.contains(" * ")).collect();
    assert_eq!(marked.len(), 1, "{list}");
    let line = list
        .lines()
        .find(|line| line.contains("process name"))
        .unwrap();
    let digit = line.chars().find_map(|c| c.to_digit(10)).unwrap();
    app.update(Action::Choose(digit as usize - 1));
    assert!(screen(&app).contains("PROCESS▲"), "{}", screen(&app));
    press(&mut app, &[Command::Sort, Command::Enter]);
    assert!(screen(&app).contains("PROCESS▲"), "{}", screen(&app));
    press(&mut app, &[Command::Sort, Command::Down, Command::Enter]);
    assert!(!screen(&app).contains("PROCESS▲"), "{}", screen(&app));
    press(&mut app, &[Command::Sort, Command::Back]);
    assert!(!screen(&app).contains("Sort by"));
}
