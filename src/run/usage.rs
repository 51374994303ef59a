//! Adds up recordings and ledgers: reads each to its end, and writes the sums of each period.

use std::io::{self, Write as _};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, bail};

use super::{damaged, open_confined, print_note};
use crate::jsonl::input::Stop;
use crate::jsonl::sums::LedgerReader;
use crate::options::{Config, UsageOptions};
use crate::output::usage::{UsageFormat, write_usage};
use crate::recording::replay::{self, Recording, Replay};
use crate::resolve::owners::Owners;
use crate::sandbox::privilege::Privilege;
use crate::stats::usage::Usage;
use crate::text::sanitize::sanitize;

/// Adds up what the options name, and writes it.
pub(super) fn added_up(
    config: &Config,
    privilege: &Privilege,
    options: &UsageOptions,
) -> Result<()> {
    let (files, stop) = open_confined(config, privilege, || replay::open(&options.files))?;
    let mut usage = Usage::new(options.group, options.by);
    let mut is_whole = true;
    for file in &files {
        let name = sanitize(&file.name().to_string_lossy()).into_owned();
        let ledger = LedgerReader::open(file, &stop);
        is_whole &= match ledger.with_context(|| format!("usage {name}"))? {
            Some(ledger) => add_ledger(config, ledger, &name, &mut usage)?,
            None => add_flows(config, file, &stop, &mut usage)?,
        };
    }
    if stop.load(Ordering::Relaxed) {
        return Ok(());
    }
    let format = UsageFormat {
        output: config.output,
        units: config.stream.units,
        top_n: options.top_n,
    };
    let mut text = Vec::new();
    write_usage(&usage, format, &mut text)?;
    io::stdout().lock().write_all(&text)?;
    match is_whole {
        true => Ok(()),
        false => bail!("not all of what was to be added up could be read"),
    }
}

/// Adds a ledger; whether all of it could be read.
fn add_ledger(
    config: &Config,
    ledger: LedgerReader,
    name: &str,
    usage: &mut Usage,
) -> Result<bool> {
    let filter = config.capture.filter.rest.as_ref();
    if let Some(filter) = filter
        && filter.matches_group(usage.group, "").is_none()
    {
        let help = match filter.group_example(usage.group) {
            Some(example) => format!("a filter of it names what is summed, as in {example}"),
            None => "it takes no filter".to_owned(),
        };
        bail!(
            "{name} is a ledger, which holds sums by {} and no flows: {help}; a recording takes any filter",
            usage.group
        );
    }
    for sums in ledger {
        let mut sums = match sums {
            Ok(sums) => sums,
            Err(corruption) => {
                print_note(&damaged(&corruption));
                return Ok(false);
            }
        };
        if !sums.groups.contains_key(&usage.group) {
            let known: Vec<String> = sums.groups.keys().map(ToString::to_string).collect();
            bail!(
                "{name} is a ledger, which has no sums by {}: use -g {}",
                usage.group,
                known.join(", ")
            );
        }
        if let Some(filter) = filter {
            let group = usage.group;
            let is_kept = |name: &str| filter.matches_group(group, name).unwrap_or_default();
            if !sums.retain(group, is_kept) {
                bail!(
                    "{name} has an hour with too many names, of which the further ones are one sum: leave the filter out"
                );
            }
        }
        let period = usage
            .period(sums.ended)
            .context("these are too many periods")?;
        period.append(&sums);
    }
    Ok(true)
}

/// Adds a recording of flows; whether all of it could be read.
fn add_flows(config: &Config, file: &Recording, stop: &Stop, usage: &mut Usage) -> Result<bool> {
    let owners = Owners::disabled();
    let filter = config.capture.filter.rest.as_ref();
    for recorded in Replay::new(slice::from_ref(file), None, filter, stop) {
        let recorded = match recorded {
            Ok(recorded) => recorded,
            Err(corruption) => {
                print_note(&damaged(&corruption));
                return Ok(false);
            }
        };
        for (uid, name) in &recorded.metadata.users {
            owners.learn_user(*uid, Arc::clone(name));
        }
        let interval = &recorded.interval;
        let period = usage
            .period(interval.ended)
            .context("these are too many periods")?;
        period.add(interval, &owners);
    }
    Ok(true)
}
