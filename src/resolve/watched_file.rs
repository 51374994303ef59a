//! Files of the system's configuration, read again when they have changed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

/// A file and what it looked like when it was read.
#[derive(Debug)]
pub(super) struct WatchedFile {
    path: PathBuf,
    /// A larger file is not read: it is read into memory whole.
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

    /// What the file holds, if that has changed since the last time: nothing where there is no such
    /// file, or none that can be read.
    pub(super) fn changed(&mut self) -> Option<Vec<u8>> {
        let metadata = fs::metadata(&self.path)
            .ok()
            .filter(|metadata| metadata.is_file() && metadata.len() <= self.max_bytes);
        // A file that is replaced may be as old and as long as the one before.
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

/// The fields of a line, up to a comment.
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
