//! The player of a recording: its position, and the commands of keys and clicks. Drawing is in
//! `tui/draw/timeline`.

use std::time::Duration;

use ratatui::layout::Position;

use super::shared::SharedState;
use crate::jsonl::CorruptRecording;
use crate::recording::player::{PlayerCommand, PlayerPosition, SeekDirection};
use crate::tui::action::Command;

/// A seek by key moves by this fraction of the recording, or by a fixed time if its length is
/// unknown.
const SEEK_PARTS: u32 = 20;
const SEEK: Duration = Duration::from_secs(60);

/// The player's part of the first line, with the commands of keys and clicks.
#[derive(Debug, Default)]
pub struct PlayerBar {
    /// Position in the recording; `None` for a live machine.
    pub(in crate::tui) position: Option<PlayerPosition>,
}

impl PlayerBar {
    /// Switches to showing a recording, before its first interval arrives.
    pub fn begin(&mut self) {
        self.position = Some(PlayerPosition {
            speed: 1.0,
            ..PlayerPosition::default()
        });
    }

    /// Whether a recording is shown, not a live machine.
    pub fn is_shown(&self) -> bool {
        self.position.is_some()
    }

    /// Parts of the recording that could not be read so far.
    pub fn corruptions(&self) -> &[CorruptRecording] {
        let position = self.position.as_ref();
        position.map_or(&[], |position| &position.corruptions)
    }

    /// Returns the parts of the recording that could not be read.
    pub fn into_corruptions(self) -> Vec<CorruptRecording> {
        self.position
            .map(|position| position.corruptions)
            .unwrap_or_default()
    }

    /// Translates a command for the player; `None` for a live machine.
    pub fn order(&self, command: Command) -> Option<PlayerCommand> {
        let position = self.position.as_ref()?;
        let seek = position.whole.map_or(SEEK, |whole| whole / SEEK_PARTS);
        match command {
            Command::StepForward => Some(PlayerCommand::Step(1)),
            Command::StepBack => Some(PlayerCommand::Step(-1)),
            Command::SeekForward => Some(PlayerCommand::SeekBy(seek, SeekDirection::Forward)),
            Command::SeekBack => Some(PlayerCommand::SeekBy(seek, SeekDirection::Back)),
            Command::SpeedUp => Some(PlayerCommand::Speed(SeekDirection::Forward)),
            Command::SpeedDown => Some(PlayerCommand::Speed(SeekDirection::Back)),
            _ => None,
        }
    }

    /// Translates a click on the bar into a seek to the middle of the clicked cell; `filter` is the
    /// width of the filter beside it, in cells.
    pub fn click(&self, shared: &SharedState, filter: u16, at: Position) -> Option<PlayerCommand> {
        let bar = self.timeline(shared, filter, shared.area)?.bar;
        let part = (f64::from(at.x.saturating_sub(bar.x)) + 0.5) / f64::from(bar.width);
        bar.contains(at).then_some(PlayerCommand::SeekTo(part))
    }
}
