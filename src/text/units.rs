//! Formats numbers for people: rates and sizes of fixed width in the selected units.

use std::str::FromStr;
use std::time::Duration;

pub use super::sanitize::{
    columns, is_unsafe_char, name, padded, process_name, sanitize, sanitize_lines, user_name,
    visible,
};

use crate::text::suggest::UnknownWord;

/// Maximum width of the string that [`rate`] returns, in columns.
pub const RATE_WIDTH: usize = Units::Bytes.rate_width();

/// Formats an amount of money in at most nine characters, with three significant digits, as in
/// `0.0912` or `12.3`.
pub fn money(units: f64) -> String {
    match units {
        units if units <= 0.0 || units.is_nan() => "0".to_owned(),
        units if units < 0.000_001 => "<0.000001".to_owned(),
        units if units < 99.95 => {
            let decimals = (2.0 - units.log10().floor()).clamp(1.0, 6.0);
            format!("{units:.0$}", decimals as usize)
        }
        units if units < 999_999.5 => format!("{units:.0}"),
        units if units < 999_950_000.0 => format!("{:.1}M", units / 1e6),
        units => format!("{:.0}M", units / 1e6),
    }
}

/// Formats a cost per interval as an amount of money an hour.
pub fn per_hour(units: f64, elapsed: Duration) -> String {
    match elapsed.as_secs_f64() {
        seconds if seconds > 0.0 => money(units * 3600.0 / seconds),
        _ => money(0.0),
    }
}

/// The units of rates and amounts in text for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Units {
    /// Bytes with decimal prefixes: k = 1000.
    #[default]
    Bytes,
    /// Bytes with binary prefixes: Ki = 1024.
    BytesIec,
    /// Bits with decimal prefixes: k = 1000.
    Bits,
    /// Bits with binary prefixes: Ki = 1024.
    BitsIec,
}

const SI: [&str; 8] = ["", "k", "M", "G", "T", "P", "E", "Z"];
const IEC: [&str; 8] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi"];
/// `9.99`, `99.9`, ` 999`, `1023`.
const NUMBER_WIDTH: usize = 4;

impl Units {
    /// Every choice, in the order in which one key steps through them.
    pub const ALL: [Self; 4] = [Self::Bytes, Self::BytesIec, Self::Bits, Self::BitsIec];

    /// The name on the command line and in the configuration file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::BytesIec => "bytes-iec",
            Self::Bits => "bits",
            Self::BitsIec => "bits-iec",
        }
    }

    /// Returns the next choice; the first after the last.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::Bytes => Self::BytesIec,
            Self::BytesIec => Self::Bits,
            Self::Bits => Self::BitsIec,
            Self::BitsIec => Self::Bytes,
        }
    }

    const fn is_iec(self) -> bool {
        matches!(self, Self::BytesIec | Self::BitsIec)
    }

    const fn per_byte(self) -> f64 {
        if self.is_bits() { 8.0 } else { 1.0 }
    }

    const fn is_bits(self) -> bool {
        matches!(self, Self::Bits | Self::BitsIec)
    }

    const fn symbol(self) -> &'static str {
        if self.is_bits() { "bit" } else { "B" }
    }

    /// Widest string that [`Self::amount`] and the part before `/s` of [`Self::rate`] have.
    pub const fn amount_width(self) -> usize {
        let prefix = if self.is_iec() { 2 } else { 1 };
        NUMBER_WIDTH + 1 + prefix + self.symbol().len()
    }

    /// Widest string that [`Self::rate`] returns, and the width of [`Self::rate_cell`].
    pub const fn rate_width(self) -> usize {
        self.amount_width() + "/s".len()
    }

    /// Formats bytes per second with three significant digits (IEC: up to 1023 before the next
    /// prefix), as in `12.4 MB/s`, `99.2 Mbit/s`; never wider than [`Self::rate_width`].
    pub fn rate(self, bytes_per_sec: f64) -> String {
        let (number, prefix) = self.scaled(bytes_per_sec);
        format!("{number} {prefix}{}/s", self.symbol())
    }

    /// An amount of bytes, as in `12.4 MB`; exact below the first prefix.
    pub fn amount(self, bytes: u64) -> String {
        let (number, prefix) = self.scaled(bytes as f64);
        if prefix.is_empty() {
            let exact = if self.is_bits() { bytes * 8 } else { bytes };
            return format!("{exact} {}", self.symbol());
        }
        format!("{number} {prefix}{}", self.symbol())
    }

    /// [`Self::rate`] for a column of numbers, right-aligned in [`Self::rate_width`] columns;
    /// `zero` stands for a rate of nothing, so that the rows that move bytes stand out.
    pub fn rate_cell(self, bytes_per_sec: f64, zero: &str) -> String {
        let width = self.rate_width();
        match bytes_per_sec > 0.0 {
            true => format!("{:>width$}", self.rate(bytes_per_sec)),
            false => format!("{zero:>width$}"),
        }
    }

    /// [`Self::amount`] for a column of numbers, right-aligned in [`Self::amount_width`] columns,
    /// with `zero` for nothing.
    pub fn amount_cell(self, bytes: u64, zero: &str) -> String {
        let width = self.amount_width();
        match bytes {
            0 => format!("{zero:>width$}"),
            bytes => format!("{:>width$}", self.amount(bytes)),
        }
    }

    /// Three significant digits, and the prefix that belongs to them.
    fn scaled(self, bytes: f64) -> (String, &'static str) {
        let mut value = bytes * self.per_byte();
        if value <= 0.0 || value.is_nan() {
            return ("0".to_owned(), "");
        }
        if value < 0.005 {
            // Not zero, but three digits would show zero.
            return ("<0.01".to_owned(), "");
        }
        // The smallest value that is rounded up to the next prefix.
        let (prefixes, base, limit) = if self.is_iec() {
            (&IEC, 1024.0, 1023.5)
        } else {
            (&SI, 1000.0, 999.5)
        };
        let mut prefix = 0;
        while value >= limit && prefix + 1 < prefixes.len() {
            value /= base;
            prefix += 1;
        }
        let decimals = if value < 9.995 {
            2
        } else if value < 99.95 {
            1
        } else {
            0
        };
        (format!("{value:.decimals$}"), prefixes[prefix])
    }
}

impl FromStr for Units {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.map(Self::as_str);
        let found = Self::ALL.into_iter().find(|units| units.as_str() == word);
        found.ok_or_else(|| UnknownWord::new("unit", word, &known))
    }
}

/// Bytes per second in the default units, as in `12.4 MB/s`; never wider than [`RATE_WIDTH`].
pub fn rate(bytes_per_sec: f64) -> String {
    Units::Bytes.rate(bytes_per_sec)
}

/// An amount of bytes in the default units, as in `12.4 MB`; exact below 1000.
pub fn bytes(amount: u64) -> String {
    Units::Bytes.amount(amount)
}

/// A short time in microseconds with three significant digits, as in `87 µs`, `12.3 ms`, `1.20 s`;
/// in ASCII `87 us`. At most seven columns up to an hour, longer than which no round trip is.
pub fn short_time(us: u64, ascii: bool) -> String {
    // The smallest values that are rounded up to the next unit.
    let (value, unit) = match us {
        0..1000 if ascii => return format!("{us} us"),
        0..1000 => return format!("{us} µs"),
        1000..999_500 => (us as f64 / 1e3, "ms"),
        _ => (us as f64 / 1e6, "s"),
    };
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// Formats a configured length of time, as in `500 ms`, `2.5 s`, `60 s`.
pub fn span(length: Duration) -> String {
    if length < Duration::from_secs(1) {
        format!("{} ms", length.as_micros() as f64 / 1000.0)
    } else {
        format!("{} s", length.as_secs_f64())
    }
}

/// Formats a number with its noun, as in `1 flow`, `3 flows`.
pub fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Returns a share in whole percent: 100 only if nothing is missing, 0 only if there is nothing.
pub fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 || part == 0 {
        return 0;
    }
    if part >= whole {
        return 100;
    }
    let rounded = (u128::from(part) * 200 + u128::from(whole)) / (u128::from(whole) * 2);
    rounded.clamp(1, 99) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_three_significant_digits_in_nine_characters() {
        for (units, text) in [
            (0.0, "0"),
            (0.000_000_4, "<0.000001"),
            (0.000_001_23, "0.000001"),
            (0.000_912, "0.000912"),
            (0.0912, "0.0912"),
            (0.5, "0.500"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (123.4, "123"),
            (123_456.7, "123457"),
            (1_234_567.0, "1.2M"),
        ] {
            assert_eq!(money(units), text);
        }
        let mut units = 1e-9;
        while units < 1e13 {
            assert!(money(units).len() <= 9, "{}", money(units));
            units *= 1.7;
        }
        assert_eq!(per_hour(0.001, Duration::from_secs(2)), "1.80");
        assert_eq!(per_hour(0.001, Duration::ZERO), "0");
    }

    #[test]
    fn short_times_have_three_digits_at_every_boundary() {
        for (us, expected) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1000, "1.00 ms"),
            (12_345, "12.3 ms"),
            (999_499, "999 ms"),
            (999_500, "1.00 s"),
            (u64::from(u32::MAX), "4295 s"),
        ] {
            assert_eq!(short_time(us, false), expected);
            assert_eq!(short_time(us, true), expected.replace('µ', "u"));
            assert!(columns(expected) <= 7);
        }
    }

    #[test]
    fn rates_have_three_digits_at_every_boundary() {
        for (value, expected) in [
            (0.0, "0 B/s"),
            (-1.0, "0 B/s"),
            (f64::NAN, "0 B/s"),
            (0.001, "<0.01 B/s"),
            (0.005, "0.01 B/s"),
            (0.5, "0.50 B/s"),
            (9.994, "9.99 B/s"),
            (9.995, "10.0 B/s"),
            (99.94, "99.9 B/s"),
            (99.95, "100 B/s"),
            (980.0, "980 B/s"),
            (999.4, "999 B/s"),
            (999.5, "1.00 kB/s"),
            (1000.0, "1.00 kB/s"),
            (9_994.0, "9.99 kB/s"),
            (9_995.0, "10.0 kB/s"),
            (99_949.0, "99.9 kB/s"),
            (99_950.0, "100 kB/s"),
            (999_499.0, "999 kB/s"),
            (999_500.0, "1.00 MB/s"),
            (12_400_000.0, "12.4 MB/s"),
            (999_500_000.0, "1.00 GB/s"),
            (1e12, "1.00 TB/s"),
            (1e15, "1.00 PB/s"),
            (1e18, "1.00 EB/s"),
            (1e21, "1.00 ZB/s"),
            (u64::MAX as f64 / 0.01, "1.84 ZB/s"),
        ] {
            assert_eq!(rate(value), expected, "{value}");
            assert!(rate(value).len() <= RATE_WIDTH, "{value}");
        }
    }

    #[test]
    fn iec_rates_keep_four_digits_up_to_1023() {
        for (value, expected) in [
            (0.0, "0 B/s"),
            (999.4, "999 B/s"),
            (999.5, "1000 B/s"),
            (1023.4, "1023 B/s"),
            (1023.5, "1.00 KiB/s"),
            (1024.0, "1.00 KiB/s"),
            (10_229.0, "9.99 KiB/s"),
            (10_235.0, "10.0 KiB/s"),
            (102_348.0, "99.9 KiB/s"),
            (102_349.0, "100 KiB/s"),
            (1_048_063.0, "1023 KiB/s"),
            (1_048_065.0, "1.00 MiB/s"),
            (1_099_511_627_776.0, "1.00 TiB/s"),
        ] {
            assert_eq!(Units::BytesIec.rate(value), expected, "{value}");
        }
    }

    #[test]
    fn bits_are_eight_to_the_byte() {
        assert_eq!(Units::Bits.rate(12_400_000.0), "99.2 Mbit/s");
        assert_eq!(Units::Bits.rate(0.0005), "<0.01 bit/s");
        assert_eq!(Units::BitsIec.rate(131_072.0), "1.00 Mibit/s");
        assert_eq!(Units::BitsIec.rate(127.9), "1023 bit/s");
        assert_eq!(Units::Bits.amount(1), "8 bit");
        assert_eq!(Units::Bits.amount(124), "992 bit");
        assert_eq!(Units::Bits.amount(125), "1.00 kbit");
        assert_eq!(Units::BitsIec.amount(127), "1016 bit");
        assert_eq!(Units::BitsIec.amount(128), "1.00 Kibit");
        assert_eq!(Units::Bits.amount(u64::MAX), "148 Ebit");
        assert_eq!(Units::BytesIec.amount(1023), "1023 B");
        assert_eq!(Units::BytesIec.amount(1024), "1.00 KiB");
    }

    #[test]
    fn every_unit_has_its_width_and_is_never_wider() {
        let widths = Units::ALL.map(Units::rate_width);
        assert_eq!(widths, [9, 10, 11, 12]);
        for units in Units::ALL {
            let mut value = 1e-4;
            while value < 2e21 {
                let text = units.rate(value);
                assert!(text.len() <= units.rate_width(), "{value}: {text}");
                let cell = units.rate_cell(value, "·");
                assert_eq!(cell.len(), units.rate_width(), "{value}: {cell:?}");
                assert_eq!(cell.trim_start(), text);
                let amount = units.amount(value as u64);
                assert!(amount.len() <= units.amount_width(), "{value}: {amount}");
                let cell = units.amount_cell(value as u64, "0");
                assert_eq!(cell.len(), units.amount_width(), "{value}: {cell:?}");
                value *= 1.0007;
            }
        }
    }

    #[test]
    fn rates_have_three_significant_digits() {
        for units in Units::ALL {
            let mut value = 0.01;
            while value < 1e18 {
                let text = units.rate(value);
                let number = text.split(' ').next().unwrap();
                let digits = number.trim_start_matches(['0', '.']).replace('.', "").len();
                let small = value * units.per_byte() < 1.0;
                assert!(
                    digits == 3 || digits == 4 && units.is_iec() || small,
                    "{text}"
                );
                value *= 1.013;
            }
        }
    }

    #[test]
    fn one_space_stands_between_number_and_unit_and_zero_is_a_mark() {
        let cells = [980.0, 9_800.0, 147e6].map(|value| Units::Bytes.rate_cell(value, "·"));
        assert_eq!(cells, ["  980 B/s", "9.80 kB/s", " 147 MB/s"]);
        assert_eq!(Units::Bytes.rate_cell(0.001, "·"), "<0.01 B/s");
        assert_eq!(Units::Bytes.rate_cell(0.0, "·"), "        ·");
        assert_eq!(Units::BytesIec.amount_cell(5, "·"), "     5 B");
        assert_eq!(Units::BytesIec.amount_cell(0, "0"), "       0");
    }

    #[test]
    fn every_unit_is_read_by_its_name() {
        let mut units = Units::default();
        for expected in Units::ALL {
            assert_eq!(units, expected);
            assert_eq!(units.as_str().parse(), Ok(units));
            units = units.next();
        }
        let message = "bit".parse::<Units>().unwrap_err().to_string();
        assert_eq!(message, "unknown unit \"bit\": did you mean \"bits\"?");
    }

    #[test]
    fn small_amounts_are_exact() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "1.00 kB");
        assert_eq!(bytes(u64::MAX), "18.4 EB");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(count(0, "flow"), "0 flows");
        assert_eq!(count(1, "flow"), "1 flow");
        assert_eq!(count(2, "flow"), "2 flows");
    }

    #[test]
    fn spans_are_written_as_they_were_asked_for() {
        assert_eq!(span(Duration::from_millis(10)), "10 ms");
        assert_eq!(span(Duration::from_millis(500)), "500 ms");
        assert_eq!(span(Duration::from_millis(1500)), "1.5 s");
        assert_eq!(span(Duration::from_secs(60)), "60 s");
    }

    #[test]
    fn shares_are_whole_only_when_they_are() {
        assert_eq!(percent(0, 0), 0);
        assert_eq!(percent(0, 10), 0);
        assert_eq!(percent(1, 1_000_000), 1);
        assert_eq!(percent(999_999, 1_000_000), 99);
        assert_eq!(percent(10, 10), 100);
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
    }
}
