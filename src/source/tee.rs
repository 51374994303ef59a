//! A source whose intervals an observer sees as well.

use std::fmt;

use anyhow::Result;

use super::Source;
use crate::model::interval::Interval;

/// Passes every interval to `see` as soon as it has ended, before a slow reader can merge it with
/// the next one. `see` must not block.
pub struct Tee<S, F> {
    source: S,
    see: F,
}

impl<S, F> Tee<S, F> {
    /// Passes intervals through unchanged; `see` observes each.
    pub const fn new(source: S, see: F) -> Self {
        Self { source, see }
    }
}

impl<S: fmt::Debug, F> fmt::Debug for Tee<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tee").field(&self.source).finish()
    }
}

impl<S: Source, F: FnMut(&Interval) + Send> Source for Tee<S, F> {
    fn end_interval(&mut self) -> Result<Interval> {
        let interval = self.source.end_interval()?;
        (self.see)(&interval);
        Ok(interval)
    }

    fn settle(&mut self) -> Result<()> {
        self.source.settle()
    }

    fn is_over(&self) -> bool {
        self.source.is_over()
    }
}
