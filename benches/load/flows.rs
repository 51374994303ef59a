//! Many flows: datagrams from one socket to as many addresses of 127.0.0.0/8.

use std::io::{Write, stdout};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

#[derive(clap::Args)]
pub struct Args {
    /// How many
    flows: u32,
    /// For how long, in seconds
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
}

/// Sends on every flow once a second.
pub fn run(args: &Args) -> Result<()> {
    let flows = Flows::new()?;
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

/// Two sockets. Nobody reads: what finds no room is dropped, and was sent all the same.
pub struct Flows {
    sender: UdpSocket,
    /// Without it every datagram would be answered that there is nobody.
    _receiver: UdpSocket,
    port: u16,
}

impl Flows {
    pub fn new() -> Result<Self> {
        let receiver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        Ok(Self {
            sender: UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            port: receiver.local_addr()?.port(),
            _receiver: receiver,
        })
    }

    /// Sends a little on the flow of this number.
    pub fn send(&self, flow: u32) -> Result<()> {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 1)) + flow);
        let address = SocketAddrV4::new(address, self.port);
        self.sender
            .send_to(&[7; 20], address)
            .with_context(|| format!("send to {address}"))?;
        Ok(())
    }
}
