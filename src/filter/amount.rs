//! Amounts as people write them: `1MB`, `10MiB`, `8Mbit`.

use std::fmt;

/// Prefixes with what they multiply by, larger ones first.
const PREFIXES: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("T", 1_000_000_000_000),
    ("Gi", 1 << 30),
    ("G", 1_000_000_000),
    ("Mi", 1 << 20),
    ("M", 1_000_000),
    ("Ki", 1 << 10),
    ("k", 1_000),
];

/// An amount, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amount(pub(super) u64);

impl Amount {
    /// Reads a number with a prefix of 1000 or 1024 and a unit, `B` or `bit`; without a unit it is
    /// bytes. `/s` at its end is the same where `rates` are meant. Fractions of a bit are dropped.
    ///
    /// # Errors
    /// What is wrong, with what to write instead.
    pub(super) fn parse(text: &str, rates: bool) -> Result<Self, String> {
        let help = || "give a number with a unit, as in 500kB, 1MB, 10MiB or 8Mbit".to_owned();
        let unit_at = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let unit = match unit.strip_suffix("/s") {
            Some(_) if !rates => return Err("bytes are of the interval: leave /s out".to_owned()),
            Some(unit) => unit,
            None => unit,
        };
        let bits = unit
            .strip_suffix("bits")
            .or_else(|| unit.strip_suffix("bit"));
        let (prefix, per_unit) = match (bits, unit.strip_suffix('B')) {
            (Some(prefix), _) => (prefix, 1),
            (None, Some(prefix)) => (prefix, 8),
            (None, None) if unit.ends_with('b') => {
                let prefix = &unit[..unit.len() - 1];
                return Err(format!(
                    "b may be bits or bytes: write {number}{prefix}bit or {number}{prefix}B"
                ));
            }
            (None, None) => (unit, 8),
        };
        let known = PREFIXES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(prefix));
        let factor = match known {
            Some((_, factor)) => *factor,
            None if prefix.is_empty() => 1,
            None => return Err(help()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{fraction}");
        if digits.len() > 20 || whole.is_empty() || number.ends_with('.') {
            return Err(help());
        }
        // 20 digits times 8 * 2^40 is less than 2^110.
        let digits: u128 = digits.parse().map_err(|_| help())?;
        let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(u32::MAX));
        let bits = digits * u128::from(factor) * per_unit / scale;
        match u64::try_from(bits) {
            Ok(bits) => Ok(Self(bits)),
            Err(_) => Err("this is more than can be counted: give less than 2000000TB".to_owned()),
        }
    }
}

/// In the largest unit of which it is a whole number.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0.is_multiple_of(8) {
            true => (self.0 / 8, "B"),
            false => (self.0, "bit"),
        };
        let whole = |(_, factor): &&(&str, u64)| number > 0 && number.is_multiple_of(*factor);
        match PREFIXES.iter().find(whole) {
            Some((prefix, factor)) => write!(f, "{}{prefix}{unit}", number / factor),
            None => write!(f, "{number}{unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_every_unit() {
        for (text, bits) in [
            ("0", 0),
            ("1", 8),
            ("1B", 8),
            ("1bit", 1),
            ("1MB", 8_000_000),
            ("1mB", 8_000_000),
            ("1M", 8_000_000),
            ("1KB", 8_000),
            ("10MiB", 83_886_080),
            ("8Mbit", 8_000_000),
            ("8Mibits", 8 << 20),
            ("1.5kB", 12_000),
            ("0.0001B", 0),
            ("1MB/s", 8_000_000),
            ("2GiB", 1 << 34),
            ("1T", 8_000_000_000_000),
        ] {
            assert_eq!(Amount::parse(text, true), Ok(Amount(bits)), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_what_to_write() {
        for (text, fix) in [
            ("1Mb", "write 1Mbit or 1MB"),
            ("", "500kB"),
            ("MB", "500kB"),
            (".5MB", "500kB"),
            ("5.MB", "500kB"),
            ("1.2.3", "500kB"),
            ("1MBps", "500kB"),
            ("1XB", "500kB"),
            ("-1", "500kB"),
            ("1e9", "500kB"),
            ("999999999999999999999", "500kB"),
            ("9999999999999999999", "more than can be counted"),
            ("999999999999999999TB", "more than can be counted"),
        ] {
            let message = Amount::parse(text, true).unwrap_err();
            assert!(message.contains(fix), "{text}: {message}");
        }
        let message = Amount::parse("1MB/s", false).unwrap_err();
        assert!(message.contains("leave /s out"), "{message}");
    }

    #[test]
    fn an_amount_is_written_as_it_is_read() {
        for text in ["0B", "1B", "999B", "1kB", "1500B", "10MiB", "1bit", "1MB"] {
            let amount = Amount::parse(text, false).unwrap();
            assert_eq!(amount.to_string(), text);
        }
        assert_eq!(Amount::parse("8Mbit", false).unwrap().to_string(), "1MB");
    }
}
