//! A real Prometheus server, and questions to it.

use super::machines::{Netns, Running};
use super::{http, program, until};
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use crate::common::folder::Folder;
use serde_json::Value;

/// A server that scrapes every second, until it is dropped.
pub struct Prometheus(#[expect(dead_code, reason = "it ends when dropped")] Running);

impl Prometheus {
    /// Starts a server that listens at `addr` and scrapes `targets`, entries of `static_configs`.
    pub fn start(
        netns: &Netns,
        folder: &Folder,
        addr: &str,
        targets: &str,
        rules: Option<&Path>,
    ) -> Self {
        let rules = rules.map(|rules| format!("rule_files: [\"{}\"]\n", rules.display()));
        let config = format!(
            "global:\n scrape_interval: 1s\n scrape_timeout: 1s\n evaluation_interval: 500ms\n\
             {}scrape_configs:\n- job_name: flowtop\n  static_configs:\n{targets}",
            rules.unwrap_or_default()
        );
        let named = |what: &str| folder.join(format!("{what}-{}", addr.replace(':', "-")));
        let file = named("prometheus");
        fs::write(&file, config).unwrap();
        let server = Running::start(
            netns
                .around(&mut program("prometheus"))
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.tsdb.path={}", named("data").display()))
                .arg(format!("--web.listen-address={addr}"))
                .stdout(Stdio::null())
                .stderr(File::create(named("log")).unwrap()),
        );
        until("Prometheus is ready", || {
            let (head, _) = http(addr.parse().unwrap(), "GET /-/ready HTTP/1.0\r\n\r\n")?;
            head.contains(" 200 ").then_some(())
        });
        Self(server)
    }
}

/// What the server at an address answers to a query.
#[track_caller]
fn result(addr: &str, query: &str) -> Vec<Value> {
    let mut encoded = String::new();
    for byte in query.bytes() {
        encoded += &format!("%{byte:02x}");
    }
    let request = format!("GET /api/v1/query?query={encoded} HTTP/1.0\r\n\r\n");
    let (_, body) = http(addr.parse().unwrap(), &request).unwrap();
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    answer["data"]["result"].as_array().unwrap().clone()
}

fn number(value: &Value) -> f64 {
    value[1].as_str().unwrap().parse().unwrap()
}

/// Labels and value of each series of an instant query.
#[track_caller]
pub fn query(addr: &str, expr: &str) -> Vec<(Value, f64)> {
    let series = result(addr, expr).into_iter();
    series
        .map(|one| (one["metric"].clone(), number(&one["value"])))
        .collect()
}

/// Labels and increase of every series of a range: the sum of all steps from one sample to the
/// next, as `increase()` has it before it extrapolates. A smaller value is a restart.
#[track_caller]
pub fn increases(addr: &str, range: &str) -> Vec<(Value, u64)> {
    let answers = result(addr, range).into_iter();
    answers
        .map(|answer| {
            let values = answer["values"].as_array().unwrap().iter().map(number);
            let values: Vec<f64> = values.collect();
            let steps = values.windows(2).map(|pair| match pair[1] < pair[0] {
                true => pair[1],
                false => pair[1] - pair[0],
            });
            (answer["metric"].clone(), steps.sum::<f64>() as u64)
        })
        .collect()
}
