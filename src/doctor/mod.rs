//! `--doctor`: checks what flowtop needs from this machine, names the fix for what is missing, and
//! proves with known bytes that flowtop counts them. It starts as a run does, so a run finds the
//! same.

mod checks;
mod report;
mod selftest;

use std::io::Write;

use anyhow::{Context, Result};

use self::selftest::{SelfTestOutcome, SelfTestTraffic};
use crate::kernel::requirements::MissingRequirement;
use crate::kernel::{NoBackend, requirements};
use crate::options::{Backend, CaptureOptions};
use crate::sandbox::privilege::{Identity, Privilege};
use crate::sandbox::{self, Allow, Confinement, DeniedProbe};
use crate::source::live::Live;
use crate::text::units;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CheckState {
    /// The requirement is met.
    Ok,
    /// A note: flowtop works.
    Note,
    /// flowtop does not work.
    Fail,
}

impl CheckState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Fail => "fail",
        }
    }
}

#[derive(Clone, Debug)]
struct Check {
    /// Its name in JSON, which never changes.
    id: &'static str,
    /// Its name in text.
    title: &'static str,
    state: CheckState,
    /// What the check found.
    value: String,
    /// The command, option or boot parameter that fixes it.
    fix: Option<String>,
}

impl Check {
    fn new(
        id: &'static str,
        title: &'static str,
        state: CheckState,
        value: impl Into<String>,
    ) -> Self {
        Self {
            id,
            title,
            state,
            value: value.into(),
            fix: None,
        }
    }

    fn fix(self, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(fix.into()),
            ..self
        }
    }

    fn for_requirement(
        id: &'static str,
        title: &'static str,
        state: CheckState,
        missing: &MissingRequirement,
    ) -> Self {
        Self::new(id, title, state, missing.what.as_str()).fix(missing.fix.as_str())
    }
}

/// Checks under one heading.
#[derive(Debug)]
struct CheckSection {
    title: &'static str,
    checks: Vec<Check>,
}

/// A backend, and what it counted if it attached.
#[derive(Debug)]
struct BackendTrial {
    backend: &'static str,
    outcome: Result<SelfTestOutcome>,
}

/// The results of all checks.
#[derive(Debug)]
struct DoctorReport {
    sections: Vec<CheckSection>,
    trials: Vec<BackendTrial>,
    /// The backend of a run; `None` if there is none or it is not exact.
    backend: Option<String>,
}

/// The form of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoctorFormat {
    Text,
    /// One object, in the form of `--json`.
    Json,
}

/// Runs all checks and writes their results, as text or with `--json` as one object. Returns
/// whether flowtop works here. Call it before other threads start. `allow` is what the sandbox has
/// to allow; `None` checks no sandbox.
///
/// # Errors
/// When `out` cannot be written.
pub fn run(
    options: &CaptureOptions,
    allow: Option<&Allow>,
    format: DoctorFormat,
    privilege: &Privilege,
    out: &mut impl Write,
) -> Result<bool> {
    // After this, flowtop opens no path that a user names.
    privilege.raise()?;
    let mut sections = vec![
        CheckSection {
            title: "Kernel",
            checks: checks::kernel(),
        },
        CheckSection {
            title: "Privileges",
            checks: checks::privileges(),
        },
        CheckSection {
            title: "Memory",
            checks: checks::memory(options.max_flows, options.by_thread),
        },
    ];
    let trials: Vec<BackendTrial> = Backend::ALL
        .into_iter()
        .map(|backend| BackendTrial {
            backend: backend.as_str(),
            outcome: attempt(options, backend),
        })
        .collect();
    sections.push(CheckSection {
        title: "Backends, tested with known bytes over loopback",
        checks: trials.iter().map(trial).collect(),
    });
    let (backend, checks) = start(options, allow, &privilege.identity(false));
    sections.push(CheckSection {
        title: "A start as in a run",
        checks,
    });
    let report = DoctorReport {
        sections,
        trials,
        backend,
    };
    let text = match format {
        DoctorFormat::Json => report::json(&report)?,
        DoctorFormat::Text => report::text(&report),
    };
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("write the output")?;
    Ok(report.backend.is_some())
}

fn with_backend(options: &CaptureOptions, backend: Option<Backend>) -> CaptureOptions {
    CaptureOptions {
        backend,
        // No filter: it could leave out the bytes of the test.
        filter: Default::default(),
        ..options.clone()
    }
}

fn attempt(options: &CaptureOptions, backend: Backend) -> Result<SelfTestOutcome> {
    let mut live = Live::open(&with_backend(options, Some(backend)))?;
    SelfTestTraffic::prepare()?.measure(&mut live)
}

/// Returns the missing requirement that caused an error, if it is known.
fn load_requirement(error: &anyhow::Error) -> Option<&MissingRequirement> {
    let refused = error.downcast_ref::<NoBackend>();
    let of_backend =
        refused.and_then(|refused| refused.0.iter().find_map(|one| one.missing.as_ref()));
    of_backend.or_else(|| MissingRequirement::of(error))
}

fn trial(trial: &BackendTrial) -> Check {
    let name = trial.backend;
    match &trial.outcome {
        Ok(outcome) if outcome.is_exact() => {
            Check::new(name, name, CheckState::Ok, outcome.to_string())
        }
        Ok(outcome) => {
            let check = Check::new(name, name, CheckState::Note, outcome.to_string());
            check.fix("use --backend auto, which takes an exact backend")
        }
        Err(error) => match load_requirement(error) {
            Some(missing) => Check::for_requirement(name, name, CheckState::Note, missing),
            None => {
                // The error begins with the name of the backend too.
                let text = format!("{error:#}");
                let text = text.strip_prefix(&format!("{name}: ")).unwrap_or(&text);
                Check::new(name, name, CheckState::Note, text)
            }
        },
    }
}

/// Starts as a run does, drops its privileges and counts. Returns the backend if all of that works.
fn start(
    options: &CaptureOptions,
    allow: Option<&Allow>,
    identity: &Identity,
) -> (Option<String>, Vec<Check>) {
    // Opens its sockets first: the sandbox forbids new ones.
    let traffic = SelfTestTraffic::prepare();
    let mut live = match Live::open(&with_backend(options, options.backend)) {
        Ok(live) => live,
        Err(error) => {
            let mut checks = vec![match load_requirement(&error) {
                Some(missing) => {
                    Check::for_requirement("backend", "backend", CheckState::Fail, missing)
                }
                None => Check::new("backend", "backend", CheckState::Fail, format!("{error:#}")),
            }];
            // The sandbox is checked even without a backend.
            checks.extend(confined(&confine(allow, |allow| {
                sandbox::confine(identity, allow, &[], || Ok(()))
            })));
            return (None, checks);
        }
    };
    let method = live.method();
    let (state, value) = (
        CheckState::Ok,
        format!("{}: {}", method.backend, method.reason),
    );
    let mut checks = vec![Check::new("backend", "backend", state, value)];
    if !method.unseen.is_empty() {
        let value = method.unseen.join(", ");
        let check = Check::new("unseen", "limits", CheckState::Note, value);
        checks.push(check.fix(
            "nothing to do: this kernel cannot report these ways of moving data (docs/LIMITS.md)",
        ));
    }
    if method.misses_unknown {
        let value = "unknown: this kernel is preemptible and does not count missed events";
        let check = Check::new("missed_events", "missed events", CheckState::Note, value);
        checks.push(
            check.fix("boot with preempt=none, or run Linux 6.7 or later, which counts them"),
        );
    }
    let filter = filter(options);
    let is_filtering = !matches!(&filter, Some(check) if check.state == CheckState::Fail);
    checks.extend(filter);
    let confinement = confine(allow, |allow| live.confine(identity, allow));
    let outcome = traffic.and_then(|traffic| traffic.measure(&mut live));
    let exact = outcome.as_ref().is_ok_and(SelfTestOutcome::is_exact);
    checks.push(self_test_check(&outcome));
    checks.extend(outcome.as_ref().ok().map(audited));
    checks.extend(confined(&confinement));
    let works = exact && is_filtering && confinement.is_ok();
    (works.then(|| method.backend.clone()), checks)
}

/// Checks whether the kernel accepts its part of the filter.
fn filter(options: &CaptureOptions) -> Option<Check> {
    options.filter.kernel.as_ref()?;
    let (id, title) = ("filter", "filter");
    Some(match Live::open(options) {
        Ok(live) if live.is_unfiltered() => {
            let value = "too large for this kernel's verifier: user space evaluates all of it";
            let check = Check::new(id, title, CheckState::Note, value);
            check.fix("name fewer ids, ports or networks; without that the flows are the same, at a higher cost")
        }
        Ok(_) => {
            let value = "the kernel accepts its part, which --explain-filter shows";
            Check::new(id, title, CheckState::Ok, value)
        }
        Err(error) => Check::new(id, title, CheckState::Fail, format!("{error:#}")),
    })
}

fn confine(
    allow: Option<&Allow>,
    confine: impl FnOnce(&Allow) -> Result<Confinement>,
) -> Result<Confinement> {
    allow.map_or_else(|| Ok(Confinement::declined()), confine)
}

fn self_test_check(outcome: &Result<SelfTestOutcome>) -> Check {
    let (id, title) = ("self_test", "self-test");
    match outcome {
        Ok(outcome) if outcome.is_exact() => {
            Check::new(id, title, CheckState::Ok, outcome.to_string())
        }
        Ok(outcome) => {
            let check = Check::new(id, title, CheckState::Fail, outcome.to_string());
            check.fix("report this bug of flowtop with the output of flowtop --doctor --json")
        }
        Err(error) => Check::new(id, title, CheckState::Fail, format!("{error:#}")),
    }
}

/// Compares the counted bytes with the kernel's own counters of TCP connections.
fn audited(outcome: &SelfTestOutcome) -> Check {
    let audit = &outcome.audit;
    let (id, title) = ("audit", "audit");
    let value = format!(
        "{} of {} agree with the kernel's own counters, {} exempt",
        audit.agreeing,
        units::count(audit.connections, "TCP connection"),
        audit.exempt
    );
    match audit.is_well() {
        true => Check::new(id, title, CheckState::Ok, value),
        false => {
            let drift = audit.drift;
            let value = format!(
                "{value}; {} B in and {} B out not counted",
                drift.rx, drift.tx
            );
            let check = Check::new(id, title, CheckState::Fail, value);
            check.fix("run flowtop --batch: it names the connection and the likely cause")
        }
    }
}

/// Checks which privileges flowtop dropped, and whether the kernel refuses the operations that they
/// allowed.
fn confined(confinement: &Result<Confinement>) -> Vec<Check> {
    let (id, title) = ("confinement", "confinement");
    let confinement = match confinement {
        Ok(confinement) => confinement,
        Err(error) => {
            let check = Check::new(id, title, CheckState::Fail, format!("{error:#}"));
            return vec![check.fix("run flowtop --no-sandbox, which keeps all privileges")];
        }
    };
    let state = match confinement.is_whole() {
        true => CheckState::Ok,
        false => CheckState::Note,
    };
    let mut checks = vec![Check::new(id, title, state, confinement.to_string())];
    if confinement.declined {
        return checks;
    }
    let (refused, allowed) = tried(confinement, sandbox::refusals());
    if !refused.is_empty() {
        let value = refused.join(", ");
        checks.push(Check::new(
            "refused",
            "denied, as intended",
            CheckState::Ok,
            value,
        ));
    }
    if !allowed.is_empty() {
        let check = Check::new(
            "not_refused",
            "NOT denied",
            CheckState::Fail,
            allowed.join(", "),
        );
        checks.push(
            check.fix("report this bug of flowtop with the output of flowtop --doctor --json"),
        );
    }
    checks
}

/// Splits probe results into denied (good) and allowed although this kernel supports denying them
/// (bad).
fn tried(
    confinement: &Confinement,
    tried: Vec<DeniedProbe>,
) -> (Vec<&'static str>, Vec<&'static str>) {
    let can = |tried: &DeniedProbe| match tried.landlock {
        Some(since) => confinement.landlock.is_some_and(|version| version >= since),
        None => confinement.seccomp,
    };
    let (refused, allowed): (Vec<DeniedProbe>, Vec<DeniedProbe>) =
        tried.into_iter().partition(|tried| tried.refused);
    let what = |tried: Vec<DeniedProbe>| tried.into_iter().map(|tried| tried.what).collect();
    let allowed = allowed.into_iter().filter(can).collect();
    (what(refused), what(allowed))
}

/// Returns the capabilities for setcap(8) with which a user other than root sees everything here.
fn setcap() -> String {
    format!(
        "{}=ep",
        crate::sandbox::capabilities::for_setcap(requirements::needed_capabilities())
    )
}
