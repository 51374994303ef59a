//! Views of the live table, selected by a key, `--view` or the configuration file: a grouping, one
//! table or two for the directions, and an order.

use std::str::FromStr;

use super::{Column, Group, SortKey};
use crate::text::suggest::UnknownWord;

/// A view of the live table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preset {
    /// Flows in two sections, Ingress and Egress.
    #[default]
    Overview,
    /// Programs in one table, which open in place.
    Programs,
    /// Remote addresses in one table.
    Peers,
    /// TCP connections by retransmitted segments, with round-trip time and congestion window.
    Tcp,
    /// Containers and pods in one table.
    Containers,
}

/// The definition of a view.
#[derive(Clone, Copy, Debug)]
pub struct PresetSpec {
    /// The name on the command line and in the configuration file.
    pub name: &'static str,
    pub group: Group,
    /// Whether one table shows both directions.
    pub is_joined: bool,
    pub sort: SortKey,
    /// Columns, where the view has its own.
    pub columns: Option<&'static [Column]>,
}

const JOINED: PresetSpec = PresetSpec {
    name: "",
    group: Group::Flow,
    is_joined: true,
    sort: SortKey::by(Column::Rate),
    columns: None,
};

const OVERVIEW: PresetSpec = PresetSpec {
    name: "overview",
    is_joined: false,
    ..JOINED
};

const PROGRAMS: PresetSpec = PresetSpec {
    name: "programs",
    group: Group::Program,
    ..JOINED
};

const PEERS: PresetSpec = PresetSpec {
    name: "peers",
    group: Group::Remote,
    ..JOINED
};

const TCP: PresetSpec = PresetSpec {
    name: "tcp",
    sort: SortKey::by(Column::Retransmits),
    columns: Some(&[
        Column::Process,
        Column::Pid,
        Column::Rx,
        Column::Tx,
        Column::Avg10,
        Column::Spark,
        Column::Remote,
        Column::Local,
        Column::Srtt,
        Column::Retransmits,
        Column::Cwnd,
    ]),
    ..JOINED
};

const CONTAINERS: PresetSpec = PresetSpec {
    name: "containers",
    group: Group::Container,
    ..JOINED
};

impl Preset {
    /// Every view, in the order of their keys.
    pub const ALL: [Self; 5] = [
        Self::Overview,
        Self::Programs,
        Self::Peers,
        Self::Tcp,
        Self::Containers,
    ];

    /// Returns its entry in the table.
    pub const fn spec(self) -> &'static PresetSpec {
        match self {
            Self::Overview => &OVERVIEW,
            Self::Programs => &PROGRAMS,
            Self::Peers => &PEERS,
            Self::Tcp => &TCP,
            Self::Containers => &CONTAINERS,
        }
    }

    /// The name on the command line and in the configuration file.
    pub const fn as_str(self) -> &'static str {
        self.spec().name
    }
}

impl FromStr for Preset {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.map(Self::as_str);
        let found = Self::ALL.into_iter().find(|view| view.as_str() == word);
        found.ok_or_else(|| UnknownWord::new("view", word, &known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_is_read_as_it_is_written() {
        for view in Preset::ALL {
            assert_eq!(view.as_str().parse(), Ok(view));
        }
        let message = |word: &str| word.parse::<Preset>().unwrap_err().to_string();
        assert!(message("program").contains("did you mean \"programs\"?"));
        assert!(message("2").contains("use overview, programs, peers, tcp"));
    }

    #[test]
    fn the_default_view_has_two_sections_of_flows() {
        let spec = Preset::default().spec();
        assert_eq!((spec.group, spec.is_joined), (Group::Flow, false));
    }
}
