//! Text that others chose, made harmless, and the columns that text takes.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

/// Columns a text takes on a terminal that draws every character by itself.
pub fn columns(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().filter_map(|c| c.width()).sum()
    }
}

/// A text filled up with spaces to so many columns.
pub fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    format!("{text}{:missing$}", "")
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

/// A message of several lines, each made harmless: the line ends in it are flowtop's own.
pub fn sanitize_lines(text: &str) -> String {
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(sanitize).collect();
    lines.join("\n")
}

/// Controls, direction marks, line separators, and what is drawn as nothing or onto its neighbour:
/// all that has no width by Unicode's tables, which terminals go by, and some that have one there.
pub fn is_hostile(c: char) -> bool {
    if matches!(c, ' '..='~') {
        return false;
    }
    c.width().unwrap_or(0) == 0
        || matches!(
            c as u32,
            0xad // soft hyphen
            | 0x61c // Arabic letter mark
            | 0x115f..=0x1160 // Hangul fillers
            | 0x180b..=0x180f
            | 0x1ab0..=0x1aff // blocks of combining marks, with room for more of them
            | 0x1dc0..=0x1dff
            | 0x200b..=0x200f // zero width, left-to-right and right-to-left marks
            | 0x2028..=0x202e // line separators, embeddings and overrides
            | 0x2060..=0x206f // joiner, isolates, deprecated formats
            | 0x20d0..=0x20ff
            | 0x2800 // blank Braille
            | 0x3164
            | 0xe000..=0xf8ff // private use: no font agrees
            | 0xfe20..=0xfe2f
            | 0xffa0
            | 0xfff0..=0xfffb
            | 0x13430..=0x1345f // joins hieroglyphs
            | 0x1d165..=0x1d182
            | 0x1f3fb..=0x1f3ff // skin tones: drawn into the emoji before, or beside it
            | 0xe0000.. // tags, selectors, supplementary private use
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

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
    fn messages_keep_their_lines_and_nothing_else_of_controls() {
        assert_eq!(
            sanitize_lines("one\n  two\x1b[2J\r\n"),
            "one\n  two\\x1b[2J\\r\n"
        );
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

    #[test]
    fn what_joins_its_neighbour_is_shown_by_its_number() {
        // Marks of any script, joiners, skin tones: stacked or hidden they would break a column.
        for (hostile, expected) in [
            ("\u{e19}\u{e49}\u{e49}", "\u{e19}\\u{e49}\\u{e49}"),
            ("\u{915}\u{94d}", "\u{915}\\u{94d}"),
            ("\u{1f44d}\u{1f3fd}", "\u{1f44d}\\u{1f3fd}"),
            ("a\u{fe0f}\u{200d}b", "a\\u{fe0f}\\u{200d}b"),
            ("\u{7f}\u{85}", "\\x7f\\x85"),
        ] {
            assert_eq!(sanitize(hostile), expected);
        }
    }

    #[test]
    fn columns_are_those_of_a_terminal() {
        for (text, expected) in [("", 0), ("nginx", 5), ("例", 2), ("café", 4), ("ｗx", 3)] {
            assert_eq!(columns(text), expected, "{text}");
        }
        assert_eq!(padded("例", 4), "例  ");
        assert_eq!(padded("longer", 4), "longer");
    }

    proptest! {
        /// Also when it is shown twice, cut anywhere, or stands beside other text.
        #[test]
        fn harmless_text_stays_harmless(text in any::<String>(), at in any::<prop::sample::Index>()) {
            let clean = sanitize(&text).into_owned();
            prop_assert!(!clean.chars().any(is_hostile));
            prop_assert_eq!(sanitize(&clean), clean.as_str());
            let cut: String = clean.chars().take(at.index(clean.len() + 1)).collect();
            prop_assert!(columns(&cut) <= columns(&clean));
            // Whoever counts by clusters of characters finds no more columns than this.
            prop_assert!(clean.width() <= columns(&clean));
            prop_assert_eq!(columns(&padded(&clean, 80)), columns(&clean).max(80));
        }
    }
}
