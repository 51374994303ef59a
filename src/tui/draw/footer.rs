//! The last line: the keys that can act now, from the table that acts on them; or what is typed.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use crate::recording::player::PlayerState;
use crate::text::units;
use crate::tui::action::Command;
use crate::tui::app::{App, Mode};
use crate::tui::draw::line::{line, put, width};
use crate::view::Group;

impl App {
    pub(super) fn footer(&self, area: Rect, buf: &mut Buffer) {
        let at = line(area, 0);
        let theme = &self.display.theme;
        let mut x = 1;
        if self.is_typing() {
            x = put(buf, at, x, "/", theme.bold());
            x = put(buf, at, x, &units::sanitize(&self.filter), theme.bold());
            let cursor = Style::new().add_modifier(Modifier::REVERSED);
            x = put(buf, at, x, " ", cursor) + 2;
            let hint = self.query.hint();
            if !hint.is_empty() {
                x = put(buf, at, x, &hint, theme.dim()) + 2;
            }
            for (key, what) in [
                (theme.glyphs.enter, "keep"),
                ("Esc", "drop"),
                ("^U", "clear"),
            ] {
                x = self.hint(buf, at, x, key, what);
            }
            return;
        }
        for (command, what) in self.hints() {
            // The first of its keys: the others are in help.
            let key = self.keys.label(command, 1, theme.glyphs.ascii);
            if !key.is_empty() {
                x = self.hint(buf, at, x, &key, what);
            }
        }
    }

    /// One key with what it does, if both find room.
    fn hint(&self, buf: &mut Buffer, at: Rect, x: u16, key: &str, what: &str) -> u16 {
        let theme = &self.display.theme;
        if x + width(key) + 1 + width(what) > at.width {
            return at.width;
        }
        let x = put(buf, at, x, key, theme.bold()) + 1;
        put(buf, at, x, what, theme.dim()) + 2
    }

    /// What the keys do that matter most now, those first that must not be missed.
    fn hints(&self) -> Vec<(Command, &'static str)> {
        let mut hints = vec![(Command::Quit, "quit")];
        match self.mode {
            Mode::Detail(..) => hints.extend([
                (Command::Back, "back"),
                (Command::Pause, self.pause_word()),
                (Command::Units, "units"),
                (Command::Names, "names"),
                (Command::Help, "help"),
            ]),
            Mode::Help(_) => hints.extend([(Command::Back, "back"), (Command::Down, "more")]),
            Mode::Chooser(_) => hints.extend([
                (Command::Back, "back"),
                (Command::Up, "up"),
                (Command::Down, "down"),
                (Command::Enter, "show or hide"),
            ]),
            Mode::Table | Mode::Typing(_) => {
                hints.push((Command::Help, "help"));
                if self.position.is_some() {
                    hints.extend([
                        (Command::Pause, self.pause_word()),
                        (Command::StepForward, "step"),
                        (Command::SeekForward, "on"),
                        (Command::SeekBack, "back"),
                        (Command::SpeedUp, "faster"),
                        (Command::SpeedDown, "slower"),
                    ]);
                }
                let inside = !self.path.is_empty() || self.group != Group::Flow;
                if inside || !self.filter.is_empty() {
                    hints.push((Command::Back, "back"));
                }
                hints.extend([
                    (Command::Filter, "filter"),
                    (Command::NextGroup, "group"),
                    (Command::NextSort, "sort"),
                ]);
                if self.position.is_none() {
                    hints.push((Command::Pause, self.pause_word()));
                }
                hints.extend([(
                    Command::Enter,
                    if self.group == Group::Flow {
                        "detail"
                    } else {
                        "open"
                    },
                )]);
                if self.tables.len() > 1 {
                    hints.push((Command::NextSection, "next"));
                }
                hints.extend([
                    (
                        Command::Freeze,
                        if self.held { "let go" } else { "hold order" },
                    ),
                    (
                        Command::Totals,
                        if self.display.totals {
                            "rates"
                        } else {
                            "totals"
                        },
                    ),
                    (Command::Units, "units"),
                    (Command::Names, "names"),
                    (Command::Columns, "columns"),
                    (
                        Command::Combine,
                        if self.display.combined {
                            "apart"
                        } else {
                            "combine"
                        },
                    ),
                ]);
            }
        }
        hints
    }

    fn pause_word(&self) -> &'static str {
        match &self.position {
            Some(position) if position.state == PlayerState::AtEnd => "again",
            Some(position) if position.state == PlayerState::Paused => "play",
            None if self.is_paused() => "go on",
            _ => "pause",
        }
    }
}
