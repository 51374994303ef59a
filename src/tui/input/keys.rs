//! Translates terminal events into actions. The only module that knows keys: help and footer are written
//! from the table that keys are looked up in.

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use crate::options::{Binding, Chapter, DefaultBinding, Key, KeyCode as Code, effective};
use crate::tui::action::{Action, Command, Edit};

/// The mouse, for the help screen: it has no table, see [`Keys::action`].
pub const MOUSE: &[(&str, &str)] = &[
    ("wheel", "move through rows"),
    ("click", "select a row; again: open it"),
    ("heading", "sort by it; again: reverse"),
    ("shift-drag", "select text for copying"),
];

/// What the mouse does in addition without a recording.
pub const MOUSE_LIVE: &[(&str, &str)] = &[("the chart", "show the table of that time")];

/// What the mouse does in addition with a recording.
pub const MOUSE_REPLAY: &[(&str, &str)] = &[("the bar", "jump to that time")];

/// The part of the screen that has the keyboard: its own keys come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyboardFocus {
    Table,
    /// The tables of a recording.
    Replay,
    ColumnList,
    /// Letters are text.
    Prompt,
}

impl KeyboardFocus {
    /// The chapters of keys, the first one first.
    const fn chapters(self) -> &'static [Chapter] {
        match self {
            Self::Table | Self::ColumnList | Self::Prompt => &[],
            Self::Replay => &[Chapter::Replay],
        }
    }
}

/// Which keys do what.
#[derive(Clone, Debug)]
pub struct Keys {
    bound: Vec<(&'static DefaultBinding, Vec<Key>)>,
}

impl Keys {
    /// The default keys, overridden by those that are given.
    pub fn new(given: &[Binding]) -> Self {
        Self {
            bound: effective(given),
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
                match focus {
                    KeyboardFocus::Prompt => typed(key),
                    _ => self.command(key, focus).map(Action::Do),
                }
            }
        }
    }

    /// Returns the command of a key: of the part of the screen that has the keyboard, else of the table.
    fn command(&self, key: KeyEvent, focus: KeyboardFocus) -> Option<Command> {
        let key = as_key(key)?;
        let own = focus.chapters();
        let bound = || self.bound.iter().filter(|(_, keys)| keys.contains(&key));
        let of_part = bound().find(|(binding, _)| own.contains(&binding.chapter));
        let found =
            of_part.or_else(|| bound().find(|(binding, _)| binding.chapter.is_everywhere()));
        found.map(|(binding, _)| binding.command)
    }

    /// Whether Control-Z stops the job, as it does unless the configuration says otherwise.
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
    // A shifted character comes as itself; some terminals say shift in addition.
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

fn typed(key: KeyEvent) -> Option<Action> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let edit = match key.code {
        KeyCode::Char('z') if control => return Some(Action::Do(Command::Suspend)),
        KeyCode::Char('u') if control => Edit::Clear,
        KeyCode::Char('w') if control => Edit::DeleteWord,
        KeyCode::Char('h') if control => Edit::Delete,
        KeyCode::Backspace => Edit::Delete,
        KeyCode::Char(c) if !control && !c.is_control() => Edit::Insert(c),
        KeyCode::Enter => Edit::Accept,
        KeyCode::Esc => Edit::Cancel,
        KeyCode::Up => return Some(Action::Do(Command::Up)),
        KeyCode::Down => return Some(Action::Do(Command::Down)),
        _ => return None,
    };
    Some(Action::Type(edit))
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
                KeyCode::Char('q') => assert!(matches!(action, Some(Action::Do(Command::Quit)))),
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
                Some(Action::Do(command)) => Some(command),
                _ => None,
            }
        };
        assert_eq!(meant(']', KeyboardFocus::Replay), Some(Command::SpeedUp));
        assert_eq!(meant('g', KeyboardFocus::Replay), Some(Command::NextGroup));
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
        let is_quit = |action| matches!(action, Some(Action::Do(Command::Quit)));
        assert!(is_quit(press(&keys, KeyCode::Char('g'), plain)));
        let control_c = press(&keys, KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(matches!(control_c, Some(Action::Stop)));
        assert!(press(&keys, KeyCode::Char('q'), plain).is_none());
        assert_eq!(keys.label(Command::NextGroup, 3, false), "");
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
    fn shift_that_is_said_in_addition_changes_nothing() {
        let keys = Keys::new(&[]);
        let action = press(&keys, KeyCode::Char('S'), KeyModifiers::SHIFT);
        assert!(matches!(action, Some(Action::Do(Command::Reverse))));
    }
}
