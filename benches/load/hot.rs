//! One socket call after the other, in one thread: sends 100 bytes and receives them, over
//! loopback. Whatever else the machine does falls out of the minimum. In a guest that counts
//! instructions as time (`tests/vm/run.sh --icount`), a nanosecond is an instruction.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::flows::Flows;

const SIZE: usize = 100;

#[derive(clap::Args)]
pub struct Args {
    /// What is sent by
    traffic: Traffic,
    /// Sends in a batch, and as many receives
    #[arg(long, default_value_t = 5000)]
    calls: u32,
    /// Batches, of which the fastest is told
    #[arg(long, default_value_t = 10)]
    batches: u32,
    /// Other flows of this process, made before: with more than flowtop has room for, the calls find
    /// its map full
    #[arg(long, default_value_t = 0)]
    flows: u32,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Traffic {
    Tcp4,
    Tcp6,
    /// UDP of connected sockets
    Udp4,
    /// No business of flowtop's, but of the tracepoints'
    Unix,
}

/// Prints the nanoseconds of one call, half of a send and a receive.
pub fn run(args: &Args) -> Result<()> {
    Flows::new(false, args.flows)?.send_all(args.flows)?;
    let (mut sender, mut receiver) = pair(args.traffic)?;
    // Windows, buffers and caches settle.
    batch(&mut *sender, &mut *receiver, args.calls.min(1000))?;
    let mut best = Duration::MAX;
    for _ in 0..args.batches {
        best = best.min(batch(&mut *sender, &mut *receiver, args.calls)?);
    }
    println!(
        "{:.1}",
        best.as_nanos() as f64 / f64::from(args.calls) / 2.0
    );
    Ok(())
}

fn batch(sender: &mut dyn Write, receiver: &mut dyn Read, calls: u32) -> Result<Duration> {
    let (message, mut buffer) = ([7; SIZE], [0; SIZE]);
    let start = Instant::now();
    for _ in 0..calls {
        sender.write_all(&message).context("send")?;
        receiver.read_exact(&mut buffer).context("receive")?;
    }
    Ok(start.elapsed())
}

type Pair = (Box<dyn Write>, Box<dyn Read>);

fn pair(traffic: Traffic) -> Result<Pair> {
    Ok(match traffic {
        Traffic::Tcp4 => tcp(Ipv4Addr::LOCALHOST.into())?,
        Traffic::Tcp6 => tcp(Ipv6Addr::LOCALHOST.into())?,
        Traffic::Udp4 => {
            let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            sender.connect(receiver.local_addr()?)?;
            receiver.connect(sender.local_addr()?)?;
            (Box::new(Datagrams(sender)), Box::new(Datagrams(receiver)))
        }
        Traffic::Unix => {
            let (sender, receiver) = UnixStream::pair()?;
            (Box::new(sender), Box::new(receiver))
        }
    })
}

fn tcp(address: IpAddr) -> Result<Pair> {
    let listener = TcpListener::bind((address, 0))?;
    let sender = TcpStream::connect(listener.local_addr()?)?;
    sender.set_nodelay(true)?;
    let (receiver, _) = listener.accept()?;
    Ok((Box::new(sender), Box::new(receiver)))
}

struct Datagrams(UdpSocket);

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.recv(buffer)
    }
}

impl Write for Datagrams {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
