//! Tests that need neither the kernel side nor root: scripted sources, recordings, and screens
//! drawn into a buffer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

#[path = "../common/mod.rs"]
mod common;

mod containers;
mod diff;
mod engines;
mod hosts;
mod nested_calls;
mod pipeline;
mod programs;
mod recipes;
mod replay;
mod replay_hostile;
mod saving;
mod screens;
mod screens_tcp_owner;
mod selection;
mod shipping;
mod table;
mod travel;
mod usage;
mod zones;
