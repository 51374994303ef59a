//! Says what is missing, and the fix, instead of an errno.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow, bail};
use libbpf_rs::PrintLevel;

use super::backend::Backend;

/// Most of libbpf's log kept for an error message, in bytes.
const LOG_LIMIT: usize = 16 * 1024;
static LOG: Mutex<String> = Mutex::new(String::new());
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Bit numbers in `CapEff` (include/uapi/linux/capability.h).
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Checks what every backend needs, so that the first refusal of the kernel is not a riddle.
///
/// # Errors
/// A sentence that names what is missing and the fix.
pub fn check_requirements() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let missing = missing_capabilities(&status);
    if !missing.is_empty() {
        bail!(
            "reading the kernel's socket calls needs {}: run it as root (sudo flowtop), or give the binary \
             these capabilities",
            missing.join(" and ")
        );
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        bail!(
            "this kernel has no BTF (/sys/kernel/btf/vmlinux): flowtop needs one built with \
             CONFIG_DEBUG_INFO_BTF=y, as the kernels of all larger distributions are"
        );
    }
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if lockdown.contains("[confidentiality]") {
        bail!(
            "kernel lockdown is in confidentiality mode, in which no BPF program may read kernel memory: \
             boot with lockdown=integrity or without it"
        );
    }
    Ok(())
}

/// Names of what `CapEff` lacks. CAP_SYS_ADMIN includes both.
fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let held = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        // Unreadable: let the kernel say it.
        .unwrap_or(u64::MAX);
    let has = |capability: u32| held & (1 << capability) != 0;
    if has(CAP_SYS_ADMIN) {
        return Vec::new();
    }
    [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter(|&(capability, _)| !has(capability))
        .map(|(_, name)| name)
        .collect()
}

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
        eprint!("{message}");
    }
    if let Ok(mut log) = LOG.lock()
        && log.len() < LOG_LIMIT
    {
        log.push_str(&message);
    }
}

/// Forgets what earlier attempts said.
pub fn forget_libbpf_log() {
    if let Ok(mut log) = LOG.lock() {
        log.clear();
    }
}

/// Kernel memory that the flow maps take, in bytes, for so many flows of IPv4 and as many of IPv6, in
/// two buffers. An entry of a preallocated hash map takes 64 bytes, its key (24, 48) and its value (48),
/// however many CPUs there are (measured).
const fn map_bytes(max_flows: u32) -> u64 {
    2 * max_flows as u64 * (2 * 64 + 24 + 48 + 2 * 48)
}

/// Checks that the maps, which are allocated in full before anything is counted, leave the machine
/// room to breathe.
///
/// # Errors
/// When they would take more than half of what is available.
pub fn check_memory(max_flows: u32) -> Result<()> {
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
    if err.to_string().contains("os error 13") {
        anyhow!(
            "the kernel's verifier refused a program: a bug in flowtop on this kernel; -v shows the verifier's log"
        )
    } else {
        anyhow::Error::new(err).context("load the BPF programs")
    }
}

/// Why a backend could not be taken: the error, and what libbpf said of it when that adds
/// something.
pub fn refusal(backend: Backend, err: &anyhow::Error) -> String {
    let mut text = format!("{}: {err:#}", backend.as_str());
    if let Some(errno) = err
        .chain()
        .find_map(|cause| cause.downcast_ref::<libbpf_rs::Error>())
    {
        match errno.kind() {
            libbpf_rs::ErrorKind::PermissionDenied => text.push_str(
                " (not permitted: run it as root; where /proc/sys/kernel/perf_event_paranoid is 3, \
                 capabilities other than CAP_SYS_ADMIN do not suffice)",
            ),
            // ENOTSUPP is not known to the C library, which says only its number.
            _ if backend == Backend::Fentry => {
                text.push_str(" (this kernel may be built without BPF trampolines)")
            }
            _ => {}
        }
    }
    let log = LOG.lock().map(|log| log.clone()).unwrap_or_default();
    // The line that says most is the last one that libbpf calls a failure.
    if let Some(line) = log.lines().rfind(|line| line.contains("failed")) {
        text.push_str(&format!("; {}", line.trim()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_in_bytes() {
        assert_eq!(
            available_bytes("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"),
            2 << 20
        );
        assert_eq!(available_bytes(""), u64::MAX);
    }

    #[test]
    fn the_missing_capability_is_named() {
        assert_eq!(
            missing_capabilities("CapEff:\t0000000000000000"),
            ["CAP_BPF", "CAP_PERFMON"]
        );
        assert_eq!(
            missing_capabilities("CapEff:\t0000004000000000"),
            ["CAP_BPF"]
        );
        assert_eq!(
            missing_capabilities("CapEff:\t000001ffffffffff"),
            Vec::<&str>::new()
        );
        assert_eq!(
            missing_capabilities("CapEff:\t0000000000200000"),
            Vec::<&str>::new()
        );
    }
}
