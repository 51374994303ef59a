//! What scenarios are made of: sizes, pace, both ends of the link, programs, and a cgroup.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cases::absent;
use crate::net::{self, Link};
use crate::proc::{self, Child, Gate};
use crate::sock::{Fam, Sock, V4, V6};
use crate::sys;
use crate::transfer::pattern;

/// The variable that is set for sizes and pace as in the benchmark.
pub const FULL: &str = "TRAFFIC_FULL_SCENARIOS";
/// The part of a size that is moved without it.
pub const PART: usize = 32;
pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;
/// Bytes of payload in each datagram, packet and frame.
pub const DATAGRAM: usize = 1400;
pub const PIECE: usize = 64 * KIB;
/// What a program sends first, to have something sent to it or taken from it.
pub const REQUEST: usize = 24;
/// Datagrams that may be under way: fewer than any queue on the path holds.
pub const WINDOW: usize = 32;
/// Usual pace, in bytes a second.
pub const PACE: usize = 5 * MIB;

pub fn is_full() -> bool {
    std::env::var_os(FULL).is_some()
}

pub fn sized(full: usize) -> usize {
    if is_full() { full } else { full / PART }
}

/// So many datagrams in place of `full` ones: whole windows of them, and a rest.
pub fn datagrams(bytes: usize) -> usize {
    sized(bytes.div_ceil(DATAGRAM))
}

pub struct Pace {
    since: Instant,
    rate: usize,
    moved: usize,
}

impl Pace {
    pub fn new(rate: usize) -> Self {
        Self { since: Instant::now(), rate, moved: 0 }
    }

    /// Waits until `more` bytes are due.
    pub fn wait(&mut self, more: usize) {
        self.moved += more;
        if is_full() {
            let due = Duration::from_secs_f64(self.moved as f64 / self.rate as f64);
            std::thread::sleep(due.saturating_sub(self.since.elapsed()));
        }
    }
}

/// Calls `move_piece` for so many bytes in pieces of 64 KiB, at the usual pace; it gives what it
/// moved.
pub fn in_pieces(bytes: usize, mut move_piece: impl FnMut(usize) -> Result<usize>) -> Result<()> {
    let (mut pace, mut left) = (Pace::new(PACE), bytes);
    while left > 0 {
        let moved = move_piece(left.min(PIECE))?;
        ensure!(moved > 0, "the end, with {left} of {bytes} bytes to come");
        left -= moved;
        pace.wait(moved);
    }
    Ok(())
}

pub fn send_paced(s: &Sock, bytes: usize) -> Result<()> {
    let piece = pattern(PIECE);
    in_pieces(bytes, |n| s.send_all(&piece[..n]).map(|()| n))
}

/// This process at the near end, from where both ends can be reached.
pub struct Ends {
    link: Link,
}

impl Ends {
    pub fn new() -> Result<Self> {
        let link = Link::given()?;
        net::enter(&link.near)?;
        Ok(Self { link })
    }

    /// Sockets made at the far end.
    pub fn at_far<T>(&self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        net::enter(&self.link.far)?;
        let made = make();
        net::enter(&self.link.near)?;
        made
    }

    pub fn listener(&self, fam: Fam) -> Result<Sock> {
        self.at_far(|| {
            let l = Sock::tcp(fam)?;
            l.bind(Link::far_end(fam == V6, 0))?;
            l.listen()?;
            Ok(l)
        })
    }

    /// A UDP socket at the far end that holds what comes.
    pub fn far_udp(&self, fam: Fam, port: u16) -> Result<Sock> {
        self.at_far(|| udp_at(fam, Link::far_end(fam == V6, port)))
    }

    /// Starts the peer as a process at the far end.
    pub fn peer(&self, role: impl FnOnce() -> Result<()>) -> Result<Child> {
        proc::spawn(|| {
            sys::set_comm("peer");
            net::enter(&self.link.far)?;
            role()
        })
    }
}

pub fn udp_at(fam: Fam, at: SocketAddr) -> Result<Sock> {
    let s = Sock::udp(fam)?;
    s.bind(at)?;
    Ok(s)
}

/// A process at the near end with a name of its own.
pub fn program(name: &str, role: impl FnOnce() -> Result<()>) -> Result<Child> {
    proc::spawn(|| {
        sys::set_comm(name);
        role()
    })
}

pub fn join(children: impl IntoIterator<Item = Child>) -> Result<()> {
    children.into_iter().try_for_each(Child::join)
}

pub fn connected(fam: Fam, to: SocketAddr) -> Result<Sock> {
    let s = Sock::tcp(fam)?;
    s.connect(to)?;
    Ok(s)
}

/// Accepts a connection, takes its request and sends so many bytes.
pub fn serve(l: &Sock, bytes: usize) -> Result<()> {
    let s = l.accept()?;
    s.recv_exact(REQUEST)?;
    send_paced(&s, bytes)?;
    s.shutdown(libc::SHUT_WR)
}

/// Accepts connections, each with a request and so many bytes after it.
pub fn take(l: &Sock, connections: usize, bytes: usize) -> Result<()> {
    for _ in 0..connections {
        let s = l.accept()?;
        let n = s.drain()?;
        ensure!(n == REQUEST + bytes, "{n} bytes came");
    }
    Ok(())
}

/// A program that asks for so many bytes and receives them by `receive`.
pub fn tcp_in(
    name: &str,
    fam: Fam,
    bytes: usize,
    receive: impl FnOnce(&Sock, usize) -> Result<()>,
) -> Result<()> {
    let ends = Ends::new()?;
    let l = ends.listener(fam)?;
    let to = l.local()?;
    let peer = ends.peer(|| serve(&l, bytes))?;
    let program = program(name, || {
        let s = connected(fam, to)?;
        s.send_all(&pattern(REQUEST))?;
        receive(&s, bytes)
    })?;
    join([program, peer])
}

/// A program that sends so many bytes by `send`.
pub fn tcp_out(name: &str, bytes: usize, send: impl FnOnce(&Sock, usize) -> Result<()>) -> Result<()> {
    let ends = Ends::new()?;
    let l = ends.listener(V4)?;
    let to = l.local()?;
    let peer = ends.peer(|| take(&l, 1, bytes))?;
    let program = program(name, || {
        let s = connected(V4, to)?;
        s.send_all(&pattern(REQUEST))?;
        send(&s, bytes)
    })?;
    join([program, peer])
}

pub fn receive_all(s: &Sock, bytes: usize) -> Result<()> {
    let n = s.drain()?;
    ensure!(n == bytes, "{n} bytes came");
    Ok(())
}

/// Datagrams of one size from one process to another, which says when it has a window of them.
#[derive(Clone, Copy)]
pub struct Datagrams {
    size: usize,
    pub count: usize,
    rate: usize,
    pub taken: Gate,
}

impl Datagrams {
    pub fn new(size: usize, count: usize, rate: usize) -> Result<Self> {
        Ok(Self { size, count, rate, taken: Gate::new()? })
    }

    pub fn send(&self, s: &Sock, to: SocketAddr) -> Result<()> {
        let (mut pace, data) = (Pace::new(self.rate), pattern(self.size));
        for n in 1..=self.count {
            ensure!(s.sendto(&data, 0, to)? == self.size, "length");
            if n.is_multiple_of(WINDOW) {
                self.taken.wait()?;
            }
            pace.wait(self.size);
        }
        Ok(())
    }

    pub fn receive(&self, mut receive: impl FnMut() -> Result<usize>) -> Result<()> {
        for n in 1..=self.count {
            ensure!(receive()? == self.size, "length");
            if n.is_multiple_of(WINDOW) {
                self.taken.set();
            }
        }
        Ok(())
    }
}

/// A program that receives datagrams of an unconnected socket and does not ask who sent them.
pub fn udp_in(ends: &Ends, name: &str, fam: Fam, count: usize) -> Result<[Child; 2]> {
    let data = Datagrams::new(DATAGRAM, count, PACE)?;
    let (near, far) = (udp_at(fam, Link::near_end(fam == V6, 0))?, ends.far_udp(fam, 0)?);
    let (to, from) = (near.local()?, far.local()?);
    Ok([
        ends.peer(|| {
            far.recvfrom(&mut [0; REQUEST], 0)?;
            data.send(&far, to)
        })?,
        program(name, || {
            near.sendto(&pattern(REQUEST), 0, from)?;
            let mut buf = [0; 2 * DATAGRAM];
            data.receive(|| Ok(near.recv_unasked(&mut buf, 0, from)?))
        })?,
    ])
}

/// A program that sends datagrams by an unconnected socket.
pub fn udp_out(ends: &Ends, name: &str, port: u16, data: Datagrams) -> Result<[Child; 2]> {
    let far = ends.far_udp(V4, port)?;
    let to = far.local()?;
    Ok([
        ends.peer(|| {
            let mut buf = [0; 2 * DATAGRAM];
            far.recvfrom(&mut buf, 0)?;
            data.receive(|| Ok(far.recvfrom(&mut buf, 0)?.0))
        })?,
        program(name, || {
            let s = udp_at(V4, Link::near_end(false, 0))?;
            s.sendto(&pattern(REQUEST), 0, to)?;
            data.send(&s, to)
        })?,
    ])
}

/// A cgroup of v2, removed when this is dropped.
pub struct Cgroup(PathBuf);

impl Cgroup {
    pub fn new() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let is_v2 = |line: &&str| line.split(' ').nth(2) == Some("cgroup2");
        let root = mounts.lines().find(is_v2).and_then(|line| line.split(' ').nth(1));
        let root = root.ok_or(std::io::ErrorKind::NotFound.into()).map_err(absent("cgroup v2"))?;
        let dir = PathBuf::from(root).join(format!("container-{}", std::process::id()));
        fs::create_dir(&dir).map_err(absent("a cgroup"))?;
        Ok(Self(dir))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Moves this process into it.
    pub fn enter(&self) -> Result<()> {
        let mut file = fs::OpenOptions::new().write(true).open(self.0.join("cgroup.procs"))?;
        file.write_all(b"0").context("enter a cgroup")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
