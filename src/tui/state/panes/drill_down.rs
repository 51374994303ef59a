//! Opens rows: in place as a tree, or as a table of their own with a way back.

use super::Panes;
use super::sorting::main_column;
use crate::stats::ranking::RowId;
use crate::tui::app::Mode;
use crate::tui::draw::detail::Detail;
use crate::tui::state::find::Find;
use crate::tui::state::pane::DrillDown;
use crate::tui::state::shared::SharedState;
use crate::tui::state::tree::LineId;
use crate::view::{Group, SortKey};

impl Panes {
    /// Opens the selected row in place, or moves to the first of its rows; returns false if it has
    /// none.
    pub(super) fn expand(&mut self, shared: &SharedState) -> bool {
        let Some(table) = self.tables.get_mut(self.focus) else {
            return false;
        };
        if table.selected.is_none() {
            table.select_index(&shared.history, 0);
        }
        let index = table.index;
        let line = table.lines(&shared.history, index, 1);
        let Some((line, id)) = line.first().zip(table.selected.clone()) else {
            return false;
        };
        if !line.can_open {
            return false;
        }
        if line.is_open {
            table.select_index(&shared.history, index + 1);
            self.scroll_to_selection(shared);
            return true;
        }
        table.tree.open(&id);
        self.rebuild(shared);
        if id.is_rest {
            // The first row that has a line now is at the index of the former sum line.
            self.tables[self.focus].select_index(&shared.history, index);
            self.scroll_to_selection(shared);
        }
        true
    }

    /// Closes the selected row, or moves to the row that contains it; returns whether either was
    /// possible.
    pub(super) fn fold(&mut self, shared: &SharedState) -> bool {
        let Some(table) = self.tables.get_mut(self.focus) else {
            return false;
        };
        let Some(id) = table.selected.clone() else {
            return false;
        };
        if table.tree.close(&id) {
            self.rebuild(shared);
            return true;
        }
        match id.parent() {
            Some(parent) => {
                table.select_line(&shared.history, Some(parent));
                self.scroll_to_selection(shared);
                true
            }
            None => false,
        }
    }

    pub(super) fn close_rows(&mut self) {
        for table in &mut self.tables {
            table.tree.clear();
        }
    }

    /// Opens the selected row, or the first; returns the page of a flow, process or program.
    pub fn enter(&mut self, shared: &SharedState) -> Option<Mode> {
        let page = self.detail_of_selected(shared);
        if page.is_none() {
            self.drill_down(shared);
        }
        page.map(Mode::Detail)
    }

    /// Returns the page of the selected row, or of the first; `None` for a row that has none.
    fn detail_of_selected(&mut self, shared: &SharedState) -> Option<Detail> {
        let table = self.tables.get_mut(self.focus)?;
        if table.selected.is_none() {
            table.select_index(&shared.history, 0);
        }
        let row = table.row(&shared.history, table.index)?;
        if let RowId::Flow(key) = row.id {
            return Some(Detail::of(key));
        }
        let selected = table.selected.clone()?;
        if selected.is_rest || !Detail::has_page(&row.id) {
            return None;
        }
        let opened = self.path.iter().map(|step| (step.group, step.id.clone()));
        let levels = table.levels(table.index).into_iter();
        let within = levels.zip(selected.path.iter().cloned());
        let rows = opened.chain(within).collect();
        Some(Detail::of_rows(rows, shared.title_of(&row)))
    }

    /// Opens the selected group as a table of its flows, or of the processes of a program.
    pub(in crate::tui) fn drill_down(&mut self, shared: &SharedState) {
        let Some(table) = self.tables.get(self.focus) else {
            return;
        };
        let Some(selected) = table.selected.clone() else {
            return;
        };
        let levels = table.levels(table.index);
        // For a sum of rows without a line, the row that contains them is opened.
        let mut is_one_process = true;
        for (n, id) in selected.path.iter().enumerate() {
            let line = LineId {
                path: selected.path[..=n].to_vec(),
                is_rest: false,
            };
            let table = self.tables.get(self.focus);
            let Some(row) = table.and_then(|table| table.row_of(&shared.history, &line)) else {
                return;
            };
            is_one_process = row.common.tgid.is_some();
            let title = match id {
                // The previous step shows the name.
                RowId::Process(tgid) if self.is_in_program() => tgid.to_string(),
                _ => shared.title_of(&row),
            };
            self.path.push(DrillDown {
                group: levels[n],
                sort: self.sort,
                title,
                id: id.clone(),
            });
        }
        self.group = match levels[selected.path.len() - 1] {
            // A program opens into processes; a single process is opened itself.
            Group::Program if !is_one_process => Group::Process,
            _ => Group::Flow,
        };
        self.close_rows();
        self.sort = SortKey::by(main_column(&shared.display));
        self.select(None, shared);
        self.reset(shared);
    }

    /// Whether the table shows the processes of a program that was opened.
    pub(super) fn is_in_program(&self) -> bool {
        let last = self.path.last();
        last.is_some_and(|step| step.group == Group::Program)
    }

    /// Goes back one step: leaves the opened group, else clears the filter, the grouping or the
    /// selection.
    pub(super) fn back(&mut self, shared: &SharedState) {
        if let Some(step) = self.path.pop() {
            self.group = step.group;
            self.sort = step.sort;
            self.close_rows();
            self.reset(shared);
            self.select(Some(&step.id), shared);
            self.scroll_to_selection(shared);
        } else if !self.find.is_empty() {
            self.find = Find::default();
        } else if !self.filter.is_empty() {
            // No text is always valid.
            let _ = self.filter.set("");
            self.reset(shared);
        } else if self.group != self.home(shared) {
            self.group = self.home(shared);
            self.sort = shared.display.sort;
            self.close_rows();
            self.reset(shared);
        } else {
            self.is_following = false;
            self.select(None, shared);
            self.scroll_to_top(shared);
        }
    }

    /// Returns the grouping that the last step back leads to: that of the view, of two sections
    /// flows.
    pub(in crate::tui) fn home(&self, shared: &SharedState) -> Group {
        if shared.display.combined {
            shared.display.group
        } else {
            Group::Flow
        }
    }
}
