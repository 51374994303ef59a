//! Filters with full lists, and the kernel's verifier: it takes them with a wide margin, and where
//! it does not, user space decides. Needs root.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::counting::{Flowtop, tcp_pair};
use crate::largest_filter::{MAX_VERIFIED, largest_filter};
use libbpf_rs::query::ProgInfoIter;
use serde_json::Value;

/// Bytes of one transfer.
const BYTES: usize = 3000;

fn transfer(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(&[7; BYTES]).unwrap();
    to.read_exact(&mut [0; BYTES]).unwrap();
}

/// Sent and received over all intervals.
fn totals(records: &[Value]) -> (u64, u64) {
    let intervals = records.iter().filter(|record| record["type"] == "interval");
    intervals.fold((0, 0), |(tx, rx), record| {
        let field = |name: &str| record[name].as_u64().unwrap();
        (tx + field("tx_bytes"), rx + field("rx_bytes"))
    })
}

#[test]
fn the_largest_filter_loads_with_a_wide_margin_and_counts_what_passes() {
    let (mut client, mut server) = tcp_pair();
    let local = client.local_addr().unwrap().port();
    let filter = largest_filter(local, server.local_addr().unwrap().port()).unwrap();
    let explained = Command::new(env!("CARGO_BIN_EXE_flowtop"))
        .args(["--explain-filter", &filter])
        .output()
        .unwrap();
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.contains("user space:  nothing"), "{explained}");

    let pushed = Flowtop::start(&[&filter]);
    let most = ProgInfoIter::default().max_by_key(|program| program.verified_insns);
    let most = most.unwrap();
    assert!(
        (1000..MAX_VERIFIED).contains(&most.verified_insns),
        "{:?}: {} instructions were verified",
        most.name,
        most.verified_insns
    );
    let kept = Flowtop::start(&["--no-pushdown", &filter]);
    transfer(&mut client, &mut server);
    transfer(&mut server, &mut client);
    let (mut other_client, mut other_server) = tcp_pair();
    transfer(&mut other_client, &mut other_server);
    for (records, which) in [(pushed.stop(), "pushed"), (kept.stop(), "kept")] {
        // One of the two ends passes.
        let bytes = BYTES as u64;
        assert_eq!(totals(&records), (bytes, bytes), "{which}");
        let reason = records[0]["reason"].as_str().unwrap();
        assert!(!reason.contains("too large"), "{which}: {reason}");
    }
}

/// Compiles a library that answers the load of `tp_send` by an error once, after so many that
/// succeeded, as the verifier does: by E2BIG where a program is too large. libbpf tries each load
/// twice, then with a log.
fn refusal(after: u32, errno: &str) -> PathBuf {
    const SOURCE: &str = r#"
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <linux/bpf.h>
        #include <string.h>
        #include <sys/syscall.h>

        long syscall(long number, long a, long b, long c, long d, long e, long f)
        {
            static long (*next)(long, long, long, long, long, long, long);
            static int loads, refused;

            if (!next)
                *(void **)&next = dlsym(RTLD_NEXT, "syscall");
            const char *name = number == SYS_bpf && a == BPF_PROG_LOAD ? ((union bpf_attr *)b)->prog_name : "";
            if ((!strcmp(name, "tp_send") || !strcmp(name, "rt_send")) && ++loads > AFTER && refused < 2) {
                refused++;
                errno = ERRNO;
                return -1;
            }
            return next(number, a, b, c, d, e, f);
        }
    "#;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = folder.join(format!("refusal-{after}-{errno}.c"));
    let library = source.with_extension("so");
    std::fs::write(&source, SOURCE).unwrap();
    let status = Command::new("clang")
        .args(["-shared", "-fPIC", &format!("-DAFTER={after}")])
        .args([&format!("-DERRNO={errno}"), "-o"])
        .args([&library, &source])
        .status()
        .unwrap();
    assert!(status.success());
    library
}

#[test]
fn a_filter_that_the_verifier_refuses_is_decided_by_user_space_and_said_so() {
    let (mut client, mut server) = tcp_pair();
    let filter = largest_filter(
        client.local_addr().unwrap().port(),
        server.local_addr().unwrap().port(),
    )
    .unwrap();
    let library = refusal(0, "E2BIG");
    let mut flowtop = Command::new(env!("CARGO_BIN_EXE_flowtop"));
    flowtop.args(["--json", "-n", "0", "-i", "50ms", &filter]);
    flowtop.env("LD_PRELOAD", library);
    let flowtop = Flowtop::spawned(flowtop);
    transfer(&mut client, &mut server);
    transfer(&mut server, &mut client);
    let (mut other_client, mut other_server) = tcp_pair();
    transfer(&mut other_client, &mut other_server);
    let records = flowtop.stop();
    assert_eq!(totals(&records), (BYTES as u64, BYTES as u64));
    let reason = records[0]["reason"].as_str().unwrap();
    assert!(
        reason
            .contains("the filter is too large for this kernel's verifier, so user space decides"),
        "{reason}"
    );
}

#[test]
fn a_kernel_that_refuses_typed_pointers_is_read_without_them_by_the_same_backend() {
    let (mut client, mut server) = tcp_pair();
    let port = format!("port {}", client.local_addr().unwrap().port());
    let whole = Flowtop::start(&[&port]).stop();
    let mut flowtop = Command::new(env!("CARGO_BIN_EXE_flowtop"));
    flowtop.args(["--json", "-n", "0", "-i", "50ms", &port]);
    flowtop.env("LD_PRELOAD", refusal(0, "EINVAL"));
    let flowtop = Flowtop::spawned(flowtop);
    transfer(&mut client, &mut server);
    transfer(&mut server, &mut client);
    let records = flowtop.stop();
    let both_ends = 2 * BYTES as u64;
    assert_eq!(totals(&records), (both_ends, both_ends));
    assert_eq!(records[0]["backend"], whole[0]["backend"]);
}

#[test]
fn the_doctor_names_a_filter_that_the_verifier_refuses() {
    // The trials of both tracepoint backends and the start load it first, without the filter.
    for (after, state) in [(3, "note"), (1000, "ok")] {
        let doctor = Command::new(env!("CARGO_BIN_EXE_flowtop"))
            .args(["--doctor", "--json", &largest_filter(1, 2).unwrap()])
            .env("LD_PRELOAD", refusal(after, "E2BIG"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap();
        let filter = checks.iter().find(|check| check["id"] == "filter");
        let filter = filter.unwrap();
        assert_eq!(filter["state"], state, "{filter}");
        assert_eq!(
            filter["value"].to_string().contains("too large"),
            after == 3
        );
    }
}
