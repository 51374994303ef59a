//! The prompt for words to find or for a filter: its line, earlier texts, completion and the hint.
//! Independent of the meaning of the text.

use super::completion::Completion;
use super::line_editor::LineEditor;
use crate::tui::action::Edit;

/// Maximum number of texts kept of each kind.
const MAX_TEXTS: usize = 200;

/// The purpose of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptKind {
    Find,
    Filter,
}

impl PromptKind {
    /// Returns the label before the text.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Find => "find: ",
            Self::Filter => "filter: ",
        }
    }

    /// The first character of a line in the file of remembered texts.
    const fn sign(self) -> char {
        match self {
            Self::Find => '/',
            Self::Filter => 'f',
        }
    }
}

/// The result of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptOutcome {
    Changed,
    Unchanged,
    Accepted,
    Cancelled,
}

/// The hint about the text, shown above its line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptHint {
    pub text: String,
    /// Whether the text cannot be applied.
    pub is_error: bool,
}

impl From<String> for PromptHint {
    fn from(text: String) -> Self {
        Self {
            text,
            is_error: false,
        }
    }
}

/// The prompt. It keeps earlier texts while it is closed.
#[derive(Debug)]
pub struct Prompt {
    pub kind: PromptKind,
    pub line: LineEditor,
    pub hint: PromptHint,
    pub completion: Option<Completion>,
    /// Accepted texts, oldest first.
    texts: Vec<(PromptKind, String)>,
    /// Number of texts gone back to, and the text that was typed before.
    browsing: Option<(usize, String)>,
}

impl Default for Prompt {
    fn default() -> Self {
        Self {
            kind: PromptKind::Find,
            line: LineEditor::default(),
            hint: PromptHint::default(),
            completion: None,
            texts: Vec::new(),
            browsing: None,
        }
    }
}

impl Prompt {
    /// Opens the prompt on a text.
    pub fn open(&mut self, kind: PromptKind, text: &str) {
        self.kind = kind;
        self.line = LineEditor::with(text);
        self.hint = PromptHint::default();
        self.completion = None;
        self.browsing = None;
    }

    /// Edits the line. `complete` returns the candidates for the word before the cursor.
    pub fn edit(
        &mut self,
        edit: Edit,
        complete: impl FnOnce(PromptKind, &str) -> Completion,
    ) -> PromptOutcome {
        let before = self.line.text().to_owned();
        match edit {
            Edit::Accept => return PromptOutcome::Accepted,
            Edit::Cancel => return PromptOutcome::Cancelled,
            Edit::Older => self.browse(1),
            Edit::Newer => self.browse(-1),
            Edit::Complete | Edit::CompleteBack => {
                let is_new = self.completion.is_none();
                let completion = self
                    .completion
                    .get_or_insert_with(|| complete(self.kind, self.line.before_cursor()));
                if let Some(word) = completion.next(is_new, edit == Edit::CompleteBack) {
                    self.line.replace_from(completion.start, &word);
                }
            }
            edit => {
                self.completion = None;
                self.line.edit(edit);
            }
        }
        if self.line.text() == before {
            PromptOutcome::Unchanged
        } else {
            PromptOutcome::Changed
        }
    }

    /// Inserts text that was pasted.
    pub fn paste(&mut self, text: &str) {
        self.completion = None;
        self.line.paste(text);
    }

    /// Goes `by` texts back in the earlier texts.
    fn browse(&mut self, by: isize) {
        self.completion = None;
        let of_kind = || {
            self.texts
                .iter()
                .rev()
                .filter(|(kind, _)| *kind == self.kind)
        };
        let now = self.browsing.as_ref().map_or(0, |(back, _)| *back);
        let back = now.saturating_add_signed(by).min(of_kind().count());
        if back == now {
            return;
        }
        let typed = match &self.browsing {
            Some((_, typed)) => typed.clone(),
            None => self.line.text().to_owned(),
        };
        let text = match back {
            0 => typed.clone(),
            back => of_kind()
                .nth(back - 1)
                .map_or_else(String::new, |(_, text)| text.clone()),
        };
        self.line = LineEditor::with(&text);
        self.browsing = (back > 0).then_some((back, typed));
    }

    /// Remembers the accepted text; returns its line for the file, unless it is the latest already.
    pub fn remember(&mut self) -> Option<String> {
        let text = self.line.text().trim();
        let latest = self.texts.iter().rev().find(|(kind, _)| *kind == self.kind);
        if text.is_empty() || latest.is_some_and(|(_, latest)| latest == text) {
            return None;
        }
        let line = format!("{}{text}", self.kind.sign());
        self.learn(&line);
        Some(line)
    }

    /// Loads a line of the file of kept texts. Ignores an invalid line.
    pub fn learn(&mut self, line: &str) {
        let kinds = [PromptKind::Find, PromptKind::Filter];
        let Some(kind) = kinds.into_iter().find(|kind| line.starts_with(kind.sign())) else {
            return;
        };
        // Restricts a text from the file to characters that can be typed.
        let mut text = LineEditor::default();
        text.paste(&line[1..]);
        let text = text.text().to_owned();
        if text.is_empty() {
            return;
        }
        self.texts
            .retain(|(other, known)| (*other, known) != (kind, &text));
        self.texts.push((kind, text));
        let of_kind = self.texts.iter().filter(|(other, _)| *other == kind);
        if of_kind.count() > MAX_TEXTS
            && let Some(oldest) = self.texts.iter().position(|(other, _)| *other == kind)
        {
            self.texts.remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(prompt: &mut Prompt, text: &str) {
        for c in text.chars() {
            edit(prompt, Edit::Insert(c));
        }
    }

    fn edit(prompt: &mut Prompt, edit: Edit) -> PromptOutcome {
        prompt.edit(edit, |_, _| {
            let words = ["portrange", "port"];
            Completion::new(0, words.map(str::to_owned).to_vec())
        })
    }

    fn accept(prompt: &mut Prompt, kind: PromptKind, text: &str) -> Option<String> {
        prompt.open(kind, "");
        typed(prompt, text);
        prompt.remember()
    }

    #[test]
    fn up_and_down_go_through_what_was_typed_before_in_this_kind_of_prompt() {
        let mut prompt = Prompt::default();
        for (kind, text) in [
            (PromptKind::Filter, "tcp"),
            (PromptKind::Find, "nginx"),
            (PromptKind::Filter, "udp"),
        ] {
            assert!(accept(&mut prompt, kind, text).is_some());
        }
        assert_eq!(accept(&mut prompt, PromptKind::Filter, " udp"), None);
        prompt.open(PromptKind::Filter, "por");
        for (key, text) in [
            (Edit::Older, "udp"),
            (Edit::Older, "tcp"),
            (Edit::Older, "tcp"),
            (Edit::Newer, "udp"),
            (Edit::Newer, "por"),
            (Edit::Newer, "por"),
        ] {
            edit(&mut prompt, key);
            assert_eq!(prompt.line.text(), text, "{key:?}");
        }
    }

    #[test]
    fn a_remembered_line_is_learned_again_and_foreign_lines_do_no_harm() {
        let mut prompt = Prompt::default();
        let line = accept(&mut prompt, PromptKind::Filter, "port 443").unwrap();
        let mut next = Prompt::default();
        for line in [&line, "", "x", "/", "é", "f\u{1b}[2J"] {
            next.learn(line);
        }
        next.open(PromptKind::Filter, "");
        edit(&mut next, Edit::Older);
        assert_eq!(next.line.text(), "[2J");
        edit(&mut next, Edit::Older);
        assert_eq!(next.line.text(), "port 443");
        for n in 0..3 * MAX_TEXTS {
            next.learn(&format!("/{n}"));
        }
        assert_eq!(next.texts.len(), MAX_TEXTS + 2);
    }

    #[test]
    fn tab_completes_the_common_part_and_then_each_candidate_in_turn() {
        let mut prompt = Prompt::default();
        prompt.open(PromptKind::Filter, "po");
        for (key, text) in [
            (Edit::Complete, "port"),
            (Edit::Complete, "port"),
            (Edit::Complete, "portrange"),
            (Edit::CompleteBack, "port"),
            (Edit::Insert('x'), "portx"),
        ] {
            edit(&mut prompt, key);
            assert_eq!(prompt.line.text(), text, "{key:?}");
        }
        assert!(prompt.completion.is_none());
    }
}
