//! Flows to addresses that a name server gave: each has the name that its own process asked for.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};

use crate::net;
use crate::proc::{self, Child};
use crate::sock::{Fam, Sock, V4, V6};
use crate::sys;
use crate::transfer::pattern;

cases! {
    "a name asked for in each way that programs receive the answer: IPv4 and IPv6 servers, A and AAAA" => dns_ways,
    "an answer by a chain of aliases, and the flow has the name that was asked for" => dns_alias,
    "two names of one address: each process has its own, and reverse DNS says another" => dns_shared_address,
    "two names of one address in one process: the last, said to be one of several" => dns_several,
    "a process that asks nobody has the name that another one resolved, said to be another's" => dns_other,
    "a flow of UDP to a name" => dns_udp,
}

const A: u16 = 1;
const CNAME: u16 = 5;
const PTR: u16 = 12;
const AAAA: u16 = 28;
const IN: u16 = 1;
const TTL: u32 = 3600;
/// A pointer to the name in the question, which is behind the header (RFC 1035, section 4.1.4).
const NAME_OF_QUESTION: [u8; 2] = [0xc0, 12];

const WEB: &str = "127.0.0.10";
const CDN: &str = "127.0.0.11";
const SIX: &str = "2001:db8::10";
const SERVER: &str = "127.0.0.1:53";
const SERVER6: &str = "[::1]:53";

/// How many bytes each client sends, to each of its servers.
const BYTES: usize = 1000;

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    // Id, recursion wanted, one question
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend(encoded(name));
    bytes.extend(kind.to_be_bytes());
    bytes.extend(IN.to_be_bytes());
    bytes
}

/// Aliases, then data of a question's record, as this zone has them.
fn zone(name: &str, kind: u16) -> (&'static [&'static str], Vec<u8>) {
    let addr = |text: &str| match text.parse() {
        Ok(IpAddr::V4(addr)) => addr.octets().to_vec(),
        Ok(IpAddr::V6(addr)) => addr.octets().to_vec(),
        Err(_) => Vec::new(),
    };
    match (name, kind) {
        ("api.example" | "www.example", A) => (&[], addr(WEB)),
        ("api.example" | "six.example", AAAA) => (&[], addr(SIX)),
        ("alias.example", A) => (&["far.example", "edge.cdn.example.net"], addr(CDN)),
        (_, PTR) => (&[], encoded("reverse.example")),
        _ => (&[], Vec::new()),
    }
}

/// Writes the answer to a question.
fn answer(asked: &[u8]) -> Result<Vec<u8>> {
    let (name, kind) = question_of(asked)?;
    let (aliases, data) = zone(&name, kind);
    let mut bytes = asked.to_vec();
    // An answer, recursion available
    bytes[2..4].copy_from_slice(&[0x81, 0x80]);
    let mut records = 0;
    let mut owner = NAME_OF_QUESTION.to_vec();
    let aliases = aliases.iter().map(|alias| (CNAME, encoded(alias)));
    let data = (!data.is_empty()).then_some((kind, data));
    for (kind, data) in aliases.chain(data) {
        bytes.extend(&owner);
        bytes.extend(kind.to_be_bytes());
        bytes.extend(IN.to_be_bytes());
        bytes.extend(TTL.to_be_bytes());
        bytes.extend((data.len() as u16).to_be_bytes());
        let at = bytes.len() as u16;
        bytes.extend(data);
        owner = (0xc000 | at).to_be_bytes().to_vec();
        records += 1;
    }
    bytes[7] = records;
    Ok(bytes)
}

fn question_of(asked: &[u8]) -> Result<(String, u16)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    while let Some(&length @ 1..) = asked.get(at) {
        let label = asked.get(at + 1..at + 1 + usize::from(length));
        labels.push(String::from_utf8_lossy(label.context("a label")?).into_owned());
        at += 1 + usize::from(length);
    }
    let kind = asked.get(at + 1..at + 3).context("a type")?;
    Ok((labels.join("."), u16::from_be_bytes([kind[0], kind[1]])))
}

/// The address in an answer, which is its last record.
fn address(answer: &[u8], kind: u16) -> Result<IpAddr> {
    let bytes = |n: usize| answer.len().checked_sub(n).map(|at| &answer[at..]);
    Ok(match kind {
        A => IpAddr::from(<[u8; 4]>::try_from(bytes(4).context("four bytes")?)?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes(16).context("16 bytes")?)?),
    })
}

/// A network with name servers, which answer until a datagram of one byte comes.
struct Servers {
    children: Vec<Child>,
}

impl Servers {
    fn start() -> Result<Self> {
        sys::new_netns(0)?;
        let lo = net::index("lo")?;
        net::address(lo, SIX.parse()?, 128)?;
        let server = |fam, addr: &str| {
            let udp = Sock::udp(fam)?;
            udp.bind(addr.parse()?)?;
            proc::spawn(|| {
                let mut asked = [0; 512];
                loop {
                    let (n, from) = udp.recvfrom(&mut asked, 0)?;
                    if n == 1 {
                        return Ok(());
                    }
                    udp.sendto(&answer(&asked[..n])?, 0, from)?;
                }
            })
        };
        Ok(Self {
            children: vec![server(V4, SERVER)?, server(V6, SERVER6)?],
        })
    }

    fn stop(self) -> Result<()> {
        for (fam, addr) in [(V4, SERVER), (V6, SERVER6)] {
            Sock::udp(fam)?.sendto(b"e", 0, addr.parse()?)?;
        }
        self.children.into_iter().try_for_each(Child::join)
    }
}

/// How a program receives an answer.
#[derive(Clone, Copy, Debug)]
enum ReceiveCall {
    /// `sendto` and `recvfrom` on one socket for both questions, as musl does
    Unconnected,
    /// `connect` and `recv`, as glibc does
    Connected,
    /// `connect` and `read`, as Go does
    Read,
    /// `connect` and `readv`, with the answer in the first of two buffers
    Readv,
    /// `recvmsg`, as systemd-resolved does
    Message,
}

/// Asks a server for the address of a name, and receives the answer by `call`.
fn resolve(call: ReceiveCall, name: &str, kind: u16, server: &str) -> Result<IpAddr> {
    let server: SocketAddr = server.parse()?;
    let udp = Sock::udp(if server.is_ipv6() { V6 } else { V4 })?;
    let mut buffer = vec![0; 1500];
    let n = match call {
        ReceiveCall::Unconnected => {
            udp.sendto(&question(name, kind), 0, server)?;
            udp.recvfrom(&mut buffer, 0)?.0
        }
        ReceiveCall::Message => {
            udp.sendto(&question(name, kind), 0, server)?;
            udp.recvmsg(&mut [&mut buffer], 0)?.n
        }
        ReceiveCall::Connected | ReceiveCall::Read | ReceiveCall::Readv => {
            udp.connect(server)?;
            udp.send(&question(name, kind), 0)?;
            match call {
                ReceiveCall::Read => udp.read(&mut buffer)?,
                ReceiveCall::Readv => {
                    let (first, second) = buffer.split_at_mut(512);
                    udp.readv(first, second)?
                }
                _ => udp.recv(&mut buffer, 0)?,
            }
        }
    };
    address(&buffer[..n], kind)
}

/// Servers of TCP at the addresses of the zone, which take what each client sends and close.
struct Listeners(BTreeMap<IpAddr, Sock>);

impl Listeners {
    fn new() -> Result<Self> {
        let listener = |addr: &str| {
            let addr: IpAddr = addr.parse()?;
            let tcp = Sock::tcp(if addr.is_ipv6() { V6 } else { V4 })?;
            tcp.bind(SocketAddr::new(addr, 0))?;
            tcp.listen()?;
            Ok((addr, tcp))
        };
        let all: Result<_> = [WEB, CDN, SIX].into_iter().map(listener).collect();
        Ok(Self(all?))
    }

    /// Sends to an address by TCP; the flow is to have this name for this reason.
    fn send(&self, addr: IpAddr, name: &'static str, origin: &'static str) -> Result<()> {
        let to = self.0.get(&addr).context("no such address")?.local()?;
        let tcp = Sock::tcp(if addr.is_ipv6() { V6 } else { V4 })?;
        tcp.connect(to)?;
        tcp.send_all(&pattern(BYTES))?;
        tcp.named(name, origin);
        Ok(())
    }

    /// Takes what a client has sent to an address.
    fn take(&self, addr: &str) -> Result<()> {
        let addr: IpAddr = addr.parse()?;
        let tcp = self.0.get(&addr).context("no such address")?.accept()?;
        ensure!(tcp.drain()? == BYTES, "too few bytes");
        Ok(())
    }
}

fn dns_ways() -> Result<()> {
    let servers = Servers::start()?;
    let listeners = Listeners::new()?;
    for call in [
        ReceiveCall::Unconnected,
        ReceiveCall::Connected,
        ReceiveCall::Read,
        ReceiveCall::Readv,
        ReceiveCall::Message,
    ] {
        for server in [SERVER, SERVER6] {
            for (name, kind, addr) in [
                ("www.example", A, WEB),
                ("six.example", AAAA, SIX),
            ] {
                let client = proc::spawn(|| {
                    let found = resolve(call, name, kind, server)?;
                    ensure!(found == addr.parse::<IpAddr>()?, "{call:?}: {found}");
                    listeners.send(found, name, "process")
                })?;
                listeners.take(addr)?;
                client.join()?;
            }
        }
    }
    servers.stop()
}

fn dns_alias() -> Result<()> {
    let servers = Servers::start()?;
    let listeners = Listeners::new()?;
    for server in [SERVER, SERVER6] {
        let client = proc::spawn(|| {
            let addr = resolve(ReceiveCall::Connected, "alias.example", A, server)?;
            listeners.send(addr, "alias.example", "process")
        })?;
        listeners.take(CDN)?;
        client.join()?;
    }
    servers.stop()
}

fn dns_shared_address() -> Result<()> {
    let servers = Servers::start()?;
    let listeners = Listeners::new()?;
    for name in ["api.example", "www.example", "api.example"] {
        let client = proc::spawn(|| {
            let addr = resolve(ReceiveCall::Connected, name, A, SERVER)?;
            // An answer without an address changes nothing.
            let udp = Sock::udp(V4)?;
            udp.connect(SERVER.parse()?)?;
            udp.send(&question("10.0.0.127.in-addr.arpa", PTR), 0)?;
            udp.recv(&mut [0; 512], 0)?;
            listeners.send(addr, name, "process")
        })?;
        listeners.take(WEB)?;
        client.join()?;
    }
    servers.stop()
}

fn dns_several() -> Result<()> {
    let servers = Servers::start()?;
    let listeners = Listeners::new()?;
    let client = proc::spawn(|| {
        let first = resolve(ReceiveCall::Connected, "api.example", A, SERVER)?;
        let last = resolve(ReceiveCall::Unconnected, "www.example", A, SERVER)?;
        ensure!(first == last, "{first} and {last}");
        listeners.send(last, "www.example", "several")
    })?;
    listeners.take(WEB)?;
    client.join()?;
    servers.stop()
}

fn dns_other() -> Result<()> {
    let servers = Servers::start()?;
    let listeners = Listeners::new()?;
    let resolver = proc::spawn(|| {
        resolve(ReceiveCall::Connected, "api.example", AAAA, SERVER6)?;
        // What anyone can have sent to this socket names no other process's flows.
        resolve(ReceiveCall::Unconnected, "six.example", AAAA, SERVER).map(drop)
    })?;
    resolver.join()?;
    let client = proc::spawn(|| listeners.send(SIX.parse()?, "api.example", "other"))?;
    listeners.take(SIX)?;
    client.join()?;
    servers.stop()
}

fn dns_udp() -> Result<()> {
    let servers = Servers::start()?;
    for (fam, kind, server) in [(V4, A, SERVER), (V6, AAAA, SERVER6)] {
        send_by_udp(fam, kind, server)?;
    }
    servers.stop()
}

fn send_by_udp(fam: Fam, kind: u16, server: &str) -> Result<()> {
    let there = Sock::udp(fam)?;
    let addr: IpAddr = match kind {
        A => WEB.parse()?,
        AAAA => SIX.parse()?,
        _ => bail!("no address"),
    };
    there.bind(SocketAddr::new(addr, 0))?;
    let to = there.local()?;
    let client = proc::spawn(|| {
        let found = resolve(ReceiveCall::Connected, "api.example", kind, server)?;
        ensure!(found == addr, "{found}");
        let udp = Sock::udp(fam)?;
        udp.connect(to)?;
        udp.send(&pattern(300), 0)?;
        udp.named("api.example", "process");
        Ok(())
    })?;
    there.recvfrom(&mut [0; 1000], 0)?;
    client.join()
}
