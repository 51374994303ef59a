//! The terminal while the table is on it: taken over when a [`Screen`] is made and given back when
//! it is dropped, at a panic in any thread, at a signal that does not wait, and while suspended.

use std::fs::File;
use std::io::{self, IsTerminal, Stdout, stdin, stdout};
use std::mem::ManuallyDrop;
use std::os::unix::fs::MetadataExt as _;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use crossterm::cursor::{Hide, Show};
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::style::Print;
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;
use ratatui::{Terminal, TerminalOptions, Viewport};
use rustix::process::{geteuid, getpgrp, getpid, getppid};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

use super::app::App;
use super::basic_colours::BasicColours;
use super::draw::theme::Depth;
use super::input::keyboard::QUERY_BACKGROUND;
use crate::source::signals::job::{self, StopTarget};
use crate::text::sanitize::columns;
use crate::text::units;

/// Whether the terminal is taken over: there is only one.
static TAKEN: AtomicBool = AtomicBool::new(false);
static PANIC_HOOK: Once = Once::new();
/// Maximum wait of [`restore_soon`].
const RESTORED_SOON: Duration = Duration::from_millis(300);
/// Saves the title of the terminal's window, and restores it.
const SAVE_TITLE: &str = "\x1b[22;2t";
const RESTORE_TITLE: &str = "\x1b[23;2t";
/// Reports clicks and the wheel but no moves: each move would be an event that changes nothing.
const MOUSE: &str = "\x1b[?1000h\x1b[?1006h";
const NO_MOUSE: &str = "\x1b[?1006l\x1b[?1000l";
/// The size of a terminal that does not know its own, as in a container that was just started: that
/// of the first terminals, which ncurses takes too.
const DEFAULT_SIZE: (u16, u16) = (80, 24);
/// Control-Z, the character of the terminal driver's key that stops a job.
const CTRL_Z: u8 = 0x1a;

/// The terminal, taken over.
pub struct Screen {
    /// Never dropped: [`restore`] does its work. If the terminal has gone, dropping it would panic,
    /// as it reports an error about the cursor on a standard error that has gone too.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<BasicColours<Stdout>>>>,
    title: String,
    /// Columns and rows of the last drawing.
    drawn: (u16, u16),
    stops_on_ctrl_z: bool,
}

impl Screen {
    /// Takes the terminal over. `title` is the window's title meanwhile; `stops_on_ctrl_z` says
    /// whether that key stops the job, `depth` which colours there are.
    ///
    /// # Errors
    /// When it is none or cannot be switched; it is then as before.
    pub fn enter(title: &str, stops_on_ctrl_z: bool, depth: Depth) -> Result<Self> {
        restore_at_panic();
        let entered = Self::switch(title, stops_on_ctrl_z, depth);
        if entered.is_err() {
            restore();
        }
        entered
    }

    fn switch(title: &str, stops_on_ctrl_z: bool, depth: Depth) -> Result<Self> {
        let title = units::sanitize(title).into_owned();
        take(&title, stops_on_ctrl_z)?;
        let backend = CrosstermBackend::new(BasicColours::new(stdout(), depth == Depth::Ansi16));
        let drawn = size();
        // Not the size that the terminal reports: it may be 0.
        let viewport = Viewport::Fixed(Rect::new(0, 0, drawn.0, drawn.1));
        let terminal = Terminal::with_options(backend, TerminalOptions { viewport });
        let terminal = terminal.context("ask for the terminal's size")?;
        Ok(Self {
            terminal: ManuallyDrop::new(terminal),
            title,
            drawn,
            stops_on_ctrl_z,
        })
    }

    /// Queries the terminal's background; the reply arrives as keyboard input.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn query_background(&mut self) -> Result<()> {
        execute!(stdout(), Print(QUERY_BACKGROUND)).context("ask the terminal for its colours")
    }

    /// Draws the table in the size the terminal has now.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn draw(&mut self, app: &App) -> Result<()> {
        // Restored already, by a panic elsewhere or because another job has it: a drawing would
        // land between its lines.
        if !TAKEN.load(Ordering::SeqCst) {
            return Ok(());
        }
        // The terminal shows all of a drawing at once, never half of it (private mode 2026). One
        // that does not know the mode ignores it.
        queue!(stdout(), BeginSynchronizedUpdate).context("draw on the terminal")?;
        let drawn = self.draw_now(app);
        let ended = execute!(stdout(), EndSynchronizedUpdate);
        drawn.and(ended).context("draw on the terminal")
    }

    fn draw_now(&mut self, app: &App) -> io::Result<()> {
        let size = size();
        if size != self.drawn {
            let area = Rect::new(0, 0, size.0, size.1);
            self.terminal.resize(area)?;
            self.drawn = size;
        }
        self.terminal
            .draw(|frame| frame.render_widget(app, frame.area()))?;
        Ok(())
    }

    /// Puts a text into the terminal's clipboard.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn copy(&mut self, text: &str) -> Result<()> {
        execute!(stdout(), Print(copy_sequence(text))).context("write to the terminal")
    }

    /// Makes the next drawing write every cell.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn force_redraw(&mut self) -> Result<()> {
        // Not the `clear` of ratatui's terminal, which queries the cursor position and waits for
        // the reply.
        self.terminal
            .backend_mut()
            .clear()
            .context("clear the terminal")?;
        // Drops the buffer of the last drawing; the other buffer is empty between drawings.
        self.terminal.swap_buffers();
        Ok(())
    }

    /// Restores the terminal and stops. Returns when the job is continued, or at once if no shell
    /// could continue it; call [`Self::take_again`] next.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn stop(&mut self, whom: StopTarget) -> Result<()> {
        restore();
        job::stop(whom).context("stop the job")
    }

    /// Whether the terminal still has the modes set by flowtop: the process that stopped this one
    /// may have changed them.
    pub fn is_as_taken(&self) -> bool {
        let raw = || {
            tcgetattr(rustix::stdio::stdin())
                .map(|modes| !modes.local_modes.contains(LocalModes::ICANON))
        };
        TAKEN.load(Ordering::SeqCst) && job::is_in_foreground() && raw().unwrap_or(true)
    }

    /// Takes the terminal over again; the next drawing writes every cell.
    ///
    /// # Errors
    /// When it cannot be switched.
    pub fn take_again(&mut self) -> Result<()> {
        restore();
        take(&self.title, self.stops_on_ctrl_z)?;
        self.force_redraw()
    }
}

/// Whether the terminal was closed.
pub fn has_gone() -> bool {
    tcgetattr(rustix::stdio::stdout()).is_err()
}

/// Returns the columns and rows of the terminal. If it does not know them, they come from `COLUMNS`
/// and `LINES`, or from the default.
pub fn size() -> (u16, u16) {
    let (width, height) = crossterm::terminal::size().unwrap_or_default();
    let or = |size: u16, name: &str, usual: u16| match size {
        0 => {
            let message = std::env::var(name)
                .ok()
                .and_then(|message| message.parse().ok());
            message.filter(|&message| message > 0).unwrap_or(usual)
        }
        size => size,
    };
    (
        or(width, "COLUMNS", DEFAULT_SIZE.0),
        or(height, "LINES", DEFAULT_SIZE.1),
    )
}

/// Returns the table as lines of text, to print after it has gone.
pub fn last_screen(app: &App) -> String {
    let (width, height) = size();
    let mut snapshot = Buffer::empty(Rect::new(0, 0, width, height));
    app.render(snapshot.area, &mut snapshot);
    // Without the line of keys at the bottom.
    let area = Rect {
        height: height.saturating_sub(1),
        ..snapshot.area
    };
    snapshot.resize(area);
    text(&snapshot)
}

/// Returns a drawn screen as lines of text, without blanks at their ends.
pub fn text(screen: &Buffer) -> String {
    let area = screen.area;
    let lines = (0..area.height).map(|y| {
        let mut line = String::new();
        let mut x = 0;
        while x < area.width {
            let symbol = screen[(area.x + x, area.y + y)].symbol();
            line.push_str(symbol);
            // A wide character takes two cells.
            x += u16::try_from(columns(symbol)).unwrap_or(1).max(1);
        }
        line.trim_end().to_owned()
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    format!("{}\n", text.trim_end())
}

/// Returns the sequence that puts a text into the terminal's clipboard (OSC 52). It works over ssh
/// and needs no other program; a terminal without it ignores it.
fn copy_sequence(text: &str) -> String {
    format!("\x1b]52;c;{}\x1b\\", BASE64_STANDARD.encode(text))
}

/// Makes the terminal the standard input if that is something else, as in `sleep 9 | flowtop`: keys
/// come from the terminal, and standard input has no other use. Later flowtop has no permission to
/// open it.
pub fn take_keyboard() {
    if stdin().is_terminal() {
        return;
    }
    let mut options = File::options();
    // Without a terminal, the reader of keys reports the error.
    if let Ok(terminal) = options.read(true).write(true).open("/dev/tty") {
        let _ = rustix::stdio::dup2_stdin(terminal);
    }
}

fn take(title: &str, stops_on_ctrl_z: bool) -> Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    // If it was left to another job, its earlier modes are still saved.
    let _ = disable_raw_mode();
    enable_raw_mode().context("switch the terminal to raw mode")?;
    if stops_on_ctrl_z && is_run_by_another_user() {
        let _ = let_the_driver_stop_the_job();
    }
    execute!(
        stdout(),
        EnterAlternateScreen,
        Hide,
        Print(MOUSE),
        EnableBracketedPaste,
        Print(SAVE_TITLE),
        Print(format_args!("\x1b]2;{title}\x1b\\")),
    )
    .context("switch to the alternate screen")
}

/// Whether the parent in the same job runs as another user: a script of root's, for example, as
/// flowtop itself is no longer root. Only the terminal's driver can stop that process.
fn is_run_by_another_user() -> bool {
    let parent = getppid().map(|parent| format!("/proc/{}", parent.as_raw_nonzero()));
    let user = parent.and_then(|parent| std::fs::metadata(parent).ok());
    getpgrp() != getpid() && user.is_some_and(|user| user.uid() != geteuid().as_raw())
}

/// Makes the terminal's driver send SIGTSTP to the whole job at Control-Z, and no other signal for
/// any other key.
fn let_the_driver_stop_the_job() -> rustix::io::Result<()> {
    // `_POSIX_VDISABLE`: no key.
    const NONE: u8 = 0;
    let terminal = rustix::stdio::stdin();
    let mut modes = tcgetattr(terminal)?;
    modes.local_modes |= LocalModes::ISIG | LocalModes::NOFLSH;
    modes.special_codes[SpecialCodeIndex::VINTR] = NONE;
    modes.special_codes[SpecialCodeIndex::VQUIT] = NONE;
    modes.special_codes[SpecialCodeIndex::VSUSP] = CTRL_Z;
    tcsetattr(terminal, OptionalActions::Now, &modes)
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal, once; from any thread. Errors are ignored: nothing more can be done.
pub fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // If another job has the terminal, the modes are that job's; only the drawing is flowtop's.
        if job::is_in_foreground() {
            let _ = disable_raw_mode();
        }
        let _ = execute!(
            stdout(),
            // A panic may come in the middle of a drawing.
            EndSynchronizedUpdate,
            Print(RESTORE_TITLE),
            DisableBracketedPaste,
            Print(NO_MOUSE),
            Show,
            LeaveAlternateScreen
        );
    }
}

/// Restores the terminal if that is possible soon. A terminal that accepts no more output, as at
/// the other end of a stalled connection, would block [`restore`] for as long as it stalls.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_text_is_one_sequence_of_harmless_characters() {
        let text = copy_sequence("10.0.0.5:443");
        assert_eq!(text, "\x1b]52;c;MTAuMC4wLjU6NDQz\x1b\\");
    }
}
