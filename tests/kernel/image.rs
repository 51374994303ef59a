//! The image of packaging/Containerfile in podman, with the settings of
//! contrib/kubernetes/flowtop.yaml, which are those of the Helm chart too.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::counting::tcp_pair;
use crate::common::folder::Folder;
use crate::common::{records, stderr};
use crate::container_names::send_from;
use crate::metrics::{free_port, scrape, until, value};
use serde_json::Value;

const CONTAINER: &str = "88ab0123456789abcdef0123456789abcdef0123456789abcdef012345000009";
const POD: &str = "1b2c3d4e-5f60-7182-93a4-b5c6d7e8f901";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn podman(args: &[&str]) -> Command {
    let mut command = Command::new("podman");
    // crun, which podman prefers, refuses hosts whose cgroups are hybrid.
    command
        .args(["--runtime", "runc"])
        .args(args)
        .stdin(Stdio::null());
    command
}

/// Says that a test was left out, which CI does not accept.
#[expect(clippy::print_stderr, reason = "a test that was left out says so")]
fn left_out(message: &str) {
    assert!(std::env::var_os("CI").is_none(), "{message}");
    eprintln!("\n!!! NOT TESTED: {message}");
}

/// The DaemonSet, which fits the schema of Kubernetes; `None` where that cannot be had.
fn daemon_set() -> Option<Value> {
    let engines = Command::new(root().join("scripts/engines.sh"))
        .output()
        .unwrap();
    if !engines.status.success() {
        left_out(&stderr(&engines));
        return None;
    }
    let python = PathBuf::from(String::from_utf8(engines.stdout).unwrap().trim());
    let output = Command::new(python)
        .arg(root().join("tests/offline/engines.py"))
        .arg("kubernetes")
        .arg(root().join("contrib/kubernetes/flowtop.yaml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let mut objects = records(output.stdout).into_iter();
    objects.find(|object| object["kind"] == "DaemonSet")
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().into_iter().flatten();
    list.map(|text| text.as_str().unwrap())
}

/// The options of podman that are what the DaemonSet sets, with logs as a kubelet would have them.
fn settings(spec: &Value, logs: &Folder) -> Vec<String> {
    let container = &spec["containers"][0];
    let security = &container["securityContext"];
    let mut options = Vec::new();
    for (key, option) in [("hostPID", "--pid=host"), ("hostNetwork", "--network=host")] {
        if spec[key] == true {
            options.push(option.to_owned());
        }
    }
    if security["readOnlyRootFilesystem"] == true {
        options.push("--read-only".to_owned());
    }
    for (key, option) in [("drop", "--cap-drop"), ("add", "--cap-add")] {
        options
            .extend(texts(&security["capabilities"][key]).map(|name| format!("{option}={name}")));
    }
    // podman's 128m is Kubernetes' 128Mi.
    let memory = container["resources"]["limits"]["memory"].as_str().unwrap();
    options.push(format!("--memory={}", memory.strip_suffix('i').unwrap()));
    for mount in container["volumeMounts"].as_array().unwrap() {
        let volumes = spec["volumes"].as_array().unwrap();
        let volume = volumes
            .iter()
            .find(|volume| volume["name"] == mount["name"])
            .unwrap();
        let to = mount["mountPath"].as_str().unwrap();
        let from = volume["hostPath"]["path"].as_str().unwrap();
        let from = match from.strip_prefix("/var/log/") {
            Some(name) => logs.file(name),
            None => from.to_owned(),
        };
        let mode = if mount["readOnly"] == true { ":ro" } else { "" };
        options.push(format!("--volume={from}:{to}{mode}"));
    }
    options
}

/// An image that is removed when dropped.
struct Image {
    name: String,
    options: Vec<String>,
}

impl Image {
    /// The debug build beside the libraries of this machine, which the static build does without.
    fn build(options: Vec<String>) -> Self {
        let folder = Folder::new("image");
        fs::copy(env!("CARGO_BIN_EXE_flowtop"), folder.join("flowtop")).unwrap();
        let name = format!("localhost/flowtop-test-{}", std::process::id());
        let output = podman(&["build", "-q", "-t", &name, "-f"])
            .args([root().join("packaging/Containerfile"), folder.path().into()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        Self { name, options }
    }

    fn run(&self, name: &str, args: &[&str]) -> Command {
        let libraries = format!(
            "/usr/lib/{0}-linux-gnu:/lib/{0}-linux-gnu:ro",
            std::env::consts::ARCH
        );
        let mut command = podman(&["run", "--rm", "--name", name, "--volume", &libraries]);
        command
            .args(["--volume", "/lib64:/lib64:ro"])
            // podman cannot raise them without CAP_SYS_RESOURCE, and would.
            .args([
                "--ulimit",
                "nofile=1024:1024",
                "--ulimit",
                "nproc=1024:1024",
            ])
            .args(&self.options)
            .arg(&self.name)
            .args(args);
        command
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = podman(&["rmi", "-f", &self.name]).output();
    }
}

#[test]
fn the_image_counts_the_traffic_of_its_host_with_the_settings_of_the_daemon_set() {
    let Some(daemon_set) = daemon_set() else {
        return;
    };
    match podman(&["info"]).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => return left_out(&format!("podman does not run here: {}", stderr(&output))),
        Err(error) => return left_out(&format!("podman: {error}: make deps-test installs it")),
    }
    let spec = &daemon_set["spec"]["template"]["spec"];
    let logs = Folder::new("kubelet-logs");
    fs::create_dir_all(logs.join(format!("pods/shop_web-0_{POD}"))).unwrap();
    fs::create_dir(logs.join("containers")).unwrap();
    let log = format!("containers/web-0_shop_nginx-{CONTAINER}.log");
    symlink("/nowhere", logs.join(&log)).unwrap();
    let image = Image::build(settings(spec, &logs));
    let name = format!("flowtop-test-{}", std::process::id());

    // To the byte, of a process of the host, and of one in a pod.
    let pod = UdpSocket::bind("127.0.0.1:0").unwrap();
    let pod_port = pod.local_addr().unwrap().port();
    let filter = format!(
        "pid {} or (udp and remote port {pod_port})",
        std::process::id()
    );
    let mut container = image
        .run(&name, &["--json", "-n", "0", "-i", "100ms", &filter])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(container.stdout.take().unwrap());
    let mut line = String::new();
    printed.read_line(&mut line).unwrap();
    assert!(line.contains("\"interval\""), "{line}{}", {
        let output = container.wait_with_output().unwrap();
        stderr(&output)
    });
    let (mut client, mut server) = tcp_pair();
    let port = client.local_addr().unwrap().port();
    client.write_all(&vec![7; 100_003]).unwrap();
    server.read_exact(&mut vec![0; 100_003]).unwrap();
    let cgroup = format!("/kubepods/burstable/pod{POD}/{CONTAINER}");
    send_from(&cgroup, 1009, pod_port);
    let stopped = podman(&["stop", &name]).output().unwrap();
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    let mut rest = String::new();
    printed.read_to_string(&mut rest).unwrap();
    let output = container.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let sent = records(&rest)
        .into_iter()
        .filter(|record| record["local_port"] == port);
    let sent: Vec<(u64, Value)> = sent
        .map(|flow| (flow["tx_bytes"].as_u64().unwrap(), flow["user"].clone()))
        .collect();
    assert_eq!(
        sent.iter().map(|(bytes, _)| bytes).sum::<u64>(),
        100_003,
        "{rest}"
    );
    assert!(sent.iter().all(|(_, user)| user == "root"), "{sent:?}");
    let of_pod: Vec<Value> = records(&rest)
        .into_iter()
        .filter(|record| record["tx_bytes"] == 1009)
        .collect();
    let [of_pod] = of_pod.as_slice() else {
        panic!("one flow of the pod, and not {of_pod:?}")
    };
    for (field, expected) in [
        ("container", CONTAINER),
        ("container_name", "nginx"),
        ("pod", POD),
        ("pod_name", "web-0"),
        ("pod_namespace", "shop"),
    ] {
        assert_eq!(of_pod[field], expected, "{field}: {of_pod}");
    }

    // As the DaemonSet has it started.
    let addr: SocketAddr = free_port();
    let args = texts(&spec["containers"][0]["args"]);
    let args: Vec<String> = args
        .map(|arg| arg.replace("$(NODE_IP):9435", &addr.to_string()))
        .collect();
    assert!(args.contains(&addr.to_string()), "{args:?}");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut container = image.run(&name, &args).spawn().unwrap();
    let total = |page: &str| value(page, "flowtop_tx_bytes_total").unwrap();
    let counts = |least: f64| {
        until("flowtop counts in the container", || {
            let page = scrape(addr)?;
            (total(&page) >= least).then(|| total(&page))
        })
    };
    let before = counts(1.0);
    client.write_all(&vec![7; 100_003]).unwrap();
    server.read_exact(&mut vec![0; 100_003]).unwrap();
    counts(before + 100_003.0);
    let stopped = podman(&["stop", &name]).output().unwrap();
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    assert!(container.wait().unwrap().success());
}
