//! Everything that can happen to an [`App`](super::App), and what it can ask for in return.

use std::time::Duration;

pub use crate::options::Command;

use super::draw::theme::Background;
use crate::model::interval::Interval;
use crate::recording::player::{PlayerCommand, PlayerSnapshot};
use crate::recording::recorder::Status;

/// Something that happened.
#[derive(Debug)]
pub enum Action {
    /// An interval has ended: show it.
    IntervalEnded(Interval),
    /// A recording is at a place: show that.
    PlayerMoved(Box<PlayerSnapshot>),
    /// How the recording of what is counted goes.
    Recording(Status),
    /// A host name was found.
    NameFound,
    /// Facts about a process were found.
    OwnerFound,
    /// The terminal said what its background looks like.
    Background(Background),
    /// So many sockets are open; told while nothing was seen to move.
    Sockets(u64),
    /// Time since the start, for what tells how long it has lasted.
    Clock(Duration),
    /// The terminal has this many columns and rows.
    Resize(u16, u16),
    /// A key that means something.
    Do(Command),
    /// A key while text is typed.
    Type(Edit),
    /// Text that was pasted: never keys.
    Paste(String),
    /// A click on a column and row of the terminal.
    Click(u16, u16),
    /// The wheel was turned over a column and row of the terminal, by so many rows.
    Wheel(u16, u16, i32),
}

/// What a key does to text that is being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A character at the end.
    Insert(char),
    /// The last character goes.
    Delete,
    /// The last word goes.
    DeleteWord,
    /// All of it goes.
    Clear,
    /// It is good.
    Accept,
    /// It was not meant.
    Cancel,
}

/// What an [`App`](super::App) asks of the one who runs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// Intervals of this length from now on.
    SetInterval(Duration),
    /// Play the recording so.
    Play(PlayerCommand),
    /// Suspend the process, with the terminal given back.
    Suspend,
    /// Draw everything anew.
    Redraw,
}
