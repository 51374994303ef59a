//! The columns that can be chosen.

use crate::stats::history::AvailableColumns;
use crate::view::Column;

/// Every column that can come and go, of those that ever had anything to show.
pub fn choices(seen: AvailableColumns) -> Vec<Column> {
    let all = Column::ALL.into_iter();
    all.filter(|column| seen.has(*column) && column.drawing().leaves.is_some())
        .collect()
}
