//! Machines, each a network namespace with a flowtop in it.

use super::{program, run, scrape, until, value};
use crate::common::flowtop_with;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// A process that is told to end when dropped.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// A network namespace, by its open file.
#[derive(Clone)]
pub struct Netns(Arc<File>);

impl Netns {
    /// Of the calling thread.
    pub fn current() -> Self {
        Self(Arc::new(File::open("/proc/thread-self/ns/net").unwrap()))
    }

    pub fn new() -> Self {
        let made = thread::spawn(|| {
            unshare_net();
            Self::current()
        });
        made.join().unwrap()
    }

    /// Runs something on a thread in it.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let act = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&*self.0), kind).unwrap();
            act()
        };
        thread::scope(|scope| scope.spawn(act).join().unwrap())
    }

    pub fn inode(&self) -> u64 {
        self.0.metadata().unwrap().ino()
    }

    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Makes a command run in it.
    pub fn around<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let netns = self.clone();
        let enter = move || {
            let kind = Some(LinkNameSpaceType::Network);
            Ok(move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&*netns.0),
                kind,
            )?)
        };
        // SAFETY: between fork and exec only a system call is made.
        unsafe { command.pre_exec(enter) }
    }
}

pub fn unshare_net() {
    // SAFETY: of the flags, only FILES is unsafe to unshare, and it is not among these.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("make a network: run as root");
}

pub fn ip(netns: &Netns, args: &str) {
    run(netns.around(program("ip").args(args.split(' '))));
}

/// A machine of the fleet, with a flowtop that counts what is in its namespace.
pub struct Host {
    pub netns: Netns,
    pub addr: SocketAddr,
    args: Vec<String>,
    flowtop: Option<Running>,
}

impl Host {
    pub fn new(hub: &Netns, n: usize, args: &[&str]) -> Self {
        let netns = Netns::new();
        let (link, addr) = (format!("host{n}"), format!("198.18.{n}.2:9435"));
        ip(
            hub,
            &format!(
                "link add {link} type veth peer name uplink netns {}",
                netns.path()
            ),
        );
        ip(hub, &format!("addr add 198.18.{n}.1/30 dev {link}"));
        ip(hub, &format!("link set {link} up"));
        ip(&netns, &format!("addr add 198.18.{n}.2/30 dev uplink"));
        ip(&netns, "link set uplink up");
        ip(&netns, "link set lo up");
        let mut host = Self {
            netns,
            addr: addr.parse().unwrap(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            flowtop: None,
        };
        host.restart();
        host
    }

    /// Starts flowtop, after the end of the last one.
    pub fn restart(&mut self) {
        drop(self.flowtop.take());
        let filter = format!("netns {}", self.netns.inode());
        let mut command = flowtop_with(&["--quiet", "-i", "100ms", "--max-flows", "1024"]);
        command
            .args(["--listen", "0.0.0.0:9435"])
            .args(&self.args)
            .arg(filter);
        self.flowtop = Some(Running::start(self.netns.around(&mut command)));
        until("flowtop counts", || {
            value(&scrape(self.addr)?, "flowtop_intervals_total")?
                .gt(&0.0)
                .then_some(())
        });
    }
}
