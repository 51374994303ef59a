//! Numbers and foreign text for people: rates and sizes of fixed width, and text that cannot take
//! over a terminal. Knows no flows.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// Widest string [`rate`] returns, in columns.
pub const RATE_WIDTH: usize = 9;

const PREFIXES: [&str; 8] = ["", "k", "M", "G", "T", "P", "E", "Z"];

/// Bytes per second with three significant digits and an SI prefix (k = 1000), as in `12.4 MB/s`;
/// never wider than [`RATE_WIDTH`] columns.
pub fn rate(bytes_per_sec: f64) -> String {
    let mut text = scaled(bytes_per_sec);
    text.push_str("B/s");
    text
}

/// An amount of bytes, as in `12.4 MB`; exact below 1000.
pub fn bytes(amount: u64) -> String {
    if amount < 1000 {
        return format!("{amount} B");
    }
    let mut text = scaled(amount as f64);
    text.push('B');
    text
}

/// Three significant digits, a space and the prefix.
fn scaled(value: f64) -> String {
    if value <= 0.0 || value.is_nan() {
        return "0 ".to_owned();
    }
    if value < 0.005 {
        // Something moved: three digits would call it nothing.
        return "<0.01 ".to_owned();
    }
    let mut value = value;
    let mut prefix = 0;
    // 999.5 is the first value that rounds to four digits.
    while value >= 999.5 && prefix + 1 < PREFIXES.len() {
        value /= 1000.0;
        prefix += 1;
    }
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {}", PREFIXES[prefix])
}

/// A length of time as it was asked for, as in `500 ms`, `2.5 s`, `60 s`.
pub fn span(length: Duration) -> String {
    if length < Duration::from_secs(1) {
        format!("{} ms", length.as_micros() as f64 / 1000.0)
    } else {
        format!("{} s", length.as_secs_f64())
    }
}

/// A number of things, as in `1 flow`, `3 flows`.
pub fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// A share in whole percent that is 100 only when nothing is missing and 0 only when there is
/// nothing.
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

/// Text that others chose (process names, host names), made harmless for a terminal and for a
/// column of text: whatever moves the cursor, starts an escape sequence, turns the writing
/// direction or takes no space becomes a visible `\u{..}`.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => clean.push_str("\\n"),
            '\r' => clean.push_str("\\r"),
            '\t' => clean.push_str("\\t"),
            c if (c as u32) < 0x100 && is_hostile(c) => {
                let _ = write!(clean, "\\x{:02x}", c as u32);
            }
            c if is_hostile(c) => {
                let _ = write!(clean, "\\u{{{:x}}}", c as u32);
            }
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// Controls, direction marks, line separators, and what is drawn as nothing or onto its neighbour.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c as u32,
            0xad // soft hyphen
            | 0x300..=0x36f // combining marks, grapheme joiner
            | 0x483..=0x489
            | 0x61c // Arabic letter mark
            | 0x115f..=0x1160 // Hangul fillers
            | 0x17b4..=0x17b5
            | 0x180b..=0x180f
            | 0x1ab0..=0x1aff
            | 0x1dc0..=0x1dff
            | 0x200b..=0x200f // zero width, left-to-right and right-to-left marks
            | 0x2028..=0x202e // line separators, embeddings and overrides
            | 0x2060..=0x206f // joiner, isolates, deprecated formats
            | 0x20d0..=0x20ff
            | 0x2800 // blank Braille
            | 0x3164
            | 0xe000..=0xf8ff // private use: no font agrees
            | 0xfe00..=0xfe0f // variation selectors
            | 0xfe20..=0xfe2f
            | 0xfeff // byte order mark
            | 0xffa0
            | 0xfff0..=0xfffb
            | 0x110bd | 0x110cd
            | 0x13430..=0x1345f
            | 0x1bca0..=0x1bca3
            | 0x1d165..=0x1d182
            | 0xe0000.. // tags, selectors, supplementary private use
        )
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn no_rate_is_wider_than_its_column() {
        let mut value = 1e-4;
        while value < 2e21 {
            assert!(rate(value).len() <= RATE_WIDTH, "{value}: {}", rate(value));
            value *= 1.0007;
        }
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

    #[test]
    fn text_of_others_cannot_drive_the_terminal() {
        assert_eq!(sanitize("nginx: worker"), "nginx: worker");
        assert_eq!(sanitize("caf\u{e9}\u{4e16}"), "caf\u{e9}\u{4e16}");
        assert_eq!(
            sanitize("\u{1b}[2J\u{1b}]0;x\u{7}"),
            "\\x1b[2J\\x1b]0;x\\x07"
        );
        assert_eq!(sanitize("a\nb\tc\rd"), "a\\nb\\tc\\rd");
        assert_eq!(sanitize("\u{9b}31m"), "\\x9b31m");
        assert_eq!(sanitize("\u{202e}gpj.exe"), "\\u{202e}gpj.exe");
        assert_eq!(sanitize("a\u{200b}b\u{2066}c"), "a\\u{200b}b\\u{2066}c");
        assert_eq!(sanitize("e\u{301}"), "e\\u{301}");
        assert_eq!(sanitize("\u{e0041}"), "\\u{e0041}");
        assert_eq!(sanitize(&String::from_utf8_lossy(b"a\xffb")), "a\u{fffd}b");
    }

    #[test]
    fn sanitized_text_is_harmless_whatever_went_in() {
        for c in (0..=0x0010_ffff).filter_map(char::from_u32) {
            let text = c.to_string();
            let clean = sanitize(&text);
            assert!(!clean.chars().any(is_hostile), "{:x}", c as u32);
            assert!(!clean.is_empty());
        }
    }
}
