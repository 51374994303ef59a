//! What each kind of terminal is sent: colours that it has, glyphs of its locale, questions that it
//! answers. The real program shows a recording, so this takes no privilege.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use crate::common::pty::{Pty, Watched};

/// What the bytes that a terminal got may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colours {
    None,
    Sixteen,
    Palette,
    True,
}

struct TerminalCase {
    name: &'static str,
    environment: &'static [(&'static str, &'static str)],
    colours: Colours,
    is_ascii: bool,
    /// Whether it is asked for its background: COLORFGBG answers, and the console cannot.
    can_resolve: bool,
}

const UTF8: (&str, &str) = ("LC_ALL", "C.UTF-8");

const fn case(
    name: &'static str,
    environment: &'static [(&'static str, &'static str)],
    colours: Colours,
) -> TerminalCase {
    TerminalCase {
        name,
        environment,
        colours,
        is_ascii: false,
        can_resolve: true,
    }
}

const CASES: &[TerminalCase] = &[
    case(
        "xterm",
        &[UTF8, ("TERM", "xterm-256color")],
        Colours::Palette,
    ),
    case("tmux", &[UTF8, ("TERM", "tmux-256color")], Colours::Palette),
    case("screen", &[UTF8, ("TERM", "screen")], Colours::Sixteen),
    // On a background that is not known only the terminal's own palette is used.
    case(
        "kitty",
        &[
            UTF8,
            ("TERM", "xterm-kitty"),
            ("COLORTERM", "truecolor"),
            ("COLORFGBG", "15;0"),
        ],
        Colours::True,
    ),
    case("16 colours", &[UTF8, ("TERM", "xterm")], Colours::Sixteen),
    // Its fonts have no braille, whatever the locale.
    TerminalCase {
        can_resolve: false,
        is_ascii: true,
        ..case(
            "console of Linux",
            &[UTF8, ("TERM", "linux")],
            Colours::Sixteen,
        )
    },
    TerminalCase {
        can_resolve: false,
        ..case(
            "NO_COLOR",
            &[UTF8, ("TERM", "xterm-256color"), ("NO_COLOR", "1")],
            Colours::None,
        )
    },
    TerminalCase {
        is_ascii: true,
        ..case(
            "LANG=C",
            &[("LC_ALL", "C"), ("TERM", "xterm-256color")],
            Colours::Palette,
        )
    },
    case(
        "dark by COLORFGBG",
        &[UTF8, ("TERM", "xterm-256color"), ("COLORFGBG", "15;0")],
        Colours::Palette,
    ),
    case(
        "light by COLORFGBG",
        &[UTF8, ("TERM", "xterm-256color"), ("COLORFGBG", "0;15")],
        Colours::Palette,
    ),
];

/// Shows a recording on a terminal until its table is there, and leaves. Returns all that was
/// written.
fn shown(environment: &[(&str, &str)]) -> Vec<u8> {
    let mut terminal = Pty::open(100, 30);
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/demo.jsonl.zst");
    let mut command = terminal.command(env!("CARGO_BIN_EXE_flowtop"));
    command.arg("--replay").arg(sample);
    for name in [
        "LANG",
        "LC_CTYPE",
        "LC_ALL",
        "COLORFGBG",
        "COLORTERM",
        "NO_COLOR",
    ] {
        command.env_remove(name);
    }
    command
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("XDG_STATE_HOME", "/dev/null")
        .envs(environment.iter().copied());
    let mut child = command.spawn().unwrap();
    drop(command);
    let screen = Arc::new(Watched::new((vt100::Parser::new(30, 100, 0), Vec::new())));
    let filling = Arc::clone(&screen);
    let reader = terminal.read(move |bytes| {
        filling.change(|(screen, written)| {
            screen.process(bytes);
            written.extend_from_slice(bytes);
        });
    });
    let is_there = screen.wait_until(|(screen, _)| {
        let text = screen.screen().contents();
        text.contains("Egress") && text.contains("demo-backup")
    });
    assert!(is_there, "{environment:?}: no table");
    terminal.keyboard.write_all(b"q").unwrap();
    assert!(child.wait().unwrap().success(), "{environment:?}");
    drop(terminal);
    reader.join().unwrap();
    screen.with(|(_, written)| written.clone())
}

/// The parameters of all SGR sequences.
fn sgr(written: &str) -> BTreeSet<&str> {
    let sequences = written.split("\x1b[").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != ';')?;
        rest[end..].starts_with('m').then(|| &rest[..end])
    });
    sequences.collect()
}

/// Whether a sequence sets a colour, and which kind has it.
fn colours_of(parameters: &str) -> Option<Colours> {
    let words: Vec<&str> = parameters.split(';').collect();
    let mut kind = None;
    for pair in words.windows(2) {
        match pair {
            ["38" | "48", "2"] => return Some(Colours::True),
            ["38" | "48", "5"] => kind = Some(Colours::Palette),
            _ => {}
        }
    }
    let is_basic =
        |word: &&str| matches!(word.parse(), Ok(30..=37 | 40..=47 | 90..=97 | 100..=107));
    kind.or_else(|| words.iter().any(is_basic).then_some(Colours::Sixteen))
}

#[test]
fn each_terminal_gets_what_it_can_show() {
    for case in CASES {
        let written = shown(case.environment);
        let text = String::from_utf8_lossy(&written);
        let name = case.name;
        let sequences = sgr(&text);
        let mut kinds: Vec<Colours> = sequences.iter().filter_map(|it| colours_of(it)).collect();
        kinds.dedup();
        let is_right = match case.colours {
            Colours::None => kinds.is_empty(),
            Colours::Palette => {
                kinds.contains(&Colours::Palette) && !kinds.contains(&Colours::True)
            }
            colours => kinds.contains(&colours) && (colours == Colours::True || kinds == [colours]),
        };
        assert!(is_right, "{name}: {kinds:?} of {sequences:?}");
        assert_eq!(text.is_ascii(), case.is_ascii, "{name}");
        assert_eq!(text.contains("\x1b]11;?"), case.can_resolve, "{name}");
        // It comes back: main screen, cursor.
        assert!(
            text.contains("\x1b[?1049l") && text.contains("\x1b[?25h"),
            "{name}"
        );
    }
}

#[test]
fn the_share_of_a_row_has_a_background_for_each_kind_of_terminal() {
    let backgrounds = |fgbg| {
        let written = shown(&[UTF8, ("TERM", "xterm-256color"), ("COLORFGBG", fgbg)]);
        let text = String::from_utf8_lossy(&written).into_owned();
        let sequences = sgr(&text).into_iter().filter(|it| it.contains("48;5;"));
        sequences.map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let (dark, light) = (backgrounds("15;0"), backgrounds("0;15"));
    assert!(!dark.is_empty() && !light.is_empty());
    assert!(dark.is_disjoint(&light), "{dark:?} {light:?}");
}
