//! Finds the processes of a filter's `tree` that exist at the start. The programs follow later ones
//! (`bpf/tree.bpf.h`).

use std::collections::{HashMap, HashSet};
use std::fs;

use anyhow::{Context, Result, bail};
use libbpf_rs::{MapCore as _, MapFlags};

use super::skel::FlowtopSkel;

/// Maximum number of live processes of all trees. Further ones are counted as missed events.
pub const MAX_PROCESSES: u32 = 32_768;
/// Maximum number of readings of `/proc` until one finds no further process. Each but the last
/// finds a process whose parent was entered too late to enter it, so more are needed only if
/// processes are started faster than `/proc` is read.
const MAX_READINGS: usize = 64;

/// Returns the bits of the roots that are among `selected`.
pub fn bits(roots: &[u32], selected: &[u32]) -> u32 {
    let bits = roots.iter().enumerate();
    let bits = bits.filter(|(_, root)| selected.contains(root));
    bits.fold(0, |all, (bit, _)| all | 1 << bit)
}

/// Enters the roots and the processes that descend from them now. The programs follow forks
/// already, so they enter every process that an entered one starts.
///
/// A process whose parent ended before this is not known as a descendant.
///
/// # Errors
/// When `/proc` cannot be read, or there are too many.
pub fn enter(skel: &FlowtopSkel<'_>, roots: &[u32]) -> Result<()> {
    if roots.is_empty() {
        return Ok(());
    }
    let mut entered = HashMap::new();
    for _ in 0..MAX_READINGS {
        let parents = parents()?;
        let mut is_new = false;
        for (&pid, &found) in &descendants(roots, &parents) {
            if entered.insert(pid, found) != Some(found) {
                is_new = true;
                enter_one(skel, pid, found)?;
            }
        }
        if !is_new {
            return Ok(());
        }
    }
    bail!(
        "the processes of the tree start others faster than /proc can be read: name a root with fewer"
    )
}

fn enter_one(skel: &FlowtopSkel<'_>, pid: u32, bits: u32) -> Result<()> {
    let (key, value) = (pid.to_ne_bytes(), bits.to_ne_bytes());
    let entered = skel.maps.trees.update(&key, &value, MapFlags::ANY);
    entered.with_context(|| format!("enter one of at most {MAX_PROCESSES} processes"))
}

/// Returns the parent of each process, in this pid namespace.
fn parents() -> Result<HashMap<u32, u32>> {
    let entries = fs::read_dir("/proc").context("read /proc")?;
    let parent_of = |pid: u32| parent_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids
        .filter_map(|pid| Some((pid, parent_of(pid)?)))
        .collect())
}

/// Returns the fourth field of `/proc/PID/stat`. The second field, the name, is in parentheses and
/// may contain parentheses and spaces.
fn parent_in(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the processes at and below the roots, each with the bits of its roots.
fn descendants(roots: &[u32], parents: &HashMap<u32, u32>) -> HashMap<u32, u32> {
    let mut found = HashMap::new();
    let pids: HashSet<u32> = parents
        .keys()
        .copied()
        .chain(roots.iter().copied())
        .collect();
    for pid in pids {
        let mut bits = 0;
        let mut ancestor = Some(pid);
        // Bounded by the number of processes: a pid may be used again while /proc is read.
        for _ in 0..=parents.len() {
            let Some(id) = ancestor else { break };
            bits |= self::bits(roots, &[id]);
            ancestor = parents.get(&id).copied();
        }
        if bits != 0 {
            found.insert(pid, bits);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_have_the_bits_of_all_roots_above_them() {
        let parents = HashMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 99)]);
        let found = descendants(&[2, 3], &parents);
        assert_eq!(found, HashMap::from([(2, 1), (3, 3), (4, 3)]));
        // A root that does not exist still takes an entry.
        assert_eq!(descendants(&[42], &parents), HashMap::from([(42, 1)]));
        // Two readings of /proc can form a circle.
        let circle = HashMap::from([(2, 3), (3, 2)]);
        assert_eq!(descendants(&[2], &circle).len(), 2);
    }

    #[test]
    fn a_parent_is_read_whatever_the_name_holds() {
        assert_eq!(parent_in("7 (a) b) S 5 7 7"), Some(5));
        assert_eq!(parent_in("7 (a"), None);
    }
}
