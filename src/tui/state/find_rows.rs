//! Finds rows by words, and filters flows, for prompts and keys.

use super::find::Find;
use super::pane::Pane;
use super::panes::Panes;
use super::prompt::PromptHint;
use super::shared::SharedState;
use super::tree::{LineId, LinePosition};
use crate::model::flow::Direction;
use crate::stats::history::TrafficStats;
use crate::text::units;
use crate::tui::draw::row_text::{OwnerTexts, RowText};
use crate::view::{Directions, Group};

/// Maximum number of rows checked to count matches; the search for the next match checks all.
const MAX_COUNTED: usize = 5000;

/// The state of the tables before a prompt was opened.
#[derive(Debug, Default)]
pub struct BeforePrompt {
    filter: String,
    find: Find,
    focus: usize,
    /// Selected row, its place, and first row shown of each table.
    positions: Vec<(Option<LineId>, usize, usize)>,
}

impl Panes {
    /// Saves the state that a prompt can change, to restore it if the prompt is cancelled.
    pub fn begin_prompt(&mut self) {
        let position =
            |table: &super::pane::Pane| (table.selected.clone(), table.index, table.offset);
        self.before_prompt = BeforePrompt {
            filter: self.filter.text().to_owned(),
            find: self.find.clone(),
            focus: self.focus,
            positions: self.tables.iter().map(position).collect(),
        };
    }

    /// Restores the state from before the prompt.
    pub fn cancel_prompt(&mut self, shared: &SharedState) {
        let before = std::mem::take(&mut self.before_prompt);
        self.find = before.find;
        if self.filter.text() != before.filter {
            // It was valid before.
            let _ = self.filter.set(&before.filter);
            self.reset(shared);
        }
        self.focus = before.focus.min(self.tables.len() - 1);
        for (table, (selected, index, offset)) in self.tables.iter_mut().zip(before.positions) {
            table.index = index;
            table.offset = offset;
            table.select_line(&shared.history, selected);
        }
        self.scroll_into_view(shared);
    }

    /// Previews the text of the prompt as a filter. A text that is not valid, or that matches no
    /// flow yet, leaves the rows as they are.
    pub fn preview_filter(&mut self, text: &str, shared: &SharedState) -> PromptHint {
        let applied = self.filter.text().to_owned();
        if let Err(wrong) = self.filter.set(text) {
            return PromptHint {
                text: wrong,
                is_error: true,
            };
        }
        let example = "an expression, as in: process nginx and port 443";
        if self.filter.text() != applied {
            self.reset(shared);
        }
        if self.filter.is_empty() {
            return example.to_owned().into();
        }
        let matching: usize = self.flows_matching();
        if matching == 0 {
            // It was valid before.
            let _ = self.filter.set(&applied);
            self.reset(shared);
            return "no flow matches yet; the rows are as before"
                .to_owned()
                .into();
        }
        format!(
            "matches {} in the tables",
            units::count(matching as u64, "flow")
        )
        .into()
    }

    /// Returns the bytes in and out, of the latest interval or of all time, that match the filter,
    /// each with the bytes of all traffic; `None` without a filter.
    pub fn filter_share(&self, shared: &SharedState) -> Option<[(u64, u64); 2]> {
        // An opened group and hidden local traffic leave out more than the filter.
        if self.filter.is_empty() || !self.path.is_empty() || shared.hides_internal {
            return None;
        }
        let is_of_totals = shared.display.totals;
        let of = |way: Direction| {
            let directions = Directions::from(way);
            let is_of = |table: &&Pane| {
                table.directions == directions || table.directions == Directions::Both
            };
            let rows = self.tables.iter().find(is_of)?.rows.as_ref()?;
            let bytes = |traffic: &TrafficStats| {
                directions.bytes(match is_of_totals {
                    true => &traffic.total,
                    false => &traffic.now,
                })
            };
            let untracked = directions.bytes(match is_of_totals {
                true => &rows.untracked_total,
                false => &rows.untracked,
            });
            let all = bytes(&rows.all);
            let others = bytes(&rows.filtered.traffic) + bytes(&rows.silent.traffic) + untracked;
            Some((all.saturating_sub(others), all))
        };
        Some([of(Direction::Rx)?, of(Direction::Tx)?])
    }

    fn flows_matching(&self) -> usize {
        let rows = self.tables.iter().filter_map(|table| table.rows.as_ref());
        rows.map(|rows| rows.flows).sum()
    }

    /// Applies a filter, even if no flow matches it now.
    ///
    /// # Errors
    /// What is wrong with the text; then nothing has changed.
    pub fn apply_filter(&mut self, text: &str, shared: &SharedState) -> Result<(), String> {
        self.filter.set(text)?;
        self.reset(shared);
        Ok(())
    }

    /// Narrows the filter by a further condition.
    pub fn narrow(&mut self, term: &str, shared: &SharedState) {
        let text = self.filter.narrowed(term);
        // Written by flowtop from a valid filter and a valid term, so it is valid.
        let _ = self.apply_filter(&text, shared);
    }

    /// Previews the text of the prompt as words: selects the first row that matches, starting at
    /// the row selected before.
    pub fn preview_find(&mut self, text: &str, shared: &SharedState) -> PromptHint {
        self.find = Find::new(text);
        if self.find.is_empty() {
            return "words of a row: names, addresses, ports, command line"
                .to_owned()
                .into();
        }
        let focus = self.before_prompt.focus.min(self.tables.len() - 1);
        let position = self.before_prompt.positions.get(focus);
        let from = position.map_or(0, |(selected, index, offset)| match selected {
            Some(_) => *index,
            None => *offset,
        });
        match self.match_after(0, (focus, from), true, shared) {
            Some(position) => {
                self.select_position(position, shared);
                self.count_matches(shared).into()
            }
            None => PromptHint {
                text: "no row matches".to_owned(),
                is_error: false,
            },
        }
    }

    /// Selects the next row that matches, or the previous one.
    pub fn find_next(&mut self, is_forward: bool, shared: &SharedState) {
        let from = self
            .tables
            .get(self.focus)
            .map_or(0, |table| table.selected().unwrap_or(table.offset));
        let is_new = self
            .tables
            .get(self.focus)
            .is_some_and(|table| table.selected().is_none());
        let skip = usize::from(!is_new);
        if let Some(position) = self.match_after(skip, (self.focus, from), is_forward, shared) {
            self.select_position(position, shared);
        }
    }

    fn select_position(&mut self, (table, index): (usize, usize), shared: &SharedState) {
        self.focus = table;
        self.tables[table].select_index(&shared.history, index);
        self.scroll_to_selection(shared);
    }

    /// Returns the table and index of the first row that matches, at least `skip` rows from another
    /// one. Checks all rows of all tables, wrapping at the end.
    fn match_after(
        &self,
        skip: usize,
        (table, index): (usize, usize),
        is_forward: bool,
        shared: &SharedState,
    ) -> Option<(usize, usize)> {
        let positions: Vec<(usize, usize)> = self.positions().collect();
        let from = positions
            .iter()
            .position(|position| *position == (table, index))
            .unwrap_or(0);
        let count = positions.len();
        let mut owners = OwnerTexts::default();
        (skip..count + skip)
            .map(|step| match is_forward {
                true => (from + step) % count,
                false => (from + 2 * count - step) % count,
            })
            .map(|n| positions[n])
            .find(|&(table, index)| self.is_match_with(table, index, shared, &mut owners))
    }

    fn positions(&self) -> impl Iterator<Item = (usize, usize)> {
        let tables = self.tables.iter().enumerate();
        tables.flat_map(|(n, table)| (0..table.len()).map(move |index| (n, index)))
    }

    fn count_matches(&self, shared: &SharedState) -> String {
        let count = self.positions().count();
        if count > MAX_COUNTED {
            return String::new();
        }
        let mut owners = OwnerTexts::default();
        let is_match = |(table, index): &(usize, usize)| {
            self.is_match_with(*table, *index, shared, &mut owners)
        };
        let matching = self.positions().filter(is_match).count();
        format!("{matching} of {} match", units::count(count as u64, "row"))
    }

    /// Whether all words are in the texts of a row, or of one of the flows that it sums.
    fn is_match_with(
        &self,
        table: usize,
        index: usize,
        shared: &SharedState,
        owners: &mut OwnerTexts,
    ) -> bool {
        let Some(table) = self.tables.get(table) else {
            return false;
        };
        let Some(row) = table.row(&shared.history, index) else {
            return false;
        };
        let group = table.levels(index).last().copied().unwrap_or_default();
        let text = RowText {
            shared,
            row: &row,
            group,
        };
        let of_row = text.found_in_with(owners);
        if self.find.matches(&of_row) {
            return true;
        }
        let (LinePosition::Top(n), Some(rows)) = (table.tree.position(index), &table.rows) else {
            return false;
        };
        group != Group::Flow
            && rows.members(&shared.history, n).any(|flow| {
                let text = RowText {
                    shared,
                    row: &flow,
                    group: Group::Flow,
                };
                let of_flow = text.found_in_with(owners);
                self.find.matches(&format!("{of_row}{of_flow}"))
            })
    }

    #[cfg(test)]
    pub(in crate::tui) fn is_match(
        &self,
        table: usize,
        index: usize,
        shared: &SharedState,
    ) -> bool {
        self.is_match_with(table, index, shared, &mut OwnerTexts::default())
    }
}
