//! Where engines leave the names of containers and pods, and how to read them. A file is believed
//! as far as who may write it: it and every folder above it must be writable by its owner alone,
//! and the owner be root or, of a user's own engines, that user.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::model::container::{ContainerLabels, is_label};
use crate::resolve::cgroup::Runtime;

/// Longest file that is read. A container's configuration has some 10 kB, a list has 700 bytes per
/// container.
const MAX_FILE: u64 = 8 << 20;
/// Most entries of a folder that are looked at.
const MAX_ENTRIES: usize = 65_536;
/// Folders of containers/storage, by the driver of the storage.
const STORAGES: [&str; 5] = [
    "overlay-containers",
    "vfs-containers",
    "btrfs-containers",
    "zfs-containers",
    "fuse-overlayfs-containers",
];
/// Lists in them; those of containers that are removed when they end are in the second.
const LISTS: [&str; 2] = ["containers.json", "volatile-containers.json"];

/// The container or pod of which names are requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    pub runtime: Option<Runtime>,
    pub id: Option<&'a str>,
    pub pod: Option<&'a str>,
}

/// The folders of the engines of root, or of one user.
#[derive(Debug)]
pub struct EngineFolders {
    /// Whoever may write, besides root.
    owner: u32,
    root: PathBuf,
    /// Of Docker: a folder per container.
    docker: Vec<PathBuf>,
    /// Of containers/storage: lists of the containers of Podman.
    storage: Vec<PathBuf>,
    /// Of containers/storage: a folder per container, with its OCI bundle.
    bundles: Vec<PathBuf>,
    /// Of containerd: a folder per namespace, with one per container.
    tasks: Vec<PathBuf>,
    /// Of the kubelet: a link per container, and a folder per pod.
    logs: Vec<PathBuf>,
    pods: Vec<PathBuf>,
    /// Labels of each list, by its path; read again when the list changes.
    lists: HashMap<PathBuf, (Stamp, HashMap<String, ContainerLabels>)>,
}

/// Which state of a file was read: device, inode, size, and time of its last change.
type Stamp = (u64, u64, u64, i64, i64);

impl EngineFolders {
    /// Those of the system's engines that are there below `root`; the files are root's or
    /// `owner`'s.
    pub fn of_system(root: &Path, owner: u32) -> Self {
        let config: Option<DockerDaemon> =
            Self::none(root, owner).json(&root.join("etc/docker/daemon.json"));
        let data_root = config.and_then(|config| config.data_root);
        let data_root = data_root.map(|path| path.trim_start_matches('/').to_owned());
        let docker = data_root.unwrap_or_else(|| "var/lib/docker".to_owned());
        let run = ["run/containerd", "run/k3s/containerd"];
        let storages = |base: &str| STORAGES.map(|storage| format!("{base}/{storage}"));
        let mut found = Self::none(root, owner);
        found.docker = found.existing([format!("{docker}/containers")]);
        found.storage = found.existing(
            storages("var/lib/containers/storage")
                .into_iter()
                .chain(storages("run/containers/storage")),
        );
        found.bundles = found.existing(storages("run/containers/storage"));
        found.tasks = found.existing(run.map(|run| format!("{run}/io.containerd.runtime.v2.task")));
        found.logs = found.existing(["var/log/containers".to_owned()]);
        found.pods = found.existing(["var/log/pods".to_owned()]);
        found
    }

    /// Those of a user's own engines that are there.
    pub fn of_user(uid: u32, home: &Path) -> Self {
        let mut found = Self::none(Path::new("/"), uid);
        let home = home.strip_prefix("/").unwrap_or(home).to_string_lossy();
        let share = format!("{home}/.local/share");
        found.docker = found.existing([format!("{share}/docker/containers")]);
        let storages = STORAGES.map(|storage| format!("{share}/containers/storage/{storage}"));
        found.storage = found.existing(storages);
        found
    }

    fn none(root: &Path, owner: u32) -> Self {
        Self {
            owner,
            root: root.to_owned(),
            docker: Vec::new(),
            storage: Vec::new(),
            bundles: Vec::new(),
            tasks: Vec::new(),
            logs: Vec::new(),
            pods: Vec::new(),
            lists: HashMap::new(),
        }
    }

    /// Paths below the root, without links, of the folders that are there and can be believed.
    fn existing(&self, folders: impl IntoIterator<Item = String>) -> Vec<PathBuf> {
        let folders = folders.into_iter();
        let found = folders.filter_map(|folder| fs::canonicalize(self.root.join(folder)).ok());
        found
            .filter(|folder| folder.is_dir() && self.is_believed(folder))
            .collect()
    }

    /// Every folder that is read from.
    pub fn all(&self) -> Vec<PathBuf> {
        let mut all = [
            &self.docker,
            &self.storage,
            &self.bundles,
            &self.tasks,
            &self.logs,
            &self.pods,
        ]
        .map(Clone::clone)
        .concat();
        all.sort();
        all.dedup();
        all
    }

    /// Returns the labels of a container or pod; `None` if no file has any.
    pub fn look_up(&mut self, question: &Question<'_>) -> Option<ContainerLabels> {
        let mut labels = self.by_engine(question).unwrap_or_default();
        if labels.pod.is_none() {
            let by_log = question.id.and_then(|id| self.by_container_log(id));
            let by_pod = || question.pod.and_then(|pod| self.by_pod_log(pod));
            if let Some(found) = by_log.or_else(by_pod) {
                labels = ContainerLabels {
                    image: labels.image.take(),
                    name: found.name.or(labels.name.take()),
                    ..found
                };
            }
        }
        let labels = labels.checked(is_label);
        (!labels.is_empty()).then_some(labels)
    }

    fn by_engine(&mut self, question: &Question<'_>) -> Option<ContainerLabels> {
        // A part of a path, and nothing else.
        let id = question.id.filter(|id| is_file_name(id))?;
        match question.runtime? {
            Runtime::Docker => self.by_docker(id),
            Runtime::Podman => self.by_lists(id),
            Runtime::Containerd => self.by_task(id),
            Runtime::Crio => self.by_bundle(id),
            Runtime::Kubernetes | Runtime::Unknown => self
                .by_task(id)
                .or_else(|| self.by_bundle(id))
                .or_else(|| self.by_docker(id))
                .or_else(|| self.by_lists(id)),
            _ => None,
        }
    }

    fn by_docker(&self, id: &str) -> Option<ContainerLabels> {
        let file = |folder: &PathBuf| folder.join(id).join("config.v2.json");
        let config: DockerContainer = self
            .docker
            .iter()
            .find_map(|folder| self.json(&file(folder)))?;
        let labels = config.config.labels.unwrap_or_default();
        // Of the containers of old Kubernetes the name is made up.
        let name = labels.kubernetes_container;
        Some(ContainerLabels {
            name: name.or_else(|| Some(config.name?.trim_start_matches('/').to_owned())),
            image: config.config.image,
            pod: labels.kubernetes_pod,
            namespace: labels.kubernetes_namespace,
            compose_project: labels.compose_project,
            compose_service: labels.compose_service,
            is_stale: false,
        })
    }

    fn by_lists(&mut self, id: &str) -> Option<ContainerLabels> {
        let storage = self.storage.clone();
        let lists = storage
            .iter()
            .flat_map(|folder| LISTS.map(|list| folder.join(list)));
        for list in lists {
            let Some((file, stamp)) = self.open(&list) else {
                self.lists.remove(&list);
                continue;
            };
            let is_known = self
                .lists
                .get(&list)
                .is_some_and(|(known, _)| *known == stamp);
            if !is_known {
                let containers: Vec<StorageContainer> = parse(file).unwrap_or_default();
                let containers = containers.into_iter().map(StorageContainer::labels);
                self.lists
                    .insert(list.clone(), (stamp, containers.collect()));
            }
            if let Some(labels) = self.lists.get(&list).and_then(|(_, labels)| labels.get(id)) {
                return Some(labels.clone());
            }
        }
        None
    }

    fn by_task(&self, id: &str) -> Option<ContainerLabels> {
        for tasks in &self.tasks {
            let usual = ["k8s.io", "default", "moby"].map(|namespace| tasks.join(namespace));
            let listed = entries(tasks).map(|name| tasks.join(name));
            let mut spaces = usual.into_iter().chain(listed);
            let found = spaces.find_map(|space| self.json(&space.join(id).join("config.json")));
            if let Some(spec) = found {
                return Some(OciSpec::labels(spec));
            }
        }
        None
    }

    fn by_bundle(&self, id: &str) -> Option<ContainerLabels> {
        let file = |folder: &PathBuf| folder.join(id).join("userdata/config.json");
        let spec = self
            .bundles
            .iter()
            .find_map(|folder| self.json(&file(folder)));
        spec.map(OciSpec::labels)
    }

    /// `POD_NAMESPACE_CONTAINER-ID.log`: neither name has a `_`, and an id no `-`.
    fn by_container_log(&self, id: &str) -> Option<ContainerLabels> {
        let end = format!("-{id}.log");
        let name = self.logs.iter().find_map(|logs| {
            let mut names = entries(logs);
            names.find(|name| name.ends_with(&end))
        })?;
        let mut parts = name.strip_suffix(&end)?.splitn(3, '_');
        Some(ContainerLabels {
            pod: parts.next().map(str::to_owned),
            namespace: Some(parts.next()?.to_owned()),
            name: Some(parts.next()?.to_owned()),
            ..ContainerLabels::default()
        })
    }

    /// The folder of a pod is `NAMESPACE_POD_UID`.
    fn by_pod_log(&self, uid: &str) -> Option<ContainerLabels> {
        let end = format!("_{uid}");
        let name = self.pods.iter().find_map(|pods| {
            let mut names = entries(pods);
            names.find(|name| name.ends_with(&end))
        })?;
        let (namespace, pod) = name.strip_suffix(&end)?.split_once('_')?;
        Some(ContainerLabels {
            pod: Some(pod.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ContainerLabels::default()
        })
    }

    fn json<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        parse(self.open(path)?.0)
    }

    /// Opens a regular file that can be believed and is not too long. No link, and nothing that
    /// waits for a writer.
    fn open(&self, path: &Path) -> Option<(File, Stamp)> {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).ok()?;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)
            .ok()?;
        let metadata = file.metadata().ok()?;
        let is_fine =
            metadata.is_file() && metadata.len() <= MAX_FILE && self.is_owned(&metadata, false);
        let stamp = (
            metadata.dev(),
            metadata.ino(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        );
        (is_fine && self.is_believed(path.parent()?)).then_some((file, stamp))
    }

    /// Whether a folder, and each above it, is written by its owner alone.
    fn is_believed(&self, folder: &Path) -> bool {
        let above = folder
            .ancestors()
            .take_while(|above| above.starts_with(&self.root));
        // Ubuntu's group of syslog may write /var/log. What is in a folder of root's is root's even
        // so.
        let log = self.root.join("var/log");
        above.into_iter().all(|above| {
            let metadata = fs::symlink_metadata(above);
            metadata
                .is_ok_and(|metadata| metadata.is_dir() && self.is_owned(&metadata, above == log))
        })
    }

    fn is_owned(&self, metadata: &fs::Metadata, group_may_write: bool) -> bool {
        let others = if group_may_write { 0o002 } else { 0o022 };
        let is_owner = metadata.uid() == 0 || metadata.uid() == self.owner;
        is_owner && metadata.mode() & others == 0
    }
}

/// Names in a folder, in no order.
fn entries(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(MAX_ENTRIES);
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

fn is_file_name(id: &str) -> bool {
    !id.contains('/') && !matches!(id, "" | "." | "..")
}

/// Reads JSON, within bounds; `None` where it is anything else.
fn parse<T: DeserializeOwned>(file: File) -> Option<T> {
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[derive(Deserialize)]
struct DockerDaemon {
    #[serde(rename = "data-root")]
    data_root: Option<String>,
}

#[derive(Deserialize)]
struct DockerContainer {
    #[serde(rename = "Name")]
    name: Option<String>,
    #[serde(rename = "Config")]
    config: DockerConfig,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(rename = "Image")]
    image: Option<String>,
    #[serde(rename = "Labels")]
    labels: Option<DockerLabels>,
}

#[derive(Default, Deserialize)]
struct DockerLabels {
    #[serde(rename = "com.docker.compose.project")]
    compose_project: Option<String>,
    #[serde(rename = "com.docker.compose.service")]
    compose_service: Option<String>,
    #[serde(rename = "io.kubernetes.container.name")]
    kubernetes_container: Option<String>,
    #[serde(rename = "io.kubernetes.pod.name")]
    kubernetes_pod: Option<String>,
    #[serde(rename = "io.kubernetes.pod.namespace")]
    kubernetes_namespace: Option<String>,
}

/// An entry of a list of containers/storage.
#[derive(Deserialize)]
struct StorageContainer {
    id: String,
    names: Option<Vec<String>>,
    /// JSON, as a text in JSON.
    metadata: Option<String>,
}

#[derive(Deserialize)]
struct StorageMetadata {
    #[serde(rename = "image-name")]
    image_name: Option<String>,
}

impl StorageContainer {
    fn labels(self) -> (String, ContainerLabels) {
        let metadata = self.metadata.unwrap_or_default();
        let metadata: Option<StorageMetadata> = serde_json::from_str(&metadata).ok();
        let labels = ContainerLabels {
            name: self.names.and_then(|names| names.into_iter().next()),
            image: metadata.and_then(|metadata| metadata.image_name),
            ..ContainerLabels::default()
        };
        (self.id, labels)
    }
}

/// The runtime's own configuration of a container.
#[derive(Deserialize)]
struct OciSpec {
    annotations: Option<Annotations>,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "io.kubernetes.cri.container-name")]
    cri_container: Option<String>,
    #[serde(rename = "io.kubernetes.cri.sandbox-name")]
    cri_pod: Option<String>,
    #[serde(rename = "io.kubernetes.cri.sandbox-namespace")]
    cri_namespace: Option<String>,
    #[serde(rename = "io.kubernetes.cri.image-name")]
    cri_image: Option<String>,
    #[serde(rename = "io.kubernetes.container.name")]
    crio_container: Option<String>,
    #[serde(rename = "io.kubernetes.pod.name")]
    crio_pod: Option<String>,
    #[serde(rename = "io.kubernetes.pod.namespace")]
    crio_namespace: Option<String>,
    #[serde(rename = "nerdctl/name")]
    nerdctl_name: Option<String>,
}

impl OciSpec {
    fn labels(self) -> ContainerLabels {
        let annotations = self.annotations.unwrap_or_default();
        let name = annotations.cri_container.or(annotations.crio_container);
        ContainerLabels {
            name: name.or(annotations.nerdctl_name),
            image: annotations.cri_image,
            pod: annotations.cri_pod.or(annotations.crio_pod),
            namespace: annotations.cri_namespace.or(annotations.crio_namespace),
            ..ContainerLabels::default()
        }
    }
}
