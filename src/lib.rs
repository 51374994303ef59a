//! A top for network flows: byte-exact, each flow with its process.
//!
//! ```text
//!  socket calls ──hooks──▶ account() ──▶ active map ─┐  flip + grace period
//!        kernel                          retired map ┴─▶ drain
//!  ─────────────────────────────────────────────────────│──────────────────────
//!        user space                                     ▼
//!                      kernel ──▶ source ──▶ collector ─┬─▶ stats ──▶ output (text, json, csv)
//!                                   │                     └─▶ stats ──▶ tui
//!                                   ├─▶ output/metrics ──▶ http
//!                                   └─▶ recording ──▶ jsonl ──▶ files
//!                        files ──▶ jsonl ──▶ recording ──▶ stats ──▶ output, tui
//! ```
//!
//! Data goes one way, from left to right. What is on the left knows nothing of what is on its
//! right; what is on the right knows no BPF; all share the words in [`model`] and [`view`].
//! `tests/layering.rs` reads the imports and fails when an arrow turns round.
//!
//! | module | turns | into |
//! |---|---|---|
//! | [`model`] | - | flows, intervals, losses: plain data that all share |
//! | [`sync`] | - | locks |
//! | [`system`] | text files of Linux | mounts and accounts |
//! | [`text`] | numbers, untrusted text, losses | text for people |
//! | [`view`] | - | columns, groups and orders that tables can have |
//! | [`resolve`] | process ids, addresses, ports, interfaces | users, programs, containers, host names, in the background |
//! | [`filter`] | text | which flows are meant, and what of that the kernel decides |
//! | [`options`] | - | all options of a run |
//! | [`sandbox`] | all privileges | what counting and showing needs |
//! | [`launch`] | a command | its process, which waits for the probes |
//! | [`kernel`] | socket calls | drained counters; the only one that touches libbpf |
//! | [`source`] | drained counters | [`model::interval::Interval`]s on demand, or on time |
//! | [`stats`] | intervals | totals, averages, peaks; rows of flows or groups, and the rest summed |
//! | [`jsonl`] | rankings, or text | JSON Lines, or intervals again |
//! | [`recording`] | intervals, files | files of JSON Lines, and a history at any place of them |
//! | [`output`] | rankings, intervals | text, JSON Lines, CSV; metrics over HTTP |
//! | [`tui`] | rankings and keys | a live table |
//! | [`doctor`] | this machine | what flowtop lacks here, and the fix |
//! | [`cli`] | arguments, environment, the configuration file | one validated [`options::Config`] |

pub mod cli;
pub mod doctor;
pub mod filter;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod jsonl;
pub mod kernel;
pub mod launch;
pub mod model;
pub mod options;
pub mod output;
pub mod recording;
pub mod resolve;
pub mod sandbox;
pub mod source;
pub mod stats;
pub mod sync;
pub mod system;
#[cfg(test)]
mod testing;
pub mod text;
pub mod tui;
pub mod view;

mod run;

pub use run::{NotStarted, RunEnd, run, stream};
