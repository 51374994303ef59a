//! The terminal while the table is on it: taken over when a [`Screen`] is made and given back when
//! it is dropped, at a panic in any thread, at a signal that does not wait, and while suspended.

use std::fs::File;
use std::io::{IsTerminal, Stdout, stdin, stdout};
use std::mem::ManuallyDrop;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::style::Print;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::{Backend, CrosstermBackend};
use rustix::process::{Signal, getpid, kill_process};

use super::app::App;
use super::keyboard::ASK_BACKGROUND;
use crate::units;

/// Whether the terminal is taken over: there is only one.
static TAKEN: AtomicBool = AtomicBool::new(false);
static PANIC_HOOK: Once = Once::new();
/// How long someone waits who does not want to wait.
const RESTORED_SOON: Duration = Duration::from_millis(300);
/// Has the terminal put its window's title away, and take it out again.
const SAVE_TITLE: &str = "\x1b[22;2t";
const RESTORE_TITLE: &str = "\x1b[23;2t";
/// Clicks and the wheel are told, moves are not: each would be an event that changes nothing.
const MOUSE: &str = "\x1b[?1000h\x1b[?1006h";
const NO_MOUSE: &str = "\x1b[?1006l\x1b[?1000l";

/// The terminal, taken over.
pub struct Screen {
    /// Never dropped: what it would do then is done by [`restore`], and where the terminal has gone it
    /// would panic, as it complains about the cursor on a standard error that has gone too.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>,
    title: String,
}

impl Screen {
    /// Takes the terminal over. `title` is what the window is called meanwhile.
    ///
    /// # Errors
    /// When it is none or cannot be switched; it is then as before.
    pub fn enter(title: &str) -> Result<Self> {
        restore_at_panic();
        let entered = Self::switch(title);
        if entered.is_err() {
            restore();
        }
        entered
    }

    fn switch(title: &str) -> Result<Self> {
        let title = units::sanitize(title).into_owned();
        take(&title)?;
        let backend = CrosstermBackend::new(stdout());
        let terminal = Terminal::new(backend).context("ask for the terminal's size")?;
        Ok(Self {
            terminal: ManuallyDrop::new(terminal),
            title,
        })
    }

    /// Asks what the background looks like; the answer comes by the keyboard.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn ask_background(&mut self) -> Result<()> {
        execute!(stdout(), Print(ASK_BACKGROUND)).context("ask the terminal for its colours")
    }

    /// Columns and rows of the terminal.
    ///
    /// # Errors
    /// When the terminal does not say.
    pub fn size(&self) -> Result<(u16, u16)> {
        let size = self
            .terminal
            .size()
            .context("ask for the terminal's size")?;
        Ok((size.width, size.height))
    }

    /// Draws the table in the size the terminal has now.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn draw(&mut self, app: &App) -> Result<()> {
        // Given back already, by a panic elsewhere: a drawing would land between its lines.
        if TAKEN.load(Ordering::SeqCst) {
            self.terminal
                .draw(|frame| frame.render_widget(app, frame.area()))
                .context("draw on the terminal")?;
        }
        Ok(())
    }

    /// The next drawing writes every cell, whatever stands there.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn forget(&mut self) -> Result<()> {
        // Not the terminal's own `clear`: that asks where the cursor is, and waits for the answer.
        self.terminal
            .backend_mut()
            .clear()
            .context("clear the terminal")?;
        // Forgets what was drawn last; the other of the two is empty between drawings.
        self.terminal.swap_buffers();
        Ok(())
    }

    /// Gives the terminal back and stops the process, as Ctrl-Z does elsewhere. Returns when it is
    /// continued, with the terminal taken over again.
    ///
    /// # Errors
    /// When the terminal cannot be taken over again.
    pub fn suspend(&mut self) -> Result<()> {
        restore();
        // The signal that cannot be caught, to this process alone: a shell sees it stop.
        kill_process(getpid(), Signal::STOP).context("stop the process")?;
        take(&self.title)?;
        self.forget()
    }
}

/// Makes the terminal the standard input where that is something else, as in `sleep 9 | flowtop`:
/// keys come from the terminal all the same, and there is no other use for it. Later there is no
/// permission to open it.
pub fn take_keyboard() {
    if stdin().is_terminal() {
        return;
    }
    let mut options = File::options();
    // Without a terminal keys cannot be read; who reads them says so.
    if let Ok(terminal) = options.read(true).write(true).open("/dev/tty") {
        let _ = rustix::stdio::dup2_stdin(terminal);
    }
}

fn take(title: &str) -> Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode().context("switch the terminal to raw mode")?;
    execute!(
        stdout(),
        EnterAlternateScreen,
        Hide,
        Print(MOUSE),
        Print(SAVE_TITLE),
        Print(format_args!("\x1b]2;{title}\x1b\\")),
    )
    .context("switch to the alternate screen")
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back, once; from any thread. Errors are left alone: nobody could do more.
pub fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
        let _ = execute!(
            stdout(),
            Print(RESTORE_TITLE),
            Print(NO_MOUSE),
            Show,
            LeaveAlternateScreen
        );
    }
}

/// Gives the terminal back if that can be done soon. One that takes nothing more, as at the other
/// end of a stalled connection, would hold up [`restore`] for as long as it stalls.
pub fn restore_soon() {
    let (done, wait) = mpsc::channel();
    let restoring = thread::Builder::new().spawn(move || {
        restore();
        let _ = done.send(());
    });
    if restoring.is_ok() {
        let _ = wait.recv_timeout(RESTORED_SOON);
    }
}

fn restore_at_panic() {
    PANIC_HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            print(info);
        }));
    });
}
