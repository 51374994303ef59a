//! The page of one flow, process or program: the limit of its pace, its traffic, connections, peers
//! and owner, and its chart.

mod connection;
mod diagnosis;
mod facts;
mod flow;
mod group;
mod owner;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use self::flow::FlowPage;
use self::group::GroupPage;
use super::heading_line;
use super::line::{line, put};
use crate::model::flow::FlowKey;
use crate::stats::ranking::{Row, RowId};
use crate::text::units;
use crate::tui::action::Command;
use crate::tui::app::{Mode, scrolled};
use crate::tui::state::panes::Panes;
use crate::tui::state::shared::SharedState;
use crate::view::Group;

/// The subject of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
enum DetailSubject {
    Flow(FlowKey),
    /// The flows that are in all of these rows, and the title of the last row.
    Rows(Vec<(Group, RowId)>, String),
}

/// One flow, process or program on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    subject: DetailSubject,
    /// The first line shown.
    top: usize,
}

impl Detail {
    /// Returns the page of the flow with this key, scrolled to the top.
    pub const fn of(key: FlowKey) -> Self {
        Self {
            subject: DetailSubject::Flow(key),
            top: 0,
        }
    }

    /// Returns the page of the flows that are in all of these rows.
    pub const fn of_rows(rows: Vec<(Group, RowId)>, title: String) -> Self {
        Self {
            subject: DetailSubject::Rows(rows, title),
            top: 0,
        }
    }

    /// Whether a row has a page of its own, and not only its flows.
    pub const fn has_page(id: &RowId) -> bool {
        matches!(
            id,
            RowId::Flow(_) | RowId::Program(..) | RowId::Process(_) | RowId::Thread(..)
        )
    }

    /// Whether the subject of the page has flows that can be opened.
    pub const fn has_flows(&self) -> bool {
        matches!(self.subject, DetailSubject::Rows(..))
    }

    /// Handles a command; returns the part of the screen that takes over, if one does.
    pub fn act(&mut self, command: Command) -> Option<Mode> {
        match command {
            Command::Back | Command::Enter => return Some(Mode::Table),
            _ => self.top = scrolled(self.top, command).unwrap_or(self.top),
        }
        None
    }

    /// Returns the flow as a row of the table; `None` for several flows.
    pub fn row(&self, shared: &SharedState) -> Option<Row> {
        let DetailSubject::Flow(key) = &self.subject else {
            return None;
        };
        let flow = shared.history.get(key)?;
        Some(Row::of(flow, &shared.history.clock()))
    }

    pub fn wheel(&mut self, rows: i32) {
        self.top = self.top.saturating_add_signed(rows as isize);
    }

    pub fn draw(&self, shared: &SharedState, panes: &Panes, area: Rect, buf: &mut Buffer) {
        let theme = &shared.display.theme;
        let title = match &self.subject {
            DetailSubject::Flow(key) => {
                let dns_name = shared
                    .history
                    .get(key)
                    .and_then(|flow| flow.dns_name.as_deref());
                let peer =
                    shared.peer_label(&key.remote, Some(&key.local), Some(key.protocol), dns_name);
                let owner = self.row(shared).map(|row| shared.process_name(&row.common));
                format!(
                    "Flow of {} {}: {} {}{}",
                    owner.unwrap_or_default(),
                    key.tgid,
                    key.protocol,
                    units::visible(&peer.host),
                    peer.port
                )
            }
            DetailSubject::Rows(_, title) => title.clone(),
        };
        heading_line(&title, line(area, 0), theme, buf);
        let body = Rect {
            y: area.y + 1.min(area.height),
            height: area.height.saturating_sub(1),
            ..area
        };
        let is_there = match &self.subject {
            DetailSubject::Flow(key) => shared.history.get(key).map(|flow| {
                let page = FlowPage { shared, flow };
                facts::draw(&page, shared, self.top, body, buf);
            }),
            DetailSubject::Rows(rows, _) => GroupPage::of(shared, panes, rows)
                .map(|page| facts::draw(&page, shared, self.top, body, buf)),
        };
        if is_there.is_none() {
            let text = match panes.filter.is_empty() && !shared.hides_internal {
                true => "This ended long ago; only the totals still include it.",
                false => "None of its flows matches the filter now.",
            };
            put(buf, line(body, 1), 1, text, Style::new());
        }
    }
}
