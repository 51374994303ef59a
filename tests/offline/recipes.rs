//! The recipes of docs/RECIPES.md, each run as it stands there, and the server for assistants.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::folder::Folder;
use crate::common::{records, stderr, stdout, sum};
use crate::engines::demo;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder with the recording of the recipes, and flowtop where a shell finds it.
fn kitchen(name: &str) -> Folder {
    let folder = Folder::new(name);
    let sample = root().join("samples/demo.jsonl.zst");
    fs::copy(sample, folder.join("day.jsonl.zst")).unwrap();
    symlink(env!("CARGO_BIN_EXE_flowtop"), folder.join("flowtop")).unwrap();
    folder
}

fn run(folder: &Folder, program: &str, args: &[&str]) -> Output {
    let path = std::env::var("PATH").unwrap();
    Command::new(program)
        .args(args)
        .current_dir(folder.path())
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The code of all blocks of a language, in the order of the page.
fn blocks(language: &str) -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/RECIPES.md")).unwrap();
    let blocks = page.split("```").skip(1).step_by(2);
    let code = blocks.filter_map(|block| block.strip_prefix(&format!("{language}\n")));
    code.map(str::to_owned).collect()
}

/// Bytes received and sent by each process of the recording.
fn truth() -> BTreeMap<String, (u64, u64)> {
    let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for flow in records(demo("--json"))
        .iter()
        .filter(|it| it["type"] == "flow")
    {
        let sum = sums
            .entry(flow["process"].as_str().unwrap().to_owned())
            .or_default();
        sum.0 += flow["rx_bytes"].as_u64().unwrap();
        sum.1 += flow["tx_bytes"].as_u64().unwrap();
    }
    sums
}

fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| line.split('\t').collect())
        .collect()
}

#[test]
fn recipes_of_the_shell_say_what_the_recording_holds() {
    let (folder, truth) = (kitchen("recipes"), truth());
    let code = blocks("sh");
    let [bounded, processes, rates, losses, peers] = code.as_slice() else {
        panic!("{} blocks", code.len());
    };
    let shell = |code: &str| {
        let output = run(&folder, "sh", &["-c", &format!("set -e\n{code}")]);
        assert!(output.status.success(), "{code}: {}", stderr(&output));
        stdout(&output)
    };
    let found = records(shell(bounded));
    assert!((3..40).contains(&found.len()), "{} records", found.len());
    let all: u64 = truth.values().map(|(rx, _)| rx).sum();
    assert_eq!(sum(&found, "total", "rx_bytes"), all);

    let text = shell(processes);
    let found: BTreeMap<String, (u64, u64)> = rows(&text)
        .iter()
        .map(|row| {
            (
                row[0].to_owned(),
                (row[1].parse().unwrap(), row[2].parse().unwrap()),
            )
        })
        .collect();
    assert_eq!(found, truth);

    let text = shell(rates);
    let received = rows(&text);
    let received = received.iter().filter(|row| row[1] == "demo-store");
    let rates: Vec<f64> = received.map(|row| row[2].parse().unwrap()).collect();
    assert_eq!(rates.len(), 39);
    assert!(
        rates.iter().all(|rate| (1e7..4e7).contains(rate)),
        "{rates:?}"
    );

    assert_eq!(shell(losses).trim(), "true");

    let text = shell(peers);
    let found: u64 = rows(&text)
        .iter()
        .map(|row| row[1].parse::<u64>().unwrap())
        .sum();
    assert_eq!(found, truth["demo-web"].1);
}

#[test]
fn the_recipe_of_python_says_what_was_sent() {
    let (folder, truth) = (kitchen("recipes-python"), truth());
    for code in blocks("python") {
        let output = run(&folder, "python3", &["-c", &code]);
        assert!(output.status.success(), "{}", stderr(&output));
        let text = stdout(&output);
        let found = rows(&text);
        assert_eq!(found.len(), truth.len());
        assert!(
            found
                .iter()
                .all(|row| row[1] == truth[row[0]].1.to_string()),
            "{text}"
        );
    }
}

#[test]
fn the_recipe_of_nushell_says_what_each_process_moved() {
    let found = Command::new(root().join("scripts/nushell.sh"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if !found.status.success() {
        assert!(std::env::var_os("CI").is_none(), "{}", stderr(&found));
        eprintln!("\n!!! NOT TESTED: {}", stderr(&found));
        return;
    }
    let (nu, truth) = (PathBuf::from(stdout(&found).trim()), truth());
    let folder = kitchen("recipes-nu");
    for code in blocks("nu") {
        // On one line, as it would be in a script's parentheses.
        let code = code.replace("\n  |", " |");
        let output = run(
            &folder,
            nu.to_str().unwrap(),
            &["--no-config-file", "-c", &code],
        );
        assert!(output.status.success(), "{}", stderr(&output));
        let text = stdout(&output);
        let found: BTreeMap<String, (u64, u64)> = rows(&text)[1..]
            .iter()
            .map(|row| {
                (
                    row[0].to_owned(),
                    (row[1].parse().unwrap(), row[2].parse().unwrap()),
                )
            })
            .collect();
        assert_eq!(found, truth);
    }
}

/// The results of requests to the server for assistants, one each.
fn answers(folder: &Folder, requests: &[Value]) -> Vec<Value> {
    let mut server = Command::new("python3")
        .arg(root().join("contrib/mcp/flowtop_mcp.py"))
        .env("FLOWTOP", env!("CARGO_BIN_EXE_flowtop"))
        .env("FLOWTOP_RECORDINGS", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = server.stdin.take().unwrap();
    for request in requests {
        writeln!(input, "{request}").unwrap();
    }
    drop(input);
    let output = server.wait_with_output().unwrap();
    assert!(output.status.success());
    records(output.stdout)
}

#[test]
fn assistants_can_read_recordings_and_nothing_else() {
    let folder = kitchen("mcp");
    fs::write(folder.join(".hidden"), "").unwrap();
    let call = |id: u32, name: &str, arguments: Value| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": name, "arguments": arguments}})
    };
    let day = "day.jsonl.zst";
    let refused = [
        ("network_usage", json!({"file": "../Cargo.toml"})),
        ("network_usage", json!({"file": "/etc/passwd"})),
        ("network_usage", json!({"file": ".hidden"})),
        ("network_usage", json!({"file": "--record=x"})),
        ("network_usage", json!({"file": day, "record": "x"})),
        (
            "network_usage",
            json!({"file": day, "group": "program --record x"}),
        ),
        ("network_usage", json!({"file": day, "rows": 1000})),
        ("network_usage", json!({"file": day, "by": "week"})),
        ("network_usage", json!({})),
        ("network_now", json!({"seconds": 1e9})),
        ("shell", json!({})),
    ];
    let mut requests = vec![
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-03-26"}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}),
        call(3, "recordings", json!({})),
        call(
            4,
            "network_usage",
            json!({"file": day, "by": "all", "rows": 2}),
        ),
        call(5, "network_changes", json!({"before": day, "after": day})),
        json!({"jsonrpc": "2.0", "id": 6, "method": "resources/list"}),
    ];
    requests.extend(
        refused
            .iter()
            .zip(100..)
            .map(|((name, given), id)| call(id, name, given.clone())),
    );
    let found = answers(&folder, &requests);
    let text = |n: usize| found[n]["result"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(found[0]["result"]["protocolVersion"], "2025-03-26");
    let tools = found[1]["result"]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 5);
    assert!(
        tools
            .iter()
            .all(|tool| tool["annotations"]["readOnlyHint"] == true)
    );
    assert!(text(2).contains(day), "{}", text(2));
    let usage = records(text(3));
    let rx: u64 = truth().values().map(|(rx, _)| rx).sum();
    assert_eq!(sum(&usage, "total", "rx_bytes"), rx);
    assert_eq!(usage.len(), 4, "total, two groups and the others");
    assert_eq!(records(text(4))[0]["changed"], 0);
    assert_eq!(found[5]["error"]["code"], -32601);
    for ((name, given), answer) in refused.iter().zip(&found[6..]) {
        assert_eq!(
            answer["result"]["isError"], true,
            "{name} {given}: {answer}"
        );
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 3, "it wrote something");
}
