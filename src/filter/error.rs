//! What is wrong with a filter, where, and what to write instead.

use std::fmt;
use std::ops::Range;

use crate::text::sanitize::sanitize;

/// What is wrong with a filter. Written out it shows the place.
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

    /// What is wrong, in one line, without the place. Sanitized.
    pub fn message(&self) -> String {
        sanitize(&self.message).into_owned()
    }

    /// What to write instead. Sanitized.
    pub fn advice(&self) -> Option<String> {
        self.help.as_ref().map(|help| sanitize(help).into_owned())
    }

    /// The first character that is wrong, counted from 1.
    pub fn column(&self) -> usize {
        let before = self.text.get(..self.at.start);
        before.map_or(0, |before| before.chars().count()) + 1
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter, column {}: {}", self.column(), self.message())?;
        let part = |range| {
            sanitize(self.text.get(range).unwrap_or_default())
                .chars()
                .count()
        };
        // Nothing is not shown, and what is too long for a line not again.
        if (1..400).contains(&self.text.trim().len()) {
            let marks = part(self.at.clone()).max(1);
            let indent = part(0..self.at.start);
            write!(f, "\n  {}", sanitize(&self.text))?;
            write!(f, "\n  {:indent$}{}", "", "^".repeat(marks))?;
        }
        match self.advice() {
            Some(help) => write!(f, "\n  {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
