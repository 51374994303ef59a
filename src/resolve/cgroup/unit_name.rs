//! The repeating part of a unit's name: without it each start of a program would be a new group,
//! and a new series of metrics.

/// Shortest id at the end of a scope's name, in hexadecimal digits.
const MIN_ID: usize = 32;
/// Characters of a UUID with its dashes.
const UUID: usize = 36;

/// Returns the repeating part of a unit's name; `None` if all of it repeats. `slice` is the slice
/// that the unit is in.
pub(super) fn repeating_name(unit: &str, slice: Option<&str>) -> Option<String> {
    let (name, suffix) = unit.rsplit_once('.')?;
    if suffix == "scope"
        && name.starts_with("session-")
        && let Some(slice) = slice
        && slice.starts_with("user-")
    {
        return Some(slice.to_owned());
    }
    let (name, instance) = match name.split_once('@') {
        Some((name, instance)) => (name, Some(instance)),
        None => (name, None),
    };
    let repeats = match (suffix, instance) {
        // systemd.io/DESKTOP_ENVIRONMENTS: app[-LAUNCHER]-ID[@RANDOM].service and
        // app[-LAUNCHER]-ID-RANDOM.scope
        ("service", Some(_)) if name.starts_with("app-") => name.to_owned(),
        ("service", Some(instance)) if is_connection(instance) => format!("{name}@"),
        ("scope", None) if name.starts_with("app-") => {
            let (app, _) = name.rsplit_once('-')?;
            app.contains('-').then(|| app.to_owned())?
        }
        (_, None) if is_transient(name) => "run".to_owned(),
        ("scope", None) => without_id(name)?.to_owned(),
        _ => return None,
    };
    Some(format!("{repeats}.{suffix}"))
}

/// Whether systemd made the instance for a connection: `NR-LOCAL-REMOTE`, `NR-PID-UID`
/// (`Accept=yes` of systemd.socket(5)).
fn is_connection(instance: &str) -> bool {
    let parts: Vec<&str> = instance.splitn(3, '-').collect();
    let is_address = |part: &&str| part.contains(':') || is_number(part);
    parts.len() == 3 && is_number(parts[0]) && parts[1..].iter().all(is_address)
}

/// Whether systemd-run made the name up: `run-u12`, `run-r` and 32 digits, `run-p12-i34`, `run-12`.
fn is_transient(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("run-") else {
        return false;
    };
    let invocation = rest
        .strip_prefix('p')
        .and_then(|rest| rest.split_once("-i"));
    is_number(rest.strip_prefix('u').unwrap_or(rest))
        || rest.strip_prefix('r').is_some_and(is_id)
        || invocation.is_some_and(|(pid, id)| is_number(pid) && is_number(id))
}

/// Returns a name without the id or UUID at its end.
fn without_id(name: &str) -> Option<&str> {
    let cut = |at: usize| {
        let (head, tail) = (name.get(..at)?, name.get(at..)?);
        let head = head.strip_suffix(['-', '.', '_'])?;
        (!head.is_empty() && is_id(&tail.replace('-', ""))).then_some(head)
    };
    name.len()
        .checked_sub(UUID)
        .and_then(cut)
        .or_else(|| cut(name.rfind(['-', '.', '_'])? + 1))
}

fn is_id(text: &str) -> bool {
    text.len() >= MIN_ID && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_grouped_by_the_part_of_their_name_that_repeats() {
        let id = "0123456789abcdef".repeat(4);
        let uuid = "01234567-89ab-cdef-0123-456789abcdef";
        for (unit, repeats) in [
            ("libpod-conmon-ID.scope", "libpod-conmon.scope"),
            ("crio-conmon-ID.scope", "crio-conmon.scope"),
            (
                "snap.firefox.firefox-UUID.scope",
                "snap.firefox.firefox.scope",
            ),
            ("vte-spawn-UUID.scope", "vte-spawn.scope"),
            (
                "app-gnome-org.gnome.Terminal-777.scope",
                "app-gnome-org.gnome.Terminal.scope",
            ),
            (
                "app-flatpak-org.mozilla.firefox-1234.scope",
                "app-flatpak-org.mozilla.firefox.scope",
            ),
            ("app-org.kde.kate@1f2e.service", "app-org.kde.kate.service"),
            ("session-3.scope", "user-1000.slice"),
            ("session-c1.scope", "user-1000.slice"),
            ("run-u12.service", "run.service"),
            ("run-r0123456789abcdef0123456789abcdef.scope", "run.scope"),
            ("run-p12-i34.scope", "run.scope"),
            ("sshd@7-10.0.0.1:22-10.0.0.2:4000.service", "sshd@.service"),
            (
                "systemd-coredump@2-77-0.service",
                "systemd-coredump@.service",
            ),
            // These repeat.
            ("nginx.service", "nginx.service"),
            ("getty@tty1.service", "getty@tty1.service"),
            ("postgresql@16-main.service", "postgresql@16-main.service"),
            ("app-2.scope", "app-2.scope"),
            ("run-parts.service", "run-parts.service"),
            ("init.scope", "init.scope"),
            ("deploy-2024.scope", "deploy-2024.scope"),
            ("user@1000.service", "user@1000.service"),
        ] {
            let unit = unit.replace("UUID", uuid).replace("ID", &id);
            let group = repeating_name(&unit, Some("user-1000.slice"));
            assert_eq!(group.as_deref().unwrap_or(&unit), repeats, "{unit}");
        }
    }
}
