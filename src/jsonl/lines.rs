//! Lines of a file, plain or zstd, each no longer than is allowed.

use std::io::{self, BufRead, BufReader, Read};

use super::MAX_LINE;

/// What zstd frames begin with (RFC 8878, 3.1.1), and skippable ones after their first byte.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// Largest window of compressed data that is read, as its logarithm: 32 MiB, which is memory that a few
/// bytes can ask for. flowtop writes windows of 2 MiB, and `zstd -19` of 8 MiB.
const MAX_WINDOW_LOG: u32 = 25;
const CHUNK: usize = 256 << 10;

/// A line as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineState {
    /// Whole, without its end.
    Whole,
    /// The last one, which has no end.
    Open,
    /// Longer than any line is; only its beginning was kept.
    TooLong,
    End,
}

/// Lines, one after the other.
pub(crate) struct Lines {
    input: Box<dyn BufRead + Send>,
}

impl Lines {
    /// Plain or zstd, by how it begins.
    ///
    /// # Errors
    /// When the beginning cannot be read.
    pub(crate) fn new(input: impl Read + Send + 'static) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(CHUNK, input);
        let start = input.fill_buf()?;
        let skippable = start.get(1..4) == Some(&SKIPPABLE) && start[0] & 0xf0 == 0x50;
        let input: Box<dyn BufRead + Send> = if start.starts_with(&MAGIC) || skippable {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(MAX_WINDOW_LOG)?;
            Box::new(BufReader::with_capacity(CHUNK, decoder))
        } else {
            Box::new(input)
        };
        Ok(Self { input })
    }

    /// Puts the next line into `line`.
    ///
    /// # Errors
    /// When the input cannot be read, or is damaged as zstd.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<LineState> {
        line.clear();
        let most = MAX_LINE as u64 + 1;
        // Not the reader's own lines: those are as long as the file likes.
        self.input.by_ref().take(most).read_until(b'\n', line)?;
        Ok(match line.last() {
            None => LineState::End,
            Some(b'\n') => {
                line.pop();
                LineState::Whole
            }
            Some(_) if line.len() > MAX_LINE => LineState::TooLong,
            Some(_) => LineState::Open,
        })
    }
}
