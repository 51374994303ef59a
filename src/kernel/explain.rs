//! Says what is missing, and the fix, instead of an errno.

use std::fmt;
use std::fs;
use std::io::{Write as _, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow};
use libbpf_rs::PrintLevel;

use super::backend::Backend;
use super::memory::{self, MemoryLimit};
use super::requirements::{self, MissingRequirement};
use super::skel;

/// Most of libbpf's log kept for an error message, in bytes.
const LOG_LIMIT: usize = 16 * 1024;
static LOG: Mutex<String> = Mutex::new(String::new());
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Keeps libbpf's messages for [`refusal`]; prints them as they come when `verbose`.
pub fn keep_libbpf_log(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
    let level = if verbose {
        PrintLevel::Debug
    } else {
        PrintLevel::Warn
    };
    libbpf_rs::set_print(Some((level, keep)));
}

fn keep(_: PrintLevel, message: String) {
    if VERBOSE.load(Ordering::Relaxed) {
        // Not by a macro that panics where nobody reads: this is called from C, which no panic may cross.
        let _ = stderr().write_all(harmless(&message).as_bytes());
    }
    if let Ok(mut log) = LOG.lock()
        && log.len() < LOG_LIMIT
    {
        log.push_str(&message);
    }
}

/// libbpf's message without controls other than line ends and tabs: names of the kernel's are in it.
fn harmless(message: &str) -> String {
    let is_plain = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    let shown = message.chars().map(|c| match is_plain(c) {
        true => c.to_string(),
        false => c.escape_unicode().to_string(),
    });
    shown.collect()
}

/// Forgets what earlier attempts said.
pub fn forget_libbpf_log() {
    if let Ok(mut log) = LOG.lock() {
        log.clear();
    }
}

/// Kernel memory that the flow maps take, in bytes, for so many flows of IPv4 and as many of IPv6, and
/// for the entries of flows without a slot, in two buffers. An entry of a preallocated hash map takes
/// 64 bytes, its key (24, 48, 8) and its value (64), however many CPUs there are (measured).
const fn map_bytes(max_flows: u32) -> u64 {
    2 * (max_flows as u64 * (2 * 64 + 24 + 48 + 2 * 64)
        + skel::OVERFLOW_ENTRIES as u64 * (64 + 8 + 64))
}

/// What `--max-flows` is unless it is said.
const DEFAULT_MAX_FLOWS: u32 = 65_536;

/// What the maps take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapMemory {
    /// Flows of IPv4, and as many of IPv6, in each of the two buffers.
    pub flows: u32,
    /// Kernel memory, in bytes.
    pub bytes: u64,
}

/// What the maps take for `--max-flows`, or without it, on this machine.
///
/// # Errors
/// When that is more than there is room for.
pub fn map_memory(max_flows: Option<u32>) -> Result<MapMemory> {
    let flows = max_flows.unwrap_or(DEFAULT_MAX_FLOWS);
    check_memory(flows)?;
    let bytes = map_bytes(flows);
    Ok(MapMemory { flows, bytes })
}

/// Memory that flowtop takes beside the flow maps, in bytes: the other maps, and the process itself.
const OTHER_BYTES: u64 = 15_000_000;
/// The same with what a run needs to breathe, for the number of flows that is proposed.
const AMPLE_BYTES: u64 = 22_000_000;

/// Checks that the maps, which are allocated in full before anything is counted, leave the machine
/// room to breathe, and fit into the limits of the own cgroups.
///
/// # Errors
/// When they would take more than half of what is available, or more than a cgroup may.
fn check_memory(max_flows: u32) -> Result<(), MissingRequirement> {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let half = MemoryLimit {
        bytes: available_bytes(&meminfo) / 2,
        whose: "half of the memory that is available".to_owned(),
    };
    // Before 5.11 maps are charged to no cgroup.
    let of_cgroups = memory::of_cgroups().filter(|_| !requirements::is_memlock_charged());
    let needed = map_bytes(max_flows);
    let rooms = [(Some(half), 0, 0), (of_cgroups, OTHER_BYTES, AMPLE_BYTES)];
    for (room, other, ample) in rooms {
        let Some(room) = room else {
            continue;
        };
        if needed + other > room.bytes {
            let fitting = fitting_flows(room.bytes.saturating_sub(ample));
            let whose = &room.whose;
            return Err(requirements::of_memory(
                max_flows,
                needed + other,
                room.bytes,
                whose,
                fitting,
            ));
        }
    }
    Ok(())
}

/// The largest power of two of flows whose maps take no more than that.
fn fitting_flows(bytes: u64) -> Option<u32> {
    let flows = (4..24).rev().map(|power| 1 << power);
    flows.into_iter().find(|&flows| map_bytes(flows) <= bytes)
}

/// `MemAvailable` of /proc/meminfo, in bytes; everything where it does not say.
fn available_bytes(meminfo: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(u64::MAX, |kib| kib * 1024)
}

/// An error of loading: EACCES is how the verifier refuses, whatever the privileges.
pub fn load_error(err: libbpf_rs::Error) -> anyhow::Error {
    let text = err.to_string();
    if text.contains("os error 13") {
        anyhow!(
            "the kernel's verifier refused a program: a bug in flowtop on this kernel; -v shows the verifier's log"
        )
    } else if text.contains("os error 1)") {
        requirements::of_load().into()
    } else if ["os error 7)", "os error 28)"]
        .iter()
        .any(|errno| text.contains(errno))
    {
        TooLarge(text).into()
    } else if text.contains("os error 12)") {
        let flows = DEFAULT_MAX_FLOWS / 8;
        MissingRequirement {
            what: "the kernel has no memory for the maps".to_owned(),
            fix: format!("a smaller --max-flows, as in --max-flows {flows}, or allow more memory"),
        }
        .into()
    } else {
        anyhow::Error::new(err).context("load the BPF programs")
    }
}

/// The verifier gave up: E2BIG beyond its million instructions or 8192 open branches, ENOSPC beyond its
/// log. Holds the error of libbpf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge(String);

impl TooLarge {
    /// Whether this is why the programs were not loaded.
    pub fn is_cause_of(err: &anyhow::Error) -> bool {
        err.chain().any(|cause| cause.is::<Self>())
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        write!(
            f,
            "a BPF program is too large for this kernel's verifier ({error}); with a filter: shorten it, or \
             leave it to user space by --no-pushdown"
        )
    }
}

impl std::error::Error for TooLarge {}

/// An error of attaching by a perf event.
pub fn perf_error(err: libbpf_rs::Error) -> anyhow::Error {
    match err.kind() {
        libbpf_rs::ErrorKind::PermissionDenied => requirements::of_perf().into(),
        _ => match requirements::of_first_cpu() {
            Some(missing) => missing.into(),
            None => err.into(),
        },
    }
}

/// Why a backend could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendError {
    backend: Backend,
    pub text: String,
    /// What is missing, where that is known; `text` says it too.
    pub missing: Option<MissingRequirement>,
}

/// No backend could be taken of those that were to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoBackend(pub Vec<BackendError>);

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.backend.as_str(), self.text)
    }
}

impl fmt::Display for NoBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "{only}"),
            all => {
                f.write_str("no backend works here:")?;
                all.iter()
                    .try_for_each(|refusal| write!(f, "\n  {refusal}"))
            }
        }
    }
}

impl std::error::Error for NoBackend {}

/// Why a backend could not be taken: what is missing, or the error and what libbpf said of it where
/// that adds something.
pub fn refusal(backend: Backend, err: &anyhow::Error) -> BackendError {
    if let Some(missing) = MissingRequirement::of(err) {
        return BackendError {
            backend,
            text: missing.to_string(),
            missing: Some(missing.clone()),
        };
    }
    let mut text = format!("{err:#}");
    let of_libbpf = err.chain().any(|cause| cause.is::<libbpf_rs::Error>());
    // Without it kernels answer by EINVAL, ENOTSUPP or ENOSYS, at different steps.
    if let Some(missing) = requirements::of_jit().filter(|_| of_libbpf) {
        return BackendError {
            backend,
            text: missing.to_string(),
            missing: Some(missing),
        };
    }
    // ENOTSUPP is not known to the C library, which says only its number.
    if text.contains("os error 524") {
        text.push_str(" (ENOTSUPP: this kernel does not support it)");
    }
    let log = LOG.lock().map(|log| log.clone()).unwrap_or_default();
    // The line that says most is the last one that libbpf calls a failure.
    if let Some(line) = log.lines().rfind(|line| line.contains("failed")) {
        text.push_str(&format!("; {}", line.trim()));
    }
    BackendError {
        backend,
        text,
        missing: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_libbpf_cannot_drive_the_terminal() {
        assert_eq!(
            harmless("libbpf: 'a\x1b[2J'\tb\u{9b}1m\n"),
            "libbpf: 'a\\u{1b}[2J'\tb\\u{9b}1m\n"
        );
    }

    #[test]
    fn available_memory_is_in_bytes() {
        assert_eq!(
            available_bytes("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"),
            2 << 20
        );
        assert_eq!(available_bytes(""), u64::MAX);
    }
}
