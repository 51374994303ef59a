//! Which flows a text that was typed means. The one place that knows, so that a language can take
//! its place.

use std::fmt::Write as _;

use crate::history::FlowStats;
use crate::owner::Process;

/// Whether a flow is meant by `text`: every word of it is in its protocol, addresses, ports, process
/// id, process name, user or container, capitals or not. An empty text means every flow.
pub fn matches(text: &str, flow: &FlowStats, process: Option<&Process>) -> bool {
    if text.trim().is_empty() {
        return true;
    }
    let key = &flow.key;
    let mut all = String::with_capacity(160);
    // Writing to a string cannot fail.
    let _ = write!(
        all,
        "{} {} {} {} {}",
        key.protocol,
        key.local,
        key.remote,
        key.tgid,
        flow.owner.comm.to_string_lossy()
    );
    if let Some(process) = process {
        for known in [&process.user, &process.place_name].into_iter().flatten() {
            all.push(' ');
            all.push_str(known);
        }
    }
    let all = all.to_lowercase();
    text.to_lowercase()
        .split_whitespace()
        .all(|word| all.contains(word))
}
