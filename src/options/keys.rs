//! Names of keys in the configuration file, the commands that keys can be given to, and their
//! default keys.

use std::fmt;
use std::str::FromStr;

use crate::view::Preset;

/// A key with its modifiers. A shifted character is the character that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub code: KeyCode,
    /// Whether the control key is held.
    pub ctrl: bool,
    /// Whether the alt key is held.
    pub alt: bool,
}

/// A key without modifiers.
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

/// A command of the live table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Select the row above.
    Up,
    /// Select the row below.
    Down,
    PageUp,
    PageDown,
    /// Select the first row.
    Home,
    /// Select the last row.
    End,
    /// Move the keyboard to the other section.
    NextSection,
    /// Open the selected row.
    Enter,
    Back,
    /// Scroll along with the selected row, or stop that.
    Follow,
    /// Type words to find.
    Find,
    NextMatch,
    PreviousMatch,
    /// Open the selected row in place.
    Expand,
    /// Close the row that was opened in place.
    Fold,
    View(Preset),
    Filter,
    /// Filter by what the selected row shows.
    Only,
    /// Filter out what the selected row shows.
    Exclude,
    /// Pin the selected row on top, or unpin it.
    Pin,
    /// Open the list of columns to sort by.
    Sort,
    /// Sort by the previous column.
    PreviousSort,
    /// Sort by the next column.
    NextSort,
    Reverse,
    /// Freeze the order, or unfreeze it.
    Freeze,
    /// Open the list of groupings.
    Group,
    NextGroup,
    /// Join both directions in one table, or split them.
    Combine,
    /// Pause the display, or resume it.
    Pause,
    Totals,
    Units,
    /// Host names, or addresses.
    Names,
    Columns,
    Slower,
    Faster,
    /// Hide flows between two ends on this machine, or show them.
    LocalTraffic,
    /// Show more time in the chart.
    LongerChart,
    /// Show less time in the chart.
    ShorterChart,
    /// In the list of columns: move the column to the left.
    MoveLeft,
    /// In the list of columns: move the column to the right.
    MoveRight,
    /// In a replay: go to the next interval.
    StepForward,
    /// In a replay: go to the previous interval.
    StepBack,
    /// In a replay: jump forward.
    SeekForward,
    /// In a replay: jump back.
    SeekBack,
    /// Play a recording faster.
    SpeedUp,
    /// Play a recording slower.
    SpeedDown,
    /// Save a snapshot of the screen.
    Snapshot,
    /// Save settings in the configuration file.
    Save,
    /// Start a recording, or stop it.
    Record,
    /// Copy the peer of the selected row, or its command.
    Copy,
    /// Reset totals, averages and peaks.
    ResetTotals,
    Help,
    Redraw,
    /// Restore the terminal and stop, until continued.
    Suspend,
    Quit,
}

/// Topics of commands: the chapters of the help screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chapter {
    Move,
    Rows,
    Display,
    /// Earlier moments, live and in a recording.
    Time,
    /// Keys of the list of columns.
    ColumnList,
    /// Keys of a recording.
    Replay,
    /// Saving, recording and copying.
    Save,
    Program,
}

impl Chapter {
    /// Every chapter, in the order of the help screen.
    pub const ALL: [Self; 8] = [
        Self::Move,
        Self::Rows,
        Self::Display,
        Self::Time,
        Self::ColumnList,
        Self::Replay,
        Self::Save,
        Self::Program,
    ];

    pub const fn title(self) -> &'static str {
        match self {
            Self::Move => "Move",
            Self::Rows => "Find, filter, sort, group",
            Self::Display => "Display",
            Self::Time => "Time",
            Self::ColumnList => "In the list of columns",
            Self::Replay => "Replay",
            Self::Save => "Save",
            Self::Program => "flowtop",
        }
    }

    /// Whether its keys have this meaning in every part of the screen that gives them no other.
    pub const fn is_everywhere(self) -> bool {
        !matches!(self, Self::ColumnList | Self::Replay)
    }

    /// Whether commands of both chapters can share a key: in each part of the screen the key then
    /// has one meaning.
    pub fn may_share_keys(self, other: Self) -> bool {
        self != other && !(self.is_everywhere() && other.is_everywhere())
    }

    /// Whether giving a key to a command of this chapter takes it from the default keys of another.
    fn takes_keys_from(self, other: Self) -> bool {
        self.is_everywhere() || self == other
    }
}

/// Names, description and default keys of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultBinding {
    pub chapter: Chapter,
    pub command: Command,
    /// Its name in the configuration file.
    pub name: &'static str,
    pub keys: &'static [&'static str],
    /// Description for the help screen, short enough for two columns on 80 cells.
    pub about: &'static str,
}

/// The keys given to a command, in place of those in [`COMMANDS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Name of the command, one of [`COMMANDS`].
    pub command: &'static str,
    /// Its keys. No two commands have the same key; a command loses a default key that is given to
    /// another.
    pub keys: Vec<Key>,
}

/// Key that always quits; the configuration cannot change it.
pub const CTRL_C: Key = Key {
    code: KeyCode::Char('c'),
    ctrl: true,
    alt: false,
};

const fn key(
    chapter: Chapter,
    command: Command,
    name: &'static str,
    keys: &'static [&'static str],
    about: &'static str,
) -> DefaultBinding {
    DefaultBinding {
        chapter,
        command,
        name,
        keys,
        about,
    }
}

/// Every command that keys can be given to, in the order of the help screen: a new key is a line
/// here.
#[rustfmt::skip]
pub const COMMANDS: &[DefaultBinding] = &[
    key(Chapter::Move, Command::Up, "up", &["up", "k"], "row up"),
    key(Chapter::Move, Command::Down, "down", &["down", "j"], "row down"),
    key(Chapter::Move, Command::PageUp, "page-up", &["pageup", "ctrl-b", "ctrl-u"], "page up"),
    key(Chapter::Move, Command::PageDown, "page-down", &["pagedown", "ctrl-f", "ctrl-d"], "page down"),
    key(Chapter::Move, Command::Home, "home", &["home", "0"], "first row"),
    key(Chapter::Move, Command::End, "end", &["end", "G"], "last row"),
    key(Chapter::Move, Command::NextSection, "next-section", &["tab", "backtab"], "other table"),
    key(Chapter::Move, Command::Enter, "enter", &["enter"], "open it, then its flows"),
    key(Chapter::Move, Command::Back, "back", &["escape"], "go back one step"),
    key(Chapter::Move, Command::Expand, "expand", &["right", "l", "f5"], "open the row in place"),
    key(Chapter::Move, Command::Fold, "fold", &["left", "h"], "close it"),
    key(Chapter::Move, Command::Follow, "follow", &["F"], "follow the selected row"),
    key(Chapter::Move, Command::View(Preset::Overview), "overview", &["1"], "flows in and out"),
    key(Chapter::Move, Command::View(Preset::Programs), "programs", &["2"], "programs"),
    key(Chapter::Move, Command::View(Preset::Peers), "peers", &["3"], "peers"),
    key(Chapter::Move, Command::View(Preset::Tcp), "tcp", &["4"], "TCP health"),
    key(Chapter::Move, Command::View(Preset::Containers), "containers", &["5"], "containers"),

    key(Chapter::Rows, Command::Find, "find", &["/", "f3"], "find words"),
    key(Chapter::Rows, Command::NextMatch, "next-match", &["n"], "next match"),
    key(Chapter::Rows, Command::PreviousMatch, "previous-match", &["N"], "previous match"),
    key(Chapter::Rows, Command::Filter, "filter", &["f", "f4"], "filter by an expression"),
    key(Chapter::Rows, Command::Only, "only", &["="], "only what the row is"),
    key(Chapter::Rows, Command::Exclude, "exclude", &["!"], "not what the row is"),
    key(Chapter::Rows, Command::Pin, "pin", &["*"], "pin the row on top"),
    key(Chapter::Rows, Command::Sort, "sort", &["s", "f6"], "choose the sort column"),
    key(Chapter::Rows, Command::LocalTraffic, "local-traffic", &["L"], "hide local traffic"),
    key(Chapter::Rows, Command::PreviousSort, "previous-sort", &["<"], "sort by the column before"),
    key(Chapter::Rows, Command::NextSort, "next-sort", &[">"], "sort by the next column"),
    key(Chapter::Rows, Command::Reverse, "reverse", &["r", "S"], "reverse the order"),
    key(Chapter::Rows, Command::Freeze, "freeze", &["o"], "freeze the order"),
    key(Chapter::Rows, Command::Group, "group", &["g"], "choose the grouping"),
    key(Chapter::Rows, Command::NextGroup, "next-group", &["ctrl-g"], "next grouping"),
    key(Chapter::Rows, Command::Combine, "combine", &["b"], "join in and out, or split"),

    key(Chapter::Display, Command::Pause, "pause", &["space", "p"], "pause; counting continues"),
    key(Chapter::Display, Command::Totals, "totals", &["t"], "totals or rates"),
    key(Chapter::Display, Command::ResetTotals, "reset-totals", &["z"], "reset totals"),
    key(Chapter::Display, Command::Units, "units", &["u"], "next unit: bytes or bits"),
    key(Chapter::Display, Command::Names, "names", &["x"], "names or numbers"),
    key(Chapter::Display, Command::Columns, "columns", &["c"], "choose columns"),
    key(Chapter::Display, Command::Slower, "slower", &["+"], "lengthen the interval"),
    key(Chapter::Display, Command::Faster, "faster", &["-"], "shorten the interval"),
    key(Chapter::Display, Command::LongerChart, "longer-chart", &["]"], "more time in the chart"),
    key(Chapter::Display, Command::ShorterChart, "shorter-chart", &["["], "less time in the chart"),

    key(Chapter::Time, Command::StepBack, "step-back", &[","], "one interval back"),
    key(Chapter::Time, Command::StepForward, "step-forward", &["."], "one interval forward"),
    key(Chapter::Time, Command::SeekBack, "seek-back", &["{"], "jump back 10, replay: 5 %"),
    key(Chapter::Time, Command::SeekForward, "seek-forward", &["}"], "jump forward"),

    key(Chapter::ColumnList, Command::MoveLeft, "move-left", &["["], "move the column left"),
    key(Chapter::ColumnList, Command::MoveRight, "move-right", &["]"], "move the column right"),

    key(Chapter::Replay, Command::SpeedUp, "speed-up", &["]"], "play faster"),
    key(Chapter::Replay, Command::SpeedDown, "speed-down", &["["], "play slower"),

    key(Chapter::Save, Command::Snapshot, "snapshot", &["w"], "save a snapshot"),
    key(Chapter::Save, Command::Save, "save", &["W"], "save the settings"),
    key(Chapter::Save, Command::Record, "record", &["R"], "start or stop recording"),
    key(Chapter::Save, Command::Copy, "copy", &["y"], "copy peer or command"),

    key(Chapter::Program, Command::Help, "help", &["?", "f1"], "help"),
    key(Chapter::Program, Command::Redraw, "redraw", &["ctrl-l"], "redraw"),
    key(Chapter::Program, Command::Suspend, "suspend", &["ctrl-z"], "stop the job until fg"),
    key(Chapter::Program, Command::Quit, "quit", &["q", "f10", "ctrl-c"], "close; in the table: quit"),
];

impl DefaultBinding {
    /// Returns the entry of a command by its name in the configuration file.
    pub fn named(name: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|binding| binding.name == name)
    }
}

/// Returns the keys of every command in the order of [`COMMANDS`]: the given ones, else the default
/// ones without those given to other commands. [`CTRL_C`] always belongs to [`Command::Quit`].
pub fn effective(given: &[Binding]) -> Vec<(&'static DefaultBinding, Vec<Key>)> {
    let is_taken = |key: &Key, usual: &DefaultBinding| {
        given.iter().any(|binding| {
            let of = DefaultBinding::named(binding.command);
            let takes = of.is_some_and(|of| of.chapter.takes_keys_from(usual.chapter));
            takes && binding.keys.contains(key)
        })
    };
    let mut all = Vec::with_capacity(COMMANDS.len());
    for usual in COMMANDS {
        let mut keys = match given.iter().find(|other| other.command == usual.name) {
            Some(binding) => binding.keys.clone(),
            None => {
                let keys = usual.keys.iter().filter_map(|key| key.parse().ok());
                keys.filter(|key| !is_taken(key, usual)).collect()
            }
        };
        if usual.command == Command::Quit && !keys.contains(&CTRL_C) {
            keys.push(CTRL_C);
        }
        all.push((usual, keys));
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

/// Returns why a text is no key.
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
        // A terminal sends the same code for both cases.
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

    /// Longest description of a command, in characters.
    const MAX_ABOUT: usize = 26;

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
    fn no_key_has_two_commands_in_one_part_of_the_screen() {
        for (n, command) in COMMANDS.iter().enumerate() {
            assert!(!command.keys.is_empty(), "{}", command.name);
            assert!(command.about.len() <= MAX_ABOUT, "{}", command.about);
            for other in &COMMANDS[..n] {
                assert_ne!(command.name, other.name);
                let shared = command.keys.iter().find(|key| other.keys.contains(key));
                let may_share = command.chapter.may_share_keys(other.chapter);
                assert!(
                    shared.is_none() || may_share,
                    "{shared:?} of {} and {}",
                    command.name,
                    other.name
                );
            }
        }
        let quit = DefaultBinding::named("quit").unwrap();
        assert!(quit.keys.contains(&"ctrl-c"));
    }

    #[test]
    fn a_key_of_the_table_is_taken_from_the_parts_of_the_screen_too() {
        let given = |command| {
            [Binding {
                command,
                keys: vec!["[".parse().unwrap()],
            }]
        };
        for (command, of_replay, of_list) in [
            ("pause", "", ""),
            ("speed-up", "", "["),
            ("move-right", "[", ""),
        ] {
            assert_eq!(keys_of(&given(command), "speed-down"), of_replay);
            assert_eq!(keys_of(&given(command), "move-left"), of_list);
        }
    }

    fn keys_of(given: &[Binding], command: &str) -> String {
        let all = effective(given);
        assert_eq!(all.len(), COMMANDS.len());
        let position = COMMANDS.iter().position(|usual| usual.name == command);
        let keys = all[position.unwrap()].1.iter().map(Key::to_string);
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
