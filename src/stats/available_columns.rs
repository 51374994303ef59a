//! What of all that can be known was ever known: columns that never had anything to show hide.

use crate::model::flow::Flow;
use crate::view::Column;

/// What was seen so far. Once seen, it stays: columns do not come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AvailableColumns {
    packets: bool,
    tcp: bool,
    retransmits: bool,
}

impl AvailableColumns {
    /// Everything there can be.
    pub const ALL: Self = Self {
        packets: true,
        tcp: true,
        retransmits: true,
    };

    /// Takes a flow into account.
    pub(super) fn add(&mut self, flow: &Flow) {
        self.packets |= flow.packets.is_some();
        self.tcp |= flow.tcp.is_some();
        self.retransmits |= flow.tcp.is_some_and(|tcp| tcp.retransmits.is_some());
    }

    /// Whether there ever was anything to show in a column.
    pub const fn has(&self, column: Column) -> bool {
        match column {
            Column::Packets => self.packets,
            Column::Srtt | Column::Cwnd => self.tcp,
            Column::Retransmits => self.retransmits,
            _ => true,
        }
    }
}
