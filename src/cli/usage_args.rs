//! The options of `flowtop usage`.

use std::fs;

use super::args::Args;
use super::recording_args::{refused, shown};
use crate::filter;
use crate::options::UsageOptions;
use crate::view::Group;

/// Returns the recordings to add up and the period, if requested.
pub(super) fn usage(args: &Args) -> Result<Option<UsageOptions>, clap::Error> {
    if args.usage.is_empty() {
        return Ok(None);
    }
    let group = match args.group {
        None => Group::Program,
        Some(Group::Flow) => {
            return Err(refused(
                "flowtop usage adds up groups, because flows have new ports each time: use -g program, \
                 remote or another group"
                    .to_owned(),
            ));
        }
        Some(group) => group,
    };
    for file in &args.usage {
        let is_file = fs::metadata(file).map(|metadata| metadata.is_file());
        let problem = match is_file {
            Ok(true) => continue,
            Ok(false) => "is not a file: name recordings or ledgers".to_owned(),
            Err(error) => {
                let help = match filter::looks_like_filter(&file.to_string_lossy()) {
                    true => ": put a filter after --",
                    false => "",
                };
                format!("cannot be read ({error}){help}")
            }
        };
        return Err(refused(format!(
            "flowtop usage \"{}\" {problem}",
            shown(file)
        )));
    }
    Ok(Some(UsageOptions {
        files: args.usage.clone(),
        group,
        by: args.by.unwrap_or_default(),
        top_n: match args.top_n {
            None => Some(10),
            Some(most) => (most > 0).then_some(most),
        },
    }))
}
