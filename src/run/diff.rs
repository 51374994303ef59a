//! Compares two recordings: reads each to its end, and writes what changed.

use std::io::{self, Write as _};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};

use super::{damaged, open_confined, print_note};
use crate::jsonl::input::Stop;
use crate::options::{Config, DiffOptions, DiffSide, Output};
use crate::output::diff::{DiffFormat, NamedStretch, write_diff};
use crate::recording::replay::{self, RecordedInterval, Recording, Replay};
use crate::resolve::owners::Owners;
use crate::sandbox::privilege::Privilege;
use crate::stats::comparison::{Comparison, TrafficStretch};

/// Compares two recordings; sets `met` if anything changed.
pub(super) fn compared(
    config: &Config,
    privilege: &Privilege,
    diff: &DiffOptions,
    met: &AtomicBool,
) -> Result<()> {
    let paths = [diff.before.file.clone(), diff.after.file.clone()];
    let (files, stop) = open_confined(config, privilege, || replay::open(&paths))?;
    let zones = config.capture.zones.as_ref();
    let files: Vec<_> = files
        .into_iter()
        .map(|file| file.with_zones(zones))
        .collect();
    let mut stretches = Vec::new();
    for (side, file) in [&diff.before, &diff.after].into_iter().zip(&files) {
        stretches.push(stretch(config, diff, side, file, &stop)?);
    }
    if stop.load(Ordering::Relaxed) {
        return Ok(());
    }
    let [before, after] = stretches.as_slice() else {
        bail!("two recordings are compared");
    };
    let comparison = Comparison::new(&before.stretch, &after.stretch);
    met.store(!comparison.changes.is_empty(), Ordering::Relaxed);
    let format = DiffFormat {
        is_json: config.output == Output::Json,
        group: diff.group,
        units: config.stream.units,
        top_n: diff.top_n,
    };
    let mut text = Vec::new();
    write_diff(before, after, &comparison, format, &mut text)?;
    io::stdout().lock().write_all(&text)?;
    Ok(())
}

fn stretch(
    config: &Config,
    diff: &DiffOptions,
    side: &DiffSide,
    file: &Recording,
    stop: &Stop,
) -> Result<NamedStretch> {
    let owners = Owners::disabled();
    let filter = config.capture.filter.rest.as_ref();
    let mut stretch = TrafficStretch::default();
    for recorded in Replay::new(slice::from_ref(file), diff.interval, filter, stop) {
        let RecordedInterval {
            interval, metadata, ..
        } = match recorded {
            Ok(recorded) => recorded,
            Err(corruption) => {
                // Compared with an incomplete recording, groups of the missing part would appear
                // gone.
                print_note(&damaged(&corruption));
                bail!("not all of what was to be compared could be read");
            }
        };
        for (uid, name) in &metadata.users {
            owners.learn_user(*uid, Arc::clone(name));
        }
        let is_meant = |window: &crate::options::TimeWindow| window.contains(interval.ended);
        if side.window.as_ref().is_none_or(is_meant) {
            stretch.add(&interval, diff.group, &owners);
        }
    }
    let name = side.name.clone();
    if stretch.intervals == 0 && !stop.load(Ordering::Relaxed) {
        bail!("\"{name}\" has no interval: name another recording, or another window of it");
    }
    Ok(NamedStretch { name, stretch })
}
