//! Connections that several threads or processes share, on this machine's kernel: what belongs to
//! the socket is counted once, in every grouping. Needs root.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::thread;

use crate::common::counting::Flowtop;
use crate::common::sum;

/// Segments received and sent, by the kernel's own count.
fn segments(stream: &TcpStream) -> (u64, u64) {
    let mut info = [0u8; 256];
    let mut len = info.len() as u32;
    // SAFETY: `info` has room for the length given, and both outlive the call.
    let ret = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    assert_eq!(ret, 0);
    // tcpi_segs_out and tcpi_segs_in (include/uapi/linux/tcp.h)
    let field = |at: usize| u32::from_ne_bytes(info[at..at + 4].try_into().unwrap());
    (field(140).into(), field(136).into())
}

/// Moves bytes by four threads and three child processes, in several intervals, then one last byte.
/// Returns the segments that the client's socket had before the last byte, and after.
fn share(
    client: &TcpStream,
    server: &TcpStream,
    mut next_interval: impl FnMut(),
) -> [(u64, u64); 2] {
    let receive = |bytes: usize| (&*server).read_exact(&mut vec![0; bytes]).unwrap();
    for _ in 0..2 {
        thread::scope(|scope| {
            for n in 1..=4 {
                scope.spawn(move || (0..n).for_each(|_| (&*client).write_all(&[7; 500]).unwrap()));
            }
        });
        receive(10 * 500);
        for n in 1..=3 {
            let end = OwnedFd::from(client.try_clone().unwrap());
            let head = Command::new("head")
                .args(["-c", &(n * 1000).to_string(), "/dev/zero"])
                .stdout(Stdio::from(end))
                .status();
            assert!(head.unwrap().success());
            receive(n * 1000);
        }
        next_interval();
    }
    let before = segments(client);
    (&*client).write_all(&[7]).unwrap();
    receive(1);
    [before, segments(client)]
}

#[test]
fn packets_of_a_shared_socket_are_counted_once_in_every_grouping() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let filter = format!("remote port {}", addr.port());
    let groupings = ["flow", "thread", "process", "user", "remote"];
    let mut started = groupings.map(|group| Flowtop::start(&["-g", group, &filter]));
    let mut records = groupings.map(|_| Vec::new());
    let client = TcpStream::connect(addr).unwrap();
    client.set_nodelay(true).unwrap();
    let server = listener.accept().unwrap().0;
    // Of the interval in which a connection is first read its segments may be unknown.
    (&client).write_all(&[7]).unwrap();
    (&server).read_exact(&mut [0]).unwrap();
    for (flowtop, records) in started.iter_mut().zip(&mut records) {
        records.extend(flowtop.await_intervals(1));
    }
    let start = segments(&client);
    let [before, after] = share(&client, &server, || {
        for (flowtop, records) in started.iter_mut().zip(&mut records) {
            records.extend(flowtop.await_intervals(1));
        }
    });
    for ((flowtop, mut records), group) in started.into_iter().zip(records).zip(groupings) {
        records.extend(flowtop.stop());
        let kind = if group == "flow" { "flow" } else { "group" };
        assert_eq!(
            sum(&records, kind, "tx_bytes"),
            2 * (5000 + 6000) + 2,
            "{group}"
        );
        let sums = (
            sum(&records, kind, "rx_packets"),
            sum(&records, kind, "tx_packets"),
        );
        // Acknowledgements may come between a reading and the next byte.
        assert!(
            before.0 - start.0 <= sums.0 && sums.0 <= after.0,
            "{group}: {sums:?} {before:?} {after:?}"
        );
        assert!(
            before.1 - start.1 <= sums.1 && sums.1 <= after.1,
            "{group}: {sums:?} {before:?} {after:?}"
        );
    }
}
