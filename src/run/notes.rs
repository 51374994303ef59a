//! What is worth a sentence on standard error before counting begins: it keeps nothing from counting.

use crate::filter::{Expr, Term};
use crate::options::Config;
use crate::resolve::namespace::{self, IdOwner};

/// The sentences for this configuration.
pub(super) fn notes(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(filter) = &config.filter.filter {
        nobodys(filter, &IdOwner::of, &mut notes);
    }
    notes
}

/// Ids that the filter asks for and nobody has: a flow may still come, as a process may.
fn nobodys(filter: &Expr, bearer: &dyn Fn(u32) -> IdOwner, notes: &mut Vec<String>) {
    match filter {
        Expr::All(parts) | Expr::Any(parts) => {
            for part in parts {
                nobodys(part, bearer, notes);
            }
        }
        // Without a process of this id, "not" is true of every flow, as meant.
        Expr::Not(_) => {}
        Expr::Is(Term::Pids(ids)) => notes.extend(ids.iter().filter_map(|&id| match bearer(id) {
            IdOwner::Process => None,
            IdOwner::Thread => Some(format!(
                "{id} is the id of a thread, not of a process: use --tid {id}"
            )),
            IdOwner::Nobody => Some(format!("no process has the id {id}{}", place())),
        })),
        Expr::Is(Term::Tids(ids)) => notes.extend(ids.iter().filter_map(|&id| match bearer(id) {
            IdOwner::Process | IdOwner::Thread => None,
            IdOwner::Nobody => Some(format!("no thread has the id {id}{}", place())),
        })),
        Expr::Is(_) => {}
    }
}

/// Where ids were looked for, where that is not the whole machine.
fn place() -> String {
    match namespace::own_pid() {
        None => " yet".to_owned(),
        Some(inode) => format!(
            " yet in this pid namespace (pid:[{inode}]); for the host's ids start flowtop with them \
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
        nobodys(&filter, &bearer, &mut notes);
        notes
    }

    #[test]
    fn an_id_that_nobody_has_is_noted_wherever_the_filter_asks_for_it() {
        assert_eq!(
            notes_of("pid 5 or (port 80 and not pid 99)"),
            Vec::<String>::new()
        );
        let notes = notes_of("(pid 99 or 12) and (tid 77 or 12)");
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(notes[0].contains("no process has the id 99"));
        assert!(notes[1].contains("use --tid 12"));
        assert!(notes[2].contains("no thread has the id 77"));
    }
}
