//! Full speed over many flips: what is lost between two maps would show here.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::compare::{CaseTruth, compare};
use crate::proc;
use crate::sock::{Sock, V4, V6, tcp_pair, udp_pair};
use crate::subject::{Counts, Start, Subject};
use crate::sys;
use crate::transfer::{pattern, peer};
use crate::truth::{Dir, How};

pub struct Storm<'a> {
    pub start: Start<'a>,
    pub flips: u64,
    pub pairs: usize,
    pub expect_missed: bool,
    pub timeout: u64,
}

/// Counts of a thread's own, so that the truth's lock does not slow the storm.
#[derive(Default)]
struct GroupTotals {
    bytes: usize,
    msgs: u64,
}

impl GroupTotals {
    fn add(&mut self, n: usize) {
        self.bytes += n;
        self.msgs += u64::from(n > 0);
    }
}

/// A call on a descriptor that is not noted at once.
fn raw_send(s: &Sock, buf: &[u8]) -> std::io::Result<usize> {
    // SAFETY: the pointer and length describe a live slice.
    sys::cvt(unsafe { libc::send(s.fd(), buf.as_ptr().cast(), buf.len(), libc::MSG_NOSIGNAL) })
}

fn raw_recv(s: &Sock, buf: &mut [u8], flags: i32) -> std::io::Result<usize> {
    // SAFETY: the pointer and length describe a live, writable slice.
    sys::cvt(unsafe { libc::recv(s.fd(), buf.as_mut_ptr().cast(), buf.len(), flags) })
}

fn send_until(s: &Sock, size: usize, stop: &AtomicBool) -> Result<()> {
    let (buf, mut sum) = (pattern(size), GroupTotals::default());
    while !stop.load(Relaxed) {
        match raw_send(s, &buf) {
            Ok(n) => sum.add(n),
            // A datagram socket may refuse for want of memory.
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(e) => return Err(e).context("send"),
        }
    }
    s.note_many(Dir::Tx, sum.bytes, sum.msgs, How::default());
    Ok(())
}

fn tcp_reader(s: &Sock, size: usize) -> Result<()> {
    let (mut buf, mut sum) = (vec![0; size], GroupTotals::default());
    loop {
        match raw_recv(s, &mut buf, 0).context("recv")? {
            0 => break,
            n => sum.add(n),
        }
    }
    s.note_many(Dir::Rx, sum.bytes, sum.msgs, How::default());
    Ok(())
}

/// Reads datagrams until the sender is done and nothing is left.
fn udp_reader(s: &Sock, sender_done: &AtomicBool) -> Result<()> {
    let (mut buf, mut sum) = (vec![0; 65_536], GroupTotals::default());
    s.recv_timeout(50)?;
    loop {
        let last = sender_done.load(Relaxed);
        match raw_recv(s, &mut buf, 0) {
            Ok(n) => sum.add(n),
            Err(_) if last => break,
            Err(_) => {}
        }
    }
    s.note_many(Dir::Rx, sum.bytes, sum.msgs, peer(s.remote()));
    Ok(())
}

/// The sizes written and read by pair `i`; every fourth pair is UDP.
fn pair(i: usize, stop: &AtomicBool) -> Result<()> {
    let fam = if i % 3 == 2 { V6 } else { V4 };
    let sent = |r: thread::ScopedJoinHandle<Result<()>>| r.join().expect("sender");
    if i % 4 == 3 {
        let (a, b) = udp_pair(fam)?;
        let done = AtomicBool::new(false);
        return thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let r = send_until(&a, 100 + i * 150, stop);
                done.store(true, Relaxed);
                r
            });
            udp_reader(&b, &done)?;
            sent(writer)
        });
    }
    let (c, s) = tcp_pair(fam)?;
    let (write, read) = match i % 4 {
        0 => (64, 4096),
        1 => (16_384, 65_536),
        _ => (1000, 300),
    };
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let r = send_until(&c, write, stop);
            c.shutdown(libc::SHUT_WR)?;
            r
        });
        tcp_reader(&s, read)?;
        sent(writer)
    })
}

/// The storm itself: until stdin ends, then in good order to the end.
pub fn traffic(pairs: usize) -> Result<()> {
    sys::die_with_parent();
    let stop = AtomicBool::new(false);
    let stop = &stop;
    let result = thread::scope(|scope| {
        let all: Vec<_> = (0..pairs)
            .map(|i| scope.spawn(move || pair(i, stop)))
            .collect();
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stop.store(true, Relaxed);
        all.into_iter().try_for_each(|t| t.join().expect("pair"))
    });
    proc::leave(crate::cases::report(result));
}

fn start_traffic(pairs: usize) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["storm-traffic", &pairs.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the storm")
}

fn end_traffic(mut child: Child) -> Result<CaseTruth> {
    drop(child.stdin.take());
    let mut truth = CaseTruth::default();
    for line in BufReader::new(child.stdout.take().context("no stdout")?).lines() {
        truth.take(&line?)?;
    }
    let status = child.wait()?;
    ensure!(
        status.success(),
        "the storm ended with {status}: {}",
        truth.errors.join("; ")
    );
    Ok(truth)
}

/// `traffic storm`: true when no byte is missing (or, when asked for, no more than flowtop says).
pub fn storm(how: &Storm) -> Result<bool> {
    let _ = sys::lo_up(0);
    let patience = Duration::from_secs(how.timeout);
    let subject = Subject::start(&how.start, patience)?;
    let mut child = start_traffic(how.pairs)?;
    let target = subject.intervals() + how.flips;
    if let Err(e) = subject.wait_for(target, patience) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(e);
    }
    let truth = end_traffic(child)?;
    let seen = subject.stop(patience)?;
    let sum = truth.totals();
    let mut got = Counts::default();
    for (id, c) in &seen.flows {
        if truth.has(id.pid) {
            got.add(c);
        }
    }
    let events = sum.rx_msgs + sum.tx_msgs;
    let missing_bytes = diff(sum.rx_bytes + sum.tx_bytes, got.rx_bytes + got.tx_bytes);
    let missing_msgs = diff(events, got.rx_msgs + got.tx_msgs);
    let verdict = compare(&truth, &seen);
    println!(
        "kernel {}, backend {}: {} flips, {} flows, {events} events, rx {} tx {} bytes",
        sys::kernel_release(),
        seen.backend,
        seen.intervals,
        truth.flows.len(),
        sum.rx_bytes,
        sum.tx_bytes
    );
    println!(
        "{missing_bytes} bytes and {missing_msgs} events missing, missed_events {}",
        seen.missed
    );
    println!("audit: {:?}", seen.audit);
    let mut complaints = seen.complaints(how.expect_missed);
    if how.expect_missed {
        if seen.missed == 0 {
            complaints.push("no event was missed".into());
        }
        // A call that two programs look at may be missed twice; none may go unsaid.
        if missing_msgs > i128::from(seen.missed) {
            complaints.push(format!(
                "{missing_msgs} events missing, {} said so",
                seen.missed
            ));
        }
    } else {
        complaints.extend(verdict.complaints);
    }
    complaints.iter().for_each(|c| println!("FAIL    {c}"));
    println!(
        "{}",
        if complaints.is_empty() {
            "passed"
        } else {
            "failed"
        }
    );
    Ok(complaints.is_empty())
}

fn diff(truth: u64, got: u64) -> i128 {
    i128::from(truth) - i128::from(got)
}
