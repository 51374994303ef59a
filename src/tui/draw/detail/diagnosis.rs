//! Determines what limits the pace of a TCP connection, from the kernel's own clocks and the
//! socket's state; nothing is estimated.

use crate::model::flow::{Counters, Packets, SendLimit, SendTime, Tcp};
use crate::text::units::{self, Units};

/// Minimum share of an interval, in percent, to call something a limit: that of [`SendLimit`].
const MAIN: u8 = 50;

/// The limit of a connection's pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pace {
    /// The peer's receive window is full: its program reads too slowly.
    PeerWindow,
    SendBuffer,
    Loss,
    /// Bytes wait while segments are in flight.
    Network,
    /// Unread bytes fill this end's receive window.
    OwnProgramReads,
    /// Everything written is in flight.
    RoundTrip,
    /// The program has nothing to send.
    Program,
    /// The peer limits: arriving bytes are read at once.
    PeerSends,
    Mixed,
    /// Unknown until the socket's second reading.
    Unmeasured,
}

/// Facts about a connection in an interval in which it moved bytes.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionFacts {
    pub tcp: Tcp,
    pub packets: Option<Packets>,
    pub moved: Counters,
}

impl Pace {
    /// Determines the limit of the pace.
    pub fn of(facts: &ConnectionFacts) -> Self {
        let tcp = &facts.tcp;
        if facts.moved.rx_bytes > facts.moved.tx_bytes {
            return match tcp.unread > 1 && tcp.unread >= tcp.rcv_wnd {
                true => Self::OwnProgramReads,
                false if tcp.limit == Some(SendLimit::Loss) => Self::Loss,
                false => Self::PeerSends,
            };
        }
        match (tcp.limit, tcp.time) {
            (Some(SendLimit::ReceiverWindow), _) => Self::PeerWindow,
            (Some(SendLimit::SendBuffer), _) => Self::SendBuffer,
            (Some(SendLimit::Loss), _) => Self::Loss,
            (_, Some(time)) if time.in_flight >= MAIN && tcp.notsent > 0 => Self::Network,
            (_, Some(time)) if time.in_flight >= MAIN => Self::RoundTrip,
            (Some(SendLimit::Application), _) => Self::Program,
            (_, Some(time)) if time.idle() >= MAIN => Self::Program,
            (_, Some(_)) => Self::Mixed,
            (None, None) => Self::Unmeasured,
        }
    }

    /// Whether the limit is a fault that can be fixed.
    pub const fn is_trouble(self) -> bool {
        matches!(
            self,
            Self::PeerWindow | Self::SendBuffer | Self::Loss | Self::OwnProgramReads
        )
    }

    /// Returns the name of the limit in lists, as in `3 by loss`.
    pub const fn short(self) -> &'static str {
        match self {
            Self::PeerWindow => "by the peer's window",
            Self::SendBuffer => "by the send buffer",
            Self::Loss => "by loss",
            Self::Network => "by the network",
            Self::OwnProgramReads => "by reading here",
            Self::RoundTrip => "by the round trip",
            Self::Program => "by the program",
            Self::PeerSends => "by the peer or the network",
            Self::Mixed => "by several limits",
            Self::Unmeasured => "not measured yet",
        }
    }

    /// Returns a sentence about the limit, with the values it follows from.
    pub fn sentence(self, facts: &ConnectionFacts, units: Units, ascii: bool) -> String {
        let tcp = &facts.tcp;
        let share = |share: fn(&SendTime) -> u8| match tcp.time {
            Some(time) => format!("{} % of the interval", share(&time)),
            None => "most of the interval".to_owned(),
        };
        let size = |bytes: u32| units.amount(bytes.into());
        match self {
            Self::PeerWindow => format!(
                "The peer reads too slowly: its window stops the sender {}.",
                share(|time| time.receiver_window)
            ),
            Self::SendBuffer => format!(
                "The send buffer of this socket is too small: it stops the sender {}.",
                share(|time| time.send_buffer)
            ),
            Self::Loss => format!("The network loses segments: {} retransmitted.", lost(facts)),
            Self::Network => format!(
                "The network sets the pace: {} segments were in flight, while {} wait to be sent.",
                share(|time| time.in_flight),
                size(tcp.notsent)
            ),
            Self::RoundTrip => format!(
                "The round trip sets the pace: {} the sender waited for acknowledgements{}, with \
                 nothing left to send.",
                share(|time| time.in_flight),
                match tcp.srtt_us {
                    0 => String::new(),
                    us => format!(" of {}", units::short_time(us.into(), ascii)),
                }
            ),
            Self::Program => format!(
                "The program sets the pace: it had nothing to send {}.",
                share(SendTime::idle)
            ),
            Self::OwnProgramReads => format!(
                "This program reads too slowly: {} wait unread, its window is down to {}.",
                size(tcp.unread),
                size(tcp.rcv_wnd)
            ),
            Self::PeerSends if tcp.unread > 1 => format!(
                "The peer or the network sets the pace: {} wait unread, the window is {}.",
                size(tcp.unread),
                size(tcp.rcv_wnd)
            ),
            Self::PeerSends => {
                "The peer or the network sets the pace: what arrived has been read.".to_owned()
            }
            Self::Mixed => "No single limit takes half of the interval.".to_owned(),
            Self::Unmeasured => {
                "What limits the sender takes one more interval to measure.".to_owned()
            }
        }
    }
}

/// Returns the retransmitted segments, as in `12 of 4300 segments (0.28 %)`.
pub fn lost(facts: &ConnectionFacts) -> String {
    let again = u64::from(facts.tcp.retransmits.unwrap_or(0));
    match facts.packets {
        Some(packets) if packets.tx >= again && packets.tx > 0 => {
            let share = again as f64 * 100.0 / packets.tx as f64;
            let share = match again {
                0 => "0 %".to_owned(),
                _ if share < 0.01 => "<0.01 %".to_owned(),
                _ => format!("{share:.2} %"),
            };
            format!("{again} of {} segments ({share})", packets.tx)
        }
        _ => units::count(again, "segment"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(rx_bytes: u64, tx_bytes: u64, tcp: Tcp) -> ConnectionFacts {
        ConnectionFacts {
            tcp,
            packets: Some(Packets { rx: 10, tx: 4300 }),
            moved: Counters {
                rx_bytes,
                tx_bytes,
                ..Counters::default()
            },
        }
    }

    fn diagnosed(facts: &ConnectionFacts) -> (Pace, String) {
        let pace = Pace::of(facts);
        (pace, pace.sentence(facts, Units::Bytes, true))
    }

    #[test]
    fn the_pace_is_told_with_the_figures_it_follows_from() {
        let time = SendTime::of;
        let cases = [
            (
                Some(SendLimit::ReceiverWindow),
                time(250, 155, 0, 75),
                9,
                Pace::PeerWindow,
                "62 %",
            ),
            (
                Some(SendLimit::SendBuffer),
                time(250, 0, 250, 0),
                9,
                Pace::SendBuffer,
                "100 %",
            ),
            (
                Some(SendLimit::Loss),
                time(250, 0, 0, 200),
                9,
                Pace::Loss,
                "12 of 4300 segments (0.28 %)",
            ),
            (
                None,
                time(250, 0, 0, 240),
                9000,
                Pace::Network,
                "96 % of the interval segments were in flight, while 9.00 kB wait",
            ),
            (
                None,
                time(250, 0, 0, 240),
                0,
                Pace::RoundTrip,
                "acknowledgements of 12.3 ms",
            ),
            (
                Some(SendLimit::Application),
                time(250, 0, 0, 20),
                0,
                Pace::Program,
                "nothing to send 92 %",
            ),
            (
                None,
                time(250, 0, 0, 0),
                0,
                Pace::Program,
                "nothing to send 100 %",
            ),
            (
                None,
                time(250, 80, 80, 90),
                0,
                Pace::Mixed,
                "No single limit",
            ),
            (None, None, 9, Pace::Unmeasured, "one more interval"),
        ];
        for (limit, time, notsent, pace, figure) in cases {
            let tcp = Tcp {
                limit,
                time,
                notsent,
                srtt_us: 12_300,
                retransmits: Some(12),
                ..Tcp::default()
            };
            let (found, sentence) = diagnosed(&facts(5, 10, tcp));
            assert_eq!(found, pace, "{sentence}");
            assert!(sentence.contains(figure), "{sentence}");
        }
    }

    #[test]
    fn a_receiver_is_slow_only_if_what_waits_fills_its_window() {
        let tcp = Tcp {
            unread: 70_000,
            rcv_wnd: 1000,
            limit: Some(SendLimit::Application),
            time: SendTime::of(250, 0, 0, 1),
            ..Tcp::default()
        };
        let (pace, sentence) = diagnosed(&facts(10, 5, tcp));
        assert_eq!(pace, Pace::OwnProgramReads);
        assert!(
            sentence.contains("70.0 kB wait unread, its window is down to 1.00 kB"),
            "{sentence}"
        );
        let roomy = Tcp {
            rcv_wnd: 6 << 20,
            ..tcp
        };
        assert_eq!(diagnosed(&facts(10, 5, roomy)).0, Pace::PeerSends);
        // An unread FIN takes a sequence number but is no byte to read.
        let closing = Tcp {
            unread: 1,
            rcv_wnd: 0,
            ..tcp
        };
        assert_eq!(diagnosed(&facts(10, 5, closing)).0, Pace::PeerSends);
    }
}
