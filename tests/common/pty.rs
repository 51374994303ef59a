//! A pseudo-terminal, and a program that has it as its controlling one, as under a shell.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// How long something may take that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Both ends of a terminal.
pub struct Pty {
    /// The end of who sits before it: keys go in, what is drawn comes out.
    pub keyboard: File,
    /// The program's end; kept open so that its modes can be looked at afterwards.
    pub line: File,
}

impl Pty {
    pub fn open(width: u16, height: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let mut options = File::options();
        let line = options.read(true).write(true).open(name.to_str().unwrap());
        resize(&master, width, height);
        Self {
            keyboard: master.into(),
            line: line.unwrap(),
        }
    }

    /// A program on this terminal, in a session of its own.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(program.as_ref())
            .env("TERM", "xterm-256color")
            .env_remove("COLORFGBG")
            .env_remove("COLORTERM")
            .env_remove("NO_COLOR")
            .env_remove("RUST_BACKTRACE")
            .stdin(self.line.try_clone().unwrap())
            .stdout(self.line.try_clone().unwrap())
            .stderr(self.line.try_clone().unwrap());
        command
    }

    /// Hands on what is drawn, until nobody has the line open.
    pub fn read(&self, mut take: impl FnMut(&[u8]) + Send + 'static) -> JoinHandle<()> {
        let mut output = self.keyboard.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 8192];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                take(&bytes[..n]);
            }
        })
    }
}

/// Whether keys go to the program one by one.
pub fn is_raw(line: impl AsFd) -> bool {
    let modes = tcgetattr(line).unwrap().local_modes;
    !modes.contains(LocalModes::ICANON)
}

pub fn resize(terminal: impl AsFd, width: u16, height: u16) {
    let size = Winsize {
        ws_row: height,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
}

/// Something that one thread changes and another waits for, without looking again and again.
#[derive(Default)]
pub struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    pub fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Condvar::new(),
        }
    }

    pub fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        look(&mut self.stall())
    }

    /// Keeps everyone else from looking and changing until it is dropped.
    pub fn stall(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn change(&self, change: impl FnOnce(&mut T)) {
        self.with(change);
        self.changed.notify_all();
    }

    /// Waits until it is so; false when that takes too long.
    pub fn wait_until(&self, mut is_so: impl FnMut(&mut T) -> bool) -> bool {
        let start = Instant::now();
        let mut value = self.stall();
        while !is_so(&mut value) {
            let Some(left) = PATIENCE.checked_sub(start.elapsed()) else {
                return false;
            };
            let waited = self.changed.wait_timeout(value, left);
            value = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
