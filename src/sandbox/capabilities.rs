//! Linux capabilities by their names (capabilities(7)): which ones this process holds, and which
//! are missing.

pub use rustix::thread::CapabilitySet;

/// Returns the effective capabilities of this thread; none if the kernel does not report them,
/// which it always does.
pub fn held() -> CapabilitySet {
    rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective)
}

/// Formats a set as in `CAP_BPF and CAP_PERFMON`; `none` for the empty set, `all` for root's.
pub fn names(set: CapabilitySet) -> String {
    /// A larger set belongs to root: its size is shown instead of a list.
    const MAX_LISTED: usize = 12;
    let names: Vec<String> = set
        .iter_names()
        .map(|(name, _)| format!("CAP_{name}"))
        .collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        all if all.len() > MAX_LISTED => format!("{} of them, as root has", all.len()),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Formats a set for setcap(8), as in `cap_bpf,cap_perfmon`.
pub fn for_setcap(set: CapabilitySet) -> String {
    let names = set.iter_names();
    let names = names.map(|(name, _)| format!("cap_{}", name.to_lowercase()));
    names.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_told_by_the_names_of_the_manual() {
        let two = CapabilitySet::PERFMON | CapabilitySet::BPF;
        assert_eq!(names(two), "CAP_PERFMON and CAP_BPF");
        assert_eq!(for_setcap(two), "cap_perfmon,cap_bpf");
        assert_eq!(names(CapabilitySet::empty()), "none");
        let all = CapabilitySet::all();
        assert!(names(all).ends_with("as root has"), "{}", names(all));
    }
}
