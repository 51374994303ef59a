//! The state of the live table by part: panes of rows, the search, the chooser of columns, the
//! position in a recording.

pub(super) mod chooser;
pub(super) mod display_options;
pub(super) mod pane;
pub(super) mod panes;
pub(super) mod player_bar;
pub(super) mod search;
pub(super) mod shared;
pub(super) mod stable_order;
pub mod travel;
