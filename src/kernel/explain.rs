//! Says what is missing, and the fix, instead of an errno.

use std::fmt;
use std::fs;
use std::io::{Write as _, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow, bail};
use libbpf_rs::PrintLevel;

use super::backend::Backend;
use super::lack::{self, Lack};

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
/// 64 bytes, its key (24, 48, 8) and its value (48), however many CPUs there are (measured).
const fn map_bytes(max_flows: u32) -> u64 {
    2 * (max_flows as u64 * (2 * 64 + 24 + 48 + 2 * 48) + OVERFLOW_ENTRIES * (64 + 8 + 48))
}

/// Entries of flows without a slot in each buffer (`FLOWTOP_OVERFLOW_ENTRIES`).
const OVERFLOW_ENTRIES: u64 = 8192;

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

/// Checks that the maps, which are allocated in full before anything is counted, leave the machine
/// room to breathe.
///
/// # Errors
/// When they would take more than half of what is available.
fn check_memory(max_flows: u32) -> Result<()> {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (needed, available) = (map_bytes(max_flows), available_bytes(&meminfo));
    if needed > available / 2 {
        bail!(
            "{max_flows} flows need about {} MB of kernel memory, more than half of the {} MB available: \
             lower --max-flows",
            needed / 1_000_000,
            available / 1_000_000
        );
    }
    Ok(())
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
        lack::of_load().into()
    } else {
        anyhow::Error::new(err).context("load the BPF programs")
    }
}

/// An error of attaching by a perf event.
pub fn perf_error(err: libbpf_rs::Error) -> anyhow::Error {
    match err.kind() {
        libbpf_rs::ErrorKind::PermissionDenied => lack::of_perf().into(),
        _ => err.into(),
    }
}

/// Why a backend could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    backend: Backend,
    /// The error.
    pub text: String,
    /// What is missing, where that is known; `text` says it too.
    pub lack: Option<Lack>,
}

/// No backend could be taken of those that were to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoBackend(pub Vec<Refusal>);

impl fmt::Display for Refusal {
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
pub fn refusal(backend: Backend, err: &anyhow::Error) -> Refusal {
    if let Some(lack) = Lack::of(err) {
        return Refusal {
            backend,
            text: lack.to_string(),
            lack: Some(lack.clone()),
        };
    }
    let mut text = format!("{err:#}");
    let of_libbpf = err.chain().any(|cause| cause.is::<libbpf_rs::Error>());
    if of_libbpf && backend == Backend::Fentry {
        // ENOTSUPP is not known to the C library, which says only its number.
        text.push_str(" (this kernel may be built without BPF trampolines)");
    }
    let log = LOG.lock().map(|log| log.clone()).unwrap_or_default();
    // The line that says most is the last one that libbpf calls a failure.
    if let Some(line) = log.lines().rfind(|line| line.contains("failed")) {
        text.push_str(&format!("; {}", line.trim()));
    }
    Refusal {
        backend,
        text,
        lack: None,
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
