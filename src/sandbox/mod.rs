//! Gives away what flowtop no longer needs once it counts: capabilities, the user root, new
//! privileges, most of the files (Landlock) and most of the system calls (seccomp). Knows nothing
//! of what is counted or shown.
//!
//! What remains: reading `/proc` and the few files that names are in, asking name servers, the
//! descriptors that are open already (the kernel side, the terminal, the output), and writing in
//! the folders that the caller names. A mistake in what reads strangers' texts has no more than
//! that.

pub mod capabilities;
mod files;
mod identity;
pub mod privilege;
mod probe;
mod syscalls;

use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rustix::process::{DumpableBehavior, Uid, geteuid, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, no_new_privs,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

pub use self::probe::{DeniedProbe, refusals};
use crate::sandbox::privilege::Identity;

/// Rights that a run needs besides counting and showing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Asking name servers, which takes TCP and UDP sockets.
    pub names: bool,
    /// Folders in which files may be created, written and renamed, at any depth.
    pub write: Vec<PathBuf>,
    /// A folder in which an open file without a name may get one.
    pub link: Option<PathBuf>,
    /// A process that may be signalled.
    pub signal: Option<u32>,
    /// Accepting connections on a listening socket.
    pub serve: bool,
    /// The only folders that may be read: no processes, and no names of users and hosts.
    pub read_only: Option<Vec<PathBuf>>,
}

/// The restrictions that hold from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// Capabilities that every thread keeps.
    pub capabilities: CapabilitySet,
    /// User id of every thread.
    pub user: u32,
    /// Number of the user whose files it opens, if that is another.
    pub files_of: Option<u32>,
    /// Whether executing a program can no longer give privileges.
    pub no_new_privs: bool,
    /// Version of Landlock that restricts files; `None` if the kernel has none.
    pub landlock: Option<i32>,
    /// Whether seccomp filters system calls.
    pub seccomp: bool,
    /// Whether the user chose to keep all privileges (`--no-sandbox`).
    pub declined: bool,
}

impl Confinement {
    /// Returns a confinement without restrictions.
    pub fn declined() -> Self {
        Self {
            capabilities: crate::sandbox::capabilities::held(),
            user: geteuid().as_raw(),
            files_of: None,
            no_new_privs: no_new_privs().unwrap_or(false),
            landlock: None,
            seccomp: false,
            declined: true,
        }
    }

    /// Whether all restrictions hold. One capability may remain: old kernels do not count without
    /// it.
    pub const fn is_whole(&self) -> bool {
        self.no_new_privs && self.landlock.is_some() && self.seccomp
    }

    /// Returns `confined`, `partly confined` or `not confined`.
    pub const fn as_str(&self) -> &'static str {
        match (self.is_whole(), self.declined) {
            (true, _) => "confined",
            (false, false) => "partly confined",
            (false, true) => "not confined",
        }
    }
}

/// Formats a sentence as in `confined: user 65534, no capabilities, no new privileges, files by
/// Landlock 6, system calls by seccomp`.
impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.as_str())?;
        if self.declined {
            let held = crate::sandbox::capabilities::names(self.capabilities);
            return write!(
                f,
                "--no-sandbox keeps all privileges (capabilities: {held})"
            );
        }
        write!(f, "user {}, ", self.user)?;
        if let Some(user) = self.files_of {
            write!(f, "files with the rights of user {user}, ")?;
        }
        if self.capabilities.is_empty() {
            f.write_str("no capabilities")?;
        } else {
            let left = crate::sandbox::capabilities::names(self.capabilities);
            write!(f, "{left} kept, without which nothing works here")?;
        }
        if self.no_new_privs {
            f.write_str(", no new privileges")?;
        }
        match self.landlock {
            Some(version) => write!(f, ", files by Landlock {version}")?,
            None => f.write_str(", no Landlock here")?,
        }
        match self.seccomp {
            true => f.write_str(", system calls by seccomp"),
            false => f.write_str(", no seccomp here"),
        }
    }
}

/// Whether the kernel can limit writing to some folders: without Landlock (before Linux 5.13) a
/// thread that may write in one folder may write wherever its user may.
pub fn restricts_folders() -> bool {
    files::is_known()
}

/// Becomes `identity`, and drops everything except what `allow` names. If `works` fails without
/// capabilities, keeps the first of the `last` capabilities with which it succeeds and that is
/// held. Calls `works` until it succeeds, and once more at the end. Restrictions that the kernel
/// does not have are left out, which the result reports.
///
/// Call it before other threads start: what is given away is the calling thread's, and of those
/// that it starts.
///
/// # Errors
/// When there are other threads, `works` fails, or the kernel refuses what it says it can.
pub fn confine(
    identity: &Identity,
    allow: &Allow,
    last: &[CapabilitySet],
    mut works: impl FnMut() -> Result<()>,
) -> Result<Confinement> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        bail!("confine one of {threads} threads: the others would keep their privileges");
    }
    // rustix reads the auxiliary vector once, from a file of /proc that belongs to root if the
    // process cannot be traced; this call reads it in time.
    rustix::param::clock_ticks_per_second();
    set_no_new_privs(true).context("give up new privileges")?;
    // While dropping is still allowed and the bounding set still exists: it limits what exec could
    // give back.
    for capability in CapabilitySet::all().iter() {
        let _ = remove_capability_from_bounding_set(capability);
    }
    let _ = clear_ambient_capability_set();
    identity::become_user(identity)?;
    // Forbids tracing and core dumps, because descriptors of the kernel side are open here. After
    // the change of the user, at which the kernel resets the flag (PR_SET_DUMPABLE, prctl(2)).
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("forbid to be traced")?;
    let user = geteuid();
    let files_of = identity.files_of.map(|(user, _)| user);
    let owner = files_of.unwrap_or(user);
    let landlock = files::restrict(allow, owner.is_root()).context("restrict files by Landlock")?;
    let capabilities = drop_capabilities(last, &mut works)?;
    let seccomp = syscalls::restrict(allow).context("restrict system calls by seccomp")?;
    works().context("go on without privileges")?;
    Ok(Confinement {
        capabilities,
        user: user.as_raw(),
        files_of: files_of.filter(|&of| of != user).map(Uid::as_raw),
        no_new_privs: no_new_privs().unwrap_or(false),
        landlock,
        seccomp,
        declined: false,
    })
}

/// Drops all capabilities, or all but the one without which `works` fails. Returns the remaining
/// set.
fn drop_capabilities(
    last: &[CapabilitySet],
    works: &mut dyn FnMut() -> Result<()>,
) -> Result<CapabilitySet> {
    let held = capabilities(None).context("read the capabilities")?;
    let set = |effective, permitted| {
        let inheritable = CapabilitySet::empty();
        let sets = CapabilitySets {
            effective,
            permitted,
            inheritable,
        };
        set_capabilities(None, sets).context("drop capabilities")
    };
    let none = CapabilitySet::empty();
    // A thread can make its permitted capabilities effective again.
    set(none, held.permitted)?;
    let Err(error) = works() else {
        return set(none, none).map(|()| none);
    };
    let mut last = last.iter().copied();
    let Some(needed) = last.find(|&one| held.permitted.contains(one)) else {
        return Err(error.context("go on without capabilities"));
    };
    set(needed, needed)?;
    works().with_context(|| {
        format!(
            "go on with {} alone",
            crate::sandbox::capabilities::names(needed)
        )
    })?;
    Ok(needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confined() -> Confinement {
        Confinement {
            capabilities: CapabilitySet::empty(),
            user: 1000,
            files_of: None,
            no_new_privs: true,
            landlock: Some(6),
            seccomp: true,
            declined: false,
        }
    }

    #[test]
    fn what_holds_is_said() {
        assert_eq!(
            confined().to_string(),
            "confined: user 1000, no capabilities, no new privileges, files by Landlock 6, system calls by seccomp"
        );
        let old = Confinement {
            capabilities: CapabilitySet::BPF,
            landlock: None,
            ..confined()
        };
        assert_eq!(
            old.to_string(),
            "partly confined: user 1000, CAP_BPF kept, without which nothing works here, no new \
             privileges, no Landlock here, system calls by seccomp"
        );
    }

    #[test]
    fn nothing_is_confined_when_that_was_asked_for() {
        let declined = Confinement::declined();
        assert_eq!(declined.as_str(), "not confined");
        assert!(declined.to_string().contains("--no-sandbox"));
    }

    #[test]
    fn one_thread_of_many_is_not_confined_alone() {
        // Tests run in threads.
        let identity = Identity {
            uid: geteuid(),
            gid: rustix::process::getegid(),
            groups: Vec::new(),
            files_of: None,
        };
        let error = confine(&identity, &Allow::default(), &[], || Ok(())).unwrap_err();
        assert!(error.to_string().contains("threads"), "{error}");
    }
}
