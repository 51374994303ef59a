//! Sanitizes untrusted text, and measures the columns that text takes.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

/// Suffixes of flowtop's own name in rows of its own look-ups.
const OWN_FLOW: [&str; 2] = [" (own)", " (own look-ups)"];

/// The written form of a blank at an end of a name.
const BLANK: &str = "\\u{20}";

/// Returns the columns that a text takes on a terminal that draws every character by itself.
pub fn columns(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().filter_map(|c| c.width()).sum()
    }
}

/// Pads a text with spaces to `width` columns.
pub fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    format!("{text}{:missing$}", "")
}

/// Sanitizes untrusted text (process names, host names) for a terminal and for a column of text:
/// each character that moves the cursor, starts an escape sequence, changes the writing direction
/// or takes no space becomes a visible `\u{..}`.
pub fn sanitize(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe_char) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => clean.push_str("\\n"),
            '\r' => clean.push_str("\\r"),
            '\t' => clean.push_str("\\t"),
            c if (c as u32) < 0x100 && is_unsafe_char(c) => {
                let _ = write!(clean, "\\x{:02x}", c as u32);
            }
            c if is_unsafe_char(c) => {
                let _ = write!(clean, "\\u{{{:x}}}", c as u32);
            }
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// Sanitizes an untrusted name and makes blanks at its ends visible: a name of blanks would look
/// empty, and one with an outer blank would look like another name.
pub fn visible(name: &str) -> Cow<'_, str> {
    let clean = sanitize(name);
    let inner = clean.trim_matches(' ');
    if inner.len() == clean.len() {
        return clean;
    }
    let start = clean.len() - clean.trim_start_matches(' ').len();
    let end = clean.len() - start - inner.len();
    Cow::Owned(format!(
        "{}{inner}{}",
        BLANK.repeat(start),
        BLANK.repeat(end)
    ))
}

/// Sanitizes an untrusted name for columns in which flowtop also writes words of its own: like
/// [`visible`], with the first character as a number if the name equals one of these words.
pub fn name(name: &str) -> Cow<'_, str> {
    let clean = visible(name);
    if let Some(own) = OWN_FLOW.iter().find(|own| clean.ends_with(*own)) {
        let (name, own) = clean.split_at(clean.len() - own.len());
        return Cow::Owned(format!("{name}{}", own.replace('(', "\\u{28}")));
    }
    let mut chars = clean.chars();
    match chars.next() {
        Some(first) if is_own_word(&clean) => {
            Cow::Owned(format!("\\u{{{:x}}}{}", first as u32, chars.as_str()))
        }
        _ => clean,
    }
}

/// Returns the name of a process as shown; a kernel thread's is in brackets, which no other name
/// is.
pub fn process_name(process: &str, is_kernel_thread: bool) -> String {
    match is_kernel_thread {
        true => visible(process).into_owned(),
        false => name(process).into_owned(),
    }
}

/// Returns the name of a user, or the UID, which no shown name can equal.
pub fn user_name(user: Option<&str>, uid: u32) -> String {
    match user {
        Some(user) if user.bytes().all(|byte| byte.is_ascii_digit()) => user
            .bytes()
            .map(|byte| format!("\\u{{{byte:x}}}"))
            .collect(),
        Some(user) => name(user).into_owned(),
        None => uid.to_string(),
    }
}

/// Whether flowtop itself writes this text in a column of names.
fn is_own_word(text: &str) -> bool {
    const WORDS: [&str; 9] = [
        "*",
        "·",
        "-",
        "unknown",
        "other",
        "others",
        "untracked",
        "no container",
        "no unit",
    ];
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_id = ["pid ", "tid ", "uid "]
        .iter()
        .any(|word| text.strip_prefix(word).is_some_and(is_number));
    let is_kernel_thread = text.starts_with('[') && text.ends_with(']');
    let is_own_flow = OWN_FLOW.iter().any(|own| text.ends_with(own));
    WORDS.contains(&text) || is_id || is_kernel_thread || is_own_flow
}

/// Sanitizes each line of a message; the line ends are flowtop's own.
pub fn sanitize_lines(text: &str) -> String {
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(sanitize).collect();
    lines.join("\n")
}

/// Whether a character is unsafe to print: controls, direction marks, line separators, and
/// characters drawn as nothing or onto their neighbour: all without width in Unicode's tables,
/// which terminals use, and some with a width there.
pub fn is_unsafe_char(c: char) -> bool {
    if matches!(c, ' '..='~') {
        return false;
    }
    // The blank is the only white space that all terminals draw alike.
    c.is_whitespace()
        || c.width().unwrap_or(0) == 0
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
    fn a_name_of_blanks_is_visible() {
        for (blank, expected) in [
            (" ", "\\u{20}"),
            ("   ", "\\u{20}\\u{20}\\u{20}"),
            (" a b ", "\\u{20}a b\\u{20}"),
            ("\u{a0}", "\\xa0"),
            ("\u{3000} x", "\\u{3000} x"),
            ("", ""),
        ] {
            assert_eq!(visible(blank), expected);
            assert_eq!(visible(&visible(blank)), expected);
        }
        let blanks = (0..=0x0010_ffff)
            .filter_map(char::from_u32)
            .filter(|c| c.is_whitespace());
        for blank in blanks {
            assert!(!visible(&blank.to_string()).trim().is_empty(), "{blank:?}");
        }
    }

    #[test]
    fn no_name_passes_for_a_word_of_flowtop() {
        for word in [
            "*",
            "·",
            "unknown",
            "other",
            "untracked",
            "no unit",
            "no container",
            "pid 1",
            "uid 0",
            "[kworker/0:1]",
            "flowtop (own)",
        ] {
            for disguised in [word.to_owned(), format!(" {word}"), format!("{word} ")] {
                let name = name(&disguised);
                assert!(name.contains("\\u{"), "{name}");
                assert!(!is_own_word(&name), "{name}");
            }
        }
        for plain in [
            "nginx",
            "unknownd",
            "pid",
            "pid x",
            "other one",
            "[x",
            "x (own",
        ] {
            assert_eq!(name(plain), plain);
        }
        assert_eq!(process_name("[kworker/0:1]", true), "[kworker/0:1]");
        assert_eq!(process_name("[kworker/0:1]", false), "\\u{5b}kworker/0:1]");
        assert_eq!(user_name(Some("0"), 1000), "\\u{30}");
        assert_eq!(user_name(Some("web"), 1000), "web");
        assert_eq!(user_name(None, 1000), "1000");
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
            assert!(!clean.chars().any(is_unsafe_char), "{:x}", c as u32);
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
        /// Sanitized text stays sanitized when sanitized again, cut anywhere, or joined to other
        /// text.
        #[test]
        fn harmless_text_stays_harmless(text in any::<String>(), at in any::<prop::sample::Index>()) {
            let clean = sanitize(&text).into_owned();
            prop_assert!(!clean.chars().any(is_unsafe_char));
            prop_assert_eq!(sanitize(&clean), clean.as_str());
            let cut: String = clean.chars().take(at.index(clean.len() + 1)).collect();
            prop_assert!(columns(&cut) <= columns(&clean));
            // Counting by grapheme clusters gives no more columns.
            prop_assert!(clean.width() <= columns(&clean));
            prop_assert_eq!(columns(&padded(&clean, 80)), columns(&clean).max(80));
        }
    }
}
