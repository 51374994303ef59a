//! TCP sockets in states few programs use: repair, disconnect and reuse, port games.

use anyhow::{Context, Result, ensure};

use crate::cases::absent;
use crate::sock::{Sock, V4, V6, tcp_pair};
use crate::sys::{self, errno};
use crate::transfer::pattern;
use crate::truth;

cases! {
    "disconnect by AF_UNSPEC and a second peer on the same socket" => tcp_reuse_socket,
    "TCP_REPAIR: a send into the own receive queue, then read" => tcp_repair_recv_queue,
    "TCP_REPAIR: a send into the send queue that is never transmitted" => tcp_repair_send_queue,
    "a connection moved by TCP_REPAIR to another socket with the same addresses" => tcp_repair_move,
    "IPV6_ADDRFORM turns a v4-mapped socket into an IPv4 one" => tcp_addrform,
    "SO_BINDTODEVICE lo" => tcp_bind_device,
    "TCP_MAXSEG and TCP_WINDOW_CLAMP: many small segments" => tcp_small_segments,
    "TCP_MD5SIG" => tcp_md5,
    "IP options and TOS on the connection" => tcp_ip_options,
    "SO_ATTACH_FILTER on a listener and its sockets" => tcp_filter,
    "IP_BIND_ADDRESS_NO_PORT: the local port appears with connect" => tcp_bind_no_port,
}

fn tcp_reuse_socket() -> Result<()> {
    let c = Sock::tcp(V4)?;
    for i in 1..=3 {
        let l = Sock::listener(V4)?;
        c.connect(l.local()?)?;
        let s = l.accept()?;
        c.send_all(&pattern(1000 * i))?;
        s.recv_exact(1000 * i)?;
        s.send_all(&pattern(500 * i))?;
        c.recv_exact(500 * i)?;
        c.disconnect()?;
    }
    Ok(())
}

const TCP_REPAIR: i32 = 19;
const TCP_REPAIR_QUEUE: i32 = 20;
const TCP_QUEUE_SEQ: i32 = 21;
const RECV_QUEUE: i32 = 1;
const SEND_QUEUE: i32 = 2;

fn repair(s: &Sock, on: i32) -> Result<()> {
    s.try_set(libc::IPPROTO_TCP, TCP_REPAIR, on).map_err(absent("TCP_REPAIR"))
}

fn tcp_repair_recv_queue() -> Result<()> {
    truth::lossy();
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(100))?;
    s.recv_exact(100)?;
    repair(&s, 1)?;
    s.set(libc::IPPROTO_TCP, TCP_REPAIR_QUEUE, RECV_QUEUE)?;
    // Counted as what send returned; recv returns it once more.
    s.send(&pattern(900), 0).context("send to the receive queue")?;
    let mut buf = [0; 2000];
    s.recv(&mut buf, libc::MSG_PEEK).context("peek the receive queue")?;
    repair(&s, -1)?;
    s.recv_exact(900)?;
    // Both sides now disagree about sequence numbers: leave without a word.
    repair(&s, 1)?;
    repair(&c, 1)
}

fn tcp_repair_send_queue() -> Result<()> {
    truth::lossy();
    let (c, s) = tcp_pair(V6)?;
    c.send_all(&pattern(100))?;
    s.recv_exact(100)?;
    repair(&c, 1)?;
    c.set(libc::IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE)?;
    c.send(&pattern(800), 0).context("send to the send queue")?;
    let mut buf = [0; 2000];
    let peeked = c.recv(&mut buf, libc::MSG_PEEK);
    ensure!(peeked.is_ok_and(|n| n == 800), "the send queue does not show what was put there");
    ensure!(c.recv(&mut buf, 0).is_err_and(|e| errno(&e) == libc::EPERM), "recv in repair");
    // Closed in repair mode, the socket vanishes.
    repair(&s, 1)
}

fn tcp_repair_move() -> Result<()> {
    // Elsewhere a connection that lingers in TIME_WAIT may hold the port.
    sys::new_netns(0)?;
    let (c, s) = tcp_pair(V4)?;
    c.send_all(&pattern(1000))?;
    s.recv_exact(1000)?;
    let local = c.local()?;
    let remote = s.local()?;
    repair(&c, 1)?;
    let mut seqs = [0u32; 2];
    for (queue, seq) in [RECV_QUEUE, SEND_QUEUE].into_iter().zip(&mut seqs) {
        c.set(libc::IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)?;
        c.get(libc::IPPROTO_TCP, TCP_QUEUE_SEQ, seq).context("TCP_QUEUE_SEQ")?;
    }
    drop(c);
    let c = Sock::tcp(V4)?;
    repair(&c, 1)?;
    c.set(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    c.bind(local)?;
    for (queue, seq) in [RECV_QUEUE, SEND_QUEUE].into_iter().zip(seqs) {
        c.set(libc::IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)?;
        c.try_set(libc::IPPROTO_TCP, TCP_QUEUE_SEQ, seq).context("TCP_QUEUE_SEQ")?;
    }
    c.connect(remote)?;
    // Off without a window probe: window and timestamp options were not carried over.
    repair(&c, -1)?;
    repair(&s, 1)
}

fn tcp_addrform() -> Result<()> {
    let (c, s) = tcp_pair(crate::sock::Mapped)?;
    c.send_all(&pattern(1000))?;
    s.recv_exact(1000)?;
    c.try_set(libc::IPPROTO_IPV6, libc::IPV6_ADDRFORM, libc::AF_INET)
        .map_err(absent("IPV6_ADDRFORM"))?;
    c.send_all(&pattern(2000))?;
    s.recv_exact(2000)?;
    s.send_all(&pattern(300))?;
    c.recv_exact(300)
}

fn tcp_bind_device() -> Result<()> {
    let (c, s) = (Sock::tcp(V4)?, Sock::listener(V4)?);
    c.try_set(libc::SOL_SOCKET, libc::SO_BINDTODEVICE, *b"lo\0")?;
    c.connect(s.local()?)?;
    let s = s.accept()?;
    c.send_all(&pattern(5000))?;
    s.recv_exact(5000)
}

fn tcp_small_segments() -> Result<()> {
    let l = Sock::listener(V4)?;
    l.set(libc::IPPROTO_TCP, libc::TCP_MAXSEG, 200)?;
    let c = Sock::tcp(V4)?;
    c.set(libc::IPPROTO_TCP, libc::TCP_MAXSEG, 200)?;
    c.connect(l.local()?)?;
    let s = l.accept()?;
    s.set(libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, 3000)?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            c.send_all(&pattern(60_000))?;
            c.shutdown(libc::SHUT_WR)
        });
        s.drain()?;
        writer.join().expect("writer")
    })
}

fn tcp_md5() -> Result<()> {
    // struct tcp_md5sig: sockaddr_storage, flags, prefixlen, keylen, ifindex, key.
    let mut sig = [0u8; 128 + 8 + 80];
    let family = (libc::AF_INET as u16).to_ne_bytes();
    sig[..2].copy_from_slice(&family);
    sig[4..8].copy_from_slice(&[127, 0, 0, 1]);
    sig[130] = 6;
    sig[136..142].copy_from_slice(b"secret");
    let l = Sock::listener(V4)?;
    l.try_set(libc::IPPROTO_TCP, libc::TCP_MD5SIG, sig).map_err(absent("TCP_MD5SIG"))?;
    let c = Sock::tcp(V4)?;
    c.try_set(libc::IPPROTO_TCP, libc::TCP_MD5SIG, sig)?;
    c.connect(l.local()?)?;
    let s = l.accept()?;
    c.send_all(&pattern(5000))?;
    s.recv_exact(5000)
}

fn tcp_ip_options() -> Result<()> {
    let l = Sock::listener(V4)?;
    let c = Sock::tcp(V4)?;
    // Record route: room for three addresses.
    let mut rr = [0u8; 16];
    rr[..3].copy_from_slice(&[7, 15, 4]);
    c.try_set(libc::IPPROTO_IP, libc::IP_OPTIONS, rr).map_err(absent("IP_OPTIONS"))?;
    c.set(libc::IPPROTO_IP, libc::IP_TOS, 0x10)?;
    c.connect(l.local()?)?;
    let s = l.accept()?;
    c.send_all(&pattern(4000))?;
    s.recv_exact(4000)
}

fn tcp_filter() -> Result<()> {
    let l = Sock::listener(V4)?;
    // One instruction: accept everything.
    let mut code = libc::sock_filter { code: 6, jt: 0, jf: 0, k: u32::MAX };
    let prog = libc::sock_fprog { len: 1, filter: &raw mut code };
    l.try_set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, prog).map_err(absent("filter"))?;
    let c = Sock::tcp(V4)?;
    c.connect(l.local()?)?;
    let s = l.accept()?;
    c.send_all(&pattern(6000))?;
    s.recv_exact(6000)
}

fn tcp_bind_no_port() -> Result<()> {
    let l = Sock::listener(V4)?;
    let c = Sock::tcp(V4)?;
    c.set(libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
    c.bind(crate::sock::alias(7))?;
    ensure!(c.local()?.port() == 0, "a port before connect");
    c.connect(l.local()?)?;
    let s = l.accept()?;
    c.send_all(&pattern(1500))?;
    s.recv_exact(1500)
}
