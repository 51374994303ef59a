//! What a recording in place of a live machine means to the state: pictures come whole, keys go to the
//! player.

use std::sync::Arc;
use std::time::Duration;

use crate::jsonl::CorruptRecording;
use crate::recording::player::{Direction, Order, PlayerSnapshot, Position};
use crate::tui::action::{Command, Request};
use crate::tui::app::App;

/// A seek by key is this part of the whole, or so long where that is not known.
const SEEK_PARTS: u32 = 20;
const SEEK: Duration = Duration::from_secs(60);

impl App {
    /// Says that a recording is to be shown: before anything of it is there.
    pub fn begin_replay(&mut self) {
        self.position = Some(Position {
            speed: 1.0,
            ..Position::default()
        });
    }

    /// What could not be read.
    pub(in crate::tui) fn into_damages(self) -> Vec<CorruptRecording> {
        self.position
            .map(|position| position.damages)
            .unwrap_or_default()
    }

    pub(in crate::tui) fn show_picture(&mut self, picture: PlayerSnapshot) {
        let told = picture.told;
        for (uid, name) in &told.users {
            self.owners.learn_user(*uid, Arc::clone(name));
        }
        for tgid in &told.own {
            self.names.learn_own(*tgid);
        }
        self.machine = told.machine;
        self.counted = told.filter;
        self.position = Some(picture.position);
        self.method = picture.method;
        self.flows_now = picture.flows;
        self.traffic_seen = !picture.history.all().total.is_zero();
        self.history = picture.history;
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
            Command::StepForward => Order::Step(1),
            Command::StepBack => Order::Step(-1),
            Command::SeekForward => Order::SeekBy(seek, Direction::Forward),
            Command::SeekBack => Order::SeekBy(seek, Direction::Back),
            Command::SpeedUp => Order::Speed(Direction::Forward),
            Command::SpeedDown => Order::Speed(Direction::Back),
            _ => return,
        };
        self.request = Some(Request::Play(order));
    }
}
