//! Attaches one program to one hook.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use libbpf_rs::skel::Skel;
use libbpf_rs::{ErrorKind, Link, ProgramMut, TracepointCategory};

use super::backend_error::perf_error;
use super::hooks::{Attach, Hook};
use super::requirements;
use super::skel::FlowtopSkel;
use super::tracefs::{self, KprobeEvents};
use crate::system::mounts;

/// Attaches a loaded program; returns `None` if the kernel does not have the hook. The first kprobe
/// opens `kprobes`.
///
/// # Errors
/// When the kernel refuses for another reason.
pub fn attach(
    skel: &FlowtopSkel<'_>,
    hook: &Hook,
    tracefs: Option<&Path>,
    kprobes: &mut Option<KprobeEvents>,
) -> Result<Option<Link>> {
    let program = program(skel, hook.program)?;
    match hook.attach {
        Attach::Tracepoint(name) => attach_tracepoint(&program, tracefs, "sock", name).map(Some),
        Attach::SchedTracepoint(name) => {
            attach_tracepoint(&program, tracefs, "sched", name).map(Some)
        }
        Attach::RawTracepoint(name) => program
            .attach_raw_tracepoint(name)
            .map(Some)
            .with_context(|| format!("attach to the tracepoint {name}")),
        Attach::Trampoline(function) => match program.attach_trace() {
            Ok(link) => Ok(Some(link)),
            Err(err) => Err(err).with_context(|| format!("attach a trampoline to {function}")),
        },
        Attach::Kprobe(function) => attach_kprobe(&program, function, false, tracefs, kprobes)
            .with_context(|| format!("attach a kprobe to {function}")),
        Attach::Kretprobe(function) => attach_kprobe(&program, function, true, tracefs, kprobes)
            .with_context(|| format!("attach a return probe to {function}")),
        Attach::Cgroup => attach_cgroup(&program),
    }
}

/// Returns the program with this name in a loaded object.
///
/// # Errors
/// When there is none.
pub fn program<'skel>(skel: &'skel FlowtopSkel<'_>, name: &str) -> Result<ProgramMut<'skel>> {
    skel.object()
        .progs_mut()
        .find(|program| program.name() == name)
        .with_context(|| format!("find the program {name}"))
}

fn attach_tracepoint(
    program: &ProgramMut<'_>,
    tracefs: Option<&Path>,
    category: &str,
    name: &str,
) -> Result<Link> {
    let tracefs = tracefs.context("find tracefs")?;
    tracefs::check_event(tracefs, category, name)?;
    program
        .attach_tracepoint(TracepointCategory::Custom(category.to_owned()), name)
        .map_err(perf_error)
        .with_context(|| format!("attach to the tracepoint {category}:{name}"))
}

fn attach_kprobe(
    program: &ProgramMut<'_>,
    function: &str,
    at_return: bool,
    tracefs: Option<&Path>,
    kprobes: &mut Option<KprobeEvents>,
) -> Result<Option<Link>> {
    let events = match kprobes {
        Some(events) => events,
        None => kprobes.insert(KprobeEvents::open(tracefs.context("find tracefs")?)?),
    };
    let Some(event) = events.add(function, at_return)? else {
        return Ok(None);
    };
    let category = TracepointCategory::Custom(events.group().to_owned());
    let link = program.attach_tracepoint(category, event);
    link.map(Some).map_err(perf_error)
}

/// Returns the root of the cgroup v2 hierarchy, which every socket is under; in a cgroup namespace
/// the root of that namespace, which [`requirements::of_cgroup_namespace`] reports.
fn attach_cgroup(program: &ProgramMut<'_>) -> Result<Option<Link>> {
    let Some(Cgroup2 { path, .. }) = Cgroup2::mounted() else {
        return Ok(None);
    };
    let root =
        File::open(&path).with_context(|| format!("open the cgroup root {}", path.display()))?;
    match program.attach_cgroup(root.as_raw_fd()) {
        Ok(link) => Ok(Some(link)),
        Err(err) if err.kind() == ErrorKind::PermissionDenied => {
            Err(requirements::of_cgroup().into())
        }
        Err(err) => bail!("attach to the root cgroup: {err}"),
    }
}

/// The mount point of cgroup v2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup2 {
    pub path: PathBuf,
    /// Whether every process is below the mount point.
    pub is_whole: bool,
}

impl Cgroup2 {
    /// Returns the mount that shows the whole hierarchy, else the first one.
    pub fn mounted() -> Option<Self> {
        let text = mounts::text();
        let found = mounts::mounts(&text).filter(|mount| mount.kind == "cgroup2");
        let found = found.map(|mount| {
            let path = PathBuf::from(mount.path);
            // Every cgroup but the root has this file (CFTYPE_NOT_ON_ROOT).
            let is_whole = !path.join("cgroup.events").exists();
            Self { path, is_whole }
        });
        let mut found = found.peekable();
        let first = found.peek().cloned();
        found.find(|mount| mount.is_whole).or(first)
    }
}
