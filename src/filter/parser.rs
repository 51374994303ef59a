//! Turns words into a filter, or says which word is wrong and what to write instead.
//!
//! ```text
//! filter  = operand { ("and" | "or") operand }
//! operand = "not" operand | "(" filter ")" | term
//! term    = [protocol] [side] kind values | protocol | [way] comparison | way | values
//! values  = value | "(" value { "or" value } ")"
//! ```
//! A value without its kind has the kind of the term before it, as in `port 80 or 443`. What could be
//! read in two ways is refused: `and` after `or`, and such a value after `and` or `not`.

use std::ops::Range;

use super::ast::{Expr, Term};
use super::error::Error;
use super::lexer::{SpannedToken, Token, tokens};
use super::name_tables::NameTables;
use super::term::{TermHead, ValueContext};

/// Deepest nesting of parentheses and `not`.
const MAX_DEPTH: usize = 32;
/// Most terms about owners: their answers are kept as the bits of one number.
pub(super) const MAX_OWNER_TERMS: usize = 64;

/// # Errors
/// What is wrong and where; what is wrong first, if it is more than one thing.
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
            format!("at most {MAX_OWNER_TERMS} terms can be about comm, container and unit");
        let error = Error::new(message, 0..text.len());
        return Err(in_text(
            error.help("put values together, as in comm (a or b or c)"),
        ));
    }
    Ok(expr)
}

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: Vec<SpannedToken>,
    /// The next token.
    pub(super) at: usize,
    depth: usize,
    pub(super) name_tables: &'a NameTables,
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

    pub(super) fn take(&mut self, wanted: &Token) -> bool {
        let is_there = self.peek() == Some(wanted);
        self.at += usize::from(is_there);
        is_there
    }

    /// Where a token stands; after the last one, the end.
    pub(super) fn place(&self, index: usize) -> Range<usize> {
        let end = self.text.trim_end().len();
        let found = self.tokens.get(index);
        found.map_or(end..end, |placed| placed.at.clone())
    }

    /// From one token to the one before `self.at`.
    pub(super) fn since(&self, first: usize) -> Range<usize> {
        self.place(first).start..self.place(self.at.max(1) - 1).end
    }

    fn whole(&mut self) -> Result<Expr, Error> {
        if self.tokens.is_empty() {
            let error = Error::new("there is no filter here", 0..0);
            return Err(error.help("write one, as in: tcp and port 443"));
        }
        let expr = self.filter()?;
        match self.peek() {
            None => Ok(expr),
            Some(Token::Close) => Err(Error::new(
                "there is no ( that this ) closes",
                self.place(self.at),
            )),
            Some(_) => Err(self.unjoined()),
        }
    }

    /// Two terms with nothing between them.
    fn unjoined(&self) -> Error {
        let place = self.place(self.at);
        let word = self.text.get(place.clone()).unwrap_or_default();
        let help = match word.to_lowercase().as_str() {
            "&" | "and" => "write and",
            "|" | "or" => "write or",
            _ => "write and or or between two terms, and quotes around a name with spaces",
        };
        Error::new("\"and\" or \"or\" is missing before this", place).help(help)
    }

    fn filter(&mut self) -> Result<Expr, Error> {
        let first = self.at;
        let mut head = None;
        // Alternatives, the last of which may still grow by `and`.
        let mut parts = vec![self.operand(&mut head, ValueContext::Plain)?];
        loop {
            if self.take(&Token::And) {
                if parts.len() > 1 {
                    return Err(self.two_readings(first, &parts, &mut head));
                }
                let next = self.operand(&mut head, ValueContext::Bound)?;
                let all = Expr::all(parts.drain(..).chain([next]));
                parts.extend(all);
            } else if self.take(&Token::Or) {
                parts.push(self.operand(&mut head, ValueContext::Plain)?);
            } else {
                // Never empty.
                let any = Expr::any(parts);
                return any.ok_or_else(|| Error::new("there is no filter here", 0..0));
            }
        }
    }

    /// `a or b and c`: pcap-filter reads (a or b) and c, most other languages a or (b and c).
    fn two_readings(&mut self, first: usize, parts: &[Expr], head: &mut Option<TermHead>) -> Error {
        let and = self.place(self.at - 1);
        let error = Error::new("\"and\" after \"or\" can be read in two ways", and.clone());
        let before = self.text.get(self.place(first).start..and.start);
        let next = self.operand(head, ValueContext::Bound);
        match (before, parts, next) {
            (Some(before), [rest @ .., last], Ok(next)) => {
                let rest: Vec<String> = rest.iter().map(ToString::to_string).collect();
                let (before, rest) = (before.trim(), rest.join(" or "));
                error.help(format!(
                    "write ({before}) and {next}, or {rest} or ({last} and {next})"
                ))
            }
            _ => error.help("write parentheses around what belongs together"),
        }
    }

    fn operand(
        &mut self,
        head: &mut Option<TermHead>,
        before: ValueContext,
    ) -> Result<Expr, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("this is nested more than {MAX_DEPTH} deep");
            return Err(Error::new(message, self.place(self.at)));
        }
        let expr = match self.peek() {
            Some(Token::Not) => {
                self.at += 1;
                let inner = self.operand(head, ValueContext::Bound)?;
                Expr::Not(Box::new(inner))
            }
            Some(Token::Open) => {
                let open = self.place(self.at);
                self.at += 1;
                if self.take(&Token::Close) {
                    return Err(Error::new("there is nothing in these parentheses", open));
                }
                let inner = self.filter()?;
                if !self.take(&Token::Close) {
                    return Err(match self.peek() {
                        None => Error::new("this ( is not closed", open).help("add a )"),
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
