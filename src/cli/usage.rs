//! Parses arguments with clap and turns its errors into one line each, from which no argument can
//! drive the terminal.

use std::error::Error as _;
use std::ffi::OsString;
use std::fmt;

use clap::builder::Styles;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _, Parser as _};

use super::args::Args;
use super::{diff_args, other_tools};
use crate::text::sanitize::sanitize;

/// Parses arguments. Help has styles; errors have none, and what they quote is sanitized.
pub(super) fn typed<I, T>(args: I) -> Result<Args, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let mut args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    diff_args::as_option(&mut args);
    if let Some(message) = other_tools::view_mode(&args) {
        return Err(usage_error(ErrorKind::UnknownArgument, message));
    }
    let plain = Args::command().styles(Styles::plain());
    let matches = plain.try_get_matches_from(&args);
    match matches.and_then(|matches| Args::from_arg_matches(&matches)) {
        Ok(typed) => Ok(typed),
        Err(error) if error.use_stderr() => Err(usage_error(error.kind(), one_line(&error))),
        Err(error) if error.kind() == ErrorKind::DisplayHelp && !is_long(&args) => {
            let matches = Args::short_command().try_get_matches_from(&args);
            matches.and_then(|matches| Args::from_arg_matches(&matches))
        }
        Err(_) => Args::try_parse_from(args),
    }
}

/// Whether the arguments contain `--help`, which prints all options.
fn is_long(args: &[OsString]) -> bool {
    args.iter().any(|arg| arg == "--help")
}

/// Returns an error in one line: what failed, for which value, and the fix.
pub(super) fn one_line(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(clean(text)),
        Some(ContextValue::Strings(texts)) => {
            let texts: Vec<_> = texts.iter().map(|text| clean(text)).collect();
            (!texts.is_empty()).then(|| texts.join(", "))
        }
        _ => None,
    };
    let option = context(ContextKind::InvalidArg).map(|arg| name(&arg));
    let option = option.as_deref().unwrap_or("an argument");
    let value = context(ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let near = context(ContextKind::SuggestedArg).map(|arg| name(&arg));
            let help = match (other_tools::option(option), near) {
                (Some(help), _) => help.to_owned(),
                (None, Some(near)) => {
                    format!("did you mean {near}? flowtop --help lists all options")
                }
                (None, None) => "flowtop --help lists all options".to_owned(),
            };
            format!("unknown option \"{option}\": {help}")
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            format!(
                "{option} needs a value: {}",
                other_tools::needed_value(option)
            )
        }
        ErrorKind::InvalidValue => match context(ContextKind::ValidValue) {
            Some(known) => format!("{option} \"{value}\": use one of {known}"),
            None => format!("{option} \"{value}\" is not valid"),
        },
        ErrorKind::WrongNumberOfValues => {
            format!("{option}: {}", other_tools::needed_value(option))
        }
        ErrorKind::ValueValidation => {
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            if reason.contains(&format!("\"{value}\"")) {
                format!("{option}: {reason}")
            } else {
                format!("{option} \"{value}\": {reason}")
            }
        }
        ErrorKind::ArgumentConflict => match context(ContextKind::PriorArg).map(|arg| name(&arg)) {
            Some(other) if other == option => format!("{option} was given twice: give it once"),
            Some(other) => format!("{option} cannot be used with {other}: leave out one of them"),
            None => format!("{option} cannot be used with the other options: leave it out"),
        },
        ErrorKind::MissingRequiredArgument => {
            let needing = match option {
                "--listen" => "--scrape-interval and --listen-host",
                "--usage" => "--by",
                _ => "--record-size, --record-time, --record-files and --record-sums",
            };
            let need = match needing.contains(' ') {
                true => "need",
                false => "needs",
            };
            format!("{option} is missing: {needing} {need} it")
        }
        ErrorKind::TooManyValues => {
            format!("{option} takes no value: leave \"{value}\" out")
        }
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8: write it in UTF-8".to_owned(),
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            clean(first.trim_start_matches("error: "))
        }
    }
}

/// Returns an argument as a message shows it.
fn clean(text: &str) -> String {
    sanitize(text).into_owned()
}

/// Returns an option without the name of its value.
fn name(arg: &str) -> String {
    let name = arg.split([' ', '=']).next().unwrap_or(arg);
    name.to_owned()
}

/// Returns an error of the command line, for which flowtop exits with 2.
pub(super) fn usage_error(kind: ErrorKind, message: impl fmt::Display) -> clap::Error {
    clap::Error::raw(kind, format!("{message}\n"))
}
