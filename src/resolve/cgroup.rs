//! Where a process runs, by the path of its cgroup: a container, a pod, a batch job, a systemd unit, a unit of a
//! user's service manager. Pure.

mod parse;
#[cfg(test)]
mod tests;
mod unit_name;

use std::fmt;
use std::sync::Arc;

pub use self::parse::{parse_path, path_of};

/// Hexadecimal digits of an id that text shows.
const SHORT_ID: usize = 12;
/// The same of a pod's id: the first group of a UUID.
const SHORT_POD: usize = 8;
/// Ids shorter than this are shown in full, and are not meant by their beginning.
const MIN_LONG_ID: usize = 32;

/// What put a container there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Runtime {
    /// Docker, and dockershim of old Kubernetes.
    Docker,
    Podman,
    /// containerd, by its CRI plugin, nerdctl or ctr.
    Containerd,
    Crio,
    /// LXC, LXD and Incus.
    Lxc,
    /// systemd-nspawn and virtual machines that systemd knows.
    Machine,
    /// A container of a pod whose runtime the path does not tell.
    Kubernetes,
    /// A job of Slurm, with all its steps and tasks.
    Slurm,
    /// A job of OpenPBS or PBS Professional.
    Pbs,
    /// A job of IBM Spectrum LSF.
    Lsf,
    /// A container by its id, of a runtime that the path does not tell.
    Unknown,
}

impl Runtime {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::Crio => "cri-o",
            Self::Lxc => "lxc",
            Self::Machine => "machine",
            Self::Kubernetes => "kubernetes",
            Self::Slurm => "slurm",
            Self::Pbs => "pbs",
            Self::Lsf => "lsf",
            Self::Unknown => "container",
        }
    }
}

/// Where a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupLocation {
    /// The innermost container, or the batch job outside of any container.
    pub container: Option<Container>,
    /// Unique id of the Kubernetes pod, with dashes.
    pub pod: Option<String>,
    /// The systemd unit on the host: a service, scope or, for lack of one, a slice. Below a user's service manager
    /// it is the unit of that.
    pub unit: Option<String>,
    /// What the user's service manager calls its own unit.
    pub user_unit: Option<String>,
    /// Whom the cgroup was delegated to, and who may have chosen all names from there on.
    pub delegate: Delegate,
    /// The batch job, also around a container.
    pub job: Option<Container>,
    /// The unit by what repeats, where `unit` never does: `session-3.scope` is of `user-1000.slice`.
    pub unit_group: Option<String>,
}

/// Who chose a name that stands in a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Delegate {
    /// Root, or an engine that root runs.
    #[default]
    System,
    /// The user with this number: the name is below the user's service manager.
    User(u32),
    /// A container or job: the name is below it.
    Container(Container),
    /// Not known, because the part of the path that is nearest to the root is not.
    Unknown,
}

/// What a path says, divided by what rows can be grouped by, for sharing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedLocation {
    /// As people know it; `None` where nothing is known.
    pub name: Option<Arc<str>>,
    /// Container, pod and whom these are below of; `None` outside of a container and a pod.
    pub container: Option<Arc<CgroupLocation>>,
    /// The systemd unit, if it is in one.
    pub unit: Option<Arc<str>>,
    /// The systemd unit by what repeats.
    pub unit_group: Option<Arc<str>>,
    /// Everything that the path says.
    pub whole: Arc<CgroupLocation>,
}

impl From<&CgroupLocation> for SharedLocation {
    fn from(location: &CgroupLocation) -> Self {
        let container = CgroupLocation {
            unit: None,
            user_unit: None,
            unit_group: None,
            ..location.clone()
        };
        let unit: Option<Arc<str>> = location.unit.as_deref().map(Arc::from);
        let repeating = location.unit_group.as_deref().map(Arc::from);
        Self {
            name: (!location.is_empty()).then(|| Arc::from(location.to_string())),
            container: (!container.is_empty()).then(|| Arc::new(container)),
            unit_group: repeating.or_else(|| unit.clone()),
            unit,
            whole: Arc::new(location.clone()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Container {
    pub runtime: Runtime,
    /// The full id, in whatever form the runtime writes it, or the name where the runtime has no other id.
    pub id: String,
}

impl Container {
    /// Whether the id is known by its beginning: long and hexadecimal.
    pub fn has_long_id(&self) -> bool {
        is_long_hex(&self.id)
    }
}

fn is_long_hex(id: &str) -> bool {
    id.len() >= MIN_LONG_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// As in `docker:0123456789ab`. An id is shortened only if its beginning means it.
impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = match self.has_long_id() {
            true => self.id.get(..SHORT_ID).unwrap_or(&self.id),
            false => &self.id,
        };
        write!(f, "{}:{id}", self.runtime.as_str())
    }
}

impl CgroupLocation {
    /// Whether nothing is known: the root cgroup, or one nobody named.
    pub const fn is_empty(&self) -> bool {
        self.container.is_none() && self.pod.is_none() && self.unit.is_none()
    }

    /// Container or pod in short, without whom it is below of.
    pub fn short_name(&self) -> Option<String> {
        if let Some(container) = &self.container {
            return Some(container.to_string());
        }
        let pod = self.pod.as_deref()?;
        let is_uuid = is_long_hex(&pod.replace('-', ""));
        let short = pod.get(..SHORT_POD).filter(|_| is_uuid);
        Some(format!("pod:{}", short.unwrap_or(pod)))
    }
}

/// As people know it: `docker:0123456789ab`, `docker:0123456789ab of uid 1000`, `nginx.service`.
impl fmt::Display for CgroupLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = self.short_name() else {
            return f.write_str(self.unit.as_deref().unwrap_or_default());
        };
        f.write_str(&name)?;
        match &self.delegate {
            Delegate::System => Ok(()),
            Delegate::User(uid) => write!(f, " of uid {uid}"),
            Delegate::Container(outer) => write!(f, " in {outer}"),
            Delegate::Unknown => f.write_str(" of …"),
        }
    }
}
