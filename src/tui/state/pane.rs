//! One table of the screen: rows in their order, selection and scroll position.

use ratatui::layout::Rect;

use super::shared::SharedState;
use super::stable_order::StableOrder;
use super::tree::{LineId, LinePosition, Tree, TreeLine, TreeQuery, finer};
use crate::stats::history::History;
use crate::stats::ranking::{Row, RowId, RowParties, RowQuery, Rows, steady_value};
use crate::view::{Directions, Group, SortKey};

/// A group that was opened by drilling down.
#[derive(Clone, Debug)]
pub struct DrillDown {
    /// Grouping of the rows before the group was opened.
    pub group: Group,
    /// Order of the rows before the group was opened.
    pub sort: SortKey,
    /// The row that was opened.
    pub id: RowId,
    /// Title of the row; not sanitized.
    pub title: String,
}

/// A line of a table that is drawn.
#[derive(Debug)]
pub struct ShownLine {
    pub row: Row,
    /// Its position within an opened row, if it is in one.
    pub within: Option<TreeLine>,
    /// Grouping of the row; for a sum of rows without a line, their grouping.
    pub group: Group,
    /// Number of rows that it sums, if it is the sum of rows without a line.
    pub rest: Option<usize>,
    /// Whether the row can be opened in place, and whether it is open.
    pub can_open: bool,
    pub is_open: bool,
    /// Processes and peers of its flows; `None` for a flow.
    pub parties: Option<RowParties>,
}

impl ShownLine {
    /// Returns the number of rows above it in the tree.
    pub fn depth(&self) -> usize {
        self.within.as_ref().map_or(0, |line| line.is_last.len())
    }
}

/// The use of a section's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionLines {
    /// Lines of the title and the headings.
    pub head: u16,
    /// Rows that find room.
    pub rows: usize,
    /// Whether one line names the idle rows, which have no lines of their own.
    pub has_idle_line: bool,
}

/// Number of lines for rows from which on one of them names the idle rows if these have no lines.
const IDLE_LINE_FROM: u16 = 14;

#[derive(Debug)]
pub struct Pane {
    /// Directions whose bytes the table shows.
    pub directions: Directions,
    /// Rows in the order in which they are shown; `None` before the first interval.
    pub rows: Option<Rows>,
    /// Keeps the order of nearly equal rows.
    pub order: StableOrder,
    /// Rows that are opened in place.
    pub(in crate::tui) tree: Tree,
    /// Grouping of the table.
    group: Group,
    is_frozen: bool,
    pub(in crate::tui) selected: Option<LineId>,
    /// Index of the selected row, or its last index.
    pub(in crate::tui) index: usize,
    /// Index of the first row shown.
    pub offset: usize,
    /// Flows that moved bytes in the latest interval, those that the filter leaves out included.
    pub moving_flows: usize,
    /// High-water mark of rows since the last reset; the table's height does not shrink below it.
    pub(in crate::tui) max_rows_seen: usize,
}

impl Pane {
    /// Creates an empty table.
    pub fn new(directions: Directions) -> Self {
        Self {
            directions,
            rows: None,
            order: StableOrder::default(),
            tree: Tree::default(),
            group: Group::Flow,
            is_frozen: false,
            selected: None,
            index: 0,
            offset: 0,
            moving_flows: 0,
            max_rows_seen: 0,
        }
    }

    /// Returns the number of lines: rows, and lines within opened rows.
    pub fn len(&self) -> usize {
        self.rows.as_ref().map_or(0, Rows::len) + self.tree.len()
    }

    /// Returns the number of lines of rows that moved bytes in the latest interval.
    fn moving_lines(&self) -> usize {
        self.moving() + self.tree.len_within(self.moving())
    }

    /// Freezes the order of the rows, or unfreezes it.
    pub(in crate::tui) fn freeze(&mut self, is_frozen: bool) {
        self.is_frozen = is_frozen;
        self.order.hold(is_frozen);
    }

    /// Returns the number of rows that moved bytes in the latest interval.
    pub fn moving(&self) -> usize {
        self.rows.as_ref().map_or(0, |rows| rows.moving)
    }

    /// Returns at most `count` rows from index `from` on.
    pub fn shown(&self, history: &History, from: usize, count: usize) -> Vec<Row> {
        let indices = from..self.len().min(from.saturating_add(count));
        indices
            .filter_map(|index| self.row(history, index))
            .collect()
    }

    /// Returns the row at an index.
    pub fn row(&self, history: &History, index: usize) -> Option<Row> {
        match self.tree.position(index) {
            LinePosition::Top(n) => self.rows.as_ref()?.row(history, n),
            LinePosition::Within(line) => self.tree.row(history, line),
        }
    }

    /// Returns at most `count` lines from index `from` on, with the contents of their cells.
    pub fn lines(&self, history: &History, from: usize, count: usize) -> Vec<ShownLine> {
        let indices = from..self.len().min(from.saturating_add(count));
        indices
            .filter_map(|index| self.line(history, index))
            .collect()
    }

    fn line(&self, history: &History, index: usize) -> Option<ShownLine> {
        let row = self.row(history, index)?;
        let is_open = self
            .line_id(history, index)
            .is_some_and(|id| self.tree.is_open(&id));
        let (within, levels, rest, rows) = match self.tree.position(index) {
            LinePosition::Top(n) => (None, vec![self.group], None, (self.rows.as_ref()?, Some(n))),
            LinePosition::Within(line) => (
                Some(line.clone()),
                self.tree.levels(self.group, line),
                self.tree.rest(line),
                self.tree.rows(line)?,
            ),
        };
        let group = levels.last().copied().unwrap_or_default();
        let parties = match rows {
            (rows, Some(n)) if group != Group::Flow => rows.parties(history, n),
            _ => None,
        };
        Some(ShownLine {
            can_open: rest.is_some() || finer(&levels, row.common.tgid.is_some()).is_some(),
            row,
            within,
            group,
            rest,
            is_open,
            parties,
        })
    }

    /// Returns the sparkline of the line at an index.
    pub fn sparkline(&self, history: &History, index: usize) -> Vec<Option<f64>> {
        let position = self.position_in_rows(index);
        position.map_or_else(Vec::new, |(rows, n)| rows.sparkline(history, n))
    }

    /// Returns the rows that contain a line's row, and its index in them; `None` for a sum of rows.
    pub fn position_in_rows(&self, index: usize) -> Option<(&Rows, usize)> {
        match self.tree.position(index) {
            LinePosition::Top(n) => Some((self.rows.as_ref()?, n)),
            LinePosition::Within(line) => {
                let (rows, n) = self.tree.rows(line)?;
                Some((rows, n?))
            }
        }
    }

    /// Returns the id of the line at an index.
    pub fn line_id(&self, history: &History, index: usize) -> Option<LineId> {
        self.tree.id(self.rows.as_ref()?, history, index)
    }

    /// Returns the row of a line.
    pub fn row_of(&self, history: &History, id: &LineId) -> Option<Row> {
        self.row(history, self.find(history, id)?)
    }

    /// Returns the groupings that lead to the line at an index, that of the table first.
    pub fn levels(&self, index: usize) -> Vec<Group> {
        match self.tree.position(index) {
            LinePosition::Top(_) => vec![self.group],
            LinePosition::Within(line) => self.tree.levels(self.group, line),
        }
    }

    /// Returns the index of the selected row.
    pub fn selected(&self) -> Option<usize> {
        self.selected.as_ref().map(|_| self.index)
    }

    /// Selects a row, or the one with this id once it appears.
    pub fn select(&mut self, history: &History, id: Option<RowId>) {
        self.select_line(history, id.map(LineId::top));
    }

    /// Selects a line, or the one with this id once it appears.
    pub fn select_line(&mut self, history: &History, id: Option<LineId>) {
        self.index = match &id {
            Some(id) => self.find(history, id).unwrap_or(self.index),
            None => 0,
        };
        self.selected = id;
    }

    fn find(&self, history: &History, id: &LineId) -> Option<usize> {
        self.tree.find(self.rows.as_ref()?, history, id)
    }

    pub(in crate::tui) fn select_index(&mut self, history: &History, index: usize) {
        let index = index.min(self.len().saturating_sub(1));
        self.selected = self.line_id(history, index);
        self.index = index;
    }

    /// Moves the selection to its row's current index. If the row has gone, nothing is selected and
    /// the view returns to the top.
    fn follow(&mut self, history: &History) {
        if let Some(id) = &self.selected {
            match self.find(history, id) {
                Some(index) => self.index = index,
                None => {
                    self.selected = None;
                    self.index = 0;
                    self.offset = 0;
                }
            }
        }
    }

    /// Whether a row is among the `room` rows that are shown.
    pub(in crate::tui) const fn is_in_sight(&self, index: usize, room: usize) -> bool {
        index >= self.offset && index < self.offset + room
    }

    /// Replaces the rows, with the number of flows that moved bytes in the latest interval.
    pub(in crate::tui) fn take(
        &mut self,
        rows: Option<(Rows, usize)>,
        query: RowQuery,
        pinned: &[RowId],
        shared: &SharedState,
    ) {
        self.group = query.group;
        let sort = query.sort;
        let Some((mut rows, moving_flows)) = rows else {
            self.rows = None;
            return;
        };
        self.order.arrange(
            &mut rows,
            &shared.history,
            |rows, n| steady_value(rows, &shared.history, n, sort.column, &shared.owners),
            sort.descending,
        );
        let on_top = pinned
            .iter()
            .filter_map(|id| rows.find(&shared.history, id));
        let on_top: Vec<usize> = on_top.collect();
        if !on_top.is_empty() {
            rows.bring_forward(&on_top);
        }
        self.moving_flows = moving_flows;
        let tree = TreeQuery {
            query,
            history: &shared.history,
            lookup: &shared.owners,
            is_frozen: self.is_frozen,
            lines: TreeQuery::lines_at(shared.area.height),
        };
        self.tree.rebuild(&rows, &tree);
        self.max_rows_seen = self.max_rows_seen.max(rows.len() + self.tree.len());
        self.rows = Some(rows);
        self.follow(&shared.history);
    }

    /// Resets order, scrolling and height for another set of rows.
    pub(in crate::tui) fn reset(&mut self) {
        self.order.reset();
        self.tree.reset_order();
        self.max_rows_seen = 0;
        self.offset = 0;
        if self.selected.is_some() {
            self.index = 0;
        }
    }

    /// Returns the use of a section's lines: below the rows is a line for others, and one for
    /// untracked bytes. Idle rows have lines if all active rows have one.
    pub fn section_lines(&self, shared: &SharedState, section: Rect, head: u16) -> SectionLines {
        let below = 1 + u16::from(self.has_untracked(shared.display.totals));
        // In a table of both directions a row comes before its headings; a section needs its title.
        let head = match self.directions {
            Directions::Both => head.min(section.height.saturating_sub(below + 1)),
            _ => head,
        };
        let lines = section.height.saturating_sub(head + below);
        let is_scarce = self.moving_lines() > usize::from(lines);
        let idle = self.rows.as_ref().map_or(0, Rows::len) - self.moving();
        let is_plain = !shared.display.totals && !self.is_frozen && shared.live_rows.is_none();
        let has_idle_line = is_plain && is_scarce && idle > 0 && lines >= IDLE_LINE_FROM;
        let rows = usize::from(lines) - usize::from(has_idle_line);
        SectionLines {
            head,
            rows: shared.live_rows.map_or(rows, |most| most.min(rows)),
            has_idle_line,
        }
    }

    /// Keeps the view within the rows, `room` of which are shown, and scrolls the selected row into
    /// sight if `to_selected` is set.
    pub(in crate::tui) fn scroll(&mut self, room: usize, to_selection: bool) {
        self.offset = self.offset.min(self.len().saturating_sub(room));
        if let Some(index) = self.selected().filter(|_| to_selection) {
            self.offset = self.offset.min(index);
            if room > 0 && index >= self.offset + room {
                self.offset = index + 1 - room;
            }
        }
    }

    /// Whether there is a line for untracked bytes.
    pub fn has_untracked(&self, totals: bool) -> bool {
        self.untracked(totals) > 0
    }

    /// Returns the bytes of flows that found the flow table full.
    pub fn untracked(&self, totals: bool) -> u64 {
        self.rows.as_ref().map_or(0, |rows| {
            let counters = if totals {
                &rows.untracked_total
            } else {
                &rows.untracked
            };
            self.directions.bytes(counters)
        })
    }

    pub(in crate::tui) fn needed_lines(
        &self,
        live_rows: Option<usize>,
        totals: bool,
        head: u16,
    ) -> u16 {
        let rows = live_rows
            .map_or(self.max_rows_seen, |max_rows_seen| {
                max_rows_seen.min(self.max_rows_seen)
            })
            .max(1);
        let lines = u16::try_from(rows)
            .unwrap_or(u16::MAX / 4)
            .min(u16::MAX / 4);
        lines + head + 1 + u16::from(self.has_untracked(totals))
    }
}
