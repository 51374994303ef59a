//! Many flows: datagrams from one socket to as many addresses of 127.0.0.0/8, or connections.

use std::io::{Write, stdout};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[derive(clap::Args)]
pub struct Args {
    /// How many flows to make
    flows: u32,
    /// Connections of TCP, of which flowtop has the state to read too
    #[arg(long)]
    tcp: bool,
    /// For how long, in seconds
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
}

/// Sends on every flow once a second.
pub fn run(args: &Args) -> Result<()> {
    let flows = Flows::new(args.tcp, args.flows)?;
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let mut next = Instant::now();
    let mut first = true;
    while Instant::now() < end {
        // In tenths, so that it is no storm once a second.
        for tenth in 0..10 {
            for flow in (tenth..args.flows).step_by(10) {
                flows.send(flow)?;
            }
            next += Duration::from_millis(100);
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        if first {
            println!("sending");
            stdout().flush()?;
            first = false;
        }
    }
    Ok(())
}

/// Senders of a little. Nobody reads: what finds no room is dropped, or waits, and was sent all the
/// same.
pub enum Flows {
    /// Two UDP sockets, with many peers.
    Datagrams {
        sender: UdpSocket,
        /// Without it every datagram would be answered that there is nobody.
        _receiver: UdpSocket,
        port: u16,
    },
    /// Both ends of each.
    Connections(Vec<(TcpStream, TcpStream)>),
}

impl Flows {
    pub fn new(tcp: bool, flows: u32) -> Result<Self> {
        if tcp {
            return Self::connect(flows);
        }
        let receiver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        Ok(Self::Datagrams {
            sender: UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            port: receiver.local_addr()?.port(),
            _receiver: receiver,
        })
    }

    fn connect(flows: u32) -> Result<Self> {
        /// Connections to one address, so that ports for it suffice.
        const EACH: u32 = 10_000;
        // As many files as may be had without asking anyone.
        let most = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit {
            current: most,
            maximum: most,
        };
        setrlimit(Resource::Nofile, limit).context("allow more open files")?;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let port = listener.local_addr()?.port();
        let connections = (0..flows).map(|flow| {
            let stream = TcpStream::connect((address(flow / EACH), port))?;
            Ok((stream, listener.accept()?.0))
        });
        Ok(Self::Connections(connections.collect::<Result<_>>()?))
    }

    /// Sends a little on the flow of this number.
    pub fn send(&self, flow: u32) -> Result<()> {
        match self {
            Self::Datagrams { sender, port, .. } => {
                let address = SocketAddrV4::new(address(flow), *port);
                sender
                    .send_to(&[7; 20], address)
                    .with_context(|| format!("send to {address}"))?;
            }
            Self::Connections(all) => {
                let mut stream = &all[flow as usize].0;
                stream.write_all(&[7; 20]).context("send")?;
            }
        }
        Ok(())
    }
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 1)) + number)
}
