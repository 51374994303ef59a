//! Properties that hold for any text as a configuration file.

use super::Settings;
use crate::text::sanitize::is_unsafe_char;

/// Any text parses or is refused, without a panic. Parsed settings parse to equal ones when written
/// out; the text of a refusal is sanitized.
///
/// # Panics
/// When that is not so.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Settings::parse(text) {
        Ok(settings) => {
            let written = settings.to_string();
            assert_eq!(
                Settings::parse(&written).as_ref(),
                Ok(&settings),
                "{written}"
            );
        }
        Err(wrong) => {
            let shown = wrong.to_string();
            assert!(!shown.chars().any(is_unsafe_char), "{shown:?}");
            assert!(wrong.line <= text.lines().count() + 1, "{shown}");
        }
    }
}
