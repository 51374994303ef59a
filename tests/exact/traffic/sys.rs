//! Thin wrappers of system calls that are not about moving socket data.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result};

/// `-1` becomes the error in errno.
pub fn cvt(ret: impl TryInto<isize>) -> io::Result<usize> {
    let ret: isize = ret.try_into().unwrap_or(-1);
    usize::try_from(ret).map_err(|_| io::Error::last_os_error())
}

pub fn errno(err: &io::Error) -> i32 {
    err.raw_os_error().unwrap_or(0)
}

/// Writes to a plain descriptor; what nobody reads any more is dropped.
pub fn write_all(fd: RawFd, mut buf: &[u8]) {
    while !buf.is_empty() {
        // SAFETY: the pointer and length describe a live slice.
        match cvt(unsafe { libc::write(fd, buf.as_ptr().cast(), buf.len()) }) {
            Ok(n) => buf = &buf[n..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

pub fn close(fd: RawFd) {
    // SAFETY: closing is sound; every caller owns the descriptor it passes.
    unsafe { libc::close(fd) };
}

/// A pipe: read end, write end.
pub fn pipe() -> Result<(RawFd, RawFd)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for two descriptors.
    cvt(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }).context("pipe2")?;
    Ok((ends[0], ends[1]))
}

/// Reads up to `buf.len()` bytes from a plain descriptor.
pub fn read(fd: RawFd, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length describe a live, writable slice.
    cvt(unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) })
}

/// An anonymous file with `data` in it, positioned at its start.
pub fn memfd(data: &[u8]) -> Result<RawFd> {
    // SAFETY: the name is a C string literal.
    let fd = cvt(unsafe { libc::memfd_create(c"traffic".as_ptr(), libc::MFD_CLOEXEC) })
        .context("memfd_create")? as RawFd;
    write_all(fd, data);
    // SAFETY: lseek has no memory arguments.
    cvt(unsafe { libc::lseek(fd, 0, libc::SEEK_SET) })?;
    Ok(fd)
}

/// A child of its own that must not outlive its parent.
pub fn die_with_parent() {
    // SAFETY: prctl with plain integers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Names the calling thread.
pub fn set_comm(name: impl AsRef<OsStr>) {
    if let Ok(name) = CString::new(name.as_ref().as_bytes()) {
        // SAFETY: the kernel copies at most 16 bytes of a terminated string.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }
}

static CASE_SECONDS: AtomicU32 = AtomicU32::new(20);

/// Ends this process by SIGALRM after the case's time.
pub fn watchdog(seconds: Option<u32>) {
    if let Some(s) = seconds {
        CASE_SECONDS.store(s, Relaxed);
    }
    // SAFETY: alarm has no memory arguments.
    unsafe { libc::alarm(CASE_SECONDS.load(Relaxed)) };
}

/// `TRAFFIC_SCALE` is a percentage for the cases that do something thousands of times.
pub fn scaled(n: usize) -> usize {
    let percent = std::env::var("TRAFFIC_SCALE")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(100);
    (n * percent / 100).max(1)
}

pub fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// Waits until `fd` is ready for one of `events`, at most `millis`.
pub fn poll(fd: RawFd, events: i16, millis: i32) -> io::Result<bool> {
    let mut pfd = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: one live pollfd.
    cvt(unsafe { libc::poll(&raw mut pfd, 1, millis) }).map(|n| n > 0)
}

/// Waits until one of two descriptors is readable; true for the first.
pub fn first_readable(a: RawFd, b: RawFd) -> Result<bool> {
    let on = |fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let mut both = [on(a), on(b)];
    // SAFETY: two live pollfds.
    cvt(unsafe { libc::poll(both.as_mut_ptr(), 2, 10_000) }).context("poll")?;
    Ok(both[0].revents != 0)
}

/// Brings the loopback of the current network namespace up, with the given MTU when not zero.
pub fn lo_up(mtu: i32) -> Result<()> {
    // SAFETY: socket has no memory arguments.
    let fd = cvt(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?
        as RawFd;
    // SAFETY: ifreq is plain data.
    let mut req: libc::ifreq = unsafe { std::mem::zeroed() };
    req.ifr_name[0] = b'l' as libc::c_char;
    req.ifr_name[1] = b'o' as libc::c_char;
    if mtu > 0 {
        req.ifr_ifru.ifru_mtu = mtu;
        // SAFETY: SIOCSIFMTU reads a live ifreq.
        cvt(unsafe { libc::ioctl(fd, libc::SIOCSIFMTU as _, &raw const req) }).context("lo mtu")?;
    }
    req.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads a live ifreq.
    let up = cvt(unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS as _, &raw const req) });
    close(fd);
    up.context("lo up")?;
    Ok(())
}

/// Moves this thread into a fresh network namespace with loopback up.
pub fn new_netns(mtu: i32) -> Result<()> {
    // SAFETY: unshare has no memory arguments.
    cvt(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map_err(crate::cases::absent("unshare"))?;
    lo_up(mtu)
}

/// What `/proc` gives times in: USER_HZ is 100 on every architecture.
pub const NS_PER_TICK: u64 = 10_000_000;

/// When this process began after boot, in nanoseconds, to the clock tick.
pub fn start_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // starttime is field 22 of proc_pid_stat(5); the first after the name is field 3.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = after
        .split_whitespace()
        .nth(19)
        .and_then(|field| field.parse().ok());
    ticks.unwrap_or(0) * NS_PER_TICK
}

/// Loads a kernel module, where this machine has it.
pub fn modprobe(module: &str) {
    let mut command = std::process::Command::new("modprobe");
    let _ = command
        .arg(module)
        .stderr(std::process::Stdio::null())
        .status();
}

/// Real user id of this thread.
pub fn uid() -> u32 {
    // SAFETY: getuid cannot fail and has no arguments.
    unsafe { libc::getuid() }
}

/// Inode number of a socket's network namespace; that of this thread where only the privileged may
/// ask for a socket's.
pub fn netns_of(fd: RawFd) -> u64 {
    const SIOCGSKNS: libc::c_ulong = 0x894c;
    // SAFETY: this ioctl has no argument.
    let ns = unsafe { libc::ioctl(fd, SIOCGSKNS as _) };
    let path = if ns < 0 {
        "/proc/thread-self/ns/net".to_owned()
    } else {
        format!("/proc/self/fd/{ns}")
    };
    let inode = std::fs::metadata(path).map_or(0, |file| file.ino());
    if ns >= 0 {
        close(ns);
    }
    inode
}

/// Path of this process's cgroup: in the hierarchy of the pids controller where it has one of its
/// own and the process is below its root, else in that of v2.
pub fn cgroup() -> String {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = |wanted: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let mut controllers = fields.next()?.split(',');
            controllers
                .any(|one| one == wanted)
                .then(|| fields.next())?
        })
    };
    let v1 = path("pids").filter(|path| *path != "/");
    v1.or_else(|| path("")).unwrap_or("/").to_owned()
}

pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// A page-aligned private mapping of `len` bytes, never unmapped.
pub fn map_anon(len: usize) -> Result<*mut u8> {
    // SAFETY: a fresh anonymous mapping touches no memory that is in use.
    let p = unsafe {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(
            std::ptr::null_mut(),
            len,
            prot,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if p == libc::MAP_FAILED {
        return Err(io::Error::last_os_error()).context("mmap");
    }
    Ok(p.cast())
}

/// `good` readable and writable bytes followed by a page that faults.
pub fn map_with_fault(good: usize) -> Result<*mut u8> {
    let p = map_anon(good + 4096)?;
    // SAFETY: the range is the tail of the mapping just made; `good` is a multiple of the page.
    cvt(unsafe { libc::mprotect(p.add(good).cast(), 4096, libc::PROT_NONE) })
        .context("mprotect")?;
    Ok(p)
}
