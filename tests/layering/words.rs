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
