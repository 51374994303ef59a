//! Recordings carried to collectors that speak no JSON of flowtop's: rsyslog, and collectors of
//! NetFlow.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::UdpSocket;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::folder::Folder;
use crate::common::{records, stderr, sum};
use crate::engines::{contrib, demo};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that ends when dropped.
struct Server(Child);

impl Server {
    fn start(program: &str, args: &[&str], log: File) -> Self {
        let child = Command::new(program)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args(args)
            // nfacctd has a process for each of its plugins.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("{program}: {error}: make deps-test installs it")))
    }

    fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process_group(self.pid(), rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

#[track_caller]
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "it takes too long until {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn rsyslog_carries_a_recording_byte_for_byte() {
    let folder = Folder::new("rsyslog");
    fs::create_dir(folder.join("collected")).unwrap();
    let shipped = fs::read_to_string(contrib("rsyslog.conf")).unwrap();
    let config = shipped
        .replace("/var/log/flows/", &folder.file(""))
        .replace("/var/log/collected/", &folder.file("collected/"));
    assert!(!config.contains("/var/log/f"), "{config}");
    let config = format!(
        "global(workDirectory=\"{}\")\n{config}",
        folder.path().display()
    );
    fs::write(folder.join("rsyslog.conf"), config).unwrap();
    // A line longer than what rsyslog cuts at by itself, and one longer than any record.
    let mut sent = demo("--json");
    for length in [9000, 100_000] {
        sent += &format!(
            "{{\"type\":\"interval\",\"reason\":\"{}\"}}\n",
            "x".repeat(length)
        );
    }
    let (before, after) = sent.split_at(sent.len() / 2);
    let before = before.rsplit_once('\n').unwrap().0.to_owned() + "\n";
    let after = sent[before.len()..].to_owned() + &after[after.len()..];
    fs::write(folder.join("flows-1.jsonl"), &before).unwrap();
    let log = File::create(folder.join("log")).unwrap();
    let args = [
        "-n",
        "-f",
        &folder.file("rsyslog.conf"),
        "-i",
        &folder.file("pid"),
    ];
    let _server = Server::start("rsyslogd", &args, log);
    let collected = folder.join("collected/flows.jsonl");
    let has = |wanted: &str| fs::read_to_string(&collected).is_ok_and(|text| text == wanted);
    until("rsyslog has carried half", || has(&before).then_some(()));
    // The file grows while it is read.
    let mut file = File::options()
        .append(true)
        .open(folder.join("flows-1.jsonl"))
        .unwrap();
    file.write_all(after.as_bytes()).unwrap();
    until("rsyslog has carried it all", || has(&sent).then_some(()));
}

/// Ports that were free a moment ago.
fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// Waits until something listens at a port of UDP.
fn await_listener(port: u16) {
    let ends = format!(":{port:04X}");
    until("the collector listens", || {
        let table = fs::read_to_string("/proc/net/udp").unwrap();
        let mut local = table
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1));
        local.any(|addr| addr.ends_with(&ends)).then_some(())
    });
}

fn export(recording: &str, port: u16) {
    let mut exporter = Command::new("python3")
        .arg(contrib("ipfix.py"))
        .arg(format!("127.0.0.1:{port}"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    exporter
        .stdin
        .take()
        .unwrap()
        .write_all(recording.as_bytes())
        .unwrap();
    let output = exporter.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn collectors_of_netflow_get_every_byte_as_ipfix() {
    let recording = demo("--json");
    let all = records(&recording);
    let octets = sum(&all, "interval", "rx_bytes") + sum(&all, "interval", "tx_bytes");
    let flows = all.iter().filter(|record| record["type"] == "flow");
    let moved = |field: &str| flows.clone().filter(|flow| flow[field] != 0).count();
    let flows = moved("rx_bytes") + moved("tx_bytes");
    let of = |proto: &str| -> u64 {
        let flows = all.iter().filter(|record| record["proto"] == proto);
        flows
            .map(|flow| flow["rx_bytes"].as_u64().unwrap() + flow["tx_bytes"].as_u64().unwrap())
            .sum()
    };

    let folder = Folder::new("ipfix");
    let captured = folder.file("captured");
    fs::create_dir(&captured).unwrap();
    let port = free_port();
    let log = folder.join("nfcapd.log");
    let (listen, ended) = (port.to_string(), File::create(&log).unwrap());
    let args = [
        "-w",
        &captured,
        "-b",
        "127.0.0.1",
        "-p",
        &listen,
        "-B",
        "4000000",
        "-t",
        "3600",
    ];
    let nfcapd = Server::start("nfcapd", &args, ended);
    await_listener(port);
    export(&recording, port);
    // It tells what it has when it ends.
    rustix::process::kill_process(nfcapd.pid(), rustix::process::Signal::TERM).unwrap();
    let expected = format!("Flows: {flows}, Packets: ");
    let line = until("nfcapd has ended", || {
        let text = fs::read_to_string(&log).unwrap();
        text.lines()
            .find(|line| line.contains("Ident:"))
            .map(str::to_owned)
    });
    assert!(line.contains(&expected), "{line}: {expected}");
    assert!(
        line.contains(&format!("Bytes: {octets}, Sequence Errors: 0")),
        "{line}: {octets}"
    );

    let port = free_port();
    let (config, table) = (folder.file("nfacctd.conf"), folder.join("table.csv"));
    let settings = format!(
        "daemonize: false\nnfacctd_ip: 127.0.0.1\nnfacctd_port: {port}\nnfacctd_pipe_size: 4000000\n\
         plugins: print\nplugin_pipe_size: 10000000\naggregate: proto\nprint_refresh_time: 1\nprint_output: csv\n\
         print_output_file: {}\nprint_output_file_append: true\n",
        table.display()
    );
    fs::write(&config, settings).unwrap();
    let log = File::create(folder.join("nfacctd.log")).unwrap();
    let _nfacctd = Server::start("nfacctd", &["-f", &config], log);
    await_listener(port);
    export(&recording, port);
    // Rows of each second are added.
    let mut found = [0, 0];
    until("nfacctd has counted it all", || {
        let text = fs::read_to_string(&table).ok()?;
        let counted = |proto: &str| {
            let rows = text
                .lines()
                .filter(|row| row.split(',').next() == Some(proto));
            rows.filter_map(|row| row.rsplit(',').next()?.parse::<u64>().ok())
                .sum::<u64>()
        };
        found = [counted("tcp"), counted("udp")];
        (found.iter().sum::<u64>() >= octets).then_some(())
    });
    assert_eq!(found, [of("tcp"), of("udp")]);
}
