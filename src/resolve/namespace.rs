//! The namespaces that flowtop runs in, if they change the meaning of an id or of a privilege. A
//! container usually has its own of every kind.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, test_kill_process};

/// Inode of the initial pid namespace: `PROC_PID_INIT_INO` of the kernel's include/linux/proc_ns.h.
const INITIAL_PID: u32 = 0xEFFF_FFFC;
/// Inode of the initial user namespace: `PROC_USER_INIT_INO`.
const INITIAL_USER: u32 = 0xEFFF_FFFD;

/// Returns the inode of this process's pid namespace if it is not the initial one. `None` also
/// without `/proc`.
pub fn own_pid() -> Option<u32> {
    own("pid").filter(|&inode| inode != INITIAL_PID)
}

/// Whether a user namespace limits the capabilities of this process: the kernel refuses bpf()
/// there, whatever capabilities are held.
pub fn is_user_namespaced() -> bool {
    own("user").is_some_and(|inode| inode != INITIAL_USER)
}

/// Returns the id of this process in the initial pid namespace, which flows have; `None` if it is
/// unknown.
pub fn own_tgid() -> Option<u32> {
    (own("pid") == Some(INITIAL_PID)).then(std::process::id)
}

/// Returns the inode of this process's network namespace; `None` if it is unknown.
pub fn own_net() -> Option<u32> {
    own("net")
}

/// Whether this process is in the initial network namespace, the one that has the machine's network
/// cards. By a setting that only that namespace has (`net_core_table` of the kernel's
/// net/core/sysctl_net_core.c): its inode is another one on other kernels.
pub fn is_initial_net() -> bool {
    fs::exists("/proc/sys/net/core/dev_weight").unwrap_or(false)
}

/// Returns the inode of a namespace of this process, by a link as in `pid:[4026531836]`.
fn own(kind: &str) -> Option<u32> {
    let link = fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
    let (_, inode) = link.to_str()?.split_once(":[")?;
    inode.strip_suffix(']')?.parse().ok()
}

/// What an id belongs to in the pid namespace of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdOwner {
    Process,
    /// A thread that is not the first of its process.
    Thread,
    Nobody,
}

impl IdOwner {
    /// Asks the kernel instead of `/proc`, which may belong to another pid namespace, or hide
    /// processes.
    pub fn of(id: u32) -> Self {
        let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) else {
            return Self::Nobody;
        };
        if test_kill_process(pid) == Err(Errno::SRCH) {
            return Self::Nobody;
        }
        // pidfd_open() accepts processes only: EINVAL, from 6.15 on ENOENT, for other threads.
        match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::INVAL | Errno::NOENT) => Self::Thread,
            _ => Self::Process,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_told_from_a_process_and_both_from_nobody() {
        let me = std::process::id();
        assert_eq!(IdOwner::of(me), IdOwner::Process);
        let tid = std::thread::spawn(|| {
            let tid = rustix::thread::gettid().as_raw_nonzero().get();
            IdOwner::of(tid.cast_unsigned())
        });
        assert_eq!(tid.join().unwrap(), IdOwner::Thread);
        assert_eq!(IdOwner::of(4_194_304), IdOwner::Nobody);
        assert_eq!(IdOwner::of(0), IdOwner::Nobody);
    }

    #[test]
    fn the_initial_pid_namespace_is_no_own_one() {
        assert_eq!((own_pid(), own_tgid()), (None, Some(std::process::id())));
    }
}
