//! A network and a system configuration of a test's own: addresses on a loopback that nobody else
//! sees, an `/etc/hosts` and `/etc/resolv.conf` over the machine's, and NSD, a real name server.
//! Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on stops there"
)]

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use flowtop::resolve::names::Names;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Address that NSD answers at.
pub const NSD: &str = "192.0.2.53";

/// Files and addresses; for the thread it is given to, and what that starts.
pub struct Lan {
    folder: PathBuf,
}

impl Lan {
    /// Runs a test in a network of its own.
    pub fn enter(name: &str, test: impl FnOnce(&Lan) + Send + 'static) {
        let folder = std::env::temp_dir().join(format!("flowtop-{name}-{}", std::process::id()));
        let lan = Lan { folder };
        let thread = thread::spawn(move || {
            lan.set_up();
            test(&lan);
            let _ = fs::remove_dir_all(&lan.folder);
        });
        if let Err(panic) = thread.join() {
            resume_unwind(panic);
        }
    }

    fn set_up(&self) {
        fs::create_dir_all(&self.folder).unwrap();
        // SAFETY: of the flags, only FILES is unsafe to unshare (file descriptors would differ
        // between threads), and it is not among these.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }
            .expect("make a network of its own: run as root");
        run("mount", &["--make-rprivate", "/"]);
        run("ip", &["link", "set", "lo", "up"]);
        for addr in ["192.0.2.0/24", "198.51.100.0/24"] {
            run("ip", &["route", "add", "local", addr, "dev", "lo"]);
        }
        run(
            "ip",
            &["addr", "add", "2001:db8::53/64", "dev", "lo", "nodad"],
        );
        for name in ["hosts", "resolv.conf"] {
            self.replace(name, "");
        }
    }

    /// Puts a file over one in `/etc`.
    pub fn replace(&self, name: &str, text: &str) {
        self.write(name, text);
        let ours = self.folder.join(name);
        let etc = format!("/etc/{name}");
        run("mount", &["--bind", ours.to_str().unwrap(), &etc]);
    }

    /// Changes a file in `/etc`, or makes one of the name server's.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    /// NSD with these zones, answering.
    pub fn nsd(&self, zones: &[(&str, &str)]) -> Nsd {
        let folder = self.folder.display();
        let mut conf = format!(
            "server:\n ip-address: {NSD}\n ip-address: 2001:db8::53\n username: \"\"\n\
             chroot: \"\"\n database: \"\"\n zonesdir: \"{folder}\"\n pidfile: \"{folder}/nsd.pid\"\n\
             xfrdfile: \"{folder}/xfrd.state\"\n xfrdir: \"{folder}\"\n\
             zonelistfile: \"{folder}/zone.list\"\n logfile: \"{folder}/nsd.log\"\n\
             server-count: 1\nremote-control:\n control-enable: no\n"
        );
        for (n, (zone, records)) in zones.iter().enumerate() {
            conf += &format!("zone:\n name: \"{zone}\"\n zonefile: \"zone-{n}\"\n");
            let soa = "$TTL 3600\n@ SOA ns.example. admin.example. 1 3600 600 86400 300\n@ NS ns.example.\n";
            self.write(&format!("zone-{n}"), &format!("{soa}{records}"));
        }
        self.write("nsd.conf", &conf);
        let child = Command::new("nsd")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["-d", "-c"])
            .arg(self.folder.join("nsd.conf"))
            .stdin(Stdio::null())
            .spawn()
            .expect("start NSD: make deps-test installs it");
        let nsd = Nsd(child);
        let start = Instant::now();
        while TcpStream::connect((NSD, 53)).is_err() {
            let log = || fs::read_to_string(self.folder.join("nsd.log"));
            assert!(start.elapsed() < PATIENCE, "NSD is silent: {:?}", log());
            thread::sleep(Duration::from_millis(10));
        }
        nsd
    }
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status();
    let status = status.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program} {args:?}: {status}");
}

/// A running NSD, ended when dropped.
pub struct Nsd(Child);

impl Drop for Nsd {
    fn drop(&mut self) {
        // It has children of its own, which end with it if it can tell them.
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// A name server made of a function: what it is asked in, the datagrams it answers with out. Tells
/// the number before `.in-addr.arpa` (the last byte of the address) of every question, before the
/// answer goes out: whoever has the answer finds the question told. Ends with the process.
pub fn responder(
    addr: &str,
    mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> Receiver<u8> {
    let socket = UdpSocket::bind((addr, 53)).unwrap();
    let (reported, notified) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let question = &buffer[..length];
            let answers = answer(question);
            let _ = reported.send(first_label(question));
            for datagram in answers {
                // Whoever asked may have gone.
                let _ = socket.send_to(&datagram, from);
            }
        }
    });
    notified
}

/// The first label of a question, as a number.
pub fn first_label(question: &[u8]) -> u8 {
    let label = &question[13..13 + usize::from(question[12])];
    std::str::from_utf8(label).unwrap().parse().unwrap()
}

/// Passes a question on to NSD.
pub fn relay(question: &[u8]) -> Vec<Vec<u8>> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    socket.connect((NSD, 53)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(question).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    vec![buffer[..length].to_vec()]
}

/// The system's names, and a word when there is a new one.
pub struct Asker {
    pub names: Names,
    notified: Receiver<()>,
}

impl Asker {
    pub fn new() -> Self {
        let (reported, notified) = channel();
        let names = Names::system(move || _ = reported.send(())).unwrap();
        Self { names, notified }
    }

    pub fn now(&self, addr: &str) -> Option<String> {
        let name = self.names.get(addr.parse::<IpAddr>().unwrap());
        name.map(|name| name.to_string())
    }

    /// Waits until an address has a name.
    #[track_caller]
    pub fn name(&self, addr: &str) -> String {
        loop {
            if let Some(name) = self.now(addr) {
                return name;
            }
            let news = self.notified.recv_timeout(PATIENCE);
            assert!(news.is_ok(), "{addr} gets no name");
        }
    }
}

/// A TCP server and a client connected to it.
pub fn pair(server: SocketAddr) -> (TcpStream, TcpStream) {
    let listener = std::net::TcpListener::bind(server).unwrap();
    let client = TcpStream::connect(server).unwrap();
    let (accepted, _) = loop {
        match listener.accept() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => break other.unwrap(),
        }
    };
    (client, accepted)
}
