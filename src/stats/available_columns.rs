//! Which optional fields ever had a value: columns without any are hidden.

use crate::model::flow::Flow;
use crate::view::Column;

/// Columns that ever had a value, one bit each. Once seen, it stays: columns do not come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AvailableColumns(u32);

const _: () = assert!(Column::ALL.len() <= u32::BITS as usize, "a bit a column");

impl AvailableColumns {
    /// Everything there can be.
    pub const ALL: Self = Self(u32::MAX);

    /// Takes the flows of an interval into account.
    pub(super) fn add(&mut self, flows: &[Flow]) {
        for column in Column::ALL {
            if let Some(is_known) = column.spec().is_known
                && !self.has(column)
                && flows.iter().any(is_known)
            {
                self.0 |= bit(column);
            }
        }
    }

    /// Whether there ever was anything to show in a column.
    pub const fn has(&self, column: Column) -> bool {
        column.spec().is_known.is_none() || self.0 & bit(column) != 0
    }
}

const fn bit(column: Column) -> u32 {
    1 << column as u32
}
