//! Tries operations that must be forbidden to a confined process, in ways that do no harm if they
//! succeed.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, Protocol, SendFlags, SocketType, ipproto, sendto, socket};
use rustix::process::{Pid, getppid, test_kill_process};

/// Result of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeniedProbe {
    /// The operation, as in `write a file`.
    pub what: &'static str,
    /// Whether the kernel refused it.
    pub refused: bool,
    /// Version of Landlock from which on it is refused, if nothing but Landlock refuses it.
    pub landlock: Option<i32>,
}

/// The port of "discard", where nobody listens: a connection that is not refused by the sandbox
/// reaches nobody.
const DISCARD: u16 = 9;

/// Tries all operations, in order.
pub fn refusals() -> Vec<DeniedProbe> {
    type Try = (&'static str, Option<i32>, fn() -> bool);
    let tries: [Try; 13] = [
        ("create a file", None, || is_refused(make_file())),
        ("write a file", None, || {
            is_refused(File::options().write(true).open("/proc/self/comm"))
        }),
        ("list a directory", Some(1), || {
            is_refused(fs::read_dir("/"))
        }),
        ("run a program", None, || is_refused(run())),
        ("signal another process", None, || {
            is_refused(test_kill_process(Pid::INIT).map_err(io::Error::from))
        }),
        ("read the memory of another process", None, || {
            let parent = getppid().map_or(1, Pid::as_raw_pid);
            is_refused(File::open(format!("/proc/{parent}/mem")))
        }),
        ("connect to a local socket", None, || {
            is_refused(UnixDatagram::unbound())
        }),
        ("connect to anything but a name server", Some(4), || {
            is_refused(TcpStream::connect((Ipv4Addr::LOCALHOST, DISCARD)))
        }),
        ("read a secret file", None, || {
            is_refused(File::open("/etc/shadow").or_else(not_there))
        }),
        ("open an MPTCP socket", None, || {
            is_refused(new_socket(SocketType::STREAM, Some(ipproto::MPTCP)))
        }),
        ("open a raw socket", None, || {
            is_refused(new_socket(SocketType::RAW, Some(ipproto::ICMP)))
        }),
        ("send on an unconnected socket", None, || {
            is_refused(send_first(SendFlags::empty()))
        }),
        ("connect by sending (TCP Fast Open)", None, || {
            is_refused(send_first(FASTOPEN))
        }),
    ];
    let tries = tries
        .into_iter()
        .map(|(what, landlock, try_it)| DeniedProbe {
            what,
            refused: try_it(),
            landlock,
        });
    tries.collect()
}

fn is_refused<T>(outcome: io::Result<T>) -> bool {
    outcome.is_err_and(|error| {
        matches!(
            error.kind(),
            ErrorKind::PermissionDenied | ErrorKind::Unsupported
        )
    })
}

// `MSG_FASTOPEN` (include/linux/socket.h).
const FASTOPEN: SendFlags = SendFlags::from_bits_retain(0x2000_0000);

/// A missing file cannot be read, so the attempt proves nothing and does no harm.
fn not_there(error: io::Error) -> io::Result<File> {
    match error.kind() {
        ErrorKind::NotFound => Err(ErrorKind::PermissionDenied.into()),
        _ => Err(error),
    }
}

fn new_socket(kind: SocketType, protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::INET, kind, protocol)?)
}

/// Sends to an address on an unconnected socket. If no socket can be created, this is impossible
/// too.
fn send_first(flags: SendFlags) -> io::Result<()> {
    let kind = match flags == FASTOPEN {
        true => SocketType::STREAM,
        false => SocketType::DGRAM,
    };
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, DISCARD);
    sendto(new_socket(kind, None)?, b"x", flags, &to)?;
    Ok(())
}

fn make_file() -> io::Result<()> {
    let path = std::env::temp_dir().join(format!("flowtop-doctor-{}", std::process::id()));
    File::create_new(&path)?;
    fs::remove_file(path)
}

fn run() -> io::Result<()> {
    let null = Stdio::null;
    let mut command = Command::new("/proc/self/exe");
    let status = command.arg("--version").stdin(null()).stdout(null());
    status.stderr(null()).status().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_confined_can_do_some_of_it() {
        // If everything were refused here as well, a refusal in the sandbox would prove nothing.
        let can: Vec<_> = refusals()
            .into_iter()
            .filter(|tried| !tried.refused)
            .map(|tried| tried.what)
            .collect();
        for what in [
            "create a file",
            "write a file",
            "list a directory",
            "run a program",
        ] {
            assert!(can.contains(&what), "{what}: {can:?}");
        }
        assert!(can.contains(&"connect to a local socket"), "{can:?}");
    }
}
