//! Parses one term: its kind, the end of the flow, and its values.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::amount::Amount;
use super::ast::{Compare, Expr, Op, Side, Term};
use super::error::Error;
use super::hints::{self, begins_term};
use super::kernel_filter::Family;
use super::lexer::{SpannedToken, Token, tokens_from};
use super::parser::{Parser, unclosed};
use super::value::{self, ValueKind};
use crate::model::flow::{Direction, Protocol};
use crate::model::net::Net;
use crate::view::Directions;

/// The words of a term before its values.
#[derive(Clone, Copy, Debug)]
pub(super) struct TermHead {
    protocol: Option<Protocol>,
    family: Option<Family>,
    end: FlowSide,
    kind: ValueKind,
}

impl TermHead {
    const fn new(kind: ValueKind) -> Self {
        Self {
            protocol: None,
            family: None,
            end: FlowSide::Side(Side::Either),
            kind,
        }
    }
}

/// The end of a flow that values are about.
#[derive(Clone, Copy, Debug)]
enum FlowSide {
    /// An end independent of the direction of bytes.
    Side(Side),
    /// `src`: the end that sent bytes.
    Sender,
    /// `dst`: the end that received bytes.
    Receiver,
}

/// The token before an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueContext {
    // None, or `or`.
    Free,
    /// `and` or `not`: a value that follows with `or` could belong to this operand or to the whole
    /// filter.
    AfterOperator,
}

impl Parser<'_> {
    pub(super) fn term(
        &mut self,
        head: &mut Option<TermHead>,
        before: ValueContext,
    ) -> Result<Expr, Error> {
        self.split_key()?;
        let first = self.at;
        let word = match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            Some(Token::Quoted(_) | Token::Regex(_)) => return self.bare(head, before),
            Some(Token::Compare(_)) => {
                let message = format!("nothing before \"{}\" to compare", self.token_text(first));
                let error = Error::new(message, self.span(first));
                return Err(error.help("write rate or bytes before it, as in rate > 1MB"));
            }
            Some(Token::And | Token::Or | Token::Close) => {
                let message = format!("a term is missing before \"{}\"", self.token_text(first));
                let error = Error::new(message, self.span(first));
                return Err(error.help("write one, as in port 443"));
            }
            _ => {
                let after = self.token_text(first.max(1) - 1);
                let message = format!("a term is missing after \"{after}\"");
                let error = Error::new(message, self.span(first));
                return Err(error.help("write one, as in port 443"));
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
                    let message = format!("\"{word}\" needs rate or bytes before a comparison");
                    let error = Error::new(message, self.span(first));
                    Err(error.help(format!(
                        "write {word} rate or {word} bytes, as in {word} rate > 1MB"
                    )))
                }
                _ => is(Term::Moved(direction)),
            };
        }
        match word.as_str() {
            "rate" | "bytes" => {
                *head = None;
                is(self.compare(Directions::Both)?)
            }
            "loopback" => {
                self.at += 1;
                *head = None;
                is(loopback())
            }
            "internal" | "external" => {
                self.at += 1;
                *head = None;
                let internal = Expr::Is(Term::Internal);
                Ok(match word.as_str() {
                    "internal" => internal,
                    _ => Expr::Not(Box::new(internal)),
                })
            }
            "ip" | "ip6" | "local" | "remote" | "src" | "dst" => self.headed(head, before),
            word if Protocol::named(word).is_some() => self.headed(head, before),
            word if ValueKind::named(word).is_some() => self.headed(head, before),
            _ => self.bare(head, before),
        }
    }

    /// Splits a word like `port:443` into its key and its value; `:443` has the key `port`.
    fn split_key(&mut self) -> Result<(), Error> {
        let Some(key) = self.peek_word().and_then(hints::split_key) else {
            return Ok(());
        };
        let start = self.span(self.at).start;
        let colon = start + key.len();
        let key = if key.is_empty() { "port" } else { key };
        let key = SpannedToken {
            token: Token::Word(key.to_owned()),
            at: start..colon.max(start + 1),
        };
        // The value may be the beginning of a quoted name or of a regular expression.
        let values = tokens_from(self.text, colon + 1)?;
        self.tokens.truncate(self.at);
        self.tokens.push(key);
        self.tokens.extend(values);
        Ok(())
    }

    fn token_text(&self, index: usize) -> &str {
        self.text.get(self.span(index)).unwrap_or_default()
    }

    /// Parses `[protocol] [side] [kind] values`, of which at least one word is there.
    fn headed(&mut self, head: &mut Option<TermHead>, before: ValueContext) -> Result<Expr, Error> {
        let mut new = TermHead::new(ValueKind::Host);
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
                Some("local") if !sided => (new.end, sided) = (FlowSide::Side(Side::Local), true),
                Some("remote") if !sided => (new.end, sided) = (FlowSide::Side(Side::Remote), true),
                Some("src" | "dst") if !sided => {
                    (new.end, sided) = (self.sender_or_receiver()?, true);
                }
                _ => break,
            }
            self.at += 1;
        }
        // `local port:443`
        self.split_key()?;
        if let Some(kind) = self.peek_word().and_then(ValueKind::named) {
            if sided && !kind.has_sides() {
                let side = self.token_text(self.at - 1);
                let message = format!("\"{side}\" does not go with {}", kind.as_str());
                let error = Error::new(message, self.span(self.at));
                return Err(error.help("local and remote are for host, net, port and portrange"));
            }
            new.kind = kind;
            self.at += 1;
            self.skip_equal(kind)?;
        } else if sided {
            // `remote 10.0.0.1`
            match self.peek_word().and_then(value::address_kind) {
                Some(kind) => new.kind = kind,
                None => return Err(self.kind_missing()),
            }
        } else {
            *head = None;
            return Ok(with(new, None));
        }
        let mut tokens = self.values(new.kind)?;
        *head = Some(new);
        self.more(new, &mut tokens, before)
    }

    /// Parses `src`, `dst` and `src or dst`, up to their last word.
    fn sender_or_receiver(&mut self) -> Result<FlowSide, Error> {
        let first = self.at;
        let end = match self.peek_word() {
            Some("src") => FlowSide::Sender,
            _ => FlowSide::Receiver,
        };
        let is_end = |token: &SpannedToken| matches!(&token.token, Token::Word(word) if word == "src" || word == "dst");
        if !self.tokens.get(first + 2).is_some_and(is_end) {
            return Ok(end);
        }
        match self.tokens[first + 1].token {
            Token::Or => {
                self.at += 2;
                Ok(FlowSide::Side(Side::Either))
            }
            Token::And => {
                let span = self.span(first).start..self.span(first + 2).end;
                let error = Error::new("\"src and dst\" needs its value twice", span);
                Err(error.help("write it at each, as in src port 53 and dst port 53"))
            }
            _ => Ok(end),
        }
    }

    /// Skips `=` after a kind, as in `process = nginx`.
    fn skip_equal(&mut self, kind: ValueKind) -> Result<(), Error> {
        let kind = kind.as_str();
        match self.peek() {
            Some(Token::Compare(Op::Equal)) => self.at += 1,
            Some(Token::Compare(op)) => {
                let sign = self.token_text(self.at);
                let error = Error::new(
                    format!("\"{kind}\" takes no \"{sign}\""),
                    self.span(self.at),
                );
                let value = self
                    .tokens
                    .get(self.at + 1)
                    .map(|_| self.token_text(self.at + 1));
                let value = value.unwrap_or("443");
                return Err(error.help(match (op, kind) {
                    (Op::Different, kind) => format!("write not {kind} {value}"),
                    (_, "port" | "portrange") => {
                        "write portrange, as in portrange 1024-65535".to_owned()
                    }
                    (_, kind) => format!("write {kind} {value}"),
                }));
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the error for `local 443`.
    fn kind_missing(&self) -> Error {
        let side = self.token_text(self.at - 1);
        let message = format!("\"{side}\" needs host, net, port or portrange");
        let error = Error::new(message, self.span(self.at));
        let word = self.peek_word().unwrap_or_default();
        error.help(match word.parse::<u16>() {
            Ok(port) => format!("write {side} port {port}"),
            Err(_) => format!("write one after it, as in {side} port 443"),
        })
    }

    /// Parses a value without a kind.
    fn bare(&mut self, head: &mut Option<TermHead>, before: ValueContext) -> Result<Expr, Error> {
        let word = self.peek_word().unwrap_or_default();
        let next = self.tokens.get(self.at + 1).map(|placed| &placed.token);
        let is_elsewhere = hints::elsewhere(word).is_some();
        let has_value = matches!(
            next,
            Some(Token::Word(_) | Token::Quoted(_) | Token::Regex(_))
        );
        let head = match *head {
            // More likely an unknown kind than a value.
            Some(_) if !word.is_empty() && (is_elsewhere || has_value) => {
                return Err(self.unknown());
            }
            Some(head) => head,
            None => {
                let Some(kind) = value::address_kind(word) else {
                    return Err(self.unknown());
                };
                *head.insert(TermHead::new(kind))
            }
        };
        let mut tokens = vec![self.at];
        self.at += 1;
        self.more(head, &mut tokens, before)
    }

    /// Makes a term of values and of the values that follow with `or`.
    fn more(
        &mut self,
        head: TermHead,
        tokens: &mut Vec<usize>,
        before: ValueContext,
    ) -> Result<Expr, Error> {
        while self.peek() == Some(&Token::Or) && self.is_value(self.at + 1) {
            if before == ValueContext::AfterOperator {
                let value = self.text.get(self.span(self.at + 1)).unwrap_or_default();
                let values: Vec<&str> = tokens
                    .iter()
                    .filter_map(|&token| self.text.get(self.span(token)))
                    .chain([value])
                    .collect();
                let (kind, values) = (head.kind.as_str(), values.join(" or "));
                let message = format!("\"or {value}\" is ambiguous");
                let span = self.span(self.at).start..self.span(self.at + 1).end;
                return Err(Error::new(message, span).help(format!(
                    "write {kind} ({values}), or put the part before \"or\" in parentheses"
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
        let term = |side| value::term(head.kind, side, &placed, self.name_tables).map(Expr::Is);
        let moved = |direction| Expr::Is(Term::Moved(direction));
        let (local, remote) = match head.end {
            FlowSide::Side(side) => return Ok(with(head, Some(term(side)?))),
            FlowSide::Sender => (Direction::Tx, Direction::Rx),
            FlowSide::Receiver => (Direction::Rx, Direction::Tx),
        };
        let parts = [(Side::Local, local), (Side::Remote, remote)];
        let mut ends = Vec::new();
        for (side, direction) in parts {
            ends.extend(Expr::all([term(side)?, moved(direction)]));
        }
        Ok(with(head, Expr::any(ends)))
    }

    /// Whether a token is a value, and no term begins with it.
    fn is_value(&self, index: usize) -> bool {
        match self.tokens.get(index).map(|placed| &placed.token) {
            Some(Token::Word(word)) => !begins_term(word),
            Some(Token::Quoted(_) | Token::Regex(_)) => true,
            _ => false,
        }
    }

    /// Parses `value` or `(value or value ...)` and returns the indices of the values.
    fn values(&mut self, kind: ValueKind) -> Result<Vec<usize>, Error> {
        if !self.take(&Token::Open) {
            return Ok(vec![self.value(kind)?]);
        }
        let open = self.span(self.at - 1);
        let mut found = Vec::new();
        loop {
            found.push(self.value(kind)?);
            if self.take(&Token::Close) {
                return Ok(found);
            }
            if !self.take(&Token::Or) {
                return Err(match self.peek() {
                    None => unclosed(open),
                    Some(_) => {
                        let (kind, word) = (kind.as_str(), self.token_text(self.at));
                        let message = format!("\"{word}\" cannot join values of {kind}");
                        Error::new(message, self.span(self.at)).help("join them by \"or\"")
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
                let message = format!("\"{}\" needs a value", kind.as_str());
                let error = Error::new(message, self.span(self.at));
                Err(error.help(format!(
                    "write one, as in {} {}",
                    kind.as_str(),
                    kind.example()
                )))
            }
        }
    }

    /// Parses `rate > 1MB` or `bytes > 1MB`.
    fn compare(&mut self, directions: Directions) -> Result<Term, Error> {
        let per_second = self.peek_word() == Some("rate");
        let what = if per_second { "rate" } else { "bytes" };
        self.at += 1;
        let Some(&Token::Compare(op)) = self.peek() else {
            let error = Error::new(format!("\"{what}\" needs a comparison"), self.span(self.at));
            return Err(error.help(format!(
                "write > >= < <= = or != after it, as in {what} > 1MB"
            )));
        };
        self.at += 1;
        let span = self.span(self.at);
        let Some(word) = self.peek_word().map(str::to_owned) else {
            let message = format!(
                "an amount is missing after \"{}\"",
                self.token_text(self.at - 1)
            );
            let error = Error::new(message, span);
            return Err(error.help(format!("write one, as in {what} > 1MB")));
        };
        self.at += 1;
        let mut span = span;
        let mut text = word;
        // `1 MB`
        if text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
            && let Some(unit) = self.peek_word().filter(|unit| !begins_term(unit))
        {
            text.push_str(unit);
            span = self.since(self.at - 1);
            span.end = self.span(self.at).end;
            self.at += 1;
        }
        let Amount(bits) = Amount::parse(&text, per_second)
            .map_err(|help| Error::new(format!("\"{text}\" is not an amount"), span).help(help))?;
        Ok(Term::Compare(Compare {
            directions,
            per_second,
            op,
            bits,
        }))
    }

    /// Returns the error for a word that the language does not have.
    fn unknown(&self) -> Error {
        let span = self.span(self.at);
        let Some(word) = self.peek_word() else {
            let name = self.token_text(self.at).trim_matches(['"', '\'']);
            let error = Error::new(
                format!("a filter word is missing before the name \"{name}\""),
                span,
            );
            return error.help("write process, user, container or unit before it");
        };
        let error = Error::new(format!("unknown word \"{word}\""), span);
        error.help(hints::unknown(word, self.name_tables))
    }
}

/// Joins the protocol and the family of a head with the term of its values.
fn with(head: TermHead, term: Option<Expr>) -> Expr {
    let protocol = head
        .protocol
        .map(|protocol| Expr::Is(Term::Protocol(protocol)));
    let family = head.family.map(|family| Expr::Is(Term::Family(family)));
    let all = Expr::all([protocol, family, term].into_iter().flatten());
    all.unwrap_or_else(|| unreachable!("a head without values has a protocol or a family"))
}

/// Returns the term of `loopback`: an end in the networks of loopback addresses.
fn loopback() -> Term {
    let nets = [
        Net::of(Ipv4Addr::LOCALHOST.into(), 8),
        Net::of(Ipv6Addr::LOCALHOST.into(), 128),
    ];
    Term::Nets(Side::Either, nets.to_vec())
}
