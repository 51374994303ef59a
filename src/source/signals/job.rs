//! This process as a job of a shell: whether the terminal is its own, and being stopped and
//! continued.
//!
//! A program that draws on a terminal must give it back before it stops, and must not touch it
//! while it is another job's. So the signals of job control are held: SIGTSTP waits until the
//! terminal is given back, SIGTTOU and SIGTTIN never stop a flowtop that is about to end, and
//! After SIGCONT the terminal may look different. (SIGSTOP cannot be held, and SIGCONT
//! continues also where it is.)

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::sys::signal::{SigSet, Signal as Held};
use rustix::process::{Signal, getpgrp, getpid, kill_current_process_group, kill_process};
use rustix::stdio::stdout;
use rustix::termios::tcgetpgrp;

/// An event of job control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// SIGTSTP: a request to stop.
    Stop,
    /// SIGCONT: the process was stopped and has been continued.
    Continued,
}

/// The processes that stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopTarget {
    /// This process alone, because SIGTSTP was sent to each process.
    Process,
    /// Every process of the job, as Ctrl-Z does: a script that runs flowtop stops too, and its
    /// shell takes over.
    Job,
}

/// A shorter stop did not happen: the kernel drops the signal for a job that no shell could
/// continue (an orphaned process group, setpgid(2)).
const SHORTEST_STOP: Duration = Duration::from_millis(20);

/// Whether standard output is a terminal that belongs to this job, or a terminal that controls no
/// job.
pub fn is_in_foreground() -> bool {
    tcgetpgrp(stdout()).map_or(true, |group| group == getpgrp())
}

/// Waits, stopped, until this job has the terminal, as every program that takes the terminal does.
/// A fatal signal ends the process meanwhile.
///
/// # Errors
/// When no shell can ever bring it to the foreground.
pub fn wait_for_terminal() -> Result<()> {
    let mut in_vain = 0;
    while !is_in_foreground() {
        let began = Instant::now();
        kill_current_process_group(Signal::TTOU)?;
        in_vain = match began.elapsed() < SHORTEST_STOP {
            true => in_vain + 1,
            false => 0,
        };
        if in_vain == 10 {
            bail!(
                "the terminal belongs to another job, and no shell can bring flowtop to the \
                 foreground: use --batch, --json or --csv"
            );
        }
    }
    Ok(())
}

fn held() -> SigSet {
    let mut held = SigSet::empty();
    for signal in [Held::SIGTSTP, Held::SIGCONT, Held::SIGTTIN, Held::SIGTTOU] {
        held.add(signal);
    }
    held
}

/// Blocks the signals of job control in this thread and all threads that it starts. Call it before
/// other threads start.
///
/// # Errors
/// When the kernel refuses.
pub fn hold() -> io::Result<()> {
    Ok(held().thread_block()?)
}

/// Calls `notify` for each signal of job control, from a thread that ends when `notify` returns that
/// nobody listens.
///
/// # Errors
/// When the thread cannot be started.
pub fn forward(notify: impl Fn(Job) -> bool + Send + 'static) -> io::Result<()> {
    let mut awaited = SigSet::empty();
    awaited.add(Held::SIGTSTP);
    awaited.add(Held::SIGCONT);
    thread::Builder::new()
        .name("jobs".to_owned())
        .spawn(move || {
            while let Ok(signal) = awaited.wait() {
                let job = match signal {
                    Held::SIGTSTP => Job::Stop,
                    _ => Job::Continued,
                };
                if !notify(job) {
                    return;
                }
            }
        })
        .map(drop)
}

/// Stops the process. Returns when it is continued, or at once if the kernel drops the signal.
/// Restore the terminal first.
///
/// # Errors
/// When the kernel refuses.
pub fn stop(whom: StopTarget) -> io::Result<()> {
    let send = || match whom {
        StopTarget::Process => kill_process(getpid(), Signal::TSTP),
        StopTarget::Job => kill_current_process_group(Signal::TSTP),
    };
    with_default(Held::SIGTSTP, send)
}

/// Stops the process as the kernel stops one that reads another job's terminal.
///
/// # Errors
/// When the kernel refuses.
pub fn stop_in_background() -> io::Result<()> {
    with_default(Held::SIGTTOU, || kill_process(getpid(), Signal::TTOU))
}

/// Unblocks a signal in this thread for this long, so that its default action happens.
fn with_default(signal: Held, send: impl FnOnce() -> rustix::io::Result<()>) -> io::Result<()> {
    let mut one = SigSet::empty();
    one.add(signal);
    one.thread_unblock()?;
    let sent = send();
    one.thread_block()?;
    Ok(sent?)
}
