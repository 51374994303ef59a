//! A top for network flows: byte-exact, each flow with its process.
//!
//! ```text
//!  socket calls ──hooks──▶ account() ──▶ active map ─┐  flip + grace period
//!        kernel                          retired map ┴─▶ drain
//!  ─────────────────────────────────────────────────────│──────────────────────
//!        user space                                     ▼
//!                      kernel ──▶ source ──▶ collector ─┬─▶ rank ──▶ report (text, json, csv)
//!                                   ├─▶ metrics ──▶ http   └─▶ history ──▶ rank ──▶ tui
//!                                   └─▶ record ──▶ files
//!                        files ──▶ replay ──────────────▶ rank ──▶ report
//!                                   └─▶ player ──▶ history ──▶ rank ──▶ tui
//! ```
//!
//! Data goes one way, from left to right. What is on the left knows nothing of what is on its
//! right; what is on the right knows no BPF; all share the words in [`model::flow`], [`model::interval`] and
//! [`view`].
//! `tests/layering.rs` reads the imports and fails when an arrow turns round.
//!
//! | module | turns | into |
//! |---|---|---|
//! | [`cli::args`] | arguments, [`cli::config_file`] | one validated [`options::Config`] |
//! | [`cli::config_file`] | the configuration file | defaults |
//! | [`filter`] | text | which flows are meant, and what of that the kernel decides |
//! | [`kernel`] | socket calls | drained counters; the only one that touches libbpf |
//! | [`text`] | times, unknown words | text for people, suggestions |
//! | [`source`] | drained counters | [`model::interval::Interval`]s on demand |
//! | [`source::collector`] | a source | intervals on time, in its own thread |
//! | [`stats::history`] | intervals | totals, averages, peaks, the last minute |
//! | [`stats::ranking`] | an interval, or a history | rows of flows or groups, and the rest summed |
//! | [`sandbox::privilege`] | the privilege it is lent | the caller's rights, but for the kernel side |
//! | [`sandbox`] | all privileges | what counting and showing needs |
//! | [`resolve::owners`] | process ids | users, programs, containers, in the background |
//! | [`resolve::names`] | addresses, ports | host names, in the background; services |
//! | [`resolve::interfaces`] | numbers of network interfaces | their names, and back |
//! | [`resolve::namespace`] | this process | the namespaces that change what a number means |
//! | [`text::losses`] | losses | words |
//! | [`recording::recorder`] | intervals | files of JSON Lines, in its own thread |
//! | [`output::metrics`] | intervals | metrics over HTTP, in its own thread |
//! | [`recording::replay`] | such files | intervals again |
//! | [`recording::player`] | recordings | a history at any place of them, at any pace, in its own thread |
//! | [`output`] | rankings | text, JSON Lines or CSV |
//! | [`tui`] | rankings and keys | a live table |
//! | [`doctor`] | this machine | what flowtop lacks here, and the fix |

#![warn(missing_docs)]

pub mod cli;
pub mod doctor;
pub mod filter;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod jsonl;
pub mod kernel;
pub mod model;
pub mod options;
pub mod output;
pub mod recording;
pub mod resolve;
pub mod sandbox;
pub mod source;
pub mod stats;
#[cfg(test)]
mod testing;
pub mod text;
pub mod tui;
pub mod view;

mod run;

pub use run::{End, run};
