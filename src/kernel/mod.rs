//! Everything that touches the kernel: loads and attaches the programs, flips and drains the double
//! buffer, reads the counters of missed events. Turns socket calls into [`Interval`]s; depends on
//! no consumer of them.

mod answers;
mod attach;
mod audit;
pub mod backend;
mod backend_error;
mod buffers;
mod drain;
mod filter;
mod hooks;
mod inspect;
mod kernel_types;
mod libbpf_log;
mod losses;
pub mod map_memory;
mod memory_limit;
mod own_memory;
mod program_variant;
pub mod requirements;
mod runnable;
pub mod running_kernel;
mod skel;
mod slot_holder;
mod switches;
mod tcp;
pub mod tracefs;
mod trees;

#[cfg(any(test, fuzzing))]
pub use self::drain::fuzz;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, bail};
use libbpf_rs::skel::OpenSkel as _;
use libbpf_rs::{Link, MapCore as _};

use self::answers::Answers;
use self::attach::{attach, program};
use self::backend::{AttachPlan, Backend};
pub use self::backend_error::NoBackend;
use self::backend_error::{BackendError, load_error};
use self::buffers::{GracePeriod, Held};
use self::drain::{Buffer, Decoder, Drain};
use self::hooks::{Attach, Hook, OnMissing};
use self::kernel_types::KernelTypes;
use self::losses::{LossCounters, Watched};
use self::map_memory::{map_memory, owner_entries, record_entries};
use self::program_variant::{ProgramVariant, first_that_loads, unpushed};
use self::requirements::MissingRequirement;
use self::running_kernel::RunningKernel;
use self::skel::{OpenFlowtopSkel, Program, SharedData};
use self::switches::Switches;
use self::tcp::{AuditMode, TcpSamples};
use self::tracefs::KprobeEvents;
use crate::filter::KernelFilter;
use crate::model::dns::DnsAnswer;
use crate::model::flow::Flow;
use crate::model::interval::{Audit, Interval, Losses, Method, Unknown};
use crate::options::CaptureOptions;
use crate::resolve::namespace;

/// Processes, and cgroups, per run of the drain: few of them move bytes.
const OWNER_RECORDS: u32 = 1024;
const CGROUP_RECORDS: u32 = 128;
/// Appended to [`Method::reason`] if [`Engine::is_unfiltered`].
const UNFILTERED: &str =
    "the filter is too large for this kernel's verifier, so user space decides all of it";
/// Appended to [`Method::reason`] if the programs load only without the part that reads DNS
/// answers.
const NO_ANSWERS: &str = "this kernel does not load the program part that reads DNS answers, so flows have no names from them";
const NO_SOCK_TRACEPOINTS: &str =
    "the kernel has no tracepoint sock:sock_send_length (it came with 6.3)";
const RDONLY_CAST: &str = "bpf_rdonly_cast";
/// The loaded and attached kernel side. Dropping it detaches and unloads everything.
pub struct Engine {
    // Dropped in this order: links, then the events that they are attached to. libbpf's object is
    // closed once the programs are attached: it holds copies of the programs and of their types,
    // which nothing reads afterwards.
    links: Vec<Link>,
    kprobes: Option<KprobeEvents>,
    drain: Drain,
    answers: Option<Answers>,
    data: SharedData,
    grace: GracePeriod,
    /// Slots of each flow map.
    slots: u32,
    attached: Vec<Watched>,
    backend: Backend,
    /// The programs do not evaluate the part of the filter that is meant for the kernel.
    unfiltered: bool,
    method: Arc<Method>,
    switches: Switches,
    interval_start: Instant,
    /// The retired buffer, while it may hold counts from before the first interval.
    undrained: Option<Buffer>,
    last: LossCounters,
    before_last: LossCounters,
}

impl Engine {
    /// Loads and attaches the best backend that works, or the one that the options name. It counts
    /// from now on, but calls under way are whole only after [`Engine::begin`].
    ///
    /// # Errors
    /// A sentence with the cause and the fix: a missing capability, no BTF, lockdown, or why the
    /// kernel refused each backend that was tried.
    pub fn open(options: &CaptureOptions) -> Result<Self> {
        if let Some(missing) = requirements::of_requirements() {
            return Err(missing.into());
        }
        libbpf_log::capture(options.libbpf_log);
        libbpf_log::clear();
        let types = KernelTypes::of_this_kernel(hooks::kernel_names().chain([RDONLY_CAST]))?;
        let tracefs = tracefs::find_or_mount();
        let kprobes =
            tracefs.as_deref().is_ok_and(tracefs::has_kprobes) && tracefs::kprobes_off().is_none();
        let has_rdonly_cast = types.has_function(RDONLY_CAST);
        let unpushed = unpushed(options);
        let mut refusals = Vec::new();
        // The reason for which a better backend was refused; added to the reason for the one in
        // use.
        let mut denied = tracefs
            .as_ref()
            .err()
            .and_then(MissingRequirement::of)
            .cloned();
        let kernel = RunningKernel::of_this_machine(kprobes, &types);
        for (plan, reason) in backend::plans(options.backend, &kernel) {
            let opened = match missing_requirement(plan, &types, &tracefs) {
                Some(missing) => Err(missing),
                None => {
                    let attempt = |form: ProgramVariant| {
                        let tracefs = tracefs.as_deref().ok();
                        let options = match &unpushed {
                            Some(unpushed) if !form.pushdown => unpushed,
                            _ => options,
                        };
                        Self::try_plan(options, plan, reason, &kernel, &types, tracefs, form)
                    };
                    let pushdown = unpushed.is_some();
                    first_that_loads(
                        ProgramVariant {
                            has_rdonly_cast,
                            pushdown,
                            reads_answers: options.dns_names,
                            can_cast: has_rdonly_cast,
                        },
                        attempt,
                    )
                }
            };
            match opened {
                Ok((form, mut engine)) => {
                    engine.unfiltered = unpushed.is_some() && !form.pushdown;
                    let mut reason = engine.method.reason.clone();
                    if options.dns_names && !form.reads_answers {
                        reason.push_str("; ");
                        reason.push_str(NO_ANSWERS);
                    }
                    if let Some(missing) = &denied {
                        reason.push_str(&format!("; {}", missing.what));
                    }
                    engine.set_reason(&reason);
                    // libbpf has freed its copies of the object and of its types.
                    own_memory::release_free_memory();
                    return Ok(engine);
                }
                Err(err) => {
                    let refusal = BackendError::new(plan.backend, &err);
                    denied = denied.or_else(|| refusal.missing.clone());
                    refusals.push(refusal);
                }
            }
        }
        refusals.dedup();
        Err(NoBackend(refusals).into())
    }

    fn try_plan(
        options: &CaptureOptions,
        plan: AttachPlan,
        reason: &str,
        kernel: &RunningKernel,
        types: &KernelTypes,
        tracefs: Option<&Path>,
        form: ProgramVariant,
    ) -> Result<Self> {
        libbpf_log::clear();
        let mut unseen: Vec<&'static str> = plan.unseen().to_vec();
        let unhooked = hooks::UNHOOKED.iter();
        let unhooked = unhooked.filter(|(function, _)| types.has_function(function));
        unseen.extend(unhooked.map(|(_, path)| path));
        let roots = options.filter.roots();
        let in_pid_namespace = namespace::own_pid().is_some();
        let forks = (!roots.is_empty()).then(|| backend::fork_hook(kernel, in_pid_namespace));
        let all = forks.into_iter().chain(plan.hooks());
        let (hooks, mut denied) = loadable(all, types, &mut unseen)?;

        let in_kernel = drain::in_kernel_supported();
        skel::with_open_object(|mut open| {
            choose_programs(&mut open, &hooks, in_kernel);
            let has_rows = plan.backend.has_rows(kernel);
            configure(&mut open, options, plan, in_kernel, form, has_rows)?;
            let skel = open.load().map_err(load_error)?;

            let mut engine = Self {
                links: Vec::new(),
                kprobes: None,
                drain: Drain::new(&skel, in_kernel, decoder(options, plan))?,
                answers: match form.reads_answers {
                    true => Some(Answers::map(&skel)?),
                    false => None,
                },
                data: SharedData::map(&skel.maps.bss)?,
                grace: GracePeriod::new(&skel, plan.backend)?,
                slots: skel.maps.flows4_a.max_entries(),
                attached: Vec::new(),
                backend: plan.backend,
                unfiltered: false,
                method: Arc::default(),
                switches: Switches::of(plan),
                interval_start: Instant::now(),
                undrained: None,
                last: LossCounters::default(),
                before_last: LossCounters::default(),
            };
            let mut attached = Vec::new();
            for hook in hooks {
                match attach(&skel, hook, tracefs, &mut engine.kprobes) {
                    Ok(Some(link)) => {
                        engine.links.push(link);
                        if hook.counts() {
                            attached.push(hook);
                        }
                        if let (Attach::Cgroup, OnMissing::Unseen(path)) =
                            (hook.attach, hook.absent)
                            && let Some(missing) = requirements::of_cgroup_namespace()
                        {
                            unseen.push(path);
                            denied.get_or_insert(missing.what);
                        }
                    }
                    Ok(None) => note_missing(hook, running_kernel::has_ipv6, &mut unseen)?,
                    // Counting continues without this path: all others are still counted.
                    Err(err) => match (hook.absent, MissingRequirement::of(&err)) {
                        (OnMissing::Unseen(path), Some(missing)) => {
                            unseen.push(path);
                            denied.get_or_insert_with(|| missing.what.clone());
                        }
                        _ => return Err(err),
                    },
                }
            }
            trees::enter(&skel, &roots).context("find the processes of a tree")?;
            unseen.sort_unstable();
            unseen.dedup();
            // One program may hang on several hooks.
            attached.sort_unstable_by_key(|hook| hook.program);
            attached.dedup_by_key(|hook| hook.program);
            for hook in attached {
                let program = Program::new(&program(&skel, hook.program)?)?;
                engine.attached.push(Watched::new(program, hook));
            }
            engine.method = Arc::new(Method {
                backend: plan.backend.as_str().to_owned(),
                reason: match denied {
                    None => reason.to_owned(),
                    Some(denied) => format!("{reason}; {denied}"),
                },
                unseen,
                misses_unknown: losses::misses_unknown(
                    plan.backend,
                    kernel.preemption,
                    types.counts_misses(),
                ),
            });
            Ok(engine)
        })
    }

    /// How this engine counts.
    pub fn method(&self) -> &Arc<Method> {
        &self.method
    }

    /// Overrides the reason for using this backend.
    pub fn set_reason(&mut self, reason: &str) {
        let reason = match self.unfiltered {
            true => format!("{reason}; {UNFILTERED}"),
            false => reason.to_owned(),
        };
        self.method = Arc::new(Method {
            reason,
            ..Method::clone(&self.method)
        });
    }

    /// Whether the programs count everything although a part of the filter was for them: the
    /// verifier rejected the programs with it.
    pub const fn is_unfiltered(&self) -> bool {
        self.unfiltered
    }

    pub const fn backend(&self) -> Backend {
        self.backend
    }

    /// Starts the first interval at once. Counts from before belong to no interval: while hooks
    /// were being attached, some calls were seen by one hook and not by the other. Does not wait
    /// for running programs, which [`Engine::settle`] does.
    ///
    /// # Errors
    /// When the kernel refuses the flip.
    pub fn begin(&mut self) -> Result<()> {
        // A flip needs one buffer that is empty.
        self.settle()?;
        self.undrained = Some(buffers::flip(&mut self.data));
        self.interval_start = Instant::now();
        self.last = losses::read(&mut self.data, &self.attached, self.kprobes.as_ref())?;
        self.before_last = self.last.clone();
        Ok(())
    }

    /// Waits for the programs that ran when the first interval began, and drops their counts.
    /// Otherwise the end of the interval does so, and takes longer.
    ///
    /// # Errors
    /// When the kernel refuses a drain.
    pub fn settle(&mut self) -> Result<()> {
        match self.undrained.take() {
            Some(retired) => {
                self.drain_retired(retired)?;
                // Code that only the start runs is not needed any more.
                own_memory::release_code();
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Makes the kinds of system calls that counting needs, and counts nothing: tests whether the
    /// remaining privileges suffice, without waiting for running programs.
    ///
    /// # Errors
    /// When the kernel refuses one of them.
    pub fn try_access(&mut self) -> Result<()> {
        self.drain.try_access()?;
        losses::read(&mut self.data, &self.attached, self.kprobes.as_ref()).map(drop)
    }

    /// Empties the retired buffer when no running program can write it any more.
    fn drain_retired(&mut self, retired: Buffer) -> Result<(Held, Vec<Flow>, Unknown, Audit)> {
        self.grace.wait()?;
        let held = buffers::take_held(&mut self.data, retired);
        let mut flows = Vec::new();
        let (unknown, audit) = self.drain.take(retired, held, &mut flows)?;
        Ok((held, flows, unknown, audit))
    }

    /// Ends the interval: flips the buffers, waits until no running program can still write the
    /// retired one, and drains it.
    ///
    /// # Errors
    /// When the kernel refuses a flip or a drain.
    pub fn end_interval(&mut self) -> Result<Interval> {
        self.settle()?;
        self.drain.read_soon()?;
        let retired = buffers::flip(&mut self.data);
        let now = Instant::now();
        let ended = SystemTime::now();
        let (held, flows, unknown, audit) = self.drain_retired(retired)?;
        let reading = losses::read(&mut self.data, &self.attached, self.kprobes.as_ref())?;
        let missed_events = reading.missed.saturating_sub(self.last.missed);
        self.drain.note_missed(missed_events > 0);
        let losses = Losses {
            // Finding the holder reads all flows twice.
            full: (held.overflow)
                .then(|| slot_holder::of(&flows, self.slots))
                .flatten(),
            untracked: reading.untracked.since(&self.last.untracked),
            missed_events,
            unknown: Unknown {
                answers: reading.answers.saturating_sub(self.last.answers),
                ..unknown
            },
            audit,
        };
        // Since the interval before: a call whose peer was missed at its end is counted in this
        // one.
        let peers_missed = reading.peers_missed_since(&self.before_last);
        self.before_last = std::mem::replace(&mut self.last, reading);
        let elapsed = now - std::mem::replace(&mut self.interval_start, now);
        Ok(Interval {
            ended,
            elapsed,
            flows,
            losses,
            interfaces: Vec::new(),
            method: self.method_now(&peers_missed),
        })
    }

    /// Takes the DNS answers that processes received since the last call; none if answers are not
    /// read.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn take_answers(&mut self) -> Result<Vec<DnsAnswer>> {
        self.answers.as_mut().map_or(Ok(Vec::new()), Answers::take)
    }

    /// Returns how this interval was counted: probes that were switched off meanwhile saw nothing.
    fn method_now(&mut self, peers_missed: &BTreeSet<&'static str>) -> Arc<Method> {
        let unseen = self.switches.unseen();
        if unseen.is_empty() && peers_missed.is_empty() {
            return Arc::clone(&self.method);
        }
        let mut method = Method::clone(&self.method);
        method.unseen.extend(unseen);
        method.unseen.extend(peers_missed);
        method.unseen.sort_unstable();
        method.unseen.dedup();
        Arc::new(method)
    }
}

/// Returns the requirement that rules out a plan before loading.
fn missing_requirement(
    plan: AttachPlan,
    types: &KernelTypes,
    tracefs: &Result<std::path::PathBuf>,
) -> Option<anyhow::Error> {
    let tracefs = match (plan.backend, tracefs) {
        (Backend::Fentry, _) => {
            if let Some(off) = tracefs::ftrace_off() {
                return Some(anyhow::anyhow!("{off}"));
            }
            let mut hooks = plan.hooks().filter(|hook| hook.absent == OnMissing::Fatal);
            return hooks.find_map(|hook| match hook.attach {
                Attach::Trampoline(function) if !types.has_function(function) => Some(
                    anyhow::anyhow!("the kernel's BTF has no function {function}"),
                ),
                _ => None,
            });
        }
        // Raw tracepoints need neither tracefs nor perf events.
        (Backend::RawTracepoint, _) if !running_kernel::has_raw_sock_tracepoints(types) => {
            return Some(anyhow::anyhow!("{NO_SOCK_TRACEPOINTS}"));
        }
        (Backend::RawTracepoint, _) if !plan.kprobes => return None,
        (_, Ok(tracefs)) => tracefs,
        (_, Err(err)) => {
            return Some(match MissingRequirement::of(err) {
                Some(missing) => missing.clone().into(),
                None => anyhow::anyhow!("{err:#}"),
            });
        }
    };
    match plan.backend {
        Backend::Tracepoint if !tracefs::has_sock_tracepoints(tracefs) => {
            return Some(anyhow::anyhow!("{NO_SOCK_TRACEPOINTS}"));
        }
        Backend::Kprobe if !tracefs::has_kprobes(tracefs) => {
            return Some(anyhow::anyhow!(
                "the kernel has no kprobes (it is built without CONFIG_KPROBE_EVENTS)"
            ));
        }
        Backend::Kprobe => {
            if let Some(off) = tracefs::kprobes_off() {
                return Some(anyhow::anyhow!("{off}"));
            }
        }
        _ => {}
    }
    if let Some(missing) = requirements::before_perf() {
        return Some(missing.into());
    }
    plan.kprobes
        .then(|| tracefs::check_kprobes(tracefs).err())
        .flatten()
}

/// Returns the decoder for the records of a plan's programs.
fn decoder(options: &CaptureOptions, plan: AttachPlan) -> Decoder {
    let samples = TcpSamples::new(audit_mode(options, plan), plan.cannot_see_some_receives());
    Decoder::new(options.by_thread, plan.sees_datagrams(), samples)
        .with_roots(options.filter.roots())
}

/// Returns how connections are audited: not at all if only some processes' calls are counted.
fn audit_mode(options: &CaptureOptions, plan: AttachPlan) -> AuditMode {
    let pushed = &options.filter.kernel_filter;
    let chosen = KernelFilter {
        tasks: pushed.tasks.clone(),
        trees: pushed.trees.clone(),
        uids: pushed.uids.clone(),
        ..KernelFilter::default()
    };
    match plan.backend {
        _ if chosen != KernelFilter::default() => AuditMode::Off,
        Backend::RawTracepoint | Backend::Tracepoint => AuditMode::AtOnce,
        Backend::Fentry | Backend::Kprobe => AuditMode::FromFirstCall,
    }
}

/// Returns the hooks whose programs the kernel can load, and the privilege that the others need.
fn loadable(
    all: impl Iterator<Item = &'static Hook>,
    types: &KernelTypes,
    unseen: &mut Vec<&'static str>,
) -> Result<(Vec<&'static Hook>, Option<String>)> {
    let no_cgroup = requirements::before_cgroup();
    let (mut hooks, mut denied) = (Vec::new(), None);
    for hook in all {
        // A function that is missing from BTF cannot even be loaded; other hooks are checked when
        // attaching.
        match (hook.attach, &no_cgroup) {
            (Attach::Trampoline(function), _) if !types.has_function(function) => {
                note_missing(hook, running_kernel::has_ipv6, unseen)?;
            }
            (Attach::Cgroup, Some(missing)) => {
                note_missing(hook, running_kernel::has_ipv6, unseen)?;
                denied.get_or_insert_with(|| missing.what.clone());
            }
            _ => hooks.push(hook),
        }
    }
    Ok((hooks, denied))
}

fn note_missing(
    hook: &Hook,
    has_ipv6: impl FnOnce() -> bool,
    unseen: &mut Vec<&'static str>,
) -> Result<()> {
    match hook.absent {
        OnMissing::Fatal => bail!(
            "the kernel has no {:?} to attach {} to",
            hook.attach,
            hook.program
        ),
        OnMissing::FineWithoutIpv6 if has_ipv6() => bail!(
            "the kernel has IPv6, and nothing by the name of {:?} to attach {} to: IPv6 may be a module, \
             which fentry does not see",
            hook.attach,
            hook.program
        ),
        OnMissing::Fine | OnMissing::FineWithoutIpv6 => {}
        OnMissing::Unseen(path) => unseen.push(path),
    }
    Ok(())
}

/// Selects the programs to load: those of these hooks and of this method of draining.
fn choose_programs(open: &mut OpenFlowtopSkel<'_>, hooks: &[&Hook], in_kernel: bool) {
    for mut program in open.open_object_mut().progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let is_loaded = if name.starts_with("drain_") {
            in_kernel
        } else if name == "inspect_records" {
            true
        } else if name == "sample_records" {
            !in_kernel
        } else {
            hooks.iter().any(|hook| hook.program == name)
        };
        program.set_autoload(is_loaded);
    }
}

/// Sizes the maps and writes the read-only data, before the programs are loaded.
fn configure(
    open: &mut OpenFlowtopSkel<'_>,
    options: &CaptureOptions,
    plan: AttachPlan,
    in_kernel_drain: bool,
    form: ProgramVariant,
    has_rows: bool,
) -> Result<()> {
    let max_flows = map_memory(options.max_flows, options.by_thread)?.flows;
    let maps = &mut open.maps;
    maps.flows4_a.set_max_entries(max_flows)?;
    maps.flows4_b.set_max_entries(max_flows)?;
    maps.flows6_a.set_max_entries(max_flows)?;
    maps.flows6_b.set_max_entries(max_flows)?;
    let owners = owner_entries(max_flows, options.by_thread);
    maps.owners_a.set_max_entries(owners)?;
    maps.owners_b.set_max_entries(owners)?;
    let roots = options.filter.roots();
    if !roots.is_empty() {
        maps.trees.set_max_entries(trees::MAX_PROCESSES)?;
    }
    if form.reads_answers {
        maps.answers.set_max_entries(answers::ring_bytes())?;
    }
    if has_rows {
        let cpus = libbpf_rs::num_possible_cpus().context("count the possible CPUs")?;
        maps.rows.set_max_entries(u32::try_from(cpus)?)?;
    }
    maps.owner_records.set_max_entries(OWNER_RECORDS)?;
    maps.cgroup_records.set_max_entries(CGROUP_RECORDS)?;
    maps.records.set_max_entries(if in_kernel_drain {
        record_entries(max_flows)
    } else {
        skel::SAMPLES
    })?;

    let rodata = maps
        .rodata_data
        .as_deref_mut()
        .context("find the BPF object's read-only data")?;
    rodata.has_rdonly_cast = form.has_rdonly_cast;
    rodata.has_rows = has_rows;
    rodata.reads_answers = form.reads_answers;
    filter::write(&options.filter.kernel_filter, &roots, rodata).context("push the filter down")?;
    rodata.max_flows = max_flows;
    rodata.split_threads = options.by_thread;
    rodata.is_plain = !(rodata.filters_calls || rodata.filters_flows || rodata.split_threads);
    rodata.opens_at_entry = plan.backend == Backend::Kprobe;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_missing_hook_of_ipv6_is_fine_only_on_a_kernel_without_ipv6() {
        let hooks = [Backend::Fentry, Backend::Kprobe].map(|backend| AttachPlan {
            backend,
            kprobes: true,
        });
        let hooks = hooks.into_iter().flat_map(AttachPlan::hooks);
        let mut twins = 0;
        for hook in hooks.filter(|hook| hook.absent == OnMissing::FineWithoutIpv6) {
            twins += 1;
            let mut unseen = Vec::new();
            let refusal = note_missing(hook, || true, &mut unseen).unwrap_err();
            assert!(refusal.to_string().contains("IPv6 may be a module"));
            note_missing(hook, || false, &mut unseen).unwrap();
            assert_eq!(unseen, [""; 0]);
        }
        assert!(twins > 0);
    }

    #[test]
    fn every_program_is_hooked_and_every_hook_has_its_program() {
        let programs = skel::with_open_object(|open| {
            let programs = open.open_object().progs();
            let names = programs.map(|program| program.name().to_string_lossy().into_owned());
            Ok(names
                .filter(|name| !name.starts_with("drain_") && !name.ends_with("_records"))
                .collect::<BTreeSet<String>>())
        });
        let programs = programs.unwrap();
        let hooked: BTreeSet<String> = Backend::ALL
            .into_iter()
            .flat_map(|backend| [true, false].map(|kprobes| AttachPlan { backend, kprobes }))
            .flat_map(AttachPlan::hooks)
            .map(|hook| hook.program.to_owned())
            .chain(["rt_fork".to_owned(), "tp_fork".to_owned()])
            .collect();
        assert_eq!(programs, hooked);
    }
}
