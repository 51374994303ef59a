//! What is asked for of metrics, and of output when there is none.

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::Args;
use crate::config::Listen;
use crate::table::Group;

/// Where to serve metrics, and of what.
pub(super) fn listen(args: &Args) -> Option<Listen> {
    args.listen.map(|addr| Listen {
        addr,
        group: match args.group {
            // There would be no end of series.
            None | Some(Group::Flow) => Group::Process,
            Some(group) => group,
        },
    })
}

/// Counting for nobody is a mistake.
pub(super) fn must_be_for_something(args: &Args) -> Result<(), clap::Error> {
    if !args.quiet || args.listen.is_some() || args.record.is_some() || args.exit_when.is_some() {
        return Ok(());
    }
    Err(Args::command().error(
        ErrorKind::MissingRequiredArgument,
        "with --quiet nothing would come of what is counted: add --listen, --record or --exit-when, or \
         leave --quiet out",
    ))
}
