//! Text files of Linux that several parts of flowtop read.

pub mod accounts;
pub mod mounts;
