//! Draws the prompt: its line with the cursor, and above it the hint about the text or the
//! candidates for the word before the cursor.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Clear, Widget as _};

use crate::text::sanitize::{columns, sanitize};
use crate::text::wrap::{take, wrap_all};
use crate::tui::app::App;
use crate::tui::draw::line::{line, put, width, within};
use crate::tui::state::completion::Completion;

/// Maximum number of lines of a hint.
const MAX_HINT: usize = 3;

impl App {
    /// Draws the prompt over the last lines of the screen.
    pub(super) fn prompt(&self, area: Rect, buf: &mut Buffer) {
        let footer = self.panes.layout(area).footer;
        if footer.is_empty() {
            return;
        }
        self.prompt_line(line(footer, footer.height - 1), buf);
        let (above, labels) = self.prompt_labels(area);
        let theme = &self.shared.display.theme;
        let end = labels.first().map_or(above.width, |label| label.x);
        if let Some(completion) = &self.prompt.completion {
            Clear.render(above, buf);
            self.candidates(completion, within(above, 0, end), buf);
        } else {
            let hint = &self.prompt.hint;
            let (mark, style) = match hint.is_error {
                true => ("! ", theme.bold()),
                false => ("", theme.dim()),
            };
            let text = format!("{mark}{}", sanitize(&hint.text));
            let mut lines = wrap_all(&text, usize::from(end.saturating_sub(2)));
            lines.truncate(MAX_HINT);
            let rows = u16::try_from(lines.len()).unwrap_or(1);
            // A hint of several lines covers the tables.
            let end = footer.y + footer.height - 1;
            for (text, y) in lines.iter().zip(end.saturating_sub(rows).max(area.y)..end) {
                let at = Rect {
                    y,
                    height: 1,
                    ..footer
                };
                Clear.render(at, buf);
                put(buf, at, 1, text, style);
            }
        }
        for label in labels {
            label.draw(above, theme, buf);
        }
    }

    /// Draws the text with its cursor. A longer text is cut on the side that is farther from the
    /// cursor.
    fn prompt_line(&self, at: Rect, buf: &mut Buffer) {
        let (theme, line) = (&self.shared.display.theme, &self.prompt.line);
        let x = put(buf, at, 1, self.prompt.kind.label(), theme.dim());
        let room = at.width.saturating_sub(x + 1);
        let before = sanitize(line.before_cursor());
        let after = sanitize(line.after_cursor());
        // A cursor behind the text needs one more cell.
        let (shown, is_cut) = match columns(&before) < usize::from(room) {
            true => (before.into_owned(), false),
            false => {
                let tail = take(before.chars().rev(), usize::from(room.saturating_sub(2)));
                (tail.chars().rev().collect(), true)
            }
        };
        let ellipsis = if is_cut { theme.glyphs.ellipsis } else { "" };
        let x = put(buf, at, x, ellipsis, theme.dim());
        let cursor = put(buf, at, x, &shown, theme.bold());
        let rest = usize::from(at.width.saturating_sub(cursor + 1));
        if columns(&after) > rest {
            put(buf, at, cursor, &take(after.chars(), rest), theme.bold());
            put(
                buf,
                at,
                at.width.saturating_sub(1),
                theme.glyphs.ellipsis,
                theme.dim(),
            );
        } else {
            put(buf, at, cursor, &after, theme.bold());
        }
        let style = Style::new().add_modifier(Modifier::REVERSED);
        buf.set_style(within(at, cursor, 1), style);
    }

    /// Draws the candidates around the one that is in the line.
    fn candidates(&self, completion: &Completion, at: Rect, buf: &mut Buffer) {
        let theme = &self.shared.display.theme;
        if completion.candidates.is_empty() {
            put(buf, at, 1, "nothing to complete", theme.dim());
            return;
        }
        let chosen = completion.chosen.unwrap_or(0);
        let wide = |n: &usize| width(&sanitize(&completion.candidates[*n])) + 2;
        // As many before the chosen one as find room with it.
        let (mut first, mut used) = (chosen, wide(&chosen) + 1);
        while first > 0 && used + wide(&(first - 1)) < at.width {
            first -= 1;
            used += wide(&first);
        }
        let mut x = 1;
        for (n, candidate) in completion.candidates.iter().enumerate().skip(first) {
            let text = sanitize(candidate);
            if x + width(&text) > at.width && n > first {
                put(buf, at, x, theme.glyphs.ellipsis, theme.dim());
                return;
            }
            let style = match completion.chosen == Some(n) {
                true => theme.notice(),
                false => theme.dim(),
            };
            x = put(buf, at, x, &text, style) + 2;
        }
    }
}
