//! Suggests a known word in place of an unknown one.

use std::fmt;

/// The error for a word that is not in a closed list: names the list, or the word that was probably
/// meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownWord(pub(crate) String);

/// Words of other tools: the kind of word, the other tools' words, and flowtop's word.
const ELSEWHERE: [(&str, &[&str], &str); 10] = [
    (
        "unit",
        &["bit", "kbit", "mbit", "gbit", "kbps", "mbps", "gbps"],
        "bits",
    ),
    ("unit", &["b", "kb", "mb", "gb"], "bytes"),
    ("unit", &["kib", "mib", "gib", "iec"], "bytes-iec"),
    ("column", &["bytes", "volume", "sum"], "total"),
    ("column", &["bandwidth", "speed", "throughput"], "rate"),
    ("column", &["name", "comm", "command", "program"], "process"),
    ("column", &["rtt", "latency"], "srtt"),
    ("group", &["pid"], "process"),
    ("group", &["comm", "name", "command"], "program"),
    ("group", &["ip", "host", "peer", "address"], "remote"),
];

impl UnknownWord {
    /// Returns the error for `word` where one of `known` is expected; `what` names the kind of
    /// word.
    pub fn new(what: &str, word: &str, known: &[&str]) -> Self {
        let near = nearest(word, known)
            .or_else(|| elsewhere(what, word).filter(|meant| known.contains(meant)))
            .or_else(|| by_beginning(word, known));
        Self(match near {
            Some(near) => format!("unknown {what} {word:?}: did you mean {near:?}?"),
            None => format!("unknown {what} {word:?}: use {}", list(known)),
        })
    }
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnknownWord {}

fn list(words: &[&str]) -> String {
    match words {
        [] => "none".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn elsewhere(what: &str, word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    let found = ELSEWHERE
        .iter()
        .find(|(of, words, _)| *of == what && words.contains(&word.as_str()));
    found.map(|(.., meant)| *meant)
}

/// Returns the first known word that begins as `word` does, or that `word` begins with, as in
/// `proc` or `container_name`.
fn by_beginning<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let begins = |known: &&&str| {
        word.len() >= 3 && known.starts_with(word) || known.len() >= 4 && word.starts_with(**known)
    };
    known.iter().find(begins).copied()
}

/// Returns the known word that is closest to `word`, if one is close: at most a third of its
/// letters differ, and two neighbours that changed places are one difference. Of equals it prefers
/// the one with the same first letter.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let most = (word.chars().count() / 3).max(1);
    known
        .iter()
        .map(|&near| {
            let other_start = near.chars().next() != word.chars().next();
            (strsim::osa_distance(&word, near), other_start, near)
        })
        .filter(|(distance, ..)| *distance <= most)
        .min()
        .map(|(.., near)| near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_neighbours_are_one_difference() {
        assert_eq!(nearest("prot", &["port"]), Some("port"));
        assert_eq!(nearest("porrtt", &["port"]), Some("port"));
        assert_eq!(nearest("pxyt", &["port"]), None);
        assert_eq!(nearest("Rate", &["rtt", "rate"]), Some("rate"));
    }

    #[test]
    fn words_of_other_tools_and_beginnings_are_recognised() {
        let groups = ["flow", "program", "process", "container"];
        for (what, word, known, meant) in [
            ("group", "proc", &groups[..], "process"),
            ("group", "container_name", &groups[..], "container"),
            ("group", "comm", &groups[..], "program"),
            ("unit", "Mbit", &["bytes", "bits"][..], "bits"),
            ("column", "bytes", &["rate", "total"][..], "total"),
        ] {
            let error = UnknownWord::new(what, word, known).to_string();
            assert_eq!(
                error,
                format!("unknown {what} {word:?}: did you mean {meant:?}?")
            );
        }
        let error = UnknownWord::new("unit", "x", &["bytes", "bits"]).to_string();
        assert_eq!(error, "unknown unit \"x\": use bytes or bits");
    }
}
