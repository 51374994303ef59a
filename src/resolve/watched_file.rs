//! Configuration files of the system, read again when they have changed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

/// A file, and its state when it was read.
#[derive(Debug)]
pub(super) struct WatchedFile {
    path: PathBuf,
    /// Longest file that is read, in bytes: it is read into memory whole.
    max_bytes: u64,
    /// `None` before the first reading.
    version: Option<Version>,
}

/// `None` where there is no such file.
type Version = Option<(u64, u64, u64, Option<SystemTime>)>;

impl WatchedFile {
    pub(super) fn new(path: impl Into<PathBuf>, max_bytes: u64) -> Self {
        Self {
            path: path.into(),
            max_bytes,
            version: None,
        }
    }

    /// Returns the contents if they have changed since the last call: empty if the file is missing
    /// or cannot be read.
    pub(super) fn changed(&mut self) -> Option<Vec<u8>> {
        let metadata = fs::metadata(&self.path)
            .ok()
            .filter(|metadata| metadata.is_file() && metadata.len() <= self.max_bytes);
        // A replaced file may have the age and length of the earlier one.
        let version = metadata.map(|file| {
            let changed = file.modified().ok();
            (file.dev(), file.ino(), file.len(), changed)
        });
        if self.version.as_ref() == Some(&version) {
            return None;
        }
        let text = match version {
            Some(_) => fs::read(&self.path).unwrap_or_default(),
            None => Vec::new(),
        };
        self.version = Some(version);
        Some(text)
    }
}

/// Returns the fields of a line, up to a comment.
pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b'#')
        .next()
        .unwrap_or_default()
        .split(u8::is_ascii_whitespace)
        .filter(|field| !field.is_empty())
}

/// The lines of a file.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_when_it_has_changed_only() {
        let folder = std::env::temp_dir().join(format!("flowtop-watched-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("hosts");
        let mut file = WatchedFile::new(&path, 10);
        assert_eq!(file.changed(), Some(Vec::new()), "there is none yet");
        assert_eq!(file.changed(), None);
        fs::write(&path, "one").unwrap();
        assert_eq!(file.changed(), Some(b"one".to_vec()));
        assert_eq!(file.changed(), None);
        // As long and as old as the one before.
        let times = fs::metadata(&path).unwrap().modified().unwrap();
        let other = folder.join("other");
        fs::write(&other, "two").unwrap();
        let opened = fs::File::options().write(true).open(&other).unwrap();
        opened.set_modified(times).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(file.changed(), Some(b"two".to_vec()));
        fs::write(&path, "far too long").unwrap();
        assert_eq!(file.changed(), Some(Vec::new()));
        fs::remove_dir_all(&folder).unwrap();
    }
}
