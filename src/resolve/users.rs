//! Turns user ids into names by `/etc/passwd` only: a name service may have to query another
//! machine, and a wrong name is worse than a number.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::watched_file::WatchedFile;
use crate::sync::lock;
use crate::system::accounts::accounts;

/// Longest file that is read, in bytes: it is read into memory whole.
const MAX_BYTES: u64 = 16 << 20;

/// Most names that are taken from recordings.
const MAX_NAMES: usize = 65_536;

/// Names by id as last read, shared by all clones.
#[derive(Clone, Debug, Default)]
pub(super) struct UserNames(Arc<Mutex<HashMap<u32, Arc<str>>>>);

impl UserNames {
    pub(super) fn get(&self, uid: u32) -> Option<Arc<str>> {
        lock(&self.0).get(&uid).map(Arc::clone)
    }

    pub(super) fn put(&self, uid: u32, name: Arc<str>) {
        let mut names = lock(&self.0);
        if names.len() < MAX_NAMES || names.contains_key(&uid) {
            names.insert(uid, name);
        }
    }
}

/// Names of users; reads the file again when it has changed.
#[derive(Debug)]
pub(super) struct Users {
    file: WatchedFile,
    names: UserNames,
}

impl Users {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            file: WatchedFile::new(path, MAX_BYTES),
            names: UserNames::default(),
        }
    }

    /// Reads the file if it has changed. If it is missing or unreadable, the known names stay.
    pub(super) fn refresh(&mut self) {
        let text = self.file.changed().filter(|text| !text.is_empty());
        if let Some(text) = text {
            *lock(&self.names.0) = parse(&text);
        }
    }

    pub(super) fn name(&self, uid: u32) -> Option<Arc<str>> {
        self.names.get(uid)
    }

    /// Returns the shared names.
    pub(super) fn names(&self) -> UserNames {
        self.names.clone()
    }
}

/// Parses the text of passwd(5) into names and ids of users, in its order.
pub fn users(text: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, u32)> {
    accounts(text).map(|account| (String::from_utf8_lossy(account.name), account.uid))
}

/// The first line of an id gives its name, as in getpwuid().
fn parse(text: &[u8]) -> HashMap<u32, Arc<str>> {
    let mut names = HashMap::new();
    for (name, uid) in users(text) {
        names.entry(uid).or_insert_with(|| Arc::from(&*name));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_are_found_by_id() {
        let names = parse(
            b"root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:/bin/sh\n\n# comment:x:7:7::/:\n\
              +nis:x:8:8::/:\nbroken\nweb:x:33:33:www\nhuge:x:4294967296:1::/:\n\
              last:x:4294967294:65534::/:/bin/false",
        );
        assert_eq!(&*names[&0], "root", "the first line counts");
        assert_eq!(&*names[&33], "web");
        assert_eq!(&*names[&4_294_967_294], "last");
        assert_eq!(names.len(), 3);
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_lost_one_leaves_what_was_known() {
        let folder = std::env::temp_dir().join(format!("flowtop-users-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("passwd");
        let mut users = Users::new(&path);
        users.refresh();
        assert_eq!(users.name(5), None);
        fs::write(&path, "one:x:5:5::/:/bin/sh\n").unwrap();
        users.refresh();
        assert_eq!(users.name(5).as_deref(), Some("one"));
        fs::write(&path, "longer:x:5:5::/:/bin/sh\n").unwrap();
        users.refresh();
        assert_eq!(users.name(5).as_deref(), Some("longer"));
        fs::remove_dir_all(&folder).unwrap();
        users.refresh();
        assert_eq!(users.name(5).as_deref(), Some("longer"));
    }
}
