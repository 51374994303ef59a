//! JSON Lines as an output format.

use anyhow::Result;

use super::Report;
use crate::jsonl::writer::Json;
use crate::model::interval::RecordingMetadata;
use crate::resolve::names::Names;
use crate::stats::ranking::{GroupTotals, Ranking};
use crate::view::Group;

impl Report for Json {
    fn append(&mut self, ranking: &Ranking, names: &Names, out: &mut Vec<u8>) -> Result<()> {
        Self::append(self, ranking, names, out)
    }

    fn append_groups(
        &mut self,
        group: Group,
        ranking: &Ranking<GroupTotals>,
        names: &Names,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        Self::append_groups(self, group, ranking, names, out)
    }

    fn learn(&mut self, metadata: &RecordingMetadata) {
        Self::learn(self, metadata);
    }
}
