//! Holds the documents to the tree and to the program: links lead somewhere, example commands are
//! accepted, and the reference pages have every name that flowtop prints.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flowtop::model::flow::Protocol;
use flowtop::model::interval::{OTHER_UNSEEN, UNSEEN_NAMES};
use serde_json::Value;

/// Words that README may have, as `wc -w` counts them.
const MAX_README_WORDS: usize = 900;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &Path) -> String {
    fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// Returns the pages of the top folder, of docs/ and of fuzz/.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "fuzz"] {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    pages.sort();
    assert!(pages.len() > 15, "{pages:?}");
    pages
}

/// Returns the lines outside (`false`) or inside (`true`) of fenced code of these languages.
fn lines<'a>(text: &'a str, languages: Option<&[&str]>) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut language = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), language) {
            (Some(name), None) => language = Some(name),
            (Some(_), Some(_)) => language = None,
            (None, inside) => {
                let is_wanted = match (languages, inside) {
                    (None, None) => true,
                    (Some(wanted), Some(name)) => wanted.contains(&name),
                    _ => false,
                };
                if is_wanted {
                    found.push(line);
                }
            }
        }
    }
    assert!(language.is_none(), "code without an end");
    found
}

/// Returns the targets of `[text](target)`, without those in `code`.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in lines(text, None) {
        let prose: String = line.split('`').step_by(2).collect();
        let targets = prose.split("](").skip(1);
        links.extend(
            targets
                .filter_map(|rest| rest.split_once(')'))
                .map(|(to, _)| to.to_owned()),
        );
    }
    links
}

/// Returns the anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = lines(text, None)
        .into_iter()
        .filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn relative_links_and_anchors_resolve() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let is_right =
                target.exists() && (anchor.is_empty() || anchors(&read(&target)).contains(anchor));
            if !is_right {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_of_docs_is_reached_from_the_readme() {
    let mut reached = BTreeSet::new();
    let mut next = vec![root().join("README.md").canonicalize().unwrap()];
    while let Some(page) = next.pop() {
        let is_page = page.extension().is_some_and(|end| end == "md");
        if !is_page || !reached.insert(page.clone()) {
            continue;
        }
        for link in links(&read(&page)) {
            let path = link.split('#').next().unwrap_or_default();
            let target = page.parent().unwrap().join(path);
            next.extend(target.canonicalize());
        }
    }
    let lost: Vec<_> = pages()
        .into_iter()
        .filter(|page| !reached.contains(&page.canonicalize().unwrap()))
        .filter(|page| page.starts_with(root().join("docs")))
        .collect();
    assert!(lost.is_empty(), "no link leads to {lost:?}");
}

#[test]
fn the_readme_is_short() {
    let words = read(&root().join("README.md")).split_whitespace().count();
    assert!(words <= MAX_README_WORDS, "{words} words");
}

fn flowtop(args: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtop"));
    // Neither the width nor the configuration of whoever runs the tests.
    command
        .args(args)
        .current_dir(root())
        .env_remove("COLUMNS")
        .env_remove("SUDO_UID")
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .stdin(Stdio::null());
    command
}

fn stdout(args: &[&str]) -> String {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let output = flowtop(&args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Splits the first command of a line as a shell does: up to a pipe, a redirection or a comment.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (' ', None) => words.extend(word.take()),
            ('|' | '<' | '>' | '&' | ';', None) => break,
            ('#', None) if word.is_none() => break,
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Returns the arguments of a line that runs flowtop, by sudo or not.
fn arguments(line: &str) -> Option<Vec<String>> {
    let mut words = words(line.strip_prefix("sudo ").unwrap_or(line));
    let name = words.first()?;
    (name == "flowtop").then(|| words.split_off(1))
}

#[test]
fn example_commands_are_accepted() {
    let print = "--print-config".to_owned();
    let mut tried = 0;
    for page in pages() {
        let text = read(&page);
        let typed = lines(&text, Some(&["console"]));
        let typed = typed.iter().filter_map(|line| line.strip_prefix("$ "));
        for line in lines(&text, Some(&["sh"])).into_iter().chain(typed) {
            let Some(mut args) = arguments(line) else {
                continue;
            };
            // Recordings are opened, and this one is in the tree.
            let files = args.iter().position(|arg| arg == "--replay");
            if let Some(file) = files.and_then(|option| args.get_mut(option + 1)) {
                "samples/demo.jsonl.zst".clone_into(file);
            }
            let reads_files = |arg: &String| arg == "diff" || arg == "usage";
            let reads_files = args.first().is_some_and(reads_files);
            for arg in args.iter_mut().filter(|_| reads_files) {
                if let Some((_, window)) = arg.split_once(".jsonl.zst") {
                    *arg = format!("samples/demo.jsonl.zst{window}");
                }
            }
            // Arguments are checked in full before this prints anything.
            if args.first().is_some_and(|word| word == "run") {
                // Its command is not to run.
                args.insert(1, "--help".to_owned());
            } else if !args.contains(&print) {
                // What follows -- is the filter.
                let end = args.iter().position(|arg| arg == "--");
                args.insert(end.unwrap_or(args.len()), print.clone());
            }
            let output = flowtop(&args).output().unwrap();
            assert!(
                output.status.success(),
                "{}: {line}\n{}",
                page.display(),
                String::from_utf8_lossy(&output.stderr)
            );
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried} commands");
}

#[test]
fn an_explained_filter_reads_as_in_its_page() {
    let text = read(&root().join("docs/FILTERS.md"));
    let console = lines(&text, Some(&["console"]));
    let (command, printed) = console.split_first().unwrap();
    let args = arguments(command.trim_start_matches("$ ")).unwrap();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    assert_eq!(stdout(&args).trim_end(), printed.join("\n"));
}

/// Adds the names of all fields of a JSON value.
fn fields(value: &Value, names: &mut BTreeSet<String>) {
    if let Value::Object(members) = value {
        for (name, member) in members {
            names.insert(name.clone());
            fields(member, names);
        }
    }
}

#[test]
fn the_page_on_output_has_every_json_field() {
    let mut names = BTreeSet::new();
    for golden in ["interval.jsonl", "groups.jsonl"] {
        let text = read(&root().join("tests/golden").join(golden));
        for line in text.lines() {
            fields(&serde_json::from_str(line).unwrap(), &mut names);
        }
    }
    let page = read(&root().join("docs/OUTPUT.md"));
    let is_described = |name: &String| {
        page.contains(&format!("`{name}`")) || page.contains(&format!("\"{name}\""))
    };
    let missing: Vec<_> = names.iter().filter(|name| !is_described(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(names.len() > 40, "{names:?}");
}

/// Returns the lines of a page below a heading, up to the next one.
fn section<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let below = text.lines().skip_while(|line| *line != heading).skip(1);
    let found: Vec<_> = below.take_while(|line| !line.starts_with('#')).collect();
    assert!(!found.is_empty(), "{heading}");
    found
}

/// Returns the words in backquotes in the first cells of a table.
fn first_cells(lines: &[&str]) -> BTreeSet<String> {
    let cells = lines.iter().filter_map(|line| line.split('|').nth(1));
    let words = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    words.map(str::to_owned).collect()
}

#[test]
fn the_page_on_counting_has_every_protocol_and_the_one_on_filters_too() {
    let words = Protocol::ALL.map(|protocol| protocol.as_str().to_owned());
    let words = BTreeSet::from(words);
    let counting = read(&root().join("docs/COUNTING.md"));
    assert_eq!(first_cells(&section(&counting, "## Protocols")), words);
    let filters = read(&root().join("docs/FILTERS.md"));
    let missing = words
        .iter()
        .find(|word| !filters.contains(&format!("`{word}`")));
    assert_eq!(missing, None);
}

#[test]
fn the_page_on_limits_has_every_path_that_can_be_unseen() {
    let names = UNSEEN_NAMES.iter().map(|(name, _)| (*name).to_owned());
    let names: BTreeSet<_> = names.filter(|name| name != OTHER_UNSEEN).collect();
    let limits = read(&root().join("docs/LIMITS.md"));
    let table = section(&limits, "## What a kernel cannot report");
    assert_eq!(first_cells(&table), names);
}

#[test]
fn the_page_on_the_live_table_has_every_column_and_key() {
    let page = read(&root().join("docs/LIVE.md"));
    let config = stdout(&["--print-config"]);
    let columns = config
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .filter_map(|line| line.split_whitespace().next());
    let keys = config.lines().skip_while(|line| *line != "[keys]");
    let keys: String = keys
        .filter_map(|line| line.split_once(" = "))
        .map(|(_, keys)| keys)
        .collect();
    let characters = keys.split('"').filter(|key| key.chars().count() == 1);
    let names: Vec<&str> = columns.chain(characters).collect();
    assert!(names.len() > 50, "{names:?}");
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
