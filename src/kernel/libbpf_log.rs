//! The log of libbpf, kept for error messages.

use std::io::{Write as _, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use libbpf_rs::PrintLevel;

/// Longest log kept for an error message, in bytes.
const LOG_LIMIT: usize = 16 * 1024;
static LOG: Mutex<String> = Mutex::new(String::new());
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Keeps libbpf's messages for [`last_failure`]; prints them as they come when `verbose`.
pub(super) fn capture(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
    let level = if verbose {
        PrintLevel::Debug
    } else {
        PrintLevel::Warn
    };
    libbpf_rs::set_print(Some((level, keep)));
}

fn keep(_: PrintLevel, message: String) {
    if VERBOSE.load(Ordering::Relaxed) {
        // No macro that panics on a closed standard error: C calls this function, and no panic may
        // cross C.
        let _ = stderr().write_all(escape_controls(&message).as_bytes());
    }
    if let Ok(mut log) = LOG.lock()
        && log.len() < LOG_LIMIT
    {
        log.push_str(&message);
    }
}

/// Escapes control characters other than line ends and tabs, because messages contain names of the
/// kernel.
fn escape_controls(message: &str) -> String {
    let is_plain = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    let shown = message.chars().map(|c| match is_plain(c) {
        true => c.to_string(),
        false => c.escape_unicode().to_string(),
    });
    shown.collect()
}

/// Clears the log, so that [`last_failure`] belongs to the next attempt.
pub(super) fn clear() {
    if let Ok(mut log) = LOG.lock() {
        log.clear();
    }
}

/// Returns the last line that libbpf calls a failure, the most specific one.
pub(super) fn last_failure() -> Option<String> {
    let log = LOG.lock().map(|log| log.clone()).unwrap_or_default();
    let line = log.lines().rfind(|line| line.contains("failed"))?;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_libbpf_cannot_drive_the_terminal() {
        assert_eq!(
            escape_controls("libbpf: 'a\x1b[2J'\tb\u{9b}1m\n"),
            "libbpf: 'a\\u{1b}[2J'\tb\\u{9b}1m\n"
        );
    }
}
