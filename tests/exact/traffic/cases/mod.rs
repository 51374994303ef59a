//! The cases: each a program that does one thing to its sockets, with the trap in it named.

use std::error::Error;
use std::fmt;
use std::io;

use anyhow::{Result, anyhow};
use serde_json::json;

use crate::{proc, sys, truth};

/// One case: what a program may do to a socket, and the trap in it for whoever counts.
pub struct Case {
    pub name: &'static str,
    pub trap: &'static str,
    run: fn() -> Result<()>,
}

/// The cases of a module, named after their functions.
macro_rules! cases {
    ($($trap:literal => $name:ident),* $(,)?) => {
        pub const CASES: &[crate::cases::Case] = &[$(crate::cases::Case {
            name: stringify!($name),
            trap: $trap,
            run: $name,
        }),*];
    };
}

macro_rules! rooms {
    ($($room:ident),* $(,)?) => {
        $(mod $room;)*
        /// Every case, in the order they run.
        pub fn all() -> impl Iterator<Item = &'static Case> {
            [$($room::CASES),*].into_iter().flatten()
        }
    };
}

pub use process::after_exec;

rooms!(
    tcp,
    tcp_stream,
    tcp_recv,
    tcp_odd,
    tcp_close,
    zerocopy,
    file,
    aio,
    udp,
    udp_peer,
    udp_batch,
    udp_odd,
    process,
    threads,
    cpus,
    netns,
    device,
    fastopen,
    uring,
    uring_modes,
    ktls,
    mptcp,
    families,
    nested,
    zones,
    dns,
    balancer,
    sockmap,
    scenarios,
    negative,
);

/// The kernel does not have what the case is about.
#[derive(Debug)]
pub struct OnMissing(pub String);

impl fmt::Display for OnMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for OnMissing {}

/// For `map_err`: the failure means that the kernel lacks `what`.
pub fn absent(what: &str) -> impl FnOnce(io::Error) -> anyhow::Error {
    let what = what.to_owned();
    move |err| OnMissing(format!("{what}: {err}")).into()
}

/// Tells the parent what became of a role, and gives its exit code.
pub fn report(result: Result<()>) -> i32 {
    let Err(err) = result else { return 0 };
    if let Some(OnMissing(why)) = err.downcast_ref() {
        truth::print_line(&json!({"type": "absent", "why": why}));
    } else {
        truth::print_line(&json!({"type": "error", "what": format!("{err:#}")}));
    }
    1
}

pub use scenarios::{CASES as SCENARIOS, FULL as FULL_SCENARIOS};

/// Runs one case as the whole work of this process.
pub fn run_here(name: &str, timeout: u32) -> Result<()> {
    let case = all()
        .find(|c| c.name == name)
        .ok_or_else(|| anyhow!("no case {name}"))?;
    sys::die_with_parent();
    sys::watchdog(Some(timeout));
    let code = report((case.run)());
    proc::leave(code);
}
