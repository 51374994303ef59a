//! The server: what it says, to whom, at which address, and clients that are slow or mean no good.

use super::machines::{Host, Netns, Running, ip, unshare_net};
use super::{PATIENCE, check_metrics, free_port, http, program, run, scrape, until, value};
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::common::counting::{Flowtop, tcp_pair};
use crate::common::flowtop_with;
use crate::common::folder::Folder;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use serde_json::Value;

#[test]
fn metrics_are_the_sums_of_what_is_written_beside_them() {
    let addr = free_port();
    // What is written is joined where its writer is late by an interval, what is counted for the
    // page is not: so these are long.
    let port = addr.port().to_string();
    let options = ["--listen", &port, "-g", "user", "--scrape-interval", "1s"];
    let mut flowtop = Flowtop::every("500ms", &options);
    let mut records = flowtop.await_intervals(2);
    let page = scrape(addr).unwrap();
    let intervals = value(&page, "flowtop_intervals_total").unwrap() as usize;
    records.extend(flowtop.await_intervals(2));
    records.extend(flowtop.await_intervals(2));
    let later = scrape(addr).unwrap();
    records.extend(flowtop.stop());
    assert!(TcpStream::connect(addr).is_err(), "it ended");

    // `start` has read one interval.
    let of = |page: &str| value(page, "flowtop_intervals_total").unwrap() as usize - 1;
    assert!(intervals >= 3 && of(&later) > of(&page), "{page}");
    let ended: Vec<&Value> = records
        .iter()
        .filter(|record| record["type"] == "interval")
        .collect();
    for field in ["rx_bytes", "tx_bytes"] {
        let sample = format!("flowtop_{field}_total");
        let sum = |page: &str| -> u64 {
            let ended = ended[..of(page)].iter();
            ended.map(|record| record[field].as_u64().unwrap()).sum()
        };
        let moved = value(&later, &sample).unwrap() - value(&page, &sample).unwrap();
        assert_eq!(moved as u64, sum(&later) - sum(&page), "{field}");
        assert!(moved > 0.0, "at least the scrape was counted");
    }
    let user = r#"flowtop_group_tx_bytes_total{kind="user",name="root"}"#;
    assert!(value(&later, user) > Some(0.0), "{later}");
    check_metrics(&later);
}

/// Awaits a page on which a group has all of these bytes, and looks whether all that was counted is
/// in it.
#[track_caller]
pub fn await_group(addr: SocketAddr, kind: &str, name: &str, tx_bytes: u64) {
    let sample = format!("flowtop_group_tx_bytes_total{{kind=\"{kind}\",name=\"{name}\"}}");
    let page = until(&sample, || {
        let page = scrape(addr)?;
        (value(&page, &sample) >= Some(tx_bytes as f64)).then_some(page)
    });
    for direction in ["rx", "tx"] {
        let series = format!("flowtop_group_{direction}_bytes_total{{");
        let samples = page.lines().filter(|line| line.starts_with(&series));
        let numbers = samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
        let of = |name: String| value(&page, &name).unwrap();
        let rest = of(format!("flowtop_group_hidden_{direction}_bytes"))
            + of(format!("flowtop_untracked_{direction}_bytes_total"));
        let total = of(format!("flowtop_{direction}_bytes_total"));
        assert_eq!(numbers.sum::<f64>() + rest, total, "{page}");
    }
    assert!(page.contains(&format!("group=\"{kind}\"")), "{page}");
    check_metrics(&page);
}

#[test]
fn metrics_by_zone_add_up_to_the_total() {
    let folder = Folder::new("metrics-zones");
    let zones = folder.file("zones");
    fs::write(&zones, "here 127.0.0.0/8 0.02\n").unwrap();
    let addr = free_port();
    let port = addr.port().to_string();
    let mut flowtop = Flowtop::start(&[
        "--listen",
        &port,
        "-g",
        "zone",
        "--zones",
        &zones,
        "--scrape-interval",
        "1s",
    ]);
    flowtop.await_intervals(1);
    let (mut client, mut server) = tcp_pair();
    client.write_all(&[0; 30_000]).unwrap();
    server.read_exact(&mut [0; 30_000]).unwrap();
    await_group(addr, "zone", "here", 30_000);
    flowtop.stop();
}

#[test]
fn clients_that_are_slow_or_mean_no_good_hurt_nobody() {
    let addr = free_port();
    let port = addr.port().to_string();
    let _flowtop = Running::start(
        flowtop_with(&["-q", "-i", "50ms", "--listen", &port]).stderr(Stdio::null()),
    );
    let intervals = || value(&scrape(addr)?, "flowtop_intervals_total");
    let before = until("it counts", intervals);
    let mut held = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(addr).unwrap();
        match n % 4 {
            0 => {}
            1 => stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").unwrap(),
            2 => drop(stream.write_all(&[b'x'; 20_000])),
            // Never reads what it asks for.
            _ => stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .unwrap(),
        }
        held.push(stream);
    }
    for (request, status) in [
        ("\0\u{1}\u{2}\r\n\r\n", "400"),
        ("DELETE /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "405"),
        ("GET /etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "200"),
        ("GET /metrics HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.0\r\n\r\n", "200"),
    ] {
        let (head, _) = http(addr, request).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    until("it goes on counting", || {
        (intervals()? > before + 3.0).then_some(())
    });
    let accept = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\
                  Accept: application/openmetrics-text\r\n\r\n";
    let (head, body) = http(addr, accept).unwrap();
    assert!(
        head.contains("application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(body.ends_with("\n# EOF\n"));
    // Prometheus takes compressed pages too: the tests of fleets and readers run it.
    let mut stream = TcpStream::connect(addr).unwrap();
    let accept = accept.replace("Accept:", "Accept-Encoding: gzip\r\nAccept:");
    stream.write_all(accept.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&bytes[..end]);
    assert!(head.contains("\r\nContent-Encoding: gzip\r\n"), "{head}");
    let mut body = String::new();
    let mut page = flate2::read::GzDecoder::new(&bytes[end + 4..]);
    page.read_to_string(&mut body).unwrap();
    assert!(body.ends_with("\n# EOF\n"), "{body}");
    // Whoever came first made way.
    held[0].set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(!matches!(held[0].read(&mut [0]), Ok(1..)));
    drop(held);
}

#[test]
fn what_cannot_be_listened_at_is_said_before_anything_is_counted() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for (listen, code, printed) in [
        (addr.as_str(), 1, "another program listens there"),
        ("192.0.2.1:9435", 1, "name an address of this machine"),
        ("web:9435", 2, "give a port, as in 9435"),
        ("::9435", 2, ":9435 for every address"),
    ] {
        let output = flowtop_with(&["-q", "-c", "1", "--listen", listen])
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains(printed), "{message}");
    }
    let output = flowtop_with(&["-q", "-c", "2", "-i", "50ms", "--listen", "0"])
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
}

/// Status code of `/metrics`, asked for by a target and fields.
fn status(addr: SocketAddr, target: &str, fields: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\n{fields}\r\n");
    let (head, body) = http(addr, &request).unwrap();
    let status = head.split(' ').nth(1).unwrap().to_owned();
    if status == "421" {
        assert!(body.contains("ask by its address"), "{body}");
    }
    status
}

#[test]
fn a_page_of_another_site_cannot_read_metrics_and_a_scraper_calls_the_machine_as_it_likes() {
    unshare_net();
    let hub = Netns::current();
    let host = Host::new(&hub, 9, &["--listen-host", "metrics.example.org"]);
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_str().unwrap();
    let browser = "User-Agent: Mozilla/5.0\r\nAccept-Language: en\r\n";
    let scraper = "User-Agent: Prometheus/3.5.0\r\nAccept: text/plain;q=0.5\r\n";
    let (network, loopback) = (host.addr, SocketAddr::from(([127, 0, 0, 1], 9435)));
    for (from, addr, name, fields, expected) in [
        (&hub, network, "web.internal", scraper, "200"),
        (&hub, network, "evil.example", browser, "421"),
        (&hub, network, &network.ip().to_string(), browser, "200"),
        (&host.netns, loopback, "evil.example", scraper, "421"),
        (&host.netns, loopback, "evil.example", browser, "421"),
        (&host.netns, loopback, "metrics.example.org", browser, "200"),
        (&host.netns, loopback, "localhost", browser, "200"),
        (&host.netns, loopback, machine, browser, "200"),
        (
            &host.netns,
            loopback,
            &format!("{machine}.internal"),
            scraper,
            "200",
        ),
    ] {
        let ask = || {
            let by_field = format!("Host: {name}:9435\r\n{fields}");
            // RFC 9112, 3.2.2: the target counts, and the field does not.
            let target = format!("http://{name}:9435/metrics");
            let by_target = format!("Host: localhost\r\n{fields}");
            [
                status(addr, "/metrics", &by_field),
                status(addr, &target, &by_target),
            ]
        };
        assert_eq!(
            from.within(ask),
            [expected; 2],
            "{addr} as {name}: {fields}"
        );
    }
}

#[test]
fn a_port_of_every_address_is_reached_by_ipv4_and_ipv6() {
    for listen in [":9435", "*:9435"] {
        let netns = Netns::new();
        ip(&netns, "link set lo up");
        let sysctl = "echo 1 >/proc/sys/net/ipv6/bindv6only";
        run(netns.around(program("sh").args(["-c", sysctl])));
        let mut command = flowtop_with(&[
            "-q",
            "-i",
            "100ms",
            "--max-flows",
            "1024",
            "--listen",
            listen,
        ]);
        let _flowtop = Running::start(netns.around(&mut command));
        netns.within(|| {
            for addr in ["127.0.0.1:9435", "[::1]:9435"] {
                until("metrics are served", || scrape(addr.parse().unwrap()));
            }
        });
    }
}

#[test]
fn a_port_of_every_address_is_reached_where_the_kernel_has_no_ipv6() {
    let addr = free_port();
    let listen = format!(":{}", addr.port());
    let mut command = flowtop_with(&[
        "-q",
        "-i",
        "100ms",
        "--max-flows",
        "1024",
        "--listen",
        &listen,
    ]);
    let _flowtop = Running::start(without_ipv6(&mut command));
    until("metrics are served", || scrape(addr));
}

/// Makes a command run as on a kernel without IPv6, which makes no socket of it.
fn without_ipv6(command: &mut Command) -> &mut Command {
    let inet6 = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        libc::AF_INET6 as u64,
    )
    .unwrap();
    let rules = BTreeMap::from([(
        libc::SYS_socket,
        vec![SeccompRule::new(vec![inet6]).unwrap()],
    )]);
    let (allow, refuse) = (
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EAFNOSUPPORT as u32),
    );
    let filter = SeccompFilter::new(
        rules,
        allow,
        refuse,
        std::env::consts::ARCH.try_into().unwrap(),
    )
    .unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    let confine = move || seccompiler::apply_filter(&program).map_err(|_| ErrorKind::Other.into());
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(confine) }
}
