//! Reads one term: what it is about, which end, and its values.

use super::amount::Amount;
use super::ast::{Compare, Expr, Side, Term};
use super::error::Error;
use super::hints::{self, begins_term};
use super::kernel_filter::Family;
use super::lexer::{SpannedToken, Token};
use super::parser::Parser;
use super::value::{self, ValueKind};
use crate::model::flow::{Direction, Protocol};
use crate::view::Directions;

/// What precedes values.
#[derive(Clone, Copy, Debug)]
pub(super) struct TermHead {
    protocol: Option<Protocol>,
    family: Option<Family>,
    side: Side,
    kind: ValueKind,
}

/// What stands before an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueContext {
    /// Nothing but `or`.
    Plain,
    /// `and` or `not`: a value that follows with `or` could belong to it, or to all of it.
    Bound,
}

impl Parser<'_> {
    pub(super) fn term(
        &mut self,
        head: &mut Option<TermHead>,
        before: ValueContext,
    ) -> Result<Expr, Error> {
        let first = self.at;
        let word = match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            Some(Token::Quoted(_) | Token::Regex(_)) => return self.bare(head, before),
            Some(Token::Compare(_)) => {
                let error =
                    Error::new("there is nothing to compare before this", self.place(first));
                return Err(error.help("write rate or bytes, as in rate > 1MB"));
            }
            Some(Token::And | Token::Or | Token::Close) => {
                return Err(Error::new(
                    "a term is missing before this",
                    self.place(first),
                ));
            }
            _ => {
                let last = self.place(first.max(1) - 1);
                let after = self.text.get(last).unwrap_or_default();
                let message = format!("a term is missing after \"{after}\"");
                return Err(Error::new(message, self.place(first)));
            }
        };
        let is = |term| Ok(Expr::Is(term));
        let direction = |word: &str| match word {
            "rx" => Some((Direction::Rx, Directions::Rx)),
            "tx" => Some((Direction::Tx, Directions::Tx)),
            _ => None,
        };
        if let Some((direction, directions)) = direction(&word) {
            self.at += 1;
            *head = None;
            return match (self.peek_word(), self.peek()) {
                (Some("rate" | "bytes"), _) => is(self.compare(directions)?),
                (_, Some(Token::Compare(_))) => {
                    let error = Error::new("this could be a rate or an amount", self.place(first));
                    Err(error.help(format!("write {word} rate or {word} bytes")))
                }
                _ => is(Term::Moved(direction)),
            };
        }
        match word.as_str() {
            "rate" | "bytes" => {
                *head = None;
                is(self.compare(Directions::Both)?)
            }
            "ip" | "ip6" | "local" | "remote" => self.headed(head, before),
            word if Protocol::named(word).is_some() => self.headed(head, before),
            word if ValueKind::named(word).is_some() => self.headed(head, before),
            _ => self.bare(head, before),
        }
    }

    /// `[protocol] [side] [kind] values`, at least one of them.
    fn headed(&mut self, head: &mut Option<TermHead>, before: ValueContext) -> Result<Expr, Error> {
        let mut new = TermHead {
            protocol: None,
            family: None,
            side: Side::Either,
            kind: ValueKind::Host,
        };
        let mut sided = false;
        loop {
            let word = self.peek_word();
            let protocol = word.and_then(Protocol::named);
            match word {
                _ if protocol.is_some() && new.protocol.is_none() && !sided => {
                    new.protocol = protocol;
                }
                Some("ip") if new.family.is_none() && !sided => new.family = Some(Family::V4),
                Some("ip6") if new.family.is_none() && !sided => new.family = Some(Family::V6),
                Some("local") if !sided => (new.side, sided) = (Side::Local, true),
                Some("remote") if !sided => (new.side, sided) = (Side::Remote, true),
                _ => break,
            }
            self.at += 1;
        }
        if let Some(kind) = self.peek_word().and_then(ValueKind::named) {
            if sided && !kind.has_sides() {
                let error = Error::new(
                    format!("{} has no side", kind.as_str()),
                    self.place(self.at),
                );
                return Err(error.help("local and remote are for host, net, port and portrange"));
            }
            new.kind = kind;
            self.at += 1;
        } else if sided {
            // `remote 10.0.0.1`
            match self.peek_word().and_then(value::address_kind) {
                Some(kind) => new.kind = kind,
                None => {
                    let error = Error::new(
                        "host, net, port or portrange is missing here",
                        self.place(self.at),
                    );
                    let word = self.peek_word().unwrap_or("443");
                    let is_number = word.parse::<u16>().is_ok();
                    let side = self.text.get(self.place(self.at - 1)).unwrap_or_default();
                    return Err(error.help(match is_number {
                        true => format!("write {side} port {word}"),
                        false => format!("write one, as in {side} port 443"),
                    }));
                }
            }
        } else {
            *head = None;
            return Ok(with(new, None));
        }
        let mut tokens = self.values(new.kind)?;
        *head = Some(new);
        self.more(new, &mut tokens, before)
    }

    /// A value without its kind.
    fn bare(&mut self, head: &mut Option<TermHead>, before: ValueContext) -> Result<Expr, Error> {
        let word = self.peek_word().unwrap_or_default();
        let next = self.tokens.get(self.at + 1).map(|placed| &placed.token);
        let is_elsewhere = hints::elsewhere(word).is_some();
        let has_value = matches!(
            next,
            Some(Token::Word(_) | Token::Quoted(_) | Token::Regex(_))
        );
        let head = match *head {
            // Rather a kind that is not known than a value.
            Some(_) if !word.is_empty() && (is_elsewhere || has_value) => {
                return Err(self.unknown());
            }
            Some(head) => head,
            None => {
                let Some(kind) = value::address_kind(word) else {
                    return Err(self.unknown());
                };
                let new = TermHead {
                    protocol: None,
                    family: None,
                    side: Side::Either,
                    kind,
                };
                *head.insert(new)
            }
        };
        let mut tokens = vec![self.at];
        self.at += 1;
        self.more(head, &mut tokens, before)
    }

    /// Makes a term of values, and of those that follow with `or`.
    fn more(
        &mut self,
        head: TermHead,
        tokens: &mut Vec<usize>,
        before: ValueContext,
    ) -> Result<Expr, Error> {
        while self.peek() == Some(&Token::Or) && self.is_value(self.at + 1) {
            if before == ValueContext::Bound {
                let value = self.text.get(self.place(self.at + 1)).unwrap_or_default();
                let values: Vec<&str> = tokens
                    .iter()
                    .filter_map(|&token| self.text.get(self.place(token)))
                    .chain([value])
                    .collect();
                let (kind, values) = (head.kind.as_str(), values.join(" or "));
                let message = format!("\"or {value}\" can be read in two ways");
                let place = self.place(self.at).start..self.place(self.at + 1).end;
                return Err(Error::new(message, place).help(format!(
                    "write {kind} ({values}), or put what is before \"or\" into parentheses"
                )));
            }
            self.at += 1;
            tokens.push(self.at);
            self.at += 1;
        }
        let placed: Vec<SpannedToken> = tokens
            .iter()
            .filter_map(|&token| self.tokens.get(token).cloned())
            .collect();
        let term = value::term(head.kind, head.side, &placed, self.name_tables)?;
        Ok(with(head, Some(term)))
    }

    /// Whether a token is a value that cannot be the beginning of a term.
    fn is_value(&self, index: usize) -> bool {
        match self.tokens.get(index).map(|placed| &placed.token) {
            Some(Token::Word(word)) => !begins_term(word),
            Some(Token::Quoted(_) | Token::Regex(_)) => true,
            _ => false,
        }
    }

    /// `value` or `(value or value ...)`.
    fn values(&mut self, kind: ValueKind) -> Result<Vec<usize>, Error> {
        if !self.take(&Token::Open) {
            return Ok(vec![self.value(kind)?]);
        }
        let open = self.place(self.at - 1);
        let mut found = Vec::new();
        loop {
            found.push(self.value(kind)?);
            if self.take(&Token::Close) {
                return Ok(found);
            }
            if !self.take(&Token::Or) {
                return Err(match self.peek() {
                    None => Error::new("this ( is not closed", open).help("add a )"),
                    Some(_) => {
                        let message =
                            format!("between values of {} there is only \"or\"", kind.as_str());
                        Error::new(message, self.place(self.at))
                    }
                });
            }
        }
    }

    fn value(&mut self, kind: ValueKind) -> Result<usize, Error> {
        match self.peek() {
            Some(Token::Word(_) | Token::Quoted(_) | Token::Regex(_)) => {
                self.at += 1;
                Ok(self.at - 1)
            }
            _ => {
                let message = format!("{} needs a value", kind.as_str());
                let error = Error::new(message, self.place(self.at));
                Err(error.help(format!(
                    "write one, as in {} {}",
                    kind.as_str(),
                    kind.example()
                )))
            }
        }
    }

    /// `rate > 1MB`, from the word on.
    fn compare(&mut self, directions: Directions) -> Result<Term, Error> {
        let per_second = self.peek_word() == Some("rate");
        let what = if per_second { "rate" } else { "bytes" };
        self.at += 1;
        let Some(&Token::Compare(op)) = self.peek() else {
            let error = Error::new(format!("{what} needs a comparison"), self.place(self.at));
            return Err(error.help(format!("write one of > >= < <= = !=, as in {what} > 1MB")));
        };
        self.at += 1;
        let place = self.place(self.at);
        let Some(word) = self.peek_word().map(str::to_owned) else {
            let error = Error::new("an amount is missing here", place);
            return Err(error.help(format!("write one, as in {what} > 1MB")));
        };
        self.at += 1;
        let mut place = place;
        let mut text = word;
        // `1 MB`
        if text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
            && let Some(unit) = self.peek_word().filter(|unit| !begins_term(unit))
        {
            text.push_str(unit);
            place = self.since(self.at - 1);
            place.end = self.place(self.at).end;
            self.at += 1;
        }
        let Amount(bits) = Amount::parse(&text, per_second)
            .map_err(|help| Error::new(format!("\"{text}\" is no amount"), place).help(help))?;
        Ok(Term::Compare(Compare {
            directions,
            per_second,
            op,
            bits,
        }))
    }

    /// A word that is none of the language.
    fn unknown(&self) -> Error {
        let place = self.place(self.at);
        let Some(word) = self.peek_word() else {
            let error = Error::new("this is a name of nothing", place);
            return error.help("write comm, user, container or unit before it");
        };
        let error = Error::new(format!("\"{word}\" is no word of a filter"), place);
        error.help(hints::unknown(word))
    }
}

/// The term, and what its head says in addition.
fn with(head: TermHead, term: Option<Term>) -> Expr {
    let protocol = head
        .protocol
        .map(|protocol| Expr::Is(Term::Protocol(protocol)));
    let family = head.family.map(|family| Expr::Is(Term::Family(family)));
    let parts = [protocol, family, term.map(Expr::Is)];
    let all = Expr::all(parts.into_iter().flatten());
    // There is always one: what has no head has a term.
    all.unwrap_or(Expr::Is(Term::Moved(Direction::Rx)))
}
