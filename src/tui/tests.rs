//! Tests that the screen agrees with the effects of keys, words and the mouse.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use crossterm::event::{Event, KeyCode as TerminalKey, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget as _;

use super::app::{App, Mode};
use super::draw::footer::LabelAction;
use super::input::keys::KeyboardFocus;
use super::state::find::Find;
use super::{Action, Background, Command, Depth, DisplayOptions, Edit};
use crate::model::flow::{Counters, Endpoint, Flow, FlowKey, Owner, Protocol};
use crate::model::interval::{Interval, Losses};
use crate::options::{COMMANDS, Key, KeyCode, TableOptions};
use crate::resolve::names::{HostNameSource, Names, Services};
use crate::resolve::owners::{CgroupLocation, Owners, Process};
use crate::tui::state::shared::RunContext;
use crate::view::{Column, Group, Preset, SortKey};

fn process(tgid: u32) -> Process {
    Process {
        tgid,
        comm: "worker".to_owned(),
        cmdline: ["/opt/bin/worker", "--role=cache", "Two Words"]
            .map(str::to_owned)
            .to_vec(),
        exe: None,
        uid: 33,
        user: Some("www-data".into()),
        ppid: 1,
        parent: None,
        started: SystemTime::UNIX_EPOCH,
        start_ticks: 0,
        cgroup: Some("/system.slice/worker.service".to_owned()),
        location: CgroupLocation {
            unit: Some("worker.service".to_owned()),
            ..CgroupLocation::default()
        },
        location_name: Some("worker.service".into()),
        exited: false,
    }
}

fn flows() -> Vec<Flow> {
    let end = |addr: &str, port| Endpoint::new(addr.parse().unwrap(), port);
    let docker = format!("/system.slice/docker-{}.scope", "ab".repeat(32));
    let cgroups = ["/system.slice/nginx.service", &docker, ""];
    let made = (0..12_u16).map(|n| {
        let local = match n % 3 {
            0 => end("2001:db8:1234:5678:9abc:def0:1234:5678", 443),
            _ => end("10.0.0.5", 443),
        };
        let remote = match n % 3 {
            0 => end(&format!("2001:db8::aaaa:bbbb:cccc:{n}"), 40_000 + n),
            _ => end(&format!("192.0.2.{n}"), 5432),
        };
        let mut owner =
            Owner::named([&b"nginx"[..], b"Web Content", b"worker"][usize::from(n % 3)]);
        let cgroup = cgroups[usize::from(n % 3)];
        if !cgroup.is_empty() {
            owner.cgroup = Some(cgroup.into());
            owner.uid = Some(1000 + u32::from(n));
        }
        let mut key = FlowKey::new(Protocol::Tcp, local, remote, 100 + u32::from(n));
        key.netns = 4_026_531_840;
        let counters = Counters {
            rx_bytes: 1000 * u64::from(n + 1),
            tx_bytes: 2000 * u64::from(n + 1),
            rx_msgs: 1,
            tx_msgs: 1,
        };
        let mut flow = Flow::new(key, counters, Arc::new(owner));
        flow.internal = n.is_multiple_of(5);
        flow
    });
    made.collect()
}

fn interval(flows: Vec<Flow>) -> Interval {
    Interval {
        ended: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
        elapsed: Duration::from_secs(1),
        flows,
        losses: Losses::default(),
        interfaces: Vec::new(),
        method: Arc::default(),
    }
}

fn app_with(names: Names, owners: Owners, width: u16, height: u16) -> App {
    let options = TableOptions {
        ascii: false,
        ..TableOptions::default()
    };
    let display = DisplayOptions::new(&options, Depth::Mono, Background::Unknown);
    let mut app = App::new(RunContext::default(), names, owners, display);
    app.update(Action::Resize(width, height));
    app.update(Action::IntervalEnded(interval(flows())));
    app
}

fn app(width: u16, height: u16) -> App {
    app_with(Names::disabled(), Owners::disabled(), width, height)
}

fn draw(app: &App) -> Buffer {
    let mut buffer = Buffer::empty(app.shared.area);
    app.render(buffer.area, &mut buffer);
    buffer
}

fn text_at(buffer: &Buffer, at: Rect) -> String {
    (at.left()..at.right())
        .map(|x| buffer[(x, at.y)].symbol())
        .collect()
}

/// Returns names and owners with all facts looked up.
fn everything_known() -> (Names, Owners) {
    let (sender, receiver) = channel();
    let names = {
        let sender = sender.clone();
        let name = |addr: std::net::IpAddr| {
            let last = addr.to_string();
            Some(format!(
                "host-{}.db.internal.example.net",
                last.replace([':', '.'], "-")
            ))
        };
        Names::with(name, move || {
            let _ = sender.send(());
        })
        .unwrap()
    };
    let names = names.with_services(Services::built_in());
    let owners = Owners::with(
        |tgid| Some(process(tgid)),
        move || {
            let _ = sender.send(());
        },
    )
    .unwrap();
    let mut waiting = 0;
    for flow in flows() {
        for end in [flow.key.local, flow.key.remote] {
            waiting +=
                usize::from(names.known(end.addr).is_none() && names.get(end.addr).is_none());
        }
        waiting += usize::from(owners.get(flow.key.tgid).is_none());
    }
    // An address that is asked for twice before it is known is told once.
    while flows().iter().any(|flow| {
        let ends = [flow.key.local, flow.key.remote];
        ends.iter().any(|end| names.known(end.addr).is_none())
            || owners.get(flow.key.tgid).is_none()
    }) {
        assert!(waiting > 0);
        receiver.recv().unwrap();
    }
    (names, owners)
}

#[test]
fn a_column_is_searched_unless_it_shows_what_is_measured() {
    for column in Column::ALL {
        let is_text = !column.is_number() || column == Column::Pid;
        assert_eq!(column.drawing().found_by.is_some(), is_text, "{column:?}");
    }
}

/// Looks for each text in the rows of the drawn tables; returns the texts.
fn assert_drawn_is_found(app: &mut App) -> Vec<String> {
    let buffer = draw(app);
    let (width, group) = (app.shared.area.width, app.panes.group);
    let sections = app.panes.sections(&app.shared, app.shared.area);
    let mut seen = Vec::new();
    for (n, section) in sections.into_iter().enumerate() {
        let table = &app.panes.tables[n];
        let slots = app.panes.columns(table, &app.shared, width);
        let lines = app.panes.section_lines(table, &app.shared, section);
        let (rows, head) = (lines.rows.min(table.len()), lines.head);
        for (index, slot) in (0..rows).flat_map(|row| slots.iter().map(move |slot| (row, slot))) {
            let is_text = slot.column.drawing().found_by.is_some();
            if !is_text && !group.is_named_in(slot.column) {
                continue;
            }
            let y = section.y + head + u16::try_from(index).unwrap();
            let cell = Rect::new(section.x + slot.x, y, slot.width, 1);
            let drawn = text_at(&buffer, cell);
            // The numbers of processes, peers, flows or other rows are no text.
            let is_count = |word: &str| matches!(word, "procs" | "flow" | "flows" | "other");
            if drawn.split_whitespace().any(is_count) {
                continue;
            }
            let others = |word: &&str| !(word.starts_with('+') && word[1..].parse::<u32>().is_ok());
            let words = drawn.split('…').flat_map(str::split_whitespace);
            let words = words.filter(|word| word.contains(char::is_alphanumeric));
            for part in words.filter(others) {
                seen.push(part.to_owned());
                app.panes.find = Find::new(part);
                let is_found = app.panes.is_match(n, index, &app.shared);
                assert!(is_found, "{part:?} of {drawn:?} by {group} at {width}");
                app.panes.find = Find::new(&format!("{part}\u{1}"));
                assert!(!app.panes.is_match(n, index, &app.shared));
            }
        }
    }
    app.panes.find = Find::default();
    seen
}

#[test]
fn whatever_text_is_drawn_in_a_row_is_found() {
    let (names, owners) = everything_known();
    let mut app = app_with(names, owners, 80, 24);
    app.shared.names.set_hosts(HostNameSource::Servers);
    let mut seen = Vec::new();
    for group in Group::ALL {
        for (width, names) in [
            (80, false),
            (120, true),
            (200, true),
            (200, false),
            (50, true),
        ] {
            app.update(Action::Resize(width, 40));
            app.panes.group = group;
            app.shared.display.names = names;
            app.shared.display.columns = Column::ALL.to_vec();
            app.panes.rebuild(&app.shared);
            seen.extend(assert_drawn_is_found(&mut app));
        }
    }
    assert!(seen.len() > 2000, "{}", seen.len());
    for word in ["local", "https", "443", "docker:abababababab"] {
        assert!(seen.iter().any(|it| it == word), "{word} is not drawn");
    }
    assert!(
        seen.iter()
            .any(|it| it.contains(".db.internal.example.net:"))
    );
}

#[test]
fn whatever_text_is_drawn_in_rows_opened_in_place_is_found() {
    let (names, owners) = everything_known();
    let mut app = app_with(names, owners, 160, 50);
    app.shared.names.set_hosts(HostNameSource::Servers);
    app.update(Action::Command(Command::View(Preset::Programs)));
    app.update(Action::Command(Command::Down));
    for _ in 0..6 {
        app.update(Action::Command(Command::Expand));
    }
    let mut seen = 0;
    for names in [true, false] {
        app.shared.display.names = names;
        app.panes.rebuild(&app.shared);
        let text = assert_drawn_is_found(&mut app);
        seen += text.iter().filter(|word| word.starts_with(':')).count();
    }
    assert!(seen >= 2, "{seen} flows opened");
}

#[test]
fn a_program_is_ended_once_all_of_its_processes_have_exited() {
    const LAST: u32 = 9998;
    let (sender, answered) = channel();
    // All processes of one program have exited; of another program, one of several.
    let owners = Owners::with(
        move |tgid| {
            let _ = sender.send(tgid);
            let is_gone = (tgid - 100).is_multiple_of(3) || tgid == 101;
            (!is_gone).then(|| process(tgid))
        },
        || (),
    );
    let mut app = app_with(Names::disabled(), owners.unwrap(), 120, 40);
    for flow in flows() {
        app.shared.owners.get(flow.key.tgid);
    }
    app.shared.owners.get(LAST);
    // They are looked up one after the other.
    while answered.recv().unwrap() != LAST {}
    app.update(Action::Command(Command::View(Preset::Programs)));
    let mut later = interval(Vec::new());
    later.ended += Duration::from_secs(1);
    app.update(Action::IntervalEnded(later));
    let buffer = draw(&app);
    let line = |name: &str| {
        let lines = (0..40).map(|y| text_at(&buffer, Rect::new(0, y, 120, 1)));
        let mut lines = lines.filter(|line| line.trim_start().starts_with(name));
        lines.next().unwrap()
    };
    assert!(line("nginx").contains(" ended "), "{}", line("nginx"));
    let other = line("Web Content");
    assert!(other.contains(" idle 1 s "), "{other}");
}

#[test]
fn what_has_no_room_is_found_too() {
    let (names, owners) = everything_known();
    let mut app = app_with(names, owners, 50, 24);
    app.panes.rebuild(&app.shared);
    for words in [
        "--role=cache",
        "worker.service",
        "www-data",
        "host-192-0-2-1.db.internal.example.net",
        "https",
        "docker:abab",
        "4026531840",
        "https 2001:db8:1234",
    ] {
        app.panes.find = Find::new(words);
        let is_match = |index| app.panes.is_match(0, index, &app.shared);
        assert!((0..app.panes.tables[0].len()).any(is_match), "{words}");
    }
}

/// The event of a key as a terminal sends it.
fn event(key: &Key) -> Event {
    let code = match key.code {
        KeyCode::Char(c) => TerminalKey::Char(c),
        KeyCode::Function(n) => TerminalKey::F(n),
        KeyCode::Up => TerminalKey::Up,
        KeyCode::Down => TerminalKey::Down,
        KeyCode::Left => TerminalKey::Left,
        KeyCode::Right => TerminalKey::Right,
        KeyCode::Home => TerminalKey::Home,
        KeyCode::End => TerminalKey::End,
        KeyCode::PageUp => TerminalKey::PageUp,
        KeyCode::PageDown => TerminalKey::PageDown,
        KeyCode::Insert => TerminalKey::Insert,
        KeyCode::Delete => TerminalKey::Delete,
        KeyCode::Backspace => TerminalKey::Backspace,
        KeyCode::Tab => TerminalKey::Tab,
        KeyCode::BackTab => TerminalKey::BackTab,
        KeyCode::Enter => TerminalKey::Enter,
        KeyCode::Escape => TerminalKey::Esc,
    };
    let ctrl = if key.ctrl {
        KeyModifiers::CONTROL
    } else {
        KeyModifiers::NONE
    };
    let alt = if key.alt {
        KeyModifiers::ALT
    } else {
        KeyModifiers::NONE
    };
    Event::Key(KeyEvent::new(code, ctrl | alt))
}

fn press_key(app: &mut App, key: &str) {
    let event = event(&key.parse().unwrap());
    let focus = app.keyboard_focus();
    let action = app.shared.keys.action(&event, focus);
    app.update(action.unwrap_or_else(|| panic!("{key} does nothing in {focus:?}")));
}

fn first_key(command: Command) -> &'static str {
    let binding = COMMANDS.iter().find(|binding| binding.command == command);
    binding.unwrap().keys[0]
}

/// Returns everything that a key or a click can change, as visible.
fn state(app: &mut App) -> String {
    let buffer = draw(app);
    format!("{:?} {:?} {}", app.take_request(), buffer, app.has_quit())
}

/// Ways to each part of the screen.
const PARTS: &[&[Command]] = &[
    &[],
    &[Command::Down, Command::Down],
    &[Command::NextGroup, Command::Down, Command::Enter],
    &[
        Command::NextGroup,
        Command::Down,
        Command::Enter,
        Command::Enter,
    ],
    &[Command::Enter],
    &[Command::Help],
    &[Command::Columns, Command::Down],
    &[Command::Group],
    &[Command::Sort],
    &[Command::Down, Command::Only],
    &[Command::Find],
    &[Command::Filter],
];

fn opened(part: &[Command], width: u16, height: u16) -> App {
    let mut app = app(width, height);
    for command in part {
        app.update(Action::Command(*command));
    }
    if app.is_typing() {
        for c in "tcp".chars() {
            app.update(Action::Type(Edit::Insert(c)));
        }
    }
    app
}

#[test]
fn a_click_on_any_label_does_what_its_key_does() {
    let mut clicked = 0;
    for part in PARTS {
        for width in [20, 40, 60, 80, 120, 160, 250] {
            let shown = opened(part, width, 24);
            let (line, labels) = match shown.is_typing() {
                true => shown.prompt_labels(shown.shared.area),
                false => {
                    let line = Rect::new(0, 23, width, 1);
                    (line, shown.footer_labels(width))
                }
            };
            let drawn = text_at(&draw(&shown), line);
            for label in labels {
                let text = format!("{} {}", label.key, label.what);
                let at = drawn
                    .find(&text)
                    .unwrap_or_else(|| panic!("no {text} in {drawn}"));
                let x = u16::try_from(drawn[..at].chars().count()).unwrap();
                let last = x + u16::try_from(text.chars().count()).unwrap() - 1;
                let mut pressed = opened(part, width, 24);
                match label.action {
                    LabelAction::Command(command) => press_key(&mut pressed, first_key(command)),
                    LabelAction::Type(edit) => press_key(
                        &mut pressed,
                        match edit {
                            Edit::Accept => "enter",
                            Edit::Cancel => "escape",
                            Edit::Complete => "tab",
                            other => panic!("{other:?}"),
                        },
                    ),
                }
                let expected = state(&mut pressed);
                for x in [x, last] {
                    let mut app = opened(part, width, 24);
                    app.update(Action::Click(x, line.y));
                    assert_eq!(state(&mut app), expected, "{text} in {part:?} at {width}");
                }
                clicked += 1;
            }
        }
    }
    assert!(clicked > 300, "{clicked}");
}

#[test]
fn a_click_on_a_key_in_help_closes_help_and_does_what_the_key_does() {
    let mut clicked = 0;
    for (width, height) in [(80, 70), (120, 50), (40, 99)] {
        let mut seen = 0;
        let help = opened(&[Command::Help], width, height);
        let buffer = draw(&help);
        for binding in COMMANDS {
            if !binding.chapter.is_everywhere() {
                continue;
            }
            for y in 3..height - 1 {
                let line = text_at(&buffer, Rect::new(0, y, width, 1));
                let label = help.shared.keys.label(binding.command, 2, false);
                let text = format!("  {label:<9} {}", binding.about);
                let Some(at) = line.find(&text) else {
                    continue;
                };
                let x = u16::try_from(line[..at].chars().count()).unwrap() + 2;
                let mut app = opened(&[Command::Help], width, height);
                app.update(Action::Click(x, y));
                let mut expected = opened(&[], width, height);
                expected.update(Action::Command(binding.command));
                if binding.command == Command::Quit {
                    // On the help screen it closes that.
                    expected = opened(&[Command::Help, Command::Quit], width, height);
                }
                assert_eq!(state(&mut app), state(&mut expected), "{}", binding.name);
                seen += 1;
            }
        }
        clicked += seen;
        let everywhere = COMMANDS.iter().filter(|it| it.chapter.is_everywhere());
        let everywhere = everywhere.count();
        assert!(
            width < 80 || seen == everywhere,
            "{seen} of {everywhere} keys at {width}"
        );
    }
    assert!(clicked > 90, "{clicked}");
}

#[test]
fn clicks_reach_lists_the_chooser_and_the_state_word() {
    let mut app = opened(&[Command::Sort], 100, 30);
    let before = app.panes.sort;
    app.update(Action::Click(8, 4));
    assert_ne!(app.panes.sort, before);
    assert_eq!(app.mode, Mode::Table);

    let mut app = opened(&[Command::Columns], 100, 30);
    let first_that_can_leave = |app: &App| {
        let buffer = draw(app);
        let row = (0..30).find(|&y| text_at(&buffer, Rect::new(0, y, 100, 1)).contains("[x]"));
        row.unwrap()
    };
    let y = first_that_can_leave(&app);
    let before = app.shared.display.columns.len();
    app.update(Action::Click(8, y));
    assert_eq!(app.shared.display.columns.len(), before - 1);
    app.update(Action::Click(8, y));
    assert_eq!(app.shared.display.columns.len(), before);

    let mut app = opened(&[], 100, 30);
    app.update(Action::Click(97, 0));
    assert!(matches!(app.mode, Mode::Help(_)));
    let buffer = draw(&app);
    let lines = (0..30).map(|y| text_at(&buffer, Rect::new(0, y, 100, 1)));
    assert!(lines.into_iter().any(|line| line.starts_with(" State")));
}

#[test]
fn the_column_that_rows_are_sorted_by_is_marked_at_every_width() {
    for width in (60..220).step_by(4) {
        let mut app = app(width, 30);
        for column in Column::ALL {
            if !app.shared.history.seen().has(column) {
                continue;
            }
            app.panes.set_sort(SortKey::by(column), &app.shared);
            let buffer = draw(&app);
            let section = app.panes.sections(&app.shared, app.shared.area)[0];
            let slots = app.panes.columns(&app.panes.tables[0], &app.shared, width);
            if !slots.iter().any(|slot| slot.column == column) {
                let title = text_at(
                    &buffer,
                    Rect {
                        height: 1,
                        ..section
                    },
                );
                assert!(title.contains(['▼', '▲']), "{column:?} {width}: {title}");
                continue;
            }
            let lines = app
                .panes
                .section_lines(&app.panes.tables[0], &app.shared, section);
            let headings = Rect::new(section.x, section.y + lines.head - 1, width, 1);
            let headings = text_at(&buffer, headings);
            let is_marked = headings.contains(['▼', '▲']);
            assert!(is_marked, "{column:?} {width}: {headings}");
        }
    }
}

#[test]
fn columns_move_in_their_list_and_in_the_table() {
    let order = |app: &App| app.shared.display.columns.clone();
    let mut app = opened(&[Command::Columns], 160, 40);
    let before = order(&app);
    assert_eq!(app.keyboard_focus(), KeyboardFocus::ColumnList);
    press_key(&mut app, "]");
    let mut expected = before.clone();
    expected.swap(0, 1);
    assert_eq!(order(&app), expected);
    press_key(&mut app, "[");
    press_key(&mut app, "[");
    assert_eq!(order(&app), before);
}
