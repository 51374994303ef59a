//! The columns that can be chosen.

use crate::table::Column;

/// Every column that can come and go.
pub fn choices() -> Vec<Column> {
    Column::ALL
        .into_iter()
        .filter(|column| {
            column.has_data()
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
