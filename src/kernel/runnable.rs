//! Finds threads that may wait for a processor between a call's bytes and their count.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Processor time after which a thread has left the kernel code between a call's bytes and their
/// count. That code takes microseconds; the rest is what the kernel may charge to the thread for
/// something else: up to a clock tick (10 ms at 100 Hz) that it charges late, and 2 ms of network
/// interrupts (MAX_SOFTIRQ_TIME, kernel/softirq.c).
const RAN: Duration = Duration::from_millis(12);
/// Maximum number of threads of a process that are read.
const MAX_THREADS: usize = 4096;

/// The threads of a process that ran or waited for a processor when they were read. The process's
/// other threads slept, so none of them was between a call's bytes and their count.
#[derive(Debug)]
pub struct RunnableThreads {
    pub tgid: u32,
    threads: Vec<RunnableThread>,
}

#[derive(Debug)]
struct RunnableThread {
    folder: PathBuf,
    /// Processor time that the thread has used.
    ran: Duration,
}

impl RunnableThreads {
    /// Reads a process's threads from `/proc`. None are found if the process has ended, is hidden,
    /// or belongs to the kernel.
    pub fn read(proc: &Path, tgid: u32) -> Self {
        let folder = proc.join(tgid.to_string()).join("task");
        let tasks = fs::read_dir(folder).into_iter().flatten().flatten();
        let threads = tasks.take(MAX_THREADS).filter_map(|task| {
            let folder = task.path();
            let ran = is_runnable(&folder).then(|| time_used(&folder))??;
            Some(RunnableThread { folder, ran })
        });
        Self {
            tgid,
            threads: threads.collect(),
        }
    }

    /// Whether one of the threads may not have run since it was read.
    pub fn may_still_wait(&self) -> bool {
        self.threads.iter().any(|thread| {
            is_runnable(&thread.folder)
                && time_used(&thread.folder).is_some_and(|used| used < thread.ran + RAN)
        })
    }
}

/// Whether a thread runs or waits for a processor (proc_pid_stat(5)).
fn is_runnable(folder: &Path) -> bool {
    let stat = fs::read(folder.join("stat")).unwrap_or_default();
    // The name before the state is in parentheses and may contain any character.
    let state = stat.iter().rposition(|&byte| byte == b')');
    state.is_some_and(|end| stat.get(end + 2) == Some(&b'R'))
}

/// Returns a thread's processor time; `None` if it has ended, or if the kernel does not measure it.
fn time_used(folder: &Path) -> Option<Duration> {
    let text = fs::read_to_string(folder.join("schedstat")).ok()?;
    let nanoseconds = text.split_ascii_whitespace().next()?.parse().ok()?;
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use std::process;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// A folder like `/proc` that is removed with the value.
    struct FakeThreads(PathBuf);

    impl FakeThreads {
        fn new(name: &str) -> Self {
            let name = format!("flowtop-runnable-{name}-{}", process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for FakeThreads {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn write(proc: &FakeThreads, tid: u32, state: char, ran: Duration) {
        let folder = proc.0.join("7/task").join(tid.to_string());
        fs::create_dir_all(&folder).unwrap();
        let stat = format!("{tid} (a) R (b) {state} 1 7 7 0 -1\n");
        fs::write(folder.join("stat"), stat).unwrap();
        let times = format!("{} 5 9\n", ran.as_nanos());
        fs::write(folder.join("schedstat"), times).unwrap();
    }

    fn may_still_wait(proc: &FakeThreads) -> bool {
        RunnableThreads::read(&proc.0, 7).may_still_wait()
    }

    #[test]
    fn a_thread_waits_until_it_sleeps_runs_or_ends() {
        let ms = Duration::from_millis;
        let proc = FakeThreads::new("ends");
        write(&proc, 7, 'S', ms(900));
        assert!(!may_still_wait(&proc), "all threads sleep");
        write(&proc, 8, 'R', ms(500));
        let threads = RunnableThreads::read(&proc.0, 7);
        assert!(threads.may_still_wait());
        write(&proc, 8, 'R', ms(511));
        assert!(threads.may_still_wait(), "less than a tick of the clock");
        write(&proc, 8, 'R', ms(512));
        assert!(!threads.may_still_wait(), "ran");
        write(&proc, 8, 'S', ms(500));
        assert!(!threads.may_still_wait(), "sleeps");
        write(&proc, 8, 'R', ms(500));
        // Its first call came after the reading.
        write(&proc, 9, 'R', ms(1));
        assert!(threads.may_still_wait());
        fs::remove_dir_all(proc.0.join("7/task/8")).unwrap();
        assert!(!threads.may_still_wait(), "ended");
    }

    #[test]
    fn no_thread_of_a_process_that_is_not_there_waits() {
        let proc = FakeThreads::new("absent");
        assert!(!may_still_wait(&proc));
        write(&proc, 7, 'R', Duration::ZERO);
        assert!(!may_still_wait(&proc), "the kernel does not measure times");
    }

    #[test]
    fn a_thread_that_computes_is_found_and_leaves_the_kernel() {
        let (proc, me) = (Path::new("/proc"), process::id());
        let is_over = AtomicBool::new(false);
        let (started, has_started) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                started.send(rustix::thread::gettid()).unwrap();
                while !is_over.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let tid = has_started.recv().unwrap().as_raw_nonzero().to_string();
            let is_found = || {
                let mut found = RunnableThreads::read(proc, me);
                found.threads.retain(|it| it.folder.ends_with(&tid));
                (!found.threads.is_empty()).then_some(found)
            };
            let threads = std::iter::repeat_with(is_found).flatten().next().unwrap();
            while threads.may_still_wait() {
                thread::yield_now();
            }
            is_over.store(true, Relaxed);
        });
    }
}
