//! The options of recordings, checked as far as possible before anything runs.

use std::fs;
use std::path::Path;

use clap::error::ErrorKind;

use super::args::Args;
use super::usage::usage_error;
use crate::filter;
use crate::options::{RecordOptions, ReplayOptions};
use crate::text::sanitize::sanitize;

/// The name of standard input.
const STDIN: &str = "-";

/// Returns the options of a recording, if one is requested. An existing file is never overwritten:
/// a recording is evidence.
pub(super) fn record(args: &Args) -> Result<Option<RecordOptions>, clap::Error> {
    let Some(file) = &args.record else {
        return Ok(None);
    };
    let record = RecordOptions {
        file: file.clone(),
        size: args.record_size,
        time: args.record_time,
        files: args.record_files,
        sums: args.record_sums,
    };
    let shown = shown(file);
    let metadata = fs::metadata(file);
    let is_file = metadata.as_ref().is_ok_and(|metadata| metadata.is_file());
    if record.files.is_some() && !record.rotates() {
        return Err(refused(
            "--record-files needs --record-size or --record-time, which start new files".to_owned(),
        ));
    }
    if record
        .sums
        .is_some_and(|sums| args.interval.is_some_and(|interval| interval > sums))
    {
        return Err(refused(
            "--record-sums is shorter than the interval: add up at least one interval, as in -i 10 \
             --record-sums 1h"
                .to_owned(),
        ));
    }
    if file.as_os_str() == STDIN {
        return Err(refused(
            "--record writes to a file: for standard output use --json -n 0".to_owned(),
        ));
    }
    if file.file_name().is_none() || metadata.as_ref().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(refused(format!(
            "--record \"{shown}\" is a directory: give the name of a new file in it"
        )));
    }
    if is_file && !record.rotates() {
        return Err(refused(format!(
            "--record \"{shown}\" already exists and flowtop never overwrites: remove it, choose another name, or use \
             --record-time for timestamped names"
        )));
    }
    Ok(Some(record))
}

/// Returns the recordings to replay, if any.
pub(super) fn replay(args: &Args) -> Result<Option<ReplayOptions>, clap::Error> {
    let files = &args.replay;
    if files.is_empty() {
        return Ok(None);
    }
    if files.iter().filter(|file| is_stdin(file)).count() > 1 {
        return Err(refused(
            "--replay \"-\" is given twice: standard input can be replayed once".to_owned(),
        ));
    }
    for file in files.iter().filter(|file| !is_stdin(file)) {
        let shown = shown(file);
        let metadata = fs::metadata(file).map_err(|error| {
            let word = file.to_string_lossy();
            let help = match filter::looks_like_filter(&word) {
                true => ": put a filter before --replay, or after --",
                false => "",
            };
            refused(format!(
                "--replay \"{shown}\" cannot be read ({error}){help}"
            ))
        })?;
        if metadata.is_dir() {
            return Err(refused(format!(
                "--replay \"{shown}\" is a directory: name the recordings in it, as in {shown}/*.zst"
            )));
        }
    }
    Ok(Some(ReplayOptions {
        files: files.clone(),
        interval: args.interval,
    }))
}

/// Rejects recordings that the live table cannot move back and forth in.
pub(super) fn must_be_files(replay: Option<&ReplayOptions>) -> Result<(), clap::Error> {
    let mut files = replay.into_iter().flat_map(|replay| &replay.files);
    let is_no_file = |file: &&std::path::PathBuf| {
        is_stdin(file) || !fs::metadata(file).is_ok_and(|m| m.is_file())
    };
    match files.find(is_no_file) {
        None => Ok(()),
        Some(file) => Err(refused(format!(
            "--replay on a terminal moves back and forth, which {} cannot: save the recording in a file, or add \
             --batch, --json or --csv",
            match is_stdin(file) {
                true => "standard input".to_owned(),
                false => shown(file),
            }
        ))),
    }
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == STDIN
}

/// Returns the name of a file for a message. Sanitized.
pub(super) fn shown(file: &Path) -> String {
    sanitize(&file.to_string_lossy()).into_owned()
}

pub(super) fn refused(message: String) -> clap::Error {
    usage_error(ErrorKind::ValueValidation, message)
}
