//! Reads the sources and fails when a layer knows what it must not know: data goes one way, from
//! the kernel to the presentation.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

#[path = "layering/words.rs"]
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of this crate that each folder, or a module of it, may name besides its own folder. An
/// entry names only entries above it. Presentation is in the list of nothing above it, and `kernel`
/// only in those of the source that reads it and of the doctor.
const ALLOWED: &[(&str, &[&str])] = &[
    ("sync", &[]),
    ("system", &[]),
    ("model", &[]),
    ("testing", &["model"]),
    ("text", &["model"]),
    ("view", &["model", "text"]),
    ("resolve/owners", &["model", "sync", "system"]),
    ("resolve/containers", &["model", "system"]),
    ("resolve/dns_names", &["model"]),
    ("resolve/namespace", &[]),
    ("resolve/interfaces", &["model", "sync"]),
    ("resolve/services", &["model"]),
    ("resolve/names", &["model", "sync"]),
    ("resolve", &["model", "sync", "system"]),
    (
        "filter",
        &[
            "model",
            "resolve/interfaces",
            "resolve/services",
            "resolve/owners",
            "text",
            "view",
        ],
    ),
    ("options", &["filter", "model", "text", "view"]),
    ("sandbox/capabilities", &[]),
    ("sandbox/privilege", &["system"]),
    ("sandbox", &["system"]),
    (
        "kernel",
        &[
            "filter",
            "model",
            "options",
            "resolve/namespace",
            "sandbox/capabilities",
            "system",
        ],
    ),
    ("source/signals", &[]),
    ("source", &["model", "sync"]),
    ("source/collector", &["model", "sync"]),
    ("source/tee", &["model"]),
    ("source/filtered", &["filter", "model"]),
    ("source/exit_when", &["filter", "model"]),
    ("source/own_addresses", &["model", "resolve/namespace"]),
    (
        "source/live",
        &[
            "filter",
            "kernel",
            "model",
            "options",
            "resolve/containers",
            "resolve/dns_names",
            "resolve/interfaces",
            "sandbox",
        ],
    ),
    ("stats", &["model", "resolve/owners", "view"]),
    (
        "jsonl",
        &[
            "model",
            "resolve/names",
            "resolve/owners",
            "stats",
            "text",
            "view",
        ],
    ),
    (
        "recording/replay",
        &["filter", "jsonl", "model", "source/filtered", "text"],
    ),
    (
        "recording/player",
        &["filter", "jsonl", "model", "options", "stats", "sync"],
    ),
    (
        "recording/recorder",
        &[
            "jsonl",
            "model",
            "options",
            "resolve/names",
            "stats",
            "sync",
            "text",
            "view",
        ],
    ),
    (
        "recording",
        &[
            "filter",
            "jsonl",
            "model",
            "options",
            "resolve/names",
            "source/filtered",
            "stats",
            "sync",
            "text",
            "view",
        ],
    ),
    (
        "output/metrics",
        &[
            "model",
            "options",
            "resolve/owners",
            "source",
            "stats",
            "sync",
            "text",
            "view",
        ],
    ),
    (
        "output",
        &[
            "jsonl",
            "model",
            "options",
            "recording/replay",
            "resolve",
            "source",
            "stats",
            "text",
            "view",
        ],
    ),
    (
        "tui",
        &[
            "filter",
            "jsonl",
            "model",
            "options",
            "recording",
            "resolve",
            "sandbox",
            "source",
            "stats",
            "text",
            "view",
        ],
    ),
    // It looks at what runs are made of, and nothing names it.
    (
        "doctor",
        &[
            "kernel", "model", "options", "sandbox", "source", "system", "text",
        ],
    ),
    ("run/notes", &["filter", "options", "resolve/namespace"]),
    (
        "cli",
        &[
            "filter",
            "model",
            "options",
            "resolve/namespace",
            "sandbox/privilege",
            "source",
            "text",
            "view",
        ],
    ),
    ("launch", &["sandbox/privilege", "sync"]),
    (
        "run/command",
        &[
            "filter", "launch", "model", "options", "output", "resolve", "sandbox", "source",
            "stats",
        ],
    ),
    ("run/config_writer", &["cli", "options", "text", "view"]),
    (
        "run/diff",
        &[
            "jsonl",
            "options",
            "output",
            "recording/replay",
            "resolve/owners",
            "sandbox",
            "stats",
        ],
    ),
    (
        "run/usage",
        &[
            "jsonl",
            "options",
            "output",
            "recording/replay",
            "resolve/owners",
            "sandbox",
            "stats",
            "text",
        ],
    ),
    (
        "run/files",
        &[
            "jsonl",
            "options",
            "recording",
            "sandbox/privilege",
            "text",
            "tui",
        ],
    ),
    // Joins what must not know each other, for the fuzzer alone.
    (
        "fuzz",
        &[
            "cli",
            "filter",
            "jsonl",
            "kernel",
            "model",
            "options",
            "output",
            "recording",
            "resolve",
            "stats",
            "text",
            "tui",
            "view",
        ],
    ),
];

/// Crates that only these modules may name.
const FOREIGN: &[(&str, &[&str])] = &[
    ("libbpf_rs", &["kernel"]),
    ("libbpf_sys", &["kernel"]),
    ("plain", &["kernel"]),
    ("ratatui", &["fuzz", "tui"]),
    ("crossterm", &["tui"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("toml", &["cli"]),
    ("toml_edit", &["cli"]),
    ("base64", &["tui"]),
    (
        "serde_json",
        &["doctor", "fuzz", "jsonl", "output", "resolve"],
    ),
    ("csv", &["fuzz", "output"]),
    ("zstd", &["jsonl", "recording"]),
    ("httparse", &["output"]),
    ("flate2", &["output"]),
    ("domain", &["resolve"]),
    ("unicode_width", &["text"]),
    ("signal_hook", &["kernel", "source"]),
    ("nix", &["launch", "sandbox", "source"]),
    ("landlock", &["sandbox"]),
    ("seccompiler", &["sandbox"]),
    ("libc", &["kernel", "sandbox"]),
];

struct Source {
    /// The entry of [`ALLOWED`] that it is under.
    module: String,
    /// Where it is in the tree of modules.
    at: Vec<String>,
    path: PathBuf,
    /// Source without its comments.
    code: String,
}

/// The longest entry of [`ALLOWED`] that `path` is in; its first part, if there is none.
fn entry_of(path: &[String]) -> String {
    (1..=path.len())
        .rev()
        .map(|parts| path[..parts].join("/"))
        .find(|name| ALLOWED.iter().any(|(entry, _)| entry == name))
        .unwrap_or_else(|| path[0].clone())
}

/// Every source but `lib.rs`, `run.rs` and `main.rs`, which join what must not know each other.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 15, "sources were not found");
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().with_extension("");
            let name = name.to_str().unwrap();
            if matches!(name, "lib" | "run" | "main") {
                continue;
            }
            let mut at: Vec<_> = name.split('/').map(str::to_owned).collect();
            at.pop_if(|last| last == "mod");
            let module = entry_of(&at);
            let code = fs::read_to_string(&path).unwrap();
            let code = code
                .lines()
                .map(|line| line.split("//").next().unwrap_or_default());
            let code = code.collect::<Vec<_>>().join("\n");
            found.push(Source {
                module,
                at,
                path,
                code,
            });
        }
    }
}

/// Entries of [`ALLOWED`] that paths from `crate` and from `super` lead to.
fn named_modules(source: &Source) -> BTreeSet<String> {
    // Below, in the tests, `super` means the file itself.
    let own = source.code.split("#[cfg(test)]").next().unwrap();
    let mut modules = BTreeSet::new();
    for (code, word) in [(source.code.as_str(), "crate::"), (own, "super::")] {
        for (at, _) in code.match_indices(word) {
            if code[..at].ends_with("super::") {
                continue;
            }
            let mut rest = &code[at..];
            let mut base = Vec::new();
            if word == "super::" {
                base.clone_from(&source.at);
                while let Some(after) = rest.strip_prefix(word) {
                    base.pop();
                    rest = after;
                }
            } else {
                rest = &rest[word.len()..];
            }
            let mut paths = Vec::new();
            leaves(rest, &base, &mut paths);
            modules.extend(paths.iter().map(|path| entry_of(path)));
        }
    }
    modules
}

/// A folder in the list stands for all that is in it.
fn is_allowed(allowed: &[&str], module: &str) -> bool {
    allowed.iter().any(|entry| {
        module
            .strip_prefix(entry)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Adds the paths that the text begins with, below `base`, to `found`: one, or those of a list in
/// braces. Returns what comes after.
fn leaves<'a>(text: &'a str, base: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let mut text = text.trim_start();
    if let Some(list) = text.strip_prefix('{') {
        text = list;
        loop {
            text = leaves(text, base, found).trim_start();
            match text.strip_prefix(',') {
                Some(rest) => text = rest,
                None => return text.strip_prefix('}').unwrap_or(text),
            }
            if let Some(rest) = text.trim_start().strip_prefix('}') {
                return rest;
            }
        }
    }
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut path = base.to_vec();
    if !matches!(name, "" | "self") {
        path.push(name.to_owned());
    }
    match rest.strip_prefix("::") {
        Some(rest) => leaves(rest, &path, found),
        None => {
            if !path.is_empty() {
                found.push(path);
            }
            rest.split_once(" as ")
                .filter(|_| rest.starts_with(" as "))
                .map_or(rest, |(_, rest)| {
                    rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
                })
        }
    }
}

fn names_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let before = code[..at].chars().next_back();
        let after = &code[at + word.len()..];
        !before.is_some_and(is_part) && after.starts_with("::")
    })
}

#[test]
fn no_layer_knows_what_it_must_not_know() {
    for source in sources() {
        let Some((_, allowed)) = ALLOWED.iter().find(|(module, _)| *module == source.module) else {
            panic!(
                "{} is in no layer: say in tests/layering.rs what it may know",
                source.path.display()
            );
        };
        for module in named_modules(&source) {
            let top = |name: &str| name.split('/').next().unwrap().to_owned();
            let own = top(&source.module) == top(&module);
            // Made for everyone's unit tests, and compiled for those alone.
            let testing = module == "testing";
            assert!(
                own || testing || is_allowed(allowed, &module),
                "{} names crate::{module}, which is not below it",
                source.path.display()
            );
        }
    }
}

#[test]
fn no_entry_names_one_below_it() {
    let order = |name: &str| ALLOWED.iter().position(|(entry, _)| *entry == name);
    for (at, (entry, allowed)) in ALLOWED.iter().enumerate() {
        for name in *allowed {
            let named = order(name);
            assert!(
                named.is_some_and(|named| named < at),
                "{entry} names {name}, which is not above it"
            );
        }
    }
}

#[test]
fn every_foreign_crate_stays_in_its_layer() {
    for source in sources() {
        let top = source.module.split('/').next().unwrap();
        for (name, layers) in FOREIGN {
            assert!(
                layers.contains(&top) || !names_word(&source.code, name),
                "{} names {name}, which belongs to {layers:?}",
                source.path.display()
            );
        }
    }
}

#[test]
fn only_the_skeleton_the_drain_the_private_mount_and_own_memory_are_unsafe() {
    let allowed = [
        "kernel/skel.rs",
        "kernel/drain/records.rs",
        "kernel/drain/batches.rs",
        "kernel/own_memory.rs",
        "kernel/tracefs.rs",
    ];
    for source in sources() {
        let is_unsafe = ["unsafe {", "unsafe impl", "unsafe fn", "unsafe extern"]
            .iter()
            .any(|word| source.code.contains(word));
        assert!(
            !is_unsafe || allowed.iter().any(|file| source.path.ends_with(file)),
            "{}",
            source.path.display()
        );
    }
}

/// Names that more than one type may have, by convention.
const SHARED_NAMES: &[&str] = &["Error"];

/// A name that stands for two things cannot be searched for. Associated types are not types of
/// their own, and what a test has inside a function is its own affair.
#[test]
fn type_names_are_unique() {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        for name in source.code.lines().filter_map(defined_type) {
            let path = source.path.display().to_string();
            defined.entry(name.to_owned()).or_default().push(path);
        }
    }
    assert!(defined.len() > 100, "types were not found");
    defined.retain(|name, paths| paths.len() > 1 && !SHARED_NAMES.contains(&name.as_str()));
    assert!(defined.is_empty(), "types that share a name: {defined:#?}");
}

/// The type that a line defines: one of the module itself, or of a module of tests in it.
fn defined_type(line: &str) -> Option<&str> {
    let indent = line.len() - line.trim_start().len();
    let mut words = line.split_whitespace().peekable();
    words.next_if(|word| word.starts_with("pub"));
    while words
        .next_if(|word| word.starts_with("crate") || word.ends_with(')'))
        .is_some()
    {}
    let is_type = match words.next()? {
        "struct" | "enum" | "trait" | "union" => indent <= 4,
        "type" => indent == 0,
        _ => false,
    };
    let name = words.next().filter(|_| is_type)?;
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
    Some(&name[..end.unwrap_or(name.len())])
}

/// Functions are what must stay short: clippy's `too_many_lines` holds them to 100 lines. A file is
/// one idea, and splits where it has two; this bound only asks whether it has.
#[test]
fn no_source_outgrows_800_lines() {
    for source in sources() {
        let lines = fs::read_to_string(&source.path).unwrap().lines().count();
        assert!(lines <= 800, "{} has {lines} lines", source.path.display());
    }
}

#[test]
fn use_parser_finds_all_import_forms() {
    let source = |code: &str| Source {
        module: "stats".into(),
        at: vec!["stats".into()],
        path: "src/stats.rs".into(),
        code: code.into(),
    };
    let named = |code| {
        named_modules(&source(code))
            .into_iter()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        named("use crate::flow::Flow;\nlet x = crate::tui::run();"),
        "flow tui"
    );
    assert_eq!(named("use crate::{flow::Flow, report};"), "flow report");
    assert_eq!(
        named("use super::tui::App;\n#[cfg(test)] mod tests { use super::*; }"),
        "tui"
    );
    assert_eq!(
        named(
            "use crate::source::{live::Live, Source, tee as other};\nuse crate::{flow, source::exit_when::{A, B}};"
        ),
        "flow source source/exit_when source/live source/tee"
    );
    assert_eq!(defined_type("pub(crate) struct Flow<T> {"), Some("Flow"));
    assert_eq!(defined_type("pub(in crate::tui) enum Mode {"), Some("Mode"));
    assert_eq!(defined_type("    type Err = Error;"), None);
    assert!(names_word("use libbpf_rs::Map;", "libbpf_rs"));
    assert!(!names_word("explain::x, not plain text", "plain"));
}
