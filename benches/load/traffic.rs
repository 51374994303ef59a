//! Kinds of traffic between two threads over loopback, as much as gets through.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::net::sockopt::set_socket_linger;
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::ClockId::ProcessCPUTime;

use crate::measure::processor_time;

const STREAM: usize = 64 << 10;
const SMALL: usize = 100;
/// Datagrams that are under way at most, so that none is dropped for want of room.
const BURST: u32 = 64;
const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

#[derive(clap::Args)]
pub struct Args {
    /// Which kind of traffic
    kind: Kind,
    /// For how long, in seconds
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// CPU of the thread that begins: where the scheduler puts the two decides more than all else
    #[arg(long)]
    near_cpu: Option<usize>,
    /// CPU of the other
    #[arg(long)]
    far_cpu: Option<usize>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// One TCP stream in writes of 64 KiB
    Stream,
    /// One TCP stream in writes of 100 bytes, which the kernel puts together into packets: so a
    /// call costs least, and what is added to it weighs most
    Small,
    /// One byte there and one back over TCP; a round trip is one
    Pingpong,
    /// Datagrams of 100 bytes
    Udp,
    /// TCP connections that carry 100 bytes there and one back
    Churn,
}

/// Prints how much got through a second, and the processor time of each piece in nanoseconds.
pub fn run(args: &Args) -> Result<()> {
    let length = Duration::try_from_secs_f64(args.seconds)?;
    let (start, processor) = (Instant::now(), processor_time(ProcessCPUTime));
    let end = start + length;
    let far = args.far_cpu;
    pin(args.near_cpu)?;
    let pieces = match args.kind {
        Kind::Stream => stream(end, far, STREAM)?,
        Kind::Small => stream(end, far, SMALL)?,
        Kind::Pingpong => pingpong(end, far)?,
        Kind::Udp => udp(end, far)?,
        Kind::Churn => churn(end, far)?,
    };
    ensure!(pieces > 0, "nothing got through");
    let (elapsed, used) = (start.elapsed(), processor_time(ProcessCPUTime) - processor);
    println!(
        "{{\"rate\":{:.1},\"processor_ns\":{:.1}}}",
        pieces as f64 / elapsed.as_secs_f64(),
        used.as_nanos() as f64 / pieces as f64
    );
    Ok(())
}

/// Keeps this thread on a CPU.
fn pin(cpu: Option<usize>) -> std::io::Result<()> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    Ok(sched_setaffinity(None, &cpus)?)
}

/// Whether to go on; the clock is asked once in a while only.
fn going(pieces: u64, every: u64, end: Instant) -> bool {
    !pieces.is_multiple_of(every) || Instant::now() < end
}

fn connection() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(LOCAL)?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    Ok((near, far))
}

fn stream(end: Instant, far_cpu: Option<usize>, size: usize) -> Result<u64> {
    let (mut near, mut far) = connection()?;
    thread::scope(|scope| {
        let reader = scope.spawn(move || -> std::io::Result<u64> {
            pin(far_cpu)?;
            let (mut buffer, mut bytes) = (vec![0; STREAM], 0);
            loop {
                match far.read(&mut buffer)? {
                    0 => return Ok(bytes),
                    read => bytes += read as u64,
                }
            }
        });
        let (message, mut writes) = (vec![7; size], 0);
        while going(writes, 16, end) {
            near.write_all(&message).context("write")?;
            writes += 1;
        }
        drop(near);
        let bytes = reader.join().expect("the reader does not panic")?;
        ensure!(bytes == writes * size as u64, "bytes were lost");
        Ok(writes)
    })
}

fn pingpong(end: Instant, far_cpu: Option<usize>) -> Result<u64> {
    let (mut near, mut far) = connection()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(move || -> std::io::Result<()> {
            pin(far_cpu)?;
            let mut byte = [0];
            while far.read_exact(&mut byte).is_ok() {
                far.write_all(&byte)?;
            }
            Ok(())
        });
        let (mut byte, mut trips) = ([7], 0);
        while going(trips, 16, end) {
            near.write_all(&byte).context("write")?;
            near.read_exact(&mut byte).context("read")?;
            trips += 1;
        }
        drop(near);
        Ok(trips)
    })
}

fn udp(end: Instant, far_cpu: Option<usize>) -> Result<u64> {
    let (near, far) = (UdpSocket::bind(LOCAL)?, UdpSocket::bind(LOCAL)?);
    near.connect(far.local_addr()?)?;
    far.connect(near.local_addr()?)?;
    thread::scope(|scope| {
        let reader = scope.spawn(move || -> std::io::Result<()> {
            pin(far_cpu)?;
            let mut buffer = [0; SMALL];
            let mut got = 0;
            // An empty datagram is the end.
            while far.recv(&mut buffer)? > 0 {
                got += 1;
                if got == BURST {
                    far.send(&[1])?;
                    got = 0;
                }
            }
            Ok(())
        });
        let (message, mut sent) = ([7; SMALL], 0);
        while Instant::now() < end {
            for _ in 0..BURST {
                near.send(&message).context("send")?;
            }
            near.recv(&mut [0]).context("receive")?;
            sent += u64::from(BURST);
        }
        near.send(&[])?;
        reader.join().expect("the reader does not panic")?;
        Ok(sent)
    })
}

fn churn(end: Instant, far_cpu: Option<usize>) -> Result<u64> {
    let listener = TcpListener::bind(LOCAL)?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        let server = scope.spawn(move || -> std::io::Result<()> {
            pin(far_cpu)?;
            let mut buffer = [0; SMALL];
            loop {
                let (mut far, _) = listener.accept()?;
                // An empty connection is the end.
                if far.read_exact(&mut buffer).is_err() {
                    return Ok(());
                }
                far.write_all(&[1])?;
            }
        });
        let mut connections = 0;
        while Instant::now() < end {
            let mut near = TcpStream::connect(address).context("connect")?;
            near.write_all(&[7; SMALL]).context("write")?;
            near.read_exact(&mut [0]).context("read")?;
            // By a reset, which leaves nothing in TIME_WAIT: ports would run out.
            set_socket_linger(&near, Some(Duration::ZERO))?;
            connections += 1;
        }
        drop(TcpStream::connect(address)?);
        server.join().expect("the server does not panic")?;
        Ok(connections)
    })
}
