//! The caller of flowtop: the real user, or the user who called sudo, doas or pkexec.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rustix::process::{Gid, Uid, getgid, getgroups, getuid};

use crate::system::accounts::{Account, accounts, groups_with_member};

/// User and group that own no file, if `/etc/passwd` has no `nobody`: the kernel's overflow ids
/// (`/proc/sys/kernel/overflowuid`).
const OVERFLOW_ID: u32 = 65_534;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub uid: Uid,
    pub gid: Gid,
    pub groups: Vec<Gid>,
    /// Name by `/etc/passwd`; looked up only for a user who called sudo, doas or pkexec.
    pub name: Option<OsString>,
    /// Home folder by `/etc/passwd`; looked up only for a user who called sudo, doas or pkexec.
    pub home: Option<PathBuf>,
    /// Whether the environment, as sudo, doas or pkexec left it, names the caller.
    pub called_sudo: bool,
}

impl Caller {
    /// Determines the caller. Root trusts the variables of sudo, doas and pkexec, because these
    /// programs set them whatever their caller had there.
    ///
    /// # Errors
    /// When the environment names a user who cannot be made out.
    pub(super) fn find() -> Result<Self> {
        let uid = getuid();
        if uid.is_root()
            && let Some(caller) = Self::invoking(&Accounts::system(), |name| env::var_os(name))?
        {
            return Ok(caller);
        }
        Ok(Self {
            uid,
            gid: getgid(),
            groups: getgroups().context("read the groups")?,
            name: None,
            home: None,
            called_sudo: false,
        })
    }

    /// Whether the caller is root.
    pub const fn is_root(&self) -> bool {
        self.uid.is_root()
    }

    /// Returns the user who called sudo(8), pkexec(1) or doas(1), by the variables that these set.
    fn invoking(
        accounts: &Accounts,
        var: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Self>> {
        for name in ["SUDO_UID", "PKEXEC_UID", "DOAS_USER"] {
            let Some(value) = var(name).filter(|value| !value.is_empty()) else {
                continue;
            };
            let value = value.to_string_lossy().into_owned();
            let account = match name {
                "DOAS_USER" => accounts.by_name(value.as_bytes()),
                _ => accounts.by_uid(&value),
            };
            let uid = match (name, &account) {
                ("DOAS_USER", Some(account)) => account.uid,
                ("DOAS_USER", None) => {
                    bail!("{name} is \"{value}\", and /etc/passwd has no such user")
                }
                _ => match value.parse() {
                    Ok(uid) if uid != u32::MAX => uid,
                    _ => bail!("{name} is \"{value}\", which is not a user id: unset it"),
                },
            };
            if uid == 0 {
                return Ok(None);
            }
            let groups = account.as_ref().map(|account| accounts.groups_of(account));
            let group = var("SUDO_GID").filter(|_| name == "SUDO_UID");
            let group = group.and_then(|gid| gid.to_str()?.parse().ok());
            let group = group.or_else(|| account.and_then(|account| account.gid));
            return Ok(Some(Self {
                uid: Uid::from_raw(uid),
                gid: Gid::from_raw(group.unwrap_or(OVERFLOW_ID)),
                groups: groups.unwrap_or_default(),
                name: account
                    .as_ref()
                    .map(|account| OsStr::from_bytes(account.name).into()),
                home: account.and_then(|account| account.home).map(path),
                called_sudo: true,
            }));
        }
        Ok(None)
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}

/// Returns the user and group of `nobody`.
pub(super) fn nobody(accounts: &Accounts) -> (Uid, Gid) {
    let (uid, gid) = match accounts.by_name(b"nobody") {
        Some(account) if account.uid != 0 => (account.uid, account.gid.unwrap_or(OVERFLOW_ID)),
        _ => (OVERFLOW_ID, OVERFLOW_ID),
    };
    (Uid::from_raw(uid), Gid::from_raw(gid))
}

/// The texts of passwd(5) and group(5). Other sources of nsswitch.conf(5) could only add groups, so
/// without them the rights are less than the caller's, never more.
pub(super) struct Accounts {
    passwd: Vec<u8>,
    group: Vec<u8>,
}

impl Accounts {
    pub(super) fn system() -> Self {
        Self {
            passwd: fs::read("/etc/passwd").unwrap_or_default(),
            group: fs::read("/etc/group").unwrap_or_default(),
        }
    }

    fn by_name(&self, name: &[u8]) -> Option<Account<'_>> {
        self.whole().find(|account| account.name == name)
    }

    fn by_uid(&self, uid: &str) -> Option<Account<'_>> {
        let uid = uid.parse::<u32>().ok()?;
        self.whole().find(|account| account.uid == uid)
    }

    /// Accounts with a group and a home folder.
    fn whole(&self) -> impl Iterator<Item = Account<'_>> {
        accounts(&self.passwd).filter(|one| one.gid.is_some() && one.home.is_some())
    }

    /// Returns the user's primary group, and the groups that list the user as a member.
    fn groups_of(&self, account: &Account<'_>) -> Vec<Gid> {
        let named = groups_with_member(&self.group, account.name);
        let mut groups: Vec<u32> = account.gid.into_iter().chain(named).collect();
        groups.sort_unstable();
        groups.dedup();
        groups.into_iter().map(Gid::from_raw).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: b"root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001:Ann:/home/ann:/bin/sh\n\
                      nobody:x:65533:65532::/:/bin/false\n"
                .to_vec(),
            group: b"adm:x:4:bob,ann\nstaff:x:50:\nannex:x:51:annabel\n".to_vec(),
        }
    }

    fn invoking(vars: &[(&str, &str)]) -> Result<Option<Caller>> {
        Caller::invoking(&accounts(), |name| {
            let mut vars = vars.iter();
            vars.find(|var| var.0 == name).map(|var| var.1.into())
        })
    }

    #[test]
    fn the_caller_of_sudo_is_known_with_its_groups() {
        let caller = invoking(&[("SUDO_UID", "1000"), ("SUDO_GID", "1002")]);
        let caller = caller.unwrap().unwrap();
        assert_eq!((caller.uid.as_raw(), caller.gid.as_raw()), (1000, 1002));
        let groups: Vec<_> = caller.groups.iter().map(|group| group.as_raw()).collect();
        assert_eq!(groups, [4, 1001]);
        assert_eq!(caller.home, Some("/home/ann".into()));
        assert!(caller.called_sudo);
    }

    #[test]
    fn pkexec_and_doas_tell_the_caller_too() {
        for vars in [("PKEXEC_UID", "1000"), ("DOAS_USER", "ann")] {
            let caller = invoking(&[vars]).unwrap().unwrap();
            assert_eq!((caller.uid.as_raw(), caller.gid.as_raw()), (1000, 1001));
        }
    }

    #[test]
    fn a_caller_without_an_account_has_no_groups() {
        let caller = invoking(&[("SUDO_UID", "12345")]).unwrap().unwrap();
        assert_eq!(caller.gid.as_raw(), OVERFLOW_ID);
        assert_eq!(caller.groups, []);
    }

    #[test]
    fn root_who_calls_sudo_is_root() {
        assert_eq!(invoking(&[("SUDO_UID", "0")]).unwrap(), None);
        assert_eq!(invoking(&[("SUDO_UID", "")]).unwrap(), None);
        assert_eq!(invoking(&[]).unwrap(), None);
    }

    #[test]
    fn a_caller_who_cannot_be_made_out_is_refused() {
        for vars in [
            ("SUDO_UID", "x"),
            ("SUDO_UID", "4294967295"),
            ("DOAS_USER", "eve"),
        ] {
            assert!(invoking(&[vars]).is_err(), "{vars:?}");
        }
    }

    #[test]
    fn nobody_is_who_passwd_says() {
        let (uid, gid) = nobody(&accounts());
        assert_eq!((uid.as_raw(), gid.as_raw()), (65_533, 65_532));
        let empty = Accounts {
            passwd: Vec::new(),
            group: Vec::new(),
        };
        assert_eq!(nobody(&empty).0.as_raw(), OVERFLOW_ID);
    }
}
