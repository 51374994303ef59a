//! Words of names and comments: CONTRIBUTING.md has the vocabulary.

use std::fs;
use std::path::{Path, PathBuf};

/// Shortest doc comment, in words: fewer repeat the name below them.
const MIN_DOC_WORDS: usize = 4;

#[test]
fn doc_comments_have_more_than_three_words() {
    let mut short = Vec::new();
    for file in rust_files(&["src", "tests", "benches", "fuzz/fuzz_targets"]) {
        let text = fs::read_to_string(&file).unwrap();
        let mut lines = text.lines().enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            let Some((marker, mut words)) = doc_words(line) else {
                continue;
            };
            while let Some((_, more)) = lines.next_if(|(_, line)| marks(line, marker)) {
                words += doc_words(more).map_or(0, |(_, words)| words);
            }
            // What describes an option is the text of its help.
            let is_help = lines.peek().is_some_and(|(_, line)| {
                let line = line.trim_start();
                line.starts_with("#[arg") || line.starts_with("#[command")
            });
            if words < MIN_DOC_WORDS && !is_help {
                short.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(
        short.is_empty(),
        "say a unit, a source, a bound or a reason, or leave the comment out:\n{}",
        short.join("\n")
    );
}

fn marks(line: &str, marker: &str) -> bool {
    doc_words(line).is_some_and(|(other, _)| other == marker)
}

/// The marker of a line of a doc comment, and the number of words after it.
fn doc_words(line: &str) -> Option<(&'static str, usize)> {
    let line = line.trim_start();
    let marker = ["///", "//!"]
        .into_iter()
        .find(|marker| line.starts_with(marker))?;
    let text = &line[marker.len()..];
    (!text.starts_with('/')).then(|| (marker, text.split_whitespace().count()))
}

fn rust_files(folders: &[&str]) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 100, "sources were not found");
    files
}

/// Words that say nothing of what they name: a position, span or location, what is expected, needed
/// or given, a report and a sender have words of their own.
const RIDDLES: [&str; 11] = [
    "anew", "asked", "lack", "look", "place", "places", "said", "tell", "told", "wanted", "wish",
];

#[test]
fn names_are_made_of_the_words_of_the_field() {
    let mut found = Vec::new();
    for file in rust_files(&["src"]) {
        let text = fs::read_to_string(&file).unwrap();
        let mut is_test = false;
        for (number, line) in code_of(&text).lines().enumerate() {
            // The name of a test is a sentence.
            if !(is_test && line.trim_start().starts_with("fn ")) {
                let riddles =
                    names(line).filter(|name| words(name).any(|it| RIDDLES.contains(&&*it)));
                let at = |name| format!("{}:{}: {name}", file.display(), number + 1);
                found.extend(riddles.map(at));
            }
            is_test = line.trim() == "#[test]";
        }
    }
    assert!(
        found.is_empty(),
        "name these by what they are:\n{}",
        found.join("\n")
    );
}

/// The names in a line of code.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

/// Source without the text of its comments and strings; lines stay where they are.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '"' => 1 + string_length(&rest[1..]),
            '\'' if rest.starts_with("'\"'") => 3,
            _ => {
                code.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        code.extend(rest[..length].chars().filter(|&c| c == '\n'));
        rest = &rest[length..];
    }
    code
}

/// Length of a string up to its closing quote, in bytes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The words of a name, in lower case: of `CgroupLocation` cgroup and location.
fn words(name: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    // To look something up is a term of the field.
    for c in name.replace("look_up", "lookup").chars() {
        let ends_word = c == '_'
            || (c.is_uppercase()
                && words
                    .last()
                    .is_some_and(|word| word.chars().any(char::is_lowercase)));
        if ends_word {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c != '_') {
            word.push(c);
        }
    }
    words.into_iter().map(|word| word.to_lowercase())
}
