//! Calendar periods in UTC, over which `flowtop usage` sums.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use crate::text::suggest::UnknownWord;
use crate::text::time::rfc3339;

/// A period of the calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CalendarPeriod {
    Hour,
    #[default]
    Day,
    Month,
    Year,
    /// All time in one sum.
    All,
}

impl CalendarPeriod {
    /// All periods, in the order of help.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Month, Self::Year, Self::All];

    /// The word on the command line and in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
            Self::All => "all",
        }
    }

    /// The period of a time, in the order of time as text: `2026-11-22T15`, `2026-11-22`,
    /// `2026-11`, `2026` or `all`.
    pub fn of(self, time: SystemTime) -> String {
        let length = match self {
            Self::Hour => 13,
            Self::Day => 10,
            Self::Month => 7,
            Self::Year => 4,
            Self::All => return "all".to_owned(),
        };
        let mut text = rfc3339(time);
        text.truncate(length);
        text
    }
}

impl fmt::Display for CalendarPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CalendarPeriod {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|it| it.as_str() == word);
        known.ok_or_else(|| UnknownWord::new("period", word, &Self::ALL.map(Self::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn periods_of_a_time_are_prefixes_of_its_text() {
        // 2026-11-22T15:00:00Z
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_359_600);
        let periods = CalendarPeriod::ALL.map(|period| period.of(time));
        assert_eq!(
            periods,
            ["2026-11-22T15", "2026-11-22", "2026-11", "2026", "all"]
        );
    }
}
