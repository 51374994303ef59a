//! Translates terminal events into actions. The only module with keys: help and footer are
//! generated from its tables.

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use crate::options::{Binding, Chapter, DefaultBinding, Key, KeyCode as Code, effective};
use crate::tui::action::{Action, Command, Edit};
use crate::tui::state::list::index_of_key;

/// Keys that edit the text of a prompt, with descriptions for the help screen if there is one. They
/// are fixed, as in shells.
const EDITING: &[(Edit, &[&str], &str)] = &[
    (Edit::Complete, &["tab"], "complete the word"),
    (Edit::CompleteBack, &["backtab"], ""),
    (Edit::Older, &["up", "ctrl-p"], "text typed before"),
    (Edit::Newer, &["down", "ctrl-n"], ""),
    (Edit::Home, &["ctrl-a", "home"], "start of the line"),
    (Edit::End, &["ctrl-e", "end"], "end of the line"),
    (Edit::Left, &["left", "ctrl-b"], ""),
    (Edit::Right, &["right", "ctrl-f"], ""),
    (
        Edit::WordLeft,
        &["alt-b", "ctrl-left", "alt-left"],
        "word to the left",
    ),
    (
        Edit::WordRight,
        &["alt-f", "ctrl-right", "alt-right"],
        "word to the right",
    ),
    (
        Edit::DeleteWordBefore,
        &["ctrl-w", "alt-backspace"],
        "delete the word before",
    ),
    (Edit::DeleteWordAfter, &["alt-d"], "delete the word after"),
    (Edit::DeleteToStart, &["ctrl-u"], "delete to the start"),
    (Edit::DeleteToEnd, &["ctrl-k"], "delete to the end"),
    (Edit::DeleteBefore, &["backspace", "ctrl-h"], ""),
    (Edit::DeleteAfter, &["delete", "ctrl-d"], ""),
    (Edit::Accept, &["enter"], "apply the text"),
    (Edit::Cancel, &["escape"], "cancel"),
];

/// Returns the labels and descriptions of the keys of a prompt, for the help screen.
pub fn editing_help(ascii: bool) -> impl Iterator<Item = (String, &'static str)> {
    let described = EDITING.iter().filter(|(.., about)| !about.is_empty());
    described.map(move |(_, keys, about)| {
        let keys = keys.iter().take(1).filter_map(|key| key.parse().ok());
        let labels: Vec<String> = keys.map(|key: Key| label(&key, ascii)).collect();
        (labels.join(" "), *about)
    })
}

/// The mouse, for the help screen: it has no table, see [`Keys::action`].
pub const MOUSE: &[(&str, &str)] = &[
    ("wheel", "move through rows"),
    ("row", "select; again: open"),
    ("heading", "sort; again: reverse"),
    ("label", "what its key does"),
    ("state", "explain it"),
    ("shift", "drag to select text"),
];

/// Additional mouse actions on a live machine.
pub const MOUSE_LIVE: &[(&str, &str)] = &[("chart", "table of that time")];

/// Additional mouse actions in a recording.
pub const MOUSE_REPLAY: &[(&str, &str)] = &[("bar", "jump to that time")];

/// The part of the screen that has the keyboard: its own keys come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyboardFocus {
    Table,
    /// The tables of a recording.
    Replay,
    ColumnList,
    /// A list over the tables: digits and letters choose.
    List,
    /// A line that is typed: letters are text, not commands.
    Prompt,
}

impl KeyboardFocus {
    /// The chapters of keys, the first one first.
    const fn chapters(self) -> &'static [Chapter] {
        match self {
            Self::Table | Self::List | Self::Prompt => &[],
            Self::Replay => &[Chapter::Replay],
            Self::ColumnList => &[Chapter::ColumnList],
        }
    }
}

/// The key bindings of every part of the screen.
#[derive(Clone, Debug)]
pub struct Keys {
    bound: Vec<(&'static DefaultBinding, Vec<Key>)>,
    editing: Vec<(Edit, Key)>,
}

impl Keys {
    /// The default keys, overridden by those that are given.
    pub fn new(given: &[Binding]) -> Self {
        let editing = EDITING.iter().flat_map(|(edit, keys, _)| {
            let keys = keys.iter().filter_map(|key| key.parse().ok());
            keys.map(move |key| (*edit, key))
        });
        Self {
            bound: effective(given),
            editing: editing.collect(),
        }
    }

    /// Returns the action for an event; `None` if the event has none.
    pub fn action(&self, event: &Event, focus: KeyboardFocus) -> Option<Action> {
        match event {
            Event::Mouse(mouse) => pointed(mouse),
            Event::Resize(width, height) => Some(Action::Resize(*width, *height)),
            _ => {
                let key = event.as_key_press_event()?;
                let control = key.modifiers.contains(KeyModifiers::CONTROL);
                if control && key.code == KeyCode::Char('c') {
                    return Some(Action::Stop);
                }
                match (focus, key.code) {
                    (KeyboardFocus::Prompt, _) => self.typed(key),
                    (KeyboardFocus::List, KeyCode::Char(c))
                        if key.modifiers.is_empty() && index_of_key(c).is_some() =>
                    {
                        index_of_key(c).map(Action::Choose)
                    }
                    _ => self.command(key, focus).map(Action::Command),
                }
            }
        }
    }

    /// Returns the command of a key: of the part of the screen that has the keyboard, else of the
    /// table.
    fn command(&self, key: KeyEvent, focus: KeyboardFocus) -> Option<Command> {
        let key = as_key(key)?;
        let own = focus.chapters();
        let bound = || self.bound.iter().filter(|(_, keys)| keys.contains(&key));
        let of_part = bound().find(|(binding, _)| own.contains(&binding.chapter));
        let found =
            of_part.or_else(|| bound().find(|(binding, _)| binding.chapter.is_everywhere()));
        found.map(|(binding, _)| binding.command)
    }

    /// Returns the action of a key in a prompt: an edit, a character, or a command that is valid
    /// everywhere.
    fn typed(&self, key: KeyEvent) -> Option<Action> {
        let pressed = as_key(key)?;
        if let Some((edit, _)) = self.editing.iter().find(|(_, key)| *key == pressed) {
            return Some(Action::Type(*edit));
        }
        match pressed.code {
            Code::Char(c) if !pressed.ctrl && !pressed.alt && !c.is_control() => {
                Some(Action::Type(Edit::Insert(c)))
            }
            _ => match self.command(key, KeyboardFocus::Prompt)? {
                command @ (Command::Suspend | Command::Redraw) => Some(Action::Command(command)),
                _ => None,
            },
        }
    }

    /// Whether Control-Z stops the job, as it does unless the configuration binds the key.
    pub fn suspend_by_ctrl_z(&self) -> bool {
        let ctrl_z = KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL);
        self.command(ctrl_z, KeyboardFocus::Table) == Some(Command::Suspend)
    }

    /// Returns the labels of a command's keys, at most `most` of them.
    pub fn label(&self, command: Command, most: usize, ascii: bool) -> String {
        let found = self
            .bound
            .iter()
            .find(|(bound, _)| bound.command == command);
        let keys = found.map_or(&[][..], |(_, keys)| keys);
        let labels: Vec<String> = keys
            .iter()
            .take(most)
            .map(|key| label(key, ascii))
            .collect();
        labels.join(" ")
    }
}

fn as_key(key: KeyEvent) -> Option<Key> {
    let code = match key.code {
        KeyCode::Char(c) => Code::Char(c),
        KeyCode::F(number) => Code::Function(number),
        KeyCode::Up => Code::Up,
        KeyCode::Down => Code::Down,
        KeyCode::Left => Code::Left,
        KeyCode::Right => Code::Right,
        KeyCode::Home => Code::Home,
        KeyCode::End => Code::End,
        KeyCode::PageUp => Code::PageUp,
        KeyCode::PageDown => Code::PageDown,
        KeyCode::Insert => Code::Insert,
        KeyCode::Delete => Code::Delete,
        KeyCode::Backspace => Code::Backspace,
        KeyCode::Tab => Code::Tab,
        KeyCode::BackTab => Code::BackTab,
        KeyCode::Enter => Code::Enter,
        KeyCode::Esc => Code::Escape,
        _ => return None,
    };
    // A shifted character arrives as itself; some terminals report shift in addition.
    Some(Key {
        code,
        ctrl: key.modifiers.contains(KeyModifiers::CONTROL),
        alt: key.modifiers.contains(KeyModifiers::ALT),
    })
}

fn label(key: &Key, ascii: bool) -> String {
    let code = match key.code {
        Code::Up if !ascii => "↑".to_owned(),
        Code::Down if !ascii => "↓".to_owned(),
        Code::Left if !ascii => "←".to_owned(),
        Code::Right if !ascii => "→".to_owned(),
        Code::Enter if !ascii => "⏎".to_owned(),
        Code::Escape => "Esc".to_owned(),
        Code::PageUp => "PgUp".to_owned(),
        Code::PageDown => "PgDn".to_owned(),
        Code::BackTab => "S-Tab".to_owned(),
        Code::Char(' ') => "space".to_owned(),
        Code::Char(c) if key.ctrl => c.to_uppercase().to_string(),
        Code::Char(c) => c.to_string(),
        Code::Function(number) => format!("F{number}"),
        code => format!("{code:?}"),
    };
    let ctrl = if key.ctrl { "^" } else { "" };
    let alt = if key.alt { "alt-" } else { "" };
    format!("{alt}{ctrl}{code}")
}

fn pointed(mouse: &MouseEvent) -> Option<Action> {
    let at = (mouse.column, mouse.row);
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => Some(Action::Click(at.0, at.1)),
        MouseEventKind::ScrollDown => Some(Action::Wheel(at.0, at.1, 3)),
        MouseEventKind::ScrollUp => Some(Action::Wheel(at.0, at.1, -3)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::COMMANDS;
    use crossterm::event::KeyEventKind;

    fn press(keys: &Keys, code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
        keys.action(
            &Event::Key(KeyEvent::new(code, modifiers)),
            KeyboardFocus::Table,
        )
    }

    #[test]
    fn q_and_control_c_quit_and_control_with_q_does_not() {
        let keys = Keys::new(&[]);
        for (code, modifiers) in [
            (KeyCode::Char('q'), KeyModifiers::NONE),
            (KeyCode::Char('c'), KeyModifiers::CONTROL),
        ] {
            let action = press(&keys, code, modifiers);
            match code {
                KeyCode::Char('q') => {
                    assert!(matches!(action, Some(Action::Command(Command::Quit))))
                }
                _ => assert!(matches!(action, Some(Action::Stop))),
            }
        }
        assert!(press(&keys, KeyCode::Char('q'), KeyModifiers::CONTROL).is_none());
    }

    #[test]
    fn every_command_has_a_key_whose_label_is_ascii_where_wanted() {
        let keys = Keys::new(&[]);
        assert_eq!(keys.bound.len(), COMMANDS.len());
        for (binding, bound) in &keys.bound {
            assert!(!bound.is_empty(), "{}", binding.name);
            assert!(keys.label(binding.command, 9, true).is_ascii());
        }
    }

    #[test]
    fn a_part_of_the_screen_has_its_own_keys_first() {
        let keys = Keys::new(&[]);
        let meant = |c, focus| {
            let event = Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
            match keys.action(&event, focus) {
                Some(Action::Command(command)) => Some(command),
                _ => None,
            }
        };
        assert_eq!(meant(']', KeyboardFocus::Replay), Some(Command::SpeedUp));
        assert_eq!(
            meant(']', KeyboardFocus::ColumnList),
            Some(Command::MoveRight)
        );
        assert_eq!(meant('g', KeyboardFocus::Replay), Some(Command::Group));
        assert_eq!(meant(']', KeyboardFocus::Table), Some(Command::LongerChart));
        for focus in [KeyboardFocus::Table, KeyboardFocus::Replay] {
            assert_eq!(meant('.', focus), Some(Command::StepForward));
        }
    }

    #[test]
    fn keys_can_be_given_otherwise_and_control_c_always_leaves() {
        let given = [Binding {
            command: "quit",
            keys: vec!["g".parse().unwrap()],
        }];
        let keys = Keys::new(&given);
        let plain = KeyModifiers::NONE;
        let is_quit = |action| matches!(action, Some(Action::Command(Command::Quit)));
        assert!(is_quit(press(&keys, KeyCode::Char('g'), plain)));
        let control_c = press(&keys, KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(matches!(control_c, Some(Action::Stop)));
        assert!(press(&keys, KeyCode::Char('q'), plain).is_none());
        assert_eq!(keys.label(Command::Group, 3, false), "");
        assert_eq!(keys.label(Command::Quit, 3, false), "g ^C");
    }

    #[test]
    fn letting_go_of_a_key_is_not_pressing_it() {
        let mut key = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        key.kind = KeyEventKind::Release;
        let action = Keys::new(&[]).action(&Event::Key(key), KeyboardFocus::Table);
        assert!(action.is_none());
    }

    #[test]
    fn while_typing_letters_are_text_and_control_c_still_leaves() {
        let keys = Keys::new(&[]);
        let typed = |code, modifiers| {
            let event = Event::Key(KeyEvent::new(code, modifiers));
            keys.action(&event, KeyboardFocus::Prompt)
        };
        let q = typed(KeyCode::Char('q'), KeyModifiers::NONE);
        assert!(matches!(q, Some(Action::Type(Edit::Insert('q')))));
        let control_c = typed(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(matches!(control_c, Some(Action::Stop)));
        let escape = typed(KeyCode::Esc, KeyModifiers::NONE);
        assert!(matches!(escape, Some(Action::Type(Edit::Cancel))));
    }

    #[test]
    fn every_key_of_a_prompt_is_a_key_and_has_one_meaning() {
        let keys = Keys::new(&[]);
        let listed: usize = EDITING.iter().map(|(_, keys, _)| keys.len()).sum();
        assert_eq!(keys.editing.len(), listed);
        for (n, (_, key)) in keys.editing.iter().enumerate() {
            let is_other = |(_, other): &(Edit, Key)| other != key;
            assert!(keys.editing[..n].iter().all(is_other), "{key}");
        }
        for (keys, about) in editing_help(true) {
            assert!(keys.is_ascii() && !keys.is_empty() && about.len() <= 26);
        }
    }

    #[test]
    fn shift_that_is_said_in_addition_changes_nothing() {
        let keys = Keys::new(&[]);
        let action = press(&keys, KeyCode::Char('S'), KeyModifiers::SHIFT);
        assert!(matches!(action, Some(Action::Command(Command::Reverse))));
    }
}
