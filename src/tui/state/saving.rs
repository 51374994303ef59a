//! Saves settings, snapshots and recordings and copies texts, with a sentence in the footer about
//! each outcome.

use std::time::Duration;

use super::shared::SharedState;
use crate::options::SavedSettings;
use crate::stats::history::History;
use crate::stats::ranking::{ProcessLookup as _, Row, RowId};
use crate::text::sanitize::sanitize;
use crate::text::units;
use crate::tui::action::{Command, Effect};
use crate::tui::app::{App, Mode};
use crate::tui::draw::columns::DEFAULT;
use crate::view::{Group, Preset, SortKey};

/// Time that a message stays in the footer, unless a key is pressed.
const MESSAGE_STAYS: Duration = Duration::from_secs(6);
/// Time that the greeting stays, unless a key is pressed.
const GREETING_STAYS: Duration = Duration::from_secs(10);
/// Maximum length of a copied text in bytes, below the limits of all terminals.
const MAX_COPIED: usize = 4096;

/// A sentence in the footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Text that is sanitized already.
    pub text: String,
    /// Whether something could not be done.
    pub is_trouble: bool,
    /// Time at which it disappears, by [`SharedState::clock`].
    pub until: Duration,
}

impl SharedState {
    /// Returns the sentence in the footer now.
    pub fn message(&self) -> Option<&Message> {
        self.message
            .as_ref()
            .filter(|message| self.clock < message.until)
    }

    /// Shows a sentence in the footer.
    pub fn report(&mut self, outcome: Result<String, String>) {
        let (text, is_trouble) = match outcome {
            Ok(text) => (text, false),
            Err(text) => (text, true),
        };
        self.message = Some(Message {
            text: sanitize(&text).into_owned(),
            is_trouble,
            until: self.clock + MESSAGE_STAYS,
        });
    }
}

impl App {
    /// Names the keys worth knowing, at a user's first start.
    pub fn greet(&mut self) {
        let ascii = self.shared.display.theme.glyphs.ascii;
        let keys = [
            (Command::Enter, "opens a row"),
            (Command::Find, "finds words"),
            (Command::Help, "shows all keys"),
        ];
        let keys = keys.map(|(command, does)| {
            let key = self.shared.keys.label(command, 1, ascii);
            (!key.is_empty()).then(|| format!("{key} {does}"))
        });
        let keys: Vec<String> = keys.into_iter().flatten().collect();
        self.shared
            .report(Ok(format!("First start: {}", keys.join(", "))));
        if let Some(message) = &mut self.shared.message {
            message.until = self.shared.clock + GREETING_STAYS;
        }
    }

    /// Handles the commands of saving; `false` for any other.
    pub(in crate::tui) fn save(&mut self, command: Command) -> bool {
        match command {
            Command::Snapshot => self.request = Some(Effect::Snapshot),
            Command::Save => self.request = Some(Effect::Save(self.settings())),
            Command::Record => self.request = Some(Effect::Record),
            Command::Copy => self.copy(),
            Command::ResetTotals => self.reset_totals(),
            _ => return false,
        }
        true
    }

    /// Returns the current settings, without those of opened groups.
    fn settings(&self) -> SavedSettings {
        let display = &self.shared.display;
        let panes = &self.panes;
        let (group, sort) = match panes.path.first() {
            Some(outermost) => (outermost.group, outermost.sort),
            None => (panes.group, panes.sort),
        };
        let view = view_of(group, display.combined, sort);
        let spec = view.spec();
        let is_default = match spec.columns {
            Some(own) => own == &display.columns[..],
            None => display.columns == *DEFAULT,
        };
        SavedSettings {
            view,
            columns: (!is_default).then(|| display.columns.clone()),
            units: display.units,
            sort: if sort == spec.sort {
                SortKey::default()
            } else {
                sort
            },
            group: if group == spec.group {
                Group::Flow
            } else {
                group
            },
        }
    }

    fn copy(&mut self) {
        let Some(row) = self.row_to_copy() else {
            self.shared
                .report(Err("select a row, then copy".to_owned()));
            return;
        };
        let texts = texts(&self.shared, &row);
        let again = self.shared.copied.take();
        let n = match again {
            Some((id, n)) if id == row.id => (n + 1) % texts.len(),
            _ => 0,
        };
        let (what, text) = &texts[n];
        let text = shortened(text);
        let next = &texts[(n + 1) % texts.len()].0;
        let again = match texts.len() {
            1 => String::new(),
            _ => {
                let ascii = self.shared.display.theme.glyphs.ascii;
                let key = self.shared.keys.label(Command::Copy, 1, ascii);
                format!("; {key} again: {next}")
            }
        };
        let outcome = format!("{what} sent to the terminal's clipboard: {text}{again}");
        self.shared.report(Ok(outcome));
        self.request = Some(Effect::Copy(text));
        self.shared.copied = Some((row.id, n));
    }

    /// Returns the row that is selected, or whose page is open.
    fn row_to_copy(&self) -> Option<Row> {
        if let Mode::Detail(detail) = &self.mode
            && let Some(flow) = detail.row(&self.shared)
        {
            return Some(flow);
        }
        let table = self.panes.tables.get(self.panes.focus)?;
        table.row(&self.shared.history, table.selected()?)
    }

    /// Resets all totals at the end of the interval under way, except the chart.
    fn reset_totals(&mut self) {
        if self.player.is_shown() {
            let text = "totals of a recording are those of its intervals: they cannot be reset";
            self.shared.report(Err(text.to_owned()));
            return;
        }
        if self.shared.return_to_now() {
            self.show_moment();
        }
        self.shared.reset_pending = true;
        let text = "totals, averages and peaks restart with this interval";
        self.shared.report(Ok(text.to_owned()));
    }

    /// Resets the totals, if that is pending, before the next interval is added.
    pub(in crate::tui) fn restart_totals(&mut self) {
        let shared = &mut self.shared;
        if std::mem::take(&mut shared.reset_pending) {
            shared.return_to_now();
            shared.history = History::restarted(&shared.history);
            shared.moments.clear();
        }
    }
}

/// Returns the view closest to a table. A joined table of flows has no view, except when sorted
/// like connections.
fn view_of(group: Group, is_joined: bool, sort: SortKey) -> Preset {
    let is_it = |view: &Preset| {
        let spec = view.spec();
        spec.is_joined == is_joined
            && spec.group == group
            && (spec.columns.is_none() || spec.sort == sort)
    };
    match Preset::ALL.into_iter().find(is_it) {
        Some(view) => view,
        None if is_joined && group != Group::Flow => Preset::Programs,
        None => Preset::Overview,
    }
}

/// Returns the texts of a row that can be copied, each with its name.
fn texts(shared: &SharedState, row: &Row) -> Vec<(&'static str, String)> {
    let mut texts = Vec::new();
    match (&row.id, &row.common.remote) {
        (RowId::Remote(addr), _) => texts.push(("peer", addr.to_string())),
        (_, Some(remote)) if !remote.is_unknown() => texts.push(("peer", remote.to_string())),
        _ => {}
    }
    let process = row.process_ref().map(|process_ref| {
        let process = shared.owners.process(&process_ref);
        match process.filter(|process| !process.cmdline.is_empty()) {
            Some(process) => ("command", process.cmdline.join(" ")),
            None => (
                "process",
                units::process_name(&process_ref.owner.name(), false),
            ),
        }
    });
    texts.extend(process);
    if texts.is_empty() {
        texts.push(("row", shared.title_of(row)));
    }
    // Pasted into a shell, a line break would run the text before it.
    for (_, text) in &mut texts {
        *text = sanitize(text).into_owned();
    }
    texts
}

fn shortened(text: &str) -> String {
    let mut end = text.len().min(MAX_COPIED);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_is_saved_as_itself() {
        for view in Preset::ALL {
            let spec = view.spec();
            assert_eq!(view_of(spec.group, spec.is_joined, spec.sort), view);
        }
        let rate = SortKey::default();
        assert_eq!(view_of(Group::User, true, rate), Preset::Programs);
        assert_eq!(view_of(Group::User, false, rate), Preset::Overview);
        assert_eq!(view_of(Group::Flow, true, rate), Preset::Overview);
    }

    #[test]
    fn a_copied_text_is_bounded_and_ends_with_a_whole_character() {
        assert_eq!(shortened("10.0.0.5:443"), "10.0.0.5:443");
        let long = format!("x{}", "é".repeat(MAX_COPIED));
        let short = shortened(&long);
        assert_eq!(short.len(), MAX_COPIED - 1);
        assert!(long.starts_with(&short));
    }
}
