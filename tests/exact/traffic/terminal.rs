//! A flowtop on a pseudo-terminal of its own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context, Result};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::sys::cvt;

/// The end of who sits before the terminal, and the program at the other.
pub struct Terminal {
    pub screen: File,
    pub child: Child,
}

impl Terminal {
    /// Starts flowtop as a shell would, and waits until it has drawn something.
    pub fn start(flowtop: &Path, args: &[&str], ignore_hangup: bool) -> Result<Self> {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&screen)?;
        unlockpt(&screen)?;
        let size = Winsize {
            ws_row: 40,
            ws_col: 140,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&screen, size)?;
        let name = ptsname(&screen, Vec::new())?;
        let line = File::options()
            .read(true)
            .write(true)
            .open(name.to_str()?)?;
        let mut command = Command::new(flowtop);
        command
            .args(args)
            .env("TERM", "xterm")
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .env("XDG_STATE_HOME", "/dev/null")
            .stdin(line.try_clone()?)
            .stdout(line.try_clone()?)
            .stderr(line);
        // SAFETY: system calls without memory arguments between fork and exec.
        unsafe {
            command.pre_exec(move || {
                if ignore_hangup {
                    libc::signal(libc::SIGHUP, libc::SIG_IGN);
                }
                cvt(libc::setsid())?;
                cvt(libc::ioctl(0, libc::TIOCSCTTY, 0)).map(drop)
            });
        }
        let child = command.spawn().context("start flowtop on a terminal")?;
        // It has the line open now, and nobody else: the screen ends when it does.
        drop(command);
        let mut screen = File::from(screen);
        let mut drawn = 0;
        while drawn < 500 {
            drawn += screen.read(&mut [0; 4096]).context("flowtop ended")?;
        }
        Ok(Self { screen, child })
    }

    /// Closes the terminal; the program is left without one.
    pub fn hang_up(self) -> Child {
        self.child
    }

    pub fn press(&mut self, keys: &str) -> Result<()> {
        self.screen.write_all(keys.as_bytes()).context("press keys")
    }
}
