//! Starts the command of `flowtop run` and waits for its end.
//!
//! The command's process is made first, before any privilege is raised, any file opened and any
//! thread started. It is flowtop again ([`LAUNCH_ARG`]): it gives back for good what was lent to
//! flowtop, waits for a byte on a pipe, and becomes the command by execve(2), so that its id is
//! known before its first instruction. The byte is written once the probes are attached; without
//! it, because flowtop could not count, the command never runs.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::{env, thread};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, waitid};

use crate::sandbox::privilege::Privilege;
use crate::sync::lock;

/// First argument of the process that becomes the command.
pub const LAUNCH_ARG: &str = "--launch";
/// Exit codes of shells (POSIX, Shell Command Language, 2.8.2) for a command that is not found and
/// for a file that is no program.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
/// Variables by which sudo, doas and pkexec name their caller. The command belongs to that caller
/// and gets none of flowtop's privilege.
const CALLER_VARIABLES: [&str; 7] = [
    "SUDO_COMMAND",
    "SUDO_GID",
    "SUDO_HOME",
    "SUDO_UID",
    "SUDO_USER",
    "PKEXEC_UID",
    "DOAS_USER",
];

/// Signals that flowtop passes on to the command.
const FORWARDED: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// A command whose process waits for its start.
#[derive(Debug)]
pub struct Launched {
    child: Child,
    go: PipeWriter,
    signals: SignalFd,
}

impl Launched {
    /// Makes the process of a command. Call it first, while there is one thread and no open file.
    ///
    /// # Errors
    /// When no process can be made.
    pub fn prepare(command: &[OsString]) -> Result<Self> {
        let (reader, go) = io::pipe().context("make a pipe to the command")?;
        // execve(2) closes every other file that flowtop opens.
        fcntl_setfd(&reader, FdFlags::empty()).context("hand a pipe to the command")?;
        let mut child = Command::new("/proc/self/exe");
        child
            .arg0("flowtop")
            .arg(LAUNCH_ARG)
            .arg(reader.as_raw_fd().to_string())
            .args(command);
        let child = child.spawn().context("make the process of the command")?;
        let mut set = SigSet::empty();
        FORWARDED.iter().for_each(|signal| set.add(*signal));
        set.thread_block()
            .context("hold the signals for the command")?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC);
        let signals = signals.context("watch for signals")?;
        Ok(Self { child, go, signals })
    }

    /// Returns the id of the command's process in flowtop's pid namespace.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts the command, passes signals on to it, and calls `ended` once it has ended.
    ///
    /// A signal that the terminal sends goes to its whole foreground group, the command included,
    /// so it is not sent again.
    ///
    /// # Errors
    /// When a thread cannot be started. The command runs only if there is none.
    pub fn run(self, ended: impl FnOnce(ExitStatus) + Send + 'static) -> Result<()> {
        let Self {
            mut child,
            mut go,
            signals,
        } = self;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("know the process of the command")?;
        // The pid may belong to another process as soon as the command is waited for.
        let is_there = Arc::new(Mutex::new(true));
        let alive = Arc::clone(&is_there);
        thread::Builder::new()
            .name("command".to_owned())
            .spawn(move || {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                while waitid(WaitId::Pid(pid), options)
                    .is_err_and(|error| error == rustix::io::Errno::INTR)
                {}
                *lock(&alive) = false;
                // The command has ended, so waiting does not fail.
                ended(child.wait().unwrap_or_default());
            })
            .context("start a thread")?;
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                while let Ok(signal) = signals.read_signal() {
                    let Some(info) = signal else { continue };
                    // SI_KERNEL and other codes above 0 mean that the kernel sent the signal.
                    let is_sent = info.ssi_code <= 0;
                    let signal = i32::try_from(info.ssi_signo)
                        .ok()
                        .and_then(rustix::process::Signal::from_named_raw);
                    if let (true, Some(signal), true) = (is_sent, signal, *lock(&is_there)) {
                        let _ = kill_process(pid, signal);
                    }
                }
            })
            .context("start a thread")?;
        // If the command was killed meanwhile, waiting reports its end.
        let _ = go.write_all(&[1]);
        Ok(())
    }
}

/// Returns the exit code that a shell gives for this end: the command's own, or 128 plus the number
/// of the signal.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

/// Runs as the process of a command, and becomes it.
///
/// # Errors
/// With the exit code, when it cannot.
pub fn become_command(
    mut args: impl Iterator<Item = OsString>,
    privilege: &Privilege,
) -> Result<Infallible, (u8, anyhow::Error)> {
    let failed = |error| (2, error);
    let go = args
        .next()
        .and_then(|fd| fd.to_str()?.parse::<RawFd>().ok());
    let mut go = open_pipe(go).map_err(failed)?;
    privilege
        .hand_back()
        .context("give back what was lent to flowtop")
        .map_err(failed)?;
    let program = args.next().context("no command").map_err(failed)?;
    let mut command = Command::new(&program);
    command.args(args);
    if let Some(account) = privilege.invoking_account() {
        for name in CALLER_VARIABLES {
            command.env_remove(name);
        }
        command.envs(account);
    }
    let mut byte = [0];
    match go.read(&mut byte) {
        Ok(1) => {}
        // flowtop has already printed the reason.
        _ => std::process::exit(2),
    }
    drop(go);
    let error = command.exec();
    let code = match error.kind() {
        ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    let program = program.to_string_lossy().into_owned();
    Err((
        code,
        anyhow::Error::new(error).context(format!("run \"{program}\"")),
    ))
}

/// Takes over the pipe that this process inherited, closed on execve(2).
fn open_pipe(fd: Option<RawFd>) -> Result<File> {
    let Some(fd) = fd.filter(|fd| *fd > 2 && env::args_os().len() > 3) else {
        bail!("{LAUNCH_ARG} is flowtop's own: use flowtop run");
    };
    let pipe = File::open(format!("/proc/self/fd/{fd}")).context("open the pipe of flowtop run")?;
    nix::unistd::close(fd).context("close the pipe of flowtop run")?;
    Ok(pipe)
}
