//! The vocabulary of tables of flows: columns, order, grouping, directions. Used by the command
//! line, the configuration file, rankings and drawing.

mod calendar;
mod columns;
mod groups;
mod presets;

use std::fmt;
use std::str::FromStr;

pub use self::calendar::CalendarPeriod;
pub use self::columns::{Column, ColumnSpec, Number, RowValues, SortBy, SortValue, Traffic};
pub use self::groups::{Group, GroupSpec, Prefix};
pub use self::presets::{Preset, PresetSpec};

use crate::model::flow::{Counters, Direction, Packets};
use crate::model::wire_estimate::Cost;
use crate::text::suggest::UnknownWord;

/// The directions whose bytes a table shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Directions {
    Rx,
    Tx,
    /// Both together, for one combined table.
    #[default]
    Both,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SortKey {
    /// The column whose values decide.
    pub column: Column,
    /// Largest, or last in the alphabet, first.
    pub descending: bool,
}

impl Directions {
    /// Returns the bytes moved in these directions.
    pub const fn bytes(self, counters: &Counters) -> u64 {
        match self {
            Self::Rx => counters.rx_bytes,
            Self::Tx => counters.tx_bytes,
            Self::Both => counters.rx_bytes.saturating_add(counters.tx_bytes),
        }
    }

    /// Returns the cost of the bytes moved in these directions, in units of money.
    pub fn cost(self, cost: Cost) -> f64 {
        match self {
            Self::Rx => cost.rx(),
            Self::Tx => cost.tx(),
            Self::Both => cost.both(),
        }
    }

    /// Returns the messages moved in these directions.
    pub const fn msgs(self, counters: &Counters) -> u64 {
        match self {
            Self::Rx => counters.rx_msgs,
            Self::Tx => counters.tx_msgs,
            Self::Both => counters.rx_msgs.saturating_add(counters.tx_msgs),
        }
    }

    /// Returns the packets moved in these directions.
    pub const fn packets(self, packets: &Packets) -> u64 {
        match self {
            Self::Rx => packets.rx,
            Self::Tx => packets.tx,
            Self::Both => packets.rx.saturating_add(packets.tx),
        }
    }
}

impl From<Direction> for Directions {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Rx => Self::Rx,
            Direction::Tx => Self::Tx,
        }
    }
}

impl SortKey {
    /// Returns the default order of a column: numbers largest first, text from A to Z, PIDs
    /// upwards.
    pub const fn by(column: Column) -> Self {
        Self {
            column,
            descending: column.is_number() && !matches!(column, Column::Pid),
        }
    }

    /// Returns the reverse order of the column.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            column: self.column,
            descending: !self.descending,
        }
    }
}

impl Default for SortKey {
    fn default() -> Self {
        Self::by(Column::Rate)
    }
}

/// Synonyms of column names: the words of their headings.
const COLUMN_SYNONYMS: [(&str, Column); 8] = [
    ("in", Column::Rx),
    ("out", Column::Tx),
    ("peer", Column::Remote),
    ("port", Column::Local),
    ("comm", Column::Process),
    ("program", Column::Process),
    ("rtt", Column::Srtt),
    ("retr", Column::Retransmits),
];

/// Parses a column's name, or its heading.
impl FromStr for Column {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.map(Self::as_str);
        let named = Self::ALL.into_iter().find(|column| column.as_str() == word);
        let headed = || {
            COLUMN_SYNONYMS
                .into_iter()
                .find(|(synonym, _)| *synonym == word)
        };
        let found = named.or_else(|| headed().map(|(_, column)| column));
        found.ok_or_else(|| UnknownWord::new("column", word, &known))
    }
}

/// Parses a column, with `:asc` or `:desc` for an order other than the default.
impl FromStr for SortKey {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let (column, order) = match word.split_once(':') {
            Some((column, order)) => (column, Some(order)),
            None => (word, None),
        };
        let column = column.parse()?;
        match order {
            None => Ok(Self::by(column)),
            Some(order @ ("asc" | "desc")) => Ok(Self {
                column,
                descending: order == "desc",
            }),
            Some(order) => Err(UnknownWord::new("order", order, &["asc", "desc"])),
        }
    }
}

impl fmt::Display for SortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.descending { "desc" } else { "asc" };
        if *self == Self::by(self.column) {
            f.write_str(self.column.as_str())
        } else {
            write!(f, "{}:{order}", self.column.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_word_is_read_as_what_it_is_written_for() {
        for column in Column::ALL {
            assert_eq!(column.as_str().parse(), Ok(column));
            for sort in [SortKey::by(column), SortKey::by(column).reversed()] {
                assert_eq!(sort.to_string().parse(), Ok(sort));
            }
        }
    }

    #[test]
    fn no_two_columns_share_a_name() {
        let mut names: HashSet<_> = Column::ALL.iter().map(|column| column.as_str()).collect();
        names.extend(COLUMN_SYNONYMS.map(|(synonym, _)| synonym));
        assert_eq!(names.len(), Column::ALL.len() + COLUMN_SYNONYMS.len());
        assert_eq!("rtt".parse(), Ok(Column::Srtt));
        assert_eq!(
            "peer:desc".parse(),
            Ok(SortKey::by(Column::Remote).reversed())
        );
    }

    #[test]
    fn numbers_come_largest_first_and_words_from_a() {
        assert_eq!(SortKey::default().to_string(), "rate");
        assert!(SortKey::by(Column::Total).descending);
        assert!(!SortKey::by(Column::Process).descending);
        assert!(!SortKey::by(Column::Pid).descending);
        assert_eq!("rate:asc".parse(), Ok(SortKey::default().reversed()));
        assert_eq!(SortKey::by(Column::Pid).reversed().to_string(), "pid:desc");
    }

    #[test]
    fn a_wrong_word_is_answered_with_the_nearest() {
        let message = |word: &str| word.parse::<Column>().unwrap_err().to_string();
        assert_eq!(
            message("reomte"),
            "unknown column \"reomte\": did you mean \"remote\"?"
        );
        assert!(message("PROCESS").contains("\"process\""));
        assert!(message("zzzzzz").contains("use process, pid, rate"));
        let order = "rate:up".parse::<SortKey>().unwrap_err().to_string();
        assert!(order.contains("use asc or desc"), "{order}");
    }
}
