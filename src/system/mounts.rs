//! Mounts of this process, as `/proc/self/mounts` lists them.

use std::fs;

/// A line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Where it is mounted, with spaces written as `\040`.
    pub path: &'a str,
    /// The type of the file system.
    pub kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    pub fn options(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.options.split(',')
    }
}

/// Returns the list of this process; empty if it cannot be read.
pub fn text() -> String {
    fs::read_to_string("/proc/self/mounts").unwrap_or_default()
}

/// Parses the list. A later mount lies over an earlier one at its path.
pub fn mounts(text: &str) -> impl DoubleEndedIterator<Item = Mount<'_>> {
    text.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some(Mount {
            path: words.next()?,
            kind: words.next()?,
            options: words.next()?,
        })
    })
}
