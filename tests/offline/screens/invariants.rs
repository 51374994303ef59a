//! What holds for every screen, whatever rows, filter and size.

use super::*;

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
fn five_lines_of_twenty_cells_have_the_largest_row_and_the_sum_of_the_others() {
    let app = sized(app(Some(interval(web_server()))), 20, 5);
    let screen = text(&draw(&app, 20, 5));
    let lines: Vec<&str> = screen.lines().collect();
    assert!(
        lines[3].contains("nginx") && lines[3].ends_with("157 MB/s"),
        "{screen}"
    );
    assert!(
        lines[4].contains("others") && lines[4].ends_with("2.56 MB/s"),
        "{screen}"
    );
    let taller = text(&draw(&app, 20, 7));
    assert!(
        taller.contains("RATE ▼") && !taller.contains("All"),
        "{taller}"
    );
}

/// Small, fast, repeatable: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// What the first rates of each section sum up to, for numbers that are whole.
fn sums(screen: &str) -> Vec<f64> {
    let mut sums = Vec::new();
    let mut in_section = false;
    for line in screen.lines() {
        if line.starts_with("╶ ") {
            in_section = true;
            sums.push(0.0);
        } else if in_section {
            let words: Vec<&str> = line.split_whitespace().collect();
            let rate = words.windows(2).find(|pair| pair[1] == "B/s");
            let number = rate.and_then(|pair| pair[0].parse::<f64>().ok());
            if let (Some(number), Some(sum)) = (number, sums.last_mut()) {
                *sum += number;
            }
        }
    }
    sums
}

#[test]
fn rows_and_the_rest_are_the_total_in_every_grouping_filter_and_place() {
    let mut random = Random(7);
    for round in 0..150 {
        let flows = (0..random.below(60)).map(|i| {
            let port = 1000 + i as u16;
            let peer = common::end(&format!("192.0.2.{}", 1 + random.below(9)), port);
            let local = common::end("10.0.0.5", 80 + random.below(3) as u16);
            let tgid = 1 + random.below(6) as u32;
            let name = [b'a' + tgid as u8; 3];
            let bytes = (random.below(7), random.below(6));
            flow(
                flowtop::model::flow::Protocol::Tcp,
                local,
                peer,
                (tgid, &name),
                bytes,
            )
        });
        let mut one = interval(flows.collect());
        one.elapsed = std::time::Duration::from_secs(1);
        one.losses.untracked.rx_bytes = random.below(3) * 20;
        let total = one.total();
        // Without averages, so that the only numbers are rates.
        let options = TableOptions {
            columns: Some(Vec::new()),
            rows: [None, Some(5)][random.below(2) as usize],
            ..options()
        };
        let look = DisplayOptions::new(&options, Depth::Mono, Background::Unknown);
        let (width, height) = (60 + random.below(100) as u16, 12 + random.below(40) as u16);
        let mut app = sized(with(Names::disabled(), look), width, height);
        app.update(Action::IntervalEnded(one));
        for _ in 0..random.below(5) {
            let commands = [
                Command::NextGroup,
                Command::Down,
                Command::PageDown,
                Command::NextSection,
                Command::NextSort,
                Command::Reverse,
                Command::Freeze,
            ];
            press(&mut app, &[commands[random.below(7) as usize]]);
        }
        if random.below(3) == 0 {
            type_in(&mut app, "process (bcd or bbb or ccc)");
        }
        let screen = text(&draw(&app, width, height));
        let expected = [total.rx_bytes as f64, total.tx_bytes as f64];
        if expected != [0.0, 0.0] {
            assert_eq!(sums(&screen), expected, "{round}: {screen}");
        }
    }
}

#[test]
fn no_cell_ever_holds_a_control_character() {
    let mut random = Random(11);
    let hostile = [
        "\x1b[2J",
        "a\nb",
        "\u{202e}x",
        "\u{9b}31m",
        "e\u{301}",
        "世界\u{200b}",
        "\x07",
    ];
    let look = DisplayOptions::new(&options(), Depth::True, Background::Dark);
    let names = Names::with(|_| Some("\x1b]0;x\x07\u{202e}host".to_owned()), || {}).unwrap();
    let host = Machine {
        host: "\x1b[31mhost\n".to_owned(),
        kernel: "6\t.1".to_owned(),
        uptime: std::time::Duration::ZERO,
    };
    let look = DisplayOptions {
        names: true,
        ..look
    };
    let context = RunContext {
        machine: host,
        ..context()
    };
    let mut app = App::new(context, names, Owners::disabled(), look);
    for round in 0..200 {
        let flows = (0..20u16).map(|i| {
            let name = hostile[random.below(7) as usize];
            let peer = common::end("2001:db8::1", i + 1);
            let bytes = (random.below(1 << 40), random.below(1 << 20));
            let process = (i.into(), name.as_bytes());
            flow(
                flowtop::model::flow::Protocol::Udp,
                common::end("::1", 9),
                peer,
                process,
                bytes,
            )
        });
        app.update(Action::IntervalEnded(interval(flows.collect())));
        let (width, height) = (random.below(220) as u16, random.below(60) as u16);
        app.update(Action::Resize(width, height));
        type_in(&mut app, hostile[random.below(7) as usize]);
        let key = [Edit::Cancel, Edit::Accept, Edit::DeleteToStart][random.below(3) as usize];
        app.update(Action::Type(key));
        let commands = [
            Command::Enter,
            Command::Help,
            Command::NextGroup,
            Command::Back,
            Command::Down,
        ];
        press(&mut app, &[commands[random.below(5) as usize]]);
        app.update(Action::Click(
            random.below(220) as u16,
            random.below(60) as u16,
        ));
        let screen = text(&draw(&app, width, height));
        let bad = screen.chars().find(|c| {
            c.is_control() && *c != '\n'
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        });
        assert_eq!(bad, None, "{round}: {screen:?}");
    }
}

#[test]
fn columns_do_not_move_when_narrower_flows_follow() {
    let mut app = app(Some(interval(web_server())));
    let heads = |app: &App| text(&draw(app, 120, 30)).lines().nth(3).unwrap().to_owned();
    let before = heads(&app);
    app.update(Action::IntervalEnded(interval(web_server().split_off(6))));
    assert_eq!(heads(&app), before);
}

/// What stands in the line of other flows keeps away from its numbers, and a peer is shown readable
/// or not at all.
#[test]
fn narrow_tables_leave_out_what_has_no_room() {
    let mut with_peers = 0;
    for width in 26..70 {
        let app = sized(app(Some(interval(web_server()))), width, 10);
        let screen = text(&draw(&app, width, 10));
        let others = screen.lines().find(|line| line.contains("other"));
        let others = others.unwrap_or_else(|| panic!("{width}: {screen}"));
        let after = others
            .split_once("others")
            .or(others.split_once("other flows"));
        let is_apart = after.is_some_and(|(_, after)| after.is_empty() || after.starts_with(' '));
        assert!(is_apart, "{width}: {screen}");
        let headings = screen
            .lines()
            .find(|line| line.contains("PROCESS"))
            .unwrap();
        if let Some(x) = headings.find(" PEER") {
            let x = headings[..x].chars().count() + 1;
            assert!(usize::from(width) >= x + 8, "{width}: {screen}");
            with_peers += 1;
        }
    }
    assert!(with_peers > 10, "{with_peers}");
}
