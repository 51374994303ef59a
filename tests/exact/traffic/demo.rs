//! Traffic to look at: a handful of processes with names and rates of their own.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::sock::{Fam, Sock, V4, V6};
use crate::sys::{self, cvt};
use crate::transfer::pattern;

static STOP: AtomicBool = AtomicBool::new(false);

/// The processes of the demo.
static PIDS: Mutex<Vec<i32>> = Mutex::new(Vec::new());

extern "C" fn stop(_: i32) {
    STOP.store(true, Relaxed);
}

/// Forks a process with a name that dies with this one.
fn process(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    // SAFETY: the demo forks while single-threaded, so the child may go on as usual.
    let pid = cvt(unsafe { libc::fork() }).context("fork")? as i32;
    if pid == 0 {
        sys::die_with_parent();
        sys::set_comm(name);
        if let Err(e) = work() {
            eprintln!("{name}: {e:#}");
        }
        // SAFETY: _exit never returns and needs nothing.
        unsafe { libc::_exit(0) };
    }
    PIDS.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(pid);
    Ok(())
}

/// Ends the processes and waits until they are gone.
fn end_all() {
    for pid in PIDS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .drain(..)
    {
        // SAFETY: no memory arguments; the child is not yet reaped, so the pid is its own.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
    }
}

/// Calls `step` so often that the bytes it returns come to `rate` a second.
fn paced(rate: f64, mut step: impl FnMut() -> Result<usize>) -> Result<()> {
    let begun = Instant::now();
    let mut moved = 0.0;
    loop {
        moved += step()? as f64;
        let ahead = moved / rate - begun.elapsed().as_secs_f64();
        if ahead > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(ahead.min(1.0)));
        }
    }
}

/// A server process that answers every request of 64 bytes with `answer` bytes.
fn tcp_server(name: &str, fam: Fam, answer: usize) -> Result<SocketAddr> {
    let l = Sock::listener(fam)?;
    let at = l.local()?;
    process(name, || {
        loop {
            let s = l.accept()?;
            let answer = pattern(answer);
            std::thread::spawn(
                move || {
                    while s.recv_exact(64).is_ok() && s.send_all(&answer).is_ok() {}
                },
            );
        }
    })?;
    Ok(at)
}

/// A server process that reads whatever comes.
fn tcp_sink(name: &str, fam: Fam) -> Result<SocketAddr> {
    let l = Sock::listener(fam)?;
    let at = l.local()?;
    process(name, || {
        loop {
            let s = l.accept()?;
            std::thread::spawn(move || s.drain());
        }
    })?;
    Ok(at)
}

/// A client process that sends at `rate` on one connection.
fn stream(name: &str, fam: Fam, to: SocketAddr, rate: f64) -> Result<()> {
    process(name, move || {
        let c = Sock::tcp(fam)?;
        c.connect(to)?;
        let buf = pattern(((rate / 50.0) as usize).clamp(200, 65_536));
        paced(rate, || c.send_all(&buf).map(|()| buf.len()))
    })
}

fn all() -> Result<()> {
    let store = tcp_sink("demo-store", V4)?;
    stream("demo-backup", V4, store, 20e6)?;
    stream("demo-replica", V4, store, 2e6)?;
    let logs = tcp_sink("demo-logd", V6)?;
    stream("demo-shipper", V6, logs, 200e3)?;

    let web = tcp_server("demo-web", V4, 12_000)?;
    process("demo-browser", move || {
        // Short connections, a few requests on each.
        paced(300e3, || {
            let c = Sock::tcp(V4)?;
            c.connect(web)?;
            for _ in 0..3 {
                c.send_all(&pattern(64))?;
                c.recv_exact(12_000)?;
            }
            Ok(3 * 12_064)
        })
    })?;
    let db = tcp_server("demo-db", V6, 900)?;
    process("demo-api", move || {
        let c = Sock::tcp(V6)?;
        c.connect(db)?;
        paced(50e3, || {
            c.send_all(&pattern(64))?;
            c.recv_exact(900)?;
            Ok(964)
        })
    })?;

    let camera = Sock::udp_bound(V4)?;
    let to = camera.local()?;
    process("demo-recorder", move || {
        let mut buf = [0; 2000];
        loop {
            camera.recvfrom(&mut buf, 0)?;
        }
    })?;
    process("demo-camera", move || {
        let s = Sock::udp_bound(V4)?;
        paced(1e6, || Ok(s.sendto(&pattern(1200), 0, to)?))
    })?;
    let dns = Sock::udp_bound(V4)?;
    let to = dns.local()?;
    process("demo-dns", move || {
        let mut buf = [0; 600];
        loop {
            let (_, from) = dns.recvfrom(&mut buf, 0)?;
            dns.sendto(&pattern(180), 0, from)?;
        }
    })?;
    process("demo-resolver", move || {
        paced(10e3, || {
            let s = Sock::udp(V4)?;
            s.connect(to)?;
            s.send(&pattern(48), 0)?;
            s.recv(&mut [0; 600], 0)?;
            Ok(228)
        })
    })
}

/// Runs until SIGINT, SIGTERM or the time is over.
pub fn demo(seconds: Option<u64>) -> Result<()> {
    let _ = sys::lo_up(0);
    // SAFETY: sigaction is plain data; the handler only stores to an atomic.
    unsafe {
        let mut act: libc::sigaction = std::mem::zeroed();
        act.sa_sigaction = stop as extern "C" fn(i32) as usize;
        for sig in [libc::SIGINT, libc::SIGTERM] {
            libc::sigaction(sig, &raw const act, std::ptr::null_mut());
        }
    }
    let begun = all();
    if begun.is_err() {
        end_all();
        return begun;
    }
    let end = seconds.map(|s| Instant::now() + Duration::from_secs(s));
    while !STOP.load(Relaxed) && end.is_none_or(|e| Instant::now() < e) {
        match sys::poll(-1, 0, 200) {
            Err(e) if e.kind() != ErrorKind::Interrupted => return Err(e).context("poll"),
            _ => {}
        }
    }
    end_all();
    Ok(())
}
