//! The file that keeps the texts of prompts from one run to the next. It is opened with the rights
//! of the caller before privileges are dropped; afterwards only the descriptor is used.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::geteuid;

/// Maximum size of the file in bytes: a longer one loses its first lines when it is opened.
const MAX_BYTES: u64 = 64 << 10;

/// The open file. Several flowtops may append to one.
#[derive(Clone, Debug)]
pub struct PromptFile {
    file: Arc<File>,
    is_new: bool,
}

impl PromptFile {
    /// Opens the file, and creates it and its folders for the caller only.
    ///
    /// # Errors
    /// When the file cannot be opened, or is another user's or no plain file.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        // Opening a pipe would wait for a reader, and links are not followed.
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::CLOEXEC
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::NOCTTY;
        let create = flags | OFlags::CREATE | OFlags::EXCL;
        let (file, is_new) = match open(path, flags, Mode::empty()) {
            Err(Errno::NOENT) => (open(path, create, Mode::RUSR | Mode::WUSR)?, true),
            file => (file?, false),
        };
        let file = File::from(file);
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.uid() != geteuid().as_raw() {
            return Err(io::Error::other("it is no plain file of the caller"));
        }
        Ok(Self {
            file: Arc::new(file),
            is_new,
        })
    }

    /// Whether there was no such file before, as at a user's first start.
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns the lines of the file, the latest ones of a long file, which is shortened to them.
    ///
    /// # Errors
    /// When the file cannot be read or shortened.
    pub fn lines(&self) -> io::Result<Vec<String>> {
        let mut file = &*self.file;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MAX_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(2 * MAX_BYTES).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        // The first line after the cut is incomplete.
        let cut = usize::from(length > MAX_BYTES);
        let lines: Vec<String> = text.lines().skip(cut).map(str::to_owned).collect();
        if cut > 0 {
            let half = &lines[lines.len() / 2..];
            file.set_len(0)?;
            file.write_all(format!("{}\n", half.join("\n")).as_bytes())?;
        }
        Ok(lines)
    }

    /// Appends a line in one write.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&self, line: &str) -> io::Result<()> {
        (&*self.file).write_all(format!("{line}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let name = format!("flowtop-prompts-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn lines_are_kept_for_the_next_run_and_are_the_callers_alone() {
        let folder = folder("kept");
        let path = folder.join("state/prompts");
        let first = PromptFile::open(&path).unwrap();
        assert!(first.is_new() && first.lines().unwrap().is_empty());
        first.append("/nginx").unwrap();
        first.append("fport 443").unwrap();
        let next = PromptFile::open(&path).unwrap();
        assert!(!next.is_new(), "of the first start alone");
        assert_eq!(next.lines().unwrap(), ["/nginx", "fport 443"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder.join("state"))), (0o600, 0o700));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_long_file_keeps_its_latest_lines() {
        let folder = folder("long");
        let path = folder.join("prompts");
        let file = PromptFile::open(&path).unwrap();
        for n in 0..20_000 {
            file.append(&format!("/{n}")).unwrap();
        }
        let lines = file.lines().unwrap();
        assert_eq!(lines.last().map(String::as_str), Some("/19999"));
        assert!(fs::metadata(&path).unwrap().len() < MAX_BYTES);
        file.append("/more").unwrap();
        let lines = PromptFile::open(&path).unwrap().lines().unwrap();
        assert_eq!(lines[lines.len() - 2..], ["/19999", "/more"]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_link_or_a_folder_in_its_place_is_refused() {
        let folder = folder("link");
        fs::create_dir_all(folder.join("dir")).unwrap();
        fs::write(folder.join("other"), "x").unwrap();
        std::os::unix::fs::symlink(folder.join("other"), folder.join("link")).unwrap();
        for name in ["dir", "link"] {
            assert!(PromptFile::open(&folder.join(name)).is_err(), "{name}");
        }
        assert_eq!(fs::read(folder.join("other")).unwrap(), b"x");
        fs::remove_dir_all(&folder).unwrap();
    }
}
