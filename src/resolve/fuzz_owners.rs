//! What holds of any text that `/proc` may have of a process, and of any cgroup path and passwd.

use super::cgroup::{self, Delegate, SharedLocation};
use super::processes::{Stat, arguments, uid_of};

/// Any text is read as a cgroup path, and as a `/proc/PID/cgroup`. Ids are ids, and nothing is in
/// the short form that is not in the long one.
///
/// # Panics
/// When that is not so.
pub fn cgroup(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for path in [Some(&*text), cgroup::path_of(&text)].into_iter().flatten() {
        let location = cgroup::parse_path(path);
        let ids = location.container.iter().map(|container| &container.id);
        for id in ids.chain(&location.pod) {
            assert!((1..=255).contains(&id.len()), "{location:?}");
            assert!(!id.contains(char::is_control), "{location:?}");
            assert!(text.len() >= id.len(), "{location:?}");
        }
        if location.delegate == Delegate::Unknown {
            assert_eq!(location.unit, None, "{location:?}");
        }
        assert!(location.unit.as_deref() != Some(""));
        let located = SharedLocation::from(&location);
        assert_eq!(located.name.is_none(), location.is_empty());
        assert_eq!(located.unit.as_deref(), location.unit.as_deref());
    }
}

/// Any text is read as what `/proc/PID` holds: stat, status and cmdline.
///
/// # Panics
/// When that is not so.
pub fn proc(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(stat) = Stat::parse(&text) {
        assert!(text.contains(&stat.comm));
    }
    let _ = uid_of(&text);
    let arguments = arguments(bytes);
    assert_eq!(arguments.is_empty(), bytes.iter().all(|&byte| byte == 0));
    let zeros = bytes.iter().filter(|&&byte| byte == 0).count();
    assert!(arguments.len() <= zeros + 1);
}

/// Any file is read as `/etc/passwd`, and every user in it has a name.
///
/// # Panics
/// When that is not so.
pub fn users(bytes: &[u8]) {
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let mut found = 0;
    for (name, _) in super::users::users(bytes) {
        assert!(!name.is_empty() && !name.contains([':', '\n']));
        found += 1;
    }
    assert!(found <= lines);
}
