//! Turns the text of a filter into words, each with where it stands.

use std::ops::Range;

use super::ast::Op;
use super::error::Error;

/// Longest filter, in bytes.
pub(super) const MAX_LENGTH: usize = 4096;

/// A word of the language, or a sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Compare(Op),
    /// As it stands there.
    Word(String),
    /// What stood between quotes.
    Quoted(String),
    /// What stood between slashes.
    Regex(String),
}

/// A token and the bytes it takes.
#[derive(Clone, Debug)]
pub(super) struct SpannedToken {
    pub(super) token: Token,
    pub(super) at: Range<usize>,
}

/// Signs, longer ones first.
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

/// # Errors
/// When it is too long, or a quote or an expression does not end.
pub(super) fn tokens(text: &str) -> Result<Vec<SpannedToken>, Error> {
    if text.len() > MAX_LENGTH {
        let message = format!("a filter has at most {MAX_LENGTH} bytes");
        return Err(Error::new(message, 0..0));
    }
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let rest = &text[at..];
        let (token, length) = match c {
            '"' | '\'' => {
                let (inside, length) = enclosed(rest, c).ok_or_else(|| {
                    Error::new("this quote is not closed", at..at + 1)
                        .help(format!("put {c} where the name ends"))
                })?;
                (Token::Quoted(inside), length)
            }
            '/' => {
                let (inside, length) = enclosed(rest, c).ok_or_else(|| {
                    Error::new("this regular expression is not closed", at..at + 1)
                        .help("put / where it ends, and \\/ where a slash is meant".to_owned())
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

/// What stands between two of these, and the length with both. A backslash makes the next character
/// itself; in a regular expression it does so for the slash only.
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

/// A word ends before a space, a parenthesis, a quote or a sign; inside of it `!`, `&` and `|` are
/// signs only where they are doubled or compare.
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
