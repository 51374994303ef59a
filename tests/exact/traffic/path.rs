//! A slow and lossy path, for kernels without netem: a TUN device in a network namespace of its
//! own. What is sent to 10.9.0.2 comes back to 10.9.0.1 as from 10.9.0.2, later or not at all.
//! Swapping the two addresses of a packet leaves its checksums right.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::sys::{self, cvt};

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const DEVICE: &str = "path0";

/// What happens to packets.
#[derive(Default)]
struct Weather {
    delay: Duration,
    /// Every so many-th segment with data is dropped; 0: none.
    drop_every: u64,
    segments: u64,
}

/// Runs until stdin ends. A line `DELAY_MS DROP_EVERY` there changes the weather, and is answered
/// by `ok`, as is the start.
pub fn path() -> Result<()> {
    sys::die_with_parent();
    // SAFETY: unshare has no memory arguments, and there is one thread.
    cvt(unsafe { libc::unshare(libc::CLONE_NEWNET) }).context("network namespace")?;
    let tun = open()?;
    sys::lo_up(0)?;
    ip(&["address", "add", "10.9.0.1/24", "dev", DEVICE])?;
    // Segments of one packet each: larger ones are held back for a while, to grow.
    ip(&["link", "set", DEVICE, "up", "gso_max_segs", "1"])?;
    println!("ok");
    forward(tun)
}

fn forward(tun: RawFd) -> Result<()> {
    let mut weather = Weather::default();
    let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut packet = vec![0; 65_536];
    loop {
        let next = under_way
            .front()
            .map(|(due, _)| due.saturating_duration_since(Instant::now()));
        let mut fds = [tun, 0].map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
        let wait = next.map(|wait| libc::timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: wait.subsec_nanos().into(),
        });
        let timeout = wait.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the array and the timeout live across the call; no signal mask is given.
        cvt(unsafe { libc::ppoll(fds.as_mut_ptr(), 2, timeout, std::ptr::null()) })?;
        while under_way
            .front()
            .is_some_and(|(due, _)| *due <= Instant::now())
        {
            let (_, packet) = under_way.pop_front().context("a packet under way")?;
            sys::write_all(tun, &packet);
        }
        if fds[0].revents != 0 {
            let n = sys::read(tun, &mut packet).context("read a packet")?;
            if weather.passes(&packet[..n]) {
                let due = Instant::now() + weather.delay;
                under_way.push_back((due, turned(&packet[..n])));
            }
        }
        if fds[1].revents != 0 && !weather.change()? {
            return Ok(());
        }
    }
}

impl Weather {
    fn passes(&mut self, packet: &[u8]) -> bool {
        const TCP: u8 = 6;
        if packet.len() < 40 || packet[0] != 0x45 || packet[9] != TCP {
            return false;
        }
        let header = 20 + usize::from(packet[32] >> 4) * 4;
        if packet.len() == header {
            return true;
        }
        self.segments += 1;
        self.drop_every == 0 || !self.segments.is_multiple_of(self.drop_every)
    }

    /// False when there are no more changes to come.
    fn change(&mut self) -> Result<bool> {
        let mut line = [0; 64];
        let n = sys::read(0, &mut line)?;
        if n == 0 {
            return Ok(false);
        }
        let line = std::str::from_utf8(&line[..n])?;
        let Some((delay, drop)) = line.trim_end().split_once(' ') else {
            bail!("what weather is {line:?}?");
        };
        self.delay = Duration::from_millis(delay.parse()?);
        self.drop_every = drop.parse()?;
        println!("ok");
        Ok(true)
    }
}

fn turned(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let (source, destination) = packet[12..20].split_at_mut(4);
    source.swap_with_slice(destination);
    packet
}

/// A TUN device without headers of its own.
fn open() -> Result<RawFd> {
    let flags = libc::O_RDWR | libc::O_CLOEXEC;
    // SAFETY: the path is a C string literal.
    let fd = cvt(unsafe { libc::open(c"/dev/net/tun".as_ptr(), flags) }).context("/dev/net/tun")?;
    // SAFETY: ifreq is plain data.
    let mut req: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in req.ifr_name.iter_mut().zip(DEVICE.bytes()) {
        *to = from as libc::c_char;
    }
    req.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    // SAFETY: TUNSETIFF reads and writes one live ifreq.
    cvt(unsafe { libc::ioctl(fd as RawFd, TUNSETIFF, &raw mut req) }).context("TUNSETIFF")?;
    Ok(fd as RawFd)
}

fn ip(args: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(args).status().context("run ip")?;
    ensure!(status.success(), "ip {args:?}: {status}");
    Ok(())
}
