//! Too much for the kernel's maps, and kernels that refuse or lack something.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::{FaultReport, Faults, PATIENCE, beside, counted, lost};
use crate::cases::OnMissing;
use crate::load::{Flows, Load};
use crate::subject::{AvailableColumns, ended};
use crate::sys::cvt;

faults! { false,
    "more flows than the flow table holds" => map_full,
    "a million flows in one interval" => many_flows,
    "one process fills the flow table" => one_fills_the_table,
    "one process fills the flow table beside the usual load" => one_fills_the_table_of_all,
    "two flowtops at once" => two_at_once,
    "not the privileges to load BPF programs" => load_refused,
    "a kernel without BTF" => btf_missing,
    "no kprobes and no cgroup v2 to attach to" => hooks_missing,
}

fn map_full(how: &Faults) -> Result<FaultReport> {
    flows_in(how, 3000, &["--max-flows", "16"])
}

fn many_flows(how: &Faults) -> Result<FaultReport> {
    flows_in(how, how.number(70_000, 1_000_000), &[])
}

/// So many flows of one process in one interval.
fn flows_in(how: &Faults, count: u32, args: &[&str]) -> Result<FaultReport> {
    let mut load = Flows::new(count)?;
    let pid = load.pid().to_string();
    let subject = how.one_interval(&[&["--pid", &pid], args].concat())?;
    load.go()?;
    let sent = load.go()?;
    let seen = subject.stop(PATIENCE)?;
    let attributed: u64 = seen.flows.values().map(|counts| counts.tx_bytes).sum();
    let pid = u64::from(load.pid());
    let beyond = seen.overflow.get(&pid).copied().unwrap_or_default();
    ensure!(seen.missed == 0, "{} events were missed", seen.missed);
    ensure!(
        seen.untracked_tx == 0 && attributed == seen.tx_bytes,
        "{attributed} of flows and {} untracked are not {}",
        seen.untracked_tx,
        seen.tx_bytes
    );
    ensure!(
        beyond.tx_bytes > 0 && beyond.tx_msgs * 100 == beyond.tx_bytes,
        "{beyond:?} is not what was sent in calls of 100 bytes"
    );
    ensure!(seen.full == [pid].into(), "{:?} fill the table", seen.full);
    Ok(FaultReport {
        happened: format!(
            "{sent} bytes of {count} flows: {} flows told apart, {} bytes in a row of their process",
            seen.flows.len() - 1,
            beyond.tx_bytes
        ),
        lost: i128::from(sent) - i128::from(seen.tx_bytes),
        message: FULL.to_owned(),
    })
}

/// Where a person or a program reads of a full flow table.
const FULL: &str = "`full_pid`, `full_process` and flows with `overflow`; with text, on standard error, `!!! FLOW TABLE FULL`; at the top right of the table";

/// A table that 1000 flows of one process are too many for, half of them too.
const SMALL_TABLE: [&str; 2] = ["--max-flows", "512"];
/// Long enough for 384 calls of an emulated machine, in seconds.
const SHORT: f64 = 0.5;

/// One process has more flows than the table holds, and another one a few: each of those keeps its
/// row, in short intervals and in a single long one.
fn one_fills_the_table(how: &Faults) -> Result<FaultReport> {
    let mut lost = 0;
    for is_long in [false, true] {
        let subject = match is_long {
            false => how.flowtop(SHORT, &SMALL_TABLE)?,
            true => how.one_interval(&SMALL_TABLE)?,
        };
        let (mut spray, mut other) = (Flows::new(1000)?, Flows::new(10)?);
        let (mut sprayed, mut sent) = (0, 0);
        let deadline = Instant::now() + PATIENCE;
        for round in 0.. {
            sprayed = spray.go()?;
            sent = other.go()?;
            if round >= 2 && (is_long || subject.has_full_table()) {
                break;
            }
            ensure!(Instant::now() < deadline, "the table is never full");
        }
        let seen = subject.stop(PATIENCE)?;
        only_it_fills(&seen, spray.pid())?;
        let of_other = seen
            .flows
            .keys()
            .filter(|id| id.pid == u64::from(other.pid()));
        ensure!(of_other.count() == 10, "flows of the other have no row");
        lost += missing(&seen, spray.pid(), sprayed) + missing(&seen, other.pid(), sent);
    }
    Ok(FaultReport {
        happened: "every flow of the other process has its row".to_owned(),
        lost,
        message: FULL.to_owned(),
    })
}

/// The same beside something of everything, to the byte.
fn one_fills_the_table_of_all(how: &Faults) -> Result<FaultReport> {
    let subject = how.flowtop(SHORT, &SMALL_TABLE)?;
    let mut spray = Flows::new(1000)?;
    let mut sent = spray.go()?;
    let load = Load::mixed(1, 20)?;
    let until = subject.intervals() + 2;
    let deadline = Instant::now() + PATIENCE;
    while subject.intervals() < until || !subject.has_full_table() {
        sent = spray.go()?;
        ensure!(Instant::now() < deadline, "the table is never full");
    }
    let truth = load.end()?;
    let seen = subject.stop(PATIENCE)?;
    only_it_fills(&seen, spray.pid())?;
    let missing = missing(&seen, spray.pid(), sent);
    Ok(FaultReport {
        happened: format!("the others are exact, {}", counted(&truth, &seen)),
        lost: missing + lost(&truth, &seen)?,
        message: FULL.to_owned(),
    })
}

/// It is named, and nobody else has flows without a row; nothing is without its process.
fn only_it_fills(seen: &AvailableColumns, pid: u32) -> Result<()> {
    let pid = u64::from(pid);
    ensure!(seen.full == [pid].into(), "{:?} fill the table", seen.full);
    let beyond: Vec<_> = seen.overflow.keys().copied().collect();
    ensure!(beyond == [pid], "{beyond:?} have flows without a row");
    let complaints = seen.complaints(false);
    ensure!(complaints.is_empty(), "{}", complaints.join("; "));
    Ok(())
}

/// Of what a process sent.
fn missing(seen: &AvailableColumns, pid: u32, sent: u64) -> i128 {
    let own = seen.flows.iter().filter(|(id, _)| id.pid == u64::from(pid));
    let own: u64 = own.map(|(_, counts)| counts.tx_bytes).sum();
    i128::from(sent) - i128::from(own)
}

fn two_at_once(how: &Faults) -> Result<FaultReport> {
    let other = how.flowtop(0.07, &[])?;
    let (truth, seen) = beside(how, 0.05, |_| Ok(()))?;
    let others = other.stop(PATIENCE)?;
    Ok(FaultReport {
        happened: format!("both exact: {}", counted(&truth, &seen)),
        lost: lost(&truth, &seen)? + lost(&truth, &others)?,
        message: "nothing to say".to_owned(),
    })
}

/// flowtop as `prepare` leaves the child before it is started, with what it says piped.
pub fn prepared(
    how: &Faults,
    args: &[&str],
    prepare: impl Fn() -> std::io::Result<()> + Send + Sync + 'static,
) -> Result<Child> {
    let mut command = Command::new(how.start.flowtop);
    command
        .args(["--json", "-n", "0", "-i", "0.1"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(backend) = how.start.backend {
        command.args(["--backend", backend]);
    }
    // SAFETY: all that callers do between fork and exec is system calls on constants.
    unsafe { command.pre_exec(prepare) };
    command.spawn().context("start flowtop")
}

/// It must not start: what it says instead, on one line.
pub fn refusal(mut child: Child) -> Result<String> {
    // Were it not to refuse, it would go on: until nobody reads what it writes.
    drop(child.stdout.take());
    let mut message = String::new();
    let errors = child.stderr.take().context("no stderr")?;
    BufReader::new(errors).read_to_string(&mut message)?;
    let status = ended(&mut child, PATIENCE)?;
    ensure!(
        status.code() == Some(1),
        "it ended with {status}: {message}"
    );
    Ok(message.lines().map(str::trim).collect::<Vec<_>>().join(" "))
}

pub fn refused(message: String, wanted: &str) -> Result<FaultReport> {
    ensure!(
        message.contains(wanted),
        "it does not say {wanted:?}: {message}"
    );
    Ok(FaultReport {
        happened: "it counts nothing and ends with 1".to_owned(),
        lost: 0,
        message: format!("standard error: `{message}`"),
    })
}

fn load_refused(how: &Faults) -> Result<FaultReport> {
    let child = prepared(how, &[], || {
        // SAFETY: setresuid has no memory arguments. Capabilities go with root.
        cvt(unsafe { libc::setresuid(65_534, 65_534, 65_534) }).map(drop)
    })?;
    refused(refusal(child)?, "CAP_BPF")
}

/// A mount namespace of its own, so that nothing is mounted for others.
pub fn own_mounts() -> std::io::Result<()> {
    let none = std::ptr::null();
    // SAFETY: unshare has no memory arguments; mount reads C string literals.
    unsafe {
        cvt(libc::unshare(libc::CLONE_NEWNS))?;
        cvt(libc::mount(
            none,
            c"/".as_ptr(),
            none,
            libc::MS_REC | libc::MS_PRIVATE,
            none.cast(),
        ))?;
    }
    Ok(())
}

fn btf_missing(how: &Faults) -> Result<FaultReport> {
    let child = prepared(how, &[], || {
        own_mounts()?;
        let tmpfs = c"tmpfs".as_ptr();
        // SAFETY: mount reads C string literals.
        cvt(unsafe {
            libc::mount(
                tmpfs,
                c"/sys/kernel/btf".as_ptr(),
                tmpfs,
                0,
                std::ptr::null(),
            )
        })
        .map(drop)
    })?;
    refused(refusal(child)?, "CONFIG_DEBUG_INFO_BTF")
}

/// Hooks that are not there: paths are unseen, and it is said so; all else is exact.
fn hooks_missing(how: &Faults) -> Result<FaultReport> {
    if std::path::Path::new("/sys/bus/event_source/devices/kprobe").exists() {
        return Err(OnMissing("this kernel has kprobes, which see all of it".to_owned()).into());
    }
    let mut load = Flows::new(100)?;
    let pid = load.pid().to_string();
    let mut child = prepared(how, &["--pid", &pid, "--backend", "tracepoint"], || {
        own_mounts()?;
        // SAFETY: umount2 reads a C string literal.
        let gone = unsafe { libc::umount2(c"/sys/fs/cgroup".as_ptr(), libc::MNT_DETACH) };
        cvt(gone).map(drop)
    })?;
    let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    let first = lines.next().context("it wrote nothing")??;
    let truth = load.go()?;
    // SAFETY: kill has no memory arguments; the child is not yet reaped.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let mut sent = 0;
    for line in lines {
        let record: serde_json::Value = serde_json::from_str(&line?)?;
        if record["type"] == "interval" {
            sent += record["tx_bytes"].as_u64().unwrap_or(0);
        }
    }
    ended(&mut child, PATIENCE)?;
    let first: serde_json::Value = serde_json::from_str(&first)?;
    let unseen = first["unseen"].to_string();
    ensure!(unseen.contains("udp_send_peer"), "unseen: {unseen}");
    Ok(FaultReport {
        happened: format!("{sent} bytes counted, without their peers"),
        lost: i128::from(truth) - i128::from(sent),
        message: format!(
            "`unseen`: {}; with text, on standard error, `limits`; at the top right of the table",
            unseen.replace('"', "`")
        ),
    })
}
