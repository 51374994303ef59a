//! The texts of a row: the contents of its cells, and the text in which words are found. Measured
//! numbers are not part of it: they change every interval.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::flow::{Endpoint, Owner};
use crate::resolve::names::Label;
use crate::stats::ranking::{ProcessLookup as _, Row, RowId};
use crate::text::units;
use crate::tui::state::shared::SharedState;
use crate::view::{Column, Group};

/// Tag behind a peer on this machine.
pub const LOCAL_TAG: &str = " local";
/// Tag behind the name of a container that its engine no longer has.
const STALE_TAG: &str = " (gone)";

/// A row with the state that its texts depend on.
#[derive(Clone, Copy)]
pub struct RowText<'a> {
    pub shared: &'a SharedState,
    pub row: &'a Row,
    /// Grouping of the rows.
    pub group: Group,
}

/// The text of a row in which words are found.
#[derive(Debug, Default)]
pub struct FoundText(String);

impl FoundText {
    pub fn add(&mut self, text: &str) {
        self.0.push(' ');
        self.0.push_str(text);
    }

    fn add_known(&mut self, text: Option<String>) {
        if let Some(text) = text {
            self.add(&text);
        }
    }
}

/// Cache of the texts of owner columns per process, for one search: flows are many, processes are
/// few, and each fact about a process takes a lock.
#[derive(Debug, Default)]
pub struct OwnerTexts(HashMap<(u32, *const Owner), String>);

impl RowText<'_> {
    /// Returns the text in which words are found: everything that the cells of all columns can
    /// show, in lower case.
    pub fn found_in(&self) -> String {
        self.found_in_with(&mut OwnerTexts::default())
    }

    /// Returns [`Self::found_in`] for a search of many rows.
    pub fn found_in_with(&self, owners: &mut OwnerTexts) -> String {
        let mut found = FoundText::default();
        if self.group != Group::Flow {
            found.add(&self.title());
        }
        let common = &self.row.common;
        match common.tgid.zip(common.owner.as_ref()) {
            Some((tgid, owner)) => {
                let of_owner = owners.0.entry((tgid, Arc::as_ptr(owner)));
                let text = of_owner.or_insert_with(|| self.found_by(is_of_owner).0);
                found.0.push_str(text);
            }
            None => found.0.push_str(&self.found_by(is_of_owner).0),
        }
        let of_row = self.found_by(|column| !is_of_owner(column));
        found.0.push_str(&of_row.0);
        units::sanitize(&found.0).to_lowercase()
    }

    fn found_by(&self, is_included: impl Fn(Column) -> bool) -> FoundText {
        let mut found = FoundText::default();
        for column in Column::ALL
            .into_iter()
            .filter(|&column| is_included(column))
        {
            if let Some(add) = column.drawing().found_by {
                add(self, &mut found);
            }
        }
        found
    }

    /// Returns the row's name, where it is no flow.
    pub fn title(&self) -> String {
        self.shared.title_of(self.row)
    }

    /// Returns the name of the process, if all flows are of one.
    pub fn process(&self) -> Option<String> {
        self.row.process_ref()?;
        Some(self.shared.process_name(&self.row.common))
    }

    /// Returns the arguments of the process, where they are known and there are any.
    pub fn arguments(&self) -> Option<String> {
        let process = self.shared.owners.process(&self.row.process_ref()?)?;
        let arguments = process.cmdline.get(1..).filter(|rest| !rest.is_empty());
        arguments.map(|arguments| arguments.join(" "))
    }

    pub fn user(&self) -> Option<String> {
        let process_ref = self.row.process_ref()?;
        let owners = &self.shared.owners;
        let uid = owners.uid(&process_ref)?;
        let user = owners.user(&process_ref);
        Some(units::user_name(user.as_deref(), uid))
    }

    /// Returns the container, pod or unit.
    pub fn location(&self) -> Option<String> {
        let process_ref = self.row.process_ref()?;
        let owners = &self.shared.owners;
        let location = owners.short_location(&process_ref)?;
        let mut text = units::name(&location).into_owned();
        let labels = process_ref.owner.labels.as_ref();
        if labels.is_some_and(|labels| labels.is_stale) {
            text.push_str(STALE_TAG);
        }
        Some(text)
    }

    pub fn pid(&self) -> Option<String> {
        self.row.common.tgid.map(|tgid| tgid.to_string())
    }

    pub fn protocol(&self) -> Option<&'static str> {
        self.row.common.protocol.map(|protocol| protocol.as_str())
    }

    /// Returns an end of the flows as drawn; requests its host name if that is unknown.
    pub fn end(&self, end: &Endpoint, other: Option<&Endpoint>) -> Label {
        self.shared.label(end, other, self.row.common.protocol)
    }

    /// Returns the peer of the flows as it is drawn.
    pub fn peer(&self, remote: &Endpoint) -> Label {
        let common = &self.row.common;
        let dns_name = common.dns_name.as_deref();
        self.shared
            .peer_label(remote, common.local.as_ref(), common.protocol, dns_name)
    }

    /// Adds an end of the flows: its address, and its host and service name if known. Requests no
    /// name, because a search reads many more rows than are drawn.
    fn find_end(&self, end: Option<Endpoint>, other: Option<Endpoint>, found: &mut FoundText) {
        let Some(end) = end else {
            return;
        };
        let names = &self.shared.names;
        let protocol = self.row.common.protocol;
        let service = protocol.and_then(|protocol| names.service(protocol, &end, other.as_ref()));
        let mut add = |host: Option<&str>, service| {
            let label = names.written(&end, host, service);
            found.add(&units::visible(&label.host));
            found.0.push_str(&label.port);
        };
        add(None, None);
        let host = names.known(end.addr);
        if host.is_some() || service.is_some() {
            add(host.as_deref(), service);
        }
    }
}

/// Whether a row's process alone decides what a column shows.
fn is_of_owner(column: Column) -> bool {
    matches!(column, Column::Process | Column::User | Column::Container)
}

/// Texts by which words find a row, per column; [`super::column_table`] assigns them to columns.
impl RowText<'_> {
    pub(super) fn find_process(&self, found: &mut FoundText) {
        found.add_known(self.process());
        found.add_known(self.arguments());
        let process_ref = self.row.process_ref();
        let process = process_ref.and_then(|it| self.shared.owners.process(&it));
        let program = process.and_then(|process| process.cmdline.first().cloned());
        found.add_known(program);
    }

    pub(super) fn find_pid(&self, found: &mut FoundText) {
        found.add_known(self.pid());
        if let RowId::Flow(key) = &self.row.id {
            found.add(&key.tid.to_string());
            found.add(&key.netns.to_string());
            let netns = self.shared.owners.netns_name(key.netns);
            found.add_known(netns.map(|name| units::visible(&name).into_owned()));
        }
    }

    pub(super) fn find_user(&self, found: &mut FoundText) {
        found.add_known(self.user());
        let process_ref = self.row.process_ref();
        let uid = process_ref.and_then(|it| self.shared.owners.uid(&it));
        found.add_known(uid.map(|uid| uid.to_string()));
    }

    pub(super) fn find_location(&self, found: &mut FoundText) {
        found.add_known(self.location());
        let process_ref = self.row.process_ref();
        let location = process_ref.and_then(|it| self.shared.owners.location(&it));
        if let Some(location) = location {
            found.add_known(location.container.as_ref().map(ToString::to_string));
            found.add_known(location.unit.as_deref().map(str::to_owned));
        }
    }

    /// Returns the host name that the peers of the row were resolved from.
    pub fn host(&self) -> Option<String> {
        let dns_name = self.row.common.dns_name.as_ref()?;
        Some(units::visible(&dns_name.marked()).into_owned())
    }

    pub(super) fn find_host(&self, found: &mut FoundText) {
        let dns_name = self.row.common.dns_name.as_ref();
        found.add_known(dns_name.map(|dns| dns.name.to_string()));
    }

    pub fn zone(&self) -> Option<String> {
        let zone = self.row.common.zone.as_ref()?;
        Some(units::visible(&zone.name).into_owned())
    }

    pub(super) fn find_zone(&self, found: &mut FoundText) {
        found.add_known(self.zone());
    }

    pub(super) fn find_protocol(&self, found: &mut FoundText) {
        found.add_known(self.protocol().map(str::to_owned));
    }

    pub(super) fn find_local(&self, found: &mut FoundText) {
        let common = &self.row.common;
        self.find_end(common.local, common.remote, found);
    }

    pub(super) fn find_remote(&self, found: &mut FoundText) {
        let common = &self.row.common;
        self.find_end(common.remote, common.local, found);
        if common.internal {
            found.add(LOCAL_TAG.trim_start());
        }
    }
}
