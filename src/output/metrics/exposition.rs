//! Writes metrics in the text format of Prometheus, or in OpenMetrics 1.0 if the client requests
//! it. The formats differ in the names of families and in their end.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use super::self_usage::UsageSample;
use super::series::SeriesSnapshot;
use super::{ExporterInfo, Totals};
use crate::model::flow::Counters;
use crate::model::interval::UNSEEN_NAMES;
use crate::text::sanitize::sanitize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's own, version 0.0.4, which everything reads.
    Text,
    OpenMetrics,
}

impl Format {
    /// Chooses the format by an `Accept` field.
    pub fn accepted_by(accepted: &str) -> Self {
        match accepted.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    /// Returns the content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Type and name of the metrics that are of no group.
const OTHER: &str = "other";

/// A family of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name of its samples.
    pub name: &'static str,
    kind: MetricKind,
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetricKind {
    Counter,
    Gauge,
    Info,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: MetricKind::Counter,
        help,
    }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: MetricKind::Gauge,
        help,
    }
}

/// All families in their order. New ones are only added.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "flowtop_info",
        kind: MetricKind::Info,
        help: "Version, backend, group, filter, host and kernel of this flowtop; always 1.",
    },
    counter(
        "flowtop_rx_bytes_total",
        "Bytes received: all that flowtop counted, untracked bytes included.",
    ),
    counter(
        "flowtop_tx_bytes_total",
        "Bytes sent: all that flowtop counted, untracked bytes included.",
    ),
    counter(
        "flowtop_rx_msgs_total",
        "Calls that received at least one byte.",
    ),
    counter(
        "flowtop_tx_msgs_total",
        "Calls that sent at least one byte.",
    ),
    counter(
        "flowtop_group_rx_bytes_total",
        "Bytes received, by group; the series kind=other sums all groups without a series.",
    ),
    counter(
        "flowtop_group_tx_bytes_total",
        "Bytes sent, by group; the series kind=other sums all groups without a series.",
    ),
    counter(
        "flowtop_group_rx_msgs_total",
        "Calls that received at least one byte, by group; kind=other sums all groups without a series.",
    ),
    counter(
        "flowtop_group_tx_msgs_total",
        "Calls that sent at least one byte, by group; kind=other sums all groups without a series.",
    ),
    gauge(
        "flowtop_group_hidden_rx_bytes",
        "Bytes received that were counted for groups that have no series now.",
    ),
    gauge(
        "flowtop_group_hidden_tx_bytes",
        "Bytes sent that were counted for groups that have no series now.",
    ),
    counter(
        "flowtop_untracked_rx_bytes_total",
        "Bytes received without a flow or process: the flow table and the process table were full.",
    ),
    counter(
        "flowtop_untracked_tx_bytes_total",
        "Bytes sent without a flow or process: the flow table and the process table were full.",
    ),
    counter(
        "flowtop_overflow_rx_bytes_total",
        "Bytes received of a process, without a flow: the flow table was full.",
    ),
    counter(
        "flowtop_overflow_tx_bytes_total",
        "Bytes sent of a process, without a flow: the flow table was full.",
    ),
    counter(
        "flowtop_copied_rx_bytes_total",
        "Bytes that packet sockets and raw sockets received besides the sockets they were for; part of flowtop_rx_bytes_total.",
    ),
    counter(
        "flowtop_missed_events_total",
        "Events that the probes missed, by the kernel's own counters; absent if the kernel does not count them.",
    ),
    counter(
        "flowtop_unknown_processes_total",
        "Processes whose name and user did not fit into flowtop's table, summed over intervals.",
    ),
    counter(
        "flowtop_unknown_cgroups_total",
        "Processes whose cgroup did not fit into flowtop's table, summed over intervals.",
    ),
    gauge(
        "flowtop_audited_connections",
        "TCP connections compared with the kernel's own counters in the latest interval.",
    ),
    gauge(
        "flowtop_agreeing_connections",
        "Compared TCP connections whose every byte was counted, in the latest interval.",
    ),
    gauge(
        "flowtop_exempt_connections",
        "TCP connections that could not be compared in the latest interval.",
    ),
    gauge(
        "flowtop_drift_rx_bytes",
        "Bytes received that flowtop did not count, by the kernel's own counters, since its start.",
    ),
    gauge(
        "flowtop_drift_tx_bytes",
        "Bytes sent that flowtop did not count, by the kernel's own counters, since its start.",
    ),
    gauge(
        "flowtop_unseen_path",
        "1 if this kernel cannot report this way of moving data, else 0.",
    ),
    gauge(
        "flowtop_flows",
        "Flows that moved bytes in the latest interval.",
    ),
    counter("flowtop_intervals_total", "Completed intervals."),
    gauge(
        "flowtop_interval_seconds",
        "Measured length of the latest interval, in seconds.",
    ),
    gauge(
        "flowtop_interval_end_timestamp_seconds",
        "End of the latest interval, in seconds since the Unix epoch.",
    ),
    counter(
        "flowtop_drain_seconds_total",
        "Time spent ending intervals (flip, wait, drain, filter), in seconds.",
    ),
    counter(
        "process_cpu_seconds_total",
        "CPU time that flowtop itself used, in seconds.",
    ),
    gauge(
        "process_resident_memory_bytes",
        "Resident memory of flowtop itself, in bytes.",
    ),
    gauge(
        "process_start_time_seconds",
        "Start of flowtop, in seconds since the Unix epoch.",
    ),
];

pub(super) fn write(
    format: Format,
    about: &ExporterInfo,
    totals: &Totals,
    snapshot: &SeriesSnapshot,
    cost: &UsageSample,
) -> String {
    let mut page = Page {
        format,
        text: String::with_capacity(4096 + 512 * snapshot.series.len()),
        metrics: METRICS.iter(),
        created: 0.0,
    };
    // Writing to a String cannot fail; an error means that a metric lacks its entry in the table.
    let written = page.write(about, totals, snapshot, cost);
    debug_assert!(written.is_ok(), "every metric has its place");
    page.text
}

struct Page {
    format: Format,
    text: String,
    metrics: std::slice::Iter<'static, Metric>,
    /// Start of counting, in seconds since the Unix epoch.
    created: f64,
}

impl Page {
    fn write(
        &mut self,
        about: &ExporterInfo,
        totals: &Totals,
        snapshot: &SeriesSnapshot,
        cost: &UsageSample,
    ) -> fmt::Result {
        let method = &totals.method;
        let group = about.group.to_string();
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("backend", &method.backend),
            ("group", &group),
            ("filter", about.filter.as_deref().unwrap_or_default()),
            ("host", &about.machine.host),
            ("kernel", &about.machine.kernel),
        ];
        self.family(|page| page.sample(&labels, 1))?;
        // All counters except those of groups have counted since flowtop started.
        self.created = seconds(about.began);
        let total = &totals.total;
        for value in [total.rx_bytes, total.tx_bytes, total.rx_msgs, total.tx_msgs] {
            self.one(value)?;
        }
        type Field = fn(&Counters) -> u64;
        let fields: [Field; 4] = [
            |counters| counters.rx_bytes,
            |counters| counters.tx_bytes,
            |counters| counters.rx_msgs,
            |counters| counters.tx_msgs,
        ];
        for field in fields {
            self.family(|page| {
                for sample in &snapshot.series {
                    let labels = [("kind", sample.key.kind), ("name", &*sample.key.name)];
                    let created = seconds(sample.created);
                    page.created_sample(&labels, field(&sample.counters), created)?;
                }
                page.sample(&[("kind", OTHER), ("name", OTHER)], field(&snapshot.other))
            })?;
        }
        let hidden = totals.hidden(snapshot);
        self.one(hidden.rx_bytes)?;
        self.one(hidden.tx_bytes)?;
        self.one(totals.untracked.rx_bytes)?;
        self.one(totals.untracked.tx_bytes)?;
        self.one(totals.overflow.rx_bytes)?;
        self.one(totals.overflow.tx_bytes)?;
        self.one(totals.copied_rx_bytes)?;
        self.family(|page| match totals.missed_events {
            0 if method.misses_unknown => Ok(()),
            missed => page.sample(&[], missed),
        })?;
        self.one(totals.unknown.processes)?;
        self.one(totals.unknown.cgroups)?;
        let audit = &totals.audit;
        for connections in [audit.connections, audit.agreeing, audit.exempt] {
            self.one(connections)?;
        }
        self.one(totals.drift.rx)?;
        self.one(totals.drift.tx)?;
        self.family(|page| {
            UNSEEN_NAMES.iter().try_for_each(|(name, _)| {
                let is_unseen = method.unseen.contains(name);
                page.sample(&[("path", name)], u8::from(is_unseen))
            })
        })?;
        self.one(totals.flows)?;
        self.one(totals.intervals)?;
        self.one(totals.elapsed.as_secs_f64())?;
        self.one(totals.ended.map_or(0.0, seconds))?;
        self.one(totals.drained_in.as_secs_f64())?;
        self.one(cost.cpu.as_secs_f64())?;
        self.family(|page| match cost.resident {
            Some(bytes) => page.sample(&[], bytes),
            None => Ok(()),
        })?;
        self.one(seconds(about.began))?;
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        match self.metrics.next() {
            None => Ok(()),
            Some(_) => Err(fmt::Error),
        }
    }

    /// Writes the next family, with one sample without labels.
    fn one(&mut self, value: impl fmt::Display) -> fmt::Result {
        self.family(|page| page.sample(&[], value))
    }

    /// Writes the next family, with the samples that `write` writes.
    fn family(&mut self, write: impl FnOnce(&mut SampleWriter<'_>) -> fmt::Result) -> fmt::Result {
        let Metric { name, kind, help } = *self.metrics.next().ok_or(fmt::Error)?;
        // OpenMetrics names the family without the suffix of its samples.
        let (family, kind_name) = match (self.format, kind) {
            (Format::Text, MetricKind::Info) => (name, "gauge"),
            (Format::OpenMetrics, MetricKind::Info) => (name.trim_end_matches("_info"), "info"),
            (Format::Text, MetricKind::Counter) => (name, "counter"),
            (Format::OpenMetrics, MetricKind::Counter) => {
                (name.trim_end_matches("_total"), "counter")
            }
            (_, MetricKind::Gauge) => (name, "gauge"),
        };
        writeln!(
            self.text,
            "# HELP {family} {help}\n# TYPE {family} {kind_name}"
        )?;
        let has_created = self.format == Format::OpenMetrics && kind == MetricKind::Counter;
        write(&mut SampleWriter {
            name,
            family: has_created.then_some(family),
            created: self.created,
            text: &mut self.text,
        })
    }
}

struct SampleWriter<'a> {
    name: &'static str,
    /// Name of the family if its samples have a time of creation.
    family: Option<&'static str>,
    created: f64,
    text: &'a mut String,
}

impl SampleWriter<'_> {
    fn sample(&mut self, labels: &[(&str, &str)], value: impl fmt::Display) -> fmt::Result {
        self.created_sample(labels, value, self.created)
    }

    /// Writes a sample that has counted since a time, in seconds since the Unix epoch.
    fn created_sample(
        &mut self,
        labels: &[(&str, &str)],
        value: impl fmt::Display,
        created: f64,
    ) -> fmt::Result {
        self.line(self.name, "", labels, value)?;
        match self.family {
            Some(family) => self.line(family, "_created", labels, format_args!("{created:.3}")),
            None => Ok(()),
        }
    }

    fn line(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &[(&str, &str)],
        value: impl fmt::Display,
    ) -> fmt::Result {
        self.text.push_str(name);
        self.text.push_str(suffix);
        for (n, (label, value)) in labels.iter().enumerate() {
            self.text.push(if n == 0 { '{' } else { ',' });
            write!(self.text, "{label}=\"")?;
            escape(value, self.text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        writeln!(self.text, " {value}")
    }
}

/// Appends the value of a label. Callers have sanitized untrusted text.
fn escape(value: &str, text: &mut String) {
    for c in sanitize(value).chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            c => text.push(c),
        }
    }
}

fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests;
