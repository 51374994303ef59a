//! Virtual machines: how one is made, booted and read.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What went wrong, for people.
pub type Outcome<T = ()> = Result<T, String>;

/// A machine to be booted once.
pub struct Vm {
    name: String,
    arch: &'static str,
    kernel: String,
    append: String,
    timeout: u32,
    memory: &'static str,
    files: Vec<(PathBuf, String)>,
    /// Folder of consoles and output: `target/vm`.
    logs: PathBuf,
}

impl Vm {
    /// With flowtop and the generator in it. `timeout`: seconds until it is given up.
    pub fn new(name: &str, kernel: &str, append: &str, timeout: u32) -> Outcome<Self> {
        Self::on("x86_64", name, kernel, append, timeout)
    }

    /// A machine of an architecture, with flowtop and the generator in it.
    pub fn on(
        arch: &'static str,
        name: &str,
        kernel: &str,
        append: &str,
        timeout: u32,
    ) -> Outcome<Self> {
        let (flowtop, traffic) = programs(arch)?;
        let vm = Self::bare(arch, name, kernel, append, timeout)?;
        Ok(vm
            .file(&flowtop, "/bin/flowtop")
            .file(&traffic, "/bin/traffic"))
    }

    /// With nothing but busybox in it.
    pub fn bare(
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

    pub const fn memory(mut self, size: &'static str) -> Self {
        self.memory = size;
        self
    }

    pub fn file(mut self, host: &Path, guest: &str) -> Self {
        self.files.push((host.to_owned(), guest.to_owned()));
        self
    }

    /// Where the guest's `/out` comes back to.
    pub fn out(&self) -> PathBuf {
        self.logs.join(&self.name)
    }

    /// Boots it, runs a shell command in it, and gives what that printed. A guest that the emulator
    /// takes down is booted again, twice at most, and each time is reported.
    pub fn run(&self, command: &str) -> Outcome<String> {
        for _ in 0..2 {
            let result = self.run_once(command);
            if result.is_ok() || !self.died_of_the_emulator() {
                return result;
            }
            let _ = writeln!(
                std::io::stderr(),
                "vm {}: the emulator executed a breakpoint that was gone (int3); once more",
                self.name
            );
        }
        self.run_once(command)
    }

    /// Whether the guest's kernel died of a breakpoint of its own. While a kernel patches its code,
    /// it has a breakpoint there for a moment. One CPU of QEMU before 8.1 may translate that
    /// breakpoint just as another CPU writes the final byte; both then execute it for good, and the
    /// kernel, which knows of no breakpoint there, panics. No program of the guest can cause that.
    fn died_of_the_emulator(&self) -> bool {
        // No console is no such death: what failed is said by the run itself.
        let console = fs::read(self.console()).unwrap_or_default();
        let text = String::from_utf8_lossy(&console);
        text.contains("int3: 0000 [#1]") && text.contains("Kernel panic")
    }

    fn console(&self) -> PathBuf {
        self.logs.join(format!("{}.console", self.name))
    }

    fn run_once(&self, command: &str) -> Outcome<String> {
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
            .arg(self.console())
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
        note_time(seconds, &self.name)?;
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

/// For the table that `make times` prints; scripts/timed.sh writes the other lines.
fn note_time(seconds: u64, name: &str) -> Outcome {
    let file = target()?.join("times");
    let times = File::options().create(true).append(true).open(&file);
    times
        .and_then(|mut times| writeln!(times, "{seconds}\t  {name}"))
        .map_err(|error| format!("{}: {error}", file.display()))
}

pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm")
}

/// The static binary that is shipped, and the generator built beside it.
pub fn programs(arch: &str) -> Outcome<(PathBuf, PathBuf)> {
    let (folder, made_by) = match arch {
        "aarch64" => ("aarch64/aarch64-unknown-linux-gnu", "make build-aarch64"),
        _ => ("x86_64-unknown-linux-gnu", "make build-guest"),
    };
    let release = target()?.join(folder).join("release");
    let programs = (release.join("flowtop"), release.join("examples/traffic"));
    for file in [&programs.0, &programs.1] {
        if !file.is_file() {
            return Err(format!(
                "there is no {}: {made_by} builds it",
                file.display()
            ));
        }
    }
    Ok(programs)
}

/// cargo's target directory: this test is in `target/PROFILE`.
pub fn target() -> Outcome<&'static Path> {
    Path::new(env!("CARGO_BIN_EXE_flowtop"))
        .parent()
        .and_then(Path::parent)
        .ok_or("no target directory".to_owned())
}

/// The binary itself: on Ubuntu what is in the PATH is a script that looks for it.
pub fn bpftool() -> Outcome<PathBuf> {
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

pub fn copy(from: &Path, to: &Path) -> Outcome {
    if let Some(dir) = to.parent() {
        create_dir(dir)?;
    }
    fs::copy(from, to)
        .map(drop)
        .map_err(|e| format!("{}: {e}", to.display()))
}
