//! The columns that can be chosen.

use crate::stats::history::AvailableColumns;
use crate::view::Column;

/// Every column that can come and go, of those that ever had anything to show.
pub fn choices(seen: AvailableColumns) -> Vec<Column> {
    Column::ALL
        .into_iter()
        .filter(|column| {
            seen.has(*column)
                && !matches!(
                    column,
                    Column::Rate
                        | Column::Rx
                        | Column::Tx
                        | Column::Flows
                        | Column::Local
                        | Column::Remote
                        | Column::Process
                )
        })
        .collect()
}
