//! Splits the text of a filter into tokens, each with its position.

use std::ops::Range;

use super::ast::Op;
use super::error::Error;

/// Maximum length of a filter, in bytes.
pub(super) const MAX_LENGTH: usize = 4096;

/// A word, a name or an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Compare(Op),
    /// A word without quotes.
    Word(String),
    /// The text between two quotes, escapes resolved.
    Quoted(String),
    /// The text between two slashes.
    Regex(String),
}

/// A token and the bytes it takes.
#[derive(Clone, Debug)]
pub(super) struct SpannedToken {
    pub(super) token: Token,
    pub(super) at: Range<usize>,
}

/// Operators, longer ones before those they begin with.
const SIGNS: [(&str, Token); 14] = [
    ("&&", Token::And),
    ("||", Token::Or),
    (">=", Token::Compare(Op::AtLeast)),
    ("<=", Token::Compare(Op::AtMost)),
    ("==", Token::Compare(Op::Equal)),
    ("!=", Token::Compare(Op::Different)),
    ("(", Token::Open),
    (")", Token::Close),
    ("!", Token::Not),
    (">", Token::Compare(Op::More)),
    ("<", Token::Compare(Op::Less)),
    ("=", Token::Compare(Op::Equal)),
    ("≥", Token::Compare(Op::AtLeast)),
    ("≤", Token::Compare(Op::AtMost)),
];

/// Splits a filter into tokens.
///
/// # Errors
/// When the filter is too long, or a quote or a regular expression is not closed.
pub(super) fn tokens(text: &str) -> Result<Vec<SpannedToken>, Error> {
    if text.len() > MAX_LENGTH {
        let message = format!("this filter is longer than {MAX_LENGTH} bytes");
        let error = Error::new(message, 0..0);
        return Err(error.help("put values together, as in port (80 or 443)"));
    }
    tokens_from(text, 0)
}

/// Splits the part of a filter that begins at byte `at`, a character boundary.
///
/// # Errors
/// When a quote or a regular expression is not closed.
pub(super) fn tokens_from(text: &str, mut at: usize) -> Result<Vec<SpannedToken>, Error> {
    let mut found = Vec::new();
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let rest = &text[at..];
        let (token, length) = match c {
            '"' | '\'' => {
                let (inside, length) = enclosed(rest, c).ok_or_else(|| {
                    Error::new("a quoted name is not closed", at..at + 1)
                        .help(format!("add {c} where the name ends"))
                })?;
                (Token::Quoted(inside), length)
            }
            '/' => {
                let (inside, length) = enclosed(rest, c).ok_or_else(|| {
                    Error::new("a regular expression is not closed", at..at + 1)
                        .help("add / where it ends, and write \\/ for a slash in it".to_owned())
                })?;
                (Token::Regex(inside), length)
            }
            _ => match SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
                Some((sign, token)) => (token.clone(), sign.len()),
                None => {
                    let word = &rest[..word_length(rest)];
                    let token = match word {
                        "and" => Token::And,
                        "or" => Token::Or,
                        "not" => Token::Not,
                        _ => Token::Word(word.to_owned()),
                    };
                    (token, word.len())
                }
            },
        };
        found.push(SpannedToken {
            token,
            at: at..at + length,
        });
        at += length;
    }
    Ok(found)
}

/// Returns the text between two quotes or slashes, and its length with both. A backslash escapes
/// the next character; in a regular expression it escapes the slash only.
fn enclosed(text: &str, quote: char) -> Option<(String, usize)> {
    let mut inside = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                let (_, next) = chars.next()?;
                if quote == '/' && next != '/' {
                    inside.push('\\');
                }
                inside.push(next);
            }
            c if c == quote => return Some((inside, at + c.len_utf8())),
            c => inside.push(c),
        }
    }
    None
}

/// Returns the length of the word that `text` begins with. It ends before a space, a parenthesis, a
/// quote or an operator; inside a word `!`, `&` and `|` are operators only in `!=`, `&&` and `||`.
fn word_length(text: &str) -> usize {
    let ends = |(at, c): &(usize, char)| {
        let rest = &text[*at..];
        c.is_whitespace()
            || matches!(c, '(' | ')' | '"' | '\'' | '<' | '>' | '=' | '≥' | '≤')
            || ["!=", "&&", "||"].iter().any(|sign| rest.starts_with(sign))
    };
    let end = text.char_indices().skip(1).find(ends);
    end.map_or(text.len(), |(at, _)| at)
}
