//! The terminal while the table is on it: taken over when a [`Screen`] is made and given back when
//! it is dropped, at a panic in any thread, and at a signal that does not wait.

use std::io::{Stdout, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use super::app::App;

/// Whether the terminal is taken over: there is only one.
static TAKEN: AtomicBool = AtomicBool::new(false);
static PANIC_HOOK: Once = Once::new();
/// How long someone waits who does not want to wait.
const RESTORED_SOON: Duration = Duration::from_millis(300);

/// The terminal, taken over.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// When it is none or cannot be switched; it is then as before.
    pub fn enter() -> Result<Self> {
        restore_at_panic();
        TAKEN.store(true, Ordering::SeqCst);
        let entered = Self::switch();
        if entered.is_err() {
            restore();
        }
        entered
    }

    fn switch() -> Result<Self> {
        enable_raw_mode().context("switch the terminal to raw mode")?;
        execute!(stdout(), EnterAlternateScreen, Hide).context("switch to the alternate screen")?;
        let backend = CrosstermBackend::new(stdout());
        let terminal = Terminal::new(backend).context("ask for the terminal's size")?;
        Ok(Self { terminal })
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
        let _ = execute!(stdout(), Show, LeaveAlternateScreen);
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
