//! The text typed after `/`: its editing, its meaning (a filter expression, or words to find) and its prompt.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use crate::filter::{Matcher, NameTables, Subject, looks_like_filter, parse};
use crate::resolve::owners::Process;
use crate::stats::history::{FlowStats, History};
use crate::text::units;
use crate::tui::action::Edit;
use crate::tui::draw::footer::key_hint;
use crate::tui::draw::line::put;
use crate::tui::draw::theme::Theme;

/// What a text means. A text that can be read as a filter is one; any other is words to find. A lone
/// address is words as well: typing 10.0.0.12 passes 10.0.0.1.
#[derive(Debug)]
pub struct SearchQuery {
    text: String,
    kind: QueryKind,
    known: NameTables,
}

#[derive(Debug)]
enum QueryKind {
    All,
    Filter(RefCell<Matcher>),
    /// In small letters; with what is wrong if it was meant as a filter.
    Words(Vec<String>, Option<String>),
}

impl Default for SearchQuery {
    fn default() -> Self {
        Self {
            text: String::new(),
            kind: QueryKind::All,
            known: NameTables::system(),
        }
    }
}

impl SearchQuery {
    /// Parses a text if it changed, and starts a new batch of flows.
    pub fn follow(&mut self, text: &str) {
        if let QueryKind::Filter(matcher) = &mut self.kind {
            matcher.get_mut().begin();
        }
        if self.text == text {
            return;
        }
        text.clone_into(&mut self.text);
        let words = || text.split_whitespace().map(str::to_lowercase).collect();
        self.kind = match parse(text, &self.known) {
            _ if text.trim().is_empty() => QueryKind::All,
            Ok(expr) if text.trim().parse::<IpAddr>().is_err() => {
                QueryKind::Filter(RefCell::new(Matcher::new(&expr)))
            }
            Err(error) if looks_like_filter(text) => {
                QueryKind::Words(words(), Some(error.message()))
            }
            Ok(_) | Err(_) => QueryKind::Words(words(), None),
        };
    }

    /// Returns how the text is read: as a filter, or as words to find.
    pub fn hint(&self) -> String {
        match &self.kind {
            QueryKind::All => String::new(),
            QueryKind::Filter(_) => "a filter".to_owned(),
            QueryKind::Words(_, None) => "words to find".to_owned(),
            QueryKind::Words(_, Some(wrong)) => format!("words to find; no filter: {wrong}"),
        }
    }

    /// Whether a flow is meant: by the filter, which looks at the latest interval; or because every
    /// word is in its protocol, addresses, ports, process id, process name, user or container,
    /// capitals or not. `process` is asked for only then.
    pub fn matches<P: AsRef<Process>>(
        &self,
        flow: &FlowStats,
        elapsed: Duration,
        process: impl FnOnce() -> Option<P>,
    ) -> bool {
        match &self.kind {
            QueryKind::All => true,
            QueryKind::Filter(matcher) => matcher.borrow_mut().matches(&Subject {
                key: &flow.key,
                owner: &flow.owner,
                counters: &flow.traffic.now,
                elapsed,
            }),
            QueryKind::Words(words, _) => {
                let all = described(flow, process().as_ref().map(AsRef::as_ref));
                words.iter().all(|word| all.contains(word))
            }
        }
    }
}

/// Returns the lower-case text that words are searched in.
fn described(flow: &FlowStats, process: Option<&Process>) -> String {
    let key = &flow.key;
    let mut all = String::with_capacity(160);
    // Writing to a string cannot fail.
    let _ = write!(
        all,
        "{} {} {} {} {}",
        key.protocol,
        key.local,
        key.remote,
        key.tgid,
        flow.owner.comm.to_string_lossy()
    );
    if let Some(process) = process {
        for known in [&process.user, &process.place_name].into_iter().flatten() {
            all.push(' ');
            all.push_str(known);
        }
    }
    all.to_lowercase()
}

/// The filter of the tables: its text, what that means, and how it is typed.
#[derive(Debug, Default)]
pub struct Search {
    text: String,
    query: SearchQuery,
    /// What the text was before it was typed.
    before: String,
}

impl Search {
    /// The text. Not sanitized.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether all flows are shown.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub fn clear(&mut self) {
        self.text.clear();
    }

    /// Keeps the text, to restore it if typing is cancelled.
    pub fn begin(&mut self) {
        self.before.clone_from(&self.text);
    }

    /// Edits the text; returns whether typing continues.
    pub fn edit(&mut self, edit: Edit) -> bool {
        match edit {
            Edit::Insert(c) => self.text.push(c),
            Edit::Delete => drop(self.text.pop()),
            Edit::DeleteWord => {
                let space = self.text.trim_end().rfind(' ');
                self.text.truncate(space.map_or(0, |space| space + 1));
            }
            Edit::Clear => self.text.clear(),
            Edit::Accept => return false,
            Edit::Cancel => {
                self.text.clone_from(&self.before);
                return false;
            }
        }
        true
    }

    /// Adds text that was pasted: white space of any kind is one blank, and control characters are left
    /// out.
    pub fn paste(&mut self, text: &str) {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.text.extend(words.chars().filter(|c| !c.is_control()));
    }

    /// Parses the text if it changed, and starts a new batch of flows.
    pub fn follow(&mut self) {
        self.query.follow(&self.text);
    }

    /// Whether a flow is meant; `process` is asked for only where words are to be found.
    pub fn matches<P: AsRef<Process>>(
        &self,
        flow: &FlowStats,
        history: &History,
        process: impl FnOnce() -> Option<P>,
    ) -> bool {
        self.is_empty() || self.query.matches(flow, history.clock().elapsed, process)
    }

    /// Draws the prompt: the text, how it is read, and the keys that end it.
    pub fn draw(&self, at: Rect, theme: &Theme, buf: &mut Buffer) {
        let mut x = put(buf, at, 1, "/", theme.bold());
        x = put(buf, at, x, &units::sanitize(&self.text), theme.bold());
        let cursor = Style::new().add_modifier(Modifier::REVERSED);
        x = put(buf, at, x, " ", cursor) + 2;
        let hint = self.query.hint();
        if !hint.is_empty() {
            x = put(buf, at, x, &hint, theme.dim()) + 2;
        }
        for (key, what) in [
            (theme.glyphs.enter, "apply"),
            ("Esc", "cancel"),
            ("^U", "clear"),
        ] {
            x = key_hint(buf, at, x, key, what, theme);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_filter_where_it_can_be_one() {
        let hint = |text: &str| {
            let mut query = SearchQuery::default();
            query.follow(text);
            query.hint()
        };
        assert_eq!(hint(" "), "");
        for text in [
            "tcp",
            "port 443 and not comm ssh",
            "10.0.0.0/8",
            "10.0.0.1 or ::1",
        ] {
            assert_eq!(hint(text), "a filter", "{text}");
        }
        for text in ["ssh", "10.0.0.1", "443", "nginx 443", "::1"] {
            assert_eq!(hint(text), "words to find", "{text}");
        }
        assert_eq!(
            hint("port 44x"),
            "words to find; no filter: \"44x\" is not a port or service"
        );
    }
}
