//! Screens of a recording, and what keys and the bar tell the player.

use super::*;

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
    // The bar gives way, not the filter.
    let mut app = sized(replaying(picture(PlayerState::Playing)), 80, 24);
    type_in(&mut app, "process nginx*");
    let filtered = text(&draw(&app, 80, 24));
    let filtered = filtered.lines().next().unwrap();
    assert!(filtered.contains("  filter: process nginx* "), "{filtered}");
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
