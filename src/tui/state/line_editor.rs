//! One line of text with a cursor, edited by the usual keys of a shell.

use crate::tui::action::Edit;

/// Longest text, in bytes: that of a filter.
const MAX_BYTES: usize = 4096;

/// A line of text and its cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineEditor {
    text: String,
    /// Byte before which text is inserted; always at a character boundary.
    cursor: usize,
}

impl LineEditor {
    /// Returns a line with the cursor behind its text.
    pub fn with(text: &str) -> Self {
        let mut line = Self::default();
        line.insert(text);
        line
    }

    /// The text. Not sanitized.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    pub fn after_cursor(&self) -> &str {
        &self.text[self.cursor..]
    }

    /// Edits the text or moves the cursor. Ignores all other edits.
    pub fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Insert(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            Edit::Left => self.cursor = self.left(),
            Edit::Right => self.cursor = self.right(),
            Edit::WordLeft => self.cursor = self.word_left(),
            Edit::WordRight => self.cursor = self.word_right(),
            Edit::Home => self.cursor = 0,
            Edit::End => self.cursor = self.text.len(),
            Edit::DeleteBefore => self.remove(self.left(), self.cursor),
            Edit::DeleteAfter => self.remove(self.cursor, self.right()),
            Edit::DeleteWordBefore => self.remove(self.blank_left(), self.cursor),
            Edit::DeleteWordAfter => self.remove(self.cursor, self.word_right()),
            Edit::DeleteToStart => self.remove(0, self.cursor),
            Edit::DeleteToEnd => self.remove(self.cursor, self.text.len()),
            _ => {}
        }
    }

    /// Inserts text at the cursor: white space of any kind is one blank, and control characters are
    /// left out.
    pub fn paste(&mut self, text: &str) {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.insert(&words);
    }

    /// Replaces the text from a byte up to the cursor.
    pub fn replace_from(&mut self, start: usize, text: &str) {
        self.remove(start.min(self.cursor), self.cursor);
        self.insert(text);
    }

    fn insert(&mut self, text: &str) {
        for c in text.chars().filter(|c| !c.is_control()) {
            if self.text.len() + c.len_utf8() > MAX_BYTES {
                return;
            }
            self.text.insert(self.cursor, c);
            self.cursor += c.len_utf8();
        }
    }

    fn remove(&mut self, start: usize, end: usize) {
        self.text.drain(start..end);
        self.cursor = start;
    }

    fn left(&self) -> usize {
        let last = self.before_cursor().char_indices().next_back();
        last.map_or(0, |(at, _)| at)
    }

    fn right(&self) -> usize {
        let next = self.after_cursor().chars().next();
        self.cursor + next.map_or(0, char::len_utf8)
    }

    /// Returns the start of the letters and digits before the cursor.
    fn word_left(&self) -> usize {
        let before = self
            .before_cursor()
            .trim_end_matches(|c: char| !c.is_alphanumeric());
        before.trim_end_matches(char::is_alphanumeric).len()
    }

    /// Returns the end of the letters and digits after the cursor.
    fn word_right(&self) -> usize {
        let after = self
            .after_cursor()
            .trim_start_matches(|c: char| !c.is_alphanumeric());
        self.text.len() - after.trim_start_matches(char::is_alphanumeric).len()
    }

    /// Returns the start of the word before the cursor, which ends at white space only.
    fn blank_left(&self) -> usize {
        let before = self.before_cursor().trim_end();
        before.trim_end_matches(|c: char| !c.is_whitespace()).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Edits a line in which `|` is the cursor.
    fn edited(line: &str, edits: &[Edit]) -> String {
        let (before, after) = line.split_once('|').unwrap();
        let mut line = LineEditor::with(&format!("{before}{after}"));
        line.cursor = before.len();
        for edit in edits {
            line.edit(*edit);
        }
        format!("{}|{}", line.before_cursor(), line.after_cursor())
    }

    #[test]
    fn the_keys_of_a_shell_edit_a_line() {
        for (line, edit, expected) in [
            ("port 4|3", Edit::Insert('4'), "port 44|3"),
            ("pört|", Edit::Left, "pör|t"),
            ("p|ört", Edit::Right, "pö|rt"),
            ("|port", Edit::Left, "|port"),
            ("port|", Edit::Right, "port|"),
            ("port 4|3", Edit::Home, "|port 43"),
            ("po|rt 43", Edit::End, "port 43|"),
            ("pö|rt", Edit::DeleteBefore, "p|rt"),
            ("p|ört", Edit::DeleteAfter, "p|rt"),
            ("port|", Edit::DeleteAfter, "port|"),
            ("|port", Edit::DeleteBefore, "|port"),
            ("a 10.0.0.1  | b", Edit::DeleteWordBefore, "a | b"),
            ("a 10.0.0.1| b", Edit::WordLeft, "a 10.0.0.|1 b"),
            ("a| 10.0.0.1 b", Edit::WordRight, "a 10|.0.0.1 b"),
            ("a |10.0 b", Edit::DeleteWordAfter, "a |.0 b"),
            ("port |443", Edit::DeleteToStart, "|443"),
            ("port |443", Edit::DeleteToEnd, "port |"),
        ] {
            assert_eq!(edited(line, &[edit]), expected, "{line} {edit:?}");
        }
    }

    #[test]
    fn pasted_text_is_one_line_of_bounded_length() {
        let mut line = LineEditor::with("ab");
        line.edit(Edit::Left);
        line.paste(" x\n\ty\u{1b}[2J ");
        assert_eq!(line.text(), "ax y[2Jb");
        line.paste(&"é".repeat(MAX_BYTES));
        assert!(line.text().len() <= MAX_BYTES);
        assert!(line.text().ends_with('b'));
    }

    #[test]
    fn a_part_before_the_cursor_is_replaced() {
        let mut line = LineEditor::with("port htt x");
        line.edit(Edit::Left);
        line.edit(Edit::Left);
        line.replace_from(5, "https");
        assert_eq!(
            (line.before_cursor(), line.after_cursor()),
            ("port https", " x")
        );
    }
}
