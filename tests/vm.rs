//! The exactness suite on stock kernels: each test boots virtual machines by `tests/vm/run.sh`
//! and runs the checker (`traffic`), `leftover.sh`, `hybrid.sh` or `privileges.sh` in them.
//!
//! They are `#[ignore]`d since they take minutes; `make test` runs them all but those of aarch64, which
//! emulate another architecture (`make test-aarch64`), and some faults (`make faults`). One that cannot run,
//! for want of QEMU or of a kernel, fails. Reports go to `target/exact/`, `target/exact-aarch64/` and
//! `target/privileges/`, consoles and the guests' output to `target/vm/`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What went wrong, for people.
type Outcome<T = ()> = Result<T, String>;

/// The backends a kernel has, and `auto`, which takes one of them.
const BEFORE_6_3: &[&str] = &["kprobe", "fentry", "auto"];
const SINCE_6_3: &[&str] = &["kprobe", "fentry", "tracepoint", "auto"];
/// What `auto` runs: it takes one of the other backends, which run every case.
const CASES_OF_AUTO: &str = "--case tcp_v4 --case tcp_v6 --case udp_peers_v4 --case udp_peers_v6 \
    --case udp_recv_unasked --case sendfile_tcp --case splice_tcp_pipe --case tcp_zerocopy_receive \
    --case uring_send_recv --case fork_many --case icmp_ping --case packet_raw";
/// BPF trampolines came to aarch64 with Linux 6.4.
const AARCH64_6_1: &[&str] = &["kprobe", "auto"];

#[test]
#[ignore = "boots virtual machines: make vm"]
fn kernel_5_10() {
    exact("5.10", BEFORE_6_3);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn kernel_6_1() {
    exact("6.1", BEFORE_6_3);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn kernel_6_12() {
    exact("6.12", SINCE_6_3);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn kernel_7_2() {
    // Every 7.x kernel preempts itself, where fentry skips events now and then; it must say so of
    // every one.
    exact(
        "7.2",
        &["kprobe", "fentry --may-miss", "tracepoint", "auto"],
    );
}

/// Any kernel of Debian's, by `KERNEL=SUITE/PACKAGE`. Whether it preempts itself is not known here, so
/// `fentry` may miss events and must say so of every one.
#[test]
#[ignore = "boots virtual machines: make vm KERNEL=trixie/linux-image-rt-amd64"]
fn named_kernel() {
    let kernel = std::env::var("KERNEL").expect("KERNEL=SUITE/PACKAGE");
    let release = release(&kernel).unwrap();
    let mut version = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (version.next().unwrap(), version.next().unwrap());
    let backends: &[&str] = match version < (6, 3) {
        true => &["kprobe", "fentry --may-miss", "auto"],
        false => &["kprobe", "fentry --may-miss", "tracepoint", "auto"],
    };
    exact_in(
        &Place {
            arch: "x86_64",
            folder: "exact-kernels",
            name: release,
            patience: 2,
        },
        &kernel,
        backends,
    );
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

#[test]
#[ignore = "boots virtual machines: make vm"]
fn storm_6_12_full() {
    storm("6.12", "full");
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn storm_7_2_lazy() {
    storm("7.2", "lazy");
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn storm_7_2_full() {
    storm("7.2", "full");
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn leftover_5_10() {
    leftover("5.10", BEFORE_6_3);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn leftover_6_1() {
    leftover("6.1", BEFORE_6_3);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn leftover_6_12() {
    leftover("6.12", SINCE_6_3);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn leftover_7_2() {
    leftover("7.2", SINCE_6_3);
}

#[test]
#[ignore = "boots virtual machines: make faults"]
fn faults_5_10() {
    faults("5.10");
}

#[test]
#[ignore = "boots virtual machines: make faults"]
fn faults_6_1() {
    faults("6.1");
}

#[test]
#[ignore = "boots virtual machines: make faults"]
fn faults_6_12() {
    faults("6.12");
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn faults_7_2() {
    faults("7.2");
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn hybrid_5_10() {
    hybrid("5.10", &["kprobe"]);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn hybrid_6_1() {
    hybrid("6.1", &["fentry"]);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn privileges_5_10() {
    privileges("5.10", &["kprobe", "fentry"]);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn alone_5_10() {
    alone("5.10", &["auto", "kprobe"]);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn privileges_6_1() {
    privileges("6.1", &["kprobe", "fentry"]);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn alone_6_1() {
    alone("6.1", &["auto"]);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn privileges_6_12() {
    privileges("6.12", &["tracepoint", "kprobe", "fentry"]);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn alone_6_12() {
    alone("6.12", &["auto"]);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn privileges_7_2() {
    privileges("7.2", &["tracepoint", "kprobe", "fentry"]);
}

#[test]
#[ignore = "boots virtual machines: make vm"]
fn alone_7_2() {
    alone("7.2", &["auto"]);
}

#[test]
#[ignore = "emulates another architecture: make test-aarch64"]
fn aarch64_6_1() {
    exact_on("aarch64", "6.1", AARCH64_6_1);
}

#[test]
#[ignore = "emulates another architecture: make test-aarch64"]
fn aarch64_6_12() {
    exact_on("aarch64", "6.12", SINCE_6_3);
}

fn exact(kernel: &str, backends: &[&str]) {
    exact_on("x86_64", kernel, backends);
}

fn exact_on(arch: &'static str, kernel: &str, backends: &[&str]) {
    // Other architectures are emulated several times as slowly as this one.
    let (patience, folder, suffix) = match arch {
        "aarch64" => (3, "exact-aarch64", "-aarch64"),
        _ => (1, "exact", ""),
    };
    let place = Place {
        arch,
        folder,
        name: format!("{kernel}{suffix}"),
        patience,
    };
    exact_in(&place, kernel, backends);
}

/// Where a kernel runs, and where its reports go.
struct Place {
    arch: &'static str,
    /// Below `target`.
    folder: &'static str,
    /// What the reports are called by, before the backend.
    name: String,
    /// How many times as long it may take as usual.
    patience: u32,
}

/// Every case by every backend (by `auto` a few), each in a machine of its own: what one leaves behind cannot
/// help or hurt the next.
fn exact_in(place: &Place, kernel: &str, backends: &[&str]) {
    let Place {
        arch,
        folder,
        patience,
        ..
    } = *place;
    report(backends.iter().map(|backend| {
        let word = backend.split(' ').next().unwrap_or_default();
        let name = format!("{}-{word}", place.name);
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
        // First whether one process can hide others, which is not among the cases.
        let faults = format!(
            "traffic faults --flowtop /bin/flowtop --backend {word} --fault one_fills_the_table"
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
    }));
}

/// `make vm SCENARIOS=full` gives scenarios the sizes and the pace of the benchmark they are of.
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
        (_, "6.12" | "7.2") => Some("tracepoint"),
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

/// Traffic from many threads on few CPUs, and quick flips: on a preemptible kernel this is where
/// probes lose events. What `auto` takes loses nothing; forced fentry may, and says how many.
fn storm(kernel: &str, preempt: &str) {
    let runs = ["auto", "fentry --expect-missed"];
    report(runs.iter().map(|arguments| {
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
    }));
}

/// Killed in any way, flowtop leaves nothing in the kernel.
fn leftover(kernel: &str, backends: &[&str]) {
    let run = || {
        let name = format!("{kernel}-leftover");
        let vm = Vm::new(&name, kernel, "", if long() { 3000 } else { 600 })?
            .file(&bpftool()?, "/bin/bpftool")
            .file(&scripts().join("leftover.sh"), "/bin/leftover.sh");
        let moments = if long() { 40 } else { 3 };
        // `auto` leaves what the backend leaves that it takes.
        let backends = backends.iter().filter(|name| long() || **name != "auto");
        let backends: Vec<&str> = backends.copied().collect();
        vm.run(&format!("leftover.sh {moments} {}", backends.join(" ")))
            .and_then(|output| all_passed(&output))
            .map_err(|error| format!("{name}: {error}"))
    };
    report(std::iter::once_with(run));
}

/// Everything that can go wrong, in a machine whose clock, CPUs and switches are the test's.
fn faults(kernel: &str) {
    let run = || {
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
    };
    report(std::iter::once_with(run));
}

/// Whether faults take as long as in life: `make faults`.
fn long() -> bool {
    std::env::var_os("FLOWTOP_LONG").is_some()
}

/// Containers where cgroup v1 and v2 are side by side.
fn hybrid(kernel: &str, backends: &[&str]) {
    let run = || {
        let name = format!("{kernel}-hybrid");
        let vm =
            Vm::new(&name, kernel, "", 400)?.file(&scripts().join("hybrid.sh"), "/bin/hybrid.sh");
        vm.run(&format!("hybrid.sh {}", backends.join(" ")))
            .and_then(|output| all_passed(&output))
            .map_err(|error| format!("{name}: {error}"))
    };
    report(std::iter::once_with(run));
}

/// Which capabilities each backend needs, which are left, and what the doctor says of it.
fn privileges(kernel: &str, backends: &[&str]) {
    let run = || {
        let name = format!("{kernel}-privileges");
        let table = target()?.join("privileges").join(format!("{kernel}.txt"));
        let _ = fs::remove_file(&table);
        let vm = Vm::new(&name, kernel, "", 900)?
            .file(Path::new("/usr/bin/setpriv"), "/bin/privset")
            .file(&scripts().join("privileges.sh"), "/bin/privileges.sh");
        vm.run(&format!("privileges.sh {}", backends.join(" ")))
            .and_then(|output| all_passed(&output))
            .map_err(|error| format!("{name}: {error}"))?;
        copy(&vm.out().join("privileges"), &table)
    };
    report(std::iter::once_with(run));
}

/// The static binary where nothing else is.
fn alone(kernel: &str, backends: &[&str]) {
    let run = || {
        let name = format!("{kernel}-alone");
        let program = target()?.join("x86_64-unknown-linux-gnu/release/flowtop");
        if !program.is_file() {
            return Err(format!(
                "there is no {}: make static builds it",
                program.display()
            ));
        }
        let vm = Vm::bare("x86_64", &name, kernel, "", 300)?
            .file(&program, "/bin/flowtop")
            .file(&scripts().join("alone.sh"), "/bin/alone.sh");
        vm.run(&format!("alone.sh {}", backends.join(" ")))
            .and_then(|output| all_passed(&output))
            .map_err(|error| format!("{name}: {error}"))
    };
    report(std::iter::once_with(run));
}

/// Runs all of them, also after one failed, then fails with all that failed.
fn report(runs: impl Iterator<Item = Outcome>) {
    let failures: Vec<String> = runs.filter_map(Result::err).collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
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

/// A machine to be booted once.
struct Vm {
    name: String,
    arch: &'static str,
    kernel: String,
    append: String,
    timeout: u32,
    memory: &'static str,
    files: Vec<(PathBuf, String)>,
    /// `target/vm`.
    logs: PathBuf,
}

impl Vm {
    /// With flowtop and the generator in it. `timeout`: seconds until it is given up.
    fn new(name: &str, kernel: &str, append: &str, timeout: u32) -> Outcome<Self> {
        Self::on("x86_64", name, kernel, append, timeout)
    }

    /// The same, of another architecture than this machine's with the static binary.
    fn on(
        arch: &'static str,
        name: &str,
        kernel: &str,
        append: &str,
        timeout: u32,
    ) -> Outcome<Self> {
        let (flowtop, traffic, how) = match arch {
            "aarch64" => {
                let built = target()?.join("aarch64/aarch64-unknown-linux-gnu/release");
                let traffic = built.join("examples/traffic");
                (built.join("flowtop"), traffic, "make aarch64 builds it")
            }
            _ => (
                PathBuf::from(env!("CARGO_BIN_EXE_flowtop")),
                target()?.join(profile()?).join("examples/traffic"),
                "make vm builds it, or cargo build --release --example traffic",
            ),
        };
        for file in [&flowtop, &traffic] {
            if !file.is_file() {
                return Err(format!("there is no {}: {how}", file.display()));
            }
        }
        let vm = Self::bare(arch, name, kernel, append, timeout)?;
        Ok(vm
            .file(&flowtop, "/bin/flowtop")
            .file(&traffic, "/bin/traffic"))
    }

    /// With nothing but busybox in it.
    fn bare(
        arch: &'static str,
        name: &str,
        kernel: &str,
        append: &str,
        timeout: u32,
    ) -> Outcome<Self> {
        let vm = Self {
            name: name.to_owned(),
            arch,
            kernel: kernel.to_owned(),
            append: append.to_owned(),
            timeout,
            memory: "1G",
            files: Vec::new(),
            logs: target()?.join("vm"),
        };
        let _ = fs::remove_dir_all(vm.out());
        create_dir(&vm.out())?;
        Ok(vm)
    }

    const fn memory(mut self, size: &'static str) -> Self {
        self.memory = size;
        self
    }

    fn file(mut self, host: &Path, guest: &str) -> Self {
        self.files.push((host.to_owned(), guest.to_owned()));
        self
    }

    /// Where the guest's `/out` comes back to.
    fn out(&self) -> PathBuf {
        self.logs.join(&self.name)
    }

    /// Boots it, runs a shell command in it, and gives what that printed.
    fn run(&self, command: &str) -> Outcome<String> {
        let started = Instant::now();
        let output = self.logs.join(format!("{}.out", self.name));
        let file = File::create(&output).map_err(|e| format!("{}: {e}", output.display()))?;
        let errors = file.try_clone().map_err(|e| e.to_string())?;
        let mut run = Command::new(scripts().join("run.sh"));
        run.args(["--arch", self.arch, "--kernel", &self.kernel])
            .args(["--append", &self.append])
            .args(["--mem", self.memory])
            .args(["--timeout", &self.timeout.to_string()])
            .arg("--log")
            .arg(self.logs.join(format!("{}.console", self.name)))
            .arg("--out")
            .arg(self.out());
        for (host, guest) in &self.files {
            run.arg("--file").arg(format!("{}:{guest}", host.display()));
        }
        run.args(["--", command])
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors);
        let status = run.status().map_err(|e| format!("tests/vm/run.sh: {e}"))?;

        let text = fs::read(&output).map_err(|e| format!("{}: {e}", output.display()))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let seconds = started.elapsed().as_secs();
        let result = if status.success() { "ok" } else { "FAILED" };
        // Not by a macro: those lines are captured, and this is how one sees that it goes on.
        let _ = writeln!(std::io::stderr(), "vm {}: {result}, {seconds} s", self.name);
        if status.success() {
            return Ok(text);
        }
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(60)..].join("\n    ");
        Err(format!(
            "{status} after {seconds} s; {} ends with\n    {tail}",
            output.display()
        ))
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm")
}

/// The directory of the profile that this test was built with, as `target/release`.
fn profile_dir() -> Outcome<&'static Path> {
    Path::new(env!("CARGO_BIN_EXE_flowtop"))
        .parent()
        .ok_or("no target directory".to_owned())
}

fn profile() -> Outcome<&'static Path> {
    profile_dir()?
        .file_name()
        .map(Path::new)
        .ok_or("no profile directory".to_owned())
}

fn target() -> Outcome<&'static Path> {
    profile_dir()?
        .parent()
        .ok_or("no target directory".to_owned())
}

/// The binary itself: on Ubuntu what is in the PATH is a script that looks for it.
fn bpftool() -> Outcome<PathBuf> {
    let tools = fs::read_dir("/usr/lib/linux-tools")
        .into_iter()
        .flatten()
        .flatten();
    let tools = tools.map(|entry| entry.path().join("bpftool"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::split_paths(&path)
        .map(|dir| dir.join("bpftool"))
        .collect::<Vec<_>>();
    let usual = ["/usr/sbin/bpftool", "/usr/bin/bpftool"].map(PathBuf::from);
    let is_elf = |file: &PathBuf| fs::read(file).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF"));
    tools
        .chain(path)
        .chain(usual)
        .find(is_elf)
        .ok_or("there is no bpftool on this machine: make deps-test".to_owned())
}

fn create_dir(dir: &Path) -> Outcome {
    fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))
}

fn copy(from: &Path, to: &Path) -> Outcome {
    if let Some(dir) = to.parent() {
        create_dir(dir)?;
    }
    fs::copy(from, to)
        .map(drop)
        .map_err(|e| format!("{}: {e}", to.display()))
}
