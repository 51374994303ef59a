//! Many flows: datagrams from one socket to as many addresses of 127.0.0.0/8, or connections.

use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
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
    /// Send on every flow once per line of standard input, and print a line afterwards
    #[arg(long)]
    on_request: bool,
}

/// Sends on every flow once a second, or on request.
pub fn run(args: &Args) -> Result<()> {
    let mut flows = Flows::new(args.tcp, args.flows)?;
    if args.on_request {
        for line in stdin().lines() {
            line?;
            flows.send_all(args.flows)?;
            println!("sent");
            stdout().flush()?;
        }
        return Ok(());
    }
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
    /// Connections in processes of their own: one process may not open that many files.
    Processes(Vec<Process>),
}

/// A process of `load flows --on-request`.
pub struct Process {
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Process {
    fn start(flows: u32) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["flows", "--tcp", "--on-request", &flows.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self {
            requests: child.stdin.take().context("no standard input")?,
            replies: BufReader::new(child.stdout.take().context("no standard output")?),
            child,
        })
    }

    fn request(&self) -> Result<()> {
        Ok((&self.requests).write_all(b"\n")?)
    }

    fn await_reply(&mut self) -> Result<()> {
        let mut line = String::new();
        self.replies.read_line(&mut line)?;
        ensure!(line == "sent\n", "load flows: {:?}", self.child.wait()?);
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
        // Both ends are open files. Some are open already.
        let own = most.map_or(u64::MAX, |most| most.saturating_sub(100) / 2);
        if u64::from(flows) > own {
            let own = u32::try_from(own)?.max(1);
            let shares = (0..flows)
                .step_by(own as usize)
                .map(|at| own.min(flows - at));
            return Ok(Self::Processes(
                shares.map(Process::start).collect::<Result<_>>()?,
            ));
        }
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let port = listener.local_addr()?.port();
        let connections = (0..flows).map(|flow| {
            let stream = TcpStream::connect((address(flow / EACH), port))?;
            Ok((stream, listener.accept()?.0))
        });
        Ok(Self::Connections(connections.collect::<Result<_>>()?))
    }

    /// Sends a little on every flow.
    pub fn send_all(&mut self, flows: u32) -> Result<()> {
        if let Self::Processes(all) = self {
            all.iter().try_for_each(Process::request)?;
            return all.iter_mut().try_for_each(Process::await_reply);
        }
        (0..flows).try_for_each(|flow| self.send(flow))
    }

    /// Sends a little on the flow of this number.
    fn send(&self, flow: u32) -> Result<()> {
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
            Self::Processes(_) => bail!("{flow}: flows of other processes send together"),
        }
        Ok(())
    }
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 1)) + number)
}
