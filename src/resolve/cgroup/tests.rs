//! Paths as they are on real machines.

use super::parse::unescape;
use super::*;

const ID: &str = "3f5c1d0a9b8e7f6d5c4b3a29180f7e6d5c4b3a291807f6e5d4c3b2a190807f6e";
const POD: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

/// `{id}`, `{pod}` and `{p_o_d}` stand for the long ids.
fn at(path: &str) -> CgroupLocation {
    let path = path
        .replace("{id}", ID)
        .replace("{pod}", POD)
        .replace("{p_o_d}", &POD.replace('-', "_"));
    parse_path(&path)
}

#[track_caller]
fn assert_container(path: &str, runtime: Runtime, id: &str, pod: Option<&str>) {
    let location = at(path);
    let expected = Container {
        runtime,
        id: id.to_owned(),
    };
    assert_eq!(location.container, Some(expected), "{path}");
    assert_eq!(location.pod.as_deref(), pod, "{path}");
}

#[test]
fn containers_are_known_by_runtime_and_id() {
    for (path, runtime) in [
        ("/system.slice/docker-{id}.scope", Runtime::Docker),
        ("/docker/{id}", Runtime::Docker),
        ("/ecs/0123456789abcdef/{id}", Runtime::Unknown),
        ("/machine.slice/libpod-{id}.scope", Runtime::Podman),
        (
            "/machine.slice/libpod-{id}.scope/container",
            Runtime::Podman,
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope/container",
            Runtime::Podman,
        ),
        ("/libpod_parent/libpod-{id}", Runtime::Podman),
        (
            "/system.slice/web.service/libpod-payload-{id}",
            Runtime::Podman,
        ),
        ("/system.slice/nerdctl-{id}.scope", Runtime::Containerd),
        ("/default/{id}", Runtime::Containerd),
        ("/some/folder/{id}", Runtime::Unknown),
        ("/../../system.slice/docker-{id}.scope", Runtime::Docker),
        ("/system.slice/docker-{id}.scope (deleted)", Runtime::Docker),
        (
            "/system.slice/docker-{id}.scope/init.scope",
            Runtime::Docker,
        ),
        // Docker in docker: the inner one is what the process is in.
        ("/docker/0000/docker/{id}", Runtime::Docker),
    ] {
        assert_container(path, runtime, ID, None);
    }
}

#[test]
fn pods_are_known_by_their_id() {
    for (path, runtime) in [
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{p_o_d}.slice/\
             cri-containerd-{id}.scope",
            Runtime::Containerd,
        ),
        (
            "/kubepods.slice/kubepods-pod{p_o_d}.slice/crio-{id}.scope",
            Runtime::Crio,
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{p_o_d}.slice/\
             docker-{id}.scope",
            Runtime::Docker,
        ),
        ("/kubepods/burstable/pod{pod}/{id}", Runtime::Kubernetes),
        ("/kubepods/pod{pod}/{id}", Runtime::Kubernetes),
        ("/kubepods/besteffort/pod{pod}/crio-{id}", Runtime::Crio),
        // containerd without the systemd driver under a kubelet with it.
        (
            "/system.slice/containerd.service/kubepods-burstable-pod{p_o_d}.slice:cri-containerd:{id}",
            Runtime::Containerd,
        ),
        // kind: Kubernetes inside of a container.
        (
            "/system.slice/docker-ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
             .scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/\
             kubelet-kubepods-besteffort-pod{p_o_d}.slice/cri-containerd-{id}.scope",
            Runtime::Containerd,
        ),
    ] {
        assert_container(path, runtime, ID, Some(POD));
    }
    // A pod of a file on the node has the hash of the file as its id.
    let location = at("/kubepods/burstable/pod0123456789abcdef0123456789abcdef/{id}");
    assert_eq!(
        location.pod.as_deref(),
        Some("0123456789abcdef0123456789abcdef")
    );
    let pause = at("/kubepods.slice/kubepods-pod{p_o_d}.slice");
    assert_eq!((pause.pod.as_deref(), pause.container), (Some(POD), None));
    assert_eq!(at("/kubepods/pod{pod}").to_string(), "pod:0a1b2c3d");
}

#[test]
fn system_containers_are_known_by_name() {
    for (path, runtime, name) in [
        ("/lxc.payload.web-1", Runtime::Lxc, "web-1"),
        (
            "/lxc.payload.web-1/system.slice/nginx.service",
            Runtime::Lxc,
            "web-1",
        ),
        ("/lxc/101/ns/system.slice/ssh.service", Runtime::Lxc, "101"),
        ("/lxc.payload/web/init.scope", Runtime::Lxc, "web"),
        (
            "/machine.slice/systemd-nspawn@debian.service/payload/system.slice/cron.service",
            Runtime::Machine,
            "debian",
        ),
        (
            "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator",
            Runtime::Machine,
            "qemu-1-vm",
        ),
    ] {
        assert_container(path, runtime, name, None);
    }
}

#[test]
fn units_are_known_where_there_is_no_container() {
    for (path, unit) in [
        ("/system.slice/nginx.service", Some("nginx.service")),
        (
            "/system.slice/system-getty.slice/getty@tty1.service",
            Some("getty@tty1.service"),
        ),
        (
            "/user.slice/user-1000.slice/session-3.scope",
            Some("session-3.scope"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-1234.scope",
            Some("user@1000.service"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/init.scope",
            Some("user@1000.service"),
        ),
        (
            "/system.slice/web.service/worker.service",
            Some("web.service"),
        ),
        (
            "/system.slice/system-sshd.slice/sshd@7-10.0.0.1:22-10.0.0.2:4000.service",
            Some("sshd@7-10.0.0.1:22-10.0.0.2:4000.service"),
        ),
        (
            "/system.slice/systemd-fsck@dev-disk-by\\x2duuid-1\\x2d2.service",
            Some("systemd-fsck@dev-disk-by-uuid-1-2.service"),
        ),
        ("/system.slice", Some("system.slice")),
        ("/init.scope", Some("init.scope")),
        ("/-.slice", None),
        ("/", None),
        ("", None),
        ("/my/own/group", None),
        // Who watches over a container is not in it.
        (
            "/machine.slice/libpod-conmon-{id}.scope",
            Some("libpod-conmon-ID.scope"),
        ),
        ("/lxc.monitor.web-1", None),
    ] {
        let location = at(path);
        let unit = unit.map(|unit| unit.replace("ID", ID));
        assert_eq!(location.unit, unit, "{path}");
        assert_eq!((location.container, location.pod), (None, None), "{path}");
    }
}

#[test]
fn what_only_looks_like_a_container_is_none() {
    for path in [
        "/docker/buildkit",
        "/podcast",
        "/pod0a1b",
        "/system.slice/docker.service",
        "/system.slice/containerd.service",
        "/system.slice/docker-compose.scope",
        "/system.slice/docker-web.service",
        "/system.slice/crio-conmon-{id}.scope",
        "/libpod_parent/conmon",
        "/my/default/web",
        "/my/docker-web",
        "/system.slice/dbus-:1.2-org.example.Name@0.service",
        "/slurmstepd.scope/system",
        "/my/job_7",
    ] {
        let location = at(path);
        assert_eq!((location.container, location.pod), (None, None), "{path}");
    }
}

#[test]
fn a_step_of_slurm_is_known_beside_its_job() {
    for (path, step) in [
        (
            "/system.slice/slurmstepd.scope/job_123/step_0/user/task_0",
            Some("123.0"),
        ),
        (
            "/system.slice/node1_slurmstepd.scope/job_123/step_batch",
            Some("123.batch"),
        ),
        (
            "/slurm/uid_1000/job_123/step_extern/task_0",
            Some("123.extern"),
        ),
        (
            "/slurm_node1/uid_0/job_123/step_interactive",
            Some("123.interactive"),
        ),
        // Steps of heterogeneous jobs have the component in their name.
        ("/slurm/uid_1000/job_123/step_4+1/task_0", Some("123.4+1")),
        ("/slurm_node1/uid_0/job_123", None),
        // Below a step names are the user's.
        ("/slurm/uid_1000/job_123/step_0/step_7", Some("123.0")),
        ("/slurm/uid_1000/job_123/x/step_7", None),
        ("/pbs_jobs.service/jobid/123/step_0", None),
        ("/my/job_7/step_0", None),
    ] {
        assert_eq!(at(path).job_step_name().as_deref(), step, "{path}");
    }
    let group = |step: &str| {
        let path = format!("/slurm/uid_1000/job_123/step_{step}/task_0");
        SharedLocation::from(&at(&path)).container
    };
    assert_eq!(group("0"), group("1"), "steps of a job are one row");
}

#[test]
fn batch_jobs_are_known_by_their_number_with_all_their_steps() {
    for (path, runtime) in [
        (
            "/system.slice/slurmstepd.scope/job_123/step_0/user/task_0",
            Runtime::Slurm,
        ),
        (
            "/system.slice/node1_slurmstepd.scope/job_123/step_batch",
            Runtime::Slurm,
        ),
        ("/slurm/uid_1000/job_123/step_batch/task_0", Runtime::Slurm),
        ("/slurm_node1/uid_0/job_123", Runtime::Slurm),
        ("/pbs_jobs.service/jobid/123", Runtime::Pbs),
        ("/lsf/cluster1/job.123.77.1700000000", Runtime::Lsf),
    ] {
        assert_container(path, runtime, "123", None);
    }
    let nested = at("/slurm/uid_1000/job_123/step_0/libpod-{id}.scope");
    assert_eq!(nested.job.map(|job| job.id).as_deref(), Some("123"));
    assert_eq!(nested.container.map(|it| it.runtime), Some(Runtime::Podman));
}

/// Whoever may make cgroups below one that was delegated chooses their names, so these never join
/// those of others.
#[test]
fn names_below_a_delegated_cgroup_are_those_of_whom_it_was_delegated_to() {
    let user = "/user.slice/user-1001.slice/user@1001.service/app.slice";
    let container = "/docker/fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
    let deep = "/…/a";
    for name in [
        "docker-{id}.scope",
        "kubepods-pod{p_o_d}.slice",
        "lxc.payload.db",
        "docker/{id}",
        "kubepods/pod{pod}",
    ] {
        let plain = at(&format!("/{name}"));
        for above in [user, container, deep] {
            let forged = at(&format!("{above}/{name}"));
            let id = |location: &CgroupLocation| {
                (
                    location.container.as_ref().map(|it| it.id.clone()),
                    location.pod.clone(),
                )
            };
            assert_eq!(id(&forged), id(&plain), "{above}/{name}");
            let key = |location| SharedLocation::from(location).container;
            assert_ne!(key(&forged), key(&plain), "{above}/{name}");
            assert_ne!(forged.to_string(), plain.to_string(), "{above}/{name}");
        }
    }
    // A container inside of one that was made up is still that of the user, and of the outermost
    // container.
    let delegate = |path: &str| at(path).delegate;
    assert_eq!(
        delegate(&format!("{user}/docker/aa/docker/{ID}")),
        Delegate::User(1001)
    );
    let Delegate::Container(outer) = delegate(&format!("{container}/docker/aa/docker/{ID}")) else {
        panic!("it is inside of a container");
    };
    assert!(container.ends_with(&outer.id));
    // Units.
    let unit = |path: &str| (at(path).unit, at(path).user_unit);
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        unit(&format!("{user}/nginx.service")),
        (some("user@1001.service"), some("nginx.service"))
    );
    assert_eq!(unit("/…/a/nginx.service"), (None, None));
    assert_eq!(unit("/…/a.slice"), (None, None));
}

mod shapes {
    use proptest::prelude::*;

    use super::*;

    /// An id in any form that a runtime could write.
    fn id() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9a-f]{64}",
            "[0-9a-f]{12}",
            "[0-9a-f]{32}-[0-9]{10}",
            "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}",
            "[a-z0-9]{25}",
            "[A-Za-z0-9][A-Za-z0-9_.+]{0,100}[A-Za-z0-9]",
            "[A-Za-z0-9]{200}",
        ]
        .prop_filter("an engine's own names", |id| {
            let reserved = ["conmon", "shim", "monitor", "compose", "buildkit", "daemon"];
            !reserved.iter().any(|word| id.starts_with(word))
                && ![".scope", ".service", ".slice"]
                    .iter()
                    .any(|end| id.ends_with(end))
        })
    }

    /// Paths whose positions decide what each part is, with `ID` and `POD`.
    const LOCATIONS: [(&str, Runtime); 21] = [
        ("/system.slice/docker-ID.scope", Runtime::Docker),
        ("/docker/ID", Runtime::Docker),
        ("/docker/buildkit/ID", Runtime::Docker),
        ("/machine.slice/libpod-ID.scope/container", Runtime::Podman),
        (
            "/system.slice/web.service/libpod-payload-ID",
            Runtime::Podman,
        ),
        ("/libpod_parent/libpod-ID", Runtime::Podman),
        ("/system.slice/nerdctl-ID.scope", Runtime::Containerd),
        ("/default/ID", Runtime::Containerd),
        ("/k8s.io/ID/init", Runtime::Containerd),
        (
            "/system.slice/containerd.service/default:ID",
            Runtime::Containerd,
        ),
        ("/system.slice:docker:ID", Runtime::Docker),
        (
            "/kubepods.slice/kubepods-podPOD.slice/crio-ID.scope",
            Runtime::Crio,
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podPOD.slice/cri-containerd-ID.scope",
            Runtime::Containerd,
        ),
        (
            "/system.slice/containerd.service/kubepods-burstable-podPOD.slice:cri-containerd:ID",
            Runtime::Containerd,
        ),
        ("/kubepods/besteffort/podPOD/ID", Runtime::Kubernetes),
        ("/garden/ID", Runtime::Unknown),
        ("/ecs/TASK/ID", Runtime::Unknown),
        ("/lxc/ID/ns", Runtime::Lxc),
        (
            "/system.slice/slurmstepd.scope/job_ID/step_0/user/task_0",
            Runtime::Slurm,
        ),
        ("/slurm/uid_1000/job_ID/step_batch/task_0", Runtime::Slurm),
        ("/pbs_jobs.service/jobid/ID", Runtime::Pbs),
    ];

    proptest! {
        #[test]
        fn a_container_is_known_by_its_place_whatever_its_id(id in id(), pod in "[a-z0-9]{1,60}") {
            for (location, runtime) in LOCATIONS {
                let path = location.replace("POD", &pod).replace("ID", &id);
                let location = parse_path(&path);
                let found = location.container.as_ref().map(|it| (it.runtime, it.id.as_str()));
                prop_assert_eq!(found, Some((runtime, id.as_str())), "{}", path);
                prop_assert_eq!(location.pod.as_deref(), path.contains(&pod).then_some(pod.as_str())
                    .filter(|_| path.contains("kubepods")), "{}", path);
            }
        }
    }
}

#[test]
fn places_are_written_short() {
    for (path, text) in [
        ("/docker/{id}", "docker:3f5c1d0a9b8e"),
        ("/kubepods/pod{pod}/crio-{id}", "cri-o:3f5c1d0a9b8e"),
        ("/docker/web-1", "docker:web-1"),
        (
            "/garden/01234567-89ab-cdef-0123-4567",
            "container:01234567-89ab-cdef-0123-4567",
        ),
        ("/kubepods/podmy-static-uid", "pod:my-static-uid"),
        (
            "/user.slice/user-7.slice/user@7.service/docker-{id}.scope",
            "docker:3f5c1d0a9b8e of uid 7",
        ),
        (
            "/docker/web-1/docker/{id}",
            "docker:3f5c1d0a9b8e in docker:web-1",
        ),
        (
            "/lxc.payload.a-long-name-of-a-container",
            "lxc:a-long-name-of-a-container",
        ),
        ("/system.slice/nginx.service", "nginx.service"),
        ("/", ""),
    ] {
        assert_eq!(at(path).to_string(), text);
        assert_eq!(at(path).is_empty(), text.is_empty());
    }
}

#[test]
fn the_line_that_tells_most_is_taken() {
    for (file, path) in [
        (
            "0::/system.slice/a.service\n",
            Some("/system.slice/a.service"),
        ),
        // Hybrid: version 2 knows nothing, systemd does.
        (
            "12:pids:/x\n1:name=systemd:/system.slice/a.service\n0::/\n",
            Some("/system.slice/a.service"),
        ),
        (
            "1:name=systemd:/a\n0::/system.slice/b.service\n",
            Some("/system.slice/b.service"),
        ),
        (
            "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n",
            Some("/docker/x"),
        ),
        ("0::/a:b:c\n", Some("/a:b:c")),
        ("0::/\n", Some("/")),
        ("", None),
        ("nonsense\n", None),
    ] {
        assert_eq!(path_of(file), path, "{file:?}");
    }
}

#[test]
fn escapes_that_are_none_stay() {
    assert_eq!(unescape("a\\x2db"), "a-b");
    assert_eq!(unescape("\\x"), "\\x");
    assert_eq!(unescape("\\x2"), "\\x2");
    assert_eq!(unescape("\\xzz\\x2d"), "\\xzz-");
    assert_eq!(unescape("\\xé"), "\\xé");
    assert_eq!(unescape("\\xff"), "\u{fffd}");
}

#[test]
fn no_path_is_too_strange() {
    let parts = [
        "", "/", "\\x", "pod", "lxc", ".slice", ".scope", ":", "docker-", "é", "-", ID,
    ];
    for a in parts {
        for b in parts {
            for c in parts {
                let _ = at(&format!("/{a}/{b}{c}/{c}:{a}")).to_string();
            }
        }
    }
}
