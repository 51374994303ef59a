//! Whose bytes are they: sockets that several processes hold, and processes that change.

use std::mem;
use std::os::fd::RawFd;
use std::ptr;

use anyhow::{Context, Result, ensure};

use crate::cases::absent;
use crate::proc::{self, Gate};
use crate::send::fork_as;
use crate::sock::{Sock, V4, V6, tcp_pair, udp_pair};
use crate::sys::{self, cvt};
use crate::transfer::{cmsg, pattern};
use crate::truth::{self, Proto};

cases! {
    "client and server are two processes" => fork_two_ends,
    "one TCP socket shared across fork: a row for each process that moves bytes" => fork_shared_tcp,
    "one UDP socket shared across fork" => fork_shared_udp,
    "pre-forked workers accept from one listener" => fork_workers,
    "a socket made by a parent that never uses it" => fork_used_by_child,
    "a grandchild whose parent is gone" => fork_orphan,
    "many short-lived processes with one connection each" => fork_many,
    "a socket passed by SCM_RIGHTS" => scm_rights,
    "a socket taken by pidfd_getfd" => pidfd_getfd,
    "exec with a socket inherited: same pid, before and after" => exec_inherited,
    "exec from a thread that is not the leader" => exec_from_thread,
    "a process in another PID namespace: the outer pid counts" => pid_namespace,
    "a child made by clone(CLONE_FILES): shared descriptors, own pid" => clone_files,
    "a process renamed before it moves anything" => renamed_process,
    "a process with another user" => other_user,
    "a process that sends once and is gone at once, under a name of its own" => gone_at_once,
    "two processes of two users, one after the other, with the same number" => pid_reused,
    "exec under another name" => exec_renamed,
}

fn fork_two_ends() -> Result<()> {
    let l = Sock::listener(V4)?;
    let to = l.local()?;
    let client = proc::spawn(|| {
        let c = Sock::tcp(V4)?;
        c.connect(to)?;
        c.send_all(&pattern(40_000))?;
        c.shutdown(libc::SHUT_WR)?;
        c.drain().map(|_| ())
    })?;
    let s = l.accept()?;
    let n = s.drain()?;
    s.send_all(&pattern(n / 2))?;
    drop(s);
    client.join()
}

fn fork_shared_tcp() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let (mine, yours) = (Gate::new()?, Gate::new()?);
    let child = proc::spawn(|| {
        for i in 1..=10 {
            yours.wait()?;
            c.send_all(&pattern(i * 100))?;
            s.recv_exact(i * 30)?;
            mine.set();
        }
        Ok(())
    })?;
    for i in 1..=10 {
        yours.set();
        mine.wait()?;
        c.send_all(&pattern(i * 10))?;
        s.recv_exact(i * 80)?;
    }
    child.join()
}

fn fork_shared_udp() -> Result<()> {
    let (a, b) = udp_pair(V6)?;
    let (mine, yours) = (Gate::new()?, Gate::new()?);
    let child = proc::spawn(|| {
        for i in 1..=10 {
            yours.wait()?;
            b.recv(&mut [0; 1000], 0)?;
            a.send(&pattern(i * 7), 0)?;
            mine.set();
        }
        Ok(())
    })?;
    for i in 1..=10 {
        a.send(&pattern(i * 50), 0)?;
        yours.set();
        mine.wait()?;
        b.recv(&mut [0; 1000], 0)?;
    }
    child.join()
}

fn fork_workers() -> Result<()> {
    let l = Sock::listener(V4)?;
    let to = l.local()?;
    let workers = (0..4)
        .map(|_| {
            proc::spawn(|| {
                for _ in 0..10 {
                    let s = l.accept()?;
                    let n = s.drain()?;
                    s.send_all(&pattern(n * 2))?;
                }
                Ok(())
            })
        })
        .collect::<Result<Vec<_>>>()?;
    for i in 1..=40 {
        let c = Sock::tcp(V4)?;
        c.connect(to)?;
        c.send_all(&pattern(i * 20))?;
        c.shutdown(libc::SHUT_WR)?;
        c.drain()?;
    }
    workers.into_iter().try_for_each(proc::Child::join)
}

fn fork_used_by_child() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    proc::spawn(|| {
        c.send_all(&pattern(30_000))?;
        s.recv_exact(30_000)
    })?
    .join()
}

fn fork_orphan() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let (ready, go) = (Gate::new()?, Gate::new()?);
    proc::spawn(|| {
        proc::spawn(|| {
            // SAFETY: prctl with plain integers; the parent's death is the point of the case.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) };
            ready.set();
            go.wait()?;
            c.send_all(&pattern(12_000))?;
            c.shutdown(libc::SHUT_WR)
        })?;
        ready.wait()
    })?
    .join()?;
    go.set();
    s.recv_exact(12_000)
}

fn fork_many() -> Result<()> {
    let l = Sock::listener(V4)?;
    let to = l.local()?;
    for i in 1..=sys::scaled(50) {
        let child = proc::spawn(|| {
            let c = Sock::tcp(V4)?;
            c.connect(to)?;
            c.send_all(&pattern(i * 10))?;
            c.recv_exact(i)
        })?;
        let s = l.accept()?;
        s.recv_exact(i * 10)?;
        s.send_all(&pattern(i))?;
        child.join()?;
    }
    Ok(())
}

/// Two ends of an AF_UNIX channel.
fn channel() -> Result<(RawFd, RawFd)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for two descriptors.
    cvt(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr()) })?;
    Ok((ends[0], ends[1]))
}

fn pass(channel: RawFd, fd: RawFd) -> Result<()> {
    let mut control = cmsg(libc::SOL_SOCKET, libc::SCM_RIGHTS, fd);
    let mut byte = [1u8];
    let mut iov = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: msghdr is plain data.
    let mut msg: libc::msghdr = unsafe { mem::zeroed() };
    msg.msg_iov = &raw mut iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.as_mut_ptr().cast();
    msg.msg_controllen = control.len();
    // SAFETY: all that the header points to lives across the call.
    cvt(unsafe { libc::sendmsg(channel, &raw const msg, 0) }).context("SCM_RIGHTS")?;
    Ok(())
}

fn take(channel: RawFd) -> Result<RawFd> {
    let mut control = [0u64; 8];
    let mut byte = [0u8];
    let mut iov = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: msghdr is plain data.
    let mut msg: libc::msghdr = unsafe { mem::zeroed() };
    msg.msg_iov = &raw mut iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.as_mut_ptr().cast();
    msg.msg_controllen = mem::size_of_val(&control);
    // SAFETY: all that the header points to lives across the call.
    cvt(unsafe { libc::recvmsg(channel, &raw mut msg, 0) }).context("SCM_RIGHTS")?;
    ensure!(msg.msg_controllen >= 20, "no descriptor came");
    // The descriptor follows the 16 bytes of the control header.
    Ok(control[2] as u32 as RawFd)
}

fn scm_rights() -> Result<()> {
    let (here, there) = channel()?;
    let child = proc::spawn(|| {
        let s = Sock::from_fd(take(there)?, Proto::Tcp);
        s.recv_exact(5000)?;
        s.send_all(&pattern(7000))
    })?;
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(6000))?;
    s.recv_exact(1000)?;
    pass(here, s.fd())?;
    c.recv_exact(7000)?;
    child.join()
}

fn pidfd_getfd() -> Result<()> {
    let done = Gate::new()?;
    let port = sys::pipe()?;
    let owner = proc::spawn(|| {
        let (c, s) = tcp_pair(V4)?;
        c.send_all(&pattern(100))?;
        s.recv_exact(100)?;
        sys::write_all(port.1, &[c.fd() as u8, s.fd() as u8]);
        done.wait()
    })?;
    let mut fds = [0u8; 2];
    sys::read(port.0, &mut fds)?;
    // SAFETY: pidfd_open has no memory arguments.
    let pidfd = cvt(unsafe { libc::syscall(libc::SYS_pidfd_open, owner.pid, 0) })
        .map_err(absent("pidfd_open"))?;
    let steal = |fd: u8| -> Result<Sock> {
        // SAFETY: pidfd_getfd has no memory arguments.
        let fd = cvt(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, i32::from(fd), 0) })
            .map_err(absent("pidfd_getfd"))?;
        Ok(Sock::from_fd(fd as RawFd, Proto::Tcp))
    };
    let (c, s) = (steal(fds[0])?, steal(fds[1])?);
    c.send_all(&pattern(4000))?;
    s.recv_exact(4000)?;
    done.set();
    owner.join()
}

/// Replaces this process by one that plays `role` on the descriptor.
fn exec_role(role: &str, fd: RawFd) -> Result<()> {
    // SAFETY: fcntl with plain integers.
    cvt(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })?;
    let me = std::env::current_exe()?;
    let err = std::os::unix::process::CommandExt::exec(
        std::process::Command::new(me).args(["role", role, &fd.to_string()]),
    );
    Err(err).context("exec")
}

/// What the program does after `exec_role`.
pub fn after_exec(role: &str, fd: RawFd) -> Result<()> {
    sys::watchdog(None);
    let s = Sock::from_fd(fd, Proto::Tcp);
    ensure!(role == "echo", "no role {role}");
    let n = s.drain()?;
    s.send_all(&pattern(n * 2))
}

fn exec_inherited() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let child = proc::spawn(|| {
        s.recv_exact(1000)?;
        s.send_all(&pattern(123))?;
        // What the first program moved is told before it is gone.
        truth::flush();
        exec_role("echo", s.fd())
    })?;
    c.send_all(&pattern(9000))?;
    c.shutdown(libc::SHUT_WR)?;
    c.recv_exact(123 + 16_000)?;
    child.join()
}

fn exec_from_thread() -> Result<()> {
    let (c, s) = tcp_pair(V6)?;
    let child = proc::spawn(|| {
        let run = || {
            s.recv_exact(500)?;
            truth::flush();
            exec_role("echo", s.fd())
        };
        std::thread::scope(|scope| scope.spawn(run).join().expect("thread"))
    })?;
    c.send_all(&pattern(2500))?;
    c.shutdown(libc::SHUT_WR)?;
    c.recv_exact(4000)?;
    child.join()
}

fn pid_namespace() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let outer = sys::pipe()?;
    let role = proc::spawn(|| {
        // SAFETY: unshare has no memory arguments; only later children are concerned.
        cvt(unsafe { libc::unshare(libc::CLONE_NEWPID) }).map_err(absent("PID namespace"))?;
        let child = proc::spawn(|| {
            ensure!(std::process::id() == 1, "not the first process of its namespace");
            let mut pid = [0; 4];
            sys::read(outer.0, &mut pid)?;
            truth::set_outer_pid(u32::from_ne_bytes(pid));
            s.recv_exact(8000)?;
            s.send_all(&pattern(600))
        })?;
        sys::write_all(outer.1, &child.pid.to_ne_bytes());
        child.join()
    })?;
    c.send_all(&pattern(8000))?;
    c.recv_exact(600)?;
    role.join()
}

fn clone_files() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let flags = libc::CLONE_FILES | libc::SIGCHLD;
    // SAFETY: a clone without CLONE_VM and without a new stack is a fork.
    let pid = cvt(unsafe { libc::syscall(libc::SYS_clone, flags, 0, ptr::null::<u8>(), 0, 0) })
        .context("clone")?;
    if pid == 0 {
        sys::die_with_parent();
        sys::watchdog(None);
        truth::reset();
        proc::leave(crate::cases::report(c.send_all(&pattern(6000))));
    }
    s.recv_exact(6000)?;
    s.send_all(&pattern(50))?;
    c.recv_exact(50)?;
    proc::Child { pid: pid as i32 }.join()
}

fn renamed_process() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let child = proc::spawn(|| {
        sys::set_comm("other-name");
        s.recv_exact(3000)
    })?;
    c.send_all(&pattern(3000))?;
    child.join()
}

fn other_user() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let child = proc::spawn(|| {
        // SAFETY: setresgid and setresuid have no memory arguments.
        cvt(unsafe { libc::setresgid(65_534, 65_534, 65_534) }).map_err(absent("setresgid"))?;
        // SAFETY: as above.
        cvt(unsafe { libc::setresuid(65_534, 65_534, 65_534) }).map_err(absent("setresuid"))?;
        s.recv_exact(2000)?;
        s.send_all(&pattern(1000))
    })?;
    c.send_all(&pattern(2000))?;
    c.recv_exact(1000)?;
    child.join()
}

fn gone_at_once() -> Result<()> {
    for i in 0..sys::scaled(20) {
        let (c, s) = tcp_pair(V4)?;
        proc::spawn(|| {
            sys::set_comm(format!("gone-{i}"));
            c.send_all(&pattern(700 + i))
        })?
        .join()?;
        s.recv_exact(700 + i)?;
    }
    Ok(())
}

fn pid_reused() -> Result<()> {
    // The number of a process that has just ended, which is free.
    let first = proc::spawn(|| Ok(()))?;
    let pid = first.pid;
    first.join()?;
    for (comm, uid, bytes) in [("first-of-two", 1001, 1000), ("second-of-two", 1002, 2000)] {
        let (c, s) = tcp_pair(V4)?;
        let child = fork_as(pid)?;
        if child.pid == 0 {
            sys::die_with_parent();
            sys::watchdog(None);
            truth::reset();
            sys::set_comm(comm);
            // SAFETY: setresuid has no memory arguments.
            let done = cvt(unsafe { libc::setresuid(uid, uid, uid) }).context("setresuid");
            proc::leave(crate::cases::report(done.and_then(|_| c.send_all(&pattern(bytes)))));
        }
        s.recv_exact(bytes)?;
        child.join()?;
        // Two clock ticks, by which /proc tells the two apart.
        sys::pause(20);
    }
    Ok(())
}

fn exec_renamed() -> Result<()> {
    let (c, s) = tcp_pair(V4)?;
    let child = proc::spawn(|| {
        sys::set_comm("before-exec");
        s.recv_exact(1000)?;
        truth::flush();
        exec_role("echo", s.fd())
    })?;
    c.send_all(&pattern(3000))?;
    c.shutdown(libc::SHUT_WR)?;
    c.recv_exact(4000)?;
    child.join()
}
