//! Errors of backends: what is missing, and the fix, instead of an errno.

use std::fmt;

use anyhow::anyhow;

use super::backend::Backend;
use super::libbpf_log;
use super::map_memory::DEFAULT_MAX_FLOWS;
use super::requirements::{self, MissingRequirement};

/// Explains an error of loading. The verifier refuses with EACCES, whatever the privileges.
pub fn load_error(err: libbpf_rs::Error) -> anyhow::Error {
    let text = err.to_string();
    if text.contains("os error 13") {
        anyhow!(
            "the kernel's verifier refused a program: a bug in flowtop on this kernel; -v shows the verifier's log"
        )
    } else if text.contains("os error 1)") {
        requirements::of_load().into()
    } else if ["os error 7)", "os error 28)"]
        .iter()
        .any(|errno| text.contains(errno))
    {
        TooLarge(text).into()
    } else if text.contains("os error 12)") {
        let flows = DEFAULT_MAX_FLOWS / 8;
        MissingRequirement {
            what: "the kernel has no memory for the maps".to_owned(),
            fix: format!("a smaller --max-flows, as in --max-flows {flows}, or allow more memory"),
        }
        .into()
    } else {
        anyhow::Error::new(err).context("load the BPF programs")
    }
}

/// The verifier rejected a program as too large: E2BIG beyond its million instructions or 8192 open
/// branches, ENOSPC beyond its log. Holds the error of libbpf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge(String);

impl TooLarge {
    /// Whether the programs were not loaded because of this error.
    pub fn is_cause_of(err: &anyhow::Error) -> bool {
        err.chain().any(|cause| cause.is::<Self>())
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        write!(
            f,
            "a BPF program is too large for this kernel's verifier ({error}); with a filter: shorten it, or \
             leave it to user space by --no-pushdown"
        )
    }
}

impl std::error::Error for TooLarge {}

/// Explains an error of attaching by a perf event.
pub fn perf_error(err: libbpf_rs::Error) -> anyhow::Error {
    match err.kind() {
        libbpf_rs::ErrorKind::PermissionDenied => requirements::of_perf().into(),
        _ => match requirements::of_first_cpu() {
            Some(missing) => missing.into(),
            None => err.into(),
        },
    }
}

/// The reason for which a backend does not work on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendError {
    backend: Backend,
    pub text: String,
    /// The missing requirement, if it is known; `text` names it too.
    pub missing: Option<MissingRequirement>,
}

/// Returns the error for a run in which no backend worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoBackend(pub Vec<BackendError>);

impl BackendError {
    /// Explains an error of opening a backend: by the missing requirement, or else by the error
    /// with libbpf's log.
    pub(super) fn new(backend: Backend, err: &anyhow::Error) -> Self {
        if let Some(missing) = MissingRequirement::of(err) {
            return Self {
                backend,
                text: missing.to_string(),
                missing: Some(missing.clone()),
            };
        }
        let mut text = format!("{err:#}");
        let of_libbpf = err.chain().any(|cause| cause.is::<libbpf_rs::Error>());
        // Kernels without the feature fail with EINVAL, ENOTSUPP or ENOSYS, at different steps.
        if let Some(missing) = requirements::of_jit().filter(|_| of_libbpf) {
            return Self {
                backend,
                text: missing.to_string(),
                missing: Some(missing),
            };
        }
        // The C library has no text for ENOTSUPP and prints only its number.
        if text.contains("os error 524") {
            text.push_str(" (ENOTSUPP: this kernel does not support it)");
        }
        if let Some(line) = libbpf_log::last_failure() {
            text.push_str(&format!("; {line}"));
        }
        Self {
            backend,
            text,
            missing: None,
        }
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.backend.as_str(), self.text)
    }
}

impl fmt::Display for NoBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "{only}"),
            all => {
                f.write_str("no backend works here:")?;
                all.iter()
                    .try_for_each(|refusal| write!(f, "\n  {refusal}"))
            }
        }
    }
}

impl std::error::Error for NoBackend {}
