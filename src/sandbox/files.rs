//! Files and ports, by Landlock (landlock(7), from Linux 5.13).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::Allow;

/// The newest version whose restrictions are known here; of an older kernel those it has are taken.
const KNOWN: ABI = ABI::V10;
/// Where facts about processes come from for as long as flowtop runs.
const PROCESSES: &str = "/proc";
/// Where names come from: `hosts`, `resolv.conf`, `passwd` and `services` are replaced by renaming, so it
/// takes the folder.
const NAMES: &str = "/etc";
/// What the C library asks for the number of CPUs, where it sizes its arenas.
const CPUS: &str = "/sys/devices/system/cpu";
/// What may stand behind `/etc/resolv.conf` one day, as a link to somewhere else.
const RESOLVERS: [&str; 3] = [
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
];
/// Where ip-netns(8) names network namespaces. Names may be listed; no namespace can be opened by that.
const NAMESPACES: &str = "/run/netns";
/// The files of [`NAMES`], which may be links out of there.
const NAME_FILES: [&str; 4] = [
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/passwd",
    "/etc/services",
];
/// The terminal is asked for its size by this name.
const TERMINAL: &str = "/dev/tty";
/// Where name servers listen.
const DNS: u16 = 53;

/// Whether the kernel can restrict files at all.
pub(super) fn is_known() -> bool {
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    rules.handle_access(AccessFs::from_all(ABI::V1)).is_ok()
}

/// Restricts this thread; the version by which, or `None` where the kernel has none. Root also owns what
/// is secret in the folder of names, so of that it keeps the single files, as they are now.
pub(super) fn restrict(allow: &Allow, is_root: bool) -> Result<Option<i32>> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // A command is outside; seccomp says which process it is.
    let scope = match allow.signal {
        Some(_) => Scope::from_all(KNOWN) & !Scope::Signal,
        None => Scope::from_all(KNOWN),
    };
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(scope)?
        .create()?
        // Asking for the program of another's process is refused every time: no news for the log.
        .log_same_exec(false)?;
    if let Some(folders) = &allow.read_only {
        for folder in folders {
            rules = beneath(rules, folder, read)?;
        }
        return Ok(version(rules.restrict_self()?));
    }
    for folder in [PROCESSES, CPUS].iter().chain(&RESOLVERS) {
        rules = beneath(rules, Path::new(folder), read)?;
    }
    rules = beneath(rules, Path::new(NAMESPACES), AccessFs::ReadDir.into())?;
    match is_root {
        true => {
            for file in NAME_FILES.map(Path::new) {
                rules = beneath(rules, file, AccessFs::ReadFile.into())?;
            }
        }
        false => {
            let linked = NAME_FILES.iter().filter_map(|file| parent_of_target(file));
            for folder in linked.chain([PathBuf::from(NAMES)]) {
                rules = beneath(rules, &folder, read)?;
            }
        }
    }
    let terminal = AccessFs::ReadFile | AccessFs::IoctlDev;
    rules = beneath(rules, Path::new(TERMINAL), terminal)?;
    for folder in &allow.write {
        rules = beneath(rules, folder, written())?;
    }
    if let Some(folder) = &allow.link {
        // No file there can be written or removed by that.
        rules = beneath(rules, folder, AccessFs::MakeReg.into())?;
    }
    if allow.names {
        let ask = AccessNet::ConnectTcp | AccessNet::ConnectSendUdp;
        rules = rules
            .add_rule(NetPort::new(DNS, ask))?
            // A port that the kernel chooses.
            .add_rule(NetPort::new(0, AccessNet::BindUdp))?;
    }
    let status = rules.restrict_self()?;
    Ok(version(status))
}

/// Files may be made, written, renamed and removed: what a recording and its rotation do.
fn written() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::Refer
}

/// What is not there needs no permission.
fn beneath(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated> {
    match PathFd::new(path) {
        Ok(opened) => Ok(rules.add_rule(PathBeneath::new(opened, access))?),
        Err(_) => Ok(rules),
    }
}

fn parent_of_target(file: &str) -> Option<PathBuf> {
    let target = fs::canonicalize(file).ok()?;
    target.parent().map(Path::to_owned)
}

fn version(status: RestrictionStatus) -> Option<i32> {
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => None,
        (
            _,
            LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            },
        ) => Some(kernel_abi.unwrap_or(effective_abi as i32)),
        _ => None,
    }
}
