//! System calls, by seccomp (seccomp(2)).
//!
//! Two filters. The first says which calls there are: any other fails with ENOSYS, as on a kernel
//! that does not have it, which is what the C library has a way around; none ends the program, as
//! a top must not die of a call that nobody foresaw. The second says with which arguments: what
//! would write a file, run code, signal others, or reach into the kernel, fails with EPERM.

use std::collections::BTreeMap;
use std::env;

use anyhow::{Context, Result};
use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use super::Allow;

/// System calls that flowtop makes, or that the C library or the standard library may make in their
/// place.
const CALLS: &[c_long] = &[
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    // Files.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_ioctl,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    // Operations on open files.
    libc::SYS_ftruncate,
    // Threads.
    libc::SYS_clone,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_membarrier,
    libc::SYS_prctl,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpgid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_wait4,
    libc::SYS_waitid,
    // Time.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_kill,
    libc::SYS_tgkill,
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    // The socket pair by which signals wake a thread.
    libc::SYS_socketpair,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    // Facts about the machine and this process.
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
    libc::SYS_getcpu,
    libc::SYS_getrusage,
    libc::SYS_prlimit64,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_capget,
    // The kernel side.
    libc::SYS_bpf,
];

/// Older names of these calls, which only x86-64 has.
#[cfg(target_arch = "x86_64")]
const OLDER_CALLS: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_time,
    libc::SYS_getpgrp,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER_CALLS: &[c_long] = &[];

/// System calls for querying name servers, which takes sockets.
const QUERY_CALLS: &[c_long] = &[
    libc::SYS_socket,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
];

/// System calls that change folders, for runs that write files.
const WRITING_CALLS: &[c_long] = &[
    libc::SYS_fallocate,
    libc::SYS_flock,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_fchmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_renameat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// Commands of bpf(): existing maps and programs can be used, none created or looked up. `enum
/// bpf_cmd` of include/uapi/linux/bpf.h.
const BPF: &[u64] = &[
    1,  // MAP_LOOKUP_ELEM
    2,  // MAP_UPDATE_ELEM
    3,  // MAP_DELETE_ELEM
    4,  // MAP_GET_NEXT_KEY
    10, // PROG_TEST_RUN
    15, // OBJ_GET_INFO_BY_FD
    21, // MAP_LOOKUP_AND_DELETE_ELEM
    24, // MAP_LOOKUP_BATCH
    25, // MAP_LOOKUP_AND_DELETE_BATCH
    26, // MAP_UPDATE_BATCH
    27, // MAP_DELETE_BATCH
];

/// `PERF_EVENT_IOC_DISABLE`: a probe is switched off before it is closed.
const PERF_DISABLE: u64 = 0x2401;
/// `TCGETS2`, `TCSETS2` and their two variants, which newer C libraries use for terminals.
const TERMIOS2: [u64; 4] = [0x802c_542a, 0x402c_542b, 0x402c_542c, 0x402c_542d];

/// Restricts this thread; returns `false` if the kernel cannot.
pub(super) fn restrict(allow: &Allow) -> Result<bool> {
    // The first filter must allow the prctl() and seccomp() that install it, so it is installed
    // last.
    let arguments = compile(arguments(allow)?, SeccompAction::Allow, libc::EPERM)?;
    let calls = compile(calls(allow), SeccompAction::Errno(errno(libc::ENOSYS)), 0)?;
    for filter in [arguments, calls] {
        match apply_filter(&filter) {
            Ok(()) => {}
            // The kernel lacks CONFIG_SECCOMP_FILTER, or a container forbids seccomp.
            Err(seccompiler::Error::Seccomp(error))
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINVAL | libc::ENOSYS | libc::EPERM)
                ) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

const fn errno(number: i32) -> u32 {
    number.cast_unsigned()
}

/// Builds a filter with one action for matching calls and one for the rest; `refused` is the error
/// number of matching calls, and 0 allows them.
fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    refused: i32,
) -> Result<BpfProgram> {
    let matched = match refused {
        0 => SeccompAction::Allow,
        number => SeccompAction::Errno(errno(number)),
    };
    let arch = TargetArch::try_from(env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, otherwise, matched, arch)?;
    filter.try_into().context("compile the filter")
}

/// Returns the filter of system calls.
fn calls(allow: &Allow) -> BTreeMap<i64, Vec<SeccompRule>> {
    let writing: &[c_long] = match allow.write.is_empty() {
        true => &[],
        false => WRITING_CALLS,
    };
    let querying: &[c_long] = match allow.names {
        true => QUERY_CALLS,
        false => &[],
    };
    let serving: &[c_long] = match allow.serve {
        true => &[libc::SYS_accept4],
        false => &[],
    };
    let linking: &[c_long] = match allow.link {
        Some(_) => &[libc::SYS_linkat],
        None => &[],
    };
    let all = [CALLS, OLDER_CALLS, writing, linking, querying, serving].concat();
    all.into_iter().map(|call| (call, Vec::new())).collect()
}

/// Returns the filter of arguments.
fn arguments(allow: &Allow) -> Result<BTreeMap<i64, Vec<SeccompRule>>> {
    let own = u64::from(std::process::id());
    let mut rules = BTreeMap::new();
    let mut refuse = |call: c_long, refused: Result<Vec<SeccompRule>>| -> Result<()> {
        rules.insert(call, refused?);
        Ok(())
    };
    // No new code: no executable mapping.
    let exec = || any_of(2, &[libc::PROT_EXEC as u64]);
    refuse(libc::SYS_mmap, exec())?;
    refuse(libc::SYS_mprotect, exec())?;
    // Threads, but no processes.
    let process = masked(0, libc::CLONE_THREAD as u64, 0);
    refuse(libc::SYS_clone, process.map(|rule| vec![rule]))?;
    // No signals to other processes, except the one that stops flowtop's own job.
    refuse(libc::SYS_kill, signals_to_others(own, allow.signal))?;
    refuse(libc::SYS_tgkill, none_of(0, &[own]))?;
    refuse(libc::SYS_prlimit64, none_of(0, &[0, own]))?;
    let options = [
        libc::PR_SET_NAME,
        libc::PR_GET_NAME,
        libc::PR_SET_VMA,
        // Installing the next filter makes this call once more.
        libc::PR_SET_NO_NEW_PRIVS,
        libc::PR_GET_NO_NEW_PRIVS,
        libc::PR_GET_DUMPABLE,
        libc::PR_GET_SECCOMP,
    ];
    let options = options.map(|option| option as u64);
    refuse(libc::SYS_prctl, none_of(0, &options))?;
    // Other commands could, among others, have the kernel send signals.
    let commands = [
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_GETLK,
        libc::F_SETLK,
        libc::F_OFD_GETLK,
        libc::F_OFD_SETLK,
    ];
    let commands = commands.map(|command| command as u64);
    refuse(libc::SYS_fcntl, none_of(1, &commands))?;
    // Only the usual requests to terminals; not TIOCSTI, which types into a terminal. The type of a
    // request differs between C libraries.
    let requests = [
        libc::TCGETS as u32,
        libc::TCSETS as u32,
        libc::TCSETSW as u32,
        libc::TCSETSF as u32,
        libc::TCSBRK as u32,
        libc::TCFLSH as u32,
        libc::TIOCGWINSZ as u32,
        libc::TIOCGPGRP as u32,
        libc::FIONREAD as u32,
        libc::FIONBIO as u32,
        libc::FIOCLEX as u32,
        libc::SIOCGIFINDEX as u32,
    ];
    let requests = requests.map(u64::from);
    let requests = [&requests[..], &TERMIOS2, &[PERF_DISABLE]].concat();
    refuse(libc::SYS_ioctl, none_of(1, &requests))?;
    refuse(libc::SYS_socket, other_sockets())?;
    refuse(libc::SYS_socketpair, none_of(0, &[libc::AF_UNIX as u64]))?;
    refuse(libc::SYS_sendto, sent_elsewhere())?;
    refuse(libc::SYS_setsockopt, other_options())?;
    refuse(libc::SYS_bpf, none_of(0, BPF))?;
    // Files can only be read, on kernels without Landlock too. For a run that writes files,
    // Landlock limits the folders.
    if allow.write.is_empty() {
        refuse(libc::SYS_openat, written(2))?;
        #[cfg(target_arch = "x86_64")]
        refuse(libc::SYS_open, written(1))?;
    }
    Ok(rules)
}

/// Matches a `kill()` of a process other than `allowed`, and one of flowtop's own process group by
/// a signal other than SIGTSTP, with which a program stops together with the script or `make` that
/// runs it.
fn signals_to_others(own: u64, allowed: Option<u32>) -> Result<Vec<SeccompRule>> {
    const OWN_GROUP: u64 = 0;
    let allowed = allowed.map_or(own, u64::from);
    let mut rules = none_of(0, &[own, OWN_GROUP, allowed])?;
    let group = condition(0, SeccompCmpOp::Eq, OWN_GROUP)?;
    let other = condition(1, SeccompCmpOp::Ne, libc::SIGTSTP as u64)?;
    rules.push(SeccompRule::new(vec![group, other]).context("write a rule")?);
    Ok(rules)
}

/// Matches a `socket()` that is not plain TCP or UDP over IPv4 or IPv6: another family, another
/// type, or a protocol of its own. MPTCP is a protocol of stream sockets that Landlock does not
/// check.
fn other_sockets() -> Result<Vec<SeccompRule>> {
    let families = [libc::AF_INET, libc::AF_INET6].map(|family| family as u64);
    let mut rules = none_of(0, &families)?;
    // The type's lower four bits (SOCK_TYPE_MASK, include/linux/net.h) are SOCK_STREAM, 1, or
    // SOCK_DGRAM, 2.
    for (mask, value) in [(3, 0), (3, 3), (4, 4), (8, 8)] {
        rules.push(masked(1, mask, value)?);
    }
    rules.extend(none_of(2, &[0])?);
    Ok(rules)
}

/// Matches a `sendto()` with an address, or one that connects at the same time (MSG_FASTOPEN):
/// Landlock does not check these on all kernels. A connected socket needs neither.
fn sent_elsewhere() -> Result<Vec<SeccompRule>> {
    let mut rules = any_of(3, &[libc::MSG_FASTOPEN as u64])?;
    let (len, op) = (SeccompCmpArgLen::Qword, SeccompCmpOp::Ne);
    let address = SeccompCondition::new(4, len, op, 0).context("write a condition")?;
    rules.push(SeccompRule::new(vec![address]).context("write a rule")?);
    Ok(rules)
}

/// Matches a `setsockopt()` of anything but time limits, which look-ups set.
fn other_options() -> Result<Vec<SeccompRule>> {
    /// `SO_RCVTIMEO_NEW` and `SO_SNDTIMEO_NEW` (include/uapi/asm-generic/socket.h), as newer C
    /// libraries ask for them.
    const TIMES: [u64; 2] = [66, 67];
    let limits = [libc::SO_RCVTIMEO as u64, libc::SO_SNDTIMEO as u64];
    let mut rules = none_of(1, &[libc::SOL_SOCKET as u64])?;
    rules.extend(none_of(2, &[&limits[..], &TIMES].concat())?);
    Ok(rules)
}

/// Matches an `open()` that creates, truncates or writes a file.
fn written(flags: u8) -> Result<Vec<SeccompRule>> {
    let bits = [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC];
    any_of(flags, &bits.map(|bit| bit as u64))
}

/// A condition on the lower half of an argument, which is all of an `int`.
fn condition(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompCondition> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value);
    condition.context("write a condition")
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule> {
    let condition = condition(argument, SeccompCmpOp::MaskedEq(mask), value)?;
    SeccompRule::new(vec![condition]).context("write a rule")
}

/// Matches if any of these bits is set.
fn any_of(argument: u8, bits: &[u64]) -> Result<Vec<SeccompRule>> {
    let rules = bits.iter().map(|&bit| masked(argument, bit, bit));
    rules.collect()
}

/// Matches if the argument is none of these values.
fn none_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>> {
    let conditions = values
        .iter()
        .map(|&value| condition(argument, SeccompCmpOp::Ne, value));
    let conditions = conditions.collect::<Result<Vec<_>>>()?;
    let rule = SeccompRule::new(conditions).context("write a rule")?;
    Ok(vec![rule])
}
