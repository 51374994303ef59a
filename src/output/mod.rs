//! Writes intervals to a stream, by flow or by group, each with one write as soon as it has ended.
//! Knows nothing of the kernel or of terminals.

pub mod csv;
pub mod diff;
mod json;
pub mod metrics;
pub mod run_summary;
pub mod text;
pub mod usage;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::channel;

use anyhow::{Context, Result};

use crate::jsonl::CorruptRecording;
use crate::jsonl::reader::RecordedInterval;
use crate::jsonl::writer::Json;
use crate::model::interval::{Interval, Machine, RecordingMetadata};
use crate::options::{Output, StreamOptions, TimingOptions};
use crate::resolve::names::Names;
use crate::resolve::owners::Owners;
use crate::source::Source;
use crate::source::collector::{Collector, CollectorEvent, Schedule};
use crate::source::signals::SignalHandler;
use crate::stats::ranking::{GroupTotals, Ranking, RowOrder};
use crate::text::sanitize::sanitize_lines;
use crate::view::Group;

/// An output format of a stream.
pub trait Report {
    /// Appends one interval to `out`, one row per flow.
    ///
    /// # Errors
    /// When something cannot be put into this form, which for the forms here does not happen.
    fn append(&mut self, ranking: &Ranking, names: &Names, out: &mut Vec<u8>) -> Result<()>;

    /// Appends one interval to `out`, one row per group.
    ///
    /// # Errors
    /// The same.
    fn append_groups(
        &mut self,
        group: Group,
        ranking: &Ranking<GroupTotals>,
        names: &Names,
        out: &mut Vec<u8>,
    ) -> Result<()>;

    /// Takes the metadata of a recording.
    fn learn(&mut self, metadata: &RecordingMetadata);

    /// Takes the notes on the intervals so far, which are written beside the data: filter, limits
    /// and losses.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }
}

enum StreamEvent {
    Collector(CollectorEvent),
    Stop,
}

/// Writes intervals to a stream.
pub struct Stream {
    /// The format; `None` writes nothing.
    report: Option<Box<dyn Report>>,
    names: Names,
    owners: Arc<Owners>,
    group: Group,
    top_n: Option<usize>,
    order: Option<RowOrder>,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Stream {
    /// Creates a stream of the format `output`; `filter` is the text of the filter that counts.
    ///
    /// # Errors
    /// When no thread can be started for names.
    pub fn new(
        output: Output,
        options: &StreamOptions,
        filter: Option<String>,
        machine: Machine,
        owners: Owners,
    ) -> Result<Self> {
        let names = if options.host_names {
            Names::system(|| ())?
        } else {
            Names::disabled()
        };
        let owners = Arc::new(owners);
        let json = Json {
            filter: filter.clone(),
            owners: Arc::clone(&owners),
            machine,
        };
        let report: Option<Box<dyn Report>> = match output {
            Output::Json => Some(Box::new(json)),
            Output::Csv => Some(Box::new(csv::Csv::new(json))),
            Output::Text | Output::Table => Some(Box::new(text::Text {
                units: options.units,
                wide: options.wide,
                filter,
                owners: Arc::clone(&owners),
                ..text::Text::default()
            })),
            Output::Quiet => None,
        };
        Ok(Self {
            report,
            names,
            owners,
            group: options.group,
            top_n: options.top_n,
            order: options.sort.map(|sort| RowOrder {
                sort,
                is_list: matches!(output, Output::Json | Output::Csv),
            }),
            buffer: Vec::new(),
        })
    }

    /// Writes intervals until the count is reached, a signal comes, the source ends or fails, or
    /// `out` fails.
    ///
    /// `signals` is `None` where someone else takes care of them.
    ///
    /// # Errors
    /// When the source fails or `out` cannot be written; a closed pipe is such an error, which
    /// [`is_closed_pipe`] distinguishes from others.
    pub fn run(
        mut self,
        timing: &TimingOptions,
        source: impl Source + 'static,
        signals: Option<SignalHandler>,
        out: &mut impl Write,
    ) -> Result<()> {
        let (sender, events) = channel();
        if let Some(signals) = signals {
            let sender = sender.clone();
            signals
                .forward(move || drop(sender.send(StreamEvent::Stop)), || ())
                .context("watch for signals")?;
        }
        let schedule = Schedule {
            interval: timing.interval,
            early: None,
            count: timing.count,
            duration: timing.duration,
        };
        let collector = Collector::start(source, schedule, move |notice| {
            drop(sender.send(StreamEvent::Collector(notice)));
        })?;
        loop {
            let event = events.recv().context("wait for the collector")?;
            if let Some(interval) = collector.take() {
                self.write(&interval, out)?;
            }
            match event {
                StreamEvent::Collector(CollectorEvent::Ready) => {}
                StreamEvent::Collector(CollectorEvent::Finished(outcome)) => return outcome,
                StreamEvent::Stop => collector.stop(),
            }
        }
    }

    /// Writes recorded intervals as fast as they can be read, until `go_on` returns false after
    /// one. `damaged` is called for each part that cannot be read.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn replay(
        mut self,
        recorded: impl Iterator<Item = Result<RecordedInterval, CorruptRecording>>,
        mut go_on: impl FnMut(&Interval) -> bool,
        mut damaged: impl FnMut(&CorruptRecording),
        out: &mut impl Write,
    ) -> Result<()> {
        self.names = self.names.of_a_recording();
        for frame in recorded {
            match frame {
                Ok(RecordedInterval {
                    interval, metadata, ..
                }) => {
                    for (inode, name) in &metadata.namespaces {
                        self.owners.learn_netns(*inode, Arc::clone(name));
                    }
                    for (uid, name) in &metadata.users {
                        self.owners.learn_user(*uid, Arc::clone(name));
                    }
                    for tgid in &metadata.own {
                        self.names.learn_own(*tgid);
                    }
                    if let Some(report) = &mut self.report {
                        report.learn(&metadata);
                    }
                    self.write(&interval, out)?;
                    if !go_on(&interval) {
                        break;
                    }
                }
                Err(corruption) => damaged(&corruption),
            }
        }
        Ok(())
    }

    fn write(&mut self, interval: &Interval, out: &mut impl Write) -> Result<()> {
        let Self {
            report,
            names,
            buffer,
            top_n,
            ..
        } = self;
        let Some(report) = report else {
            return Ok(());
        };
        buffer.clear();
        let (group, lookup, top_n) = (self.group, &*self.owners, *top_n);
        if group == Group::Flow {
            let ranking = match self.order {
                Some(order) => Ranking::sorted(interval, lookup, order, top_n),
                None => Ranking::new(interval, top_n),
            };
            report.append(&ranking, names, buffer)?;
        } else {
            let ranking = match self.order {
                Some(order) => Ranking::grouped_sorted(interval, group, lookup, order, top_n),
                None => Ranking::grouped(interval, group, lookup, top_n),
            };
            report.append_groups(group, &ranking, names, buffer)?;
        }
        for note in report.take_notes() {
            // A closed standard error is no reason to end.
            let _ = writeln!(io::stderr(), "flowtop: {}", sanitize_lines(&note));
        }
        out.write_all(buffer)
            .and_then(|()| out.flush())
            .context("write the output")
    }
}

/// Whether an error only means that the reader of the output has gone, as after `flowtop | head`.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_pipe_is_a_closed_pipe() {
        use std::io::{Error, ErrorKind};
        let wrap = |kind| anyhow::Error::new(Error::from(kind)).context("write the output");
        assert!(is_closed_pipe(&wrap(ErrorKind::BrokenPipe)));
        assert!(!is_closed_pipe(&wrap(ErrorKind::StorageFull)));
    }
}
