//! Known traffic that goes on until it is told to end: something of everything, at a moderate rate;
//! or one process with very many flows.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::cases;
use crate::compare::CaseTruth;
use crate::proc;
use crate::sock::{Fam, Mapped, Sock, V4, V6, tcp_pair, udp_pair};
use crate::sys;
use crate::transfer::pattern;
use crate::truth;

/// What starts and ends processes, threads, namespaces and sockets by the dozen.
const CHURN: &[&str] = &[
    "fork_many",
    "pid_reused",
    "gone_at_once",
    "exec_renamed",
    "netns_child",
    "netns_foreign_socket",
];

/// Seconds after which one of them is given up: an emulated machine of a busy host may stand still
/// for a minute.
const CASE_TIMEOUT: &str = "600";

/// What it says when something of everything has moved.
const BEGUN: &str = "begun";

/// A generator that runs, and will tell what it did.
pub struct Load {
    child: Child,
    /// Takes in what it says as it comes: what nobody reads would fill the pipe and hold it up.
    reader: Option<JoinHandle<Result<CaseTruth>>>,
}

impl Load {
    /// Something of everything, with so many threads of each kind and so many milliseconds between
    /// two calls of one.
    pub fn mixed(threads: usize, pause: u64) -> Result<Self> {
        let args = ["mixed-traffic", &threads.to_string(), &pause.to_string()];
        let mut child = start(&args)?;
        let output = BufReader::new(child.stdout.take().context("no stdout")?);
        let (begin, begun) = channel::<()>();
        let reader = thread::spawn(move || {
            let (mut truth, mut begin) = (CaseTruth::default(), Some(begin));
            for line in output.lines() {
                let line = line?;
                truth.take(&line)?;
                if line.contains(BEGUN) {
                    begin.take();
                }
            }
            Ok(truth)
        });
        let reader = Some(reader);
        // Gone when it has begun, or has ended, of which end() tells.
        let _ = begun.recv();
        Ok(Self { child, reader })
    }

    /// Ends it in good order, and gives what it moved.
    pub fn end(mut self) -> Result<CaseTruth> {
        drop(self.child.stdin.take());
        let reader = self.reader.take().context("it has been read")?;
        let truth = reader.join().expect("read the load")?;
        let status = self.child.wait()?;
        let errors = truth.errors.join("; ");
        ensure!(
            status.success() && errors.is_empty(),
            "the load ended with {status}: {errors}"
        );
        Ok(truth)
    }
}

/// This program, in another role.
fn start(args: &[&str]) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the load")
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `traffic mixed-traffic`: until stdin ends.
pub fn mixed(threads: usize, pause: u64) -> Result<()> {
    sys::die_with_parent();
    let stop = AtomicBool::new(false);
    let stop = &stop;
    let pause = Duration::from_millis(pause);
    // Let go by each after its first step.
    let (begin, begun) = channel::<()>();
    let result = thread::scope(|scope| {
        let mut all = Vec::new();
        for i in 0..threads {
            let fam = [V4, V6, Mapped][i % 3];
            let [one, two, three] = [(); 3].map(|()| begin.clone());
            all.push(scope.spawn(move || until(stop, one, pause, streams(fam, i))));
            all.push(scope.spawn(move || until(stop, two, pause, datagrams(fam))));
            all.push(scope.spawn(move || until(stop, three, pause * 10, connections(fam))));
        }
        all.push(scope.spawn(move || until(stop, begin, pause * 20, churn())));
        let _ = begun.recv();
        truth::print_line(&json!({"type": BEGUN}));
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stop.store(true, Relaxed);
        all.into_iter()
            .try_for_each(|one| one.join().expect("load"))
    });
    proc::leave(cases::report(result));
}

/// One step after the other, with a pause between them.
fn until(
    stop: &AtomicBool,
    begin: Sender<()>,
    pause: Duration,
    steps: Result<impl FnMut() -> Result<()>>,
) -> Result<()> {
    let (mut step, mut begin) = (steps?, Some(begin));
    while !stop.load(Relaxed) {
        step()?;
        begin.take();
        thread::sleep(pause);
    }
    Ok(())
}

/// Long connections, both ways, in calls of many sizes.
fn streams(fam: Fam, seed: usize) -> Result<impl FnMut() -> Result<()>> {
    let (client, server) = tcp_pair(fam)?;
    let mut n = seed;
    Ok(move || {
        n += 1;
        let size = [1, 100, 1448, 9000, 30_000][n % 5];
        client.send_all(&pattern(size))?;
        server.recv_exact(size)?;
        server.send_all(&pattern(size / 2))?;
        client.recv_exact(size / 2)
    })
}

/// Datagrams between connected sockets, and to a peer that is named in every call.
fn datagrams(fam: Fam) -> Result<impl FnMut() -> Result<()>> {
    let (a, b) = udp_pair(fam)?;
    let (from, to) = (Sock::udp_bound(fam)?, Sock::udp_bound(fam)?);
    let peer = to.local()?;
    let mut buf = vec![0; 2000];
    Ok(move || {
        a.send(&pattern(700), 0)?;
        b.recv(&mut buf, 0)?;
        from.sendto(&pattern(300), 0, peer)?;
        to.recvfrom(&mut buf, 0)?;
        Ok(())
    })
}

/// A new connection each time.
fn connections(fam: Fam) -> Result<impl FnMut() -> Result<()>> {
    Ok(move || {
        let (client, server) = tcp_pair(fam)?;
        client.send_all(&pattern(1000))?;
        server.recv_exact(1000)?;
        server.send_all(&pattern(5000))?;
        client.recv_exact(5000)
    })
}

/// Processes of their own, which tell the truth on the same pipe.
fn churn() -> Result<impl FnMut() -> Result<()>> {
    let me = std::env::current_exe()?;
    let mut n = 0;
    Ok(move || {
        let case = CHURN[n % CHURN.len()];
        n += 1;
        let status = Command::new(&me)
            .args(["case", case, CASE_TIMEOUT])
            .stdin(Stdio::null())
            .status()
            .context("start a case")?;
        ensure!(status.success(), "{case} ended with {status}");
        Ok(())
    })
}

/// One process with as many flows as one wants: so many that only their sum is told.
pub struct Flows {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Flows {
    /// One that sends a datagram to each of so many peers when it is told to.
    pub fn new(count: u32) -> Result<Self> {
        let mut child = start(&["flows-traffic", &count.to_string()])?;
        let output = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, output })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it send once more, and gives the bytes it has sent so far.
    pub fn go(&mut self) -> Result<u64> {
        let input = self.child.stdin.as_mut().context("no stdin")?;
        input.write_all(b"x").context("tell the load to go")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        line.trim().parse().context("the load ended")
    }
}

impl Drop for Flows {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `traffic flows-traffic`: a datagram to each of `count` peers for every byte on stdin.
pub fn flows(count: u32) -> Result<()> {
    const PORTS: u32 = 20_000;
    sys::die_with_parent();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut sent = 0;
    while sys::read(0, &mut [0])? == 1 {
        for n in 0..count {
            // Nobody is there: what comes back is no data.
            let host = Ipv4Addr::from_bits(0x7f00_0002 + n / PORTS);
            let peer = (host, (10_000 + n % PORTS) as u16);
            sent += socket.send_to(&[7; 100], peer).context("send")?;
        }
        sys::write_all(1, format!("{sent}\n").as_bytes());
    }
    Ok(())
}
