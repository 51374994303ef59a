//! The help screen, written from the table of keys; what trouble means and what to do about it; and
//! the chooser of columns.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use crate::text::losses;
use crate::text::sanitize::columns;
use crate::tui::action::Command;
use crate::tui::app::App;
use crate::tui::draw::line::{fill, line, put, within, wrap};
use crate::tui::input::keys::{CHAPTERS, MOUSE, MOUSE_REPLAY, REPLAY};
use crate::tui::state::chooser::choices;

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

impl App {
    pub(super) fn help(&self, top: usize, area: Rect, buf: &mut Buffer) {
        self.heading_line("Help", line(area, 0), buf);
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

    /// What is to be said first, and the chapters of keys.
    fn lines(&self, width: u16) -> (Vec<HelpLine>, Vec<Vec<HelpLine>>) {
        let theme = &self.display.theme;
        let mut above = Vec::new();
        let room = usize::from(width).saturating_sub(4);
        let losses = self.history.losses();
        let total = self.history.losses_total();
        let mut say = |text: &str, style: Style| {
            for text in wrap(text, room) {
                above.push(HelpLine::Text(text, style));
            }
        };
        if losses::is_alarm(&losses) {
            for text in losses::losses(&losses) {
                say(&format!("! {text}"), theme.bold());
            }
        } else if total.is_none() {
            let but = match self.method.unseen.is_empty() {
                true => "",
                false => ", but for the limits of this kernel below",
            };
            say(
                &format!("exact: every byte of every socket is in these numbers{but}."),
                Style::new(),
            );
        } else {
            say("exact now, but not since the beginning:", Style::new());
            for text in losses::losses(&total) {
                say(&format!("! {text}"), theme.bold());
            }
        }
        for text in losses::unseen(&self.method).chain(losses::unknown(&self.method)) {
            say(&format!("limit: {text}"), theme.dim());
        }
        if let Some(recording) = &self.recording {
            let (file, bytes) = (&recording.file, crate::text::units::bytes(recording.bytes));
            let text = match (&recording.trouble, recording.lost.intervals) {
                (Some(trouble), _) => {
                    format!("! record {file}: {trouble}; what is counted waits for room")
                }
                (None, _) => format!("recording to {file}: {bytes}"),
            };
            say(&crate::text::sanitize::sanitize(&text), theme.bold());
            if recording.lost.intervals > 0 {
                say(
                    &format!("! {} found no room to wait", recording.lost),
                    theme.bold(),
                );
            }
        }
        for corruption in self
            .position
            .iter()
            .flat_map(|position| &position.corruptions)
        {
            let text = format!("! {corruption}");
            say(&crate::text::sanitize::sanitize(&text), theme.bold());
        }
        let reason = format!("{} backend: {}", self.method.backend, self.method.reason);
        say(&crate::text::sanitize::sanitize(&reason), theme.dim());
        if let Some(confinement) = &self.confinement {
            say(&confinement.to_string(), theme.dim());
        }
        let mut chapters: Vec<Vec<HelpLine>> = CHAPTERS
            .iter()
            .filter(|(title, _)| *title != REPLAY || self.position.is_some())
            .map(|(title, commands)| {
                // A recording has the intervals that it has.
                let has_use = |(command, _): &&(Command, &str)| {
                    self.position.is_none() || !matches!(command, Command::Slower | Command::Faster)
                };
                let keys = commands.iter().filter(has_use).map(|(command, about)| {
                    let keys = self.keys.label(*command, 2, theme.glyphs.ascii);
                    HelpLine::Key(keys, (*about).to_owned())
                });
                std::iter::once(HelpLine::Title(title))
                    .chain(keys)
                    .collect()
            })
            .collect();
        let with_recording = self.position.iter().flat_map(|_| MOUSE_REPLAY);
        let mouse = MOUSE
            .iter()
            .chain(with_recording)
            .map(|(what, about)| HelpLine::Key((*what).to_owned(), (*about).to_owned()));
        chapters.push(
            std::iter::once(HelpLine::Title("Mouse"))
                .chain(mouse)
                .collect(),
        );
        (above, chapters)
    }

    fn help_line(&self, text: &HelpLine, at: Rect, buf: &mut Buffer) {
        let theme = &self.display.theme;
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

    pub(super) fn chooser(&self, cursor: usize, area: Rect, buf: &mut Buffer) {
        let theme = &self.display.theme;
        self.heading_line("Columns", line(area, 0), buf);
        let about = "Shown where there is room; a narrow terminal leaves some out.";
        put(buf, line(area, 1), 1, about, theme.dim());
        let all = choices(self.history.seen());
        let room = usize::from(area.height.saturating_sub(3));
        let top = (cursor + 1).saturating_sub(room);
        for ((n, column), y) in all.iter().enumerate().skip(top).take(room).zip(3..) {
            let at = line(area, y);
            let mark = if self.display.columns.contains(column) {
                "[x]"
            } else {
                "[ ]"
            };
            let selected = n == cursor;
            if selected {
                put(buf, at, 1, theme.glyphs.selected, theme.bold());
            }
            put(buf, at, 3, mark, theme.bold());
            put(buf, at, 7, column.as_str(), Style::new());
            put(buf, at, 20, column.about(), theme.dim());
            if selected {
                let width = 22 + u16::try_from(columns(column.about())).unwrap_or(0);
                buf.set_style(within(at, 0, width), theme.selected());
            }
        }
    }

    /// A line with a title, as above a table.
    pub(super) fn heading_line(&self, title: &str, at: Rect, buf: &mut Buffer) {
        let theme = &self.display.theme;
        fill(buf, at, theme.glyphs.rule, theme.dim());
        let x = put(buf, at, 0, theme.glyphs.title.0, theme.dim());
        let bold = theme.bold().remove_modifier(Modifier::DIM);
        let x = put(buf, at, x, title, bold);
        put(buf, at, x, theme.glyphs.title.1, theme.dim());
    }
}
