//! What a recording in place of a live machine means to the state: pictures come whole, keys go to the
//! player.

use std::sync::Arc;
use std::time::Duration;

use crate::jsonl::CorruptRecording;
use crate::recording::player::{PlayerCommand, PlayerPosition, PlayerSnapshot, SeekDirection};
use crate::tui::action::{Command, Effect};
use crate::tui::app::App;

/// A seek by key is this part of the whole, or so long where that is not known.
const SEEK_PARTS: u32 = 20;
const SEEK: Duration = Duration::from_secs(60);

impl App {
    /// Says that a recording is to be shown: before anything of it is there.
    pub fn begin_replay(&mut self) {
        self.position = Some(PlayerPosition {
            speed: 1.0,
            ..PlayerPosition::default()
        });
    }

    /// What could not be read.
    pub(in crate::tui) fn into_corruptions(self) -> Vec<CorruptRecording> {
        self.position
            .map(|position| position.corruptions)
            .unwrap_or_default()
    }

    pub(in crate::tui) fn show_snapshot(&mut self, snapshot: PlayerSnapshot) {
        let metadata = snapshot.metadata;
        for (uid, name) in &metadata.users {
            self.owners.learn_user(*uid, Arc::clone(name));
        }
        for tgid in &metadata.own {
            self.names.learn_own(*tgid);
        }
        self.machine = metadata.machine;
        self.counted = metadata.filter;
        self.position = Some(snapshot.position);
        self.method = snapshot.method;
        self.flows_now = snapshot.flows;
        self.traffic_seen = !snapshot.history.all().total.is_zero();
        self.history = snapshot.history;
        self.rebuild();
        self.grow();
    }

    /// What a key of the player asks for; nothing of a live machine.
    pub(in crate::tui) fn play(&mut self, command: Command) {
        let Some(position) = &self.position else {
            return;
        };
        let seek = position.whole.map_or(SEEK, |whole| whole / SEEK_PARTS);
        let order = match command {
            Command::StepForward => PlayerCommand::Step(1),
            Command::StepBack => PlayerCommand::Step(-1),
            Command::SeekForward => PlayerCommand::SeekBy(seek, SeekDirection::Forward),
            Command::SeekBack => PlayerCommand::SeekBy(seek, SeekDirection::Back),
            Command::SpeedUp => PlayerCommand::Speed(SeekDirection::Forward),
            Command::SpeedDown => PlayerCommand::Speed(SeekDirection::Back),
            _ => return,
        };
        self.request = Some(Effect::Play(order));
    }
}
