//! Patterns for names: an exact word, a glob, or a regular expression.

use std::fmt;

use regex_lite::{Regex, RegexBuilder};

/// Maximum size of a compiled regular expression, in bytes: names are short.
const MAX_REGEX: usize = 64 << 10;

/// A pattern for names.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    kind: PatternKind,
}

#[derive(Clone, Debug)]
enum PatternKind {
    Exact,
    Glob(Regex),
    Regex(Regex),
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
            && std::mem::discriminant(&self.kind) == std::mem::discriminant(&other.kind)
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Makes a pattern that matches exactly this name.
    pub fn exact(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            kind: PatternKind::Exact,
        }
    }

    /// Parses a word: a glob if it has `*`, `?` or `[`, else an exact name.
    ///
    /// # Errors
    /// When the glob is too long.
    pub fn word(text: &str) -> Result<Self, String> {
        if !text.contains(['*', '?', '[']) {
            return Ok(Self::exact(text));
        }
        Ok(Self {
            text: text.to_owned(),
            kind: PatternKind::Glob(compile(&as_regex(text))?),
        })
    }

    /// Parses a regular expression, which matches anywhere in a name.
    ///
    /// # Errors
    /// Why the expression is not valid.
    pub fn regex(text: &str) -> Result<Self, String> {
        Ok(Self {
            text: text.to_owned(),
            kind: PatternKind::Regex(compile(text)?),
        })
    }

    /// Returns the name of an exact pattern.
    pub const fn as_exact(&self) -> Option<&str> {
        match self.kind {
            PatternKind::Exact => Some(self.text.as_str()),
            _ => None,
        }
    }

    /// Whether a name matches.
    pub fn matches(&self, name: &str) -> bool {
        match &self.kind {
            PatternKind::Exact => self.text == name,
            PatternKind::Glob(regex) | PatternKind::Regex(regex) => regex.is_match(name),
        }
    }
}

fn compile(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .size_limit(MAX_REGEX)
        .build()
        .map_err(|error| error.to_string())
}

/// Returns the regular expression of a shell glob. A `[` that is not closed is literal.
fn as_regex(glob: &str) -> String {
    let mut regex = String::from("(?s)^");
    let mut rest = glob.chars();
    while let Some(c) = rest.next() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => match class(rest.as_str()) {
                Some((class, used)) => {
                    regex.push_str(&class);
                    rest = rest.as_str()[used..].chars();
                }
                None => regex.push_str("\\["),
            },
            c => push_literal(&mut regex, c),
        }
    }
    regex.push('$');
    regex
}

/// Parses the class after a `[`. Returns it, and its length up to and with the `]`.
fn class(text: &str) -> Option<(String, usize)> {
    let negated = text.starts_with(['!', '^']);
    let start = usize::from(negated);
    // A ] at the beginning belongs to the class.
    let first = text[start..].chars().next()?.len_utf8();
    let end = start + first + text.get(start + first..)?.find(']')?;
    let mut class = String::from(if negated { "[^" } else { "[" });
    let inside = &text[start..end];
    for (i, c) in inside.char_indices() {
        if c == '-' && i > 0 && i + 1 < inside.len() {
            class.push('-');
        } else {
            push_literal(&mut class, c);
        }
    }
    class.push(']');
    Some((class, end + 1))
}

fn push_literal(regex: &mut String, c: char) {
    if c.is_ascii_punctuation() {
        regex.push('\\');
    }
    regex.push(c);
}

/// Whether a name needs no quotes in a filter.
fn is_plain(text: &str) -> bool {
    let is_operator = matches!(text, "and" | "or" | "not");
    let is_safe = |c: char| c.is_alphanumeric() || "._-:@+,%~#$^{}".contains(c);
    !text.is_empty() && !is_operator && text.chars().all(is_safe)
}

/// Writes the pattern as in a filter.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            PatternKind::Glob(_) => f.write_str(&self.text),
            PatternKind::Regex(_) => write!(f, "/{}/", self.text.replace('/', "\\/")),
            PatternKind::Exact if is_plain(&self.text) => f.write_str(&self.text),
            PatternKind::Exact => {
                let text = self.text.replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "\"{text}\"")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &Pattern, yes: &[&str], no: &[&str]) {
        for name in yes {
            assert!(pattern.matches(name), "{pattern} means {name}");
        }
        for name in no {
            assert!(!pattern.matches(name), "{pattern} does not mean {name}");
        }
    }

    #[test]
    fn words_globs_and_expressions() {
        check(&Pattern::exact("a*"), &["a*"], &["ab", "a"]);
        let word = |text| Pattern::word(text).unwrap();
        check(&word("nginx"), &["nginx"], &["nginx2", "Nginx", ""]);
        check(&word("ng*x"), &["ngx", "nginx", "ng\nx"], &["nginx2"]);
        check(&word("a?c"), &["abc", "a.c", "aéc"], &["ac", "abbc"]);
        check(&word("w[0-9]"), &["w0", "w9"], &["wa", "w10", "w-"]);
        check(&word("w[!0-9]"), &["wa", "w-"], &["w0"]);
        check(&word("[]a]"), &["]", "a"], &["b"]);
        check(&word("[a-]"), &["a", "-"], &["b"]);
        check(&word("[abc"), &["[abc"], &["a"]);
        check(&word("a.*"), &["a.b"], &["ab"]);
        check(&word("[^\\w]"), &["x"], &["w", "\\"]);
        let regex = Pattern::regex("^ng.+x$|sshd").unwrap();
        check(&regex, &["nginx", "my-sshd-2"], &["ngx"]);
    }

    #[test]
    fn expressions_that_are_wrong_or_huge_are_refused() {
        assert!(Pattern::regex("a(").is_err());
        assert!(Pattern::regex("(a{1000}){1000}").is_err());
        assert!(Pattern::word("[z-a]").is_err());
        assert!(Pattern::word(&"*".repeat(100)).is_ok());
    }
}
