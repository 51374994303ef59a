//! Selects a simpler variant of the programs if the kernel does not load one.

use anyhow::Result;

use super::backend_error::TooLarge;
use super::requirements::MissingRequirement;
use crate::options::CaptureOptions;
use crate::resolve::namespace;

/// Variants of the programs; some kernels load only the simpler ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProgramVariant {
    /// Kernel memory is read by `bpf_rdonly_cast()`.
    pub(super) has_rdonly_cast: bool,
    /// The programs evaluate their part of the filter.
    pub(super) pushdown: bool,
    /// The programs read DNS answers.
    pub(super) reads_answers: bool,
    /// The kernel has `bpf_rdonly_cast()`, whether it is used or not.
    pub(super) can_cast: bool,
}

impl ProgramVariant {
    /// Returns the variant to try after this error; `None` if no simpler one would load.
    fn after(self, err: &anyhow::Error) -> Option<Self> {
        let pushdown = false;
        match self {
            // A simpler program needs the same privileges, and its error would hide what is
            // missing.
            _ if MissingRequirement::of(err).is_some() => None,
            Self { pushdown: true, .. } if TooLarge::is_cause_of(err) => {
                Some(Self { pushdown, ..self })
            }
            // Not every kernel that has the function lets these programs call it.
            Self {
                has_rdonly_cast: true,
                ..
            } => Some(Self {
                has_rdonly_cast: false,
                ..self
            }),
            // Host names are the smallest loss.
            Self {
                reads_answers: true,
                ..
            } => Some(Self {
                has_rdonly_cast: self.can_cast,
                reads_answers: false,
                ..self
            }),
            _ => None,
        }
    }
}

/// Returns the first variant that loads, with its result, or the error of the last one.
pub(super) fn first_that_loads<T>(
    mut form: ProgramVariant,
    attempt: impl Fn(ProgramVariant) -> Result<T>,
) -> Result<(ProgramVariant, T)> {
    loop {
        match attempt(form) {
            Ok(opened) => return Ok((form, opened)),
            Err(err) => form = form.after(&err).ok_or(err)?,
        }
    }
}

/// Returns the options without a filter for the kernel. `None` if there is none already, or if only
/// the kernel can decide it: drained flows do not have the ids of a pid namespace.
pub(super) fn unpushed(options: &CaptureOptions) -> Option<CaptureOptions> {
    let filter = options.filter.unpushed()?;
    if !options.filter.kernel_filter.tasks.is_empty() && namespace::own_pid().is_some() {
        return None;
    }
    Some(CaptureOptions {
        by_thread: options.by_thread || filter.needs_threads(),
        filter,
        ..options.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::backend_error::load_error;

    #[test]
    fn a_program_too_large_for_the_verifier_is_tried_without_the_filter() {
        let too_large = || load_error(libbpf_rs::Error::from_raw_os_error(7));
        let refused = || load_error(libbpf_rs::Error::from_raw_os_error(22));
        let whole = ProgramVariant {
            has_rdonly_cast: true,
            pushdown: true,
            reads_answers: false,
            can_cast: true,
        };
        let tried = |errors: &dyn Fn(ProgramVariant) -> Option<anyhow::Error>| {
            let forms = std::cell::RefCell::new(Vec::new());
            let opened = first_that_loads(whole, |form| {
                forms
                    .borrow_mut()
                    .push((form.has_rdonly_cast, form.pushdown));
                errors(form).map_or(Ok(()), Err)
            });
            (opened.is_ok(), forms.into_inner())
        };
        let (opened, forms) = tried(&|form| form.pushdown.then(too_large));
        assert!(opened);
        assert_eq!(forms, [(true, true), (true, false)]);
        let (opened, forms) = tried(&|form| form.has_rdonly_cast.then(refused));
        assert!(opened);
        assert_eq!(forms, [(true, true), (false, true)]);
        let (opened, forms) = tried(&|_| Some(refused()));
        assert!(!opened);
        assert_eq!(forms, [(true, true), (false, true)]);
        let denied = || load_error(libbpf_rs::Error::from_raw_os_error(1));
        let (opened, forms) = tried(&|_| Some(denied()));
        assert!(!opened);
        assert_eq!(forms, [(true, true)]);
        let (opened, forms) = tried(&|_| Some(too_large()));
        assert!(!opened);
        assert_eq!(forms, [(true, true), (true, false), (false, false)]);
        let forms = std::cell::RefCell::new(Vec::new());
        let reading = ProgramVariant {
            reads_answers: true,
            ..whole
        };
        let opened = first_that_loads(reading, |form| {
            forms
                .borrow_mut()
                .push((form.has_rdonly_cast, form.reads_answers));
            form.reads_answers.then(refused).map_or(Ok(()), Err)
        });
        assert!(opened.is_ok());
        assert_eq!(
            forms.into_inner(),
            [(true, true), (false, true), (true, false)]
        );
        let no_room = load_error(libbpf_rs::Error::from_raw_os_error(28));
        assert!(TooLarge::is_cause_of(&no_room));
    }
}
