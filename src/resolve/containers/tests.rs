//! Files as engines leave them: names, and what is not believed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::files::{EngineFolders, Question};
use super::labels_after;
use super::protocol;
use crate::model::container::ContainerLabels;
use crate::resolve::cgroup::Runtime;

const ID: &str = "3f5c1d0a9b8e7f6d5c4b3a29180f7e6d5c4b3a291807f6e5d4c3b2a190807f6e";
const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const POD: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

/// The root of a machine of its own, removed when dropped.
struct EngineRoot(PathBuf);

impl EngineRoot {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("flowtop-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        Self(root.canonicalize().unwrap())
    }

    fn put(&self, path: &str, text: &str) -> PathBuf {
        let path = self.0.join(path.replace("ID", ID).replace("POD", POD));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text.replace("ID", ID)).unwrap();
        // Whatever the umask of who tests.
        for above in path
            .ancestors()
            .take_while(|above| above.starts_with(&self.0))
        {
            set_mode(above, if above == path { 0o600 } else { 0o711 });
        }
        path
    }

    fn look_up(&self, runtime: Runtime, id: &str, pod: Option<&str>) -> Option<ContainerLabels> {
        let owner = rustix::process::getuid().as_raw();
        let mut folders = EngineFolders::of_system(&self.0, owner);
        let runtime = Some(runtime);
        let id = Some(id).filter(|id| !id.is_empty());
        folders.look_up(&Question { runtime, id, pod })
    }
}

impl Drop for EngineRoot {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Texts in the order of [`ContainerLabels`]; `-` where there is none.
fn texts(labels: Option<ContainerLabels>) -> String {
    let Some(labels) = labels else {
        return String::new();
    };
    [
        labels.name,
        labels.image,
        labels.pod,
        labels.namespace,
        labels.compose_project,
        labels.compose_service,
    ]
    .map(|text| text.unwrap_or_else(|| "-".to_owned()))
    .join(" ")
}

const DOCKER: &str = r#"{"StreamConfig":{},"State":{"Running":true,"Pid":77},"ID":"ID","Created":"2026-11-01T00:00:00Z",
    "Path":"sleep","Args":["1"],"Config":{"Hostname":"x","Image":"nginx:1.29","Labels":{"com.docker.compose.project":"shop",
    "com.docker.compose.service":"web","maintainer":"a b"}},"Name":"/shop-web-1","Driver":"overlay2"}"#;
const LIST: &str = r#"[{"id":"ID","names":["web"],"image":"77","layer":"88",
    "metadata":"{\"image-name\":\"docker.io/library/nginx:latest\",\"name\":\"web\",\"created-at\":1}","created":"2026-11-01T00:00:00Z"}]"#;
const CRI: &str = r#"{"ociVersion":"1.2.0","process":{"args":["sh"]},"annotations":{
    "io.kubernetes.cri.container-name":"nginx","io.kubernetes.cri.container-type":"container",
    "io.kubernetes.cri.image-name":"registry.k8s.io/nginx:1","io.kubernetes.cri.sandbox-id":"77",
    "io.kubernetes.cri.sandbox-name":"web-0","io.kubernetes.cri.sandbox-namespace":"shop"}}"#;
const CRIO: &str = r#"{"annotations":{"io.kubernetes.container.name":"nginx","io.kubernetes.pod.name":"web-0",
    "io.kubernetes.pod.namespace":"shop","io.kubernetes.cri-o.Name":"k8s_nginx"}}"#;
const NERDCTL: &str = r#"{"annotations":{"nerdctl/name":"web","nerdctl/namespace":"default"}}"#;

#[test]
fn every_engine_names_its_containers_by_its_own_files() {
    let tasks = "run/containerd/io.containerd.runtime.v2.task";
    for (runtime, file, text, expected) in [
        (
            Runtime::Docker,
            "var/lib/docker/containers/ID/config.v2.json",
            DOCKER,
            "shop-web-1 nginx:1.29 - - shop web",
        ),
        (
            Runtime::Podman,
            "var/lib/containers/storage/overlay-containers/containers.json",
            LIST,
            "web docker.io/library/nginx:latest - - - -",
        ),
        (
            Runtime::Podman,
            "var/lib/containers/storage/vfs-containers/volatile-containers.json",
            LIST,
            "web docker.io/library/nginx:latest - - - -",
        ),
        (
            Runtime::Containerd,
            &format!("{tasks}/k8s.io/ID/config.json"),
            CRI,
            "nginx registry.k8s.io/nginx:1 web-0 shop - -",
        ),
        (
            Runtime::Containerd,
            &format!("{tasks}/other/ID/config.json"),
            NERDCTL,
            "web - - - - -",
        ),
        (
            Runtime::Crio,
            "run/containers/storage/overlay-containers/ID/userdata/config.json",
            CRIO,
            "nginx - web-0 shop - -",
        ),
        (
            Runtime::Kubernetes,
            "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
            CRI,
            "nginx registry.k8s.io/nginx:1 web-0 shop - -",
        ),
    ] {
        let machine = EngineRoot::new("engine");
        machine.put(file, text);
        assert_eq!(
            texts(machine.look_up(runtime, ID, None)),
            expected,
            "{file}"
        );
        assert_eq!(machine.look_up(runtime, OTHER, None), None, "{file}");
        assert_eq!(machine.look_up(runtime, "../x", None), None, "{file}");
    }
}

#[test]
fn the_kubelet_names_pods_and_containers_of_every_runtime() {
    let machine = EngineRoot::new("kubelet");
    let link = machine.put("var/log/containers/x", "");
    let link = link.with_file_name(format!("web-0_shop_nginx-{ID}.log"));
    symlink("/nowhere", link).unwrap();
    machine.put("var/log/pods/shop_web-0_POD/nginx/0.log", "");
    let by_id = machine.look_up(Runtime::Crio, ID, None);
    assert_eq!(texts(by_id), "nginx - web-0 shop - -");
    let by_pod = machine.look_up(Runtime::Crio, OTHER, Some(POD));
    assert_eq!(texts(by_pod), "- - web-0 shop - -");
    assert_eq!(
        texts(machine.look_up(Runtime::Crio, "", Some(POD))),
        "- - web-0 shop - -"
    );
    assert_eq!(machine.look_up(Runtime::Crio, "", Some(&POD[1..])), None);
    // As on Ubuntu: the group of syslog.
    set_mode(&machine.0.join("var/log"), 0o775);
    assert_eq!(
        texts(machine.look_up(Runtime::Crio, "", Some(POD))),
        "- - web-0 shop - -"
    );
    set_mode(&machine.0.join("var/log/pods"), 0o775);
    assert_eq!(machine.look_up(Runtime::Crio, "", Some(POD)), None);
}

#[test]
fn the_folder_of_docker_may_be_another() {
    let machine = EngineRoot::new("data-root");
    machine.put("etc/docker/daemon.json", r#"{"data-root":"/srv/docker"}"#);
    machine.put("srv/docker/containers/ID/config.v2.json", DOCKER);
    let labels = machine.look_up(Runtime::Docker, ID, None);
    assert_eq!(
        labels.and_then(|labels| labels.name).as_deref(),
        Some("shop-web-1")
    );
}

/// A file is believed as far as who may write it.
#[test]
fn a_file_that_others_may_write_or_replace_is_not_believed() {
    let file = "var/lib/docker/containers/ID/config.v2.json";
    let is_known = |machine: &EngineRoot| machine.look_up(Runtime::Docker, ID, None).is_some();
    // The file, the folders above it.
    for (above, mode, is_believed) in [
        (0, 0o600, true),
        (0, 0o644, true),
        (0, 0o622, false),
        (0, 0o620, false),
        (1, 0o777, false),
        (2, 0o775, false),
        (4, 0o1777, false),
    ] {
        let machine = EngineRoot::new("trust");
        let path = machine.put(file, DOCKER);
        set_mode(path.ancestors().nth(above).unwrap(), mode);
        assert_eq!(is_known(&machine), is_believed, "{above} {mode:o}");
    }
    // A link in place of the file leads anywhere.
    let machine = EngineRoot::new("link");
    let path = machine.put(file, DOCKER);
    let real = path.with_file_name("real");
    fs::rename(&path, &real).unwrap();
    symlink(&real, &path).unwrap();
    assert!(!is_known(&machine));
    // Nor is what is no file, or too long.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(!is_known(&machine));
    fs::remove_dir(&path).unwrap();
    let long = format!("{}{DOCKER}", " ".repeat(9 << 20));
    machine.put(file, &long);
    assert!(!is_known(&machine));
}

#[test]
fn a_name_that_is_no_name_is_left_out() {
    let machine = EngineRoot::new("strange");
    let text = DOCKER
        .replace("/shop-web-1", "/a\\u001b[2Jb")
        .replace("nginx:1.29", "a b");
    machine.put("var/lib/docker/containers/ID/config.v2.json", &text);
    assert_eq!(
        texts(machine.look_up(Runtime::Docker, ID, None)),
        "- - - - shop web"
    );
    for text in [
        "",
        "[]",
        "{",
        "{\"Config\":7}",
        "\u{feff}",
        &"[".repeat(100_000),
    ] {
        machine.put("var/lib/docker/containers/ID/config.v2.json", text);
        assert_eq!(machine.look_up(Runtime::Docker, ID, None), None);
    }
}

#[test]
fn a_list_is_read_again_when_it_has_changed() {
    let machine = EngineRoot::new("list");
    let file = "var/lib/containers/storage/overlay-containers/containers.json";
    machine.put(file, LIST);
    let owner = rustix::process::getuid().as_raw();
    let mut folders = EngineFolders::of_system(&machine.0, owner);
    let mut name = || {
        let found = folders.look_up(&Question {
            runtime: Some(Runtime::Podman),
            id: Some(ID),
            pod: None,
        });
        found.and_then(|labels| labels.name)
    };
    assert_eq!(name().as_deref(), Some("web"));
    let renamed = machine.put("new", &LIST.replace("[\"web\"]", "[\"front\"]"));
    fs::rename(renamed, machine.0.join(file)).unwrap();
    assert_eq!(name().as_deref(), Some("front"));
    fs::remove_file(machine.0.join(file)).unwrap();
    assert_eq!(name(), None);
}

#[test]
fn questions_are_answered_by_their_numbers() {
    let machine = EngineRoot::new("protocol");
    machine.put("var/lib/docker/containers/ID/config.v2.json", DOCKER);
    let owner = rustix::process::getuid().as_raw();
    let mut folders = EngineFolders::of_system(&machine.0, owner);
    let requested = |number, id| {
        let runtime = Some(Runtime::Docker);
        let id = Some(id);
        protocol::question(
            number,
            &Question {
                runtime,
                id,
                pod: None,
            },
        )
    };
    let questions = [
        requested(1, OTHER),
        requested(2, ID),
        requested(3, "a\"\n\\"),
    ]
    .concat();
    let mut answers = Vec::new();
    protocol::serve(&questions[..], &mut answers, &mut folders).unwrap();
    let answers: Vec<_> = answers
        .split_inclusive(|&byte| byte == b'\n')
        .map(|line| {
            let (number, labels) = protocol::parse_answer(line).unwrap();
            (number, labels.name)
        })
        .collect();
    assert_eq!(
        answers,
        [(1, None), (2, Some("shop-web-1".to_owned())), (3, None)]
    );
    assert!(protocol::parse_answer(b"nonsense").is_none());
    assert!(protocol::serve(&b"nonsense\n"[..], Vec::new(), &mut folders).is_err());
}

#[test]
fn a_container_that_its_engine_has_forgotten_keeps_its_name_with_a_mark() {
    let web = ContainerLabels {
        name: Some("web".into()),
        ..ContainerLabels::default()
    };
    let stale = labels_after(Some(&web), None).unwrap();
    assert!(stale.is_stale);
    assert_eq!(stale.name, web.name);
    assert_eq!(labels_after(Some(&stale), None), None, "marked already");
    let again = labels_after(Some(&stale), Some(web.clone()));
    assert_eq!(again, Some(web), "the engine knows it again");
    assert_eq!(labels_after(None, None), None);
}
