//! Writes the 16 basic colours by their own sequences. Crossterm writes them as colours of the
//! palette of 256 (`38;5;3`), which a terminal with 16 colours may read as other attributes: 5 is
//! blinking, 3 is italic.

use std::io::{self, Write};

/// Buffers output until a flush, and then writes the basic colours by their own numbers (`33`,
/// ECMA-48).
#[derive(Debug)]
pub struct BasicColours<W> {
    inner: W,
    waiting: Vec<u8>,
    /// Whether colours are rewritten; not needed on a terminal with more than 16.
    is_on: bool,
}

impl<W: Write> BasicColours<W> {
    pub const fn new(inner: W, is_on: bool) -> Self {
        Self {
            inner,
            waiting: Vec::new(),
            is_on,
        }
    }
}

impl<W: Write> Write for BasicColours<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_on {
            return self.inner.write(bytes);
        }
        self.waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_on {
            let written = rewritten(&self.waiting);
            self.waiting.clear();
            self.inner.write_all(&written)?;
        }
        self.inner.flush()
    }
}

/// Returns a text with the first 16 colours of the palette written as basic ones, in sequences that
/// set colours.
fn rewritten(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.windows(2).position(|pair| pair == b"\x1b[") {
        let (before, sequence) = rest.split_at(start + 2);
        out.extend_from_slice(before);
        let is_parameter = |byte: &u8| byte.is_ascii_digit() || *byte == b';';
        let end = sequence
            .iter()
            .take_while(|&byte| is_parameter(byte))
            .count();
        let (parameters, after) = sequence.split_at(end);
        match after.first() {
            Some(b'm') => append_parameters(parameters, &mut out),
            _ => out.extend_from_slice(parameters),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}

fn append_parameters(parameters: &[u8], out: &mut Vec<u8>) {
    let mut words = parameters.split(|&byte| byte == b';');
    let mut is_first = true;
    while let Some(word) = words.next() {
        if !std::mem::take(&mut is_first) {
            out.push(b';');
        }
        let base = match word {
            b"38" => 30,
            b"48" => 40,
            _ => {
                out.extend_from_slice(word);
                continue;
            }
        };
        let mut ahead = words.clone();
        let number = match (ahead.next(), ahead.next()) {
            (Some(b"5"), Some(number)) => std::str::from_utf8(number).ok(),
            _ => None,
        };
        let colour = number.and_then(|number| number.parse::<u8>().ok());
        match colour.filter(|&colour| colour < 16) {
            Some(colour) => {
                let bright = if colour < 8 { 0 } else { 60 - 8 };
                out.extend_from_slice((base + bright + colour).to_string().as_bytes());
                words = ahead;
            }
            None => out.extend_from_slice(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_16_colours_are_written_by_their_own_numbers() {
        for (from, to) in [
            ("\x1b[38;5;3;49mx\x1b[39m", "\x1b[33;49mx\x1b[39m"),
            ("\x1b[1;48;5;12m", "\x1b[1;104m"),
            ("\x1b[38;5;8;48;5;0m", "\x1b[90;40m"),
            (
                "\x1b[38;5;200m\x1b[38;2;5;3;1m",
                "\x1b[38;5;200m\x1b[38;2;5;3;1m",
            ),
            ("38;5;3m \x1b[38;5;3H \x1b[", "38;5;3m \x1b[38;5;3H \x1b["),
            ("\x1b[m", "\x1b[m"),
        ] {
            assert_eq!(String::from_utf8(rewritten(from.as_bytes())).unwrap(), to);
        }
    }

    #[test]
    fn a_sequence_may_come_in_parts_and_nothing_is_kept_back_after_a_flush() {
        let mut parts = BasicColours::new(Vec::new(), true);
        for part in ["a\x1b[38;", "5;3", "mb"] {
            parts.write_all(part.as_bytes()).unwrap();
        }
        assert!(parts.inner.is_empty());
        parts.flush().unwrap();
        assert_eq!(parts.inner, b"a\x1b[33mb");
        let mut as_it_is = BasicColours::new(Vec::new(), false);
        as_it_is.write_all(b"\x1b[38;5;3m").unwrap();
        assert_eq!(as_it_is.inner, b"\x1b[38;5;3m");
    }
}
