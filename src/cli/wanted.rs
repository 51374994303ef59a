//! What arguments say of the flows that are meant, as one filter.

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::Args;
use crate::filter::{self, Expr, MAX_TASKS, Plan, Reach, Term, Words};

/// The filter of all that was said: one of the processes and threads, if any are named, and what the
/// words say.
pub(super) fn plan(args: &mut Args) -> Result<Plan, clap::Error> {
    let pids = unique("--pid", std::mem::take(&mut args.pids))?;
    let tids = unique("--tid", std::mem::take(&mut args.tids))?;
    let pids = (!pids.is_empty()).then_some(Expr::Is(Term::Pids(pids)));
    let tids = (!tids.is_empty()).then_some(Expr::Is(Term::Tids(tids)));
    let tasks = Expr::any(pids.into_iter().chain(tids));
    let words = match args.filter.as_slice() {
        [] => None,
        words => {
            let parsed = filter::parse(&words.join(" "), &Words::system());
            let refuse = |error| clap::Error::raw(ErrorKind::ValueValidation, format!("{error}\n"));
            Some(parsed.map_err(refuse)?)
        }
    };
    let Some(all) = Expr::all(tasks.into_iter().chain(words)) else {
        return Ok(Plan::default());
    };
    // A recording has no kernel to push anything to.
    let reach = match args.no_pushdown || !args.replay.is_empty() {
        true => Reach::Nothing,
        false => Reach::All,
    };
    Ok(Plan::new(all, reach))
}

/// Sorts ids and drops repeated ones, so that a list typed twice does not count against the limit.
fn unique(flag: &str, mut ids: Vec<u32>) -> Result<Vec<u32>, clap::Error> {
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > MAX_TASKS {
        return Err(Args::command().error(
            ErrorKind::TooManyValues,
            format!(
                "{flag} takes at most {MAX_TASKS} ids, {} were given: name fewer, or leave {flag} \
                 out and filter the output",
                ids.len()
            ),
        ));
    }
    Ok(ids)
}
