//! The tracing file system, and the probe events flowtop makes in it.
//!
//! Return probes need more instances than the perf interface gives (10, or twice the CPUs): calls
//! that block use those up, and returns are missed. Only events made through tracefs can ask for
//! more (`r4096:`), and only they are counted in `kprobe_profile` on every kernel. Such an event
//! outlives its maker, so a guard process, which survives a `kill -9` of flowtop, removes it.

#[cfg(any(test, fuzzing))]
pub mod fuzz;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

use super::requirements;

/// First argument of the guard process.
pub const GUARD_ARG: &str = "--kprobe-guard";
/// Instances of a return probe: the most the kernel allows (`KRETPROBE_MAXACTIVE_MAX`).
const MAXACTIVE: u32 = 4096;
/// Prefix of flowtop's event groups, followed by the maker's pid.
const GROUP_PREFIX: &str = "flowtop_";
/// The file of tracefs that lists events, and that creates and removes them.
const KPROBE_EVENTS: &str = "kprobe_events";
const MOUNT_POINT: &str = "/sys/kernel/tracing";
const DEBUGFS_MOUNT_POINT: &str = "/sys/kernel/debug/tracing";

/// Returns the mount point of tracefs. If it is mounted nowhere, mounts it in a mount namespace of
/// this process's own, so that nobody else sees the mount and nothing of it stays.
///
/// Call it before other threads start: the namespace is the calling thread's and its children's.
///
/// # Errors
/// When it cannot be mounted, with the command that would.
pub fn find_or_mount() -> Result<PathBuf> {
    let mut forbidden = None;
    for path in [DEBUGFS_MOUNT_POINT, MOUNT_POINT] {
        match std::fs::metadata(Path::new(path).join("events")) {
            Ok(_) => return Ok(path.into()),
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => forbidden = Some(err),
            Err(_) => {}
        }
    }
    // tracefs may be mounted where only others can look.
    if let Some(err) = forbidden {
        return Err(requirements::of_tracefs(err, Path::new(MOUNT_POINT)));
    }
    let mounted = (|| -> rustix::io::Result<()> {
        // SAFETY: of the flags, only FILES is unsafe to unshare (file descriptors would differ
        // between threads); this is NEWNS alone.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
        // Mounts of this namespace stay here; mounts of others still arrive. Only a mount point can
        // be marked so, and in a chroot "/" may be none.
        mount_change("/sys", MountPropagationFlags::DOWNSTREAM)
            .or_else(|_| mount_change("/", MountPropagationFlags::DOWNSTREAM))?;
        mount("tracefs", MOUNT_POINT, "tracefs", MountFlags::empty(), None)
    })();
    mounted.map_err(|err| requirements::of_mount(err.into(), MOUNT_POINT))?;
    Ok(MOUNT_POINT.into())
}

/// Whether this kernel supports kprobe events.
pub fn has_kprobes(tracefs: &Path) -> bool {
    tracefs.join(KPROBE_EVENTS).exists()
}

/// The switch of ftrace, which trampolines and kprobes at the beginnings of functions depend on.
pub const FTRACE_SWITCH: &str = "/proc/sys/kernel/ftrace_enabled";
/// The switch of all kprobes. If it cannot be read, nobody has turned it: debugfs may not be
/// mounted.
pub const KPROBES_SWITCH: &str = "/sys/kernel/debug/kprobes/enabled";

/// ftrace is off, so trampolines and probes at the beginnings of functions are disabled.
pub fn ftrace_off() -> Option<String> {
    is_off(FTRACE_SWITCH).then(|| format!("ftrace is switched off: echo 1 >{FTRACE_SWITCH}"))
}

/// ftrace is off, so kprobes are disabled.
pub fn kprobes_off() -> Option<String> {
    let off = || format!("kprobes are switched off: echo 1 >{KPROBES_SWITCH}");
    ftrace_off().or_else(|| is_off(KPROBES_SWITCH).then(off))
}

fn is_off(path: &str) -> bool {
    File::open(path).is_ok_and(|switch| is_switched_off(&switch))
}

/// Whether a switch is 0; the file may have been opened long ago.
pub fn is_switched_off(switch: &File) -> bool {
    let mut state = [0];
    switch.read_exact_at(&mut state, 0).is_ok() && state == *b"0"
}

/// Whether this kernel has the tracepoints of sockets.
pub fn has_sock_tracepoints(tracefs: &Path) -> bool {
    tracefs.join("events/sock/sock_send_length").is_dir()
}

/// Checks whether an event can be attached to: libbpf reads its number here.
///
/// # Errors
/// When it may not be read, with what is missing.
pub fn check_event(tracefs: &Path, category: &str, name: &str) -> Result<()> {
    let id = tracefs.join("events").join(category).join(name).join("id");
    File::open(&id)
        .map(drop)
        .map_err(|err| requirements::of_tracefs(err, &id))
}

/// Checks whether kprobe events can be created.
///
/// # Errors
/// When their list may not be written, with what is missing.
pub fn check_kprobes(tracefs: &Path) -> Result<()> {
    EventList::open(tracefs).map(drop)
}

/// The probe events of this process. Dropping the value removes them; drop the links that use them
/// first.
pub struct KprobeEvents {
    tracefs: PathBuf,
    group: String,
    /// Opened at the start: later flowtop has no privilege to open it.
    profile: File,
    guard: Child,
}

impl KprobeEvents {
    /// Starts the guard, and removes events that dead flowtops may have left.
    ///
    /// # Errors
    /// When the guard cannot be started.
    pub fn open(tracefs: &Path) -> Result<Self> {
        let group = format!("{GROUP_PREFIX}{}", std::process::id());
        let profile = File::open(tracefs.join("kprobe_profile"))
            .map_err(|err| requirements::of_tracefs(err, tracefs))?;
        let mut list = EventList::open(tracefs)?;
        remove_stale(&mut list, &group);
        let guard = Command::new("/proc/self/exe")
            .arg0("flowtop-guard")
            .arg(GUARD_ARG)
            .arg(&group)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(list.0)
            .stderr(Stdio::null())
            // Not in the terminal's foreground group: Ctrl-C is for flowtop.
            .process_group(0)
            .spawn()
            .context("start the guard of the kprobe events")?;
        Ok(Self {
            tracefs: tracefs.into(),
            group,
            profile,
            guard,
        })
    }

    /// The group of the events, which is the tracepoint category to attach by.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Creates an event at a function's entry or return. Returns its name, or `None` if the kernel
    /// has no such function.
    ///
    /// # Errors
    /// When tracefs refuses for another reason.
    pub fn add(&self, symbol: &str, at_return: bool) -> Result<Option<String>> {
        let (kind, name) = if at_return {
            (
                format!("r{MAXACTIVE}"),
                format!("{}_ret_{symbol}", self.group),
            )
        } else {
            ("p".to_owned(), format!("{}_{symbol}", self.group))
        };
        let line = format!("{kind}:{}/{name} {symbol}", self.group);
        match EventList::open(&self.tracefs)?.append(&line) {
            Ok(()) => Ok(Some(name)),
            // ENOENT: no such symbol, as 5.10 and later say; EINVAL: one that cannot be probed.
            Err(err)
                if matches!(
                    err.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
                ) =>
            {
                Ok(None)
            }
            Err(err) => Err(err).with_context(|| format!("make the kprobe event `{line}`")),
        }
    }

    /// Returns how many hits the probes of this process missed since it started, by the kernel's
    /// count.
    ///
    /// # Errors
    /// When `kprobe_profile` cannot be read.
    pub fn missed(&self) -> Result<u64> {
        let profile = reread(&self.profile).context("read kprobe_profile")?;
        Ok(misses(&profile, &self.group))
    }
}

impl Drop for KprobeEvents {
    fn drop(&mut self) {
        // When its standard input ends, the guard removes the events and ends.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Sum of the misses of a group's probes. A line is `name hits misses`; names start with the group.
fn misses(profile: &str, group: &str) -> u64 {
    let mine = format!("{group}_");
    profile
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            words.next()?.starts_with(&mine).then_some(())?;
            words.nth(1)?.parse::<u64>().ok()
        })
        .fold(0, u64::saturating_add)
}

/// Returns `group/name` of the events whose group is selected. A line is `kind:group/name
/// location`.
fn listed(list: &str, is_listed: impl Fn(&str) -> bool) -> Vec<String> {
    list.lines()
        .filter_map(|line| {
            let event = line.split_whitespace().next()?.split_once(':')?.1;
            is_listed(event.split_once('/')?.0).then(|| event.to_owned())
        })
        .collect()
}

/// Reads all of an open file of the kernel.
fn reread(mut file: &File) -> io::Result<String> {
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// `kprobe_events`, open: the guard needs nothing else, and can drop every privilege.
struct EventList(File);

impl EventList {
    /// Never truncates the file: that would remove everyone's events.
    fn open(tracefs: &Path) -> Result<Self> {
        let mut options = File::options();
        let file = options.read(true).append(true);
        file.open(tracefs.join(KPROBE_EVENTS))
            .map(Self)
            .map_err(|err| requirements::of_tracefs(err, tracefs))
    }

    /// Takes the file that is this process's standard output.
    ///
    /// # Errors
    /// When that is anything else than a file of tracefs that can be read and written.
    fn inherited() -> Result<Self> {
        // `TRACEFS_MAGIC` (include/uapi/linux/magic.h).
        const MAGIC: i64 = 0x7472_6163;
        let list = rustix::stdio::stdout().try_clone_to_owned();
        let list = File::from(list.context("take the list of kprobe events over")?);
        let system = rustix::fs::fstatfs(&list).context("look at the list of kprobe events")?;
        let name = fs::read_link("/proc/self/fd/1").unwrap_or_default();
        if system.f_type != MAGIC || !name.ends_with(KPROBE_EVENTS) {
            bail!("{GUARD_ARG} is flowtop's own");
        }
        Ok(Self(list))
    }

    /// Removes all events of a group as soon as they are no longer busy.
    ///
    /// # Errors
    /// When that takes longer than [`GUARD_TRIES_FOR`].
    fn remove_all(&mut self, group: &str) -> Result<()> {
        let give_up = Instant::now() + GUARD_TRIES_FOR;
        loop {
            let left = self.events(|candidate| candidate == group);
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > give_up {
                bail!("{} kprobe events of {group} stay busy", left.len());
            }
            if !left.iter().any(|event| self.remove(event).is_ok()) {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        self.0.write_all(format!("{line}\n").as_bytes())
    }

    /// Returns `group/name` of the events whose group is selected.
    fn events(&self, is_listed: impl Fn(&str) -> bool) -> Vec<String> {
        listed(&reread(&self.0).unwrap_or_default(), is_listed)
    }

    fn remove(&mut self, event: &str) -> io::Result<()> {
        self.append(&format!("-:{event}"))
    }
}

/// Removes events of flowtops that no longer run: a flowtop may have been killed together with its
/// guard. Events that another process still uses are busy and stay.
fn remove_stale(list: &mut EventList, own_group: &str) {
    let stale = list.events(|group| {
        group == own_group
            || group.strip_prefix(GROUP_PREFIX).is_some_and(|pid| {
                pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()
            })
    });
    for event in stale {
        let _ = list.remove(&event);
    }
}

/// How long the guard tries. The kernel releases a dead process's perf events a moment after the
/// pipe; until then the events are busy, and nothing signals their release. With trampolines to
/// take apart first, on an overloaded machine, that moment was longer than 10 s.
const GUARD_TRIES_FOR: Duration = Duration::from_secs(120);

/// Runs the guard: waits until flowtop has ended, however it ended, then removes its events. The
/// guard takes no path from anyone: its standard output is the open `kprobe_events`, as
/// [`KprobeEvents::open`] passes it. `confine` drops everything that the guard does not need.
///
/// # Errors
/// When its arguments are not those that [`KprobeEvents::open`] gives, its standard output is no
/// file of tracefs, or events cannot be removed.
pub fn cleanup_watchdog(
    mut args: impl Iterator<Item = OsString>,
    confine: impl FnOnce(),
) -> Result<()> {
    let group = args.next().and_then(|group| group.into_string().ok());
    let Some(group) = group.filter(|group| is_own_group(group) && args.next().is_none()) else {
        bail!("{GUARD_ARG} is flowtop's own");
    };
    let mut list = EventList::inherited()?;
    // A signal that ends flowtop's whole process group must not end the guard first.
    for signal in [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
        signal_hook::consts::SIGQUIT,
    ] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .context("keep the guard from signals")?;
    }
    confine();
    // Returns only at end of file; copy() retries when a signal interrupts it. Nothing is written
    // to the pipe.
    io::copy(&mut io::stdin().lock(), &mut io::sink()).context("wait for flowtop's end")?;
    list.remove_all(&group)
}

/// Whether [`KprobeEvents::open`] makes groups of this name.
fn is_own_group(group: &str) -> bool {
    let pid = group.strip_prefix(GROUP_PREFIX);
    pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misses_are_summed_over_this_process_only() {
        let profile = "  flowtop_12_inet_sendmsg                1500      0\n  \
                       flowtop_12_ret_inet_sendmsg            1500      7\n  \
                       flowtop_123_ret_inet_sendmsg              0    100\n  \
                       myprobe                                   0     50\n";
        assert_eq!(misses(profile, "flowtop_12"), 7);
        assert_eq!(misses("", "flowtop_12"), 0);
    }

    #[test]
    fn a_guard_accepts_groups_of_flowtop_only() {
        assert!(is_own_group("flowtop_12"));
        for other in [
            "flowtop_",
            "flowtop_1x",
            "flowtop_-1",
            "b",
            "",
            "flowtop_1/x",
        ] {
            assert!(!is_own_group(other), "{other}");
        }
    }
}
