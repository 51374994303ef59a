//! A generator of known rates under the real kernel side, and what the screen says of it: every
//! rate, average, peak and total is right to its last shown digit. Needs root.
//!
//! The generator is this process: it knows how many bytes went through each socket in each
//! interval, as intervals end when it says so. What is to be shown is worked out here from those
//! bytes and from the definitions in docs/LIVE.md, not by the code that shows it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::io::{Read, Write};
use std::iter;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::screen::{draw, text};
use flowtop::filter::{FilterPlan, NameTables, Pushdown, parse};
use flowtop::model::flow::{Endpoint, Protocol};
use flowtop::model::interval::Interval;
use flowtop::options::{CaptureOptions, TableOptions};
use flowtop::resolve::names::Names;
use flowtop::resolve::owners::Owners;
use flowtop::source::Source as _;
use flowtop::source::live::Live;
use flowtop::tui::{Action, App, Background, Depth, DisplayOptions, RunContext};
use rustix::thread::gettid;

const INTERVALS: usize = 45;
/// Parts of an interval's bytes, sent one after the other.
const PARTS: u64 = 5;

enum Pair {
    Tcp(TcpStream, TcpStream),
    Udp(UdpSocket, UdpSocket),
}

/// Two sockets of this process, and what has gone from the first to the second.
struct Stream {
    pair: Pair,
    from: SocketAddr,
    to: SocketAddr,
    /// Bytes in each interval.
    sent: Vec<u64>,
}

impl Stream {
    fn tcp(at: &str) -> Self {
        let listener = TcpListener::bind((at, 0)).unwrap();
        let from = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (to, _) = listener.accept().unwrap();
        from.set_nodelay(true).unwrap();
        Self {
            from: from.local_addr().unwrap(),
            to: to.local_addr().unwrap(),
            pair: Pair::Tcp(from, to),
            sent: Vec::new(),
        }
    }

    fn udp(at: &str) -> Self {
        let (from, to) = (
            UdpSocket::bind((at, 0)).unwrap(),
            UdpSocket::bind((at, 0)).unwrap(),
        );
        from.connect(to.local_addr().unwrap()).unwrap();
        to.connect(from.local_addr().unwrap()).unwrap();
        Self {
            from: from.local_addr().unwrap(),
            to: to.local_addr().unwrap(),
            pair: Pair::Udp(from, to),
            sent: Vec::new(),
        }
    }

    /// Moves so many bytes from one end to the other; done when they are there.
    fn send(&mut self, bytes: u64) {
        let mut left = usize::try_from(bytes).unwrap();
        let mut buffer = vec![7; 32 << 10];
        while left > 0 {
            let part = match &mut self.pair {
                Pair::Tcp(from, to) => {
                    let part = left.min(buffer.len());
                    from.write_all(&buffer[..part]).unwrap();
                    to.read_exact(&mut buffer[..part]).unwrap();
                    part
                }
                Pair::Udp(from, to) => {
                    let part = left.min(1400);
                    from.send(&buffer[..part]).unwrap();
                    assert_eq!(to.recv(&mut buffer).unwrap(), part);
                    part
                }
            };
            left -= part;
        }
        *self.sent.last_mut().unwrap() += bytes;
    }

    fn protocol(&self) -> Protocol {
        match self.pair {
            Pair::Tcp(..) => Protocol::Tcp,
            Pair::Udp(..) => Protocol::Udp,
        }
    }
}

/// Bytes a second that each stream is sent at in an interval.
fn rates(n: usize) -> [f64; 6] {
    let bursts = [5.4e6, 0.0, 120e3, 33.0, 0.0, 0.0];
    [
        2e6,                                              // steady
        bursts[n % bursts.len()],                         // in bursts
        if n < 12 { 345_678.0 } else { 0.0 },             // goes silent
        if n >= 20 { 9_995.0 * (n as f64) } else { 0.0 }, // comes late, and grows
        64e3,                                             // UDP
        77.0,                                             // hardly anything
    ]
}

/// What is to be shown of one stream.
struct Truth<'a> {
    sent: &'a [u64],
    lengths: &'a [Duration],
}

impl Truth<'_> {
    fn seconds(&self) -> impl DoubleEndedIterator<Item = f64> + ExactSizeIterator {
        self.lengths.iter().map(Duration::as_secs_f64)
    }

    fn rate(&self) -> f64 {
        *self.sent.last().unwrap() as f64 / self.seconds().next_back().unwrap()
    }

    /// The mean over all time, a byte `t` seconds old counting with exp(-t/tau): summed up from its
    /// definition over every interval there was.
    fn average(&self, tau: f64) -> f64 {
        let all: f64 = self.lengths.iter().sum::<Duration>().as_secs_f64();
        let (mut sum, mut end) = (0.0, 0.0);
        for (bytes, seconds) in self.sent.iter().zip(self.seconds()) {
            let begin = end;
            end += seconds;
            let weight = (-(all - end) / tau).exp() - (-(all - begin) / tau).exp();
            sum += *bytes as f64 / seconds * weight;
        }
        sum / (1.0 - (-all / tau).exp())
    }

    /// The total over the time since it was first seen.
    fn since_first_seen(&self) -> f64 {
        let first = self.sent.iter().position(|&bytes| bytes > 0).unwrap();
        let age: Duration = self.lengths[first..].iter().sum();
        self.total() as f64 / age.as_secs_f64()
    }

    fn peak(&self) -> f64 {
        let rates = self.sent.iter().zip(self.seconds());
        rates
            .map(|(bytes, seconds)| *bytes as f64 / seconds)
            .fold(0.0, f64::max)
    }

    fn total(&self) -> u64 {
        self.sent.iter().sum()
    }

    /// The cells of its row but the first, which says since when nothing moves where that is so.
    fn cells(&self) -> Vec<String> {
        let rates = [
            self.rate(),
            self.average(10.0),
            self.average(60.0),
            self.since_first_seen(),
            self.peak(),
        ];
        let cell = |rate: f64| match rate == 0.0 {
            true => "·".to_owned(),
            false => digits(rate) + "B/s",
        };
        let mut cells: Vec<String> = rates.into_iter().map(cell).collect();
        cells.push(match self.total() {
            few @ 0..1000 => format!("{few} B"),
            many => digits(many as f64) + "B",
        });
        cells
    }
}

/// Three significant digits and the prefix of the unit, from scientific notation.
fn digits(value: f64) -> String {
    if value < 1.0 {
        let text = format!("{value:.2}");
        return if text == "0.00" {
            "<0.01 ".to_owned()
        } else {
            text + " "
        };
    }
    let text = format!("{value:.2e}");
    let (mantissa, exponent) = text.split_once('e').unwrap();
    let exponent: usize = exponent.parse().unwrap();
    let mut digits = mantissa.replace('.', "");
    let whole = exponent % 3 + 1;
    if whole < 3 {
        digits.insert(whole, '.');
    }
    let prefix = ["", "k", "M", "G"][exponent / 3];
    format!("{digits} {prefix}")
}

#[test]
fn the_digits_of_this_test_are_those_that_people_write() {
    for (value, expected) in [
        (0.004, "<0.01 "),
        (0.126, "0.13 "),
        (0.999, "1.00 "),
        (12.34, "12.3 "),
        (999.4, "999 "),
        (999.6, "1.00 k"),
        (147_200_000.0, "147 M"),
    ] {
        assert_eq!(digits(value), expected, "{value}");
    }
}

/// The cells of a row in one of the sections: of its numbers, up to the ends of the flow. Both ends
/// have one address, so the local one is shown as its port alone.
fn row(screen: &str, section: &str, local: SocketAddr, remote: SocketAddr) -> Vec<String> {
    let ends = [format!(" {} ", local.port()), format!(" {remote} ")];
    let lines = screen
        .lines()
        .skip_while(|line| !line.starts_with(&format!("╶ {section}")))
        .skip(1)
        .take_while(|line| !line.starts_with('╶'));
    let mut found = lines.filter(|line| ends.iter().all(|end| line.contains(end.as_str())));
    let line = found
        .next()
        .unwrap_or_else(|| panic!("no {ends:?} in {section}:\n{screen}"));
    assert_eq!(found.next(), None, "{screen}");
    let numbers = line.split(&ends[0]).next().unwrap();
    let mut words = numbers.split_whitespace();
    let mut cells = Vec::new();
    while let Some(first) = words.next() {
        let more = match first {
            "·" => 0,
            "idle" => 2,
            _ => 1,
        };
        let cell: Vec<&str> = iter::once(first).chain(words.by_ref().take(more)).collect();
        cells.push(cell.join(" "));
    }
    cells
}

fn assert_shown(screen: &str, stream: &Stream, lengths: &[Duration]) {
    let truth = Truth {
        sent: &stream.sent,
        lengths,
    };
    if truth.total() == 0 {
        return;
    }
    let expected = truth.cells();
    for (section, local, remote) in [
        ("Egress", stream.from, stream.to),
        ("Ingress", stream.to, stream.from),
    ] {
        let shown = row(screen, section, local, remote);
        let from = if *stream.sent.last().unwrap() == 0 {
            assert!(shown[0].starts_with("idle "), "{shown:?}");
            1
        } else {
            0
        };
        let what = format!("{section} {local}, of {:?} in {lengths:?}", stream.sent);
        assert_eq!(shown[from..], expected[from..], "{what}:\n{screen}");
    }
}

/// What the kernel side counted of a stream: bytes sent at one end, and received at the other.
fn counted(interval: &Interval, stream: &Stream) -> [u64; 2] {
    let end = |at: SocketAddr| Endpoint::new(at.ip(), at.port());
    let flow = |local, remote| {
        let mut flows = interval.flows.iter().filter(|flow| {
            let key = &flow.key;
            (key.protocol, key.local, key.remote) == (stream.protocol(), end(local), end(remote))
        });
        let found = flows.next().map(|flow| flow.counters).unwrap_or_default();
        assert_eq!(flows.next(), None);
        found
    };
    let (from, to) = (flow(stream.from, stream.to), flow(stream.to, stream.from));
    assert_eq!((from.rx_bytes, to.tx_bytes), (0, 0));
    [from.tx_bytes, to.rx_bytes]
}

#[test]
fn every_rate_and_average_is_right_to_its_last_digit() {
    let columns = [
        "rate", "10s", "60s", "average", "peak", "total", "local", "remote",
    ];
    // By thread: other tests of this process move bytes meanwhile.
    let own = format!("tid {}", gettid().as_raw_nonzero());
    let own = parse(&own, &NameTables::default()).unwrap();
    let capture = CaptureOptions {
        filter: FilterPlan::new(own, Pushdown::All),
        ..CaptureOptions::default()
    };
    let options = TableOptions {
        columns: Some(columns.map(|column| column.parse().unwrap()).to_vec()),
        ascii: false,
        ..TableOptions::default()
    };
    let mut streams = vec![
        Stream::tcp("127.0.0.1"),
        Stream::tcp("127.0.0.1"),
        Stream::tcp("::1"),
        Stream::tcp("127.0.0.1"),
        Stream::udp("127.0.0.1"),
        Stream::udp("::1"),
    ];
    // The first interval begins somewhere between these two.
    let mut begun = [Instant::now(); 2];
    let mut live = Live::open(&capture).unwrap();
    live.begin().unwrap();
    begun[1] = Instant::now();

    let look = DisplayOptions::new(&options, Depth::Mono, Background::Unknown);
    let (names, owners) = (Names::disabled(), Owners::disabled());
    let context = RunContext {
        capture,
        method: live.method(),
        ..RunContext::default()
    };
    let mut app = App::new(context, names, owners, look);
    let (width, height) = (160, 40);
    app.update(Action::Resize(width, height));

    let mut lengths: Vec<Duration> = Vec::new();
    for n in 0..INTERVALS {
        let length = Duration::from_millis([60, 100, 35, 240][n % 4]);
        for stream in &mut streams {
            stream.sent.push(0);
        }
        for part in 0..PARTS {
            for (stream, rate) in streams.iter_mut().zip(rates(n)) {
                let bytes = (rate * length.as_secs_f64()) as u64;
                stream.send(bytes * (part + 1) / PARTS - bytes * part / PARTS);
            }
            thread::sleep(length / PARTS as u32);
        }
        let before = Instant::now();
        let interval = live.end_interval().unwrap();
        let after = Instant::now();

        // Its length is what it is by another's clock.
        let (least, most) = (before - begun[1], after - begun[0]);
        assert!(
            least <= interval.elapsed && interval.elapsed <= most,
            "{:?} is not from {least:?} to {most:?}",
            interval.elapsed
        );
        begun = [before, after];
        lengths.push(interval.elapsed);
        assert!(interval.losses.is_none(), "{:?}", interval.losses);
        for stream in &streams {
            let sent = *stream.sent.last().unwrap();
            assert_eq!(counted(&interval, stream), [sent; 2], "in interval {n}");
        }
        app.update(Action::IntervalEnded(interval));
        let screen = text(&draw(&app, width, height));
        for stream in &streams {
            assert_shown(&screen, stream, &lengths);
        }
        // And all of them together, each way.
        let all: u64 = streams.iter().map(|stream| stream.sent[n]).sum();
        let all = digits(all as f64 / lengths[n].as_secs_f64()) + "B/s";
        let header: Vec<&str> = screen.lines().nth(1).unwrap().split_whitespace().collect();
        let column = |name| header.iter().position(|word| *word == name).unwrap();
        for at in [column("in"), column("out")] {
            assert_eq!(header[at + 1..at + 3].join(" "), all, "{screen}");
        }
    }
}
