//! Notes on standard error before counting begins, about probable mistakes.

use crate::filter::{Expr, FilterPlan, Term};
use crate::resolve::namespace::{self, IdOwner};

/// Returns the notes about a filter.
pub(super) fn notes(plan: &FilterPlan) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(filter) = &plan.filter {
        note_missing_ids(filter, &IdOwner::of, &mut notes);
    }
    notes
}

/// Notes each id in a filter that no process or thread has now; one may start later.
fn note_missing_ids(filter: &Expr, bearer: &dyn Fn(u32) -> IdOwner, notes: &mut Vec<String>) {
    match filter {
        Expr::All(parts) | Expr::Any(parts) => {
            for part in parts {
                note_missing_ids(part, bearer, notes);
            }
        }
        // If no process has the id, "not" is true of every flow, as intended.
        Expr::Not(_) => {}
        Expr::Is(Term::Tree(ids)) => notes.extend(ids.iter().filter_map(|&id| match bearer(id) {
            IdOwner::Process => None,
            IdOwner::Thread => Some(format!(
                "tree {id} is a thread, not a process: use the id of its process"
            )),
            IdOwner::Nobody => Some(format!("no process has the PID {id}{}", namespace_note())),
        })),
        Expr::Is(Term::Pids(ids)) => notes.extend(ids.iter().filter_map(|&id| match bearer(id) {
            IdOwner::Process => None,
            IdOwner::Thread => Some(format!(
                "pid {id} is a thread, not a process: use --tid {id} or the filter tid {id}"
            )),
            IdOwner::Nobody => Some(format!("no process has the PID {id}{}", namespace_note())),
        })),
        Expr::Is(Term::Tids(ids)) => notes.extend(ids.iter().filter_map(|&id| match bearer(id) {
            IdOwner::Process | IdOwner::Thread => None,
            IdOwner::Nobody => Some(format!("no thread has the TID {id}{}", namespace_note())),
        })),
        Expr::Is(_) => {}
    }
}

/// Returns where ids were looked for, unless that is the whole machine.
fn namespace_note() -> String {
    match namespace::own_pid() {
        None => " yet".to_owned(),
        Some(inode) => format!(
            " yet in this PID namespace (pid:[{inode}]); to use ids of the host start flowtop in its PID namespace \
             (docker run --pid=host, hostPID: true)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{self, NameTables};

    fn notes_of(filter: &str) -> Vec<String> {
        let filter = filter::parse(filter, &NameTables::default()).unwrap();
        let bearer = |id| match id {
            1..=9 => IdOwner::Process,
            10..=19 => IdOwner::Thread,
            _ => IdOwner::Nobody,
        };
        let mut notes = Vec::new();
        note_missing_ids(&filter, &bearer, &mut notes);
        notes
    }

    #[test]
    fn ids_that_no_process_has_are_noted() {
        assert_eq!(
            notes_of("pid 5 or (port 80 and not pid 99)"),
            Vec::<String>::new()
        );
        let notes = notes_of("(pid 99 or 12) and (tid 77 or 12)");
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(notes[0].contains("no process has the PID 99"));
        assert!(notes[1].contains("use --tid 12"));
        assert!(notes[2].contains("no thread has the TID 77"));
    }
}
