//! The tables of the screen: their state, and its changes by keys and new intervals. Drawing is in
//! `tui/draw/section`, clicks in `tui/input/mouse`.

mod drill_down;
mod geometry;
mod lists;
mod sorting;

use std::cell::Cell;

use self::sorting::main_column;
use super::find::Find;
use super::find_rows::BeforePrompt;
use super::pane::{DrillDown, Pane};
use super::prompt::PromptKind;
use super::row_filter::RowFilter;
use super::shared::SharedState;
use crate::stats::history::FlowStats;
use crate::stats::ranking::{RowId, RowQuery, Rows, group_of};
use crate::tui::action::Command;
use crate::tui::app::Mode;
use crate::tui::draw::columns::{LocalAddresses, Widths};
use crate::tui::state::chooser::Chooser;
use crate::view::{Directions, Group, Preset, SortKey};

/// One table per direction, or one for both, and the state they share.
#[derive(Debug)]
pub struct Panes {
    pub(in crate::tui) group: Group,
    pub(in crate::tui) sort: SortKey,
    pub(in crate::tui) filter: RowFilter,
    pub(in crate::tui) find: Find,
    pub(super) before_prompt: BeforePrompt,
    /// Whether a prompt is open, which takes a line.
    has_prompt: bool,
    /// Rows that are pinned on top.
    pub(in crate::tui) pinned: Vec<RowId>,
    /// Whether the view scrolls along with the selected row.
    pub(in crate::tui) is_following: bool,
    /// The groups that were opened to get here.
    pub(in crate::tui) path: Vec<DrillDown>,
    pub(in crate::tui) tables: Vec<Pane>,
    /// Which table has the keyboard.
    pub(in crate::tui) focus: usize,
    /// Whether the order of the rows is frozen.
    pub(in crate::tui) is_frozen: bool,
    /// Widest content so far: it only grows, so that columns hold still.
    widths: Widths,
    local_addresses: LocalAddresses,
    /// Whether any process was seen in a container or unit.
    containers: bool,
}

impl Panes {
    /// Creates empty tables with the configured grouping and order.
    pub fn new(shared: &SharedState) -> Self {
        let mut panes = Self {
            group: shared.display.group,
            sort: shared.display.sort,
            filter: RowFilter::default(),
            find: Find::default(),
            before_prompt: BeforePrompt::default(),
            has_prompt: false,
            pinned: Vec::new(),
            is_following: false,
            path: Vec::new(),
            tables: Vec::new(),
            focus: 0,
            is_frozen: false,
            widths: Widths::default(),
            local_addresses: LocalAddresses::default(),
            containers: false,
        };
        panes.lay_tables(shared);
        panes
    }

    /// Handles a command; returns the part of the screen that takes over, if one does.
    pub fn act(&mut self, command: Command, shared: &mut SharedState) -> Option<Mode> {
        match command {
            Command::Up => self.step(-1, shared),
            Command::Down => self.step(1, shared),
            Command::PageUp => self.step(-self.page(shared), shared),
            Command::PageDown => self.step(self.page(shared), shared),
            Command::Home => self.step(i64::MIN / 2, shared),
            Command::End => self.step(i64::MAX / 2, shared),
            Command::NextSection => self.focus = (self.focus + 1) % self.tables.len(),
            Command::Enter => return self.enter(shared),
            Command::Back => self.back(shared),
            Command::NextSort => self.step_sort(1, shared),
            Command::PreviousSort => self.step_sort(-1, shared),
            Command::Reverse => self.set_sort(self.sort.reversed(), shared),
            Command::Expand if self.expand(shared) => {}
            Command::Expand => return self.enter(shared),
            Command::Fold if self.fold(shared) => {}
            Command::Fold => self.back(shared),
            Command::View(view) => self.show_view(view, shared),
            Command::Freeze => {
                self.is_frozen = !self.is_frozen;
                for table in &mut self.tables {
                    table.freeze(self.is_frozen);
                }
                self.rebuild(shared);
            }
            Command::Find => return Some(Mode::Typing(PromptKind::Find)),
            Command::Filter => return Some(Mode::Typing(PromptKind::Filter)),
            Command::NextMatch | Command::PreviousMatch if self.find.is_empty() => {
                return Some(Mode::Typing(PromptKind::Find));
            }
            Command::NextMatch => self.find_next(true, shared),
            Command::PreviousMatch => self.find_next(false, shared),
            Command::Sort => return self.sort_list(shared).map(Mode::List),
            Command::Only | Command::Exclude => {
                return self.condition_list(command, shared).map(Mode::List);
            }
            Command::Pin => self.pin(shared),
            Command::Follow => {
                self.is_following = !self.is_following;
                if self.is_following {
                    self.scroll_to_selection(shared);
                }
            }
            Command::Group => return self.group_list(shared).map(Mode::List),
            Command::NextGroup => {
                let groups = self.groups(shared);
                let now = groups.iter().position(|&group| group == self.group);
                let next = now.map_or(0, |now| (now + 1) % groups.len());
                self.group_by(groups[next], shared);
            }
            Command::Combine => {
                shared.display.combined = !shared.display.combined;
                self.sort = shared.display.sort;
                self.lay_tables(shared);
            }
            Command::Totals => {
                shared.display.totals = !shared.display.totals;
                self.sort = SortKey::by(main_column(&shared.display));
                self.reset(shared);
            }
            Command::Columns => return Some(Mode::Chooser(Chooser::new(shared))),
            _ => {}
        }
        None
    }

    /// Changes the grouping of the rows.
    pub fn group_by(&mut self, group: Group, shared: &SharedState) {
        self.group = group;
        self.sort = shared.display.sort;
        self.close_rows();
        self.reset(shared);
    }

    /// Shows a view; the filter stays.
    fn show_view(&mut self, view: Preset, shared: &mut SharedState) {
        let spec = view.spec();
        let display = &mut shared.display;
        display.combined = spec.is_joined;
        display.totals = false;
        display.group = spec.group;
        display.sort = spec.sort;
        display.columns = match spec.columns {
            Some(columns) => columns.to_vec(),
            None => display.usual_columns.clone(),
        };
        self.path.clear();
        (self.group, self.sort) = (spec.group, spec.sort);
        self.lay_tables(shared);
    }

    /// Makes room for a prompt, or takes it back.
    pub fn set_prompt(&mut self, has_prompt: bool, shared: &SharedState) {
        self.has_prompt = has_prompt;
        self.scroll_into_view(shared);
    }

    /// Whether a flow is in the opened groups and matches the filter.
    fn is_meant(&self, flow: &FlowStats, shared: &SharedState) -> bool {
        let owners = &shared.owners;
        let inside = |step: &DrillDown| group_of(step.group, flow, owners) == step.id;
        self.path.iter().all(inside) && self.matches(flow, shared)
    }

    /// Whether a flow matches the filter, and is not hidden as local traffic.
    pub(in crate::tui) fn matches(&self, flow: &FlowStats, shared: &SharedState) -> bool {
        !(shared.hides_internal && flow.internal) && self.filter.matches(flow, &shared.history)
    }

    /// Rebuilds the rows of all tables from the history.
    pub fn rebuild(&mut self, shared: &SharedState) {
        self.filter.begin();
        for n in 0..self.tables.len() {
            let query = self.query(self.tables[n].directions, shared);
            let rows = self.rows(&query, shared);
            self.tables[n].take(rows, query, &self.pinned, shared);
        }
        self.scroll_into_view(shared);
    }

    /// Returns the rows of one direction, with the number of flows that moved bytes in the latest
    /// interval; `None` before the first interval, as at the beginning of a recording.
    fn rows(&self, query: &RowQuery, shared: &SharedState) -> Option<(Rows, usize)> {
        if shared.history.intervals() == 0 {
            return None;
        }
        let moving = Cell::new(0);
        let rows = Rows::new(&shared.history, query, &shared.owners, &|flow| {
            moving.set(moving.get() + usize::from(query.directions.bytes(&flow.traffic.now) > 0));
            self.is_meant(flow, shared)
        });
        Some((rows, moving.get()))
    }

    fn query(&self, directions: Directions, shared: &SharedState) -> RowQuery {
        RowQuery {
            directions,
            group: self.group,
            sort: self.sort,
            past: shared.display.totals,
        }
    }

    /// Resets order, room and scrolling after the set of rows changed: another grouping, filter or
    /// group.
    pub(super) fn reset(&mut self, shared: &SharedState) {
        for table in &mut self.tables {
            table.reset();
        }
        self.rebuild(shared);
    }

    /// Keeps the view within the rows. The view follows the selected row only if `is_following` is
    /// set: rows that move by themselves do not scroll it.
    pub fn scroll_into_view(&mut self, shared: &SharedState) {
        self.scroll(self.is_following, shared);
    }

    /// Scrolls every selected row into sight.
    pub fn scroll_to_selection(&mut self, shared: &SharedState) {
        self.scroll(true, shared);
    }

    fn scroll(&mut self, to_selection: bool, shared: &SharedState) {
        if self.tables.len() != Self::ways(shared).len() {
            self.lay_tables(shared);
            return;
        }
        let sections = self.sections(shared, shared.area);
        for (n, section) in sections.into_iter().enumerate() {
            let rows = self.section_lines(&self.tables[n], shared, section).rows;
            self.tables[n].scroll(rows, to_selection);
        }
        self.widen_columns(shared);
    }

    /// Moves the selection; the first step selects the row at the top.
    pub fn step(&mut self, rows: i64, shared: &SharedState) {
        self.is_following = false;
        let sections = self.sections(shared, shared.area);
        let section = sections.get(self.focus).copied().unwrap_or_default();
        let focused = self.tables.get(self.focus);
        let room = focused.map_or(0, |table| self.section_lines(table, shared, section).rows);
        if let Some(table) = self.tables.get_mut(self.focus) {
            let index = match table.selected() {
                // A selected row that has moved out of sight is left there: the step begins at the
                // visible rows.
                Some(index) if !table.is_in_sight(index, room) => {
                    let edge = if rows < 0 { room.saturating_sub(1) } else { 0 };
                    match rows.abs() {
                        1 => i64::try_from(table.offset + edge).unwrap_or(0),
                        _ => i64::try_from(table.offset + edge)
                            .unwrap_or(0)
                            .saturating_add(rows)
                            .max(0),
                    }
                }
                Some(index) => i64::try_from(index)
                    .unwrap_or(0)
                    .saturating_add(rows)
                    .max(0),
                None if rows > 1 => rows - 1,
                None => 0,
            };
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            table.select_index(&shared.history, index);
        }
        self.scroll_to_selection(shared);
    }

    fn scroll_to_top(&mut self, shared: &SharedState) {
        for table in &mut self.tables {
            table.offset = 0;
        }
        self.scroll_into_view(shared);
    }

    fn select(&mut self, id: Option<&RowId>, shared: &SharedState) {
        for table in &mut self.tables {
            table.select(&shared.history, id.cloned());
        }
    }

    /// Creates the tables: one per direction, or one for both.
    fn lay_tables(&mut self, shared: &SharedState) {
        self.tables = Self::ways(shared)
            .iter()
            .map(|&directions| Pane::new(directions))
            .collect();
        self.focus = self.focus.min(self.tables.len() - 1);
        for table in &mut self.tables {
            table.freeze(self.is_frozen);
        }
        self.reset(shared);
    }
}
