//! Draws the last line: the keys that have an effect now, or the prompt while a filter is typed.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::recording::player::PlayerState;
use crate::stats::moments::MAX_MOMENT_FLOWS;
use crate::tui::action::Command;
use crate::tui::app::{App, Mode};
use crate::tui::draw::line::{line, put, width};
use crate::tui::draw::theme::Theme;
use crate::tui::state::travel::Travel;
use crate::view::Group;

impl App {
    pub(super) fn footer(&self, area: Rect, buf: &mut Buffer) {
        let at = line(area, 0);
        let theme = &self.shared.display.theme;
        if self.is_typing() {
            self.panes.search.draw(at, theme, buf);
            return;
        }
        let mut x = 1;
        if let Some(travel) = &self.shared.travel {
            x = put(buf, at, x, &self.past(travel), theme.bold()) + 2;
        }
        for (command, what) in self.hints() {
            // The first of its keys: the others are in help.
            let key = self.shared.keys.label(command, 1, theme.glyphs.ascii);
            if !key.is_empty() {
                x = key_hint(buf, at, x, &key, what, theme);
            }
        }
    }

    /// Returns the time of the shown moment, and what of the past is not kept.
    fn past(&self, travel: &Travel) -> String {
        let time = |time| {
            Timestamp::try_from(time)
                .map(|time| time.strftime("%H:%M:%S").to_string())
                .unwrap_or_default()
        };
        let mut text = time(self.shared.history.ended());
        if let Some(since) = travel.since {
            text.push_str(&format!(", totals and averages since {}", time(since)));
        }
        if travel.summed_flows > 0 {
            text.push_str(&format!(", the largest {MAX_MOMENT_FLOWS} flows"));
        }
        text
    }

    /// Returns the commands of the current part of the screen with their labels, most important first.
    fn hints(&self) -> Vec<(Command, &'static str)> {
        let is_table = matches!(self.mode, Mode::Table | Mode::Typing);
        let mut hints = vec![(Command::Quit, if is_table { "quit" } else { "close" })];
        if self.shared.travel.is_some() {
            let now = if is_table { "now" } else { "close" };
            hints = vec![
                (Command::StepBack, "earlier"),
                (Command::StepForward, "later"),
                (Command::Back, now),
            ];
        }
        match self.mode {
            Mode::Detail(_) => hints.extend([
                (Command::Pause, self.pause_word()),
                (Command::Units, "units"),
                (Command::Names, "names"),
                (Command::Help, "help"),
            ]),
            Mode::Help(_) => hints.push((Command::Down, "more")),
            Mode::Chooser(_) => hints.extend([
                (Command::Up, "up"),
                (Command::Down, "down"),
                (Command::Enter, "show or hide"),
            ]),
            Mode::Table | Mode::Typing => {
                hints.push((Command::Help, "help"));
                if self.player.is_shown() {
                    hints.extend([
                        (Command::Pause, self.pause_word()),
                        (Command::StepForward, "step"),
                        (Command::SeekForward, "on"),
                        (Command::SeekBack, "back"),
                        (Command::SpeedUp, "faster"),
                        (Command::SpeedDown, "slower"),
                    ]);
                }
                let inside = !self.panes.path.is_empty() || self.panes.group != Group::Flow;
                if self.shared.travel.is_none() && (inside || !self.panes.search.is_empty()) {
                    hints.push((Command::Back, "back"));
                }
                hints.extend([
                    (Command::Filter, "filter"),
                    (Command::NextGroup, "group"),
                    (Command::NextSort, "sort"),
                ]);
                if !self.player.is_shown() {
                    hints.push((Command::Pause, self.pause_word()));
                }
                hints.extend([(
                    Command::Enter,
                    if self.panes.group == Group::Flow {
                        "detail"
                    } else {
                        "open"
                    },
                )]);
                if self.panes.tables.len() > 1 {
                    hints.push((Command::NextSection, "next"));
                }
                hints.extend([
                    (
                        Command::Freeze,
                        if self.panes.is_frozen {
                            "unfreeze"
                        } else {
                            "freeze"
                        },
                    ),
                    (
                        Command::Totals,
                        if self.shared.display.totals {
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
                        if self.shared.display.combined {
                            "split"
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
        match &self.player.position {
            Some(position) if position.state == PlayerState::AtEnd => "replay",
            Some(position) if position.state == PlayerState::Paused => "play",
            None if self.is_paused() => "resume",
            _ => "pause",
        }
    }
}

/// Draws one key with what it does, if both find room; returns the column after them.
pub fn key_hint(buf: &mut Buffer, at: Rect, x: u16, key: &str, what: &str, theme: &Theme) -> u16 {
    if x + width(key) + 1 + width(what) > at.width {
        return at.width;
    }
    let x = put(buf, at, x, key, theme.bold()) + 1;
    put(buf, at, x, what, theme.dim()) + 2
}
