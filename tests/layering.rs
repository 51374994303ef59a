//! Reads the sources and fails when a layer knows what it must not know: data goes one way, from
//! the kernel to the presentation.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of this crate that each module may name. Presentation is not in the list of anything
/// below it, and `kernel` is only in that of the source that reads it.
const ALLOWED: &[(&str, &[&str])] = &[
    ("flow", &[]),
    ("table", &["flow"]),
    ("units", &["table"]),
    (
        "filter",
        &[
            "flow",
            "interfaces",
            "interval",
            "owner",
            "table",
            "testing",
            "units",
        ],
    ),
    ("config", &["filter", "table", "units"]),
    ("signals", &[]),
    ("interval", &["flow", "testing"]),
    ("source", &["interval"]),
    (
        "source/live",
        &[
            "capability",
            "config",
            "filter",
            "flow",
            "interval",
            "kernel",
            "privilege",
            "sandbox",
        ],
    ),
    (
        "source/filtered",
        &["filter", "flow", "interval", "testing"],
    ),
    ("source/tee", &["interval"]),
    ("source/until", &["filter", "flow", "interval", "testing"]),
    ("replay", &["filter", "flow", "interval", "source", "units"]),
    (
        "player",
        &["config", "filter", "history", "interval", "replay"],
    ),
    (
        "record",
        &[
            "config", "interval", "names", "rank", "replay", "report", "units",
        ],
    ),
    (
        "metrics",
        &[
            "config", "flow", "interval", "owner", "rank", "source", "table", "testing", "units",
        ],
    ),
    (
        "kernel",
        &[
            "capability",
            "config",
            "filter",
            "flow",
            "interval",
            "namespace",
        ],
    ),
    ("collector", &["flow", "interval", "source"]),
    ("history", &["flow", "interval", "table"]),
    ("owner", &[]),
    ("capability", &[]),
    ("privilege", &[]),
    ("sandbox", &["capability", "privilege"]),
    ("rank", &["flow", "history", "interval", "owner", "table"]),
    ("testing", &["flow", "interval"]),
    // It looks at what runs are made of, and nothing names it.
    (
        "doctor",
        &[
            "capability",
            "config",
            "flow",
            "interval",
            "kernel",
            "privilege",
            "sandbox",
            "source",
            "units",
        ],
    ),
    ("interfaces", &["flow", "namespace"]),
    ("namespace", &[]),
    ("run/notes", &["config", "filter", "namespace"]),
    ("names", &["flow", "interfaces", "namespace"]),
    ("audit", &["flow", "interval", "units"]),
    ("settings", &["config", "table", "units"]),
    (
        "cli",
        &[
            "config",
            "filter",
            "namespace",
            "privilege",
            "settings",
            "source",
            "table",
            "units",
        ],
    ),
    (
        "report",
        &[
            "audit",
            "collector",
            "config",
            "flow",
            "interval",
            "names",
            "owner",
            "rank",
            "replay",
            "signals",
            "source",
            "table",
            "units",
        ],
    ),
    // Joins what must not know each other, for the fuzzer alone.
    (
        "fuzz",
        &[
            "config", "filter", "flow", "history", "interval", "kernel", "metrics", "names",
            "owner", "rank", "replay", "report", "settings", "table", "testing", "tui", "units",
        ],
    ),
    (
        "tui",
        &[
            "audit",
            "collector",
            "config",
            "filter",
            "flow",
            "history",
            "interval",
            "names",
            "owner",
            "player",
            "rank",
            "record",
            "replay",
            "sandbox",
            "signals",
            "source",
            "table",
            "testing",
            "units",
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
    ("toml", &["settings"]),
    ("serde_json", &["doctor", "fuzz", "replay", "report"]),
    ("csv", &["fuzz", "report"]),
    ("zstd", &["record", "replay"]),
    ("httparse", &["metrics"]),
    ("domain", &["names"]),
    ("unicode_width", &["units"]),
    ("signal_hook", &["kernel", "signals"]),
    ("nix", &["signals"]),
    ("landlock", &["sandbox"]),
    ("seccompiler", &["sandbox"]),
    ("libc", &["sandbox"]),
];

struct Source {
    /// As in the lists above.
    module: String,
    path: PathBuf,
    /// Without comments.
    code: String,
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
            let top = name.split('/').next().unwrap();
            let named = ALLOWED.iter().any(|(module, _)| *module == name);
            let module = if named { name } else { top }.to_owned();
            let code = fs::read_to_string(&path).unwrap();
            let code = code
                .lines()
                .map(|line| line.split("//").next().unwrap_or_default());
            let code = code.collect::<Vec<_>>().join("\n");
            found.push(Source { module, path, code });
        }
    }
}

/// Modules named by `crate::x` and `crate::{x, y}`, and in a file of the top level by `super::x`.
fn named_modules(source: &Source) -> BTreeSet<String> {
    let mut prefixes = vec![(source.code.as_str(), "crate::")];
    let stem = source.path.file_stem().unwrap().to_str().unwrap();
    if stem == source.module || stem == "mod" {
        // Below, in the tests, it means the file itself.
        let own = source.code.split("#[cfg(test)]").next().unwrap();
        prefixes.push((own, "super::"));
    }
    let mut modules = BTreeSet::new();
    for (code, prefix) in prefixes {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            let list = match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap(),
                None => rest
                    .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                    .next()
                    .unwrap(),
            };
            for item in list.split(',') {
                let item = item.trim().split("::").next().unwrap();
                if !item.is_empty() {
                    modules.insert(item.to_owned());
                }
            }
        }
    }
    modules
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
            let own = source.module.split('/').next() == Some(&module);
            // Made for everyone's unit tests, and compiled for those alone.
            let testing = module == "testing";
            assert!(
                own || testing || allowed.contains(&module.as_str()),
                "{} names crate::{module}, which is not below it",
                source.path.display()
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
fn only_the_skeleton_the_drain_and_the_private_mount_are_unsafe() {
    let allowed = [
        "kernel/skel.rs",
        "kernel/drain/records.rs",
        "kernel/drain/batches.rs",
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

#[test]
fn no_source_outgrows_500_lines() {
    for source in sources() {
        let lines = fs::read_to_string(&source.path).unwrap().lines().count();
        assert!(lines <= 500, "{} has {lines} lines", source.path.display());
    }
}

#[test]
fn the_reader_finds_what_is_named() {
    let source = |code: &str| Source {
        module: "rank".into(),
        path: "src/rank.rs".into(),
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
    assert!(names_word("use libbpf_rs::Map;", "libbpf_rs"));
    assert!(!names_word("explain::x, not plain text", "plain"));
}
