//! The state of a TCP connection.

/// The limit of a TCP sender, by the kernel's own clocks (`tcp_sock.chrono_stat`; in TCP_INFO
/// `tcpi_busy_time`, `tcpi_rwnd_limited` and `tcpi_sndbuf_limited`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SendLimit {
    /// The peer's receive window: for at least half of the interval.
    ReceiverWindow,
    /// The local send buffer: for at least half of the interval.
    SendBuffer,
    /// Loss: segments were retransmitted in the interval.
    Loss,
    /// The application: for more than half of the interval nothing was in flight.
    Application,
}

impl SendLimit {
    /// Returns the words of the screen and of JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReceiverWindow => "receiver window",
            Self::SendBuffer => "send buffer",
            Self::Loss => "loss",
            Self::Application => "application",
        }
    }

    /// Returns the limit of this name.
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

/// How a TCP sender spent an interval: shares in percent that add up to 100, by the clocks of
/// [`SendLimit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendTime {
    /// Limited by the peer's receive window.
    pub receiver_window: u8,
    /// Limited by the local send buffer.
    pub send_buffer: u8,
    /// Limited by neither, with segments in flight: by the congestion window, pacing and the path.
    pub in_flight: u8,
}

impl SendTime {
    /// Returns the shares of `elapsed` ticks; `None` if the parts do not add up.
    pub fn of(
        elapsed: u32,
        receiver_window: u32,
        send_buffer: u32,
        in_flight: u32,
    ) -> Option<Self> {
        let held = receiver_window.checked_add(send_buffer)?;
        let idle = elapsed.checked_sub(held.checked_add(in_flight)?)?;
        let parts = [receiver_window, send_buffer, in_flight, idle].map(u64::from);
        let whole = u64::from(elapsed.max(1));
        let mut shares = parts.map(|part| part * 100 / whole);
        // The largest remainders get what rounding down took, so that the shares add up.
        let mut by_remainder = [0, 1, 2, 3];
        by_remainder.sort_by_key(|&n: &usize| std::cmp::Reverse(parts[n] * 100 % whole));
        let missing = 100 - shares.iter().sum::<u64>().min(100);
        for &part in by_remainder
            .iter()
            .take(usize::try_from(missing).unwrap_or(0))
        {
            shares[part] += 1;
        }
        let [receiver_window, send_buffer, in_flight, _] =
            shares.map(|share| u8::try_from(share).unwrap_or(100));
        Some(Self {
            receiver_window,
            send_buffer,
            in_flight,
        })
    }

    /// Nothing was in flight and nothing waited: the application had nothing to send.
    pub const fn idle(&self) -> u8 {
        100_u8
            .saturating_sub(self.receiver_window)
            .saturating_sub(self.send_buffer)
            .saturating_sub(self.in_flight)
    }
}

/// State of a TCP connection, read from its socket at the end of the interval.
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
    /// Bytes received and not yet read by the application (`rcv_nxt` - `copied_seq`).
    pub unread: u32,
    /// The peer's receive window in bytes (`snd_wnd`).
    pub snd_wnd: u32,
    /// The own receive window in bytes (`rcv_wnd`).
    pub rcv_wnd: u32,
    /// Segments retransmitted since the connection began (`total_retrans`).
    pub total_retransmits: u32,
    /// Segments retransmitted in the interval; `None` in the first interval of a connection that is
    /// older than flowtop's first reading of it.
    pub retransmits: Option<u32>,
    /// Limit of the sender in the interval, if the kernel's counters give one.
    pub limit: Option<SendLimit>,
    /// How the sender spent the interval; `None` before the second reading, and for a sum of
    /// intervals.
    pub time: Option<SendTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_an_interval_add_up_to_all_of_it() {
        let time = SendTime::of(250, 155, 0, 75).unwrap();
        assert_eq!(
            (time.receiver_window, time.in_flight, time.idle()),
            (62, 30, 8)
        );
        for elapsed in 4..300 {
            let third = elapsed / 3;
            let time = SendTime::of(elapsed, third, third, elapsed - 2 * third).unwrap();
            assert_eq!(time.idle(), 0, "{elapsed}: {time:?}");
            let time = SendTime::of(elapsed, 1, 1, 1).unwrap();
            let all = [
                time.receiver_window,
                time.send_buffer,
                time.in_flight,
                time.idle(),
            ];
            assert_eq!(all.iter().map(|&share| u32::from(share)).sum::<u32>(), 100);
        }
        assert_eq!(SendTime::of(100, 60, 60, 0), None, "more than there was");
    }
}
