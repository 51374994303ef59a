//! The words for keys: what a key is called in the configuration file, what commands keys can be
//! given to, and which they have if nothing else is said.

use std::fmt;
use std::str::FromStr;

/// A key, with what is held down with it. A shifted character is the character it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub code: KeyCode,
    /// With the control key.
    pub ctrl: bool,
    /// With the alt key.
    pub alt: bool,
}

/// A key by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyCode {
    Char(char),
    Function(u8),
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
    Insert,
    Delete,
    Backspace,
    Tab,
    BackTab,
    Enter,
    Escape,
}

/// A command of the live table: what a key can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Select the row above.
    Up,
    /// Select the row below.
    Down,
    PageUp,
    PageDown,
    /// To the first row.
    Home,
    /// To the last row.
    End,
    /// To the other section.
    NextSection,
    /// Open the selected row.
    Enter,
    Back,
    /// Sort by the next column.
    NextSort,
    /// Sort by the column before.
    PreviousSort,
    /// Turn the order round.
    Reverse,
    /// Hold the order still, or let it go.
    Freeze,
    /// Begin to type a filter.
    Filter,
    NextGroup,
    /// Both ways in one table, or apart.
    Combine,
    /// Hold the picture, or let it go.
    Pause,
    Totals,
    Units,
    /// Host names, or addresses.
    Names,
    Columns,
    Slower,
    Faster,
    /// Of a recording the next interval.
    StepForward,
    /// Of a recording the interval before.
    StepBack,
    /// On in a recording.
    SeekForward,
    /// Back in a recording.
    SeekBack,
    /// Play a recording faster.
    SpeedUp,
    /// Play a recording slower.
    SpeedDown,
    Help,
    Redraw,
    /// Give the terminal back and stop, until continued.
    Suspend,
    Quit,
}

/// How a command is called, and which keys it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultBinding {
    pub command: Command,
    /// Its name in the configuration file.
    pub name: &'static str,
    /// The keys that it has if nothing else is said.
    pub keys: &'static [&'static str],
}

/// Keys that a command was given, in place of those of [`COMMANDS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Name of the command, one of [`COMMANDS`].
    pub command: &'static str,
    /// Its keys. No key is given to two commands; one that was another's by default is taken away
    /// from that.
    pub keys: Vec<Key>,
}

/// Always leaves, whatever the configuration says.
pub const CTRL_C: Key = Key {
    code: KeyCode::Char('c'),
    ctrl: true,
    alt: false,
};

const fn usual(
    command: Command,
    name: &'static str,
    keys: &'static [&'static str],
) -> DefaultBinding {
    DefaultBinding {
        command,
        name,
        keys,
    }
}

/// Every command that keys can be given to, in the order of the help screen.
pub const COMMANDS: &[DefaultBinding] = &[
    usual(Command::Up, "up", &["up", "k"]),
    usual(Command::Down, "down", &["down", "j"]),
    usual(Command::PageUp, "page-up", &["pageup", "ctrl-b", "ctrl-u"]),
    usual(
        Command::PageDown,
        "page-down",
        &["pagedown", "ctrl-f", "ctrl-d"],
    ),
    usual(Command::Home, "home", &["home", "0"]),
    usual(Command::End, "end", &["end", "G"]),
    usual(Command::NextSection, "next-section", &["tab", "backtab"]),
    usual(Command::Enter, "enter", &["enter", "l", "right"]),
    usual(Command::Back, "back", &["escape", "h", "left"]),
    usual(Command::NextSort, "next-sort", &["s", ">"]),
    usual(Command::PreviousSort, "previous-sort", &["<"]),
    usual(Command::Reverse, "reverse", &["S", "r"]),
    usual(Command::Freeze, "freeze", &["o"]),
    usual(Command::Filter, "filter", &["/"]),
    usual(Command::NextGroup, "next-group", &["g"]),
    usual(Command::Combine, "combine", &["b"]),
    usual(Command::Pause, "pause", &["space", "p"]),
    usual(Command::Totals, "totals", &["t"]),
    usual(Command::Units, "units", &["u"]),
    usual(Command::Names, "names", &["x"]),
    usual(Command::Columns, "columns", &["c"]),
    usual(Command::Slower, "slower", &["+", "="]),
    usual(Command::Faster, "faster", &["-"]),
    usual(Command::StepForward, "step-forward", &["."]),
    usual(Command::StepBack, "step-back", &[","]),
    usual(Command::SeekForward, "seek-forward", &["}"]),
    usual(Command::SeekBack, "seek-back", &["{"]),
    usual(Command::SpeedUp, "speed-up", &["]"]),
    usual(Command::SpeedDown, "speed-down", &["["]),
    usual(Command::Help, "help", &["?", "f1"]),
    usual(Command::Redraw, "redraw", &["ctrl-l"]),
    usual(Command::Suspend, "suspend", &["ctrl-z"]),
    usual(Command::Quit, "quit", &["q", "ctrl-c"]),
];

/// The keys of every command, in the order of [`COMMANDS`]: those it was given, or else its usual ones
/// without those that were given to others. [`CTRL_C`] always is one of [`Command::Quit`].
pub fn effective(given: &[Binding]) -> Vec<(Command, Vec<Key>)> {
    let is_given = |key: &Key| given.iter().any(|binding| binding.keys.contains(key));
    let mut all = Vec::with_capacity(COMMANDS.len());
    for usual in COMMANDS {
        let mut keys = match given.iter().find(|other| other.command == usual.name) {
            Some(binding) => binding.keys.clone(),
            None => {
                let keys = usual.keys.iter().filter_map(|key| key.parse().ok());
                keys.filter(|key| !is_given(key)).collect()
            }
        };
        if usual.command == Command::Quit && !keys.contains(&CTRL_C) {
            keys.push(CTRL_C);
        }
        all.push((usual.command, keys));
    }
    all
}

const NAMED: &[(&str, KeyCode)] = &[
    ("space", KeyCode::Char(' ')),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("insert", KeyCode::Insert),
    ("delete", KeyCode::Delete),
    ("backspace", KeyCode::Backspace),
    ("tab", KeyCode::Tab),
    ("backtab", KeyCode::BackTab),
    ("enter", KeyCode::Enter),
    ("escape", KeyCode::Escape),
];

/// Why a text is no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoKey(String);

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMED.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        write!(
            f,
            "unknown key {:?}: use a character, ctrl-x, alt-x, f1 to f24 or one of {}",
            self.0,
            names.join(", ")
        )
    }
}

impl std::error::Error for NoKey {}

impl FromStr for Key {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let mut rest = text;
        let (mut ctrl, mut alt) = (false, false);
        loop {
            if let Some(tail) = rest.strip_prefix("ctrl-").filter(|tail| !tail.is_empty()) {
                (rest, ctrl) = (tail, true);
            } else if let Some(tail) = rest.strip_prefix("alt-").filter(|tail| !tail.is_empty()) {
                (rest, alt) = (tail, true);
            } else {
                break;
            }
        }
        let no_key = || NoKey(text.to_owned());
        let mut chars = rest.chars();
        let code = match (chars.next(), chars.next()) {
            (Some(c), None) if !c.is_control() && c != ' ' => KeyCode::Char(c),
            _ => named(rest).ok_or_else(no_key)?,
        };
        // A terminal sends the same for both cases.
        let code = match code {
            KeyCode::Char(c) if ctrl => KeyCode::Char(c.to_ascii_lowercase()),
            code => code,
        };
        Ok(Self { code, ctrl, alt })
    }
}

fn named(name: &str) -> Option<KeyCode> {
    let found = NAMED.iter().find(|(known, _)| *known == name);
    found.map(|(_, code)| *code).or_else(|| {
        let number = name.strip_prefix('f')?;
        let is_plain = !number.starts_with(['0', '+']);
        let number = number
            .parse()
            .ok()
            .filter(|n| is_plain && (1..=24).contains(n));
        number.map(KeyCode::Function)
    })
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ctrl {
            f.write_str("ctrl-")?;
        }
        if self.alt {
            f.write_str("alt-")?;
        }
        match self.code {
            KeyCode::Function(number) => write!(f, "f{number}"),
            code => match NAMED.iter().find(|(_, named)| *named == code) {
                Some((name, _)) => f.write_str(name),
                None => match code {
                    KeyCode::Char(c) => write!(f, "{c}"),
                    _ => Ok(()),
                },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn every_key_is_read_as_it_is_written() {
        let named = NAMED.iter().map(|(name, _)| (*name).to_owned());
        let others = [
            "a",
            "A",
            "é",
            "?",
            "-",
            "+",
            "ctrl-c",
            "alt-enter",
            "f1",
            "f24",
            "ctrl-alt-x",
        ];
        for text in named.chain(others.map(str::to_owned)) {
            let key: Key = text.parse().unwrap();
            assert_eq!(key.to_string(), text);
        }
        assert_eq!("ctrl-C".parse::<Key>().unwrap(), CTRL_C);
        assert_eq!("ctrl--".parse::<Key>().unwrap().code, KeyCode::Char('-'));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "", " ", "ctrl-", "f0", "f25", "f01", "esc ", "up up", "\u{1b}", "shift-x",
        ] {
            let message = text.parse::<Key>().unwrap_err().to_string();
            assert!(message.contains("f1 to f24"), "{text:?}: {message}");
        }
    }

    #[test]
    fn no_key_has_two_commands() {
        let mut taken: HashMap<Key, &str> = HashMap::new();
        for command in COMMANDS {
            assert!(!command.keys.is_empty(), "{}", command.name);
            for key in command.keys {
                let key: Key = key.parse().unwrap();
                let other = taken.insert(key, command.name);
                assert_eq!(other, None, "{key} of {}", command.name);
            }
        }
        assert_eq!(taken[&CTRL_C], "quit");
    }

    fn keys_of(given: &[Binding], command: &str) -> String {
        let all = effective(given);
        assert_eq!(all.len(), COMMANDS.len());
        let place = COMMANDS.iter().position(|usual| usual.name == command);
        let keys = all[place.unwrap()].1.iter().map(Key::to_string);
        keys.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_given_to_one_command_is_taken_from_another() {
        for command in COMMANDS {
            assert_eq!(keys_of(&[], command.name), command.keys.join(" "));
        }
        let given = |command, keys: &[&str]| Binding {
            command,
            keys: keys.iter().map(|key| key.parse().unwrap()).collect(),
        };
        let given = [given("pause", &["p", "k"]), given("quit", &["x"])];
        assert_eq!(keys_of(&given, "pause"), "p k");
        assert_eq!(keys_of(&given, "up"), "up");
        assert_eq!(keys_of(&given, "names"), "");
        assert_eq!(keys_of(&given, "quit"), "x ctrl-c");
    }
}
