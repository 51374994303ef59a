//! What the kernel's maps of a running flowtop take. flowtop itself holds descriptors of few of them:
//! its programs keep the others.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};
use libbpf_rs::{MapCore, MapHandle};

#[derive(clap::Args)]
pub struct Args {
    /// Process id of flowtop
    pid: u32,
}

/// Prints the entries of a flow map, and the bytes (`memlock` of fdinfo) of all flow maps and of all
/// maps. Memory that a hash map gets as it is filled is not among them.
pub fn run(args: &Args) -> Result<()> {
    let programs = programs(args.pid)?;
    ensure!(!programs.is_empty(), "{} has no BPF programs", args.pid);
    let maps: BTreeSet<u32> =
        ProgInfoIter::with_query_opts(ProgInfoQueryOptions::default().include_map_ids(true))
            .filter(|program| programs.contains(&program.id))
            .flat_map(|program| program.map_ids)
            .collect();
    let (mut entries, mut of_flows, mut all) = (0, 0, 0);
    for id in maps {
        let map = MapHandle::from_map_id(id)?;
        let memory = memory(&map)?;
        all += memory;
        if map.name().to_string_lossy().starts_with("flows") {
            entries = map.max_entries();
            of_flows += memory;
        }
    }
    println!("{{\"entries\":{entries},\"flow_maps\":{of_flows},\"all\":{all}}}");
    Ok(())
}

/// Ids of the programs that a process keeps, by themselves or by the links that attach them.
fn programs(pid: u32) -> Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    for file in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed by now.
        let info = fs::read_to_string(file?.path()).unwrap_or_default();
        ids.extend(field::<u32>(&info, "prog_id:"));
    }
    Ok(ids)
}

fn memory(map: &MapHandle) -> Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", map.as_fd().as_raw_fd());
    field(&fs::read_to_string(path)?, "memlock:").context("no memlock in fdinfo")
}

fn field<T: FromStr>(info: &str, name: &str) -> Option<T> {
    let line = info.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}
