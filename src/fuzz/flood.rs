//! Recordings that are much longer than what a fuzzer tries, to see what a replay of them
//! allocates.

use std::io::{self, Read};
use std::path::Path;

use crate::jsonl::reader::RecordingReader;

/// Bytes that are written out at most: more than twice the 64 MiB that a replay may take beside the
/// flows it holds. Tests look at the function, and not at memory.
const MAX_BYTES: usize = if cfg!(test) { 64 << 10 } else { 160 << 20 };
/// Stands between the parts of a template.
const NEXT: u8 = 0xff;
/// The number of the repetition, in a template.
const NUMBER: u8 = 1;
/// A text of 250 letters and one of 4000, in a template: a long user and a long cgroup.
const LETTERS: [(u8, usize); 2] = [(2, 250), (3, 4000)];

/// Any bytes are a template of a recording: two bytes of how often it is repeated, the part before
/// the repetitions, what is repeated, and the part behind. It is read to its end or its damage.
/// Returns how many lines it has at most; the fuzzer looks at the memory that was taken meanwhile.
pub fn flood(bytes: &[u8]) -> usize {
    let Some((times, template)) = bytes.split_first_chunk() else {
        return 0;
    };
    let mut parts = template.splitn(3, |&byte| byte == NEXT).map(<[u8]>::to_vec);
    let mut part = || parts.next().unwrap_or_default();
    let flood = Flood {
        begin: part(),
        again: part(),
        end: part(),
        times: u16::from_le_bytes(*times).into(),
        number: 0,
        piece: io::Cursor::default(),
        left: MAX_BYTES,
    };
    let lines = flood.lines();
    let Ok(reader) = RecordingReader::new(Path::new("flood"), Box::new(flood)) else {
        return lines;
    };
    // As a replay does: each interval is dropped before the next one is read, up to the damage.
    reader.map_while(Result::ok).for_each(drop);
    lines
}

/// The recording, written out while it is read: it must take no memory itself.
struct Flood {
    begin: Vec<u8>,
    again: Vec<u8>,
    end: Vec<u8>,
    times: usize,
    /// Pieces given so far.
    number: usize,
    piece: io::Cursor<Vec<u8>>,
    /// Bytes that may still be given.
    left: usize,
}

impl Flood {
    fn lines(&self) -> usize {
        let lines = |part: &[u8]| part.iter().filter(|&&byte| byte == b'\n').count();
        lines(&self.begin) + self.times * lines(&self.again) + lines(&self.end) + 1
    }

    /// The next piece, if there is one.
    fn next(&self) -> Option<Vec<u8>> {
        let part = match self.number {
            0 => &self.begin,
            number if number <= self.times => &self.again,
            number if number == self.times + 1 => &self.end,
            _ => return None,
        };
        let mut piece = Vec::with_capacity(part.len());
        for &byte in part {
            let letters = LETTERS.iter().find(|(letter, _)| *letter == byte);
            match letters {
                Some((_, length)) => piece.resize((piece.len() + length).min(self.left), b'a'),
                None if byte == NUMBER => piece.extend(self.number.to_string().into_bytes()),
                None => piece.push(byte),
            }
        }
        piece.truncate(self.left);
        Some(piece)
    }
}

impl Read for Flood {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() || self.left == 0 {
                return Ok(read);
            }
            let Some(piece) = self.next() else {
                return Ok(0);
            };
            self.number += 1;
            self.left -= piece.len();
            self.piece = io::Cursor::new(piece);
        }
    }
}
