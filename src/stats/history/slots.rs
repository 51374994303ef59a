//! The index from keys to slots. It holds slot numbers only; the keys are in the slots.

use std::hash::BuildHasher;

use super::{FlowStats, History};
use crate::model::flow::FlowKey;

/// The slot of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Recent(u32),
    Past(u32),
}

impl History {
    /// Returns the slot of a flow among the recent ones; moves it there if it was past.
    pub(super) fn activate(&mut self, slot: Slot) -> usize {
        match slot {
            Slot::Recent(i) => i as usize,
            Slot::Past(i) => {
                let stats = self.take_past(i as usize);
                self.recent.push(stats);
                let i = self.recent.len() - 1;
                self.index_insert(Slot::Recent(i as u32));
                i
            }
        }
    }

    pub(super) fn find(&self, key: &FlowKey) -> Option<Slot> {
        let is_it = |slot: &Slot| match *slot {
            Slot::Recent(i) => self.recent[i as usize].key == *key,
            Slot::Past(i) => self.past[i as usize].key == *key,
        };
        self.index.find(self.hasher.hash_one(key), is_it).copied()
    }

    /// Adds the slot of a new flow to the index.
    pub(super) fn index_insert(&mut self, slot: Slot) {
        let hash = |slot: &Slot| {
            self.hasher.hash_one(match *slot {
                Slot::Recent(i) => &self.recent[i as usize].key,
                Slot::Past(i) => &self.past[i as usize].key,
            })
        };
        self.index.insert_unique(hash(&slot), slot, hash);
    }

    /// Changes the slot of a flow in the index; `None` removes it.
    pub(super) fn index_move(&mut self, key: &FlowKey, from: Slot, to: Option<Slot>) {
        let hash = self.hasher.hash_one(key);
        if let Ok(mut note) = self.index.find_entry(hash, |slot| *slot == from) {
            match to {
                Some(to) => *note.get_mut() = to,
                None => drop(note.remove()),
            }
        }
    }

    pub(super) fn take_past(&mut self, i: usize) -> FlowStats {
        let stats = self.past.swap_remove(i);
        let (here, last) = (Slot::Past(i as u32), Slot::Past(self.past.len() as u32));
        self.index_move(&stats.key, here, None);
        if let Some(moved) = self.past.get(i) {
            self.index_move(&{ moved.key }, last, Some(here));
        }
        stats
    }

    pub(super) fn take_recent(&mut self, i: usize) -> FlowStats {
        let mut stats = self.recent.swap_remove(i);
        let (here, last) = (
            Slot::Recent(i as u32),
            Slot::Recent(self.recent.len() as u32),
        );
        self.index_move(&stats.key, here, None);
        if let Some(moved) = self.recent.get(i) {
            self.index_move(&{ moved.key }, last, Some(here));
        }
        if stats.ring.take().is_some() {
            self.sparks -= 1;
        }
        stats
    }
}
