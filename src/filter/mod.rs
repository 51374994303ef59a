//! The filter language: which flows are meant. Turns text into a filter, divides it into what the
//! kernel decides and the rest, and decides the rest. Knows no kernel and no presentation, and of
//! the machine only its users and services.
//!
//! ```text
//!  text ──parse──▶ Expr ──split──▶ FilterPlan ─┬─▶ pushed: read-only data of the BPF programs
//!                                              └─▶ rest ──▶ Matcher ──▶ yes or no for a flow
//! ```

mod amount;
mod ast;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hints;
mod kernel_filter;
mod lexer;
mod matcher;
mod name_tables;
mod parser;
mod pattern;
mod plan;
mod term;
#[cfg(test)]
mod tests;
mod value;

pub use self::ast::{Compare, Expr, Op, Side, Term};
pub use self::error::Error;
pub use self::hints::{WORDS, interface as interface_hint};
pub use self::kernel_filter::{
    AllowOrDenyList, Family, KernelFilter, MAX_NETNS, MAX_NETS, MAX_PORTS, MAX_TASKS, MAX_UIDS,
    Net, PortRange, Tasks,
};
pub use self::matcher::{Matcher, Subject};
pub use self::name_tables::NameTables;
pub use self::pattern::Pattern;
pub use self::plan::{FilterPlan, Pushdown};
pub use self::value::MAX_ID;

/// Understands a filter.
///
/// # Errors
/// What is wrong, where, and what to write instead.
pub fn parse(text: &str, words: &NameTables) -> Result<Expr, Error> {
    parser::parse(text, words)
}

/// Whether the first word of a text is one that filters begin with: what does not parse and begins so
/// was meant as a filter.
pub fn looks_like_filter(text: &str) -> bool {
    let text = text.trim_start();
    let first = text.split_whitespace().next().unwrap_or_default();
    hints::begins_term(first) || text.starts_with(['(', '!'])
}

/// Reads an amount as filters have it, as in `1MB`, and gives it in whole bytes.
///
/// # Errors
/// What is wrong, with what to write instead.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    amount::Amount::parse(text, false).map(|amount| amount.0 / 8)
}
