//! Keys and the mouse: reads the terminal, and says what a key or a click means.

pub(super) mod keyboard;
pub(super) mod keys;
pub(super) mod mouse;
