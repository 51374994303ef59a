//! Turns the cgroup path of a process into where it runs: a container of Docker, Podman, containerd,
//! CRI-O or LXC, a machine of systemd, a pod of Kubernetes, or a systemd unit. Pure.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

/// What put a container there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Runtime {
    /// Docker, and dockershim of old Kubernetes.
    Docker,
    Podman,
    /// containerd, by its CRI plugin or nerdctl.
    Containerd,
    Crio,
    /// LXC, LXD and Incus.
    Lxc,
    /// systemd-nspawn and virtual machines that systemd knows.
    Machine,
    /// A container of a pod whose runtime the path does not tell.
    Kubernetes,
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
            Self::Unknown => "container",
        }
    }
}

/// Where a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupLocation {
    /// The innermost container, if it is in one.
    pub container: Option<Container>,
    /// Unique id of the Kubernetes pod, with dashes.
    pub pod: Option<String>,
    /// The systemd unit on the host: a service, scope or, for lack of one, a slice.
    pub unit: Option<String>,
}

/// The same, divided by what rows can be grouped by, for sharing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedLocation {
    /// As people know it; `None` where nothing is known.
    pub name: Option<Arc<str>>,
    /// Container and pod alone; `None` outside of both.
    pub container: Option<Arc<CgroupLocation>>,
    /// The systemd unit, if it is in one.
    pub unit: Option<Arc<str>>,
}

impl From<&CgroupLocation> for SharedLocation {
    fn from(location: &CgroupLocation) -> Self {
        let container = CgroupLocation {
            unit: None,
            ..location.clone()
        };
        Self {
            name: (!location.is_empty()).then(|| Arc::from(location.to_string())),
            container: (!container.is_empty()).then(|| Arc::new(container)),
            unit: location.unit.as_deref().map(Arc::from),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Container {
    pub runtime: Runtime,
    /// The full id (64 hexadecimal digits), or the name for LXC and machines.
    pub id: String,
}

impl CgroupLocation {
    /// Whether nothing is known: the root cgroup, or one nobody named.
    pub const fn is_empty(&self) -> bool {
        self.container.is_none() && self.pod.is_none() && self.unit.is_none()
    }
}

/// As people know it: `docker:0123456789ab`, `nginx.service`.
impl fmt::Display for CgroupLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(container) = &self.container {
            let id = match container.runtime {
                Runtime::Lxc | Runtime::Machine => container.id.as_str(),
                _ => container.id.get(..12).unwrap_or(&container.id),
            };
            write!(f, "{}:{id}", container.runtime.as_str())
        } else if let Some(pod) = &self.pod {
            write!(f, "pod:{}", pod.get(..8).unwrap_or(pod))
        } else {
            f.write_str(self.unit.as_deref().unwrap_or_default())
        }
    }
}

/// The path that tells most in a `/proc/PID/cgroup`: that of cgroup v2, or on v1 and hybrid hosts
/// that of systemd, else of any controller.
pub fn path_of(cgroup: &str) -> Option<&str> {
    let mut best: Option<(u8, &str)> = None;
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let rank = match controllers {
            _ if path == "/" => 0,
            "" => 3,
            "name=systemd" => 2,
            _ => 1,
        };
        if best.is_none_or(|(least, _)| rank > least) {
            best = Some((rank, path));
        }
    }
    best.map(|(_, path)| path)
}

/// Reads a cgroup path.
pub fn parse_path(path: &str) -> CgroupLocation {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let mut location = CgroupLocation::default();
    let mut slice = None;
    let mut before = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let part = unescape(part);
        // A systemd-style name that the runtime used as it is: slice:runtime:id.
        let (head, tail) = match part.split_once(':') {
            Some((head, tail)) => (head, Some(tail.replace(':', "-"))),
            None => (part.as_str(), None),
        };
        if let Some(pod) = pod(head) {
            location.pod = Some(pod);
            location.container = None;
        }
        let name = tail.as_deref().unwrap_or(head);
        let in_pod = location.pod.is_some();
        if let Some(container) = container(name, &before, in_pod) {
            location.container = Some(container);
        } else if location.container.is_none() {
            // What is inside of a container says nothing about the host's units.
            if is_named(head, ".service") || is_named(head, ".scope") {
                location.unit = Some(head.to_owned());
            } else if is_named(head, ".slice") && !in_pod {
                slice = Some(head.to_owned());
            }
        }
        before = head.to_owned();
    }
    if location.unit.is_none() && location.container.is_none() && location.pod.is_none() {
        location.unit = slice;
    }
    location
}

/// The container that a part of a path names; `before` is the part before it.
fn container(part: &str, before: &str, in_pod: bool) -> Option<Container> {
    let found = |runtime, id: &str| {
        Some(Container {
            runtime,
            id: id.to_owned(),
        })
    };
    let name = part.strip_suffix(".scope").unwrap_or(part);
    for (prefix, runtime) in [
        ("docker-", Runtime::Docker),
        ("libpod-payload-", Runtime::Podman),
        ("libpod-", Runtime::Podman),
        ("cri-containerd-", Runtime::Containerd),
        ("containerd-", Runtime::Containerd),
        ("nerdctl-", Runtime::Containerd),
        ("crio-", Runtime::Crio),
    ] {
        // Of conmon, which watches over a container from outside, the rest is no id.
        if let Some(id) = name.strip_prefix(prefix)
            && is_id(id)
        {
            return found(runtime, id);
        }
    }
    if is_id(name) {
        let runtime = match before {
            "docker" => Runtime::Docker,
            "libpod_parent" | "libpod" => Runtime::Podman,
            "default" | "k8s.io" | "containerd" => Runtime::Containerd,
            _ if in_pod => Runtime::Kubernetes,
            _ => Runtime::Unknown,
        };
        return found(runtime, name);
    }
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return found(Runtime::Lxc, name);
    }
    if matches!(before, "lxc" | "lxc.payload") && !part.is_empty() {
        return found(Runtime::Lxc, part);
    }
    let machine = part
        .strip_prefix("systemd-nspawn@")
        .and_then(|name| name.strip_suffix(".service"))
        .or_else(|| part.strip_prefix("machine-")?.strip_suffix(".scope"));
    machine.and_then(|name| found(Runtime::Machine, name))
}

/// The id of a pod in `kubepods-burstable-pod0a1b_....slice` or `pod0a1b-...`.
fn pod(part: &str) -> Option<String> {
    let id = match part.strip_suffix(".slice") {
        Some(slice) if slice.contains("kubepods") => slice.rsplit_once("-pod")?.1,
        Some(_) => return None,
        None => part.strip_prefix("pod")?,
    };
    let id = id.replace('_', "-");
    let digits = id.chars().filter(char::is_ascii_hexdigit).count();
    let dashes = id.chars().filter(|&c| c == '-').count();
    // 36 characters, or 32 for the pods of a kubelet's own directory.
    let is_pod = digits == 32 && digits + dashes == id.len() && matches!(dashes, 0 | 4);
    is_pod.then_some(id)
}

/// Ids are 64 hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_named(part: &str, suffix: &str) -> bool {
    part.strip_suffix(suffix)
        .is_some_and(|name| !matches!(name, "" | "-"))
}

/// systemd writes what cannot stand in a name as `\x2d`.
fn unescape(part: &str) -> String {
    let mut clean = Vec::with_capacity(part.len());
    let mut rest = part;
    while let Some(at) = rest.find("\\x") {
        let (head, tail) = rest.split_at(at);
        clean.extend_from_slice(head.as_bytes());
        let byte = tail
            .get(2..4)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let (bytes, used) = byte.map_or((tail.as_bytes().get(..2), 2), |_| (None, 4));
        clean.extend_from_slice(bytes.unwrap_or_default());
        clean.extend(byte);
        rest = &tail[used..];
    }
    clean.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&clean).into_owned()
}
