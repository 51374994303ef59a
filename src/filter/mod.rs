//! The filter language: which flows are meant. Turns text into a filter, divides it into what the
//! kernel decides and the rest, and decides the rest. Pure: knows no kernel and no presentation.

mod pushed;

pub use self::pushed::{
    Choice, Family, MAX_NETNS, MAX_NETS, MAX_PORTS, MAX_TASKS, MAX_UIDS, Net, PortRange, Pushed,
    Tasks,
};
