//! Keys and the mouse: reads the terminal, and translates keys and clicks.

pub(super) mod keyboard;
pub(super) mod keys;
pub(super) mod mouse;
