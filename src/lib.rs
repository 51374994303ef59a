//! A top for network flows: byte-exact, each flow with its process.
//!
//! ```text
//!  socket calls ──hooks──▶ account() ──▶ active map ─┐  flip + grace period
//!        kernel                          retired map ┴─▶ drain
//!  ─────────────────────────────────────────────────────│──────────────────────
//!        user space                                     ▼
//!                      kernel ──▶ source ──▶ collector ─┬─▶ rank ──▶ report (text, json)
//!                                           (own thread) └─▶ history ──▶ rank ──▶ tui
//! ```
//!
//! Data goes one way, from left to right. What is on the left knows nothing of what is on its
//! right; what is on the right knows no BPF; all share the words in [`flow`], [`interval`] and
//! [`table`].
//! `tests/layering.rs` reads the imports and fails when an arrow turns round.
//!
//! | module | turns | into |
//! |---|---|---|
//! | [`cli`] | arguments, [`settings`] | one validated [`config::Config`] |
//! | [`settings`] | the configuration file | defaults |
//! | [`filter`] | text | which flows are meant, and what of that the kernel decides |
//! | [`kernel`] | socket calls | drained counters; the only one that touches libbpf |
//! | [`source`] | drained counters, later recordings | [`interval::Interval`]s on demand |
//! | [`collector`] | a source | intervals on time, in its own thread |
//! | [`history`] | intervals | totals, averages, peaks, the last minute |
//! | [`rank`] | an interval, or a history | rows of flows or groups, and the rest summed |
//! | [`sandbox`] | all privileges | what counting and showing needs |
//! | [`owner`] | process ids | users, programs, containers, in the background |
//! | [`names`] | addresses, ports | host names, in the background; services |
//! | [`audit`] | losses | words |
//! | [`report`] | rankings | text or JSON Lines |
//! | [`tui`] | rankings and keys | a live table |
//! | [`doctor`] | this machine | what flowtop lacks here, and the fix |

#![warn(missing_docs)]

pub mod audit;
pub mod capability;
pub mod cli;
pub mod collector;
pub mod config;
pub mod doctor;
pub mod filter;
pub mod flow;
pub mod history;
pub mod interval;
pub mod kernel;
pub mod names;
pub mod owner;
pub mod rank;
pub mod report;
pub mod sandbox;
pub mod settings;
pub mod signals;
pub mod source;
pub mod table;
#[cfg(test)]
mod testing;
pub mod tui;
pub mod units;

use std::io::{self, Write as _};

use anyhow::{Context, Result};

use config::{Config, Output};
use sandbox::{Allow, Confinement};
use signals::Watch;
use source::filtered::Filtered;
use source::live::Live;

/// Counts this machine's flows and shows them as `config` says, until told to stop.
///
/// # Errors
/// When the kernel side cannot be attached or read, or the output cannot be written.
pub fn run(config: &Config) -> Result<()> {
    let mut live = Live::open(config)?;
    let method = live.method();
    // From here on there is something to hand over before the end.
    let signals = Watch::install().context("watch for signals")?;
    if config.output == Output::Table {
        tui::take_keyboard();
    }
    let confinement = if config.sandbox {
        live.confine(&Allow::default())?
    } else {
        Confinement::declined()
    };
    if config.verbose {
        let (backend, reason) = (&method.backend, &method.reason);
        // A closed standard error is no reason to end.
        let _ = writeln!(io::stderr(), "flowtop: {backend} backend: {reason}");
        let _ = writeln!(io::stderr(), "flowtop: {confinement}");
    }
    let source = Filtered::new(live, config.filter.rest.as_ref());
    match config.output {
        Output::Table => tui::run(config, source, method, &confinement, signals),
        Output::Text | Output::Json => {
            report::run(config, source, Some(signals), &mut io::stdout().lock())
        }
    }
}
