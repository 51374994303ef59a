//! Parses arguments with clap, and makes errors of which no argument can drive the terminal.

use std::ffi::OsString;
use std::fmt;

use clap::builder::Styles;
use clap::error::{ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _, Parser as _};

use super::args::Args;
use crate::text::sanitize::sanitize;

/// Parses arguments. Help has styles. Errors have none: what they quote is made harmless where they are
/// written, which would take the escape sequences of styles for the user's.
pub(super) fn typed<I, T>(args: I) -> Result<Args, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let matches = unstyled().try_get_matches_from(&args);
    match matches.and_then(|matches| Args::from_arg_matches(&matches)) {
        Ok(typed) => Ok(typed),
        Err(error) if error.use_stderr() => Err(harmless(error)),
        Err(_) => Args::try_parse_from(args),
    }
}

/// The same error with arguments in it as they are shown: line ends in an argument are not the
/// message's.
fn harmless(mut error: clap::Error) -> clap::Error {
    let clean = |text: &String| sanitize(text).into_owned();
    let context: Vec<_> = error
        .context()
        .map(|(kind, value)| (kind, value.clone()))
        .collect();
    for (kind, value) in context {
        let value = match value {
            ContextValue::String(text) => ContextValue::String(clean(&text)),
            ContextValue::Strings(texts) => {
                ContextValue::Strings(texts.iter().map(clean).collect())
            }
            // Advice, which repeats arguments.
            ContextValue::StyledStrs(texts) => {
                let texts = texts
                    .iter()
                    .map(|text| clean(&text.ansi().to_string()).into());
                ContextValue::StyledStrs(texts.collect())
            }
            other => other,
        };
        error.insert(kind, value);
    }
    error
}

fn unstyled() -> clap::Command {
    Args::command().styles(Styles::plain())
}

/// An error of the command line as a whole.
pub(super) fn usage_error(kind: ErrorKind, message: impl fmt::Display) -> clap::Error {
    unstyled().error(kind, message)
}
