//! The two recordings of `flowtop diff`, each with an optional window of time.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;

use super::args::Args;
use super::usage::usage_error;
use crate::options::{DiffOptions, DiffSide, TimeWindow};
use crate::text::sanitize::sanitize;
use crate::view::Group;

/// `flowtop diff A B` is `flowtop --diff A B`, and `flowtop usage FILE` is `flowtop --usage FILE`.
pub(super) fn as_option(args: &mut [OsString]) {
    let word = args
        .get_mut(1)
        .filter(|word| *word == "diff" || *word == "usage");
    if let Some(word) = word {
        *word = format!("--{}", word.to_string_lossy()).into();
    }
}

/// Returns the two sides of a comparison, if one is requested.
pub(super) fn diff(args: &Args) -> Result<Option<DiffOptions>, clap::Error> {
    let [before, after] = args.diff.as_slice() else {
        return Ok(None);
    };
    let group = match args.group {
        None => Group::Program,
        Some(Group::Flow) => {
            return Err(refused(
                "flowtop diff compares groups, because flows have new ports each time: use -g program, \
                 remote or another group",
            ));
        }
        Some(group) => group,
    };
    Ok(Some(DiffOptions {
        before: side(before)?,
        after: side(after)?,
        group,
        top_n: args.top_n.filter(|&most| most > 0),
        interval: args.interval,
    }))
}

/// Parses a side: a recording, or `FILE@FROM..TO`. If a file with the whole name exists, it is that
/// file.
fn side(text: &str) -> Result<DiffSide, clap::Error> {
    let whole = Path::new(text);
    let split = match whole.exists() {
        true => None,
        false => text.rsplit_once('@'),
    };
    let (file, window) = match split {
        None => (whole, None),
        Some((file, times)) => (Path::new(file), Some(window(times)?)),
    };
    match fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => Ok(DiffSide {
            name: text.to_owned(),
            file: PathBuf::from(file),
            window,
        }),
        Ok(_) => Err(refused(format!(
            "flowtop diff \"{}\": this is not a file: name a recording",
            sanitize(text)
        ))),
        Err(error) => Err(refused(format!(
            "flowtop diff \"{}\" cannot be read ({error})",
            sanitize(text)
        ))),
    }
}

fn window(text: &str) -> Result<TimeWindow, clap::Error> {
    let parsed = text.split_once("..").and_then(|(from, to)| {
        let times = (
            from.parse::<jiff::Timestamp>(),
            to.parse::<jiff::Timestamp>(),
        );
        if let (Ok(from), Ok(to)) = times {
            return (from < to).then(|| TimeWindow::Times(from.into(), to.into()));
        }
        let (from, to) = (time_of_day(from)?, time_of_day(to)?);
        (from < to).then_some(TimeWindow::EachDay(from, to))
    });
    parsed.ok_or_else(|| {
        refused(format!(
            "\"{}\" is not a window of time: give the earlier time first, in UTC as JSON has it, as in \
             day.zst@10:00..11:30 or day.zst@2026-11-22T10:00Z..2026-11-22T11:30Z",
            sanitize(text)
        ))
    })
}

/// Time since midnight of `HH:MM` or `HH:MM:SS`; `24:00` is the end of the day.
fn time_of_day(text: &str) -> Option<Duration> {
    if text == "24:00" {
        return Some(Duration::from_secs(24 * 3600));
    }
    let time: jiff::civil::Time = text.parse().ok()?;
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

fn refused(message: impl std::fmt::Display) -> clap::Error {
    usage_error(ErrorKind::ValueValidation, message)
}
