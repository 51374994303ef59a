//! Where a process runs, by the path of its cgroup: a container, a pod, a batch job, a systemd unit, a unit of a
//! user's service manager. Pure.

mod parse;
#[cfg(test)]
mod tests;
mod unit_name;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::model::container::ContainerLabels;

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
    /// Whether files have names for its containers; those of the others are known by their name anyway.
    pub const fn has_files(self) -> bool {
        !matches!(
            self,
            Self::Lxc | Self::Machine | Self::Slurm | Self::Pbs | Self::Lsf
        )
    }

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
    pub labels: LabelSet,
}

/// What files call the container or pod. It tells nothing from anything: two locations are the same whatever they are
/// called, and a container that is renamed stays the same row.
#[derive(Clone, Debug, Default)]
pub struct LabelSet(pub Option<Arc<ContainerLabels>>);

impl PartialEq for LabelSet {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for LabelSet {}

impl Hash for LabelSet {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl PartialOrd for LabelSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LabelSet {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
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
    /// The pod and whom it is below of; `None` outside of a pod.
    pub pod: Option<Arc<CgroupLocation>>,
    /// Names of what the container belongs to.
    pub namespace: ContainerMembership,
    pub compose: ContainerMembership,
    pub job: ContainerMembership,
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
        let pod = CgroupLocation {
            container: None,
            job: None,
            ..container.clone()
        };
        let repeating = location.unit_group.as_deref().map(Arc::from);
        Self {
            name: (!location.is_empty()).then(|| Arc::from(location.to_string())),
            container: (!container.is_empty()).then(|| Arc::new(container)),
            pod: pod.pod.is_some().then(|| Arc::new(pod)),
            namespace: location.namespace(),
            compose: location.compose(),
            job: location.job_name(),
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

    /// With what files call it.
    #[must_use]
    pub fn labelled(self, labels: Option<&Arc<ContainerLabels>>) -> Self {
        let labels = LabelSet(labels.map(Arc::clone));
        Self { labels, ..self }
    }

    /// The labels, if anything is known.
    pub fn labels(&self) -> Option<&ContainerLabels> {
        self.labels.0.as_deref()
    }

    /// The Kubernetes namespace of the pod.
    pub fn namespace(&self) -> ContainerMembership {
        let Some(_) = &self.pod else {
            return ContainerMembership::None;
        };
        let namespace = self.labels().and_then(|labels| labels.namespace.as_deref());
        namespace.map_or(ContainerMembership::Unknown, |namespace| {
            self.of_delegate(namespace)
        })
    }

    /// The service of a compose project, as in `shop/web`. Docker alone keeps it in a file.
    pub fn compose(&self) -> ContainerMembership {
        let Some(container) = &self.container else {
            return ContainerMembership::None;
        };
        let labels = self.labels();
        match labels.and_then(|labels| labels.compose_name()) {
            Some(name) => self.of_delegate(&name),
            None if container.runtime == Runtime::Docker && labels.is_some() => {
                ContainerMembership::None
            }
            None if self.job.as_ref() == Some(container) => ContainerMembership::None,
            None => ContainerMembership::Unknown,
        }
    }

    /// The batch job, as in `slurm:123`.
    pub fn job_name(&self) -> ContainerMembership {
        let job = self.job.as_ref();
        job.map_or(ContainerMembership::None, |job| match &self.delegate {
            // Around it is nothing but the system.
            Delegate::Container(outer) if outer == job => {
                ContainerMembership::Of(job.to_string().into())
            }
            _ => self.of_delegate(&job.to_string()),
        })
    }

    /// A name that belongs to whom the cgroup was delegated to.
    fn of_delegate(&self, name: &str) -> ContainerMembership {
        ContainerMembership::Of(format!("{name}{}", self.delegate).into())
    }

    /// What files call the container, or the pod where the path names only that.
    pub fn label_name(&self) -> Option<String> {
        let labels = self.labels()?;
        let name = labels.name.as_deref().filter(|_| self.container.is_some());
        match (labels.pod_name(), name, &self.container) {
            (Some(pod), Some(name), _) if self.pod.is_some() => Some(format!("{pod}/{name}")),
            (Some(pod), None, _) if self.pod.is_some() => Some(pod),
            (_, Some(name), Some(container)) => {
                Some(format!("{}:{name}", container.runtime.as_str()))
            }
            _ => None,
        }
    }

    /// Container or pod by its id in short, without whom it is below of.
    pub fn short_id(&self) -> Option<String> {
        if let Some(container) = &self.container {
            return Some(container.to_string());
        }
        let pod = self.pod.as_deref()?;
        let is_uuid = is_long_hex(&pod.replace('-', ""));
        let short = pod.get(..SHORT_POD).filter(|_| is_uuid);
        Some(format!("pod:{}", short.unwrap_or(pod)))
    }
}

/// As people know it: by its name, where a file has one, else by its id. `docker:web`, `docker:0123456789ab`,
/// `docker:0123456789ab of uid 1000`, `shop/web-0/nginx`, `nginx.service`.
impl fmt::Display for CgroupLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label_name().or_else(|| self.short_id()) {
            Some(name) => write!(f, "{name}{}", self.delegate),
            None => f.write_str(self.unit.as_deref().unwrap_or_default()),
        }
    }
}

/// As it follows a name.
impl fmt::Display for Delegate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => Ok(()),
            Self::User(uid) => write!(f, " of uid {uid}"),
            Self::Container(outer) => write!(f, " in {outer}"),
            Self::Unknown => f.write_str(" of …"),
        }
    }
}

/// What a container belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ContainerMembership {
    /// To nothing of the kind.
    #[default]
    None,
    Of(Arc<str>),
    /// No file says it, or not yet.
    Unknown,
}

impl ContainerMembership {
    /// The name, if it is known.
    pub fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Of(name) => Some(name),
            Self::None | Self::Unknown => None,
        }
    }
}
