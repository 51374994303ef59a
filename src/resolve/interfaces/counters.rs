//! What the network cards of this machine moved, by the kernel's counters in `/proc/net/dev`. Those
//! count frames with all headers, whoever sent them, so they are more than what sockets moved.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::sync::Arc;

use crate::model::interval::{InterfaceTraffic, LinkCounters};
use crate::resolve::namespace;

/// Counters of `/proc/net/dev`. Only those of the initial network namespace: there the cards of the
/// machine are. In another one an interface is one end of a pair whose other end is elsewhere on
/// the machine, and what passes it is not what leaves the machine.
#[derive(Debug, Default)]
pub struct NetworkCards {
    /// Open since before privileges were given up; `None` where counters are of another namespace
    /// or cannot be read.
    file: Option<File>,
    /// Every interface seen so far: counters of the last reading, where it is a card.
    seen: HashMap<Arc<str>, Option<CardCounters>>,
    text: String,
}

#[derive(Clone, Copy, Debug)]
struct CardCounters {
    rx: LinkCounters,
    tx: LinkCounters,
}

impl NetworkCards {
    /// Opens the counters and reads them for the first time.
    pub fn open() -> Self {
        let file = namespace::is_initial_net().then(|| File::open("/proc/self/net/dev"));
        let mut cards = Self {
            file: file.and_then(Result::ok),
            ..Self::default()
        };
        cards.since_last();
        cards
    }

    /// Returns what each card moved since the last reading. A card without an earlier reading, and
    /// one whose counters went back, as after a driver was loaded again, is left out.
    pub fn since_last(&mut self) -> Vec<InterfaceTraffic> {
        let mut moved = Vec::new();
        self.text.clear();
        let Some(file) = &mut self.file else {
            return moved;
        };
        let read = file
            .rewind()
            .and_then(|()| file.read_to_string(&mut self.text));
        if read.is_err() {
            return moved;
        }
        for (name, now) in self.text.lines().filter_map(interface) {
            let Some(last) = self.seen.get_mut(name) else {
                let card = is_card(name).then_some(now);
                self.seen.insert(name.into(), card);
                continue;
            };
            let Some(last) = last else {
                continue;
            };
            let difference = now.rx.since(&last.rx).zip(now.tx.since(&last.tx));
            *last = now;
            if let Some((rx, tx)) = difference {
                let name = name.into();
                moved.push(InterfaceTraffic { name, rx, tx });
            }
        }
        moved
    }
}

/// Whether an interface is a device of a bus and not made by software, as bridges, tunnels and the
/// ends of containers are: what passes those passes a card too, or does not leave the machine.
/// Looking at a name needs no permission to read, so it works after privileges were given up.
fn is_card(name: &str) -> bool {
    Path::new("/sys/class/net")
        .join(name)
        .join("device")
        .exists()
}

/// Parses a line: the name of an interface, then eight numbers received and eight sent, which begin
/// with bytes, packets, errors and drops (`dev_seq_printf_stats()` of the kernel's
/// net/core/net-procfs.c).
fn interface(line: &str) -> Option<(&str, CardCounters)> {
    let (name, numbers) = line.rsplit_once(':')?;
    let numbers: Vec<u64> = numbers
        .split_ascii_whitespace()
        .map_while(|number| number.parse().ok())
        .collect();
    let counters = |at: usize| {
        Some(LinkCounters {
            bytes: *numbers.get(at)?,
            packets: *numbers.get(at + 1)?,
            errors: *numbers.get(at + 2)?,
            drops: *numbers.get(at + 3)?,
        })
    };
    let (rx, tx) = (counters(0)?, counters(8)?);
    Some((name.trim(), CardCounters { rx, tx }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_name_and_both_ways() {
        let line = "  eth0: 443835496   11327    1    2    0     0          0         0   595518    7259    3    4    0     0       0          0";
        let (name, reading) = interface(line).unwrap();
        assert_eq!(name, "eth0");
        let rx = LinkCounters {
            bytes: 443_835_496,
            packets: 11_327,
            errors: 1,
            drops: 2,
        };
        let tx = LinkCounters {
            bytes: 595_518,
            packets: 7259,
            errors: 3,
            drops: 4,
        };
        assert_eq!((reading.rx, reading.tx), (rx, tx));
        // The alias of an interface has a colon of its own.
        assert_eq!(
            interface(&line.replace("eth0", "eth0:1")).unwrap().0,
            "eth0:1"
        );
        for other in ["", "face |bytes    packets", "eth0: 1 2 3", "eth0: x"] {
            assert!(interface(other).is_none(), "{other}");
        }
    }

    #[test]
    fn loopback_is_no_card_and_a_first_reading_has_no_difference() {
        assert!(!is_card("lo"));
        let mut cards = NetworkCards::open();
        let names: Vec<_> = cards.seen.keys().cloned().collect();
        if namespace::is_initial_net() {
            assert!(names.iter().any(|name| **name == *"lo"), "{names:?}");
        }
        assert!(cards.since_last().iter().all(|card| *card.name != *"lo"));
    }
}
