//! Properties that hold for any text in `kprobe_events` and `kprobe_profile`.

use super::{is_own_group, listed, misses};

/// Any text is read as the list of events, as their profile, and as a group. flowtop removes only
/// events of the group, each by one line, and counts only the misses of the group.
///
/// # Panics
/// When that is not so.
pub fn kprobe_events(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for group in ["flowtop_1", "flowtop_12"] {
        for event in listed(&text, |candidate| candidate == group) {
            let name = event.strip_prefix(group);
            assert!(name.is_some_and(|name| name.starts_with('/')), "{event:?}");
            assert!(!event.contains(char::is_whitespace), "{event:?}");
        }
        let missed = misses(&text, group);
        let others = format!("{text}\n{group}3_inet_sendmsg 1 5\n{group} 1 5\n");
        assert_eq!(misses(&others, group), missed);
        let more = format!("{text}\n{group}_inet_sendmsg 1 5\n");
        assert_eq!(misses(&more, group), missed.saturating_add(5));
    }
    let is_digits = |pid: &str| pid.bytes().all(|byte| byte.is_ascii_digit());
    assert!(!is_own_group(&text) || text.strip_prefix("flowtop_").is_some_and(is_digits));
}
