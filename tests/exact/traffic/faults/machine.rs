//! What happens to a whole machine: only where nobody else uses it.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::kernel::{prepared, refusal, refused};
use super::{FaultReport, Faults, beside, counted, lost};
use crate::cases::OnMissing;
use crate::subject::{AvailableColumns, Counts, FlowId, Start};
use crate::sys::cvt;

faults! { true,
    "the wall clock steps by hours, both ways" => clock_steps,
    "a CPU goes and comes back" => cpu_unplugged,
    "kprobes are switched off" => kprobes_off,
    "ftrace is switched off" => ftrace_off,
    "ftrace is switched off while flowtop runs" => probes_stopped,
    "the BPF JIT is switched off" => jit_off,
    "lockdown: BPF may not read the kernel's memory" => locked_down,
}

fn step_clock(seconds: i64) -> Result<()> {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: one live timespec, written and read.
    unsafe {
        cvt(libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now))?;
        now.tv_sec += seconds;
        cvt(libc::clock_settime(libc::CLOCK_REALTIME, &raw const now)).context("set the clock")?;
    }
    Ok(())
}

fn clock_steps(how: &Faults) -> Result<FaultReport> {
    let mut took = 0.0;
    let (truth, seen) = beside(how, 0.2, |_| {
        let begun = Instant::now();
        for step in [3600, -7200, 86_400, -82_800] {
            step_clock(step)?;
            thread::sleep(Duration::from_millis(500));
        }
        took = begun.elapsed().as_secs_f64();
        Ok(())
    })?;
    // By the wall clock, lengths would be hours, nothing, or negative.
    ensure!(
        seen.elapsed > took && seen.elapsed < took + 600.0 && seen.longest < 600.0,
        "intervals of {} s over {took} s, the longest {} s",
        seen.elapsed,
        seen.longest
    );
    Ok(FaultReport {
        happened: format!(
            "+1 h, -2 h, +24 h, -23 h: the longest interval is {:.1} s; {}",
            seen.longest,
            counted(&truth, &seen)
        ),
        lost: lost(&truth, &seen)?,
        message: "`time` steps with the clock, `interval` does not".to_owned(),
    })
}

fn cpu_unplugged(how: &Faults) -> Result<FaultReport> {
    let switch = Path::new("/sys/devices/system/cpu/cpu1/online");
    if !switch.exists() {
        return Err(OnMissing("there is no CPU to unplug".to_owned()).into());
    }
    let times = how.number(4, 60);
    let (truth, seen) = beside(how, 0.1, |subject| {
        for _ in 0..times {
            for on in ["0", "1"] {
                fs::write(switch, on).context("switch a CPU")?;
                subject.wait_for(subject.intervals() + 2, super::PATIENCE)?;
            }
        }
        Ok(())
    })?;
    Ok(FaultReport {
        happened: format!("{times} times: {}", counted(&truth, &seen)),
        lost: lost(&truth, &seen)?,
        message: "nothing to say".to_owned(),
    })
}

/// A backend that needs what is switched off is refused, instead of seeing nothing.
fn switched_off(how: &Faults, switch: &str, backend: &str) -> Result<FaultReport> {
    if !Path::new(switch).exists() {
        return Err(OnMissing(format!("there is no {switch}")).into());
    }
    fs::write(switch, "0").with_context(|| format!("write {switch}"))?;
    let asked = Faults {
        start: crate::subject::Start {
            backend: Some(backend),
            ..how.start
        },
        ..*how
    };
    let message = prepared(&asked, &[], || Ok(())).and_then(refusal);
    fs::write(switch, "1").with_context(|| format!("write {switch}"))?;
    refused(message?, switch)
}

fn kprobes_off(how: &Faults) -> Result<FaultReport> {
    switched_off(how, "/sys/kernel/debug/kprobes/enabled", "kprobe")
}

fn ftrace_off(how: &Faults) -> Result<FaultReport> {
    switched_off(how, "/proc/sys/kernel/ftrace_enabled", "fentry")
}

/// Datagrams of one byte between two sockets of this process that are not connected.
struct Datagrams {
    from: UdpSocket,
    to: UdpSocket,
}

impl Datagrams {
    const COUNT: u64 = 10;

    fn new() -> Result<Self> {
        let bound = || UdpSocket::bind("127.0.0.1:0").context("bind");
        Ok(Self {
            from: bound()?,
            to: bound()?,
        })
    }

    fn go(&self) -> Result<()> {
        for _ in 0..Self::COUNT {
            self.from.send_to(b"x", self.to.local_addr()?)?;
            // Does not ask for the sender.
            self.to.recv(&mut [0; 2])?;
        }
        Ok(())
    }

    /// Bytes sent and received, by peers that are known or not.
    fn counted(&self, seen: &AvailableColumns, is_known: bool) -> Result<(u64, u64)> {
        let me = u64::from(std::process::id());
        let of = |socket: &UdpSocket| -> Result<Counts> {
            let port = u64::from(socket.local_addr()?.port());
            let mut sum = Counts::default();
            let mine = |id: &FlowId| id.pid == me && id.proto == "udp" && id.local_port == port;
            let flows = seen.flows.iter().filter(|(id, _)| mine(id));
            flows
                .filter(|(id, _)| (id.remote_addr != "*") == is_known)
                .for_each(|(_, counts)| sum.add(counts));
            Ok(sum)
        };
        Ok((of(&self.from)?.tx_bytes, of(&self.to)?.rx_bytes))
    }
}

/// Of what is said within an interval.
const SHORTER: Duration = Duration::from_secs(60);

/// Probes of a backend that runs stop and come back: what that hides is said for as long as it
/// lasts. The tracepoints go on, and lose peers but no byte.
fn probes_stopped(how: &Faults) -> Result<FaultReport> {
    let switch = "/proc/sys/kernel/ftrace_enabled";
    if !Path::new(switch).exists() {
        return Err(OnMissing(format!("there is no {switch}")).into());
    }
    let mut happened = Vec::new();
    for (backend, path, hidden) in [
        ("tracepoint", "udp_recv_peer", true),
        ("kprobe", "probes_off", false),
        ("fentry", "probes_off", false),
    ] {
        let result = stop_probes(how, switch, backend, path, hidden);
        fs::write(switch, "1").with_context(|| format!("write {switch}"))?;
        happened.push(format!(
            "{backend}: {}",
            result.with_context(|| backend.to_owned())?
        ));
    }
    Ok(FaultReport {
        happened: happened.join("; "),
        lost: 0,
        message: "`unseen`: `udp_recv_peer` and `udp_send_peer`, or `probes_off`".to_owned(),
    })
}

fn stop_probes(
    how: &Faults,
    switch: &str,
    backend: &str,
    path: &str,
    counts_on: bool,
) -> Result<String> {
    let start = Start {
        backend: Some(backend),
        ..how.start
    };
    let how = Faults { start, ..*how };
    let subject = how.flowtop(0.2, &[])?;
    let (data, two_more) = (Datagrams::new()?, || subject.intervals() + 2);
    data.go()?;
    subject.wait_for(two_more(), SHORTER)?;
    if let Err(error) = fs::write(switch, "0") {
        subject.stop(SHORTER)?;
        return Ok(format!(
            "the kernel does not let it be switched off ({error})"
        ));
    }
    subject.wait_for_unseen(path, true, SHORTER)?;
    data.go()?;
    subject.wait_for(two_more(), SHORTER)?;
    fs::write(switch, "1").with_context(|| format!("write {switch}"))?;
    subject.wait_for_unseen(path, false, SHORTER)?;
    data.go()?;
    subject.wait_for(two_more(), SHORTER)?;
    let seen = subject.stop(SHORTER)?;
    let (both, off) = (
        [2 * Datagrams::COUNT; 2].into(),
        [Datagrams::COUNT; 2].into(),
    );
    let known = data.counted(&seen, true)?;
    ensure!(
        known == both,
        "{known:?} bytes of known peers, not {both:?}"
    );
    let unknown = data.counted(&seen, false)?;
    let expected = if counts_on { off } else { (0, 0) };
    ensure!(
        unknown == expected,
        "{unknown:?} bytes of unknown peers, not {expected:?}"
    );
    if counts_on {
        ensure!(
            seen.unseen.contains("udp_send_peer"),
            "unseen: {:?}",
            seen.unseen
        );
        return Ok("every byte counted, those in between of unknown peers".to_owned());
    }
    Ok("every byte counted but those in between".to_owned())
}

/// Every backend needs it for what it calls in the kernel, or is told by the first that does.
fn jit_off(how: &Faults) -> Result<FaultReport> {
    let switch = "/proc/sys/net/core/bpf_jit_enable";
    if fs::write(switch, "0").is_err() {
        return Err(OnMissing("this kernel has no way to do without".to_owned()).into());
    }
    let message = prepared(how, &[], || Ok(())).and_then(refusal);
    fs::write(switch, "1").with_context(|| format!("write {switch}"))?;
    refused(message?, "sysctl net.core.bpf_jit_enable=1")
}

/// The last of all: there is no way back from it.
fn locked_down(how: &Faults) -> Result<FaultReport> {
    let (kind, at) = (c"securityfs".as_ptr(), c"/sys/kernel/security".as_ptr());
    // SAFETY: mount reads C string literals. Where it is mounted already that is all right.
    unsafe { libc::mount(kind, at, kind, 0, std::ptr::null()) };
    let switch = "/sys/kernel/security/lockdown";
    if !Path::new(switch).exists() {
        return Err(OnMissing(format!("there is no {switch}")).into());
    }
    fs::write(switch, "confidentiality").with_context(|| format!("write {switch}"))?;
    refused(
        refusal(prepared(how, &[], || Ok(()))?)?,
        "lockdown=integrity",
    )
}
