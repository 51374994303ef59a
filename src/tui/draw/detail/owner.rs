//! Describes the process that owns flows: what the kernel recorded when bytes moved, completed from
//! `/proc`.

use std::time::SystemTime;

use ratatui::style::Style;

use super::facts::{DetailList, time_ago};
use crate::stats::history::FlowStats;
use crate::stats::ranking::{ProcessLookup as _, ProcessRef};
use crate::text::units;
use crate::tui::draw::duration;
use crate::tui::state::shared::SharedState;

/// Adds facts about the process of a flow. Facts read before the process ended are kept.
pub(super) fn owner(flow: &FlowStats, shared: &SharedState, list: &mut DetailList) {
    let theme = &shared.display.theme;
    let plain = Style::new();
    let (key, owner, process_ref) = (&flow.key, &flow.owner, ProcessRef::of(flow));
    let process = shared.owners.process(&process_ref);
    let mut name = format!(
        "{} ({})",
        units::process_name(&owner.name(), owner.kernel),
        key.tgid
    );
    if shared.names.is_own(key.tgid) {
        name.push_str(", flowtop's own look-ups");
    }
    if owner.kernel {
        name.push_str(", kernel thread");
    }
    if process.as_ref().is_some_and(|process| process.exited) {
        name.push_str(", ended");
    }
    list.add("process", &name, theme.bold());
    if key.tid != 0 {
        let thread = owner.thread.to_string_lossy();
        list.add("thread", &format!("{thread} ({})", key.tid), plain);
    }
    if let Some(process) = process.as_ref().filter(|it| !it.cmdline.is_empty()) {
        list.add("command", &process.cmdline.join(" "), plain);
    }
    if let Some(uid) = shared.owners.uid(&process_ref) {
        let user = match shared.owners.user(&process_ref) {
            Some(name) => format!("{name} ({uid})"),
            None => uid.to_string(),
        };
        list.add("user", &user, plain);
    }
    if let Some(location) = shared.owners.short_location(&process_ref) {
        list.add("runs in", &location, plain);
    }
    container(&process_ref, shared, list);
    if let Some(process) = &process {
        let running = SystemTime::now().duration_since(process.started);
        let started = time_ago(process.started, running.unwrap_or_default());
        let parent = process.parent.as_deref().unwrap_or("unknown");
        let started = format!("{started} by {parent} ({})", process.ppid);
        list.add("started", &started, plain);
        if let Some(exe) = &process.exe {
            list.add("executable", &exe.to_string_lossy(), plain);
        }
    } else if let Some(start) = owner.start {
        let started = format!("{} after boot", duration(start.as_secs()));
        list.add("started", &started, plain);
    }
    let by_proc = process
        .as_ref()
        .and_then(|process| process.cgroup.as_deref());
    if let Some(cgroup) = owner.cgroup.as_deref().or(by_proc) {
        list.add("cgroup", cgroup, theme.dim());
    }
    if process.is_none() {
        let more = match owner.uid {
            Some(_) => "no details in /proc",
            None => "no details known",
        };
        list.add("", more, theme.dim());
    }
}

/// Adds the container of a process as named in files, and the groups it belongs to.
fn container(process_ref: &ProcessRef<'_>, shared: &SharedState, list: &mut DetailList) {
    let Some(location) = shared.owners.location(process_ref) else {
        return;
    };
    let whole = &location.whole;
    if let Some(container) = &whole.container {
        list.add("container id", &container.id, Style::new());
    }
    let labels = whole.labels();
    let texts = [
        ("name", labels.and_then(|labels| labels.name.clone())),
        ("image", labels.and_then(|labels| labels.image.clone())),
        ("pod", labels.and_then(|labels| labels.pod.clone())),
        (
            "namespace",
            labels.and_then(|labels| labels.namespace.clone()),
        ),
        ("compose", labels.and_then(|labels| labels.compose_name())),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            list.add(name, &text, Style::new());
        }
    }
    if labels.is_some_and(|labels| labels.is_stale) {
        let stale = "the engine no longer has this container: names are the last known";
        list.add("", stale, shared.display.theme.dim());
    }
}
