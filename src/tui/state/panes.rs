//! The tables of the screen: their state, and what keys and new intervals change of it. Drawing is in
//! `tui/draw/section`, clicks in `tui/input/mouse`.

use std::cell::Cell;

use ratatui::layout::Rect;

use super::find::Find;
use super::find_rows::BeforePrompt;
use super::list::{List, ListChoice, ListEntry};
use super::pane::{DrillDown, Pane, SectionLines};
use super::prompt::PromptKind;
use super::row_filter::RowFilter;
use super::row_terms::row_terms;
use super::shared::SharedState;
use super::tree::LineId;
use crate::model::flow::Endpoint;
use crate::stats::history::FlowStats;
use crate::stats::ranking::{ProcessLookup as _, RowId, RowQuery, Rows, group_of};
use crate::text::units;
use crate::tui::action::Command;
use crate::tui::app::Mode;
use crate::tui::draw::columns::{ColumnSlot, LayoutRequest, Widths, fit};
use crate::tui::draw::detail::Detail;
use crate::tui::draw::layout::ScreenLayout;
use crate::tui::state::chooser::Chooser;
use crate::tui::state::display_options::DisplayOptions;
use crate::view::{Column, Directions, Group, Preset, SortKey};

/// Height of the screen, in lines, below which one table shows both directions.
const TWO_TABLES_FROM: u16 = 12;
/// Height of the screen, in lines, from which on a line describes the selected row of a joined table.
const DESCRIPTION_FROM: u16 = 16;

/// One table for each way, or one for both, and what they are of.
#[derive(Debug)]
pub struct Panes {
    pub(in crate::tui) group: Group,
    pub(in crate::tui) sort: SortKey,
    pub(in crate::tui) filter: RowFilter,
    pub(in crate::tui) find: Find,
    pub(super) before_prompt: BeforePrompt,
    /// Whether a prompt is open, which takes a line.
    has_prompt: bool,
    /// Rows that stand on top whatever they move.
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
            Command::NextGroup => {
                self.group = match self.group.next() {
                    // One row a process would say nothing of threads.
                    Group::Thread if !shared.threads => Group::Thread.next(),
                    Group::Net(_) if matches!(shared.display.group, Group::Net(_)) => {
                        shared.display.group
                    }
                    next => next,
                };
                self.sort = shared.display.sort;
                self.close_rows();
                self.reset(shared);
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

    /// Returns the parts of a screen of this size.
    pub fn layout(&self, area: Rect) -> ScreenLayout {
        match self.has_prompt {
            true => ScreenLayout::new(area).with_prompt(),
            false => ScreenLayout::new(area),
        }
    }

    /// Returns the areas of the tables on a screen of this size.
    pub fn sections(&self, shared: &SharedState, area: Rect) -> Vec<Rect> {
        let wanted: Vec<u16> = self
            .tables
            .iter()
            .map(|table| {
                let head = self.head(table, shared, area.width);
                table.needed_lines(shared.live_rows, shared.display.totals, head)
            })
            .collect();
        let mut sections = self.layout(area).sections(&wanted);
        if let [section] = &mut *sections
            && area.height >= DESCRIPTION_FROM
        {
            section.height = section.height.saturating_sub(1);
        }
        sections
    }

    /// Returns the area of the line that describes the selected row; empty where there is none.
    pub fn description_area(&self, area: Rect) -> Rect {
        let body = self.layout(area).body;
        let is_there = self.tables.len() == 1 && area.height >= DESCRIPTION_FROM;
        Rect {
            y: body.bottom().saturating_sub(1),
            height: body.height.min(u16::from(is_there)),
            ..body
        }
    }

    /// Returns how many lines stand above the rows of a table: headings, and a title if it says anything that
    /// the headings do not.
    pub(in crate::tui) fn head(&self, table: &Pane, shared: &SharedState, width: u16) -> u16 {
        let is_plain = table.directions == Directions::Both
            && self.path.is_empty()
            && self.filter.is_empty()
            && self.find.is_empty()
            && !self.is_following
            && !shared.display.totals;
        let is_marked = || {
            let columns = self.columns(table, shared, width);
            let sort = match self.sort.column {
                Column::Rate => Column::Tx,
                column => column,
            };
            let mut columns = columns.iter().filter(|slot| slot.width > 0);
            columns.any(|slot| slot.column == sort)
        };
        if is_plain && is_marked() { 1 } else { 2 }
    }

    /// Returns how the lines of a section are used.
    pub(in crate::tui) fn section_lines(
        &self,
        table: &Pane,
        shared: &SharedState,
        section: Rect,
    ) -> SectionLines {
        table.section_lines(shared, section, self.head(table, shared, section.width))
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

    /// Opens the selected row in place, or moves to the first of its rows; returns whether it has any.
    fn expand(&mut self, shared: &SharedState) -> bool {
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
            // Where the sum stood is the first of the rows that have lines now.
            self.tables[self.focus].select_index(&shared.history, index);
            self.scroll_to_selection(shared);
        }
        true
    }

    /// Closes the selected row, or moves to the row that it is part of; returns whether it is one of these.
    fn fold(&mut self, shared: &SharedState) -> bool {
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

    fn close_rows(&mut self) {
        for table in &mut self.tables {
            table.tree.clear();
        }
    }

    /// Returns the columns of a table of this width.
    pub fn columns(&self, table: &Pane, shared: &SharedState, width: u16) -> Vec<ColumnSlot> {
        let display = &shared.display;
        fit(
            width,
            &LayoutRequest {
                columns: &display.columns,
                directions: table.directions,
                group: self.group,
                sorted: self.sort.column,
                totals: display.totals,
                units: display.units,
                containers: self.containers,
                seen: shared.history.seen(),
                names: display.names,
                widths: self.widths,
            },
        )
    }

    /// Makes room for a prompt, or takes it back.
    pub fn set_prompt(&mut self, has_prompt: bool, shared: &SharedState) {
        self.has_prompt = has_prompt;
        self.settle(shared);
    }

    /// Whether a flow is in the opened groups and matches the filter.
    fn is_meant(&self, flow: &FlowStats, shared: &SharedState) -> bool {
        if shared.hides_internal && flow.internal {
            return false;
        }
        let owners = &shared.owners;
        let inside = |step: &DrillDown| group_of(step.group, flow, owners) == step.id;
        self.path.iter().all(inside) && self.filter.matches(flow, &shared.history)
    }

    /// Rebuilds the rows of all tables from the history.
    pub fn rebuild(&mut self, shared: &SharedState) {
        self.filter.begin();
        for n in 0..self.tables.len() {
            let query = self.query(self.tables[n].directions, shared);
            let rows = self.rows(&query, shared);
            self.tables[n].take(rows, query, &self.pinned, shared);
        }
        self.settle(shared);
    }

    /// The rows of one way, with how many flows moved bytes in the latest interval; nothing before the
    /// first interval, as at the beginning of a recording.
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

    /// Resets order, room and scrolling after the set of rows changed: another grouping, filter or group.
    pub(super) fn reset(&mut self, shared: &SharedState) {
        for table in &mut self.tables {
            table.reset();
        }
        self.rebuild(shared);
    }

    /// Keeps the view within the rows. It scrolls along with the selected row only if that is wanted: what
    /// moves by itself does not drag the view.
    pub fn settle(&mut self, shared: &SharedState) {
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

    /// Number of rows of a page.
    fn page(&self, shared: &SharedState) -> i64 {
        let sections = self.sections(shared, shared.area);
        let focused = self.tables.get(self.focus).zip(sections.get(self.focus));
        let rows = focused.map_or(1, |(table, section)| {
            self.section_lines(table, shared, *section).rows
        });
        i64::try_from(rows).unwrap_or(1).max(1)
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
                // One that has moved out of sight is left there: the step begins where one looks.
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

    /// Opens the selected row, or the first; returns the detail for a flow.
    pub fn enter(&mut self, shared: &SharedState) -> Option<Mode> {
        let table = self.tables.get_mut(self.focus)?;
        if table.selected.is_none() {
            table.select_index(&shared.history, 0);
        }
        if let RowId::Flow(key) = table.row(&shared.history, table.index)?.id {
            return Some(Mode::Detail(Detail::of(key)));
        }
        let levels = table.levels(table.index);
        let selected = table.selected.clone()?;
        // Of the sum of rows without a line the row that it is part of is opened.
        let mut is_one_process = true;
        for (n, id) in selected.path.iter().enumerate() {
            let line = LineId {
                path: selected.path[..=n].to_vec(),
                is_rest: false,
            };
            let table = self.tables.get(self.focus)?;
            let row = table.row_of(&shared.history, &line)?;
            is_one_process = row.common.tgid.is_some();
            let title = match id {
                // The step before has the name.
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
            // A process is what one looks for next; one process alone is open already.
            Group::Program if !is_one_process => Group::Process,
            _ => Group::Flow,
        };
        self.close_rows();
        self.sort = SortKey::by(main_column(&shared.display));
        self.select(None, shared);
        self.reset(shared);
        None
    }

    /// Whether the table shows the processes of a program that was opened.
    fn is_in_program(&self) -> bool {
        let last = self.path.last();
        last.is_some_and(|step| step.group == Group::Program)
    }

    /// Goes back one step: leaves the opened group, else clears the filter, the grouping or the selection.
    fn back(&mut self, shared: &SharedState) {
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

    fn scroll_to_top(&mut self, shared: &SharedState) {
        for table in &mut self.tables {
            table.offset = 0;
        }
        self.settle(shared);
    }

    /// Pins the selected row on top, or lets it go.
    fn pin(&mut self, shared: &SharedState) {
        let selected = self.tables.get(self.focus);
        // A row within an opened one stands with it.
        let Some(id) = selected.and_then(|table| table.selected.clone()?.path.into_iter().next())
        else {
            return;
        };
        match self.pinned.iter().position(|pinned| *pinned == id) {
            Some(place) => drop(self.pinned.remove(place)),
            None => self.pinned.push(id),
        }
        self.rebuild(shared);
    }

    /// Returns the list of columns to sort by: those that are shown, then the others that have values.
    fn sort_list(&self, shared: &SharedState) -> Option<List> {
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
                label: column.heading(self.group, table.directions).to_owned(),
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
    fn condition_list(&mut self, command: Command, shared: &SharedState) -> Option<List> {
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

    /// Returns the grouping that the last step back leads to: that of the view, of two sections flows.
    pub(in crate::tui) fn home(&self, shared: &SharedState) -> Group {
        if shared.display.combined {
            shared.display.group
        } else {
            Group::Flow
        }
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

    /// Returns the directions of the tables: low screens have one table for both.
    fn ways(shared: &SharedState) -> &'static [Directions] {
        if shared.display.combined || shared.area.height < TWO_TABLES_FROM {
            &[Directions::Both]
        } else {
            &[Directions::Rx, Directions::Tx]
        }
    }

    /// Sorts by the next shown column, or by the previous one.
    fn step_sort(&mut self, by: isize, shared: &SharedState) {
        let Some(table) = self.tables.get(self.focus) else {
            return;
        };
        let columns = self.columns(table, shared, shared.area.width);
        let mut there: Vec<Column> = columns.iter().map(|place| place.column).collect();
        // The sum of both directions has no column of its own.
        if let Some(place) = there.iter().position(|&column| column == Column::Rx) {
            there.insert(place, Column::Rate);
        }
        let now = there.iter().position(|&column| column == self.sort.column);
        let next = match now {
            Some(now) => (now as isize + by).rem_euclid(there.len().max(1) as isize) as usize,
            None => 0,
        };
        if let Some(&column) = there.get(next) {
            self.set_sort(SortKey::by(column), shared);
        }
    }

    /// Changes the order of the rows.
    pub fn set_sort(&mut self, sort: SortKey, shared: &SharedState) {
        self.sort = sort;
        for table in &mut self.tables {
            table.order.reset();
            table.tree.reset_order();
            table.offset = 0;
        }
        self.rebuild(shared);
    }

    /// Widens columns to the content of the rows in sight.
    pub fn widen_columns(&mut self, shared: &SharedState) {
        let end = |end: &Endpoint, other: Option<&Endpoint>, protocol| {
            let label = shared.label(end, other, protocol);
            units::columns(&units::visible(&label.host)) + label.port.len()
        };
        let sections = self.sections(shared, shared.area);
        for (table, section) in self.tables.iter().zip(sections) {
            let room = self.section_lines(table, shared, section).rows;
            for row in table.shown(&shared.history, table.offset, room) {
                let common = &row.common;
                let (local, remote) = (common.local.as_ref(), common.remote.as_ref());
                self.widths.grow(&Widths {
                    local: local.map_or(0, |local| end(local, remote, common.protocol)),
                    remote: remote.map_or(0, |remote| end(remote, local, common.protocol)),
                    pid: common.tgid.map_or(0, |tgid| tgid.to_string().len()),
                    process: units::columns(&shared.process_name(common)),
                    protocol: common.protocol.map_or(0, |it| it.as_str().len()),
                });
                let place = row
                    .process_ref()
                    .and_then(|process_ref| shared.owners.place(&process_ref));
                self.containers |= place.is_some();
            }
        }
    }
}

/// Returns the column that tables are sorted by unless another was chosen.
fn main_column(display: &DisplayOptions) -> Column {
    if display.totals {
        Column::Total
    } else {
        Column::Rate
    }
}
