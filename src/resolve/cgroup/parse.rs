//! Parses a cgroup path part by part. A container is recognized by its position: by the part before
//! it, by the prefix of a runtime, or by the namespace of containerd. The form of an id counts only
//! if the position decides nothing.

use super::unit_name::repeating_name;
use super::{CgroupLocation, Container, Delegate, Runtime};

/// Longest id that is accepted: the longest name in a file system (NAME_MAX).
const MAX_ID: usize = 255;

/// Prefixes that runtimes write before an id: with `.scope` after the id, or as `slice:prefix:id`.
const PREFIXES: [(&str, Runtime); 7] = [
    ("docker-", Runtime::Docker),
    ("libpod-payload-", Runtime::Podman),
    ("libpod-", Runtime::Podman),
    ("cri-containerd-", Runtime::Containerd),
    ("containerd-", Runtime::Containerd),
    ("nerdctl-", Runtime::Containerd),
    ("crio-", Runtime::Crio),
];

/// Words that follow a prefix without naming a container: programs that supervise a container from
/// outside, and tools with an engine's name in their own.
const NO_CONTAINERS: [&str; 6] = ["conmon", "shim", "monitor", "compose", "buildkit", "daemon"];

/// Namespaces of containerd that are folders below the root.
const NAMESPACES: [&str; 3] = ["default", "k8s.io", "moby"];

/// Returns the most specific path in a `/proc/PID/cgroup`: that of cgroup v2; on v1 and hybrid
/// hosts that of systemd, else of any controller.
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
    let mut walk = Walk::default();
    for part in path
        .split('/')
        .filter(|part| !matches!(*part, "" | "." | ".."))
    {
        walk.enter(unescape(part));
    }
    walk.finish()
}

/// State of the parser on its way down a path.
#[derive(Default)]
struct Walk {
    location: CgroupLocation,
    /// The last slice outside of any container.
    slice: Option<String>,
    /// Number of parts above this one.
    depth: usize,
    /// The part before this one, and the one before that.
    before: String,
    grand: String,
    /// Whether the part before this one is a pod.
    in_pod: bool,
    /// The batch system that a part above belongs to.
    batch: Option<Runtime>,
    /// Whether a part above is in the kubelet's own tree.
    in_kubepods: bool,
}

impl Walk {
    fn enter(&mut self, part: String) {
        if self.depth == 0 && part == "…" {
            self.location.delegate = Delegate::Unknown;
        } else {
            let pod = self.pod(&part);
            let was_in_pod = std::mem::replace(&mut self.in_pod, pod.is_some());
            if let Some(pod) = pod {
                self.enclose();
                self.location.pod = Some(pod);
            }
            if let Some(job) = self.job(&part) {
                self.enclose();
                self.location.job = Some(job.clone());
                self.location.container = Some(job);
            } else if let Some(container) = self.container(&part, was_in_pod) {
                if self.location.container.as_ref() != Some(&container) {
                    self.enclose();
                    self.location.container = Some(container);
                }
            } else if self.location.container.is_none() && self.location.pod.is_none() {
                // Names inside a container do not describe the host's units.
                self.unit(&part);
            }
            if let Some(step) = self.step(&part) {
                self.location.job_step = Some(step);
            }
            self.batch = self.batch.or_else(|| batch_system(&part));
            self.in_kubepods |= part.starts_with("kubepods");
        }
        self.depth += 1;
        self.grand = std::mem::replace(&mut self.before, part);
    }

    /// Whatever is below the container so far belongs to it. The outermost counts: all others may
    /// be made up.
    fn enclose(&mut self) {
        if let Some(outer) = self.location.container.take()
            && self.location.delegate == Delegate::System
        {
            self.location.delegate = Delegate::Container(outer);
        }
    }

    /// The first service or scope from the root is the unit, as sd_pid_get_unit() has it: what is
    /// below it was delegated. Below a user's service manager the next one is the user's unit.
    fn unit(&mut self, part: &str) {
        if self.location.delegate == Delegate::Unknown {
            return;
        }
        if is_named(part, ".slice") {
            if self.location.unit.is_none() {
                self.slice = Some(part.to_owned());
            }
        } else if is_named(part, ".service") || is_named(part, ".scope") {
            if self.location.unit.is_none() {
                self.location.unit_group = repeating_name(part, self.slice.as_deref());
                self.location.unit = Some(part.to_owned());
                let uid = part.strip_prefix("user@");
                let uid = uid.and_then(|uid| uid.strip_suffix(".service")?.parse().ok());
                if let Some(uid) = uid {
                    self.location.delegate = Delegate::User(uid);
                }
            } else if self.location.user_unit.is_none()
                && matches!(self.location.delegate, Delegate::User(_))
            {
                self.location.user_unit = Some(part.to_owned());
            }
        }
    }

    /// The id of the pod that a part names: `kubepods-burstable-podUID.slice`, with or without what
    /// follows a colon, or `podUID` in the kubelet's own tree; elsewhere only if the id is a UUID
    /// or 32 hexadecimal digits.
    fn pod(&self, part: &str) -> Option<String> {
        let head = part.split(':').next()?;
        if let Some(slice) = head.strip_suffix(".slice") {
            let (_, rest) = slice.split_once("kubepods")?;
            let (_, id) = rest.split_once("-pod")?;
            // systemd reads a dash as a level, so the kubelet writes an underscore instead.
            return safe(&id.replace('_', "-"));
        }
        let id = head.strip_prefix("pod")?;
        let classes = ["burstable", "besteffort", "guaranteed"];
        let is_location = self.before == "kubepods"
            || (self.in_kubepods && classes.contains(&self.before.as_str()));
        let digits = id.chars().filter(char::is_ascii_hexdigit).count();
        let dashes = id.chars().filter(|&c| matches!(c, '-' | '_')).count();
        let has_form = digits == 32 && digits + dashes == id.len() && matches!(dashes, 0 | 4);
        (is_location || has_form)
            .then(|| safe(&id.replace('_', "-")))
            .flatten()
    }

    /// Returns the job of a batch system: `job_123` of Slurm, `jobid/123.server` of PBS,
    /// `lsf/CLUSTER/job.123.PID.TIME`.
    fn job(&self, part: &str) -> Option<Container> {
        if self.location.job.is_some() {
            return None;
        }
        let runtime = self.batch?;
        let id = match runtime {
            Runtime::Slurm => part.strip_prefix("job_")?,
            Runtime::Pbs if self.before == "jobid" => part,
            Runtime::Lsf => part.strip_prefix("job.")?.split('.').next()?,
            _ => return None,
        };
        found(runtime, id)
    }

    /// The step of a job of Slurm, directly below the job.
    fn step(&self, part: &str) -> Option<String> {
        let job = self.location.job.as_ref()?;
        let is_below = self.before.strip_prefix("job_") == Some(&job.id);
        let step = part.strip_prefix("step_")?;
        let is_step = job.runtime == Runtime::Slurm && is_below && self.location.job_step.is_none();
        is_step.then(|| safe(step)).flatten()
    }

    /// Returns the container that a part names.
    fn container(&self, part: &str, in_pod: bool) -> Option<Container> {
        if is_unit(part) && !part.ends_with(".scope") {
            let machine = part.strip_prefix("systemd-nspawn@");
            let machine = machine.and_then(|name| name.strip_suffix(".service"));
            return machine.and_then(|name| found(Runtime::Machine, name));
        }
        let scope = part.strip_suffix(".scope");
        // slice:prefix:id, the form of the systemd driver, or namespace:id, the form of containerd.
        if scope.is_none()
            && let Some((head, tail)) = part.split_once(':')
        {
            return self.colons(head, tail, in_pod);
        }
        let name = scope.unwrap_or(part);
        let is_placed = scope.is_some()
            || in_pod
            || self.before == "libpod_parent"
            || name.starts_with("libpod-payload-");
        for (prefix, runtime) in PREFIXES {
            if let Some(id) = name.strip_prefix(prefix) {
                if is_container_id(id) {
                    return found(runtime, id);
                }
                let is_other = NO_CONTAINERS.iter().any(|other| id.starts_with(other));
                return (is_placed && !is_other)
                    .then(|| found(runtime, id))
                    .flatten();
            }
        }
        if let Some(name) = name.strip_prefix("machine-").filter(|_| scope.is_some()) {
            return found(Runtime::Machine, name);
        }
        self.placed(name, in_pod, scope.is_some())
    }

    /// Returns the container that a part without a known prefix names by its position.
    fn placed(&self, name: &str, in_pod: bool, is_scope: bool) -> Option<Container> {
        if in_pod && name != "init" && !NO_CONTAINERS.contains(&name) {
            let id = name.rsplit('-').next().filter(|id| is_container_id(id));
            return found(Runtime::Kubernetes, id.unwrap_or(name));
        }
        if !is_scope {
            if let Some(name) = name.strip_prefix("lxc.payload.") {
                return found(Runtime::Lxc, name);
            }
            let is_top = self.depth == 1;
            let runtime = match self.before.as_str() {
                "lxc" | "lxc.payload" => Some(Runtime::Lxc),
                "docker" if name != "buildkit" => Some(Runtime::Docker),
                "buildkit" if self.grand == "docker" => Some(Runtime::Docker),
                "libpod_parent" | "libpod" if is_container_id(name) => Some(Runtime::Podman),
                "garden" => Some(Runtime::Unknown),
                namespace if is_top && NAMESPACES.contains(&namespace) => Some(Runtime::Containerd),
                _ if self.grand == "ecs" && self.depth == 2 => Some(Runtime::Unknown),
                _ => None,
            };
            if let Some(runtime) = runtime {
                return found(runtime, name);
            }
        }
        if !is_container_id(name) {
            return None;
        }
        let runtime = match self.before.as_str() {
            "default" | "k8s.io" | "moby" | "containerd" => Runtime::Containerd,
            _ if self.location.pod.is_some() => Runtime::Kubernetes,
            _ => Runtime::Unknown,
        };
        found(runtime, name)
    }

    /// Returns the container in `slice:prefix:id` or `namespace:id`.
    fn colons(&self, head: &str, tail: &str, in_pod: bool) -> Option<Container> {
        if let Some((prefix, id)) = tail.split_once(':') {
            if NO_CONTAINERS.iter().any(|other| id.starts_with(other)) || prefix.ends_with("conmon")
            {
                return None;
            }
            let known = PREFIXES
                .iter()
                .find(|(known, _)| known.strip_suffix('-') == Some(prefix));
            let is_placed = head.is_empty() || is_named(head, ".slice");
            return match known {
                Some((_, runtime)) => found(*runtime, id),
                None if is_placed && self.pod(head).is_some() => found(Runtime::Kubernetes, id),
                None if is_placed => found(Runtime::Unknown, id),
                None => None,
            };
        }
        let is_daemon = self.before.starts_with("containerd") || self.before.starts_with("k3s");
        if (is_daemon && is_named(&self.before, ".service")) || NAMESPACES.contains(&head) {
            return found(Runtime::Containerd, tail);
        }
        match is_container_id(tail) {
            true if in_pod => found(Runtime::Kubernetes, tail),
            true => found(Runtime::Unknown, tail),
            false => None,
        }
    }

    fn finish(self) -> CgroupLocation {
        let mut location = self.location;
        let has_location = location.unit.is_some() || location.container.is_some();
        if !has_location && location.pod.is_none() {
            location.unit = self.slice;
        }
        location
    }
}

/// Returns the batch system whose jobs are below a part.
fn batch_system(part: &str) -> Option<Runtime> {
    match part {
        "slurm" | "slurmstepd.scope" => Some(Runtime::Slurm),
        _ if part.starts_with("slurm_") || part.ends_with("_slurmstepd.scope") => {
            Some(Runtime::Slurm)
        }
        "lsf" => Some(Runtime::Lsf),
        "pbs_jobs.service" | "pbspro.service" | "pbs_jobs" | "pbspro" => Some(Runtime::Pbs),
        _ => None,
    }
}

fn found(runtime: Runtime, id: &str) -> Option<Container> {
    safe(id).map(|id| Container { runtime, id })
}

/// Returns a name within bounds, without unprintable characters.
fn safe(id: &str) -> Option<String> {
    let is_safe = (1..=MAX_ID).contains(&id.len()) && !id.contains(char::is_control);
    is_safe.then(|| id.to_owned())
}

/// Whether a text is an id by its form alone: 64 hexadecimal digits.
fn is_container_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_unit(part: &str) -> bool {
    [".service", ".scope", ".slice"]
        .iter()
        .any(|suffix| is_named(part, suffix))
}

fn is_named(part: &str, suffix: &str) -> bool {
    part.strip_suffix(suffix)
        .is_some_and(|name| !matches!(name, "" | "-"))
}

/// Decodes a name of systemd, which writes `\x2d` for characters that cannot stand in one.
pub(super) fn unescape(part: &str) -> String {
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
