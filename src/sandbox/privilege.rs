//! The privilege that flowtop is lent, kept apart from the rights of whoever started it.
//!
//! File capabilities, a set-user-ID bit and sudo lend privilege to flowtop, not to the person who
//! starts it. So the first act of `main` is [`Privilege::lower`]: from then on every path is opened
//! with the rights of the [`Caller`], whether it comes from an argument, the environment or a
//! configuration file. The privilege is raised to load and attach the kernel side, which opens no
//! path that anybody names, and to give it away for good.
//!
//! User and group ids are a thread's own in Linux: lower before other threads start, so that all
//! inherit what holds then.

mod caller;

use std::ffi::OsString;

use anyhow::{Context, Result};
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_ambient_set, set_capabilities,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

pub use self::caller::Caller;
use self::caller::{Accounts, nobody};

/// The ids that every thread has from the moment it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub uid: Uid,
    pub gid: Gid,
    pub groups: Vec<Gid>,
    /// User and group that the kernel checks at files (fsuid and fsgid, credentials(7)); `None`:
    /// `uid` and `gid`. They open what they own, and give no other right: not to signal, to trace
    /// or to change ids.
    pub files_of: Option<(Uid, Gid)>,
}

/// The privilege of this process, and the caller whose rights are kept apart from it.
#[derive(Debug)]
pub struct Privilege {
    caller: Caller,
    /// Effective user id at the start, with the privilege.
    lent_to: Uid,
    /// Whether capabilities come from the file, or from its set-user-ID bit, and not from the
    /// caller.
    is_of_the_file: bool,
}

impl Privilege {
    /// Lowers the rights of this process to those of its caller. Call it first, while there is one
    /// thread.
    ///
    /// # Errors
    /// When the caller is unknown, or the kernel refuses: then nothing may be opened.
    pub fn lower() -> Result<Self> {
        let caller = Caller::find()?;
        let privilege = Self {
            is_of_the_file: !caller.is_root() && !caller.called_sudo && has_more_than_inherited()?,
            lent_to: geteuid(),
            caller,
        };
        if privilege.is_apart() {
            if privilege.caller.called_sudo {
                set_thread_groups(&privilege.caller.groups).with_context(|| privilege.cannot())?;
            }
            set_thread_res_gid(None, privilege.caller.gid, None)
                .with_context(|| privilege.cannot())?;
        }
        privilege.lower_again()?;
        Ok(privilege)
    }

    /// Whether flowtop holds a privilege that its caller does not have.
    fn is_apart(&self) -> bool {
        self.lent_to.is_root() && !self.caller.is_root()
    }

    fn cannot(&self) -> String {
        format!(
            "take the rights of user {}, who started flowtop",
            self.caller.uid.as_raw()
        )
    }

    fn lower_again(&self) -> Result<()> {
        if self.is_apart() {
            set_thread_res_uid(None, self.caller.uid, None).with_context(|| self.cannot())?;
        }
        if !self.caller.is_root() {
            // The kernel has already cleared the effective capabilities with the change of the
            // effective user (capabilities(7)).
            set_effective(CapabilitySet::empty())?;
        }
        Ok(())
    }

    /// Raises the privilege again. Only for code that opens no path which anybody names.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn raise(&self) -> Result<()> {
        if self.is_apart() {
            set_thread_res_uid(None, self.lent_to, None).context("take the privilege back")?;
        }
        if !self.caller.is_root() {
            let permitted = capabilities(None)
                .context("read the capabilities")?
                .permitted;
            set_effective(permitted)?;
        }
        Ok(())
    }

    /// Runs `work` with the privilege raised, and lowers it again.
    ///
    /// # Errors
    /// Those of the work, and when the kernel refuses one of the changes.
    pub fn raised<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.raise()?;
        let outcome = work();
        self.lower_again()?;
        outcome
    }

    /// Drops the lent privilege for good: this process then has no right that its caller does not
    /// have.
    ///
    /// # Errors
    /// When the kernel refuses: then nothing of the caller's may run.
    pub fn hand_back(&self) -> Result<()> {
        let caller = &self.caller;
        // The program that made this process may have lowered the effective user since.
        let is_apart = caller.called_sudo || self.is_apart();
        self.raise()?;
        if is_apart {
            if caller.called_sudo {
                set_thread_groups(&caller.groups).with_context(|| self.cannot())?;
            }
            set_thread_res_gid(caller.gid, caller.gid, caller.gid)
                .with_context(|| self.cannot())?;
            set_thread_res_uid(caller.uid, caller.uid, caller.uid)
                .with_context(|| self.cannot())?;
        }
        if is_apart || self.is_of_the_file {
            let held = capabilities(None).context("read the capabilities")?;
            let none = CapabilitySet::empty();
            let sets = CapabilitySets {
                effective: none,
                permitted: none,
                ..held
            };
            set_capabilities(None, sets).context("drop capabilities")?;
        }
        Ok(())
    }

    /// Returns the variables by which sudo, doas or pkexec name the user who called them, if they
    /// left root's ids; `None` for others.
    pub fn invoking_account(&self) -> Option<Vec<(&'static str, OsString)>> {
        let caller = &self.caller;
        caller.called_sudo.then(|| {
            let home = caller.home.clone().map(|home| ("HOME", home.into()));
            let name = caller
                .name
                .iter()
                .flat_map(|name| [("USER", name.clone()), ("LOGNAME", name.clone())]);
            home.into_iter().chain(name).collect()
        })
    }

    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether the privilege comes from the file's capabilities or its set-user-ID bit: everyone
    /// who may run the file has it then, and must not keep it.
    pub const fn is_of_the_file(&self) -> bool {
        self.is_of_the_file
    }

    /// Returns the ids to count with. Root becomes `nobody`. A run that still makes files in a
    /// folder opens them with the caller's rights, which the folder is open to, and keeps the
    /// caller's groups; any other run needs no right to any file.
    pub fn identity(&self, makes_files: bool) -> Identity {
        let caller = &self.caller;
        let (uid, gid) = match caller.is_root() {
            true => nobody(&Accounts::system()),
            false => (caller.uid, caller.gid),
        };
        let groups = match makes_files {
            true => caller.groups.clone(),
            false => Vec::new(),
        };
        let files_of = (caller.is_root() && makes_files).then_some((caller.uid, caller.gid));
        Identity {
            uid,
            gid,
            groups,
            files_of,
        }
    }

    /// Returns the caller's ids for all that a thread does: it may also signal the caller's
    /// processes.
    pub fn identity_of_caller(&self) -> Identity {
        let caller = &self.caller;
        Identity {
            uid: caller.uid,
            gid: caller.gid,
            groups: caller.groups.clone(),
            files_of: None,
        }
    }

    /// Returns the ids to read files of `user`'s with, if this process is root now: `nobody`'s, but
    /// for files, which `user` opens. Else the caller's, who reads what the caller may read anyway.
    pub fn identity_for_files_of(&self, user: u32, group: u32) -> Identity {
        if !geteuid().is_root() {
            return self.identity_of_caller();
        }
        let (uid, gid) = nobody(&Accounts::system());
        Identity {
            uid,
            gid,
            groups: Vec::new(),
            files_of: Some((Uid::from_raw(user), Gid::from_raw(group))),
        }
    }

    /// Returns the advice for an error of opening a file that root could open and the caller
    /// cannot.
    pub fn hint(&self, error: &anyhow::Error) -> Option<String> {
        let is_denied = error.chain().any(|cause| {
            let cause = cause.downcast_ref::<std::io::Error>();
            cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied)
        });
        (is_denied && self.caller.called_sudo).then(|| {
            format!(
                "files and ports below 1024 are opened with the rights of user {}, who called sudo: choose \
                 what that user may open, or use a shell of root (sudo -i; unset SUDO_UID)",
                self.caller.uid.as_raw()
            )
        })
    }
}

/// Whether there are permitted capabilities that the caller did not pass on. Ambient capabilities
/// are those of a process without file capabilities; the kernel clears them for a file that has
/// some (capabilities(7)).
fn has_more_than_inherited() -> Result<bool> {
    let permitted = capabilities(None)
        .context("read the capabilities")?
        .permitted;
    let mut each = permitted.iter();
    Ok(each.any(|one| !capability_is_in_ambient_set(one).unwrap_or(false)))
}

/// Sets the effective capabilities and changes no other set.
fn set_effective(effective: CapabilitySet) -> Result<()> {
    let held = capabilities(None).context("read the capabilities")?;
    let sets = CapabilitySets { effective, ..held };
    set_capabilities(None, sets).context("change the effective capabilities")
}
