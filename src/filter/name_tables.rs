//! Names of users and services, and their numbers.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::resolve::owners::{netns_number, users};
use crate::resolve::services;
use crate::text::suggest::nearest;

/// Maximum number of bytes that are read of a file.
const MAX_BYTES: u64 = 16 << 20;

/// Users of `passwd` and services of `services`, read at first use. Other name services are not
/// used, because they may query other machines.
#[derive(Debug, Default)]
pub struct NameTables {
    folder: Option<PathBuf>,
    users: OnceLock<Vec<(String, u32)>>,
    services: OnceLock<Vec<(String, u16)>>,
}

impl NameTables {
    /// Returns the tables of this machine, from `/etc`.
    pub fn system() -> Self {
        Self {
            folder: Some(PathBuf::from("/etc")),
            ..Self::default()
        }
    }

    /// Makes tables of these names only.
    pub fn new(users: &[(&str, u32)], services: &[(&str, u16)]) -> Self {
        let users = users.iter().map(|&(name, uid)| (name.to_owned(), uid));
        let services = services.iter().map(|&(name, port)| (name.to_owned(), port));
        Self {
            folder: None,
            users: OnceLock::from(users.collect::<Vec<_>>()),
            services: OnceLock::from(services.collect::<Vec<_>>()),
        }
    }

    /// Returns the ids of the users whose names fulfil `is_meant`.
    pub(super) fn uids(&self, is_meant: impl Fn(&str) -> bool) -> Vec<u32> {
        let users = self.users().iter();
        let meant = users.filter(|(name, _)| is_meant(name));
        let mut uids: Vec<u32> = meant.map(|&(_, uid)| uid).collect();
        uids.sort_unstable();
        uids.dedup();
        uids
    }

    /// Returns the inode number of a network namespace of this machine.
    pub(super) fn netns(&self, name: &str) -> Option<u32> {
        self.folder.as_ref()?;
        netns_number(name)
    }

    /// Returns the ports of a service, by its name or an alias.
    pub(super) fn ports(&self, service: &str) -> Vec<u16> {
        let services = self.services().iter();
        let meant = services.filter(|(name, _)| name == service);
        let mut ports: Vec<u16> = meant.map(|&(_, port)| port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Returns the user with the closest name.
    pub(super) fn near_user(&self, word: &str) -> Option<&str> {
        near(word, self.users().iter().map(|(name, _)| name))
    }

    /// Returns the service with the closest name.
    pub(super) fn near_service(&self, word: &str) -> Option<&str> {
        near(word, self.services().iter().map(|(name, _)| name))
    }

    fn users(&self) -> &[(String, u32)] {
        self.users.get_or_init(|| {
            let text = self.read("passwd");
            users(&text)
                .map(|(name, uid)| (name.into_owned(), uid))
                .collect()
        })
    }

    fn services(&self) -> &[(String, u16)] {
        self.services.get_or_init(|| {
            let found = ports_by_name(&self.read("services"));
            if found.is_empty() && self.folder.is_some() {
                // Small containers have no such file; rows show the built-in names there too.
                return ports_by_name(services::built_in_text().as_bytes());
            }
            found
        })
    }

    /// Reads a file; a missing file is empty.
    fn read(&self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(folder) = &self.folder
            && let Ok(file) = fs::File::open(folder.join(name))
        {
            // The part before an error is used.
            let _ = file.take(MAX_BYTES).read_to_end(&mut bytes);
        }
        bytes
    }
}

fn near<'a>(word: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    // Longer words have no similar ones, and comparing them takes time.
    let known: Vec<&str> = known.map(String::as_str).collect();
    (word.len() <= 32).then(|| nearest(word, &known)).flatten()
}

/// Returns each name and alias with its port.
fn ports_by_name(text: &[u8]) -> Vec<(String, u16)> {
    let mut found = Vec::new();
    for ((_, port), name, aliases) in services::entries(text) {
        let names = std::iter::once(name).chain(aliases);
        found.extend(names.map(|name| (name.to_owned(), port)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_services_are_read_as_the_system_has_them() {
        let folder = std::env::temp_dir().join(format!("flowtop-words-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n+nis:x:8:8::/:\nbroken\nweb:x:33:\n";
        fs::write(folder.join("passwd"), passwd).unwrap();
        let services =
            "# comment\nhttps 443/tcp\nhttps 443/udp # QUIC\ndomain\t53/udp dns\nsctp 9/sctp\n";
        fs::write(folder.join("services"), services).unwrap();
        let words = NameTables {
            folder: Some(folder.clone()),
            ..NameTables::default()
        };
        assert_eq!(words.uids(|name| name.ends_with("oor")), [0]);
        assert_eq!(words.uids(|_| true), [0, 33]);
        assert_eq!(words.ports("https"), [443]);
        assert_eq!(words.ports("dns"), [53]);
        assert!(words.ports("sctp").is_empty());
        assert_eq!(words.near_user("wbe"), Some("web"));
        assert_eq!(words.near_service("htps"), Some("https"));
        fs::remove_file(folder.join("services")).unwrap();
        let words = NameTables {
            folder: Some(folder.clone()),
            ..NameTables::default()
        };
        assert_eq!(words.ports("https"), [443], "built in");
        fs::remove_dir_all(&folder).unwrap();
        let none = NameTables::default();
        assert!(none.uids(|_| true).is_empty());
    }
}
