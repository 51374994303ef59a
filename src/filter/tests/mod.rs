//! Tests of the meaning of filters, and of the errors of wrong ones.

mod agree;
mod errors;
mod meaning;

use super::*;

/// Users and services that the tests know.
fn words() -> NameTables {
    NameTables::new(
        &[
            ("root", 0),
            ("www-data", 33),
            ("postgres", 70),
            ("web", 1001),
            ("web2", 1002),
        ],
        &[
            ("https", 443),
            ("http", 80),
            ("domain", 53),
            ("odd", 7),
            ("odd", 9),
        ],
    )
}

#[track_caller]
fn parsed(text: &str) -> Expr {
    match parse(text, &words()) {
        Ok(expr) => expr,
        Err(error) => panic!("{error}"),
    }
}
