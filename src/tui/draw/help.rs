//! Draws the help screen: the state with what was lost and why, then the table of keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::heading_line;
use crate::options::{COMMANDS, Chapter};
use crate::text::losses;
use crate::text::sanitize::sanitize;
use crate::text::units;
use crate::text::wrap::wrap_all;
use crate::tui::action::Command;
use crate::tui::app::{Mode, scrolled};
use crate::tui::draw::line::{line, put, within};
use crate::tui::input::keys::{MOUSE, MOUSE_LIVE, MOUSE_REPLAY};
use crate::tui::state::player_bar::PlayerBar;
use crate::tui::state::shared::SharedState;

/// Width of the column of keys.
const KEYS: u16 = 9;
/// Width from which on chapters stand side by side.
const TWO_COLUMNS: u16 = 100;

/// One line of help.
enum HelpLine {
    Title(&'static str),
    Key(String, String),
    Text(String, Style),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Help {
    /// The first line shown.
    top: usize,
}

impl Help {
    /// Handles a command: one that does not scroll closes the help screen.
    pub fn act(&mut self, command: Command) -> Option<Mode> {
        match scrolled(self.top, command) {
            Some(top) => {
                self.top = top;
                None
            }
            None => Some(Mode::Table),
        }
    }

    pub fn wheel(&mut self, rows: i32) {
        self.top = self.top.saturating_add_signed(rows as isize);
    }

    pub fn draw(&self, shared: &SharedState, player: &PlayerBar, area: Rect, buf: &mut Buffer) {
        HelpPage { shared, player }.draw(self.top, area, buf);
    }
}

/// The state that the help screen is written from.
struct HelpPage<'a> {
    shared: &'a SharedState,
    player: &'a PlayerBar,
}

impl HelpPage<'_> {
    fn draw(&self, top: usize, area: Rect, buf: &mut Buffer) {
        heading_line("Help", line(area, 0), &self.shared.display.theme, buf);
        let body = Rect {
            y: area.y + 1.min(area.height),
            height: area.height.saturating_sub(1),
            ..area
        };
        let (mut above, chapters) = self.lines(body.width);
        let mut blocks: Vec<Vec<HelpLine>> = Vec::new();
        if body.width >= TWO_COLUMNS {
            let half = chapters.len().div_ceil(2);
            let mut left = Vec::new();
            let mut right = Vec::new();
            for (n, chapter) in chapters.into_iter().enumerate() {
                if n < half { &mut left } else { &mut right }.extend(chapter);
            }
            blocks.extend([left, right]);
        } else {
            blocks.push(chapters.into_iter().flatten().collect());
        }
        let most = blocks.iter().map(Vec::len).max().unwrap_or(0) + above.len();
        let top = top.min(most.saturating_sub(usize::from(body.height)));
        let first = u16::try_from(above.len()).unwrap_or(u16::MAX);
        above.drain(..top.min(above.len()));
        let shift = first.saturating_sub(u16::try_from(top).unwrap_or(u16::MAX));
        for (text, y) in above.iter().zip(0..) {
            self.help_line(text, line(body, y), buf);
        }
        let wide = body.width / u16::try_from(blocks.len()).unwrap_or(1);
        let skipped = top.saturating_sub(usize::from(first));
        for (block, n) in blocks.iter().zip(0..) {
            for (text, y) in block.iter().skip(skipped).zip(shift..) {
                self.help_line(text, within(line(body, y), n * wide, wide), buf);
            }
        }
    }

    /// Returns the lines about the state, and the chapters of keys.
    fn lines(&self, width: u16) -> (Vec<HelpLine>, Vec<Vec<HelpLine>>) {
        let room = usize::from(width).saturating_sub(4);
        let mut above = Vec::new();
        for (text, style) in self.state() {
            for text in wrap_all(&text, room) {
                above.push(HelpLine::Text(text, style));
            }
        }
        (above, self.chapters())
    }

    /// Returns how exact the numbers are, what was lost, the backend and its confinement.
    fn state(&self) -> Vec<(String, Style)> {
        let shared = self.shared;
        let (theme, method) = (&shared.display.theme, &shared.method);
        let (losses, total) = (shared.history.losses(), shared.history.losses_total());
        let mut state = Vec::new();
        let trouble = |text: String| (format!("! {text}"), theme.bold());
        if losses::is_degraded(&losses) {
            state.extend(losses::losses(&losses).into_iter().map(trouble));
        } else if total.is_none() {
            let but = if method.unseen.is_empty() {
                ""
            } else {
                ", but for the limits of this kernel below"
            };
            let text = format!("exact: every byte of every socket is in these numbers{but}.");
            state.push((text, Style::new()));
        } else {
            let text = "exact in this interval, but not since the start:";
            state.push((text.to_owned(), Style::new()));
            state.extend(losses::losses(&total).into_iter().map(trouble));
        }
        for text in losses::unseen(method).chain(losses::unknown(method)) {
            state.push((format!("limit: {text}"), theme.dim()));
        }
        if let Some(recording) = &shared.recording {
            let (file, bytes) = (&recording.file, units::bytes(recording.bytes));
            let text = match &recording.trouble {
                Some(trouble) => {
                    format!("! recording to {file}: {trouble}; intervals wait in memory")
                }
                None => format!("recording to {file}: {bytes}"),
            };
            state.push((sanitize(&text).into_owned(), theme.bold()));
            if recording.lost.intervals > 0 {
                state.push(trouble(format!(
                    "{} lost: no memory left to wait in",
                    recording.lost
                )));
            }
        }
        for corruption in self.player.corruptions() {
            let text = format!("! {corruption}");
            state.push((sanitize(&text).into_owned(), theme.bold()));
        }
        let reason = format!("{} backend: {}", method.backend, method.reason);
        state.push((sanitize(&reason).into_owned(), theme.dim()));
        if let Some(confinement) = &shared.confinement {
            state.push((confinement.to_string(), theme.dim()));
        }
        state
    }

    /// Returns one chapter a topic: keys, then the mouse.
    fn chapters(&self) -> Vec<Vec<HelpLine>> {
        let (keys, ascii) = (&self.shared.keys, self.shared.display.theme.glyphs.ascii);
        let is_replay = self.player.is_shown();
        let mut chapters: Vec<Vec<HelpLine>> = Vec::new();
        for chapter in Chapter::ALL {
            if chapter == Chapter::Replay && !is_replay {
                continue;
            }
            // A recording has the intervals that it has.
            let has_use =
                |command| !is_replay || !matches!(command, Command::Slower | Command::Faster);
            let bindings = COMMANDS
                .iter()
                .filter(|binding| binding.chapter == chapter && has_use(binding.command));
            let mut lines = vec![HelpLine::Title(chapter.title())];
            lines.extend(bindings.map(|binding| {
                let keys = keys.label(binding.command, 2, ascii);
                HelpLine::Key(keys, binding.about.to_owned())
            }));
            chapters.push(lines);
        }
        let more = if is_replay { MOUSE_REPLAY } else { MOUSE_LIVE };
        let mouse = MOUSE
            .iter()
            .chain(more)
            .map(|(what, about)| HelpLine::Key((*what).to_owned(), (*about).to_owned()));
        chapters.push(
            std::iter::once(HelpLine::Title("Mouse"))
                .chain(mouse)
                .collect(),
        );
        chapters
    }

    fn help_line(&self, text: &HelpLine, at: Rect, buf: &mut Buffer) {
        let theme = &self.shared.display.theme;
        match text {
            HelpLine::Title(title) => {
                put(buf, at, 1, title, theme.dim());
            }
            HelpLine::Key(keys, about) => {
                let x = put(buf, at, 3, keys, theme.bold());
                let x = x.max(3 + KEYS) + 1;
                put(buf, at, x, about, Style::new());
            }
            HelpLine::Text(text, style) => {
                put(buf, at, 1, text, *style);
            }
        }
    }
}
