//! Everything that can happen to an [`App`](super::App), and what it can ask for in return.

use std::time::Duration;

use super::theme::Background;
use crate::interval::Interval;

/// Something that happened.
#[derive(Debug)]
pub enum Action {
    /// An interval has ended: show it.
    Show(Interval),
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
    /// A click on a column and row of the terminal.
    Click(u16, u16),
    /// The wheel was turned over a column and row of the terminal, by so many rows.
    Wheel(u16, u16, i32),
}

/// What a key can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Select the row above.
    Up,
    /// Select the row below.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the first row.
    Home,
    /// To the last row.
    End,
    /// To the other section.
    NextSection,
    /// Open the selected row.
    Enter,
    /// One step back.
    Back,
    /// Sort by the next column.
    NextSort,
    /// Sort by the column before.
    PreviousSort,
    /// Turn the order round.
    Reverse,
    /// Hold the order still, or let it go.
    Freeze,
    /// Begin to type a filter.
    Filter,
    /// The next grouping.
    NextGroup,
    /// Both ways in one table, or apart.
    Combine,
    /// Hold the picture, or let it go.
    Pause,
    /// Totals, or rates.
    Totals,
    /// The next units.
    Units,
    /// Host names, or addresses.
    Names,
    /// Choose columns.
    Columns,
    /// Longer intervals.
    Slower,
    /// Shorter intervals.
    Faster,
    /// The help screen.
    Help,
    /// Draw everything anew.
    Redraw,
    /// Give the terminal back and stop, until continued.
    Suspend,
    /// Leave.
    Quit,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Intervals of this length from now on.
    SetInterval(Duration),
    /// Suspend the process, with the terminal given back.
    Suspend,
    /// Draw everything anew.
    Redraw,
}
