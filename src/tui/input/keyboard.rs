//! Reads the keyboard in a thread of its own, and separates the keys from the terminal's reply to
//! the query for its background colour, which is sent at the start.
//!
//! The reply may come at any time, between keys, or never. Nothing waits for it and no key is lost:
//! the reader of keys also parses the reply.

#[cfg(any(test, fuzzing))]
pub mod fuzz;

use std::io;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use crossterm::event::{self, Event, KeyCode, KeyModifiers};
use rustix::io::Errno;

use crate::source::signals::job;
use crate::tui::draw::theme::Background;

/// The query for the terminal's background colour (xterm's OSC 11). A terminal without it ignores
/// the query.
pub const QUERY_BACKGROUND: &str = "\x1b]11;?\x1b\\";
/// Time after which keys that began like a reply and did not continue count as typed: a reply comes
/// in one piece.
const CONTINUATION_TIMEOUT: Duration = Duration::from_millis(100);
/// Head of a reply after its introducer, ESC ].
const HEAD: &str = "11;";
/// Maximum number of keys held back: longer than any reply, `11;rgba:ffff/ffff/ffff/ffff`.
const MAX_HELD: usize = 64;

/// Input from the terminal.
pub enum Input {
    /// A key, the mouse, a change of size; or the error that ends the input.
    Event(io::Result<Event>),
    /// The reply: the terminal's background.
    Background(Background),
}

/// Passes all input to `notify`, from a thread that ends with the process, because a read of the
/// keyboard cannot be cancelled. `notify` returns false when nobody receives any more.
///
/// # Errors
/// When the terminal cannot be read or the thread not be started.
pub fn read(notify: impl Fn(Input) -> bool + Send + 'static) -> Result<()> {
    // Registers changes of size from here on, before the first drawing, not only from the thread's
    // first read.
    event::poll(Duration::ZERO).context("read the keyboard")?;
    thread::Builder::new()
        .name("keyboard".to_owned())
        .spawn(move || {
            let mut answer = TerminalReply::default();
            loop {
                let next = match answer.is_begun() {
                    true => event::poll(CONTINUATION_TIMEOUT),
                    false => Ok(true),
                };
                let inputs = match next.and_then(|is_there| is_there.then(event::read).transpose())
                {
                    Ok(Some(event)) => answer.take(event),
                    Ok(None) => answer.give_up(),
                    // The terminal belongs to another job at the moment, whose keys must not be
                    // read.
                    Err(error) if is_not_ours(&error) => {
                        thread::sleep(CONTINUATION_TIMEOUT);
                        continue;
                    }
                    Err(error) => {
                        notify(Input::Event(Err(error)));
                        return;
                    }
                };
                for input in inputs {
                    if !notify(input) {
                        return;
                    }
                }
            }
        })
        .context("start a thread for the keyboard")?;
    Ok(())
}

/// With SIGTTIN held, the kernel refuses to read the terminal of another job by this error.
fn is_not_ours(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error()) && !job::is_in_foreground()
}

/// The parser of a reply: a reader of keys sees it as Alt-], the letters of its text, and Alt-\ or
/// Ctrl-G.
#[derive(Debug, Default)]
struct TerminalReply {
    /// Keys held so far; empty if no reply is under way.
    held: Vec<Event>,
    text: String,
    /// The terminator came in two parts, of which this was the first.
    ending: bool,
}

impl TerminalReply {
    fn is_begun(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns the input that an event completes.
    fn take(&mut self, event: Event) -> Vec<Input> {
        let Some((code, modifiers)) = pressed(&event) else {
            // Mouse and size events need no order relative to keys.
            return vec![Input::Event(Ok(event))];
        };
        if !self.is_begun() {
            if (code, modifiers) == (KeyCode::Char(']'), KeyModifiers::ALT) {
                self.held.push(event);
                return Vec::new();
            }
            return vec![Input::Event(Ok(event))];
        }
        let is_end = match (code, modifiers) {
            (KeyCode::Char('\\'), KeyModifiers::ALT)
            | (KeyCode::Char('g'), KeyModifiers::CONTROL) => true,
            (KeyCode::Char('\\'), _) => self.ending,
            _ => false,
        };
        if is_end && self.is_certain() {
            let found = background(&self.text[HEAD.len()..]);
            *self = Self::default();
            return found.map(Input::Background).into_iter().collect();
        }
        self.ending = code == KeyCode::Esc && self.is_certain();
        match code {
            KeyCode::Char(c) if modifiers.is_empty() => self.text.push(c),
            _ if self.ending => {}
            _ => return self.typed(event),
        }
        if !self.is_certain() && !HEAD.starts_with(&self.text) || self.held.len() > MAX_HELD {
            return self.typed(event);
        }
        self.held.push(event);
        Vec::new()
    }

    /// Whether the held keys are certainly a reply.
    fn is_certain(&self) -> bool {
        self.text.starts_with(HEAD)
    }

    /// Returns the held keys and this event as typed keys.
    fn typed(&mut self, event: Event) -> Vec<Input> {
        let mut inputs = self.give_up();
        inputs.extend(self.take(event));
        inputs
    }

    /// Ends a reply that does not continue. The certain beginning of a reply is dropped; other keys
    /// were typed.
    fn give_up(&mut self) -> Vec<Input> {
        let begun = std::mem::take(self);
        if begun.is_certain() {
            return Vec::new();
        }
        let keys = begun.held.into_iter();
        keys.map(|event| Input::Event(Ok(event))).collect()
    }
}

/// Returns the key of a press event. Capital letters carry shift in addition.
fn pressed(event: &Event) -> Option<(KeyCode, KeyModifiers)> {
    let key = event.as_key_press_event()?;
    Some((key.code, key.modifiers - KeyModifiers::SHIFT))
}

/// Parses `rgb:ffff/ffff/ffff`, with one to four digits a colour, and optional transparency.
fn background(text: &str) -> Option<Background> {
    let (kind, colours) = text.split_once(':')?;
    if !matches!(kind, "rgb" | "rgba") {
        return None;
    }
    let mut parts = colours.split('/').map(|digits| {
        // from_str_radix() accepts a sign and any number of leading zeros.
        if digits.len() > 4 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let value = u16::from_str_radix(digits, 16).ok()?;
        let most = (1_u32 << (4 * digits.len())) - 1;
        Some(f64::from(value) / f64::from(most))
    });
    let (red, green, blue) = (parts.next()??, parts.next()??, parts.next()??);
    // Perceived brightness (ITU-R BT.601).
    let bright = 0.299 * red + 0.587 * green + 0.114 * blue;
    Some(if bright > 0.5 {
        Background::Light
    } else {
        Background::Dark
    })
}

#[cfg(test)]
mod tests {
    use super::fuzz::keys;
    use super::*;

    /// The input in short: keys as they are, replies of the terminal in capitals.
    fn input_of(text: &str) -> String {
        let mut answer = TerminalReply::default();
        let mut inputs: Vec<Input> = keys(text)
            .into_iter()
            .flat_map(|key| answer.take(key))
            .collect();
        inputs.extend(answer.give_up());
        let short = inputs.into_iter().map(|input| match input {
            Input::Background(background) => format!("{background:?}").to_uppercase(),
            Input::Event(Ok(event)) => match pressed(&event) {
                Some((KeyCode::Char(c), KeyModifiers::NONE)) => c.to_string(),
                Some((code, modifiers)) => format!("<{modifiers}{code}>"),
                None => "?".to_owned(),
            },
            Input::Event(Err(_)) => "!".to_owned(),
        });
        short.collect()
    }

    #[test]
    fn an_answer_is_no_key_wherever_it_comes() {
        assert_eq!(
            input_of("gb\x1b]11;rgb:ffff/ffff/ffff\x1b\\gb"),
            "gbLIGHTgb"
        );
        assert_eq!(input_of("\x1b]11;rgb:1E1E/1E1E/2E2E\x07q"), "DARKq");
        assert_eq!(input_of("\x1b]11;rgba:ff/ff/ff/80\x1b\\"), "LIGHT");
        assert_eq!(
            input_of("\x1b]11;rgb:f/f/f|\\x"),
            "LIGHTx",
            "torn in its terminator"
        );
        assert_eq!(input_of("\x1b]11;?\x1b\\x"), "x", "nothing of use");
        assert_eq!(input_of("\x1b]11;rgb:12"), "", "the rest never came");
    }

    #[test]
    fn an_answer_that_does_not_end_holds_back_few_keys() {
        let escapes = "|".repeat(1000);
        let reported = input_of(&format!("\x1b]11;{escapes}q"));
        assert!(reported.ends_with("<Esc>q"), "{reported}");
        assert!(reported.matches("<Esc>").count() > 900, "{reported}");
    }

    #[test]
    fn what_is_typed_is_not_lost() {
        assert_eq!(input_of("\x1b]"), "<Alt]>");
        assert_eq!(input_of("\x1b]q"), "<Alt]>q");
        assert_eq!(input_of("\x1b]11q"), "<Alt]>11q");
        assert_eq!(input_of("\x1b]\x1b]11;rgb:0/0/0\x07"), "<Alt]>DARK");
        assert_eq!(input_of("]11;\x1bx\x07|"), "]11;<Altx><Controlg><Esc>");
    }

    #[test]
    fn bright_colours_are_light_and_nonsense_is_nothing() {
        assert_eq!(background("rgb:fdf6/e3e3/d5d5"), Some(Background::Light));
        assert_eq!(background("rgb:0000/2b2b/3636"), Some(Background::Dark));
        for text in [
            "",
            "rgb:000000000/0/0",
            "rgb:+f/f/f",
            "rgb:",
            "rgb:ff/ff",
            "rgb:x/y/z",
            "#ffffff",
            "rgb:fffff/0/0",
            "rgb:-1/0/0",
            "rgb://",
            "hsl:0/0/0",
        ] {
            assert_eq!(background(text), None, "{text}");
        }
    }
}
