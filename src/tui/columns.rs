//! How wide each column of a table is in a given width, and how a long address is shortened. Which
//! columns there are depends on the width alone, so that none comes and goes with the traffic.

use ratatui::text::Span;

use crate::names::Label;
use crate::units;

/// Widest an end of a flow gets: the longest address with its port.
const MOST_END: u16 = 47;
/// Widest the others get, which is also what they are reckoned with when columns are chosen.
const MOST_PID: u16 = 7;
const MOST_PROCESS: u16 = 15;
/// Least room for both ends together before other columns make way.
const LEAST_ENDS: u16 = 34;
const RATE: u16 = units::RATE_WIDTH as u16;
const PROTOCOL: u16 = 5;
/// Left margin.
const MARGIN: u16 = 1;
const GAP: u16 = 2;

/// Widths of what is to be shown, in columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// The socket's own end.
    pub local: usize,
    /// The peer.
    pub remote: usize,
    /// Process id.
    pub pid: usize,
    /// Process name.
    pub process: usize,
}

impl Default for Widths {
    /// What usually comes, so that the first intervals do not widen every column.
    fn default() -> Self {
        let ipv4 = "255.255.255.255:65535".len();
        Self {
            local: ipv4,
            remote: ipv4,
            pid: 5,
            process: 8,
        }
    }
}

impl Widths {
    /// Takes the larger of each.
    pub fn grow(&mut self, other: &Self) {
        self.local = self.local.max(other.local);
        self.remote = self.remote.max(other.remote);
        self.pid = self.pid.max(other.pid);
        self.process = self.process.max(other.process);
    }
}

/// Left edge and width of each column; those that found no room are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Right-aligned.
    pub rate: Column,
    /// Goes second.
    pub protocol: Option<Column>,
    /// The socket's own end.
    pub local: Column,
    /// The peer.
    pub remote: Column,
    /// Right-aligned; goes first.
    pub pid: Option<Column>,
    /// To the right edge.
    pub process: Column,
}

/// Where one column stands, relative to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Columns from the left edge of the table.
    pub x: u16,
    /// In columns.
    pub width: u16,
}

impl Columns {
    /// Divides `width` so that `wanted` fits as well as possible.
    pub fn fit(width: u16, wanted: Widths) -> Self {
        let least = |wanted: usize, most| u16::try_from(wanted).unwrap_or(most).min(most);
        let fixed = MARGIN + RATE + 3 * GAP + 1;
        let room = |others: u16| width.saturating_sub(fixed + others);
        let (protocol_room, pid_room) = (PROTOCOL + 1, MOST_PID + 1);
        let protocol = room(protocol_room + MOST_PROCESS) >= LEAST_ENDS;
        let pid = room(protocol_room + pid_room + MOST_PROCESS) >= LEAST_ENDS;

        let process = least(wanted.process, MOST_PROCESS);
        let pid = pid.then(|| least(wanted.pid, MOST_PID));
        let protocol_room = if protocol { protocol_room } else { 0 };
        let (local, remote) = share(
            room(protocol_room + pid.map_or(0, |width| width + 1) + process),
            least(wanted.local, MOST_END),
            least(wanted.remote, MOST_END),
        );

        let mut x = MARGIN;
        let mut place = |width, gap| {
            let column = Column { x, width };
            x += width + gap;
            column
        };
        let rate = place(RATE, GAP);
        let protocol = protocol.then(|| place(PROTOCOL, 1));
        let local = place(local, GAP);
        // The numbers stand to the right, so less of a gap will do.
        let remote = place(remote, if pid.is_some() { 1 } else { GAP });
        let pid = pid.map(|width| place(width, GAP));
        let process = Column {
            x,
            width: width.saturating_sub(x),
        };
        Self {
            rate,
            protocol,
            local,
            remote,
            pid,
            process,
        }
    }
}

/// Shares room between two columns: each gets what it wants where that is possible, and the one
/// that wants less never pays for the other.
fn share(room: u16, local: u16, remote: u16) -> (u16, u16) {
    let half = room / 2;
    if local + remote <= room {
        let spare = (room - local - remote) / 4;
        (local + spare, remote + spare)
    } else if local <= half {
        (local, room - local)
    } else if remote <= half {
        (room - remote, remote)
    } else {
        (half, room - half)
    }
}

/// An end of a flow in `width` columns: a long host loses its middle, never its port.
pub fn shorten(label: &Label, width: u16) -> String {
    let width = usize::from(width);
    let host = units::sanitize(&label.host);
    if columns(&host) + label.port.len() <= width {
        return format!("{host}{}", label.port);
    }
    let room = width.saturating_sub(label.port.len() + 1);
    let tail_room = room / 2;
    let head = take(host.chars(), room - tail_room);
    let tail = take(host.chars().rev(), tail_room);
    let tail: String = tail.chars().rev().collect();
    format!("{head}…{tail}{}", label.port)
}

/// As many characters as fit in `room` columns.
fn take(chars: impl Iterator<Item = char>, room: usize) -> String {
    let mut text = String::new();
    let mut used = 0;
    for c in chars {
        used += columns(c.encode_utf8(&mut [0; 4]));
        if used > room {
            break;
        }
        text.push(c);
    }
    text
}

/// Columns a text takes on a terminal.
pub fn columns(text: &str) -> usize {
    Span::raw(text).width()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(host: &str, port: &str) -> Label {
        Label {
            host: host.to_owned(),
            port: port.to_owned(),
        }
    }

    #[test]
    fn a_long_address_loses_its_middle_and_keeps_its_port() {
        let long = label("[2001:db8:1234:5678:9abc:def0:1234:5678]", ":65535");
        let short = shorten(&long, 21);
        assert_eq!(short, "[2001:d…4:5678]:65535");
        assert_eq!(columns(&short), 21);
    }

    #[test]
    fn what_fits_is_left_alone() {
        assert_eq!(shorten(&label("10.0.0.5", ":443"), 12), "10.0.0.5:443");
        assert_eq!(shorten(&label("10.0.0.5", ":443"), 11), "10.…0.5:443");
        assert_eq!(shorten(&label("*", ""), 1), "*");
    }

    #[test]
    fn a_host_name_cannot_draw() {
        let hostile = label("\u{1b}[2Jx\u{202e}", ":1");
        assert_eq!(shorten(&hostile, 40), "\\x1b[2Jx\\u{202e}:1");
    }

    #[test]
    fn wide_characters_are_counted_by_columns() {
        let wide = label("例例例例例例", ":1");
        assert!(columns(&shorten(&wide, 9)) <= 9);
    }

    fn widths(local: usize, remote: usize) -> Widths {
        Widths {
            local,
            remote,
            ..Widths::default()
        }
    }

    #[test]
    fn pid_leaves_first_then_protocol_and_the_rest_stays() {
        let at = |width| Columns::fit(width, Widths::default());
        assert!(at(80).pid.is_some() && at(80).protocol.is_some());
        assert!(at(79).pid.is_none() && at(79).protocol.is_some());
        assert!(at(71).pid.is_none() && at(71).protocol.is_none());
    }

    #[test]
    fn which_columns_there_are_depends_on_the_width_alone() {
        let narrow = Widths {
            local: 1,
            remote: 1,
            pid: 1,
            process: 1,
        };
        let wide = Widths {
            local: 300,
            remote: 300,
            pid: 10,
            process: 60,
        };
        for width in 0..300 {
            let (a, b) = (Columns::fit(width, narrow), Columns::fit(width, wide));
            assert_eq!(a.pid.is_some(), b.pid.is_some());
            assert_eq!(a.protocol.is_some(), b.protocol.is_some());
        }
    }

    #[test]
    fn eighty_columns_hold_any_ipv4_flow_of_a_usual_process() {
        let fitted = Columns::fit(80, Widths::default());
        assert!(
            fitted.local.width >= 21 && fitted.remote.width >= 21,
            "{fitted:?}"
        );
    }

    #[test]
    fn columns_never_overlap_nor_leave_the_table() {
        for width in 60..300 {
            for (local, remote) in [(1, 1), (12, 21), (21, 47), (47, 47), (300, 3)] {
                let fitted = Columns::fit(width, widths(local, remote));
                let all = [
                    Some(fitted.rate),
                    fitted.protocol,
                    Some(fitted.local),
                    Some(fitted.remote),
                    fitted.pid,
                    Some(fitted.process),
                ];
                let mut end = 0;
                for column in all.into_iter().flatten() {
                    assert!(column.x > end, "{width}: {fitted:?}");
                    end = column.x + column.width;
                }
                assert!(
                    end <= width && fitted.process.width >= 8,
                    "{width}: {fitted:?}"
                );
            }
        }
    }

    #[test]
    fn the_end_that_wants_less_does_not_pay_for_the_other() {
        let fitted = Columns::fit(80, widths(12, 47));
        assert_eq!(fitted.local.width, 12);
        assert!(fitted.remote.width > 21);
    }

    #[test]
    fn no_width_is_too_small() {
        for width in 0..60 {
            Columns::fit(width, widths(47, 47));
        }
    }
}
