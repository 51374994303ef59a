//! Asks name servers, one after the other, over UDP and, for what does not fit, TCP. Every wait has
//! an end, whatever a server does.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::name_cache::LookupOutcome;
use super::ptr::{Query, Reply};
use super::resolv_conf::Conf;

use crate::sync::lock;

/// For so long a server that did not answer is queried after the others: every name would wait for
/// it first otherwise.
const SILENT_FOR: Duration = Duration::from_secs(30);
/// Time before the next query for a name if no server has answered. RFC 9520, section 3.2: at least
/// a second, at most five minutes.
const FAILED_FOR: Duration = Duration::from_secs(60);
/// Largest answer by UDP, in bytes. RFC 1035, section 4.2.1, has 512 for queries without EDNS; some
/// servers send more.
const MAX_UDP: usize = 4096;

/// The servers of a configuration, and how they did lately.
#[derive(Debug)]
pub(super) struct Servers {
    conf: Conf,
    /// Until when a server counts as one that does not answer; of each.
    silent: Mutex<Vec<Option<Instant>>>,
}

impl Servers {
    pub(super) fn new(conf: Conf) -> Self {
        let silent = Mutex::new(vec![None; conf.servers.len()]);
        Self { conf, silent }
    }

    /// The name of an address, and how long the answer is good. Returns at the latest after
    /// attempts * servers * twice the timeout.
    pub(super) fn look_up(&self, addr: IpAddr) -> (LookupOutcome, Duration) {
        for _ in 0..self.conf.attempts {
            for index in self.order() {
                let Some(server) = self.conf.servers[index].socket_addr() else {
                    continue;
                };
                // Every time with another id and port.
                let reply = Query::new(addr)
                    .ok()
                    .and_then(|query| exchange(server, &query, self.conf.timeout).ok());
                self.note(index, reply.is_some());
                match reply {
                    Some(Reply::Name(name, ttl)) => {
                        return (LookupOutcome::Name(name), ttl);
                    }
                    Some(Reply::NoPtrRecord(ttl)) => {
                        return (LookupOutcome::NoPtrRecord, ttl);
                    }
                    Some(Reply::Truncated | Reply::Useless) | None => {}
                }
            }
        }
        (LookupOutcome::Failed, FAILED_FOR)
    }

    /// In the order of the file, but those that did not answer last.
    fn order(&self) -> Vec<usize> {
        let silent = lock(&self.silent);
        let now = Instant::now();
        let mut order: Vec<usize> = (0..silent.len()).collect();
        order.sort_by_key(|&index| silent[index].is_some_and(|until| until > now));
        order
    }

    fn note(&self, index: usize, has_answered: bool) {
        let mut silent = lock(&self.silent);
        silent[index] = (!has_answered).then(|| Instant::now() + SILENT_FOR);
    }
}

/// Sends a query to one server by UDP, and again by TCP if the answer is marked as truncated.
fn exchange(server: SocketAddr, query: &Query, timeout: Duration) -> io::Result<Reply> {
    match udp(server, query, Instant::now() + timeout)? {
        Reply::Truncated => tcp(server, query, Instant::now() + timeout),
        reply => Ok(reply),
    }
}

fn udp(server: SocketAddr, query: &Query, deadline: Instant) -> io::Result<Reply> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // For port 0 the kernel takes one at random; connected, it takes datagrams of this server only.
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(query.as_bytes())?;
    let mut buffer = [0; MAX_UDP];
    loop {
        socket.set_read_timeout(Some(left(deadline)?))?;
        match socket.recv(&mut buffer) {
            // Anything else that comes is someone's guess: the answer may still follow.
            Ok(length) => {
                if let Some(reply) = query.read(&buffer[..length]) {
                    return Ok(reply);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn tcp(server: SocketAddr, query: &Query, deadline: Instant) -> io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&server, left(deadline)?)?;
    let query_length = u16::try_from(query.as_bytes().len()).map_err(io::Error::other)?;
    // In one piece: there are servers that want that.
    let message = [&query_length.to_be_bytes(), query.as_bytes()].concat();
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(&message)?;
    let mut length = [0; 2];
    read_exact(&mut stream, &mut length, deadline)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    read_exact(&mut stream, &mut answer, deadline)?;
    query
        .read(&answer)
        .ok_or_else(|| io::Error::from(ErrorKind::InvalidData))
}

/// As `Read::read_exact()`, but all of it by the deadline: a server may send a byte now and then.
fn read_exact(stream: &mut TcpStream, buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => filled += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Time until the deadline; never nothing, which would mean without end.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(left)
}
