//! Names of containers and pods from files: those of a real engine, and those of engines that do
//! not run here.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops there")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::counting::Flowtop;
use crate::common::flowtop;
use crate::privileges::{NOBODY, assert_given_up, threads};
use serde_json::Value;

const ID: &str = "77ab0123456789abcdef0123456789abcdef0123456789abcdef012345";
/// A user with engines of his own.
const OWNER: u32 = 61234;
const POD: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

/// Files of engines that are not installed, in a mount namespace of flowtop's own: nothing of the
/// machine is changed.
const FILES: &str = r#"
    set -e
    mount -t tmpfs -o mode=755 none /var/lib
    mount -t tmpfs -o mode=755 none /var/log
    umask 077
    web=/var/lib/docker/containers/${ID}000001
    other=/var/lib/docker/containers/${ID}000002
    mkdir -p "$web" "$other"
    echo '{"Name":"/shop-web-1","Config":{"Image":"nginx:1.29","Labels":{"com.docker.compose.project":"shop",
        "com.docker.compose.service":"web"}}}' >"$web/config.v2.json"
    echo '{"Name":"/forged","Config":{"Image":"x"}}' >"$other/config.v2.json"
    chmod 666 "$other/config.v2.json"
    umask 022
    home=/run/user/home
    mount -t tmpfs -o mode=755 none /run/user
    mkdir -p "/run/user/$OWNER" "$home"
    storage=$home/.local/share/containers/storage/overlay-containers
    install -d -o "$OWNER" $home/.local $home/.local/share $home/.local/share/containers \
        $home/.local/share/containers/storage "$storage"
    echo "[{\"id\":\"${ID}000001\",\"names\":[\"rootless-web\"]}]" >"$storage/containers.json"
    chown "$OWNER" "$home" "$storage/containers.json"
    cp /etc/passwd /run/user/passwd
    echo "owner:x:$OWNER:$OWNER::$home:/bin/sh" >>/run/user/passwd
    mount --bind /run/user/passwd /etc/passwd
    mkdir -p "/var/log/pods/prod_api-0_$POD" /var/log/containers
    ln -s /nowhere "/var/log/containers/api-0_prod_server-${ID}000003.log"
    exec "$@"
"#;

/// Sends a datagram of so many bytes out of a cgroup and ends; the cgroup is removed.
pub fn send_from(path: &str, bytes: usize, port: u16) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let is_pids = |line: &&str| {
        let options = line.split(" - cgroup ").nth(1);
        options.is_some_and(|options| options.ends_with(",pids"))
    };
    let is_v2 = |line: &&str| line.contains(" - cgroup2 ");
    let mount = mounts.lines().find(is_pids).or(mounts.lines().find(is_v2));
    let root = PathBuf::from(mount.unwrap().split(' ').nth(4).unwrap());
    let dir = root.join(path.trim_start_matches('/'));
    let missing = dir.ancestors().take_while(|above| !above.exists());
    let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    fs::create_dir_all(&dir).unwrap();
    let script = "echo 0 >$1/cgroup.procs; printf %$2s >/dev/udp/127.0.0.1/$3";
    let status = Command::new("bash")
        .args(["-c", script, "bash", dir.to_str().unwrap()])
        .args([bytes.to_string(), port.to_string()])
        .status();
    assert!(status.unwrap().success());
    for made in missing {
        fs::remove_dir(made).unwrap();
    }
}

/// Rows of groups, by their names.
fn rows(records: &[Value]) -> BTreeMap<String, u64> {
    let groups = records.iter().filter(|record| record["type"] == "group");
    let mut rows = BTreeMap::new();
    for group in groups {
        let name = group["name"].as_str().unwrap().to_owned();
        *rows.entry(name).or_default() += group["tx_bytes"].as_u64().unwrap();
    }
    rows
}

#[test]
fn containers_and_pods_have_the_names_that_files_give_them() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = receiver.local_addr().unwrap().port();
    let folder = crate::common::folder::Folder::new("container-names");
    let recording = folder.path().join("names.jsonl.zst");
    let start = |args: &[&str]| {
        let mut flowtop = Command::new("unshare");
        flowtop.args([
            "-m",
            "sh",
            "-c",
            FILES,
            "sh",
            env!("CARGO_BIN_EXE_flowtop"),
            "--json",
        ]);
        flowtop.args(["-n", "0", "-i", "100ms"]).args(args);
        flowtop.env("ID", ID).env("POD", POD);
        flowtop.env("OWNER", OWNER.to_string());
        Flowtop::spawned(flowtop)
    };
    let filter = format!("udp and remote port {port}");
    let all = start(&["--record", recording.to_str().unwrap(), &filter]);
    let web = start(&[&format!("{filter} and container shop-web-1")]);
    readers_are_nobody_but_for_files(&web);
    let user = |uid: u32| format!("/user.slice/user-{uid}.slice/user@{uid}.service");
    for (path, bytes) in [
        (format!("/docker/{ID}000001"), 10),
        // A file that others may write names nothing.
        (format!("/docker/{ID}000002"), 20),
        (format!("/kubepods/burstable/pod{POD}/{ID}000003"), 40),
        // The same id below a user's manager, of which root's files say nothing.
        (format!("{}/docker-{ID}000001.scope", user(61_235)), 80),
        // The same number again, in a user's own Podman, which names it by that user's files.
        (
            format!("{}/user.slice/libpod-{ID}000001.scope", user(OWNER)),
            320,
        ),
        ("/flowtop-test.service".to_owned(), 160),
    ] {
        send_from(&path, bytes, port);
    }
    let (all, web) = (all.stop(), web.stop());
    let flow = |bytes: u64| {
        let found = all
            .iter()
            .find(|it| it["type"] == "flow" && it["tx_bytes"] == bytes);
        found.unwrap()
    };
    let names = |bytes| {
        let fields = [
            "container_name",
            "image",
            "pod_name",
            "pod_namespace",
            "compose_project",
            "compose_service",
        ];
        let flow = flow(bytes);
        fields.map(|field| flow.get(field).map_or("", |text| text.as_str().unwrap()))
    };
    assert_eq!(
        names(10),
        ["shop-web-1", "nginx:1.29", "", "", "shop", "web"]
    );
    assert_eq!(names(20), [""; 6]);
    assert_eq!(names(40), ["server", "", "api-0", "prod", "", ""]);
    assert_eq!(names(80), [""; 6]);
    assert_eq!(names(160), [""; 6]);
    assert_eq!(names(320), ["rootless-web", "", "", "", "", ""]);
    assert_eq!(flow(10)["container"], format!("{ID}000001"));
    let mine: Vec<_> = web.iter().filter(|it| it["type"] == "flow").collect();
    assert_eq!(mine.len(), 1, "{mine:?}");
    assert_eq!(mine[0]["tx_bytes"], 10);

    a_replay_has_the_names(recording.to_str().unwrap());
}

/// One reader opens the files of root, another those of the user; no process of the run has root's user id or a capability.
fn readers_are_nobody_but_for_files(flowtop: &Flowtop) {
    let pid = flowtop.id();
    assert_given_up(&threads(pid), NOBODY, NOBODY);
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let readers: Vec<u32> = children
        .split_whitespace()
        .map(|child| child.parse().unwrap())
        .collect();
    let uid_of = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        uids.unwrap().split_whitespace().nth(3).unwrap().to_owned()
    };
    let mut files: Vec<String> = readers.iter().map(|&pid| uid_of(pid)).collect();
    files.sort_unstable();
    assert_eq!(files, ["0", &OWNER.to_string()]);
    for reader in readers {
        assert_given_up(&threads(reader), NOBODY, &uid_of(reader));
    }
}

/// It asks no file: those of the recording are gone.
fn a_replay_has_the_names(recording: &str) {
    let replayed = |args: &[&str]| {
        let mut replay = flowtop();
        replay.args(["--json", "-n", "0", "--replay", recording]);
        let output = replay.args(args).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
        rows(&records.collect::<Vec<Value>>())
    };
    let expected = |rows: &[(&str, u64)]| -> BTreeMap<String, u64> {
        rows.iter()
            .map(|(name, bytes)| ((*name).to_owned(), *bytes))
            .collect()
    };
    for (group, rows) in [
        (
            "container",
            &[
                ("docker:shop-web-1", 10),
                ("docker:77ab01234567", 20),
                ("prod/api-0/server", 40),
                ("docker:77ab01234567 of uid 61235", 80),
                ("podman:rootless-web of uid 61234", 320),
                ("no container", 160),
            ][..],
        ),
        ("pod", &[("prod/api-0", 40), ("no pod", 590)][..]),
        ("namespace", &[("prod", 40), ("no namespace", 590)][..]),
        (
            "compose",
            &[("shop/web", 10), ("no compose", 160), ("unknown", 460)][..],
        ),
        ("job", &[("no job", 630)][..]),
    ] {
        assert_eq!(replayed(&["-g", group]), expected(rows), "-g {group}");
    }
    for (filter, bytes) in [
        ("container prod/api-0/server or container shop-*", 50),
        ("pod api-0", 40),
        ("namespace prod", 40),
        ("compose shop", 10),
        ("compose shop/web", 10),
        ("not namespace prod", 590),
    ] {
        let rows = replayed(&["-g", "container", filter]);
        assert_eq!(rows.values().sum::<u64>(), bytes, "{filter}: {rows:?}");
    }
}

/// Runs podman, over runc: crun does not run where cgroup v1 and v2 are side by side.
fn podman(args: &[&str]) -> String {
    let output = Command::new("podman")
        .args(["--runtime", "runc"])
        .args(args)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "podman {args:?}: {error}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What a test made in podman; removed when dropped.
struct Podman(&'static str);

impl Drop for Podman {
    fn drop(&mut self) {
        let quiet = |args: &[&str]| {
            let mut podman = Command::new("podman");
            let _ = podman
                .args(args)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        };
        quiet(&["rm", "--force", "--ignore", self.0]);
        quiet(&["rmi", "--force", self.0]);
    }
}

/// A container that sends once and ends is named as `podman ps` names it.
#[test]
fn a_short_container_of_podman_has_its_name() {
    const NAME: &str = "flowtop-test-names";
    let busybox = ["/bin/busybox", "/usr/bin/busybox"];
    let busybox = busybox.into_iter().find(|path| Path::new(path).exists());
    let has = |program: &str| {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).any(|folder| folder.join(program).exists())
    };
    let (Some(busybox), true) = (busybox, has("podman") && has("runc")) else {
        println!(
            "skipped: podman, runc or busybox is not installed (make deps-test installs them)"
        );
        return;
    };
    let folder = crate::common::folder::Folder::new("podman-names");
    let root = folder.path().join("root/bin");
    fs::create_dir_all(&root).unwrap();
    fs::copy(busybox, root.join("busybox")).unwrap();
    let image = folder.path().join("image.tar");
    let tar = Command::new("tar")
        .args([
            "-C",
            root.parent().unwrap().to_str().unwrap(),
            "-cf",
            image.to_str().unwrap(),
            ".",
        ])
        .status();
    assert!(tar.unwrap().success());
    let _made = Podman(NAME);
    podman(&["import", image.to_str().unwrap(), NAME]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let send = format!("echo 12345 | /bin/busybox nc 127.0.0.1 {port}");
    // Limits that a container may not have in a container are those of the test.
    let limits = [
        "--ulimit",
        "nofile=1024:1024",
        "--ulimit",
        "nproc=1024:1024",
    ];
    let create = ["create", "--network", "host", "--name", NAME];
    let run = [NAME, "/bin/busybox", "sh", "-c", &send];
    let id = podman(&[&create[..], &limits, &run].concat());
    let flowtop = Flowtop::every("100ms", &[&format!("container {NAME}")]);
    podman(&["start", NAME]);
    let mut received = Vec::new();
    listener
        .accept()
        .unwrap()
        .0
        .read_to_end(&mut received)
        .unwrap();
    assert_eq!(received, b"12345\n");
    podman(&["wait", NAME]);
    let records = flowtop.stop();
    let flows: Vec<_> = records
        .iter()
        .filter(|it| it["type"] == "flow" && it["tx_bytes"] == 6)
        .collect();
    assert_eq!(flows.len(), 1, "{records:#?}");
    let format = [
        "ps",
        "--all",
        "--no-trunc",
        "--filter",
        "name=flowtop-test-names",
        "--format",
    ];
    let listed = podman(&[&format[..], &["{{.ID}} {{.Names}} {{.Image}}"]].concat());
    let text = |field: &str| flows[0][field].as_str().unwrap();
    assert_eq!(
        listed,
        [text("container"), text("container_name"), text("image")].join(" ")
    );
    assert_eq!(text("container"), id);
}
