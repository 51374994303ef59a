//! Names of network namespaces by ip-netns(8): the files of a folder, on each of which a namespace
//! is mounted.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// Folder in which ip-netns(8) names namespaces.
const FOLDER: &str = "/run/netns";
/// Age after which the folder is read again at the next request.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// Most names that are kept.
const MAX_NAMES: usize = 4096;

/// Names of network namespaces by inode number; by default those that are put in. Never print them
/// unsanitized.
#[derive(Clone, Debug, Default)]
pub(super) struct NetnsNames(Arc<Mutex<NetnsFolder>>);

#[derive(Debug, Default)]
struct NetnsFolder {
    /// `None` where names are put in.
    path: Option<PathBuf>,
    names: HashMap<u32, Arc<str>>,
    read_at: Option<Instant>,
}

impl NetnsNames {
    /// Names of this machine.
    pub(super) fn system() -> Self {
        Self::of(FOLDER)
    }

    fn of(path: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Mutex::new(NetnsFolder {
            path: Some(path.into()),
            ..NetnsFolder::default()
        })))
    }

    /// Returns the name of a namespace if it has one. Reads a folder in memory (tmpfs) at most
    /// every [`FRESH_FOR`].
    pub(super) fn get(&self, inode: u32) -> Option<Arc<str>> {
        let mut folder = lock(&self.0);
        let now = Instant::now();
        if folder.read_at.is_none_or(|at| now - at >= FRESH_FOR) {
            folder.read_at = Some(now);
            folder.read();
        }
        folder.names.get(&inode).map(Arc::clone)
    }

    /// Puts a name in, of which there are as many as of a folder at most.
    pub(super) fn put(&self, inode: u32, name: Arc<str>) {
        let names = &mut lock(&self.0).names;
        if names.len() < MAX_NAMES || names.contains_key(&inode) {
            names.insert(inode, name);
        }
    }
}

impl NetnsFolder {
    fn read(&mut self) {
        let Some(path) = &self.path else {
            return;
        };
        self.names.clear();
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        for entry in entries.take(MAX_NAMES) {
            // The metadata of the directory entry would be that of the file below the mount.
            let inode = fs::metadata(entry.path()).ok().map(|file| file.ino());
            if let Some(inode) = inode.and_then(|inode| u32::try_from(inode).ok()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                self.names.insert(inode, Arc::from(name));
            }
        }
    }
}

/// The inode number of the namespace of this machine with a name.
pub fn netns_number(name: &str) -> Option<u32> {
    let is_name = !name.is_empty() && !name.contains('/') && !matches!(name, "." | "..");
    let path = is_name.then(|| PathBuf::from(FOLDER).join(name))?;
    let inode = fs::metadata(path).ok()?.ino();
    u32::try_from(inode).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_the_name_of_the_file_that_it_is_mounted_on() {
        let folder = std::env::temp_dir().join(format!("flowtop-netns-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // A link leads to the same inode as a mount does.
        let own = "/proc/self/ns/net";
        let _ = fs::remove_file(folder.join("blue"));
        std::os::unix::fs::symlink(own, folder.join("blue")).unwrap();
        let inode = u32::try_from(fs::metadata(own).unwrap().ino()).unwrap();
        let names = NetnsNames::of(&folder);
        assert_eq!(names.get(inode).as_deref(), Some("blue"));
        assert_eq!(names.get(inode + 1), None);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(
            names.get(inode).as_deref(),
            Some("blue"),
            "it is not read every time"
        );
        assert_eq!(NetnsNames::of(&folder).get(inode), None);
        let put = NetnsNames::default();
        assert_eq!(put.get(inode), None);
        put.put(inode, "red".into());
        assert_eq!(put.get(inode).as_deref(), Some("red"));
        assert_eq!(netns_number("../netns"), None);
    }
}
