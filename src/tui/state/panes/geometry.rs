//! Positions of the tables on the screen, and the columns that fit.

use ratatui::layout::Rect;

use super::Panes;
use crate::model::dns::DnsName;
use crate::model::flow::Endpoint;
use crate::stats::ranking::ProcessLookup as _;
use crate::text::units;
use crate::tui::draw::columns::{ColumnSlot, LayoutRequest, Widths, fit};
use crate::tui::draw::layout::ScreenLayout;
use crate::tui::draw::row_text::LOCAL_TAG;
use crate::tui::state::pane::{Pane, SectionLines};
use crate::tui::state::shared::SharedState;
use crate::view::{Column, Directions};

/// Height of the screen, in lines, below which one table shows both directions.
const MIN_TWO_TABLES_HEIGHT: u16 = 12;
/// Height of the screen, in lines, from which on a line describes the selected row of a joined
/// table.
const DESCRIPTION_FROM: u16 = 16;

impl Panes {
    /// Returns the parts of a screen of this size.
    pub fn layout(&self, area: Rect) -> ScreenLayout {
        match self.has_prompt {
            true => ScreenLayout::new(area).with_prompt(),
            false => ScreenLayout::new(area),
        }
    }

    /// Returns the areas of the tables on a screen of this size.
    pub fn sections(&self, shared: &SharedState, area: Rect) -> Vec<Rect> {
        let needed: Vec<u16> = self
            .tables
            .iter()
            .map(|table| {
                let head = self.head(table, shared, area.width);
                table.needed_lines(shared.live_rows, shared.display.totals, head)
            })
            .collect();
        let mut sections = self.layout(area).sections(&needed);
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

    /// Returns the number of lines above the rows of a table: headings, and a title if it adds
    /// information.
    pub(in crate::tui) fn head(&self, table: &Pane, shared: &SharedState, width: u16) -> u16 {
        let is_plain = table.directions == Directions::Both
            && self.path.is_empty()
            && self.find.is_empty()
            && !self.is_following
            && !shared.display.totals;
        let is_marked = || {
            let columns = self.columns(table, shared, width);
            let sort = self.sort.column;
            let mut columns = columns.iter().filter(|slot| slot.width > 0);
            columns.any(|slot| {
                slot.column == sort || sort == Column::Rate && slot.column == Column::Tx
            })
        };
        if is_plain && is_marked() { 1 } else { 2 }
    }

    /// Returns the use of a section's lines.
    pub(in crate::tui) fn section_lines(
        &self,
        table: &Pane,
        shared: &SharedState,
        section: Rect,
    ) -> SectionLines {
        table.section_lines(shared, section, self.head(table, shared, section.width))
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
                looks_up_hosts: shared.looks_up_hosts(),
                has_local_addresses: self.local_addresses.are_several,
                widths: self.widths,
            },
        )
    }

    /// Returns the directions of the tables: low screens have one table for both.
    pub(super) fn ways(shared: &SharedState) -> &'static [Directions] {
        if shared.display.combined || shared.area.height < MIN_TWO_TABLES_HEIGHT {
            &[Directions::Both]
        } else {
            &[Directions::Rx, Directions::Tx]
        }
    }

    /// Number of rows of a page.
    pub(super) fn page(&self, shared: &SharedState) -> i64 {
        let sections = self.sections(shared, shared.area);
        let focused = self.tables.get(self.focus).zip(sections.get(self.focus));
        let rows = focused.map_or(1, |(table, section)| {
            self.section_lines(table, shared, *section).rows
        });
        i64::try_from(rows).unwrap_or(1).max(1)
    }

    /// Widens columns to the content of the rows in sight.
    pub fn widen_columns(&mut self, shared: &SharedState) {
        let end =
            |end: &Endpoint, other: Option<&Endpoint>, protocol, dns_name: Option<&DnsName>| {
                let label = shared.peer_label(end, other, protocol, dns_name);
                units::columns(&units::visible(&label.host)) + label.port.len()
            };
        let sections = self.sections(shared, shared.area);
        for (table, section) in self.tables.iter().zip(sections) {
            let room = self.section_lines(table, shared, section).rows;
            for row in table.shown(&shared.history, table.offset, room) {
                let common = &row.common;
                let (local, remote) = (common.local.as_ref(), common.remote.as_ref());
                if let Some(local) = local {
                    self.local_addresses.add(local.addr);
                }
                let tag = if common.internal { LOCAL_TAG.len() } else { 0 };
                self.widths.widen(&Widths {
                    local: local.map_or(0, |local| end(local, remote, common.protocol, None)),
                    port: local.map_or(0, |local| {
                        let label = shared.label(local, remote, common.protocol);
                        label.port.len().saturating_sub(1)
                    }),
                    remote: remote.map_or(0, |remote| {
                        end(remote, local, common.protocol, common.dns_name.as_deref())
                    }) + tag,
                    pid: common.tgid.map_or(0, |tgid| tgid.to_string().len()),
                    process: units::columns(&shared.process_name(common)),
                    protocol: common.protocol.map_or(0, |it| it.as_str().len()),
                });
                if let Some(process_ref) = row.process_ref() {
                    // Requested while the process exists: its facts cannot be read after its end.
                    let _ = shared.owners.process(&process_ref);
                    self.containers |= shared.owners.short_location(&process_ref).is_some();
                }
            }
        }
    }
}
