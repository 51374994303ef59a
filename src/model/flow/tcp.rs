//! The state of a TCP connection.

/// What holds a TCP sender back, by the kernel's own clocks (`tcp_sock.chrono_stat`, what TCP_INFO
/// has as `tcpi_busy_time`, `tcpi_rwnd_limited` and `tcpi_sndbuf_limited`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SendLimit {
    /// The peer's receive window: for at least half of the interval.
    ReceiverWindow,
    /// The own send buffer: for at least half of the interval.
    SendBuffer,
    /// Segments were lost and sent again, in the interval.
    Loss,
    /// The application: for more than half of the interval there was nothing under way.
    Application,
}

impl SendLimit {
    /// In plain words, as shown and as JSON has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReceiverWindow => "receiver window",
            Self::SendBuffer => "send buffer",
            Self::Loss => "loss",
            Self::Application => "application",
        }
    }

    /// The one that is called so.
    pub fn named(name: &str) -> Option<Self> {
        let all = [
            Self::ReceiverWindow,
            Self::SendBuffer,
            Self::Loss,
            Self::Application,
        ];
        all.into_iter().find(|limit| limit.as_str() == name)
    }
}

/// How a TCP connection is doing, read from its socket at the end of the interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Smoothed round-trip time in microseconds (`tcp_sock.srtt_us` / 8); 0 before the first
    /// measurement.
    pub srtt_us: u32,
    /// Congestion window, in segments.
    pub cwnd: u32,
    /// Bytes sent and not yet acknowledged (`snd_nxt` - `snd_una`).
    pub unacked: u32,
    /// Bytes written and not yet sent (`write_seq` - `snd_nxt`).
    pub notsent: u32,
    /// The peer's receive window in bytes (`snd_wnd`).
    pub snd_wnd: u32,
    /// The own receive window in bytes (`rcv_wnd`).
    pub rcv_wnd: u32,
    /// Segments sent again since the connection began (`total_retrans`).
    pub total_retransmits: u32,
    /// The same in the interval; `None` in the first interval of a connection that is older than
    /// flowtop's look at it.
    pub retransmits: Option<u32>,
    /// What held the sender back in the interval, where the kernel's counters say so.
    pub limit: Option<SendLimit>,
}
