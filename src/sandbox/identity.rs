//! Leaving root: user, group and supplementary groups of the calling thread.

use anyhow::{Context, Result};
use nix::unistd::{setfsgid, setfsuid};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid, getuid};
use rustix::thread::{
    CapabilitySets, capabilities, set_capabilities, set_keep_capabilities, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use crate::sandbox::privilege::Identity;
use crate::system::mounts;

/// Makes this thread the user's: real, effective and saved ids, so that there is no way back. The
/// permitted capabilities stay, until they are dropped by who finds out which is needed.
///
/// Root stays root where it may not leave: in a container without CAP_SETUID, or in a user
/// namespace that has no such user. Calls such as getuid(2) return it afterwards.
///
/// # Errors
/// When the kernel refuses for any other reason.
pub(super) fn become_user(identity: &Identity) -> Result<()> {
    let is_root = geteuid().is_root() || getuid().is_root();
    if !is_root || identity.uid.is_root() {
        return Ok(());
    }
    match leave_root(identity) {
        Ok(()) | Err(Errno::PERM | Errno::INVAL) => Ok(()),
        Err(error) => Err(error).context("leave the user root"),
    }
}

fn leave_root(identity: &Identity) -> rustix::io::Result<()> {
    let groups = identity.groups.iter().copied();
    let groups = groups.chain(proc_group(&mounts::text()));
    let groups: Vec<Gid> = groups.collect();
    set_keep_capabilities(true)?;
    set_thread_groups(&groups)?;
    set_thread_res_gid(identity.gid, identity.gid, identity.gid)?;
    set_thread_res_uid(identity.uid, identity.uid, identity.uid)?;
    set_keep_capabilities(false)?;
    match identity.files_of {
        Some((user, group)) => open_files_as(user, group),
        None => Ok(()),
    }
}

/// Lets the kernel check files with other ids than those of the thread. Those ids own no process:
/// they neither signal nor trace one, and cannot become the thread's ids without CAP_SETUID.
fn open_files_as(user: Uid, group: Gid) -> rustix::io::Result<()> {
    // The change of the user has lowered CAP_SETUID and CAP_SETGID.
    let held = capabilities(None)?;
    let effective = held.permitted;
    set_capabilities(None, CapabilitySets { effective, ..held })?;
    // Both calls return the former id, and report a refusal in no other way (setfsuid(2)).
    let group = nix::unistd::Gid::from_raw(group.as_raw());
    let user = nix::unistd::Uid::from_raw(user.as_raw());
    setfsgid(group);
    setfsuid(user);
    match setfsgid(group) == group && setfsuid(user) == user {
        true => Ok(()),
        false => Err(Errno::PERM),
    }
}

/// Returns the group that sees all processes if `/proc` hides those of other users (proc(5),
/// hidepid and gid): flowtop reads command lines and parents there. Root's group, 0, unless the
/// option names another.
fn proc_group(mounts: &str) -> Option<Gid> {
    // The last mount lies over earlier ones.
    let proc = mounts::mounts(mounts).rfind(|mount| mount.path == "/proc")?;
    let hides = proc.options().any(|option| {
        let level = option.strip_prefix("hidepid=");
        level.is_some_and(|level| !matches!(level, "0" | "off"))
    });
    let gid = proc
        .options()
        .find_map(|option| option.strip_prefix("gid=")?.parse().ok());
    hides.then(|| Gid::from_raw(gid.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_that_proc_is_open_to_is_taken_where_it_hides() {
        let group = |options: &str| {
            let mounts = format!("proc /proc proc rw 0 0\nproc /proc proc {options} 0 0\n");
            proc_group(&mounts).map(Gid::as_raw)
        };
        assert_eq!(group("rw,relatime"), None);
        assert_eq!(group("rw,hidepid=off"), None);
        assert_eq!(group("rw,hidepid=invisible"), Some(0));
        assert_eq!(group("rw,gid=50,hidepid=2"), Some(50));
        assert_eq!(proc_group(""), None);
    }
}
