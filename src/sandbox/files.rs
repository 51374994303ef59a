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

/// The newest version of Landlock whose restrictions flowtop knows; an older kernel applies those
/// it has.
const KNOWN: ABI = ABI::V10;
/// The source of facts about processes while flowtop runs.
const PROCESSES: &str = "/proc";
/// The folder of `hosts`, `resolv.conf`, `passwd` and `services`. Programs replace these files by
/// renaming, so access to the folder is needed.
const NAMES: &str = "/etc";
/// The file in which the C library reads the number of CPUs to size its arenas.
const CPUS: &str = "/sys/devices/system/cpu";
/// Folders that `/etc/resolv.conf` may later link to.
const RESOLVERS: [&str; 3] = [
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
];
/// The folder in which ip-netns(8) names network namespaces. flowtop may list names there, but
/// opens no namespace.
const NAMESPACES: &str = "/run/netns";
/// The files of [`NAMES`], which may be links to other folders.
const NAME_FILES: [&str; 4] = [
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/passwd",
    "/etc/services",
];
/// The path by which the size of the terminal is requested.
const TERMINAL: &str = "/dev/tty";
/// The port of name servers.
const DNS: u16 = 53;

/// Whether the kernel has Landlock.
pub(super) fn is_known() -> bool {
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    rules.handle_access(AccessFs::from_all(ABI::V1)).is_ok()
}

/// Restricts this thread. Returns the version of Landlock, or `None` if the kernel has none. Root
/// owns secrets in the folder of names, so as root flowtop keeps only the single files that exist
/// now.
pub(super) fn restrict(allow: &Allow, is_root: bool) -> Result<Option<i32>> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // The command of `flowtop run` is outside this domain; seccomp decides which process may be
    // signalled.
    let scope = match allow.signal {
        Some(_) => Scope::from_all(KNOWN) & !Scope::Signal,
        None => Scope::from_all(KNOWN),
    };
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(scope)?
        .create()?
        // Asking for the program of another user's process is refused every time, so the audit log
        // stays quiet.
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
        // This access allows neither writing nor removing a file there.
        rules = beneath(rules, folder, AccessFs::MakeReg.into())?;
    }
    if allow.names {
        let query = AccessNet::ConnectTcp | AccessNet::ConnectSendUdp;
        rules = rules
            .add_rule(NetPort::new(DNS, query))?
            // A port that the kernel chooses.
            .add_rule(NetPort::new(0, AccessNet::BindUdp))?;
    }
    let status = rules.restrict_self()?;
    Ok(version(status))
}

/// Files may be created, written, renamed and removed, as recording and rotation do.
fn written() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
        | AccessFs::Refer
}

/// A path that does not exist needs no rule.
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
