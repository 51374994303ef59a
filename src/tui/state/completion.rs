//! Candidates for the word before the cursor of a prompt: words of the filter language, and values
//! that flows have.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::prompt::PromptKind;
use super::shared::SharedState;
use crate::filter::{Pattern, WORDS};
use crate::model::flow::Endpoint;
use crate::stats::history::FlowStats;
use crate::stats::ranking::{ProcessLookup as _, ProcessRef};

/// Maximum number of candidates offered.
const MAX_CANDIDATES: usize = 200;
/// Words that select an end of a flow for the next word.
const SIDES: [&str; 4] = ["local", "remote", "src", "dst"];
/// Words that can follow one of [`SIDES`].
const WORDS_AFTER_SIDE: [&str; 4] = ["host", "net", "port", "portrange"];

/// The candidates for a word, and the one that is in the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Byte at which the word begins.
    pub start: usize,
    pub candidates: Vec<String>,
    /// Index of the candidate that is in the line.
    pub chosen: Option<usize>,
}

impl Completion {
    /// Keeps the candidates in the order of the alphabet.
    pub fn new(start: usize, mut candidates: Vec<String>) -> Self {
        candidates.sort();
        candidates.truncate(MAX_CANDIDATES);
        Self {
            start,
            candidates,
            chosen: None,
        }
    }

    /// Returns the replacement of the word: first the common prefix of all candidates, then one
    /// candidate after the other.
    pub fn next(&mut self, is_first: bool, is_back: bool) -> Option<String> {
        let count = self.candidates.len();
        if is_first && count != 1 {
            return self.common();
        }
        let next = match (self.chosen, is_back) {
            (None, false) => 0,
            (None, true) => count.checked_sub(1)?,
            (Some(now), false) => (now + 1) % count,
            (Some(now), true) => (now + count - 1) % count,
        };
        let word = self.candidates.get(next)?.clone();
        self.chosen = Some(next);
        Some(if count == 1 { format!("{word} ") } else { word })
    }

    /// Returns the part that all candidates begin with; `None` without one.
    fn common(&self) -> Option<String> {
        let (first, others) = self.candidates.split_first()?;
        let mut common = first.as_str();
        for other in others {
            let same = common.char_indices().zip(other.chars());
            let end = same
                .take_while(|((_, a), b)| a == b)
                .last()
                .map_or(0, |((at, c), _)| at + c.len_utf8());
            common = &common[..end];
        }
        (!common.is_empty()).then(|| common.to_owned())
    }
}

/// Returns the candidates for the word that `before`, the text before the cursor, ends with.
pub fn complete(kind: PromptKind, before: &str, shared: &SharedState) -> Completion {
    let start = word_start(before);
    let word = before[start..]
        .trim_start_matches(['"', '\''])
        .to_lowercase();
    let all = match kind {
        PromptKind::Find => seen(
            shared,
            &["process", "user", "container", "unit", "host", "port"],
        )
        .into_iter()
        .chain(host_names(shared))
        .collect(),
        PromptKind::Filter => of_filter(&before[..start], shared),
    };
    let begins = |candidate: &String| {
        let bare = candidate.trim_start_matches('"').to_lowercase();
        bare.starts_with(&word)
    };
    Completion::new(start, all.into_iter().filter(begins).collect())
}

/// Returns the byte at which the last word of a text begins: behind a blank or a parenthesis, or at
/// an open quote.
fn word_start(text: &str) -> usize {
    let (mut start, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) => {
                quote = Some(c);
                start = at;
            }
            (' ' | '(' | '!', None) => start = at + c.len_utf8(),
            _ => {}
        }
    }
    start
}

/// Returns the words that can follow the beginning of a filter.
fn of_filter(before: &str, shared: &SharedState) -> BTreeSet<String> {
    let spaced = before.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let of = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    // After `or` a value of the kind before may follow, as in port 80 or 443.
    let last_kind = words.iter().rev().find(|word| has_values(word));
    match words.last().copied() {
        None | Some("and" | "not" | "!" | "&&") => of(&WORDS),
        Some(side) if SIDES.contains(&side) => of(&WORDS_AFTER_SIDE),
        Some(kind) if has_values(kind) => seen(shared, &[kind]),
        Some("or" | "||" | "(") => {
            let mut all: BTreeSet<String> = of(&WORDS);
            all.extend(last_kind.map_or_else(BTreeSet::new, |kind| seen(shared, &[kind])));
            all
        }
        Some(_) => of(&["and", "or"]),
    }
}

fn has_values(word: &str) -> bool {
    let kinds = [
        "process",
        "comm",
        "pid",
        "tid",
        "user",
        "container",
        "unit",
        "host",
        "net",
        "port",
        "interface",
        "netns",
        "class",
        "zone",
        "pod",
        "namespace",
        "compose",
        "job",
    ];
    kinds.contains(&word)
}

/// Returns the values of some kinds that the flows have, in filter syntax.
fn seen(shared: &SharedState, kinds: &[&str]) -> BTreeSet<String> {
    let flows = shared.history.flows();
    let of_flow = |flow| {
        kinds
            .iter()
            .flat_map(move |kind| values(kind, flow, shared))
    };
    flows.flat_map(of_flow).collect()
}

/// Returns the values of one kind that a flow has, in filter syntax.
fn values(kind: &str, flow: &FlowStats, shared: &SharedState) -> Vec<String> {
    let (key, owners) = (&flow.key, &shared.owners);
    let process_ref = ProcessRef::of(flow);
    let exact = |name: &str| vec![Pattern::exact(name).to_string()];
    let known = |name: Option<&str>| name.map_or_else(Vec::new, exact);
    let ends = [(key.local, key.remote), (key.remote, key.local)];
    match kind {
        "process" | "comm" => exact(&flow.owner.comm.to_string_lossy()),
        "user" => known(owners.user(&process_ref).as_deref()),
        "container" => {
            let location = owners.location(&process_ref);
            let container = location.and_then(|location| location.container.clone());
            known(container.map(|it| it.to_string()).as_deref())
        }
        "unit" => {
            let location = owners.location(&process_ref);
            known(
                location
                    .and_then(|location| location.unit.clone())
                    .as_deref(),
            )
        }
        "pod" => {
            let pod = owners.location(&process_ref).and_then(|it| it.pod.clone());
            known(
                pod.and_then(|it| it.label_name().or_else(|| it.pod.clone()))
                    .as_deref(),
            )
        }
        "namespace" | "compose" | "job" => {
            let location = owners.location(&process_ref);
            let membership = location.as_deref().map(|location| match kind {
                "namespace" => &location.namespace,
                "compose" => &location.compose,
                _ => &location.job,
            });
            known(membership.and_then(|it| it.name()).map(|name| &**name))
        }
        "class" => known(flow.class.map(|class| class.as_str())),
        "zone" => known(flow.zone.as_ref().map(|zone| &*zone.name)),
        "pid" => vec![key.tgid.to_string()],
        "tid" if key.tid > 0 => vec![key.tid.to_string()],
        "netns" if key.netns > 0 => vec![key.netns.to_string()],
        "host" | "net" => {
            let known = ends.iter().filter(|(end, _)| !end.addr.is_unspecified());
            known.map(|(end, _)| end.addr.to_string()).collect()
        }
        "port" => {
            let known = ends.iter().filter(|(end, _)| end.port > 0);
            let name = |(end, other): &(Endpoint, Endpoint)| {
                let service = shared.names.service(key.protocol, end, Some(other));
                service.map_or_else(|| end.port.to_string(), str::to_owned)
            };
            known.map(name).collect()
        }
        "interface" => known(shared.names.interface(key.local.zone).as_deref()),
        _ => Vec::new(),
    }
}

/// Returns the host names that are known of the flows.
fn host_names(shared: &SharedState) -> BTreeSet<String> {
    let ends = |flow: &FlowStats| [flow.key.local, flow.key.remote];
    let known = |end: Endpoint| shared.names.known(end.addr);
    let names = shared.history.flows().flat_map(ends).filter_map(known);
    let resolved = shared
        .history
        .flows()
        .filter_map(|flow| Some(Arc::clone(&flow.dns_name.as_ref()?.name)));
    names.chain(resolved).map(|name| name.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_begins_behind_a_blank_a_parenthesis_or_at_a_quote() {
        for (text, word) in [
            ("po", "po"),
            ("port ht", "ht"),
            ("process (ng", "ng"),
            ("process \"Web C", "\"Web C"),
            ("process \"Web C\" a", "a"),
            ("tcp ", ""),
        ] {
            assert_eq!(&text[word_start(text)..], word, "{text}");
        }
    }

    #[test]
    fn a_single_candidate_stands_with_a_blank_behind_it() {
        let mut one = Completion::new(0, vec!["port".to_owned()]);
        assert_eq!(one.next(true, false).as_deref(), Some("port "));
        let mut none = Completion::new(0, Vec::new());
        assert_eq!(none.next(true, false), None);
        assert_eq!(none.next(false, false), None);
        assert_eq!(none.next(false, true), None);
    }
}
