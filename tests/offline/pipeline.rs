//! From a scripted source through collector and ranking to the bytes that are written.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

mod csv_rows;
mod json_records;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::common::{
    Script, assert_matches_file, bad_interval, detailed_flows, end, flow, interval, records,
    web_server,
};
use flowtop::filter::{FilterPlan, NameTables, Pushdown, parse};
use flowtop::jsonl::writer::Json;
use flowtop::model::flow::{Comm, Owner, Protocol, Tcp};
use flowtop::model::interval::{Interval, Machine};
use flowtop::options::{Config, Output, StreamOptions, TimingOptions};
use flowtop::output::csv::Csv;
use flowtop::output::text::Text;
use flowtop::output::{self, Report};
use flowtop::resolve::names::{Names, Services};
use flowtop::source::filtered::Filtered;
use flowtop::stats::ranking::Ranking;
use flowtop::view::{Column, Group, SortKey};
use serde_json::Value;

fn config(output: Output, count: u64) -> Config {
    Config {
        output,
        timing: TimingOptions {
            count: Some(count),
            interval: Duration::from_millis(10),
            ..TimingOptions::default()
        },
        ..Config::default()
    }
}

fn run(
    config: &Config,
    script: impl IntoIterator<Item = Interval>,
) -> (String, anyhow::Result<()>) {
    let mut out = Vec::new();
    let outcome = flowtop::stream(
        config,
        Machine::default(),
        Script::new(script),
        None,
        &mut out,
    );
    (String::from_utf8(out).unwrap(), outcome)
}

#[test]
fn text_is_as_documented() {
    let (text, outcome) = run(&config(Output::Text, 1), [interval(web_server())]);
    outcome.unwrap();
    assert_matches_file("golden/interval.txt", &text);
}

#[test]
fn json_is_as_documented() {
    let mut config = config(Output::Json, 1);
    config.stream.top_n = Some(3);
    let (text, outcome) = run(&config, [interval(web_server())]);
    outcome.unwrap();
    assert_matches_file("golden/interval.jsonl", &text);
}

#[test]
fn a_filter_is_said_and_what_it_does_not_mean_is_in_no_total() {
    for output in [Output::Text, Output::Json] {
        let filter = parse("local port 22 and rx rate>1MB", &NameTables::default()).unwrap();
        let mut config = config(output, 1);
        config.capture.filter = FilterPlan::new(filter, Pushdown::Nothing);
        let source = Filtered::new(
            Script::new([interval(web_server())]),
            config.capture.filter.rest.as_ref(),
        );
        let mut out = Vec::new();
        flowtop::stream(&config, Machine::default(), source, None, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        if output == Output::Json {
            let records = records(&text);
            assert_eq!(records[0]["filter"], "local port 22 and rx rate > 1MB");
            assert_eq!(records[0]["flows"], 1);
            assert_eq!(records[0]["rx_bytes"], records[1]["rx_bytes"]);
            assert_eq!(records[1]["local_port"], 22);
        } else {
            assert!(text.contains("sshd") && !text.contains("nginx"), "{text}");
            let mut text = Text {
                filter: config.capture.filter.text(),
                ..Text::default()
            };
            let ranking = Ranking::new(&interval(web_server()), None);
            text.append(&ranking, &Names::disabled(), &mut Vec::new())
                .unwrap();
            let notes = text.take_notes();
            assert_eq!(notes, ["filter: local port 22 and rx rate > 1MB"]);
        }
    }
}

/// What text says of these intervals beside the data.
fn notes(intervals: impl IntoIterator<Item = Interval>) -> Vec<String> {
    let mut text = Text::default();
    let mut notes = Vec::new();
    for interval in intervals {
        let (mut out, ranking) = (Vec::new(), Ranking::new(&interval, Some(10)));
        text.append(&ranking, &Names::disabled(), &mut out).unwrap();
        notes.extend(text.take_notes());
        assert_eq!(text.take_notes(), [""; 0], "each note is taken once");
    }
    notes
}

#[test]
fn limits_and_losses_are_notes_and_no_lines_of_text() {
    let all = notes([bad_interval(web_server()), bad_interval(Vec::new())]);
    let kinds = ["limits: ", "!!! UNTRACKED: ", "!!! MISSED: "];
    let counts = kinds.map(|kind| all.iter().filter(|note| note.contains(kind)).count());
    assert_eq!(
        counts,
        [2, 2, 2],
        "limits once, losses in each interval: {all:?}"
    );
    assert!(all[0].starts_with("tracepoint backend: "), "{all:?}");
    assert!(
        all.iter()
            .any(|note| note.starts_with("2026-11-22T15:00:00.123Z: !!! MISSED"))
    );
    assert_eq!(
        notes([interval(web_server()), interval(Vec::new())]),
        [""; 0]
    );

    let (text, _) = run(&config(Output::Text, 1), [bad_interval(web_server())]);
    let is_data = |line: &str| {
        let is_heading = ["Ingress: ", "Egress: "]
            .iter()
            .any(|it| line.starts_with(it));
        let is_total = line.starts_with("2026-11-22T15:00:00.123Z  1.000 s  in ");
        let first = line
            .trim_start()
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let is_row = first.starts_with(" B/s") || first.get(2..5) == Some("B/s");
        line.is_empty()
            || is_heading
            || is_total
            || is_row
            || line.trim_start().starts_with("RATE ")
    };
    for line in text.lines() {
        assert!(is_data(line), "{line:?} is no data");
    }
}

#[test]
fn trouble_is_loud_in_text() {
    let (text, outcome) = run(&config(Output::Text, 1), [bad_interval(web_server())]);
    outcome.unwrap();
    assert_matches_file("golden/trouble.txt", &text);
}

#[test]
fn trouble_is_in_every_interval_record() {
    let (text, _) = run(&config(Output::Json, 1), [bad_interval(web_server())]);
    let record = &records(&text)[0];
    assert_eq!(record["untracked_rx_bytes"], 2_500_000);
    assert_eq!(record["untracked_tx_bytes"], 1_500);
    assert_eq!(record["missed_events"], 3);
    assert_eq!(
        record["unseen"],
        serde_json::json!(["splice_read", "udp_recv_peer"])
    );
}

#[test]
fn text_over_several_intervals_says_things_once_and_columns_hold_still() {
    let mut text = Text::default();
    let mut out = Vec::new();
    let mut wide = web_server();
    wide.truncate(3);
    let mut narrow = web_server();
    narrow.truncate(1);
    for interval in [
        interval(Vec::new()),
        interval(wide),
        interval(narrow),
        interval(Vec::new()),
    ] {
        text.append(
            &Ranking::new(&interval, Some(10)),
            &Names::disabled(),
            &mut out,
        )
        .unwrap();
    }
    assert_matches_file("golden/several.txt", std::str::from_utf8(&out).unwrap());
}

#[test]
fn a_name_found_while_a_table_is_written_moves_no_column() {
    let mut flows = Vec::new();
    for n in 0..1000 {
        let mut flow = web_server().swap_remove(0);
        flow.key.remote.addr = Ipv4Addr::from_bits(0x0a00_0000 + n).into();
        let retransmits = Some(1);
        flow.tcp = Some(Tcp {
            retransmits,
            ..Tcp::default()
        });
        flows.push(flow);
    }
    let interval = interval(flows);
    for group in [Group::Flow, Group::Remote] {
        let name = "one-that-is-longer-than-an-address";
        let names = Names::with(|_| Some(name.to_owned()), || ()).unwrap();
        let mut text = Text {
            wide: true,
            ..Text::default()
        };
        // Not more addresses wait for their names at once, so each table meets new ones.
        for _ in 0..3 {
            let mut out = Vec::new();
            if group == Group::Flow {
                let ranking = Ranking::new(&interval, None);
                text.append(&ranking, &names, &mut out).unwrap();
            } else {
                let ranking = Ranking::grouped(&interval, group, &(), None);
                text.append_groups(group, &ranking, &names, &mut out)
                    .unwrap();
            }
            let out = String::from_utf8(out).unwrap();
            let rows = out.lines().filter(|row| row.ends_with(" 1"));
            let widths: Vec<_> = rows.map(str::len).collect();
            assert_eq!(widths.len(), 2 * 1000, "{out}");
            assert!(widths.iter().all(|width| *width == widths[0]), "{out}");
        }
    }
}

/// Every grouping that can be asked for, and one more net.
fn groups() -> impl Iterator<Item = Group> {
    let net = "net/8,32".parse().unwrap();
    Group::ALL.into_iter().chain([net])
}

fn grouped(group: Group, top_n: Option<usize>, report: &mut dyn Report) -> String {
    let interval = bad_interval(detailed_flows());
    let mut out = Vec::new();
    let names = Names::disabled();
    if group == Group::Flow {
        let ranking = Ranking::new(&interval, top_n);
        report.append(&ranking, &names, &mut out).unwrap();
    } else {
        let ranking = Ranking::grouped(&interval, group, &(), top_n);
        report
            .append_groups(group, &ranking, &names, &mut out)
            .unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn sorted(output: Output, sort: &str, group: Group, top_n: Option<usize>) -> String {
    let config = Config {
        stream: StreamOptions {
            sort: Some(sort.parse().unwrap()),
            group,
            top_n,
            ..StreamOptions::default()
        },
        ..config(output, 1)
    };
    let (text, outcome) = run(&config, [bad_interval(detailed_flows())]);
    outcome.unwrap();
    text
}

#[test]
fn text_is_sorted_in_both_sections() {
    let pids = |sort: &str| -> Vec<Vec<u32>> {
        let text = sorted(Output::Text, sort, Group::Process, None);
        let sections = text.split("Egress").map(|section| {
            let rows = section.lines().filter(|line| line.contains("B/s "));
            let pids = rows.filter_map(|row| row.split_whitespace().nth(3)?.parse().ok());
            pids.collect()
        });
        sections.collect()
    };
    let [up, down] = ["pid", "pid:desc"].map(pids);
    assert_eq!(up.len(), 2);
    for (up, down) in up.iter().zip(&down) {
        assert!(up.len() > 2 && up.is_sorted(), "{up:?}");
        assert!(down.iter().rev().eq(up), "{down:?}");
    }
}

#[test]
fn groups_are_as_documented() {
    let mut text = String::new();
    let mut json = String::new();
    for group in groups() {
        text += &format!("# {group}\n");
        text += &grouped(group, Some(2), &mut Text::default());
        json += &grouped(group, Some(2), &mut Json::default());
    }
    assert_matches_file("golden/groups.txt", &text);
    assert_matches_file("golden/groups.jsonl", &json);
}

#[test]
fn wide_text_has_owners_and_connections() {
    let wide = || Text {
        wide: true,
        ..Text::default()
    };
    let mut text = grouped(Group::Flow, Some(5), &mut wide());
    text += &grouped(Group::Process, Some(5), &mut wide());
    text += &grouped(Group::Unit, Some(5), &mut wide());
    assert_matches_file("golden/wide.txt", &text);
}

#[test]
fn a_thread_is_called_by_its_name_and_that_of_its_process() {
    let mut flows = web_server();
    flows.truncate(2);
    for (flow, (tid, thread)) in flows
        .iter_mut()
        .zip([(812, "worker"), (4_194_304, "sshd-session")])
    {
        flow.key.tid = tid;
        let owner = Owner::clone(&flow.owner);
        let thread = Comm::new(thread.as_bytes());
        flow.owner = std::sync::Arc::new(Owner { thread, ..owner });
    }
    let ranking = Ranking::grouped(&interval(flows), Group::Thread, &(), None);
    let write = |report: &mut dyn Report| {
        let mut out = Vec::new();
        let names = Names::disabled();
        report
            .append_groups(Group::Thread, &ranking, &names, &mut out)
            .unwrap();
        String::from_utf8(out).unwrap()
    };
    let text = write(&mut Text::default());
    assert!(
        text.contains("    811      812  worker of nginx\n"),
        "{text}"
    );
    assert!(text.contains("4194304  4194304  sshd-session\n"), "{text}");
    let records = records(write(&mut Json::default()));
    let worker = records.iter().find(|record| record["tid"] == 812).unwrap();
    assert_eq!(worker["thread"], "worker");
    assert_eq!(
        (&worker["process"], &worker["pid"]),
        (&"nginx".into(), &811.into())
    );
}

#[test]
fn group_option_applies_to_every_output() {
    let mut config = config(Output::Json, 1);
    config.stream.group = Group::Process;
    let (text, outcome) = run(&config, [interval(web_server())]);
    outcome.unwrap();
    let records = records(&text);
    assert_eq!(records[0]["grouped_by"], "process");
    let nginx = records.iter().find(|record| record["process"] == "nginx");
    assert_eq!(nginx.unwrap()["flows"], 22);
    assert_eq!(nginx.unwrap()["tx_bytes"], 148_300_000);
    config.output = Output::Text;
    let (text, _) = run(&config, [interval(web_server())]);
    assert!(text.contains("5 processes, 5 shown with 100 %"), "{text}");
}

#[test]
fn an_unknown_peer_is_a_star_with_port_0_and_mapped_addresses_are_ipv4() {
    let mut config = config(Output::Json, 1);
    config.stream.top_n = None;
    let (text, _) = run(&config, [interval(web_server())]);
    let records = records(&text);
    let by = |comm: &str| {
        records
            .iter()
            .find(|record| record["process"] == comm)
            .unwrap()
    };
    assert_eq!(by("named")["remote_addr"], "*");
    assert_eq!(by("named")["remote_port"], 0);
    assert_eq!(by("chronyd")["local_addr"], "10.0.0.5");
    assert_eq!(by("chronyd")["remote_addr"], "192.0.2.1");
    assert_eq!(by("chronyd")["remote_port"], 123, "ports are in host order");
}

#[test]
fn egress_is_not_forgotten_every_second_interval() {
    let mut config = config(Output::Json, 6);
    config.stream.top_n = None;
    let (text, outcome) = run(&config, (0..6).map(|_| interval(web_server())));
    outcome.unwrap();
    let intervals: Vec<Value> = records(&text)
        .into_iter()
        .filter(|record| record["type"] == "interval")
        .collect();
    let sent: u64 = web_server().iter().map(|flow| flow.counters.tx_bytes).sum();
    let mut lengths = 0.0;
    let mut total = 0;
    for interval in &intervals {
        // A slow machine may have merged some: then both are a multiple.
        let times = (interval["seconds"].as_f64().unwrap() / 1.000_123_456).round();
        assert_eq!(interval["tx_bytes"].as_u64().unwrap(), sent * times as u64);
        lengths += times;
        total += interval["tx_bytes"].as_u64().unwrap();
    }
    assert_eq!((lengths, total), (6.0, 6 * sent));
}

#[test]
fn what_was_read_before_an_error_is_written() {
    let mut endless = config(Output::Json, 1);
    endless.timing.count = None;
    let (text, outcome) = run(&endless, [interval(web_server())]);
    assert!(outcome.unwrap_err().to_string().contains("past the end"));
    assert_eq!(records(&text)[0]["type"], "interval");
}

/// Counts writes and flushes, and breaks like a pipe whose reader has gone.
#[derive(Default)]
struct Pipe {
    writes: usize,
    flushes: usize,
    breaks_at: usize,
}

impl Write for Pipe {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        if self.writes == self.breaks_at {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushes += 1;
        Ok(())
    }
}

#[test]
fn an_interval_is_one_write_and_one_flush() {
    let mut pipe = Pipe::default();
    let script = Script::new([interval(web_server())]);
    flowtop::stream(
        &config(Output::Text, 1),
        Machine::default(),
        script,
        None,
        &mut pipe,
    )
    .unwrap();
    assert_eq!((pipe.writes, pipe.flushes), (1, 1));
}

#[test]
fn a_closed_pipe_ends_the_run_and_is_told_from_errors() {
    let mut pipe = Pipe {
        breaks_at: 2,
        ..Pipe::default()
    };
    let mut endless = config(Output::Json, 1);
    endless.timing.count = None;
    let script = Script::new((0..1000).map(|_| interval(web_server())));
    let error = flowtop::stream(&endless, Machine::default(), script, None, &mut pipe).unwrap_err();
    assert!(output::is_closed_pipe(&error), "{error:#}");
    assert_eq!(pipe.writes, 2);
}
