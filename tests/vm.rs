//! The exactness suite on stock kernels: each test boots virtual machines by `tests/vm/run.sh`
//! and runs the checker (`traffic`), `leftover.sh`, `hybrid.sh`, `tree.sh` or
//! `privileges.sh` in them.
//!
//! They are `#[ignore]`d since they take minutes; `make test` runs all of them but `aarch64`, which
//! emulates another architecture (`make test-aarch64`), `named`, and the faults on older kernels
//! (`make test-faults`). A test that cannot run, for want of QEMU or of a kernel, fails.
//!
//! Guests have two CPUs. Two of them share a machine of two, because each waits a third of its
//! time; what measures time (`storm`, `faults`) runs alone.
//!
//! Reports go to `target/exact/`, `target/exact-aarch64/` and `target/privileges/`, consoles and
//! the guests' output to `target/vm/`, and how long each guest took to `target/times`.

#[path = "vm/machine.rs"]
mod machine;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use self::machine::{Outcome, Vm, bpftool, copy, programs, scripts, target};

/// What `auto` runs: it takes one of the other backends, which run every case.
const CASES_OF_AUTO: &str = "--case tcp_v4 --case tcp_v6 --case udp_peers_v4 --case udp_peers_v6 \
    --case udp_recv_unasked --case sendfile_tcp --case splice_tcp_pipe --case tcp_zerocopy_receive \
    --case uring_send_recv --case fork_many --case icmp_ping --case packet_raw";

/// Makes a test of each row: `mod group { #[test] fn name() { run(arguments) } }`.
macro_rules! vm_tests {
    ($(
        $(#[$doc:meta])*
        mod $group:ident by $made_by:literal {
            $($name:ident: $run:ident($($argument:expr),*);)+
        }
    )+) => {
        $(
            $(#[$doc])*
            mod $group {
                $(
                    #[test]
                    #[ignore = concat!("boots virtual machines: ", $made_by)]
                    fn $name() {
                        super::$run($($argument),*).unwrap_or_else(|failure| panic!("{failure}"));
                    }
                )+
            }
        )+
    };
}

vm_tests! {
    /// Every case of the exactness suite by each backend, and a few by `auto`. Each run has a
    /// machine of its own: what one leaves behind cannot help or hurt the next.
    mod exact by "make test-vm" {
        linux_5_10_kprobe: exact("5.10", "kprobe");
        linux_5_10_fentry: exact("5.10", "fentry");
        linux_5_10_auto: exact("5.10", "auto");
        linux_6_1_kprobe: exact("6.1", "kprobe");
        linux_6_1_fentry: exact("6.1", "fentry");
        linux_6_1_auto: exact("6.1", "auto");
        linux_6_12_kprobe: exact("6.12", "kprobe");
        linux_6_12_fentry: exact("6.12", "fentry");
        linux_6_12_tracepoint: exact("6.12", "tracepoint");
        linux_6_12_raw_tracepoint: exact("6.12", "raw_tracepoint");
        linux_6_12_auto: exact("6.12", "auto");
        linux_7_2_kprobe: exact("7.2", "kprobe");
        // Every 7.x kernel preempts itself, where fentry skips events now and then; it must report
        // every one.
        linux_7_2_fentry: exact("7.2", "fentry --may-miss");
        linux_7_2_tracepoint: exact("7.2", "tracepoint");
        // From 7.0 on raw tracepoints skip events as fentry does.
        linux_7_2_raw_tracepoint: exact("7.2", "raw_tracepoint --may-miss");
        linux_7_2_auto: exact("7.2", "auto");
    }

    /// The exactness suite on any kernel of Debian's, by `KERNEL=SUITE/PACKAGE`.
    mod named by "make test-vm KERNEL=trixie/linux-image-rt-amd64" {
        kernel: exact_named();
    }

    /// The exactness suite on another architecture, in emulation.
    mod aarch64 by "make test-aarch64" {
        // BPF trampolines came to aarch64 with Linux 6.4.
        linux_6_1_kprobe: exact_aarch64("6.1", "kprobe");
        linux_6_1_auto: exact_aarch64("6.1", "auto");
        linux_6_12_kprobe: exact_aarch64("6.12", "kprobe");
        linux_6_12_fentry: exact_aarch64("6.12", "fentry");
        linux_6_12_tracepoint: exact_aarch64("6.12", "tracepoint");
        linux_6_12_raw_tracepoint: exact_aarch64("6.12", "raw_tracepoint");
        linux_6_12_auto: exact_aarch64("6.12", "auto");
    }

    /// Traffic from many threads on few CPUs, and quick flips: on a preemptible kernel this is
    /// where probes lose events. `auto` loses nothing (on 6.12 by raw tracepoints); forced fentry
    /// may, and from
    /// 7.0 on forced raw tracepoints do, and say how many.
    mod storm by "make test-vm" {
        linux_6_12_full_auto: storm("6.12", "full", "auto");
        linux_6_12_full_tracepoint: storm("6.12", "full", "tracepoint");
        linux_6_12_full_fentry: storm("6.12", "full", "fentry --expect-missed");
        linux_7_2_lazy_auto: storm("7.2", "lazy", "auto");
        linux_7_2_lazy_raw_tracepoint: storm("7.2", "lazy", "raw_tracepoint --expect-missed");
        linux_7_2_lazy_fentry: storm("7.2", "lazy", "fentry --expect-missed");
        linux_7_2_full_auto: storm("7.2", "full", "auto");
        linux_7_2_full_fentry: storm("7.2", "full", "fentry --expect-missed");
    }

    /// Killed in any way, flowtop leaves nothing in the kernel. `make test-faults` kills it at many
    /// more moments, and with `auto` too.
    mod leftover by "make test-vm" {
        linux_5_10: leftover("5.10", &["kprobe", "fentry"]);
        linux_6_1: leftover("6.1", &["kprobe", "fentry"]);
        linux_6_12: leftover("6.12", &["kprobe", "fentry", "tracepoint", "raw_tracepoint"]);
        linux_7_2: leftover("7.2", &["kprobe", "fentry", "tracepoint", "raw_tracepoint"]);
    }

    /// Everything that can go wrong, in a machine whose clock, CPUs and switches are the test's.
    /// `make test-vm` runs `linux_7_2` alone.
    mod faults by "make test-faults" {
        linux_5_10: faults("5.10");
        linux_6_1: faults("6.1");
        linux_6_12: faults("6.12");
        linux_7_2: faults("7.2");
    }

    /// Containers where cgroup v1 and v2 are side by side.
    mod hybrid by "make test-vm" {
        linux_5_10: hybrid("5.10", "kprobe");
        linux_6_1: hybrid("6.1", "fentry");
    }

    /// `flowtop run` and the filter word `tree`, on kernels with the fork hook of each kind.
    mod tree by "make test-vm" {
        linux_5_10: tree("5.10", "kprobe fentry");
        linux_6_1: tree("6.1", "kprobe fentry");
        linux_7_2: tree("7.2", "tracepoint kprobe");
    }

    /// Which capabilities each backend needs, which are left, and what the doctor says of them.
    mod privileges by "make test-vm" {
        linux_5_10: privileges("5.10", "kprobe fentry");
        linux_6_1: privileges("6.1", "kprobe fentry");
        linux_6_12: privileges("6.12", "raw_tracepoint tracepoint kprobe fentry");
        linux_7_2: privileges("7.2", "raw_tracepoint tracepoint kprobe fentry");
    }

    /// flowtop in a machine that has nothing else.
    mod alone by "make test-vm" {
        linux_5_10: alone("5.10", "auto kprobe");
        linux_6_1: alone("6.1", "auto");
        linux_6_12: alone("6.12", "auto");
        linux_7_2: alone("7.2", "auto");
    }
}

/// Whether a named kernel preempts itself is not known, so `fentry` and `raw_tracepoint` may miss
/// events and must report every one.
fn exact_named() -> Outcome {
    let kernel = std::env::var("KERNEL").map_err(|_| "KERNEL=SUITE/PACKAGE names the kernel")?;
    let release = release(&kernel)?;
    let mut version = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (version.next(), version.next());
    let backends: &[&str] = if version < (Some(6), Some(3)) {
        &["kprobe", "fentry --may-miss", "auto"]
    } else {
        &[
            "kprobe",
            "fentry --may-miss",
            "tracepoint",
            "raw_tracepoint --may-miss",
            "auto",
        ]
    };
    let guest = GuestTarget {
        arch: "x86_64",
        folder: "exact-kernels",
        name: release,
        patience: 2,
    };
    // Every backend, also after one failed.
    let runs = backends
        .iter()
        .map(|backend| exact_in(&guest, &kernel, backend));
    let failures: Vec<String> = runs.filter_map(Result::err).collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n"))
    }
}

/// `uname -r` of a kernel, which is fetched where it is not there.
fn release(kernel: &str) -> Outcome<String> {
    let fetched = Command::new(scripts().join("fetch-kernel.sh"))
        .arg(kernel)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("fetch-kernel.sh: {error}"))?;
    let folder = String::from_utf8_lossy(&fetched.stdout).trim().to_owned();
    let release = fs::read_to_string(Path::new(&folder).join("release"));
    release
        .map(|release| release.trim().to_owned())
        .map_err(|error| format!("{kernel}: {error}"))
}

fn exact(kernel: &str, backend: &str) -> Outcome {
    let guest = GuestTarget {
        arch: "x86_64",
        folder: "exact",
        name: kernel.to_owned(),
        patience: 1,
    };
    exact_in(&guest, kernel, backend)
}

fn exact_aarch64(kernel: &str, backend: &str) -> Outcome {
    let guest = GuestTarget {
        arch: "aarch64",
        folder: "exact-aarch64",
        name: format!("{kernel}-aarch64"),
        // Other architectures are emulated several times as slowly as this one.
        patience: 3,
    };
    exact_in(&guest, kernel, backend)
}

/// Where a kernel runs, and where its reports go.
struct GuestTarget {
    arch: &'static str,
    /// Folder below `target` for reports.
    folder: &'static str,
    /// What the reports are called by, before the backend.
    name: String,
    /// How many times as long it may take as usual.
    patience: u32,
}

/// `backend` may bring arguments of `traffic check` with it.
fn exact_in(guest: &GuestTarget, kernel: &str, backend: &str) -> Outcome {
    let GuestTarget {
        arch,
        folder,
        patience,
        ..
    } = *guest;
    let word = backend.split(' ').next().unwrap_or_default();
    let name = format!("{}-{word}", guest.name);
    let vm = Vm::on(arch, &name, kernel, "", 1200 * patience)?;
    // A report of an earlier run must not pass for this one's.
    let report = target()?.join(folder).join(format!("{name}.jsonl"));
    let _ = fs::remove_file(&report);
    let case_timeout = 120 * patience;
    let is_auto = word == "auto";
    let cases = if is_auto { CASES_OF_AUTO } else { all_cases() };
    let check = format!(
        "traffic check --flowtop /bin/flowtop --backend {backend} {cases} \
         --report /out/report.jsonl --case-timeout {case_timeout}"
    );
    // First whether one process can hide others, and whether the largest filter loads, which are not among
    // the cases.
    let faults = format!(
        "traffic faults --flowtop /bin/flowtop --backend {word} --fault one_fills_the_table \
         --fault largest_filter"
    );
    let command = if is_auto {
        check
    } else {
        format!("{faults} && {check}")
    };
    let outcome = vm.run(&command).and_then(|output| {
        all_passed(&output)?;
        if is_auto {
            took(&output, taken_by_auto(arch, kernel))?;
        }
        Ok(())
    });
    // Of a failed run too: the table shows what failed.
    let kept = vm.out().join("report.jsonl");
    if kept.is_file() {
        copy(&kept, &report)?;
    } else if outcome.is_ok() {
        return Err(format!("{name}: the checker left no report"));
    }
    outcome.map_err(|error| format!("{name}: {error}"))
}

/// `make test-vm SCENARIOS=full` gives scenarios the sizes and the pace of their benchmark.
fn all_cases() -> &'static str {
    match std::env::var_os("SCENARIOS").is_some_and(|which| which == "full") {
        true => "--full-scenarios",
        false => "",
    }
}

/// The backend that `auto` takes on a kernel that is known.
fn taken_by_auto(arch: &str, kernel: &str) -> Option<&'static str> {
    match (arch, kernel) {
        ("aarch64", "6.1") => Some("kprobe"),
        (_, "5.10" | "6.1") => Some("fentry"),
        (_, "6.12") => Some("raw_tracepoint"),
        (_, "7.2") => Some("tracepoint"),
        _ => None,
    }
}

/// The checker's first line names the backend.
fn took(output: &str, backend: Option<&str>) -> Outcome {
    match backend.filter(|backend| !output.contains(&format!(", backend {backend}, "))) {
        Some(backend) => Err(format!("auto does not take {backend}")),
        None => Ok(()),
    }
}

fn storm(kernel: &str, preempt: &str, arguments: &str) -> Outcome {
    let backend = arguments.split(' ').next().unwrap_or_default();
    let name = format!("{kernel}-{preempt}-storm-{backend}");
    let vm = Vm::new(&name, kernel, &format!("preempt={preempt}"), 600)?;
    // A mode that the kernel does not know would be ignored, and the test with it.
    let command = format!(
        "grep -F '({preempt})' /sys/kernel/debug/sched/preempt || exit 1\n\
         traffic storm --flowtop /bin/flowtop --backend {arguments} --flips 500"
    );
    vm.run(&command)
        .map(drop)
        .map_err(|error| format!("{name}: {error}"))
}

fn leftover(kernel: &str, backends: &[&str]) -> Outcome {
    let name = format!("{kernel}-leftover");
    let vm = Vm::new(&name, kernel, "", if long() { 3000 } else { 600 })?
        .file(&bpftool()?, "/bin/bpftool")
        .file(&scripts().join("leftover.sh"), "/bin/leftover.sh");
    // `auto` leaves what the backend leaves that it takes.
    let (moments, auto) = if long() { (40, " auto") } else { (3, "") };
    let backends = backends.join(" ");
    vm.run(&format!("leftover.sh {moments} {backends}{auto}"))
        .and_then(|output| all_passed(&output))
        .map_err(|error| format!("{name}: {error}"))
}

fn faults(kernel: &str) -> Outcome {
    let name = format!("{kernel}-faults");
    let vm = Vm::new(&name, kernel, "", if long() { 6000 } else { 600 })?.memory("3G");
    let report = target()?.join("faults").join(format!("{kernel}.jsonl"));
    let _ = fs::remove_file(&report);
    let long = if long() { "--long" } else { "" };
    let command = format!(
        "traffic faults --flowtop /bin/flowtop --machine-is-mine --report /out/report.jsonl {long}"
    );
    let outcome = vm.run(&command).and_then(|output| all_passed(&output));
    copy(&vm.out().join("report.jsonl"), &report)?;
    outcome.map_err(|error| format!("{name}: {error}"))
}

/// Whether faults take as long as in life: `make test-faults`.
fn long() -> bool {
    std::env::var_os("FLOWTOP_LONG").is_some()
}

fn hybrid(kernel: &str, backends: &str) -> Outcome {
    let name = format!("{kernel}-hybrid");
    let vm = Vm::new(&name, kernel, "", 400)?.file(&scripts().join("hybrid.sh"), "/bin/hybrid.sh");
    vm.run(&format!("hybrid.sh {backends}"))
        .and_then(|output| all_passed(&output))
        .map_err(|error| format!("{name}: {error}"))
}

fn tree(kernel: &str, backends: &str) -> Outcome {
    let name = format!("{kernel}-tree");
    let vm = Vm::new(&name, kernel, "", 400)?.file(&scripts().join("tree.sh"), "/bin/tree.sh");
    vm.run(&format!("tree.sh {backends}"))
        .and_then(|output| all_passed(&output))
        .map_err(|error| format!("{name}: {error}"))
}

fn privileges(kernel: &str, backends: &str) -> Outcome {
    let name = format!("{kernel}-privileges");
    let table = target()?.join("privileges").join(format!("{kernel}.txt"));
    let _ = fs::remove_file(&table);
    let vm = Vm::new(&name, kernel, "", 900)?
        .file(Path::new("/usr/bin/setpriv"), "/bin/privset")
        .file(&scripts().join("privileges.sh"), "/bin/privileges.sh");
    vm.run(&format!("privileges.sh {backends}"))
        .and_then(|output| all_passed(&output))
        .map_err(|error| format!("{name}: {error}"))?;
    copy(&vm.out().join("privileges"), &table)
}

fn alone(kernel: &str, backends: &str) -> Outcome {
    let name = format!("{kernel}-alone");
    let (flowtop, _) = programs("x86_64")?;
    let vm = Vm::bare("x86_64", &name, kernel, "", 300)?
        .file(&flowtop, "/bin/flowtop")
        .file(&scripts().join("alone.sh"), "/bin/alone.sh");
    vm.run(&format!("alone.sh {backends}"))
        .and_then(|output| all_passed(&output))
        .map_err(|error| format!("{name}: {error}"))
}

/// The closing line `N passed, M failed` says that something ran, and that all of it passed.
fn all_passed(output: &str) -> Outcome {
    let closing = output.lines().rev().find_map(|line| {
        let (passed, failed) = line.trim().split_once(" passed, ")?;
        let failed = failed.split_once(" failed")?.0;
        Some((passed.parse::<u32>().ok()?, failed.parse::<u32>().ok()?))
    });
    match closing {
        Some((1.., 0)) => Ok(()),
        Some((0, 0)) => Err("not one case ran".to_owned()),
        Some((_, failed)) => Err(format!("{failed} cases failed")),
        None => Err("no closing line `N passed, M failed`".to_owned()),
    }
}
