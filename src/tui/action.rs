//! Inputs of an [`App`](super::App), and the requests it returns.

use std::time::Duration;

pub use crate::options::Command;

use super::draw::theme::Background;
use crate::model::interval::Interval;
use crate::options::SavedSettings;
use crate::recording::player::{PlayerCommand, PlayerSnapshot};
use crate::recording::recorder::Status;

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one action exists at a time, and most of them are intervals"
)]
pub enum Action {
    IntervalEnded(Interval),
    /// The player shows another moment of the recording.
    PlayerMoved(Box<PlayerSnapshot>),
    /// State of the recording that is being written, if there is one.
    Recording(Option<Status>),
    /// The outcome of a request, or the reason why it was refused.
    Reported(Result<String, String>),
    /// Host names became known.
    NameFound,
    /// Facts about processes became known.
    OwnerFound,
    /// The terminal reported its background.
    Background(Background),
    /// Number of open sockets; sent only until the first bytes move.
    Sockets(u64),
    /// Time since the start.
    Clock(Duration),
    /// The terminal has this many columns and rows.
    Resize(u16, u16),
    /// Ctrl-C, or a signal: quits from any part of the screen.
    Stop,
    /// A key that is bound to a command.
    Command(Command),
    /// A key while text is typed.
    Type(Edit),
    /// A digit or letter in a list chooses its entry, counted from 0.
    Choose(usize),
    /// Pasted text, which is never read as keys.
    Paste(String),
    /// A click on a column and row of the terminal.
    Click(u16, u16),
    /// The wheel turned over a column and row of the terminal, by this many rows.
    Wheel(u16, u16, i32),
}

/// The edit of a key in a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    Insert(char),
    Left,
    Right,
    WordLeft,
    WordRight,
    /// To the start of the line.
    Home,
    /// To the end of the line.
    End,
    /// Deletes the character before the cursor.
    DeleteBefore,
    /// Deletes the character after the cursor.
    DeleteAfter,
    DeleteWordBefore,
    DeleteWordAfter,
    DeleteToStart,
    DeleteToEnd,
    /// The text typed before this one.
    Older,
    /// The text typed after this one.
    Newer,
    /// Completes the word before the cursor, or takes the next candidate.
    Complete,
    /// Takes the candidate before.
    CompleteBack,
    /// Enter: apply the text.
    Accept,
    /// Esc: discard the text.
    Cancel,
}

/// A request of an [`App`](super::App) to its caller.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Set the length of intervals.
    SetInterval(Duration),
    /// Send a command to the player.
    Play(PlayerCommand),
    /// Restore the terminal and suspend the process.
    Suspend,
    /// Redraw the whole screen.
    Redraw,
    /// Keep a line for the prompts of later runs.
    Remember(String),
    /// Save a snapshot of the screen.
    Snapshot,
    /// Save settings in the configuration file.
    Save(SavedSettings),
    /// Start a recording, or stop it.
    Record,
    /// Put a text into the terminal's clipboard.
    Copy(String),
}
