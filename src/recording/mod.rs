//! Recordings: writes intervals to files, and plays them back at any pace.

mod folder;
mod ledger;
pub mod player;
pub mod process_table;
pub mod publisher;
mod queue;
pub mod recorder;
pub mod replay;
mod rotation;
pub mod snapshots;
pub mod switch;
