//! Temporary folders, removed when they are dropped.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A temporary folder of one test, removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// A folder that everyone may look into. `name` is unique within a test binary.
    pub fn new(name: &str) -> Self {
        Self::with_mode(name, 0o755)
    }

    pub fn with_mode(name: &str, mode: u32) -> Self {
        let path = std::env::temp_dir().join(format!("flowtop-{name}-{}", std::process::id()));
        // Of an earlier process with this number.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// The path of a file as an argument of a command.
    pub fn file(&self, name: &str) -> String {
        self.join(name).into_os_string().into_string().unwrap()
    }

    /// Puts a copy of the binary here, where a user without rights can reach it.
    pub fn copy_flowtop(&self) -> PathBuf {
        let copy = self.join("flowtop");
        copy_flowtop(&copy);
        copy
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Copies the binary with cp(1), because a child that another test starts meanwhile would inherit a
/// descriptor opened for writing here, and no program runs while it is open for writing.
pub fn copy_flowtop(to: &Path) {
    let mut copy = Command::new("cp");
    let copied = copy.arg(env!("CARGO_BIN_EXE_flowtop")).arg(to).status();
    assert!(copied.unwrap().success());
}
