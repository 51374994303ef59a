//! What keys, the mouse and new intervals do to the tables of an [`App`].

use std::cell::Cell;
use std::net::Ipv4Addr;

use ratatui::layout::Rect;

use super::pane::{DrillDown, Pane};
use crate::model::flow::Endpoint;
use crate::stats::history::FlowStats;
use crate::stats::ranking::{
    ProcessLookup, ProcessRef, Row, RowId, RowQuery, Rows, group_of, steady_value,
};
use crate::text::units;
use crate::tui::app::{App, Mode};
use crate::tui::draw::columns::{ColumnSlot, LayoutRequest, Widths, fit};
use crate::tui::draw::layout::{ScreenLayout, room};
use crate::view::{Column, Directions, Group, SortKey};

impl App {
    /// Where the tables are on a screen of this size.
    pub(in crate::tui) fn sections(&self, area: Rect) -> Vec<Rect> {
        let wanted: Vec<u16> = self
            .tables
            .iter()
            .map(|table| table.wanted(self.top_n, self.display.totals))
            .collect();
        self.frame(area).sections(&wanted)
    }

    /// The parts of a screen of this size.
    pub(in crate::tui) fn frame(&self, area: Rect) -> ScreenLayout {
        ScreenLayout::new(area)
    }

    /// How many rows of a table a section shows.
    pub(in crate::tui) fn room(&self, table: &Pane, section: Rect) -> usize {
        room(
            section,
            table.has_untracked(self.display.totals),
            self.top_n,
        )
    }

    /// The columns of a table so wide.
    pub(in crate::tui) fn columns(&self, table: &Pane, width: u16) -> Vec<ColumnSlot> {
        fit(
            width,
            &LayoutRequest {
                chosen: &self.display.columns,
                directions: table.directions,
                group: self.group,
                totals: self.display.totals,
                units: self.display.units,
                share_bar: self.display.theme.share(None).is_none(),
                containers: self.containers,
                seen: self.history.seen(),
                names: self.display.names,
                widths: self.widths,
            },
        )
    }

    /// What the tables are sorted by when nothing else was asked for.
    pub(in crate::tui) fn main_column(&self) -> Column {
        if self.display.totals {
            Column::Total
        } else {
            Column::Rate
        }
    }

    /// The way a table is looked at.
    pub(in crate::tui) fn view(&self, directions: Directions) -> RowQuery {
        RowQuery {
            directions,
            group: self.group,
            sort: self.sort,
            past: self.display.totals,
        }
    }

    /// Whether a flow is among those that are looked at.
    fn is_meant(&self, flow: &FlowStats) -> bool {
        let inside = |step: &DrillDown| group_of(step.group, flow, &self.owners) == step.id;
        if !self.path.iter().all(inside) {
            return false;
        }
        if self.filter.is_empty() {
            return true;
        }
        let elapsed = self.history.clock().elapsed;
        self.query
            .matches(flow, elapsed, || self.owners.process(&ProcessRef::of(flow)))
    }

    /// Brings the tables up to date with the history.
    pub(in crate::tui) fn rebuild(&mut self) {
        self.query.follow(&self.filter);
        let mut tables = std::mem::take(&mut self.tables);
        if self.history.intervals() == 0 {
            // As at the beginning of a recording: rows of another history mean nothing in this one.
            for table in &mut tables {
                table.rows = None;
            }
            self.tables = tables;
            return;
        }
        for table in &mut tables {
            let view = self.view(table.directions);
            let directions = table.directions;
            let moving = Cell::new(0);
            let mut rows = Rows::new(&self.history, &view, &self.owners, &|flow| {
                moving.set(moving.get() + usize::from(directions.bytes(&flow.traffic.now) > 0));
                self.is_meant(flow)
            });
            table.moving_flows = moving.get();
            let (sort, clock) = (self.sort, rows.clock);
            table.order.arrange(
                &mut rows,
                &self.history,
                |row| steady_value(row, sort.column, directions, &clock, &self.owners),
                sort.descending,
            );
            table.most = table.most.max(rows.len());
            table.rows = Some(rows);
            table.follow(&self.history);
        }
        self.tables = tables;
        self.settle();
    }

    /// Rows are other ones now: the order starts anew, and nothing is left selected that is gone.
    pub(in crate::tui) fn anew(&mut self) {
        for table in &mut self.tables {
            table.order.reset();
            table.most = 0;
            table.offset = 0;
            if table.selected.is_some() {
                table.index = 0;
            }
        }
        self.rebuild();
    }

    /// Has every selected row in sight.
    pub(in crate::tui) fn settle(&mut self) {
        let sections = self.sections(self.area);
        let mut tables = std::mem::take(&mut self.tables);
        for (table, section) in tables.iter_mut().zip(sections) {
            table.scroll(self.room(table, section));
        }
        self.tables = tables;
        self.grow();
    }

    /// Rows that a page has.
    pub(in crate::tui) fn page(&self) -> i64 {
        let sections = self.sections(self.area);
        let focused = self.tables.get(self.focus).zip(sections.get(self.focus));
        let rows = focused.map_or(1, |(table, section)| self.room(table, *section));
        i64::try_from(rows).unwrap_or(1).max(1)
    }

    /// Moves the selection; the first step selects the row at the top.
    pub(in crate::tui) fn step(&mut self, rows: i64) {
        if let Some(table) = self.tables.get_mut(self.focus) {
            let index = match table.selected() {
                Some(index) => i64::try_from(index)
                    .unwrap_or(0)
                    .saturating_add(rows)
                    .max(0),
                None if rows > 1 => rows - 1,
                None => 0,
            };
            table.select_index(&self.history, usize::try_from(index).unwrap_or(usize::MAX));
        }
        self.settle();
    }

    /// Opens the selected row, or the first.
    pub(in crate::tui) fn enter(&mut self) {
        let Some(table) = self.tables.get_mut(self.focus) else {
            return;
        };
        if table.selected.is_none() {
            table.select_index(&self.history, 0);
        }
        let index = table.index;
        let Some(row) = self.tables[self.focus].row(&self.history, index) else {
            return;
        };
        if let RowId::Flow(key) = row.id {
            self.mode = Mode::Detail(key, 0);
            return;
        }
        let step = DrillDown {
            group: self.group,
            sort: self.sort,
            id: row.id.clone(),
            title: self.title_of(&row),
        };
        self.path.push(step);
        self.group = Group::Flow;
        self.sort = SortKey::by(self.main_column());
        for table in &mut self.tables {
            table.select(&self.history, None);
        }
        self.anew();
    }

    /// What a row is called. Names in it are harmless.
    pub(in crate::tui) fn title_of(&self, row: &Row) -> String {
        match &row.id {
            RowId::Process(tgid) | RowId::Thread(tgid, 0) => {
                let owner = row.common.owner.as_deref();
                let name = owner.map(|owner| units::process_name(&owner.name(), owner.kernel));
                format!("{} {tgid}", name.unwrap_or_default())
            }
            RowId::Thread(tgid, tid) => match row.common.owner.as_deref() {
                Some(owner) if tid == tgid => {
                    format!("{} {tid}", units::process_name(&owner.name(), owner.kernel))
                }
                Some(owner) => {
                    let thread = owner.thread.to_string_lossy();
                    let thread = units::visible(&thread);
                    format!(
                        "{thread} {tid} of {}",
                        units::process_name(&owner.name(), owner.kernel)
                    )
                }
                None => row.id.to_string(),
            },
            RowId::User(uid) => {
                let by_proc = || self.owners.process(&row.process_ref()?)?.user.clone();
                let name = self.owners.user_name(*uid).or_else(by_proc);
                name.map_or_else(
                    || row.id.to_string(),
                    |name| units::name(&name).into_owned(),
                )
            }
            RowId::Remote(addr) => {
                match self.display.names.then(|| self.names.get(*addr)).flatten() {
                    Some(name) => units::name(&name).into_owned(),
                    None => addr.to_string(),
                }
            }
            RowId::Port(protocol, port) => {
                let end = Endpoint::new(Ipv4Addr::UNSPECIFIED.into(), *port);
                let service = self.names.service(*protocol, &end, None);
                match service.filter(|_| self.display.names) {
                    Some(service) => format!("{} ({service})", row.id),
                    None => row.id.to_string(),
                }
            }
            id => units::visible(&id.to_string()).into_owned(),
        }
    }

    /// Sorts by the next column of those that are shown, or the one before.
    pub(in crate::tui) fn step_sort(&mut self, by: isize) {
        let Some(table) = self.tables.get(self.focus) else {
            return;
        };
        let there = self.columns(table, self.area.width);
        let now = there
            .iter()
            .position(|place| place.column == self.sort.column);
        let next = match now {
            Some(now) => (now as isize + by).rem_euclid(there.len().max(1) as isize) as usize,
            None => 0,
        };
        if let Some(place) = there.get(next) {
            self.set_sort(SortKey::by(place.column));
        }
    }

    /// Sorts by something else.
    pub(in crate::tui) fn set_sort(&mut self, sort: SortKey) {
        self.sort = sort;
        for table in &mut self.tables {
            table.order.reset();
            table.offset = 0;
        }
        self.rebuild();
    }

    /// Takes the widths of what is shown into account.
    pub(in crate::tui) fn grow(&mut self) {
        let mut widths = Widths::default();
        let mut containers = false;
        let end = |end: &Endpoint, other: Option<&Endpoint>, protocol| {
            let label = self.label(end, other, protocol);
            units::columns(&units::visible(&label.host)) + label.port.len()
        };
        for (table, section) in self.tables.iter().zip(self.sections(self.area)) {
            for row in table.shown(&self.history, table.offset, self.room(table, section)) {
                let common = &row.common;
                let (local, remote) = (common.local.as_ref(), common.remote.as_ref());
                widths.grow(&Widths {
                    local: local.map_or(0, |local| end(local, remote, common.protocol)),
                    remote: remote.map_or(0, |remote| end(remote, local, common.protocol)),
                    pid: common.tgid.map_or(0, |tgid| tgid.to_string().len()),
                    process: units::columns(&self.process_name(common)),
                });
                let place = row
                    .process_ref()
                    .and_then(|process_ref| self.owners.place(&process_ref));
                containers |= place.is_some();
            }
        }
        self.widths.grow(&widths);
        self.containers |= containers;
    }
}
