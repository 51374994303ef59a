//! Names of hosts by the answers that processes received, from a real name server. Needs root.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::common::counting::Flowtop;
use crate::common::lan::{Lan, NSD, Nsd};
use crate::common::{flowtop_with, stderr, stdout};
use crate::metrics::free_port;
use crate::metrics::server::await_group;

const NSD6: &str = "2001:db8::53";
/// Every name below leads to it.
const ADDR: &str = "192.0.2.10";
/// Bytes that each client sends.
const BYTES: u64 = 1000;

const ZONE: &str = "api A 192.0.2.10\nwww A 192.0.2.10\nalias CNAME far\nfar CNAME api\n\
                    six AAAA 2001:db8::53\nother A 192.0.2.11\n";

/// Starts a name server, which programs ask by default, and a server at [`ADDR`]. Returns the name
/// server, which ends with the value, and the other's port.
fn serve_names(lan: &Lan, zones: &[(&str, &str)]) -> (Nsd, u16) {
    let nsd = lan.nsd(zones);
    lan.write("resolv.conf", &format!("nameserver {NSD}\n"));
    (nsd, serve(ADDR))
}

/// Accepts connections for good, and lets each client end.
fn serve(addr: &str) -> u16 {
    let listener = TcpListener::bind((addr, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.read_exact(&mut [0; BYTES as usize]).unwrap();
            stream.write_all(b"y").unwrap();
        }
    });
    port
}

/// Runs a client to its end and returns its process id.
fn client(way: &str, name: &str, port: u16, server: &str) -> u32 {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/dns_client.py");
    let mut client = Command::new("python3")
        .arg(script)
        .args([way, name, &port.to_string(), server])
        .spawn()
        .unwrap();
    let pid = client.id();
    assert!(client.wait().unwrap().success(), "{way} {name}");
    pid
}

/// Name and origin of the flow of a process to a port, in every interval in which it moved bytes.
fn names_of(records: &[Value], pid: u32, port: u16) -> Vec<(Option<&str>, Option<&str>)> {
    let flows = records.iter().filter(|record| {
        record["type"] == "flow" && record["pid"] == pid && record["remote_port"] == port
    });
    flows
        .map(|flow| (flow["dns_name"].as_str(), flow["dns_name_origin"].as_str()))
        .collect()
}

fn assert_named(records: &[Value], pid: u32, port: u16, name: &str, way: &str) {
    let found = names_of(records, pid, port);
    assert!(!found.is_empty(), "{way}: no flow of {pid}");
    for one in found {
        assert_eq!(one, (Some(name), Some("process")), "{way}");
    }
}

#[test]
fn a_flow_has_the_name_that_its_process_resolved_in_any_way() {
    Lan::enter("resolved", |lan| {
        let ptr = "10 PTR reverse.example.\n";
        let (_nsd, port) = serve_names(lan, &[("example", ZONE), ("2.0.192.in-addr.arpa", ptr)]);
        let port6 = serve(NSD6);
        let mut flowtop = Flowtop::start(&["-x"]);
        flowtop.await_intervals(1);
        let ways = [
            ("glibc", "api.example", NSD),
            ("glibc", "alias.example", NSD),
            ("unconnected", "www.example", NSD),
            ("message", "api.example", NSD),
            ("connected", "www.example", NSD),
            ("unconnected", "api.example", NSD6),
            ("connected", "alias.example", NSD6),
        ];
        let named = ways.map(|(way, name, server)| (client(way, name, port, server), name, way));
        let six = client("glibc", "six.example", port6, NSD);
        lan.write("resolv.conf", &format!("nameserver {NSD6}\n"));
        let by_six = client("glibc", "www.example", port, NSD6);
        let records = flowtop.stop();
        for (pid, name, way) in named {
            assert_named(&records, pid, port, name, way);
        }
        assert_named(&records, six, port6, "six.example", "IPv6");
        assert_named(&records, by_six, port, "www.example", "by IPv6");
    });
}

#[test]
fn a_flow_of_busybox_has_the_name_that_it_resolved() {
    Lan::enter("resolved-by-busybox", |lan| {
        let (_nsd, port) = serve_names(lan, &[("example", ZONE)]);
        let mut flowtop = Flowtop::start(&[]);
        flowtop.await_intervals(1);
        let pids = ["www.example", "alias.example"].map(|name| {
            let mut nc = Command::new("busybox")
                .args(["nc", name, &port.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let mut stdin = nc.stdin.take().unwrap();
            stdin.write_all(&[b'x'; BYTES as usize]).unwrap();
            // The server closes when it has read all, and with it nc ends.
            assert!(nc.wait().unwrap().success(), "{name}");
            (nc.id(), name)
        });
        let records = flowtop.stop();
        for (pid, name) in pids {
            assert_named(&records, pid, port, name, "busybox");
        }
    });
}

/// BusyBox's nslookup has a resolver of its own; the nc beside it has the address only.
#[test]
fn a_run_counts_nslookup_and_names_the_address_that_it_resolved() {
    Lan::enter("run-of-nslookup", |lan| {
        let (_nsd, port) = serve_names(lan, &[("example", ZONE)]);
        let script = format!(
            "busybox nslookup -type=a www.example && head -c {BYTES} /dev/zero | busybox nc {ADDR} {port}"
        );
        let output = flowtop_with(&["run", "--json", "--", "sh", "-c", &script])
            .output()
            .unwrap();
        let errors = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{errors}");
        assert!(stdout(&output).contains(ADDR), "{}", stdout(&output));
        let summary: Value = serde_json::from_str(errors.lines().last().unwrap()).unwrap();
        let peers = summary["peers"].as_array().unwrap();
        let row = |addr| peers.iter().find(|row| row["remote_addr"] == addr).unwrap();
        let nc = row(ADDR);
        assert_eq!(nc["dns_name"], "www.example", "{nc}");
        assert_eq!(nc["dns_name_origin"], "other", "{nc}");
        assert_eq!(
            (&nc["tx_bytes"], &nc["rx_bytes"]),
            (&BYTES.into(), &1.into())
        );
        let query = row(NSD);
        assert_ne!(query["pid"], nc["pid"]);
        // One question of a header, the name and its type: 12 + 13 + 4 bytes.
        assert_eq!(query["tx_bytes"], 29, "{query}");
    });
}

#[test]
fn filters_select_by_names_and_see_answers_that_they_do_not_mean() {
    Lan::enter("selected", |lan| {
        let (_nsd, port) = serve_names(lan, &[("example", ZONE)]);
        for filter in ["tcp and host api.example", "tcp and domain example"] {
            let mut flowtop = Flowtop::start(&[filter]);
            flowtop.await_intervals(1);
            let api = client("glibc", "api.example", port, NSD);
            let www = client("glibc", "www.example", port, NSD);
            let records = flowtop.stop();
            assert_named(&records, api, port, "api.example", filter);
            let has_www = !names_of(&records, www, port).is_empty();
            assert_eq!(has_www, filter.contains("domain"), "{filter}");
        }
    });
}

#[test]
fn metrics_by_host_add_up_to_the_total() {
    Lan::enter("metrics-by-host", |lan| {
        let (_nsd, port) = serve_names(lan, &[("example", ZONE)]);
        let addr = free_port();
        let listen = addr.port().to_string();
        let mut flowtop =
            Flowtop::start(&["--listen", &listen, "-g", "host", "--scrape-interval", "1s"]);
        flowtop.await_intervals(1);
        for name in ["api.example", "www.example", "alias.example"] {
            client("glibc", name, port, NSD);
            await_group(addr, "host", name, BYTES);
        }
        flowtop.stop();
    });
}

#[test]
fn without_the_option_no_answer_is_read() {
    Lan::enter("unread", |lan| {
        let (_nsd, port) = serve_names(lan, &[("example", ZONE)]);
        let mut flowtop = Flowtop::start(&["--no-dns-names"]);
        flowtop.await_intervals(1);
        let pid = client("glibc", "api.example", port, NSD);
        let records = flowtop.stop();
        let found = names_of(&records, pid, port);
        assert!(!found.is_empty());
        assert!(found.iter().all(|one| *one == (None, None)), "{found:?}");
    });
}
