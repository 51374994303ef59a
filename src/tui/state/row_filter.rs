//! The filter of the tables: an expression of the filter language that selects the flows with rows.

use std::cell::RefCell;

use crate::filter::{Expr, Matcher, NameTables, Subject, parse};
use crate::stats::history::{FlowStats, History};

/// The current filter of the tables.
#[derive(Debug)]
pub struct RowFilter {
    text: String,
    /// The expression and its matcher; `None` if all flows have rows.
    applied: Option<(Expr, RefCell<Matcher>)>,
    known: NameTables,
}

impl Default for RowFilter {
    fn default() -> Self {
        Self {
            text: String::new(),
            applied: None,
            known: NameTables::system(),
        }
    }
}

impl RowFilter {
    /// The text as it was typed. Not sanitized.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether all flows have rows.
    pub fn is_empty(&self) -> bool {
        self.applied.is_none()
    }

    /// Replaces the filter. An invalid text changes nothing.
    ///
    /// # Errors
    /// What is wrong with the text, and what to write instead.
    pub fn set(&mut self, text: &str) -> Result<(), String> {
        let text = text.trim();
        self.applied = match text {
            "" => None,
            text => {
                let expr = parse(text, &self.known).map_err(|error| match error.advice() {
                    Some(advice) => format!("{}: {advice}", error.message()),
                    None => error.message(),
                })?;
                if !expr.roots().is_empty() {
                    return Err("tree works on the command line only: flowtop follows new processes from its start"
                        .to_owned());
                }
                let matcher = RefCell::new(Matcher::new(&expr));
                Some((expr, matcher))
            }
        };
        text.clone_into(&mut self.text);
        Ok(())
    }

    /// Starts a new batch of flows.
    pub fn begin(&self) {
        if let Some((_, matcher)) = &self.applied {
            matcher.borrow_mut().begin();
        }
    }

    /// Whether a flow matches, by the latest interval.
    pub fn matches(&self, flow: &FlowStats, history: &History) -> bool {
        self.applied.as_ref().is_none_or(|(_, matcher)| {
            matcher.borrow_mut().matches(&Subject {
                key: &flow.key,
                owner: &flow.owner,
                counters: &flow.traffic.now,
                internal: flow.internal,
                class: flow.class,
                zone: flow.zone.as_deref(),
                dns_name: flow.dns_name.as_ref().map(|dns| &*dns.name),
                elapsed: history.clock().elapsed,
            })
        })
    }

    /// Returns the text of a filter that matches what this one does and has a further condition.
    pub fn narrowed(&self, term: &str) -> String {
        match &self.applied {
            None => term.to_owned(),
            Some((Expr::Any(_), _)) => format!("({}) and {term}", self.text),
            Some(_) => format!("{} and {term}", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_text_says_what_to_write_and_changes_nothing() {
        let mut filter = RowFilter::default();
        filter.set(" port 443 ").unwrap();
        assert_eq!(filter.text(), "port 443");
        for (text, advice) in [
            ("port 44x", "\"44x\" is not a port or service"),
            ("sport 22", "write local port"),
            ("source host 10.0.0.1", "write src"),
            ("-i eth0", "command line"),
            ("--port", "command line"),
            ("(tcp", "\"(\" is not closed: add \")\""),
        ] {
            let error = filter.set(text).unwrap_err();
            assert!(error.contains(advice), "{text}: {error}");
            assert_eq!(filter.text(), "port 443");
        }
        filter.set("src host 10.0.0.1").unwrap();
        filter.set("").unwrap();
        assert!(filter.is_empty());
    }

    #[test]
    fn a_further_condition_holds_for_all_that_matched() {
        let mut filter = RowFilter::default();
        assert_eq!(filter.narrowed("pid 7"), "pid 7");
        for (text, expected) in [
            ("tcp", "tcp and not pid 7"),
            ("tcp or udp", "(tcp or udp) and not pid 7"),
            (
                "tcp and port (80 or 443)",
                "tcp and port (80 or 443) and not pid 7",
            ),
            ("not (tcp or udp)", "not (tcp or udp) and not pid 7"),
        ] {
            filter.set(text).unwrap();
            let narrowed = filter.narrowed("not pid 7");
            assert_eq!(narrowed, expected);
            filter.set(&narrowed).unwrap();
        }
    }
}
