//! The lists that open over the tables: groupings, columns to sort by, and conditions of a row.

use super::Panes;
use crate::tui::action::Command;
use crate::tui::state::list::{List, ListChoice, ListEntry};
use crate::tui::state::row_terms::row_terms;
use crate::tui::state::shared::SharedState;
use crate::view::{Column, Group, SortKey};

impl Panes {
    /// Returns the available groupings: threads if flows are split by thread, networks with the
    /// configured prefix.
    pub(super) fn groups(&self, shared: &SharedState) -> Vec<Group> {
        let all = Group::ALL.into_iter();
        // Without flows per thread, a row per thread would be a row per process.
        let all = all.filter(|group| *group != Group::Thread || shared.threads);
        all.map(|group| match (group, self.group, shared.display.group) {
            (Group::Net(_), net @ Group::Net(_), _) | (Group::Net(_), _, net @ Group::Net(_)) => {
                net
            }
            _ => group,
        })
        .collect()
    }

    /// Returns the list of groupings.
    pub(super) fn group_list(&self, shared: &SharedState) -> Option<List> {
        let groups = self.groups(shared).into_iter();
        let entries = groups.map(|group| ListEntry {
            label: group.to_string(),
            about: group.about(),
            is_current: group == self.group,
            choice: ListChoice::Group(group),
        });
        List::new("Group by", entries.collect())
    }

    /// Returns the list of columns to sort by: those that are shown, then the others that have
    /// values.
    pub(super) fn sort_list(&self, shared: &SharedState) -> Option<List> {
        let table = self.tables.get(self.focus)?;
        let there = self.columns(table, shared, shared.area.width);
        let shown: Vec<Column> = there.iter().map(|slot| slot.column).collect();
        let others = Column::ALL.into_iter().filter(|column| {
            let is_hidden = !shown.contains(column) && shared.history.seen().has(*column);
            is_hidden && column.drawing().leaves.is_some()
        });
        let entry = |column: Column| {
            let is_current = column == self.sort.column;
            ListEntry {
                label: match there.iter().any(|it| it.column == column && it.is_port) {
                    true => "PORT".to_owned(),
                    false => column.heading(self.group, table.directions).to_owned(),
                },
                about: column.about(),
                is_current,
                choice: ListChoice::Sort(if is_current {
                    self.sort
                } else {
                    SortKey::by(column)
                }),
            }
        };
        let current = self.sort.column;
        let is_listed = shown.contains(&current) || current.drawing().leaves.is_some();
        let current = (!is_listed).then_some(current);
        let all = current
            .into_iter()
            .chain(shown.iter().copied())
            .chain(others);
        let entries = all.map(entry);
        List::new("Sort by", entries.collect())
    }

    /// Returns the list of conditions that the selected row, or the first, can add to the filter.
    pub(super) fn condition_list(
        &mut self,
        command: Command,
        shared: &SharedState,
    ) -> Option<List> {
        let table = self.tables.get_mut(self.focus)?;
        if table.selected.is_none() {
            table.select_index(&shared.history, table.offset);
        }
        let row = table.row(&shared.history, table.index)?;
        let is_excluded = command == Command::Exclude;
        let (title, not) = match is_excluded {
            true => ("Filter out", "not "),
            false => ("Filter for", ""),
        };
        let entry = |term: crate::filter::Expr| {
            let term = match &term {
                crate::filter::Expr::All(_) if is_excluded => format!("({term})"),
                term => term.to_string(),
            };
            let term = format!("{not}{term}");
            ListEntry {
                label: term.clone(),
                about: "",
                is_current: false,
                choice: ListChoice::Narrow(term),
            }
        };
        let terms = row_terms(&row, shared).into_iter().map(entry);
        List::new(title, terms.collect())
    }
}
