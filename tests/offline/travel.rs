//! The table of a past moment of a live machine, while counting goes on.

use std::time::Duration;

use crate::common::screen::{self, draw, press, text};
use crate::common::{end, flow, interval};
use flowtop::model::flow::Protocol;
use flowtop::options::TableOptions;
use flowtop::tui::{Action, App, Command};

const SIZE: (u16, u16) = (120, 40);

/// A live table after `count` intervals of a second each: of the n-th, process `p<n>` moved n kB,
/// and `steady` moved 500 kB in each.
fn after(count: u64) -> App {
    let mut app = screen::app(&TableOptions::default(), SIZE.0, SIZE.1);
    for n in 1..=count {
        next(&mut app, n);
    }
    app
}

fn next(app: &mut App, n: u64) {
    let name = format!("p{n}");
    let remote = |port| end("192.0.2.1", port);
    let local = end("10.0.0.5", 443);
    let one = flow(
        Protocol::Tcp,
        local,
        remote(n as u16),
        (n as u32, name.as_bytes()),
        (n * 1000, 0),
    );
    let steady = flow(
        Protocol::Tcp,
        local,
        remote(60_000),
        (9999, b"steady"),
        (500_000, 0),
    );
    let mut interval = interval(vec![one, steady]);
    interval.elapsed = Duration::from_secs(1);
    interval.ended += Duration::from_secs(n);
    app.update(Action::Clock(Duration::from_secs(n)));
    app.update(Action::IntervalEnded(interval));
}

fn shown(app: &App) -> String {
    text(&draw(app, SIZE.0, SIZE.1))
}

#[test]
fn a_step_back_shows_the_interval_before_and_counting_goes_on() {
    let mut app = after(20);
    let now = shown(&app);
    assert!(now.contains(" p20 ") && !now.contains("AGO"), "{now}");
    press(&mut app, &[Command::StepBack]);
    let before = shown(&app);
    assert!(before.contains(" 1 s AGO "), "{before}");
    assert!(
        before.contains(" p19 ") && !before.contains(" p20 "),
        "{before}"
    );
    // The header has the sum of that interval: 519 kB.
    assert!(before.contains("519 kB/s"), "{before}");
    assert!(before.contains("15:00:19"), "{before}");

    next(&mut app, 21);
    let later = shown(&app);
    assert!(
        later.contains(" 2 s AGO ") && later.contains("519 kB/s"),
        "{later}"
    );
    assert!(!later.contains(" p21 "), "{later}");

    press(&mut app, &[Command::StepForward]);
    assert!(shown(&app).contains("520 kB/s"));
    press(&mut app, &[Command::StepForward]);
    let now = shown(&app);
    assert!(now.contains("521 kB/s") && !now.contains("AGO"), "{now}");
}

#[test]
fn escape_and_end_return_to_now_and_keep_what_else_was_chosen() {
    for key in [Command::Back, Command::End] {
        let mut app = after(20);
        press(&mut app, &[Command::NextGroup, Command::SeekBack]);
        let past = shown(&app);
        assert!(
            past.contains(" 10 s AGO ") && past.contains("510 kB/s"),
            "{past}"
        );
        press(&mut app, &[key]);
        let now = shown(&app);
        assert!(now.contains("520 kB/s") && !now.contains("AGO"), "{now}");
        // The grouping is left by the next step back only.
        let mut grouped = after(20);
        press(&mut grouped, &[Command::NextGroup]);
        assert_eq!(now, shown(&grouped));
    }
}

#[test]
fn the_oldest_moment_is_the_last_that_is_kept_and_its_totals_are_said_to_be_partial() {
    let mut app = after(200);
    for _ in 0..30 {
        press(&mut app, &[Command::SeekBack]);
    }
    let oldest = shown(&app);
    // 120 intervals are kept: 81 to 200.
    assert!(oldest.contains("581 kB/s"), "{oldest}");
    assert!(oldest.contains("1 min 59 s AGO"), "{oldest}");
    assert!(
        oldest.contains("totals and averages since 15:01:20"),
        "{oldest}"
    );
    // The total of the machine is that of the whole run until then: 81 × 500 kB and 1 to 81 kB.
    assert!(oldest.contains("43.8 MB total"), "{oldest}");
}

#[test]
fn the_chart_keeps_showing_all_with_a_line_at_the_moment_and_a_click_goes_there() {
    let mut app = after(60);
    press(&mut app, &[Command::SeekBack]);
    let marked = shown(&app);
    let column = |line: &str| line.chars().position(|c| c == '|');
    let marks: Vec<usize> = marked.lines().skip(2).take(8).filter_map(column).collect();
    assert!(marks.len() >= 2, "{marked}");
    assert!(marks.iter().all(|x| *x == marks[0]), "{marked}");
    let mut clicked = after(60);
    clicked.update(Action::Click(marks[0] as u16, 4));
    assert_eq!(shown(&clicked), marked);
}

#[test]
fn a_moment_with_many_flows_says_that_it_has_the_largest() {
    let mut app = screen::app(&TableOptions::default(), SIZE.0, SIZE.1);
    for n in 0..3 {
        let mut interval = interval(crate::common::many_flows(1000));
        interval.ended += Duration::from_secs(n);
        app.update(Action::IntervalEnded(interval));
    }
    press(&mut app, &[Command::StepBack]);
    let past = shown(&app);
    assert!(past.contains("1000 flows"), "{past}");
    assert!(past.contains("the largest 256 flows"), "{past}");
}
