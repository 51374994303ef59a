//! Sources of intervals. A source knows nothing of its readers.

pub mod collector;
pub mod exit_when;
pub mod filtered;
mod internal;
pub mod live;
mod own_addresses;
pub mod signals;
pub mod tee;

use std::time::Duration;

use anyhow::Result;

use crate::model::interval::Interval;

/// A stream of intervals.
pub trait Source: Send {
    /// Ends the current interval now and returns it. The caller decides when "now" is, so that a
    /// key press or a slow reader can never shorten or stretch what an interval claims to be.
    ///
    /// # Errors
    /// When the source can no longer be read; what was read before stays valid.
    fn end_interval(&mut self) -> Result<Interval>;

    /// Finishes starting the first interval, so that the caller need not wait for it. The collector
    /// calls it once, at its own start.
    ///
    /// # Errors
    /// When nothing can be counted.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Whether the last interval was the last of all.
    fn is_over(&self) -> bool {
        false
    }
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn end_interval(&mut self) -> Result<Interval> {
        (**self).end_interval()
    }

    fn settle(&mut self) -> Result<()> {
        (**self).settle()
    }

    fn is_over(&self) -> bool {
        (**self).is_over()
    }
}

/// Shortest accepted interval: a flip waits for running programs, which takes milliseconds.
pub const MIN_INTERVAL: Duration = Duration::from_millis(10);
pub const MAX_INTERVAL: Duration = Duration::from_secs(24 * 3600);
