//! Turns the first SIGINT, SIGTERM or SIGHUP into a request to stop. A second SIGINT, from someone
//! who does not want to wait, ends flowtop at once.

pub mod job;

use std::io;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU,
};
use signal_hook::iterator::Signals;

/// Signals closer together than this are one request: `timeout` and shells send the same signal to
/// the process and again to its group.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Caught signals that were not handled yet.
#[derive(Debug)]
pub struct SignalHandler {
    signals: Signals,
}

impl SignalHandler {
    /// Catches the signals.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            signals: Signals::new([SIGINT, SIGTERM, SIGHUP])?,
        })
    }

    /// Catches every signal that would end the process and that can be caught, so that the terminal
    /// is restored first.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn install_for_terminal() -> io::Result<Self> {
        let watch = Self::install()?;
        for signal in [
            SIGQUIT, SIGALRM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGPROF, SIGXCPU, SIGIO,
        ] {
            watch.signals.add_signal(signal)?;
        }
        Ok(watch)
    }

    /// Whether a signal has come since the last call.
    pub fn is_stop_requested(&mut self) -> bool {
        self.signals.pending().next().is_some()
    }

    /// Calls `stop` at the first signal. At a later SIGINT calls `abandon` and ends the process
    /// with 128 plus the signal's number, as the shell would.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn forward(
        mut self,
        stop: impl Fn() + Send + 'static,
        abandon: impl Fn() + Send + 'static,
    ) -> io::Result<()> {
        let mut shutdown = ShutdownState::default();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in self.signals.forever() {
                    match shutdown.judge(signal, Instant::now()) {
                        Verdict::Stop => stop(),
                        Verdict::Ignore => {}
                        Verdict::Abandon => {
                            abandon();
                            process::exit(128 + signal);
                        }
                    }
                }
            })
            .map(drop)
    }
}

#[derive(Debug, Default)]
struct ShutdownState {
    first: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Stop,
    Ignore,
    Abandon,
}

impl ShutdownState {
    fn judge(&mut self, signal: i32, now: Instant) -> Verdict {
        match self.first {
            None => {
                self.first = Some(now);
                Verdict::Stop
            }
            Some(first) if signal == SIGINT && now - first >= DEBOUNCE => Verdict::Abandon,
            Some(_) => Verdict::Ignore,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_stops_and_a_second_sigint_abandons() {
        let start = Instant::now();
        let mut shutdown = ShutdownState::default();
        assert_eq!(shutdown.judge(SIGTERM, start), Verdict::Stop);
        assert_eq!(shutdown.judge(SIGTERM, start + DEBOUNCE), Verdict::Ignore);
        assert_eq!(shutdown.judge(SIGINT, start + DEBOUNCE), Verdict::Abandon);
    }

    #[test]
    fn a_signal_sent_to_process_and_group_is_one_request() {
        let start = Instant::now();
        let mut shutdown = ShutdownState::default();
        assert_eq!(shutdown.judge(SIGINT, start), Verdict::Stop);
        assert_eq!(
            shutdown.judge(SIGINT, start + DEBOUNCE / 2),
            Verdict::Ignore
        );
    }
}
