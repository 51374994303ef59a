//! Properties that hold for any keys and replies of a terminal.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use super::{Input, MAX_HELD, TerminalReply, pressed};

/// Any text is read as input from a terminal; a NUL is a pause, after which a reply does not
/// continue. Keys pass in order. None is lost unless something began like a reply, and the number
/// of keys held back is bounded.
///
/// # Panics
/// When that is not so.
pub fn keyboard(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (mut answer, mut typed, mut inputs) = (TerminalReply::default(), Vec::new(), Vec::new());
    for part in text.split('\0') {
        for key in keys(part) {
            typed.push(key.clone());
            inputs.extend(answer.take(key));
            assert!(answer.held.len() <= MAX_HELD + 1, "{}", answer.held.len());
        }
        inputs.extend(answer.give_up());
        assert!(!answer.is_begun());
    }
    let mut backgrounds = 0;
    let mut passed = Vec::new();
    for input in inputs {
        match input {
            Input::Background(_) => backgrounds += 1,
            Input::Event(event) => passed.extend(event.ok()),
        }
    }
    let begun = typed.windows(4).filter(|keys| is_head(keys)).count();
    assert!(backgrounds <= begun, "{backgrounds} of {begun}");
    if begun == 0 {
        assert_eq!(passed, typed);
    }
    let mut rest = typed.iter();
    for event in &passed {
        assert!(rest.any(|key| key == event), "{event:?}");
    }
}

/// Whether these keys are the head of a reply: Alt-] and `11;`.
fn is_head(keys: &[Event]) -> bool {
    let head = [
        (']', KeyModifiers::ALT),
        ('1', KeyModifiers::NONE),
        ('1', KeyModifiers::NONE),
        (';', KeyModifiers::NONE),
    ];
    let head = head.map(|(c, modifiers)| Some((KeyCode::Char(c), modifiers)));
    keys.iter().map(pressed).eq(head)
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Event {
    Event::Key(KeyEvent::new(code, modifiers))
}

/// Bytes as crossterm reads them: ESC is Alt with what follows. A `|` is the key Escape, as ESC at
/// the end of a read is.
pub(super) fn keys(text: &str) -> Vec<Event> {
    let mut alt = KeyModifiers::NONE;
    let mut events = Vec::new();
    for c in text.chars() {
        match c {
            '\x1b' => alt = KeyModifiers::ALT,
            '\x07' => events.push(key(KeyCode::Char('g'), KeyModifiers::CONTROL)),
            '|' => events.push(key(KeyCode::Esc, KeyModifiers::NONE)),
            c => {
                let shift = if c.is_uppercase() {
                    KeyModifiers::SHIFT
                } else {
                    alt
                };
                events.push(key(KeyCode::Char(c), shift | alt));
                alt = KeyModifiers::NONE;
            }
        }
    }
    events
}
