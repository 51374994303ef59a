use std::time::Duration;

use super::*;
use crate::model::interval::{Audit, Drift, Machine, Method};
use crate::output::metrics::series::{SeriesKey, SeriesSample};
use crate::view::Group;

fn page(format: Format) -> String {
    page_of(format, 3, false)
}

fn page_of(format: Format, missed_events: u64, misses_unknown: bool) -> String {
    let about = ExporterInfo {
        machine: Machine {
            host: "web-1".into(),
            kernel: "6.12.0".into(),
            ..Machine::default()
        },
        filter: Some("comm \"a\\b\"".into()),
        group: Group::Process,
        began: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_359_600_123),
    };
    let moved = |rx_bytes, tx_bytes| Counters {
        rx_bytes,
        tx_bytes,
        rx_msgs: rx_bytes / 10,
        tx_msgs: tx_bytes / 10,
    };
    let totals = Totals {
        total: moved(1000, 200),
        untracked: moved(30, 0),
        overflow: moved(0, 40),
        copied_rx_bytes: 70,
        missed_events,
        unknown: crate::model::interval::Unknown {
            processes: 4,
            cgroups: 5,
            answers: 6,
        },
        drift: Drift { rx: 17, tx: -2 },
        audit: Audit {
            connections: 9,
            agreeing: 8,
            exempt: 4,
            ..Audit::default()
        },
        intervals: 7,
        drained_in: Duration::from_micros(12_500),
        flows: 12,
        elapsed: Duration::from_nanos(1_000_123_456),
        ended: Some(about.began + Duration::from_secs(7)),
        method: std::sync::Arc::new(Method {
            backend: "tracepoint".into(),
            unseen: vec!["splice_read"],
            misses_unknown,
            ..Method::default()
        }),
    };
    let sample = |name: &str, counters| SeriesSample {
        key: SeriesKey {
            kind: "process",
            name: name.into(),
        },
        counters,
        created: about.began + Duration::from_secs(5),
    };
    let snapshot = SeriesSnapshot {
        series: vec![
            sample("say \"hi\"\\n", moved(500, 100)),
            sample("\u{1b}[2J\nother", moved(60, 50)),
        ],
        other: moved(400, 50),
    };
    let cost = UsageSample {
        cpu: Duration::from_millis(1250),
        resident: Some(70_000_000),
    };
    write(format, &about, &totals, &snapshot, &cost)
}

#[test]
fn every_metric_has_its_samples_and_labels_are_harmless() {
    let text = page(Format::Text);
    for line in [
        r#"flowtop_info{version="0.1.0",backend="tracepoint",group="process",filter="comm \"a\\b\"",host="web-1",kernel="6.12.0"} 1"#,
        "# TYPE flowtop_rx_bytes_total counter",
        "flowtop_rx_bytes_total 1000",
        "flowtop_tx_msgs_total 20",
        r#"flowtop_group_rx_bytes_total{kind="process",name="say \"hi\"\\n"} 500"#,
        r#"flowtop_group_tx_bytes_total{kind="process",name="\\x1b[2J\\nother"} 50"#,
        r#"flowtop_group_rx_bytes_total{kind="other",name="other"} 400"#,
        "flowtop_group_hidden_rx_bytes 10",
        "flowtop_group_hidden_tx_bytes 0",
        "flowtop_untracked_rx_bytes_total 30",
        "flowtop_overflow_tx_bytes_total 40",
        "flowtop_copied_rx_bytes_total 70",
        "flowtop_missed_events_total 3",
        "flowtop_unknown_processes_total 4",
        "flowtop_unknown_cgroups_total 5",
        "flowtop_audited_connections 9",
        "flowtop_agreeing_connections 8",
        "flowtop_exempt_connections 4",
        "flowtop_drift_rx_bytes 17",
        "flowtop_drift_tx_bytes -2",
        r#"flowtop_unseen_path{path="splice_read"} 1"#,
        r#"flowtop_unseen_path{path="udp_send_peer"} 0"#,
        "flowtop_flows 12",
        "flowtop_interval_seconds 1.000123456",
        "flowtop_interval_end_timestamp_seconds 1795359607.123",
        "flowtop_drain_seconds_total 0.0125",
        "process_cpu_seconds_total 1.25",
        "process_resident_memory_bytes 70000000",
        "process_start_time_seconds 1795359600.123",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    for metric in METRICS {
        let samples = text.lines().filter(|line| {
            let rest = line.strip_prefix(metric.name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        assert!(samples.count() > 0, "{}", metric.name);
        assert!(metric.help.ends_with('.'), "{}", metric.help);
    }
}

#[test]
fn openmetrics_names_families_without_what_samples_add_and_has_an_end() {
    let (text, open) = (page(Format::Text), page(Format::OpenMetrics));
    for line in [
        "# TYPE flowtop info",
        "# TYPE flowtop_rx_bytes counter",
        "flowtop_rx_bytes_created 1795359600.123",
        r#"flowtop_group_tx_bytes_created{kind="process",name="say \"hi\"\\n"} 1795359605.123"#,
        r#"flowtop_group_tx_bytes_created{kind="other",name="other"} 1795359600.123"#,
    ] {
        assert!(open.lines().any(|found| found == line), "{line}\n{open}");
    }
    assert!(open.ends_with("\n# EOF\n") && !text.contains("EOF"));
    assert!(!text.contains("_created"), "{text}");
    let counters = open.matches("_total").count()
        - METRICS
            .iter()
            .map(|m| m.help.matches("_total").count())
            .sum::<usize>();
    assert_eq!(open.matches("_created").count(), counters);
    let samples = |page: &str| -> Vec<String> {
        let is_value = |line: &&str| !line.starts_with('#') && !line.contains("_created");
        let lines = page.lines().filter(is_value);
        lines.map(str::to_owned).collect()
    };
    assert_eq!(samples(&text), samples(&open));
}

#[test]
fn unknown_misses_are_no_zero() {
    let has_sample = |page: &str| {
        page.lines()
            .any(|line| line.starts_with("flowtop_missed_events_total "))
    };
    assert!(has_sample(&page_of(Format::Text, 0, false)));
    assert!(!has_sample(&page_of(Format::Text, 0, true)));
    assert!(has_sample(&page_of(Format::Text, 2, true)));
}

#[test]
fn who_asks_for_openmetrics_gets_it() {
    let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    assert_eq!(Format::accepted_by(prometheus), Format::OpenMetrics);
    assert_eq!(Format::accepted_by("text/plain, */*"), Format::Text);
    assert_eq!(Format::accepted_by(""), Format::Text);
}
