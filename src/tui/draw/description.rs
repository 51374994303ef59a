//! Describes the selected row of a joined table in one line: the process with its command, user,
//! unit and age, or the sizes of a sum.

use std::time::{Duration, SystemTime};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::line::{put_untrusted, within};
use crate::stats::ranking::{ProcessLookup as _, Row, RowId, RowParties};
use crate::text::units;
use crate::tui::state::panes::Panes;
use crate::tui::state::shared::SharedState;

impl Panes {
    /// Draws the line about the selected row, or about the first.
    pub(super) fn describe(&self, shared: &SharedState, area: Rect, buf: &mut Buffer) {
        let Some(table) = self.tables.first().filter(|_| area.height > 0) else {
            return;
        };
        let index = table.selected().unwrap_or(0);
        let lines = table.lines(&shared.history, index, 1);
        let Some(line) = lines.first() else {
            return;
        };
        let row = &line.row;
        let between = if shared.display.theme.glyphs.ascii {
            " - "
        } else {
            " · "
        };
        let mut parts = vec![match line.rest {
            Some(rest) => format!("{rest} other {}", line.group.rows(rest)),
            None => what(shared, row),
        }];
        let is_of_one = row.common.tgid.is_some();
        if is_of_one {
            parts.extend(owner(shared, row));
        }
        parts.extend(amounts(row, line.parties.as_ref()));
        let text = parts.join(between);
        let theme = &shared.display.theme;
        let at = within(area, 1, area.width.saturating_sub(2));
        put_untrusted(buf, at, &text, theme.glyphs.ellipsis, theme.dim());
    }
}

/// Returns the name of the row. Sanitized.
fn what(shared: &SharedState, row: &Row) -> String {
    match (&row.id, row.common.tgid) {
        (RowId::Flow(key), _) => {
            let protocol = Some(key.protocol);
            let local = shared.label(&key.local, Some(&key.remote), protocol);
            let dns_name = row.common.dns_name.as_deref();
            let remote = shared.peer_label(&key.remote, Some(&key.local), protocol, dns_name);
            let arrow = shared.display.theme.glyphs.arrows.0;
            let end = |label: &crate::resolve::names::Label| {
                units::visible(&label.host).into_owned() + &label.port
            };
            let (local, remote) = (end(&local), end(&remote));
            format!("{} {local} {arrow} {remote}", key.protocol)
        }
        (RowId::Program(..), Some(tgid)) => format!("{} {tgid}", shared.title_of(row)),
        _ => shared.title_of(row),
    }
}

/// Returns the numbers of flows, processes and peers of a row.
fn amounts(row: &Row, parties: Option<&RowParties>) -> Vec<String> {
    let Some(parties) = parties else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    if parties.processes > 1 {
        parts.push(format!("{} processes", parties.processes));
    }
    if row.flows > 1 {
        parts.push(units::count(row.flows as u64, "flow"));
    }
    if parties.peers > 1 {
        parts.push(units::count(parties.peers as u64, "peer"));
    }
    parts
}

/// Returns facts about the process of a row, if it is a single process.
fn owner(shared: &SharedState, row: &Row) -> Vec<String> {
    let Some(process_ref) = row.process_ref() else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    let owners = &shared.owners;
    let process = owners.process(&process_ref);
    let is_named = matches!(
        row.id,
        RowId::Program(..) | RowId::Process(_) | RowId::Thread(..)
    );
    if !is_named {
        let name = shared.process_name(&row.common);
        parts.push(format!("{name} {}", process_ref.tgid));
    }
    if let Some(process) = process.as_ref().filter(|it| !it.cmdline.is_empty()) {
        parts.push(units::visible(&process.cmdline.join(" ")).into_owned());
    }
    if let Some(uid) = owners.uid(&process_ref) {
        let user = owners.user(&process_ref);
        parts.push(format!("user {}", units::user_name(user.as_deref(), uid)));
    }
    if let Some(location) = owners.short_location(&process_ref) {
        parts.push(units::name(&location).into_owned());
    }
    if let Some(process) = process {
        match process.exited {
            true => parts.push("ended".to_owned()),
            false => parts.extend(age(process.started, process_ref.when)),
        }
    }
    parts
}

/// Returns how long a process has run, in its largest unit.
fn age(started: SystemTime, now: SystemTime) -> Option<String> {
    let age = now.duration_since(started).ok()?;
    Some(format!("up {}", largest_unit(age)))
}

fn largest_unit(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => units::count(seconds / 86_400, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_process_has_its_largest_unit() {
        let text = |seconds| largest_unit(Duration::from_secs(seconds));
        assert_eq!(text(59), "59 s");
        assert_eq!(text(3599), "59 min");
        assert_eq!(text(86_399), "23 h");
        assert_eq!(text(3 * 86_400 + 9), "3 days");
    }
}
