//! JSON without characters that drive a terminal; a program reads the same values from it.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use crate::text::sanitize::is_unsafe_char;

/// Returns a value as a line of JSON. Writing to memory does not fail.
pub fn line(value: &impl Serialize) -> String {
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, EscapingFormatter);
    let _ = value.serialize(&mut serializer);
    out.push(b'\n');
    String::from_utf8_lossy(&out).into_owned()
}

/// Writes compact JSON with `\u....` in place of each character that [`is_unsafe_char`] names. JSON
/// requires that only below U+0020, but terminals act on other characters too.
pub struct EscapingFormatter;

impl Formatter for EscapingFormatter {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        // Nearly all text has no such character; this test reads many bytes at a time.
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_unsafe_char(c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize as _;

    use super::*;

    fn json(text: &str) -> String {
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, EscapingFormatter);
        text.serialize(&mut serializer).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_could_drive_a_terminal_is_escaped() {
        assert_eq!(json("nginx: caf\u{e9}"), "\"nginx: caf\u{e9}\"");
        assert_eq!(json("\x1b[2J\x7f"), r#""\u001b[2J\u007f""#);
        assert_eq!(json("\u{9b}31m"), r#""\u009b31m""#);
        assert_eq!(json("\u{202e}\u{200b}"), r#""\u202e\u200b""#);
        assert_eq!(json("a\u{e0041}b"), r#""a\udb40\udc41b""#);
        assert_eq!(json("a\"\\\n"), r#""a\"\\\n""#);
    }

    proptest! {
        #[test]
        fn it_says_the_same(text in any::<String>()) {
            let json = json(&text);
            prop_assert!(!json.chars().any(is_unsafe_char), "{json}");
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
