//! The filter language. Parses a filter, divides it into a part for the kernel and a part for user
//! space, and evaluates the latter. Independent of the kernel and of output; of the machine it
//! reads only users, services and interfaces.
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
    AllowOrDenyList, Family, KernelFilter, MAX_NETNS, MAX_NETS, MAX_PORTS, MAX_TASKS, MAX_TREES,
    MAX_UIDS, PortRange, Tasks,
};
pub use self::matcher::{Matcher, Subject};
pub use self::name_tables::NameTables;
pub use self::pattern::Pattern;
pub use self::plan::{FilterPlan, Pushdown};
pub use self::value::MAX_ID;

/// Parses a filter.
///
/// # Errors
/// The first mistake, with its place and what to write instead.
pub fn parse(text: &str, words: &NameTables) -> Result<Expr, Error> {
    parser::parse(text, words)
}

/// Whether a text begins with a word of the filter language: if it does not parse, it was meant as
/// a filter all the same.
pub fn looks_like_filter(text: &str) -> bool {
    let text = text.trim_start();
    let first = text.split_whitespace().next().unwrap_or_default();
    hints::begins_term(first) || text.starts_with(['(', '!'])
}

/// Parses an amount like `1MB` into whole bytes.
///
/// # Errors
/// What to write instead.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    amount::Amount::parse(text, false).map(|amount| amount.0 / 8)
}
