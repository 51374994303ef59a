//! Parses a filter. An error names the wrong word and its fix.
//!
//! ```text
//! filter  = operand { ("and" | "or") operand }
//! operand = "not" operand | "(" filter ")" | term
//! term    = [protocol] [side] kind ["="] values | protocol | [direction] comparison | direction
//!         | values | kind ":" value | "loopback" | "internal" | "external"
//! values  = value | "(" value { "or" value } ")"
//! ```
//! A value without a kind has the kind of the term before it, as in `port 80 or 443`. Ambiguous
//! filters are refused: `and` after `or`, and a value without a kind after `and` or `not`.

use std::ops::Range;

use super::ast::{Expr, Term};
use super::error::Error;
use super::kernel_filter::MAX_TREES;
use super::lexer::{SpannedToken, Token, tokens};
use super::name_tables::NameTables;
use super::term::{TermHead, ValueContext};

/// Maximum nesting depth of parentheses and `not`.
const MAX_DEPTH: usize = 32;
/// Maximum number of terms about owners: their results are the bits of one `u64`.
pub(super) const MAX_OWNER_TERMS: usize = 64;
/// Maximum number of processes that `tree` may name in one filter; one further root is reserved for
/// the command of `flowtop run`.
const MAX_ROOTS: usize = MAX_TREES - 1;

/// Parses a filter.
///
/// # Errors
/// The first mistake in the text, with its place and what to write instead.
pub(super) fn parse(text: &str, name_tables: &NameTables) -> Result<Expr, Error> {
    let in_text = |error: Error| error.of(text);
    let tokens = tokens(text).map_err(in_text)?;
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        depth: 0,
        name_tables,
    };
    let expr = parser.whole().map_err(in_text)?;
    let about_owners = |term: &&Term| term.is_about_owner();
    if expr.terms().into_iter().filter(about_owners).count() > MAX_OWNER_TERMS {
        let message =
            format!("more than {MAX_OWNER_TERMS} terms are about process, container and unit");
        let error = Error::new(message, 0..text.len());
        return Err(in_text(
            error.help("put values together, as in process (a or b or c)"),
        ));
    }
    if expr.roots().len() > MAX_ROOTS {
        let message = format!("\"tree\" names more than {MAX_ROOTS} processes");
        let error = Error::new(message, 0..text.len());
        return Err(in_text(error.help("name an ancestor that they share")));
    }
    // The written form has parentheses that the text may leave out, and must be a filter as well.
    if written_depth(&expr) > MAX_DEPTH {
        return Err(in_text(too_deep(0..text.len())));
    }
    Ok(expr)
}

fn too_deep(at: Range<usize>) -> Error {
    let message = format!("this filter is nested more than {MAX_DEPTH} deep");
    Error::new(message, at).help("leave out parentheses and \"not\" that change nothing")
}

/// Returns how deep the written form of a filter is nested.
fn written_depth(expr: &Expr) -> usize {
    let of_part = |part: &Expr| match part {
        Expr::All(_) | Expr::Any(_) => 1 + written_depth(part),
        Expr::Not(_) | Expr::Is(_) => written_depth(part),
    };
    match expr {
        Expr::Is(_) => 1,
        Expr::Not(part) => 1 + of_part(part),
        Expr::All(parts) | Expr::Any(parts) => parts.iter().map(of_part).max().unwrap_or(1),
    }
}

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: Vec<SpannedToken>,
    /// Index of the next token.
    pub(super) at: usize,
    depth: usize,
    pub(super) name_tables: &'a NameTables,
}

fn empty() -> Error {
    Error::new("the filter is empty", 0..0).help("write one, as in tcp and port 443")
}

/// Returns the error for an opening parenthesis without its end.
pub(super) fn unclosed(open: Range<usize>) -> Error {
    Error::new("\"(\" is not closed", open).help("add \")\"")
}

impl Parser<'_> {
    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|placed| &placed.token)
    }

    pub(super) fn peek_word(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    pub(super) fn take(&mut self, expected: &Token) -> bool {
        let is_there = self.peek() == Some(expected);
        self.at += usize::from(is_there);
        is_there
    }

    /// Returns the bytes of a token; past the last one, the end of the text.
    pub(super) fn span(&self, index: usize) -> Range<usize> {
        let end = self.text.trim_end().len();
        let found = self.tokens.get(index);
        found.map_or(end..end, |placed| placed.at.clone())
    }

    /// Returns the bytes from one token to the token before `self.at`.
    pub(super) fn since(&self, first: usize) -> Range<usize> {
        self.span(first).start..self.span(self.at.max(1) - 1).end
    }

    fn whole(&mut self) -> Result<Expr, Error> {
        if self.tokens.is_empty() {
            return Err(empty());
        }
        let expr = self.filter()?;
        match self.peek() {
            None => Ok(expr),
            Some(Token::Close) => {
                let error = Error::new("\")\" closes nothing", self.span(self.at));
                Err(error.help("leave it out, or add \"(\" before it"))
            }
            Some(_) => Err(self.unjoined()),
        }
    }

    /// Returns the error for two terms with nothing between them.
    fn unjoined(&self) -> Error {
        let span = self.span(self.at);
        let word = self.text.get(span.clone()).unwrap_or_default();
        let help = match word.to_lowercase().as_str() {
            "&" | "and" => "write \"and\"",
            "|" | "or" => "write \"or\"",
            _ => "join two terms by \"and\" or \"or\", and quote a name with spaces",
        };
        let message = format!("\"and\" or \"or\" is missing before \"{word}\"");
        Error::new(message, span).help(help)
    }

    fn filter(&mut self) -> Result<Expr, Error> {
        let first = self.at;
        let mut head = None;
        // Alternatives; `and` extends the last one.
        let mut parts = vec![self.operand(&mut head, ValueContext::Free)?];
        loop {
            if self.take(&Token::And) {
                if parts.len() > 1 {
                    return Err(self.two_readings(first, &parts, &mut head));
                }
                let next = self.operand(&mut head, ValueContext::AfterOperator)?;
                let all = Expr::all(parts.drain(..).chain([next]));
                parts.extend(all);
            } else if self.take(&Token::Or) {
                parts.push(self.operand(&mut head, ValueContext::Free)?);
            } else {
                return Expr::any(parts).ok_or_else(empty);
            }
        }
    }

    /// Returns the error for `a or b and c`: pcap-filter reads it as (a or b) and c, most other
    /// languages as a or (b and c).
    fn two_readings(&mut self, first: usize, parts: &[Expr], head: &mut Option<TermHead>) -> Error {
        let and = self.span(self.at - 1);
        let error = Error::new("\"and\" after \"or\" is ambiguous", and.clone());
        let before = self.text.get(self.span(first).start..and.start);
        let next = self.operand(head, ValueContext::AfterOperator);
        match (before, parts, next) {
            (Some(before), [rest @ .., last], Ok(next)) => {
                let rest: Vec<String> = rest.iter().map(ToString::to_string).collect();
                let (before, rest) = (before.trim(), rest.join(" or "));
                error.help(format!(
                    "write ({before}) and {next}, or {rest} or ({last} and {next})"
                ))
            }
            _ => error.help("put parentheses around the terms that belong together"),
        }
    }

    fn operand(
        &mut self,
        head: &mut Option<TermHead>,
        before: ValueContext,
    ) -> Result<Expr, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.span(self.at)));
        }
        let expr = match self.peek() {
            Some(Token::Not) => {
                self.at += 1;
                let inner = self.operand(head, ValueContext::AfterOperator)?;
                Expr::Not(Box::new(inner))
            }
            Some(Token::Open) => {
                let open = self.span(self.at);
                self.at += 1;
                if self.take(&Token::Close) {
                    let error = Error::new("these parentheses are empty", open);
                    return Err(error.help("write a filter between them, or leave them out"));
                }
                let inner = self.filter()?;
                if !self.take(&Token::Close) {
                    return Err(match self.peek() {
                        None => unclosed(open),
                        Some(_) => self.unjoined(),
                    });
                }
                *head = None;
                inner
            }
            _ => self.term(head, before)?,
        };
        self.depth -= 1;
        Ok(expr)
    }
}
