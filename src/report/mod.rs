//! Turns intervals, by flow or by group, into lines on a stream, each interval with one write as soon as it has ended.
//! Knows nothing of the kernel or of terminals.

pub mod json;
pub mod text;

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::collector::{Collector, Notice, Schedule};
use crate::config::{Config, Output};
use crate::names::Names;
use crate::owner::Owners;
use crate::rank::{Ranking, Tally};
use crate::signals::Watch;
use crate::source::Source;
use crate::table::Group;

/// A form of output for streams.
pub trait Report {
    /// Appends one interval to `out`, a row a flow.
    ///
    /// # Errors
    /// When something cannot be put into this form, which for the two forms here does not happen.
    fn append(&mut self, ranking: &Ranking, names: &Names, out: &mut Vec<u8>) -> Result<()>;

    /// The same, a row a group.
    ///
    /// # Errors
    /// The same.
    fn append_groups(
        &mut self,
        group: Group,
        ranking: &Ranking<Tally>,
        names: &Names,
        out: &mut Vec<u8>,
    ) -> Result<()>;
}

enum Event {
    Collector(Notice),
    Stop,
}

/// Writes intervals until the count is reached, a signal comes, the source fails or `out` does.
///
/// `signals` is `None` where someone else takes care of them.
///
/// # Errors
/// When the source fails or `out` cannot be written; a closed pipe is such an error, which
/// [`is_closed_pipe`] tells from others.
pub fn run(
    config: &Config,
    source: impl Source + 'static,
    signals: Option<Watch>,
    out: &mut impl Write,
) -> Result<()> {
    let (tell, events) = channel();
    if let Some(signals) = signals {
        let tell = tell.clone();
        signals
            .forward(move || drop(tell.send(Event::Stop)), || ())
            .context("watch for signals")?;
    }
    let names = if config.host_names {
        Names::system(|| ())?
    } else {
        Names::off()
    };
    let filter = config.filter.text();
    let owners = Arc::new(Owners::at_once());
    let facts = Arc::clone(&owners);
    let mut report: Box<dyn Report> = match config.output {
        Output::Json => Box::new(json::Json { filter, owners }),
        Output::Text | Output::Table => Box::new(text::Text {
            units: config.units,
            wide: config.wide,
            filter,
            owners,
            ..text::Text::default()
        }),
    };
    let schedule = Schedule {
        interval: config.interval,
        count: config.count,
    };
    let collector = Collector::start(source, schedule, move |notice| {
        drop(tell.send(Event::Collector(notice)));
    })?;

    let mut buffer = Vec::new();
    loop {
        let event = events.recv().context("wait for the collector")?;
        if let Some(interval) = collector.take() {
            buffer.clear();
            if config.group == Group::Flow {
                let ranking = Ranking::new(&interval, config.top_n);
                report.append(&ranking, &names, &mut buffer)?;
            } else {
                let group = config.group;
                let ranking = Ranking::grouped(&interval, group, &*facts, config.top_n);
                report.append_groups(group, &ranking, &names, &mut buffer)?;
            }
            out.write_all(&buffer)
                .and_then(|()| out.flush())
                .context("write the output")?;
        }
        match event {
            Event::Collector(Notice::Ready) => {}
            Event::Collector(Notice::Finished(outcome)) => return outcome,
            Event::Stop => collector.stop(),
        }
    }
}

/// Whether an error is only that nobody reads the output any more, as after `flowtop | head`.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// RFC 3339 in UTC with milliseconds, as in `2026-11-22T15:00:00.123Z`.
pub fn rfc3339(time: SystemTime) -> String {
    // A clock outside jiff's years -9999 to 9999 is shown as 1970.
    let timestamp = jiff::Timestamp::try_from(time).unwrap_or_default();
    format!("{timestamp:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_have_milliseconds_and_are_utc() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_359_600_123);
        assert_eq!(rfc3339(time), "2026-11-22T15:00:00.123Z");
        let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_359_600);
        assert_eq!(rfc3339(whole), "2026-11-22T15:00:00.000Z");
        let nearly = SystemTime::UNIX_EPOCH + Duration::from_nanos(999_999_999);
        assert_eq!(rfc3339(nearly), "1970-01-01T00:00:00.999Z");
    }

    #[test]
    fn only_a_closed_pipe_is_a_closed_pipe() {
        use std::io::{Error, ErrorKind};
        let wrap = |kind| anyhow::Error::new(Error::from(kind)).context("write the output");
        assert!(is_closed_pipe(&wrap(ErrorKind::BrokenPipe)));
        assert!(!is_closed_pipe(&wrap(ErrorKind::StorageFull)));
    }
}
