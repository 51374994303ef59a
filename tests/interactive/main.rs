//! Tests of the live table on a pseudo-terminal. Needs root.
//!
//! They are a binary of their own, because `live::totals_are_what_the_generator_sent_to_the_byte`
//! counts what this whole process moves: no other test here opens a socket in it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

#[path = "../common/mod.rs"]
mod common;

mod eye;
mod jobs;
mod live;
mod terminal;
mod terminals;
