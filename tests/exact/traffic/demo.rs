//! Traffic to look at: a handful of processes with names and rates of their own.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::sock::{Fam, Sock, V4, V6, alias};
use crate::sys::{self, cvt};
use crate::transfer::pattern;

/// Where the processes of the demo run, below the folder of `--cgroups`.
const LOCATIONS: [(&str, &str); 12] = [
    ("demo-store", "lxc.payload.store"),
    ("demo-web", "lxc.payload.shop"),
    ("demo-db", "lxc.payload.db"),
    ("demo-api", "lxc.payload.shop"),
    ("demo-backup", "backup.service"),
    ("demo-replica", "replica.service"),
    ("demo-batch", "batch.service"),
    ("demo-logd", "logd.service"),
    ("demo-camera", "camera.service"),
    ("demo-recorder", "camera.service"),
    ("demo-dns", "dns.service"),
    ("demo-gateway", "lxc.payload.edge"),
];

static CGROUPS: OnceLock<PathBuf> = OnceLock::new();

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
        join_cgroup(name);
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

/// Moves this process to its place, if there is one for it.
fn join_cgroup(name: &str) {
    let place = LOCATIONS.iter().find(|(process, _)| *process == name);
    if let Some((folder, (_, place))) = CGROUPS.get().zip(place) {
        let procs = folder.join(place).join("cgroup.procs");
        if let Err(e) = fs::write(&procs, "0") {
            eprintln!("{name}: {}: {e}", procs.display());
        }
    }
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

/// Loses about so many packets of a thousand that arrive at a socket, and at those accepted from
/// it. A filter of the socket drops them, so it takes no privilege and no module of the kernel.
fn lose(s: &Sock, per_mille: u32) -> Result<()> {
    // SKF_AD_OFF + SKF_AD_RANDOM, include/uapi/linux/filter.h
    const RANDOM: u32 = 0xffff_f000 + 56;
    let keep_from = u32::MAX / 1000 * per_mille;
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, RANDOM),
        step(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, 0, keep_from),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    let program = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    s.try_set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program)
        .context("attach a filter that loses packets")
}

/// Starts what `--full` adds: losses, a slow reader, bursts, short-lived processes.
fn more() -> Result<()> {
    let edge = listener_at(40)?;
    lose(&edge, 15)?;
    let to = edge.local()?;
    process("demo-gateway", move || {
        loop {
            let s = edge.accept()?;
            std::thread::spawn(move || s.drain());
        }
    })?;
    stream("demo-uplink", V4, to, 800e3)?;

    // Its small buffer fills, so the sender has to wait for its window.
    let slow = listener_at(41)?;
    slow.set(libc::SOL_SOCKET, libc::SO_RCVBUF, 16_384)?;
    let to = slow.local()?;
    process("demo-viewer", move || {
        let s = slow.accept()?;
        paced(600e3, || {
            s.recv_exact(6000)?;
            Ok(6000)
        })
    })?;
    process("demo-stream", move || {
        let c = Sock::tcp(V4)?;
        c.connect(to)?;
        loop {
            c.send_all(&pattern(65_536))?;
        }
    })?;

    let batch = tcp_sink("demo-archive", V6)?;
    process("demo-batch", move || {
        loop {
            let c = Sock::tcp(V6)?;
            c.connect(batch)?;
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(4) {
                c.send_all(&pattern(80_000))?;
                std::thread::sleep(Duration::from_millis(10));
            }
            drop(c);
            std::thread::sleep(Duration::from_secs(9));
        }
    })?;

    let pages = tcp_server("demo-pages", V4, 40_000)?;
    process("demo-crawler", move || {
        // Each page by a process of its own, as a script calls curl.
        loop {
            // SAFETY: this process has one thread.
            let pid = cvt(unsafe { libc::fork() }).context("fork")?;
            if pid == 0 {
                sys::set_comm("demo-curl");
                let c = Sock::tcp(V4)?;
                c.connect(pages)?;
                c.send_all(&pattern(64))?;
                c.recv_exact(40_000)?;
                // SAFETY: _exit never returns and needs nothing.
                unsafe { libc::_exit(0) };
            }
            // SAFETY: no memory arguments; the child is this process's own.
            unsafe { libc::waitpid(pid as i32, std::ptr::null_mut(), 0) };
            std::thread::sleep(Duration::from_millis(300));
        }
    })
}

/// A listener on an address of its own, 127.0.0.n, so that it can have a name of its own.
fn listener_at(n: u8) -> Result<Sock> {
    let s = Sock::tcp(V4)?;
    s.bind(alias(n))?;
    s.listen()?;
    Ok(s)
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
pub fn demo(seconds: Option<u64>, full: bool, cgroups: Option<PathBuf>) -> Result<()> {
    if let Some(folder) = cgroups {
        CGROUPS.get_or_init(|| folder);
    }
    let _ = sys::lo_up(0);
    // SAFETY: sigaction is plain data; the handler only stores to an atomic.
    unsafe {
        let mut act: libc::sigaction = std::mem::zeroed();
        act.sa_sigaction = stop as extern "C" fn(i32) as usize;
        for sig in [libc::SIGINT, libc::SIGTERM] {
            libc::sigaction(sig, &raw const act, std::ptr::null_mut());
        }
    }
    let begun = if full { more() } else { Ok(()) }.and_then(|()| all());
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
