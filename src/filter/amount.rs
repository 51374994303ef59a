//! Amounts as people write them: `1MB`, `10MiB`, `8Mbit`, `1Gbps`.

use std::fmt;

/// Prefixes with their factors, longer ones first.
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
    /// Parses a number with a prefix of 1000 or 1024 and a unit, `B` or `bit`; without a unit it
    /// counts bytes. Where `rates` are meant, `/s` may follow the unit, and `bps` (bits) and `Bps`
    /// (bytes) are units as well. Fractions of a bit are dropped.
    ///
    /// # Errors
    /// What to write instead.
    pub(super) fn parse(text: &str, rates: bool) -> Result<Self, String> {
        let help = || {
            let rate = if rates {
                ", 8Mbit or 1Gbps"
            } else {
                " or 8Mbit"
            };
            format!("give a number with a unit, as in 500kB, 1MB, 10MiB{rate}")
        };
        let unit_at = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let is_bps = unit.ends_with("bps");
        let base = unit.strip_suffix("/s").or_else(|| {
            let base = unit.strip_suffix("ps");
            base.filter(|base| base.ends_with(['b', 'B']))
        });
        if base.is_some() && !rates {
            return Err(
                "this counts bytes, not bytes a second: give an amount as in 1MB".to_owned(),
            );
        }
        let unit = base.unwrap_or(unit);
        // In "1Gbps" `b` is a bit, as usual for line speeds.
        let bits = unit
            .strip_suffix("bits")
            .or_else(|| unit.strip_suffix("bit"))
            .or_else(|| unit.strip_suffix('b').filter(|_| is_bps));
        let (prefix, per_unit) = match (bits, unit.strip_suffix('B')) {
            (Some(prefix), _) => (prefix, 1),
            (None, Some(prefix)) => (prefix, 8),
            (None, None) if unit.ends_with('b') => {
                let prefix = &unit[..unit.len() - 1];
                return Err(format!(
                    "\"b\" is ambiguous: write {number}{prefix}bit or {number}{prefix}B"
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
            Err(_) => Err("give less than 2000000TB: no counter holds more".to_owned()),
        }
    }
}

/// Writes the amount in the largest unit of which it is a whole number.
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
            ("1Gbps", 1_000_000_000),
            ("10mbps", 10_000_000),
            ("10mbit", 10_000_000),
            ("1bps", 1),
            ("1kB/s", 8_000),
            ("8Mbit/s", 8_000_000),
            ("1MBps", 8_000_000),
            ("2Bps", 16),
        ] {
            assert_eq!(Amount::parse(text, true), Ok(Amount(bits)), "{text}");
        }
    }

    #[test]
    fn a_wrong_amount_is_rejected_with_the_fix() {
        for (text, fix) in [
            ("1Mb", "write 1Mbit or 1MB"),
            ("", "500kB"),
            ("MB", "500kB"),
            (".5MB", "500kB"),
            ("5.MB", "500kB"),
            ("1.2.3", "500kB"),
            ("1ps", "500kB"),
            ("1Mb/s", "write 1Mbit or 1MB"),
            ("1MBps/s", "500kB"),
            ("1XB", "500kB"),
            ("-1", "500kB"),
            ("1e9", "500kB"),
            ("999999999999999999999", "500kB"),
            ("9999999999999999999", "less than 2000000TB"),
            ("999999999999999999TB", "less than 2000000TB"),
        ] {
            let message = Amount::parse(text, true).unwrap_err();
            assert!(message.contains(fix), "{text}: {message}");
        }
        for rate in ["1MB/s", "1Mbps", "1MBps"] {
            let message = Amount::parse(rate, false).unwrap_err();
            assert!(message.contains("not bytes a second"), "{rate}: {message}");
        }
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
