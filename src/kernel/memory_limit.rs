//! The memory that the maps may take: bounded by the available memory, and by the limits of this
//! process's cgroups, to which maps are charged from Linux 5.11 on.

use std::fs;
use std::path::{Path, PathBuf};

use crate::system::mounts;

/// The tightest limit of memory for this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemoryLimit {
    pub bytes: u64,
    /// The limit and its file, as part of a sentence.
    pub whose: String,
}

/// Returns the tightest limit of memory of the own cgroups and their ancestors, if there is one.
pub(super) fn of_cgroups() -> Option<MemoryLimit> {
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let folders = folders(&cgroups, &mounts::text());
    folders
        .iter()
        .filter_map(|(folder, is_v2)| room(folder, *is_v2))
        .min_by_key(|room| room.bytes)
}

/// Returns the cgroups that limit memory, from the own one to the root, and whether each is of v2.
fn folders(cgroups: &str, mounts: &str) -> Vec<(PathBuf, bool)> {
    let mut found = Vec::new();
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let is_v2 = controllers.is_empty();
        if !is_v2 && !controllers.split(',').any(|one| one == "memory") {
            continue;
        }
        let mount = mounts::mounts(mounts).find(|mount| match is_v2 {
            true => mount.kind == "cgroup2",
            false => mount.kind == "cgroup" && mount.options().any(|one| one == "memory"),
        });
        let Some(mount) = mount.map(|mount| Path::new(mount.path)) else {
            continue;
        };
        let own = mount.join(path.trim_start_matches('/'));
        let above = own
            .ancestors()
            .take_while(|folder| folder.starts_with(mount));
        found.extend(above.map(|folder| (folder.to_owned(), is_v2)));
    }
    found
}

fn room(folder: &Path, is_v2: bool) -> Option<MemoryLimit> {
    let (limit, usage) = match is_v2 {
        true => ("memory.max", "memory.current"),
        false => ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    };
    let number = |name: &str| -> Option<u64> {
        let text = fs::read_to_string(folder.join(name)).ok()?;
        text.trim().parse().ok()
    };
    // Without a limit, v2 has "max" and v1 a number larger than any machine.
    let most = number(limit).filter(|&limit| limit < 1 << 60)?;
    let file = folder.join(limit);
    Some(MemoryLimit {
        bytes: most.saturating_sub(number(usage).unwrap_or(0)),
        whose: format!("the limit of the cgroup ({})", file.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_and_all_above_it_are_looked_at() {
        let mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        let found = folders("0::/a/b\n", mounts);
        let paths: Vec<_> = found
            .iter()
            .map(|(path, _)| path.to_str().unwrap())
            .collect();
        let expected = ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"];
        assert_eq!(paths, expected);
        let hybrid = "cgroup /c/memory cgroup rw,memory 0 0\ncgroup2 /c/unified cgroup2 rw 0 0\n";
        let found = folders("5:memory:/x\n4:cpu:/x\n0::/\n", hybrid);
        assert_eq!(found[0], ("/c/memory/x".into(), false));
        assert_eq!(found.last(), Some(&("/c/unified".into(), true)));
        assert_eq!(folders("", ""), []);
    }
}
