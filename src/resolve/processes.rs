//! Reads the facts of one process from `/proc`. Blocks as long as `/proc` does, so only background
//! threads call it.

use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::cgroup::{self, CgroupLocation};
use super::users::{UserNames, Users};

/// Longest part of a command line that is kept, in bytes.
const MAX_CMDLINE: u64 = 4096;
/// Most bytes that are read of any other file.
const MAX_FILE: u64 = 64 << 10;

/// Facts about a process. The process chose its texts: never print them unsanitized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub tgid: u32,
    /// Name of the group leader.
    pub comm: String,
    /// Arguments, the program first; empty for kernel threads, and if they may not be read.
    pub cmdline: Vec<String>,
    /// Path of the program file; `None` if it may not be read.
    pub exe: Option<PathBuf>,
    pub uid: u32,
    /// Name of the user by `/etc/passwd`.
    pub user: Option<Arc<str>>,
    /// Process id of the parent.
    pub ppid: u32,
    /// Name of the parent.
    pub parent: Option<String>,
    /// Start by the wall clock.
    pub started: SystemTime,
    /// Start in clock ticks from boot; identifies the process together with `tgid`.
    pub start_ticks: u64,
    /// Path of its cgroup, as seen from flowtop's cgroup namespace.
    pub cgroup: Option<String>,
    /// Location by that path: container, pod, unit.
    pub location: CgroupLocation,
    /// Location in short form, as in `docker:0123456789ab` or `nginx.service`.
    pub location_name: Option<Arc<str>>,
    /// Whether the last look-up found the process gone.
    pub exited: bool,
}

impl Process {
    /// Whether it is the process that started this long after boot; `/proc` has whole ticks of that
    /// time.
    pub fn started_at(&self, start: Duration) -> bool {
        self.start_ticks == ticks(start)
    }

    /// Whether it is an earlier process.
    pub fn started_before(&self, start: Duration) -> bool {
        self.start_ticks < ticks(start)
    }
}

/// How far the clocks of this process's time namespace are ahead of the machine's
/// (time_namespaces(7)).
const TIME_OFFSETS: &str = "/proc/self/timens_offsets";

/// Seconds that the time since boot is ahead; 0 in the initial time namespace.
fn boot_offset(offsets: &str) -> i64 {
    let seconds = offsets.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == "boottime").then(|| words.next()?.parse().ok())?
    });
    seconds.unwrap_or(0)
}

/// Returns the ticks of the clock that `/proc` counts in, rounded as the kernel rounds them.
fn ticks(after_boot: Duration) -> u64 {
    let hz = rustix::param::clock_ticks_per_second().max(1);
    after_boot.as_secs() * hz + u64::from(after_boot.subsec_nanos()) / (1_000_000_000 / hz)
}

/// The files to read, and how to interpret them.
#[derive(Debug)]
pub(super) struct ProcessReader {
    proc: PathBuf,
    users: Users,
    // Seconds: see [`boot_offset`].
    boot_offset: i64,
    ticks_per_sec: u64,
}

impl ProcessReader {
    pub(super) fn new(proc: impl Into<PathBuf>, passwd: impl Into<PathBuf>) -> Self {
        Self {
            proc: proc.into(),
            users: Users::new(passwd),
            boot_offset: boot_offset(&fs::read_to_string(TIME_OFFSETS).unwrap_or_default()),
            ticks_per_sec: rustix::param::clock_ticks_per_second().max(1),
        }
    }

    /// Converts ticks in `/proc` to ticks since the machine's boot, which the kernel side counts.
    fn since_boot(&self, ticks: u64) -> u64 {
        let hz = i64::try_from(self.ticks_per_sec).unwrap_or(100);
        ticks.saturating_add_signed(-self.boot_offset.saturating_mul(hz))
    }

    /// Returns the names of users.
    pub(super) fn user_names(&mut self) -> UserNames {
        self.users.refresh();
        self.users.names()
    }

    /// Returns `None` if there is no such process, or if it ended while it was read.
    pub(super) fn read(&mut self, tgid: u32) -> Option<Process> {
        self.users.refresh();
        let folder = self.proc.join(tgid.to_string());
        let stat = Stat::read(&folder)?;
        let uid = fs::metadata(&folder).map(|metadata| metadata.uid());
        let uid = effective_uid(&folder).or(uid.ok())?;
        let cgroup = read_some(&folder.join("cgroup"), MAX_FILE)
            .ok()
            .and_then(|text| cgroup::path_of(&text).map(str::to_owned));
        let location = cgroup
            .as_deref()
            .map(cgroup::parse_path)
            .unwrap_or_default();
        let location_name = (!location.is_empty()).then(|| Arc::from(location.to_string()));
        let parent = Stat::read(&self.proc.join(stat.ppid.to_string()));
        let process = Process {
            tgid,
            cmdline: cmdline(&folder),
            exe: fs::read_link(folder.join("exe")).ok(),
            uid,
            user: self.users.name(uid),
            ppid: stat.ppid,
            parent: parent.map(|parent| parent.comm),
            started: self.wall_clock(stat.start_ticks),
            start_ticks: self.since_boot(stat.start_ticks),
            cgroup,
            location,
            location_name,
            exited: false,
            comm: stat.comm,
        };
        // Another process may have got the id while the files were read.
        let again = Stat::read(&folder)?;
        (self.since_boot(again.start_ticks) == process.start_ticks).then_some(process)
    }

    /// Returns the wall-clock time this many ticks after boot. The time of boot is computed from
    /// now, so that steps of the wall clock since then do not matter.
    fn wall_clock(&self, ticks: u64) -> SystemTime {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let up = Duration::new(
            u64::try_from(now.tv_sec).unwrap_or_default(),
            u32::try_from(now.tv_nsec).unwrap_or_default(),
        );
        let hz = self.ticks_per_sec;
        let nanos = (ticks % hz) * 1_000_000_000 / hz;
        let after_boot = Duration::from_secs(ticks / hz) + Duration::from_nanos(nanos);
        let age = up.saturating_sub(after_boot);
        let now = SystemTime::now();
        now.checked_sub(age).unwrap_or(now)
    }
}

pub(super) struct Stat {
    pub(super) comm: String,
    ppid: u32,
    start_ticks: u64,
}

impl Stat {
    fn read(folder: &Path) -> Option<Self> {
        let text = read_some(&folder.join("stat"), MAX_FILE).ok()?;
        Self::parse(&text)
    }

    /// `pid (comm) state ppid ...`, where comm can hold anything, brackets and spaces too.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let open = text.find('(')?;
        let close = text.rfind(')')?;
        let mut fields = text.get(close + 1..)?.split_ascii_whitespace();
        // Fields 4 and 22 of proc_pid_stat(5); the first here is field 3.
        let ppid = fields.nth(1)?.parse().ok()?;
        let start_ticks = fields.nth(17)?.parse().ok()?;
        Some(Self {
            comm: text.get(open + 1..close)?.to_owned(),
            ppid,
            start_ticks,
        })
    }
}

fn effective_uid(folder: &Path) -> Option<u32> {
    uid_of(&read_some(&folder.join("status"), MAX_FILE).ok()?)
}

/// Returns the effective user id in a `/proc/PID/status`.
pub(super) fn uid_of(status: &str) -> Option<u32> {
    // A name cannot forge this line: the kernel escapes line ends in names.
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn cmdline(folder: &Path) -> Vec<String> {
    let mut bytes = Vec::new();
    let read = fs::File::open(folder.join("cmdline"))
        .and_then(|file| file.take(MAX_CMDLINE).read_to_end(&mut bytes));
    if read.is_err() {
        return Vec::new();
    }
    arguments(&bytes)
}

/// Returns the arguments in a `/proc/PID/cmdline`.
pub(super) fn arguments(bytes: &[u8]) -> Vec<String> {
    // Programs that write a title over their arguments leave NULs behind it.
    let used = bytes
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |at| at + 1);
    if used == 0 {
        return Vec::new();
    }
    let arguments = bytes[..used].split(|&byte| byte == 0);
    arguments
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

/// Reads at most this many bytes of a file; invalid UTF-8 is replaced.
fn read_some(path: &Path, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(std::ffi::OsString::from_vec(bytes)
        .to_string_lossy()
        .into_owned())
}
