//! The last line: the keys that have an effect now, ordered by use. Drawing and clicks use one
//! layout.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use crate::recording::player::PlayerState;
use crate::stats::moments::MAX_MOMENT_FLOWS;
use crate::tui::action::{Command, Edit};
use crate::tui::app::{App, Mode};
use crate::tui::draw::layout::ScreenLayout;
use crate::tui::draw::line::{line, put, width};
use crate::tui::draw::theme::Theme;
use crate::tui::state::travel::Travel;
use crate::view::{Group, Preset};

/// The action of a click on a label: that of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelAction {
    Command(Command),
    Type(Edit),
}

/// A key with its action, and its position in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLabel {
    pub x: u16,
    pub key: String,
    pub what: &'static str,
    pub action: LabelAction,
}

impl KeyLabel {
    fn new(key: impl Into<String>, what: &'static str, action: LabelAction) -> Self {
        Self {
            x: 0,
            key: key.into(),
            what,
            action,
        }
    }

    pub fn width(&self) -> u16 {
        width(&self.key) + 1 + width(self.what)
    }

    pub fn draw(&self, at: Rect, theme: &Theme, buf: &mut Buffer) {
        let x = put(buf, at, self.x, &self.key, theme.bold()) + 1;
        put(buf, at, x, self.what, theme.dim());
    }

    /// Whether the label covers a column of its line.
    pub fn contains(&self, x: u16) -> bool {
        (self.x..self.x + self.width()).contains(&x)
    }
}

/// Places labels in a line from a column on. Labels at the right are left out whole if they do not
/// fit, except the last, which leads to all other keys.
fn placed(mut labels: Vec<KeyLabel>, from: u16, room: u16) -> Vec<KeyLabel> {
    let Some(mut last) = labels.pop() else {
        return labels;
    };
    let mut x = from;
    let mut there = Vec::new();
    for mut label in labels {
        if x + label.width() + 2 + last.width() > room {
            break;
        }
        label.x = x;
        x += label.width() + 2;
        there.push(label);
    }
    last.x = x;
    if x + last.width() <= room {
        there.push(last);
    }
    there
}

impl App {
    pub(super) fn footer(&self, area: Rect, buf: &mut Buffer) {
        let (at, theme) = (line(area, 0), &self.shared.display.theme);
        if self.is_typing() {
            return;
        }
        if let Some(message) = self.shared.message() {
            let style = match message.is_trouble {
                true => theme.alarm(),
                false => theme.bold(),
            };
            put(buf, at, 1, &message.text, style);
            return;
        }
        if let Some(travel) = &self.shared.travel {
            put(buf, at, 1, &self.past(travel), theme.bold());
        }
        for label in self.footer_labels(at.width) {
            label.draw(at, theme, buf);
        }
    }

    /// Returns the action of a click on a key's label at this position.
    pub(in crate::tui) fn label_at(&self, at: Position) -> Option<LabelAction> {
        let area = self.shared.area;
        let footer = ScreenLayout::new(area).footer;
        let (line, labels) = if self.is_typing() {
            self.prompt_labels(area)
        } else {
            (line(footer, 0), self.footer_labels(footer.width))
        };
        let mut labels = labels.into_iter().filter(|_| line.contains(at));
        let found = labels.find(|label| label.contains(at.x - line.x));
        found.map(|label| label.action)
    }

    /// Returns the labels of the last line, placed.
    pub(in crate::tui) fn footer_labels(&self, room: u16) -> Vec<KeyLabel> {
        let ascii = self.shared.display.theme.glyphs.ascii;
        let labels = self.hints().into_iter().filter_map(|(command, what)| {
            // Only the first of its keys: help has the others.
            let key = self.shared.keys.label(command, 1, ascii);
            (!key.is_empty()).then(|| KeyLabel::new(key, what, LabelAction::Command(command)))
        });
        let past = self.shared.travel.as_ref().map(|travel| self.past(travel));
        let from = past.map_or(1, |past| 1 + width(&past) + 2);
        placed(labels.collect(), from, room)
    }

    /// Returns the line above the prompt, and the key labels at its right end.
    pub(in crate::tui) fn prompt_labels(&self, area: Rect) -> (Rect, Vec<KeyLabel>) {
        let at = line(self.panes.layout(area).footer, 0);
        if self.prompt.completion.is_some() || self.prompt.hint.is_error {
            return (at, Vec::new());
        }
        let enter = self.shared.display.theme.glyphs.enter;
        let mut labels = vec![
            KeyLabel::new(enter, "apply", LabelAction::Type(Edit::Accept)),
            KeyLabel::new("Esc", "cancel", LabelAction::Type(Edit::Cancel)),
            KeyLabel::new("Tab", "complete", LabelAction::Type(Edit::Complete)),
        ];
        let all: u16 = labels.iter().map(|label| label.width() + 2).sum();
        // The hint about the text has priority over the labels.
        if all > at.width / 2 {
            return (at, Vec::new());
        }
        let mut x = at.width - all + 1;
        for label in &mut labels {
            label.x = x;
            x += label.width() + 2;
        }
        (at, labels)
    }

    /// Returns the time of the shown moment, and the limits of the history that is kept.
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

    /// Returns the commands of the current part of the screen with their labels, most used first;
    /// the last one stays in the narrowest line.
    fn hints(&self) -> Vec<(Command, &'static str)> {
        match &self.mode {
            Mode::Table | Mode::Typing(_) => self.table_hints(),
            Mode::Detail(detail) => {
                let flows = (Command::Enter, "its flows");
                let others = [
                    (Command::StepBack, "earlier"),
                    (Command::StepForward, "later"),
                    (Command::Pause, self.pause_word()),
                    (Command::Names, self.shared.names_word()),
                    (Command::Units, "units"),
                    (Command::Help, "help"),
                    (Command::Quit, "close"),
                ];
                let flows = detail.has_flows().then_some(flows);
                flows.into_iter().chain(others).collect()
            }
            Mode::Help(help) => {
                let mut hints = Vec::new();
                if help.has_more(&self.shared, &self.player) {
                    hints.push((Command::Down, "more"));
                }
                hints.push((Command::Quit, "close"));
                hints
            }
            Mode::Chooser(_) => vec![
                (Command::Up, "up"),
                (Command::Down, "down"),
                (Command::Enter, "show or hide"),
                (Command::MoveLeft, "move left"),
                (Command::MoveRight, "move right"),
                (Command::Quit, "close"),
            ],
            Mode::List(_) => vec![
                (Command::Up, "up"),
                (Command::Down, "down"),
                (Command::Enter, "choose"),
                (Command::Quit, "close"),
            ],
        }
    }

    fn table_hints(&self) -> Vec<(Command, &'static str)> {
        let (panes, display) = (&self.panes, &self.shared.display);
        let mut hints = Vec::new();
        let mut add = |is_of_use: bool, command, what| {
            if is_of_use {
                hints.push((command, what));
            }
        };
        let either = |is: bool, one: &'static str, other| if is { one } else { other };
        let is_replay = self.player.is_shown();
        add(is_replay, Command::Pause, self.pause_word());
        add(is_replay, Command::StepForward, "step");
        add(is_replay, Command::SeekForward, "on");
        add(is_replay, Command::SeekBack, "back");
        let is_found = !panes.find.is_empty();
        let is_inside = !panes.path.is_empty() || panes.group != panes.home(&self.shared);
        let is_past = self.shared.travel.is_some();
        add(is_past, Command::StepBack, "earlier");
        add(is_past, Command::StepForward, "later");
        add(is_past, Command::Back, "now");
        let can_go_back = is_inside || is_found || !panes.filter.is_empty();
        add(can_go_back && !is_past, Command::Back, "back");
        add(true, Command::Find, "find");
        add(is_found, Command::NextMatch, "next");
        add(is_found, Command::PreviousMatch, "previous");
        add(true, Command::Filter, "filter");
        add(true, Command::Group, "by");
        add(
            true,
            Command::Combine,
            either(display.combined, "split", "join"),
        );
        let is_programs = panes.group == Group::Program;
        add(!is_programs, Command::View(Preset::Programs), "programs");
        add(true, Command::Sort, "sort");
        add(true, Command::Enter, "open");
        add(panes.group != Group::Flow, Command::Expand, "expand");
        add(!is_replay, Command::Pause, self.pause_word());
        add(is_replay, Command::SpeedUp, "faster");
        add(is_replay, Command::SpeedDown, "slower");
        add(true, Command::Names, self.shared.names_word());
        add(true, Command::Only, "only");
        add(true, Command::Exclude, "not");
        add(true, Command::Pin, "pin");
        add(panes.tables.len() > 1, Command::NextSection, "other table");
        add(
            true,
            Command::Totals,
            either(display.totals, "rates", "totals"),
        );
        add(true, Command::Columns, "columns");
        add(true, Command::Units, "units");
        add(
            true,
            Command::Freeze,
            either(panes.is_frozen, "unfreeze", "freeze"),
        );
        add(
            true,
            Command::Follow,
            either(panes.is_following, "unfollow", "follow"),
        );
        add(true, Command::Reverse, "reverse");
        add(!is_replay, Command::Slower, "longer");
        add(!is_replay, Command::Faster, "shorter");
        add(true, Command::Quit, "quit");
        add(true, Command::Help, "help");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_leave_whole_from_the_right_and_the_last_one_stays() {
        let labels = || {
            [("/", "find"), ("s", "sort"), ("?", "help")]
                .map(|(key, what)| KeyLabel::new(key, what, LabelAction::Command(Command::Find)))
                .to_vec()
        };
        let shown = |room| {
            let placed = placed(labels(), 1, room);
            let ends = placed.last().map_or(0, |label| label.x + label.width());
            assert!(ends <= room, "{room}");
            placed
                .iter()
                .map(|label| label.what)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(shown(23), "find sort help");
        assert_eq!(shown(22), "find help");
        assert_eq!(shown(15), "find help");
        assert_eq!(shown(14), "help");
        assert_eq!(shown(6), "");
    }
}
