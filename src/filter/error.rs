//! The error of a filter: the mistake, its position, and the fix.

use std::fmt;
use std::ops::Range;

use crate::text::sanitize::sanitize;

/// The first mistake in a filter, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    message: String,
    help: Option<String>,
    at: Range<usize>,
    text: String,
}

impl Error {
    pub(super) fn new(message: impl Into<String>, at: Range<usize>) -> Self {
        Self {
            message: message.into(),
            help: None,
            at,
            text: String::new(),
        }
    }

    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub(super) fn of(mut self, text: &str) -> Self {
        text.clone_into(&mut self.text);
        self
    }

    /// Returns the mistake in one line, without its position. Sanitized.
    pub fn message(&self) -> String {
        sanitize(&self.message).into_owned()
    }

    /// Returns the fix. Sanitized.
    pub fn advice(&self) -> Option<String> {
        self.help.as_ref().map(|help| sanitize(help).into_owned())
    }

    /// Returns the column of the first wrong character, counted from 1.
    pub fn column(&self) -> usize {
        let before = self.text.get(..self.at.start);
        before.map_or(0, |before| before.chars().count()) + 1
    }
}

/// Writes one self-contained line, then the filter with the wrong part marked, unless the whole
/// filter is wrong.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter: {} (column {})", self.message(), self.column())?;
        if let Some(help) = self.advice() {
            write!(f, ": {help}")?;
        }
        let text = self.text.trim();
        let is_whole = self.text.get(self.at.clone()) == Some(text);
        // In a longer text, which a terminal breaks into lines, the marks would not be below the
        // marked part.
        if is_whole || !(1..400).contains(&text.len()) {
            return Ok(());
        }
        let columns = |range| {
            let part = self.text.get(range).unwrap_or_default();
            sanitize(part).chars().count()
        };
        let marks = columns(self.at.clone()).max(1);
        let indent = columns(0..self.at.start);
        write!(f, "\n  {}", sanitize(&self.text))?;
        write!(f, "\n  {:indent$}{}", "", "^".repeat(marks))
    }
}

impl std::error::Error for Error {}
