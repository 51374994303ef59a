//! Reads the lines of a file, plain or zstd, each up to a maximum length.

use std::io::{self, BufRead, BufReader, Read};

use super::MAX_LINE;

/// Magic numbers of zstd frames (RFC 8878, 3.1.1), and the last three bytes of those of skippable
/// frames.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// Maximum window of compressed data, as its logarithm: 32 MiB, because a few bytes of input can
/// request that much memory. flowtop writes windows of 2 MiB, and `zstd -19` of 8 MiB.
const MAX_WINDOW_LOG: u32 = 25;
const CHUNK: usize = 256 << 10;

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineState {
    /// A whole line, without its line end.
    Whole,
    /// The last line, which has no line end.
    Open,
    /// A line above the maximum length; only its beginning was kept.
    TooLong,
    End,
}

/// The lines of a file, in order.
pub(crate) struct Lines {
    input: Box<dyn BufRead + Send>,
}

impl Lines {
    /// Distinguishes plain text and zstd by the first bytes.
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

    /// Reads the next line into `line`.
    ///
    /// # Errors
    /// When the input cannot be read, or is damaged as zstd.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<LineState> {
        line.clear();
        let most = MAX_LINE as u64 + 1;
        // Not `BufRead::read_line`: the file decides how long those lines are.
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
