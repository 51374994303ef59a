//! Joins the filter words with --pid and --tid into one filter.

use clap::error::ErrorKind;

use super::args::Args;
use super::usage::usage_error;
use crate::filter::{self, Expr, FilterPlan, MAX_TASKS, NameTables, Pushdown, Term};

/// Returns the filter of a run: the processes and threads that options name, and the filter words.
///
/// In a PID namespace other than the initial one, PIDs and TIDs are those of that namespace. The
/// kernel translates them; user space has only those of the initial namespace.
pub(super) fn plan(args: &mut Args, pid_namespace: Option<u32>) -> Result<FilterPlan, clap::Error> {
    let pids = unique("--pid", std::mem::take(&mut args.pids))?;
    let tids = unique("--tid", std::mem::take(&mut args.tids))?;
    let pids = (!pids.is_empty()).then_some(Expr::Is(Term::Pids(pids)));
    let tids = (!tids.is_empty()).then_some(Expr::Is(Term::Tids(tids)));
    let tasks = Expr::any(pids.into_iter().chain(tids));
    let words = match args.filter.as_slice() {
        [] => None,
        words => {
            let parsed = filter::parse(&words.join(" "), &NameTables::system());
            let refuse = |error| usage_error(ErrorKind::ValueValidation, error);
            Some(parsed.map_err(refuse)?)
        }
    };
    let Some(all) = Expr::all(tasks.into_iter().chain(words)) else {
        return Ok(FilterPlan::default());
    };
    if args.reads_recordings() && !all.roots().is_empty() {
        return Err(usage_error(
            ErrorKind::ArgumentConflict,
            "tree needs the running machine, and recordings do not say which process started which: select by \
             pid or process",
        ));
    }
    // No kernel filters recordings.
    let reach = match args.no_pushdown || args.reads_recordings() {
        true => Pushdown::Nothing,
        false => Pushdown::All,
    };
    let plan = FilterPlan::new(all, reach);
    if let Some(inode) = pid_namespace {
        must_be_translated(&plan, inode)?;
    }
    Ok(plan)
}

/// Rejects PIDs and TIDs of this PID namespace that user space would have to compare.
fn must_be_translated(plan: &FilterPlan, inode: u32) -> Result<(), clap::Error> {
    let Some(rest) = plan.rest.as_ref().filter(|rest| has_ids(rest)) else {
        return Ok(());
    };
    let message = format!(
        "\"{rest}\" has ids of this pid namespace (pid:[{inode}]), which only the kernel can \
         translate, and the kernel does not decide this part: join pid and tid to the rest by \"and\", \
         leave --no-pushdown out, name the process, as in process nginx, or start flowtop with the host's \
         ids (docker run --pid=host, hostPID: true)"
    );
    Err(usage_error(ErrorKind::ValueValidation, message))
}

fn has_ids(expr: &Expr) -> bool {
    let is_id = |term: &&Term| matches!(term, Term::Pids(_) | Term::Tids(_));
    expr.terms().iter().any(is_id)
}

/// Returns the text of `--explain-filter`.
pub(super) fn explained(plan: &FilterPlan, pid_namespace: Option<u32>) -> String {
    let has_ids = plan.filter.as_ref().is_some_and(has_ids);
    match pid_namespace.filter(|_| has_ids) {
        None => plan.to_string(),
        Some(inode) => format!(
            "{plan}ids:         pid and tid are those of flowtop's pid namespace (pid:[{inode}]); \
             columns show the host's\n"
        ),
    }
}

/// Sorts ids and drops repeated ones, so that a list typed twice does not count against the limit.
fn unique(flag: &str, mut ids: Vec<u32>) -> Result<Vec<u32>, clap::Error> {
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > MAX_TASKS {
        return Err(usage_error(
            ErrorKind::TooManyValues,
            format!(
                "{flag} takes at most {MAX_TASKS} ids, and {} were given: name fewer, or leave {flag} out and filter \
                 the output",
                ids.len()
            ),
        ));
    }
    Ok(ids)
}
