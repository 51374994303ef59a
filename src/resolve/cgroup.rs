//! Derives from a cgroup path where a process runs: a container, a pod, a batch job, a systemd
//! unit, a unit of a user's service manager. Pure.

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

/// Hexadecimal digits of a container's id that text shows.
const SHORT_ID: usize = 12;
/// Characters of a pod's id that text shows: the first group of a UUID.
const SHORT_POD: usize = 8;
/// Shorter ids are shown in full, and are not matched by their beginning.
const MIN_LONG_ID: usize = 32;

/// The engine or batch system that runs a container.
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
    /// A container of a pod; the path does not contain its runtime.
    Kubernetes,
    /// A job of Slurm, with all its steps and tasks.
    Slurm,
    /// A job of OpenPBS or PBS Professional.
    Pbs,
    /// A job of IBM Spectrum LSF.
    Lsf,
    /// A container known by its id; the path does not contain its runtime.
    Unknown,
}

impl Runtime {
    /// Whether files have names for its containers; the path names those of the others.
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
    /// The innermost container, or a batch job that is in no container.
    pub container: Option<Container>,
    /// Unique id of the Kubernetes pod, with dashes.
    pub pod: Option<String>,
    /// The systemd unit on the host: a service or scope, else a slice. Below a user's service
    /// manager it is the unit of that manager.
    pub unit: Option<String>,
    /// The unit within the user's service manager.
    pub user_unit: Option<String>,
    /// The user or container that the cgroup was delegated to, and that may have chosen all names
    /// below.
    pub delegate: Delegate,
    /// The batch job, also if it is around a container.
    pub job: Option<Container>,
    /// The step of the job, as Slurm names it: a number, `batch` or `extern`.
    pub job_step: Option<String>,
    /// The repeating part of the unit's name if the name itself never repeats: `session-3.scope`
    /// belongs to `user-1000.slice`.
    pub unit_group: Option<String>,
    pub labels: LabelSet,
}

/// Names of the container or pod by files. They are no part of the identity: two locations are
/// equal whatever their names, and a renamed container keeps its row.
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

/// The one who chose a name in a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Delegate {
    /// Root, or an engine that root runs.
    #[default]
    System,
    /// The user with this id: the name is below the user's service manager.
    User(u32),
    /// A container or job: the name is below it.
    Container(Container),
    /// Unknown, because the part of the path next to the root is unknown.
    Unknown,
}

/// The location by each grouping of rows, for sharing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedLocation {
    /// The title for people; `None` if nothing is known.
    pub name: Option<Arc<str>>,
    /// Container, pod and the one whom they were delegated to; `None` outside of a container and a
    /// pod.
    pub container: Option<Arc<CgroupLocation>>,
    /// The pod and the one whom it was delegated to; `None` outside of a pod.
    pub pod: Option<Arc<CgroupLocation>>,
    /// Names of what the container belongs to.
    pub namespace: ContainerMembership,
    pub compose: ContainerMembership,
    pub job: ContainerMembership,
    /// The systemd unit, if it is in one.
    pub unit: Option<Arc<str>>,
    /// The systemd unit by the repeating part of its name.
    pub unit_group: Option<Arc<str>>,
    /// The location with everything that is known of it.
    pub whole: Arc<CgroupLocation>,
}

impl From<&CgroupLocation> for SharedLocation {
    fn from(location: &CgroupLocation) -> Self {
        let container = CgroupLocation {
            unit: None,
            user_unit: None,
            unit_group: None,
            // All steps of a job are one row.
            job_step: None,
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
    /// The full id, in the form that the runtime writes, or the name if the runtime has no other
    /// id.
    pub id: String,
}

impl Container {
    /// Whether the beginning of the id identifies it: it is long and hexadecimal.
    pub fn has_long_id(&self) -> bool {
        is_long_hex(&self.id)
    }
}

fn is_long_hex(id: &str) -> bool {
    id.len() >= MIN_LONG_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the short form, as in `docker:0123456789ab`. An id is shortened only if its beginning
/// identifies it.
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
    /// Whether nothing is known: the root cgroup, or one without a known name.
    pub const fn is_empty(&self) -> bool {
        self.container.is_none() && self.pod.is_none() && self.unit.is_none()
    }

    /// Returns the location with names from files.
    #[must_use]
    pub fn labelled(self, labels: Option<&Arc<ContainerLabels>>) -> Self {
        let labels = LabelSet(labels.map(Arc::clone));
        Self { labels, ..self }
    }

    /// Returns the names from files, if any is known.
    pub fn labels(&self) -> Option<&ContainerLabels> {
        self.labels.0.as_deref()
    }

    /// Returns the Kubernetes namespace of the pod.
    pub fn namespace(&self) -> ContainerMembership {
        let Some(_) = &self.pod else {
            return ContainerMembership::None;
        };
        let namespace = self.labels().and_then(|labels| labels.namespace.as_deref());
        namespace.map_or(ContainerMembership::Unknown, |namespace| {
            self.of_delegate(namespace)
        })
    }

    /// Returns the service of a compose project, as in `shop/web`. Only Docker keeps it in a file.
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

    /// Returns the batch job, as in `slurm:123`.
    pub fn job_name(&self) -> ContainerMembership {
        let job = self.job.as_ref();
        job.map_or(ContainerMembership::None, |job| match &self.delegate {
            // Only the system is around the batch job.
            Delegate::Container(outer) if outer == job => {
                ContainerMembership::Of(job.to_string().into())
            }
            _ => self.of_delegate(&job.to_string()),
        })
    }

    /// Job and step as Slurm writes them, as in `123.0` or `123.batch`.
    pub fn job_step_name(&self) -> Option<String> {
        let (job, step) = (self.job.as_ref()?, self.job_step.as_ref()?);
        Some(format!("{}.{step}", job.id))
    }

    /// Returns a name that belongs to the one whom the cgroup was delegated to.
    fn of_delegate(&self, name: &str) -> ContainerMembership {
        ContainerMembership::Of(format!("{name}{}", self.delegate).into())
    }

    /// Returns the name from files of the container, or of the pod if the path names only the pod.
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

    /// Returns container or pod by its short id, without the one whom it was delegated to.
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

/// Formats the location for people: by name if a file has one, else by id. `docker:web`,
/// `docker:0123456789ab`, `docker:0123456789ab of uid 1000`, `shop/web-0/nginx`, `nginx.service`.
impl fmt::Display for CgroupLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label_name().or_else(|| self.short_id()) {
            Some(name) => write!(f, "{name}{}", self.delegate),
            None => f.write_str(self.unit.as_deref().unwrap_or_default()),
        }
    }
}

/// Formats the owner after a name.
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

/// The pod, namespace, service or job of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ContainerMembership {
    /// The container belongs to nothing of the kind.
    #[default]
    None,
    Of(Arc<str>),
    /// No file names it, or no file has been read yet.
    Unknown,
}

impl ContainerMembership {
    /// Returns the name if it is known.
    pub fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Of(name) => Some(name),
            Self::None | Self::Unknown => None,
        }
    }
}
