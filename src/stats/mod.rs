//! Statistics of flows over time, and the rows of tables made of them: rankings, groups and their
//! order.

mod available_columns;
pub mod comparison;
mod groups;
pub mod history;
pub mod moments;
mod order;
mod process_lookup;
mod ranked;
pub mod ranking;
mod recent;
mod row;
mod row_id;
mod rows;
pub mod run_totals;
mod tcp_stats;
mod top;
mod traffic;
pub mod usage;
pub mod wire;
pub mod zone_totals;
