//! The state of the live table by part: panes of rows, the prompt, lists, the position in a
//! recording.

pub(super) mod chooser;
pub(super) mod completion;
pub(super) mod display_options;
pub(super) mod find;
pub(super) mod find_rows;
pub(super) mod line_editor;
pub(super) mod list;
pub(super) mod pane;
pub(super) mod panes;
pub(super) mod player_bar;
pub(super) mod prompt;
pub(super) mod row_filter;
pub(super) mod row_terms;
pub(super) mod saving;
pub(super) mod shared;
pub(super) mod stable_order;
pub mod travel;
pub(super) mod tree;
