//! What holds of any file that may stand where an engine leaves names.

use std::path::Path;

use super::files::{EngineFolders, Question};
use super::protocol;
use crate::model::container::is_label;
use crate::resolve::cgroup::Runtime;

/// Any bytes are read as each of the files, and as an answer. Names are names, or there are none.
///
/// # Panics
/// When that is not so.
pub fn files(bytes: &[u8]) {
    let root = std::env::temp_dir().join(format!("flowtop-names-{}", std::process::id()));
    let id = "0123456789abcdef".repeat(4);
    let label_files = [
        ("var/lib/docker/containers", format!("{id}/config.v2.json")),
        (
            "var/lib/containers/storage/overlay-containers",
            "containers.json".to_owned(),
        ),
        (
            "run/containerd/io.containerd.runtime.v2.task",
            format!("k8s.io/{id}/config.json"),
        ),
        (
            "run/containers/storage/overlay-containers",
            format!("{id}/userdata/config.json"),
        ),
    ];
    for (folder, file) in label_files {
        let path = root.join(folder).join(file);
        let made = path
            .parent()
            .is_some_and(|folder| std::fs::create_dir_all(folder).is_ok());
        assert!(
            made && std::fs::write(&path, bytes).is_ok(),
            "{}",
            path.display()
        );
    }
    look_up_all(&root, &id);
    let _ = std::fs::remove_dir_all(&root);
    if let Some((_, labels)) = protocol::parse_answer(bytes) {
        let labels = labels.checked(is_label);
        assert!(labels.texts().all(|text| is_label(text)), "{labels:?}");
    }
}

fn look_up_all(root: &Path, id: &str) {
    let Ok(root) = root.canonicalize() else {
        return;
    };
    let mut folders = EngineFolders::of_system(&root, rustix::process::getuid().as_raw());
    let runtimes = [
        Runtime::Docker,
        Runtime::Podman,
        Runtime::Containerd,
        Runtime::Crio,
        Runtime::Unknown,
    ];
    for runtime in runtimes {
        let labels = folders.look_up(&Question {
            runtime: Some(runtime),
            id: Some(id),
            pod: None,
        });
        if let Some(labels) = labels {
            assert!(!labels.is_empty());
            assert!(labels.texts().all(|text| is_label(text)), "{labels:?}");
        }
    }
}
