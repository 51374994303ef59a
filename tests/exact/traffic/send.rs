//! One process that sends so many bytes, as whoever it is told to be: for tests of whose bytes they
//! are.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::proc::Child;
use crate::sys::{self, cvt};

#[derive(Args)]
pub struct Send {
    /// The listener to connect to
    to: SocketAddr,
    /// How many bytes to send
    bytes: usize,
    /// A cgroup's directory to move to first; may be repeated, for several hierarchies
    #[arg(long)]
    cgroup: Vec<PathBuf>,
    /// This process's number, which must be free
    #[arg(long)]
    pid: Option<i32>,
    /// Name of the process
    #[arg(long)]
    comm: Option<OsString>,
    /// User id of the process
    #[arg(long)]
    uid: Option<u32>,
    /// Wait for a byte on stdin after that, then exec, and send so many as another program
    #[arg(long)]
    exec: Option<usize>,
}

/// Ends as soon as everything is sent.
pub fn send(how: &Send) -> Result<()> {
    match how.pid {
        Some(pid) if pid != std::process::id() as i32 => {
            let child = fork_as(pid)?;
            if child.pid != 0 {
                return child.join();
            }
            sys::die_with_parent();
            let done = send_here(how);
            if let Err(err) = &done {
                eprintln!("traffic: {err:#}");
            }
            // SAFETY: _exit never returns and needs nothing.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        }
        _ => send_here(how),
    }
}

fn send_here(how: &Send) -> Result<()> {
    for dir in &how.cgroup {
        let file = dir.join("cgroup.procs");
        fs::write(&file, "0").with_context(|| file.display().to_string())?;
    }
    if let Some(comm) = &how.comm {
        sys::set_comm(comm);
    }
    if let Some(uid) = how.uid {
        // SAFETY: setresuid has no memory arguments.
        cvt(unsafe { libc::setresuid(uid, uid, uid) }).context("setresuid")?;
    }
    let mut stream = TcpStream::connect(how.to).context("connect")?;
    stream.write_all(&vec![7; how.bytes])?;
    let Some(bytes) = how.exec else { return Ok(()) };
    ensure!(sys::read(0, &mut [0])? == 1, "nothing came on stdin");
    let me = std::env::current_exe()?;
    let args = ["send".to_owned(), how.to.to_string(), bytes.to_string()];
    Err(std::process::Command::new(me).args(args).exec()).context("exec")
}

/// `struct clone_args` of Linux 5.5, up to `set_tid_size`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
}

/// A fork whose number is known; in the child it is 0.
pub fn fork_as(pid: i32) -> Result<Child> {
    let mut args = CloneArgs {
        exit_signal: libc::SIGCHLD as u64,
        set_tid: &raw const pid as u64,
        set_tid_size: 1,
        ..CloneArgs::default()
    };
    let size = mem::size_of::<CloneArgs>();
    // SAFETY: a clone without CLONE_VM and without a new stack is a fork; callers have one thread.
    let pid = cvt(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size) })
        .map_err(crate::cases::absent("clone3 with set_tid"))?;
    Ok(Child { pid: pid as i32 })
}
