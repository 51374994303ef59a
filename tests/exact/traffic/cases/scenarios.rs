//! Traffic of 24 kinds over a veth pair between two network namespaces: a program at the near end, its peer
//! at the far end. A public benchmark of network monitors has these kinds with these sizes. By default the
//! sizes are a part of that and the pace is what the machine gives; `--full-scenarios` takes both as they are.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use io_uring::{opcode, squeue, types::Fd};

use crate::cases::absent;
use crate::cases::families::{bind_to_link, checksum, echo, packet, sctp_socket};
use crate::net::{self, FAR_MAC, Link, NEAR, NEAR_MAC};
use crate::proc::{self, Child, Gate};
use crate::ring::Ring;
use crate::sock::{Fam, Sock, V4, V6};
use crate::sys::{self, cvt};
use crate::transfer::pattern;
use crate::truth::{self, Dir, How, Proto};

cases! {
    "TCP, one connection, received" => s01_tcp_in,
    "TCP, one connection, sent" => s02_tcp_out,
    "two processes of one name at once, one sends by TCP, one receives" => s03_tcp_both,
    "the same by unconnected UDP sockets; the receiver does not ask for the sender" => s04_udp_both,
    "ICMP echo by a raw socket, which the peer's kernel answers" => s05_icmp_raw,
    "UDP to port 443" => s06_udp_443,
    "TCP over IPv6, received" => s07_tcp_v6_in,
    "SCTP, one association, received" => s08_sctp_in,
    "UDP to port 53, many small datagrams" => s09_udp_53,
    "a raw IP socket of protocol 253, which nobody receives" => s10_raw_ip,
    "short-lived processes one after another, each one TCP connection" => s11_processes,
    "whole Ethernet frames by a packet socket" => s12_frames,
    "TCP by io_uring send" => s13_uring_send,
    "TCP by sendfile" => s14_sendfile,
    "UDP by sendmmsg, each message with its address" => s15_sendmmsg,
    "TCP over loopback, received" => s16_loopback,
    "TCP out of a container: cgroup and namespaces of its own" => s17_container,
    "TCP, a little every half second" => s18_slow,
    "one process, many TCP connections one after another" => s19_connections,
    "many processes at once, each one TCP connection" => s20_burst,
    "TCP by io_uring receive" => s21_uring_recv,
    "TCP to a pipe by splice" => s22_splice,
    "UDP by recvmmsg without asking for the sender" => s23_recvmmsg,
    "UDP over IPv6, received without asking for the sender" => s24_udp_v6_in,
}

/// The variable that is set for sizes and pace as in the benchmark.
pub const FULL: &str = "TRAFFIC_FULL_SCENARIOS";
/// The part of a size that is moved without it.
const PART: usize = 32;
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Bytes of payload in each datagram, packet and frame.
const DATAGRAM: usize = 1400;
const PIECE: usize = 64 * KIB;
/// What a program sends first, to have something sent to it or taken from it.
const REQUEST: usize = 24;
/// Datagrams that may be under way: fewer than any queue on the path holds.
const WINDOW: usize = 32;
/// Bytes a second.
const PACE: usize = 5 * MIB;

fn is_full() -> bool {
    std::env::var_os(FULL).is_some()
}

fn sized(full: usize) -> usize {
    if is_full() { full } else { full / PART }
}

/// So many datagrams in place of `full` ones: whole windows of them, and a rest.
fn datagrams(bytes: usize) -> usize {
    sized(bytes.div_ceil(DATAGRAM))
}

struct Pace {
    since: Instant,
    rate: usize,
    moved: usize,
}

impl Pace {
    fn new(rate: usize) -> Self {
        Self { since: Instant::now(), rate, moved: 0 }
    }

    /// Waits until `more` bytes are due.
    fn wait(&mut self, more: usize) {
        self.moved += more;
        if is_full() {
            let due = Duration::from_secs_f64(self.moved as f64 / self.rate as f64);
            std::thread::sleep(due.saturating_sub(self.since.elapsed()));
        }
    }
}

/// Calls `move_piece` for so many bytes in pieces of 64 KiB, at the usual pace; it gives what it moved.
fn in_pieces(bytes: usize, mut move_piece: impl FnMut(usize) -> Result<usize>) -> Result<()> {
    let (mut pace, mut left) = (Pace::new(PACE), bytes);
    while left > 0 {
        let moved = move_piece(left.min(PIECE))?;
        ensure!(moved > 0, "the end, with {left} of {bytes} bytes to come");
        left -= moved;
        pace.wait(moved);
    }
    Ok(())
}

fn send_paced(s: &Sock, bytes: usize) -> Result<()> {
    let piece = pattern(PIECE);
    in_pieces(bytes, |n| s.send_all(&piece[..n]).map(|()| n))
}

/// This process at the near end, from where both ends can be reached.
struct Ends {
    link: Link,
}

impl Ends {
    fn new() -> Result<Self> {
        let link = Link::given()?;
        net::enter(&link.near)?;
        Ok(Self { link })
    }

    /// Sockets made at the far end.
    fn at_far<T>(&self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        net::enter(&self.link.far)?;
        let made = make();
        net::enter(&self.link.near)?;
        made
    }

    fn listener(&self, fam: Fam) -> Result<Sock> {
        self.at_far(|| {
            let l = Sock::tcp(fam)?;
            l.bind(Link::far_end(fam == V6, 0))?;
            l.listen()?;
            Ok(l)
        })
    }

    /// A UDP socket at the far end that holds what comes.
    fn far_udp(&self, fam: Fam, port: u16) -> Result<Sock> {
        self.at_far(|| udp_at(fam, Link::far_end(fam == V6, port)))
    }

    /// The peer's process.
    fn peer(&self, role: impl FnOnce() -> Result<()>) -> Result<Child> {
        proc::spawn(|| {
            sys::set_comm("peer");
            net::enter(&self.link.far)?;
            role()
        })
    }
}

fn udp_at(fam: Fam, at: SocketAddr) -> Result<Sock> {
    let s = Sock::udp(fam)?;
    s.bind(at)?;
    Ok(s)
}

/// A process at the near end with a name of its own.
fn program(name: &str, role: impl FnOnce() -> Result<()>) -> Result<Child> {
    proc::spawn(|| {
        sys::set_comm(name);
        role()
    })
}

fn join(children: impl IntoIterator<Item = Child>) -> Result<()> {
    children.into_iter().try_for_each(Child::join)
}

fn connected(fam: Fam, to: SocketAddr) -> Result<Sock> {
    let s = Sock::tcp(fam)?;
    s.connect(to)?;
    Ok(s)
}

/// Accepts a connection, takes its request and sends so many bytes.
fn serve(l: &Sock, bytes: usize) -> Result<()> {
    let s = l.accept()?;
    s.recv_exact(REQUEST)?;
    send_paced(&s, bytes)?;
    s.shutdown(libc::SHUT_WR)
}

/// Accepts connections, each with a request and so many bytes after it.
fn take(l: &Sock, connections: usize, bytes: usize) -> Result<()> {
    for _ in 0..connections {
        let s = l.accept()?;
        let n = s.drain()?;
        ensure!(n == REQUEST + bytes, "{n} bytes came");
    }
    Ok(())
}

/// A program that asks for so many bytes and receives them by `receive`.
fn tcp_in(
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
fn tcp_out(name: &str, bytes: usize, send: impl FnOnce(&Sock, usize) -> Result<()>) -> Result<()> {
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

fn receive_all(s: &Sock, bytes: usize) -> Result<()> {
    let n = s.drain()?;
    ensure!(n == bytes, "{n} bytes came");
    Ok(())
}

fn s01_tcp_in() -> Result<()> {
    tcp_in("s01-tcp-in", V4, sized(32 * MIB), receive_all)
}

fn s02_tcp_out() -> Result<()> {
    tcp_out("s02-tcp-out", sized(32 * MIB), send_paced)
}

fn s03_tcp_both() -> Result<()> {
    let ends = Ends::new()?;
    let (incoming, outgoing) = (ends.listener(V4)?, ends.listener(V4)?);
    let (from, to) = (incoming.local()?, outgoing.local()?);
    let bytes = sized(24 * MIB);
    join([
        ends.peer(|| serve(&incoming, bytes))?,
        ends.peer(|| take(&outgoing, 1, bytes))?,
        program("s03-tcp-both", || {
            let s = connected(V4, from)?;
            s.send_all(&pattern(REQUEST))?;
            receive_all(&s, bytes)
        })?,
        program("s03-tcp-both", || {
            let s = connected(V4, to)?;
            s.send_all(&pattern(REQUEST))?;
            send_paced(&s, bytes)
        })?,
    ])
}

/// Datagrams of one size from one process to another, which says when it has a window of them.
#[derive(Clone, Copy)]
struct Datagrams {
    size: usize,
    count: usize,
    rate: usize,
    taken: Gate,
}

impl Datagrams {
    fn new(size: usize, count: usize, rate: usize) -> Result<Self> {
        Ok(Self { size, count, rate, taken: Gate::new()? })
    }

    fn send(&self, s: &Sock, to: SocketAddr) -> Result<()> {
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

    fn receive(&self, mut receive: impl FnMut() -> Result<usize>) -> Result<()> {
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
fn udp_in(ends: &Ends, name: &str, fam: Fam, count: usize) -> Result<[Child; 2]> {
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
fn udp_out(ends: &Ends, name: &str, port: u16, data: Datagrams) -> Result<[Child; 2]> {
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

fn s04_udp_both() -> Result<()> {
    let (ends, count) = (Ends::new()?, datagrams(24 * MIB));
    let out = Datagrams::new(DATAGRAM, count, PACE)?;
    let incoming = udp_in(&ends, "s04-udp-both", V4, count)?;
    let outgoing = udp_out(&ends, "s04-udp-both", 0, out)?;
    join(incoming.into_iter().chain(outgoing))
}

fn s05_icmp_raw() -> Result<()> {
    const DATA: usize = 1000;
    let _ends = Ends::new()?;
    program("s05-icmp-raw", || {
        let s = Sock::open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP, Proto::Icmp)
            .map_err(absent("raw socket"))?;
        s.recv_timeout(10_000)?;
        let (request, mut buf) = (echo(8, DATA), [0; 2 * DATA]);
        for _ in 0..sized(6292) {
            ensure!(s.sendto(&request, 0, Link::far_end(false, 0))? == 8 + DATA, "length");
            ensure!(s.recv(&mut buf, 0)? == 28 + DATA, "the answer with its IP header");
        }
        Ok(())
    })?
    .join()
}

fn s06_udp_443() -> Result<()> {
    let (ends, data) = (Ends::new()?, Datagrams::new(DATAGRAM, datagrams(24 * MIB), PACE)?);
    join(udp_out(&ends, "s06-udp-443", 443, data)?)
}

fn s07_tcp_v6_in() -> Result<()> {
    tcp_in("s07-tcp-v6-in", V6, sized(24 * MIB), receive_all)
}

fn s08_sctp_in() -> Result<()> {
    const MESSAGE: usize = 16 * KIB;
    let (ends, bytes) = (Ends::new()?, sized(24 * MIB));
    let l = ends.at_far(|| {
        let l = sctp_socket(V4, libc::SOCK_STREAM)?;
        l.bind(Link::far_end(false, 0))?;
        l.listen()?;
        Ok(l)
    })?;
    let to = l.local()?;
    let peer = ends.peer(|| {
        let (s, data) = (l.accept()?, pattern(MESSAGE));
        s.recv_exact(REQUEST)?;
        let mut pace = Pace::new(PACE);
        for _ in 0..bytes / MESSAGE {
            ensure!(s.send(&data, 0)? == MESSAGE, "length");
            pace.wait(MESSAGE);
        }
        s.recv_exact(REQUEST)
    })?;
    let program = program("s08-sctp-in", || {
        let s = sctp_socket(V4, libc::SOCK_STREAM)?;
        s.bind(Link::near_end(false, 0))?;
        s.connect(to)?;
        s.send_all(&pattern(REQUEST))?;
        s.recv_exact(bytes)?;
        s.send_all(&pattern(REQUEST))
    })?;
    join([program, peer])
}

fn s09_udp_53() -> Result<()> {
    let (ends, data) = (Ends::new()?, Datagrams::new(64, sized(65_536), 2 * MIB)?);
    join(udp_out(&ends, "s09-udp-53", 53, data)?)
}

/// Sizes of the packets that so many bytes make.
fn packets(bytes: usize) -> impl Iterator<Item = usize> {
    (0..bytes).step_by(DATAGRAM).map(move |begin| DATAGRAM.min(bytes - begin))
}

fn s10_raw_ip() -> Result<()> {
    let _ends = Ends::new()?;
    program("s10-raw-ip", || {
        let s = Sock::open(libc::AF_INET, libc::SOCK_RAW, 253, Proto::Raw)
            .map_err(absent("raw socket"))?;
        let (mut pace, data) = (Pace::new(PACE), pattern(DATAGRAM));
        for size in packets(sized(4 * MIB)) {
            ensure!(s.sendto(&data[..size], 0, Link::far_end(false, 0))? == size, "length");
            pace.wait(size);
        }
        Ok(())
    })?
    .join()
}

/// Processes that each send by a connection of their own.
fn processes(name: &str, count: usize, bytes: usize, at_once: bool) -> Result<()> {
    let ends = Ends::new()?;
    let l = ends.listener(V4)?;
    let to = l.local()?;
    let peer = ends.peer(|| take(&l, count, bytes))?;
    let mut children = Vec::new();
    for _ in 0..count {
        let child = program(name, || {
            let s = connected(V4, to)?;
            s.send_all(&pattern(REQUEST))?;
            s.send_all(&pattern(bytes))
        })?;
        if at_once {
            children.push(child);
        } else {
            child.join()?;
        }
    }
    join(children)?;
    peer.join()
}

fn s11_processes() -> Result<()> {
    processes("s11-processes", 20, sized(512 * KIB), false)
}

/// A frame with a UDP datagram of so many bytes to a port of the far end where nobody listens.
fn frame(data: usize) -> Vec<u8> {
    let (length, [near, far]) = (data as u16, [Link::near_end(false, 0), Link::far_end(false, 0)]);
    let mut ip = vec![0x45, 0];
    ip.extend((28 + length).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, libc::IPPROTO_UDP as u8, 0, 0]);
    for end in [near, far] {
        if let SocketAddr::V4(end) = end {
            ip.extend(end.ip().octets());
        }
    }
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    let mut frame = [FAR_MAC, NEAR_MAC].concat();
    frame.extend((libc::ETH_P_IP as u16).to_be_bytes());
    frame.extend(ip);
    for half in [4242, 9999, 8 + length, 0] {
        frame.extend(half.to_be_bytes());
    }
    frame.extend(pattern(data));
    frame
}

fn s12_frames() -> Result<()> {
    const HEADERS: usize = 14 + 20 + 8;
    let _ends = Ends::new()?;
    program("s12-frames", || {
        // Of protocol 0, which receives nothing.
        let s = packet(libc::SOCK_RAW, 0)?;
        bind_to_link(&s, 0, net::index(NEAR)?)?;
        let mut pace = Pace::new(PACE);
        for size in packets(sized(4 * MIB)) {
            ensure!(s.send(&frame(size), 0)? == HEADERS + size, "length");
            pace.wait(size);
        }
        Ok(())
    })?
    .join()
}

const PLAIN: How = How { peer: None, via: "", loose: false };

/// One io_uring operation after another, each of at most 64 KiB.
fn by_uring(
    s: &Sock,
    bytes: usize,
    dir: Dir,
    entry: impl Fn(RawFd, *mut u8, u32) -> squeue::Entry,
) -> Result<()> {
    let (mut ring, mut buf, mut left) = (Ring::new()?, pattern(PIECE), bytes);
    while left > 0 {
        let length = left.min(PIECE) as u32;
        let n = ring.moves(s, dir, &entry(s.fd(), buf.as_mut_ptr(), length), PLAIN)?;
        ensure!(n > 0, "the end, with {left} of {bytes} bytes to come");
        left -= n;
    }
    Ok(())
}

fn s13_uring_send() -> Result<()> {
    tcp_out("s13-uring-send", sized(24 * MIB), |s, bytes| {
        by_uring(s, bytes, Dir::Tx, |fd, data, len| opcode::Send::new(Fd(fd), data, len).build())
    })
}

fn s14_sendfile() -> Result<()> {
    tcp_out("s14-sendfile", sized(32 * MIB), |s, bytes| {
        let file = sys::memfd(&pattern(bytes))?;
        in_pieces(bytes, |n| Ok(s.sendfile(file, n)?))
    })
}

fn s15_sendmmsg() -> Result<()> {
    let ends = Ends::new()?;
    let data = Datagrams::new(DATAGRAM, sized(562) * WINDOW, PACE)?;
    let far = ends.far_udp(V4, 0)?;
    let to = far.local()?;
    let peer = ends.peer(|| {
        let mut buf = [0; 2 * DATAGRAM];
        data.receive(|| Ok(far.recvfrom(&mut buf, 0)?.0))
    })?;
    let program = program("s15-sendmmsg", || {
        let s = udp_at(V4, Link::near_end(false, 0))?;
        let (message, mut pace) = (pattern(DATAGRAM), Pace::new(PACE));
        let messages = vec![(message.as_slice(), Some(to)); WINDOW];
        for _ in 0..data.count / WINDOW {
            ensure!(s.sendmmsg(&messages)? == WINDOW, "not all went out");
            data.taken.wait()?;
            pace.wait(WINDOW * DATAGRAM);
        }
        Ok(())
    })?;
    join([program, peer])
}

fn s16_loopback() -> Result<()> {
    let (_ends, bytes) = (Ends::new()?, sized(24 * MIB));
    let l = Sock::listener(V4)?;
    let to = l.local()?;
    let peer = program("peer", || serve(&l, bytes))?;
    let program = program("s16-loopback", || {
        let s = connected(V4, to)?;
        s.send_all(&pattern(REQUEST))?;
        receive_all(&s, bytes)
    })?;
    join([program, peer])
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

fn s17_container() -> Result<()> {
    let (ends, bytes) = (Ends::new()?, sized(24 * MIB));
    let l = ends.listener(V4)?;
    let to = l.local()?;
    let peer = ends.peer(|| take(&l, 1, bytes))?;
    let (cgroup, outer) = (Cgroup::new()?, sys::pipe()?);
    // The engine, whose child is the first process of the container.
    let engine = proc::spawn(|| {
        cgroup.enter()?;
        let named = sys::cgroup();
        let own = libc::CLONE_NEWPID
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWCGROUP;
        // SAFETY: unshare has no memory arguments.
        cvt(unsafe { libc::unshare(own) }).map_err(absent("namespaces"))?;
        let child = program("s17-container", || {
            ensure!(std::process::id() == 1, "not the first process of its namespace");
            let mut pid = [0; 4];
            sys::read(outer.0, &mut pid)?;
            truth::set_outer_pid(u32::from_ne_bytes(pid));
            truth::set_outer_cgroup(named);
            let s = connected(V4, to)?;
            s.send_all(&pattern(REQUEST))?;
            send_paced(&s, bytes)
        })?;
        sys::write_all(outer.1, &child.pid.to_ne_bytes());
        child.join()
    })?;
    join([engine, peer])
}

fn s18_slow() -> Result<()> {
    tcp_out("s18-slow", sized(2 * MIB), |s, bytes| {
        let (mut pace, data) = (Pace::new(128 * KIB), pattern(bytes / PART));
        for _ in 0..PART {
            s.send_all(&data)?;
            pace.wait(data.len());
        }
        Ok(())
    })
}

fn s19_connections() -> Result<()> {
    const COUNT: usize = 60;
    let (ends, bytes) = (Ends::new()?, sized(PIECE));
    let l = ends.listener(V4)?;
    let to = l.local()?;
    let peer = ends.peer(|| take(&l, COUNT, bytes))?;
    let program = program("s19-connections", || {
        for _ in 0..COUNT {
            let s = connected(V4, to)?;
            s.send_all(&pattern(REQUEST))?;
            s.send_all(&pattern(bytes))?;
        }
        Ok(())
    })?;
    join([program, peer])
}

fn s20_burst() -> Result<()> {
    processes("s20-burst", 30, sized(256 * KIB), true)
}

fn s21_uring_recv() -> Result<()> {
    tcp_in("s21-uring-recv", V4, sized(24 * MIB), |s, bytes| {
        by_uring(s, bytes, Dir::Rx, |fd, data, len| opcode::Recv::new(Fd(fd), data, len).build())
    })
}

fn s22_splice() -> Result<()> {
    tcp_in("s22-splice", V4, sized(32 * MIB), |s, bytes| {
        let ((r, w), mut buf, mut left) = (sys::pipe()?, vec![0; PIECE], bytes);
        while left > 0 {
            let n = s.splice_out(w, left.min(PIECE), 0)?;
            ensure!(n > 0, "the end, with {left} of {bytes} bytes to come");
            left -= n;
            let mut in_pipe = n;
            while in_pipe > 0 {
                in_pipe -= sys::read(r, &mut buf)?;
            }
        }
        Ok(())
    })
}

fn s23_recvmmsg() -> Result<()> {
    let ends = Ends::new()?;
    let data = Datagrams::new(DATAGRAM, sized(562) * WINDOW, PACE)?;
    let (near, far) = (udp_at(V4, Link::near_end(false, 0))?, ends.far_udp(V4, 0)?);
    let (to, from) = (near.local()?, far.local()?);
    let peer = ends.peer(|| {
        far.recvfrom(&mut [0; REQUEST], 0)?;
        data.send(&far, to)
    })?;
    let program = program("s23-recvmmsg", || {
        near.sendto(&pattern(REQUEST), 0, from)?;
        let mut taken = 0;
        while taken < data.count {
            let n = near.recvmmsg_unnamed(WINDOW, DATAGRAM, from)?;
            (taken..taken + n).filter(|n| (n + 1).is_multiple_of(WINDOW)).for_each(|_| data.taken.set());
            taken += n;
        }
        Ok(())
    })?;
    join([program, peer])
}

fn s24_udp_v6_in() -> Result<()> {
    let ends = Ends::new()?;
    join(udp_in(&ends, "s24-udp-v6-in", V6, datagrams(24 * MIB))?)
}
