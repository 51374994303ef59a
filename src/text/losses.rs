//! The words for losses and for limits of a kernel, shared by all outputs: `exact`, or the loss and
//! its fix.

use crate::model::flow::Comm;
use crate::model::interval::{Drift, Losses, Method, SlotHolder, UNSEEN_NAMES, Unknown};
use crate::text::units;

/// Returns the exactness in a few words: `exact` or the losses, and the number of limits of this
/// kernel.
pub fn summary(losses: &Losses, method: &Method) -> String {
    let mut parts = Vec::new();
    if losses.missed_events > 0 {
        parts.push(format!("{} missed", losses.missed_events));
    }
    if method.missed(losses).is_none() {
        parts.push("missed unknown".to_owned());
    }
    if let Some(holder) = &losses.full {
        parts.push(format!("flow table full ({})", name(holder)));
    }
    if !losses.untracked.is_zero() {
        let bytes = losses.untracked.rx_bytes + losses.untracked.tx_bytes;
        parts.push(format!("{} untracked", units::bytes(bytes)));
    }
    let Unknown {
        processes,
        cgroups,
        answers,
    } = losses.unknown;
    let unknown = [
        (processes, "owner"),
        (cgroups, "cgroup"),
        (answers, "DNS answer"),
    ];
    for (number, thing) in unknown {
        if number > 0 {
            parts.push(format!("{} unknown", units::count(number, thing)));
        }
    }
    let audit = &losses.audit;
    if !audit.drift.is_zero() {
        parts.push(format!("{} drift", units::bytes(audit.drift.size())));
    } else if !audit.is_well() {
        let off = audit.connections.saturating_sub(audit.agreeing);
        parts.push(format!("{} off", units::count(off, "connection")));
    }
    if parts.is_empty() {
        parts.push(match audit.agreeing {
            0 => "exact".to_owned(),
            agreeing => format!("exact ({agreeing} audited)"),
        });
    }
    // A limit of the kernel is not a loss.
    if !method.unseen.is_empty() {
        parts.push(units::count(method.unseen.len() as u64, "limit"));
    }
    parts.join(", ")
}

/// Returns the state in one word if nothing was lost. A mark says that this kernel has a limit,
/// which holds in every interval and is no alarm.
pub fn state(method: &Method) -> &'static str {
    if method.misses_unknown {
        "limits ?"
    } else if !method.unseen.is_empty() {
        "exact ?"
    } else {
        "exact"
    }
}

/// Returns whether something was lost. Limits of a kernel do not count: they hold in every
/// interval, and a permanent alarm is ignored.
pub fn is_degraded(losses: &Losses) -> bool {
    !losses.is_none()
}

/// Returns one sentence for each loss of an interval, with what to do.
pub fn losses(losses: &Losses) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(holder) = &losses.full {
        lines.push(format!(
            "FLOW TABLE FULL: {} (pid {pid}) holds {} of {} flows; each process shows flows without a slot \
             as one row; raise --max-flows, or use the filter 'not pid {pid}'",
            name(holder),
            holder.flows,
            holder.slots,
            pid = holder.tgid,
        ));
    }
    let untracked = losses.untracked;
    if !untracked.is_zero() {
        lines.push(format!(
            "UNTRACKED: {} in, {} out belong to flows that found the flow table full; they are in \
             the totals, not in the rows; raise --max-flows or shorten --interval",
            units::bytes(untracked.rx_bytes),
            units::bytes(untracked.tx_bytes)
        ));
    }
    if losses.missed_events > 0 {
        lines.push(format!(
            "MISSED: the probes did not see {}; the numbers are too low; use --backend auto",
            units::count(losses.missed_events, "event")
        ));
    }
    let Unknown {
        processes,
        cgroups,
        answers,
    } = losses.unknown;
    if processes > 0 {
        lines.push(format!(
            "UNKNOWN OWNERS: flowtop had no room for the name and user of {}; bytes and PIDs are exact; raise \
             --max-flows or shorten --interval",
            units::count(processes, "owner")
        ));
    }
    if cgroups > 0 {
        lines.push(format!(
            "UNKNOWN CGROUPS: flowtop had no room for the container and unit of {}; everything else is exact; \
             shorten --interval",
            units::count(cgroups, "owner")
        ));
    }
    if answers > 0 {
        lines.push(format!(
            "UNKNOWN NAMES: flowtop had no room for {}, so host names may be missing; everything else is exact; \
             shorten --interval",
            units::count(answers, "DNS answer")
        ));
    }
    lines.extend(drift(losses));
    lines
}

/// Returns the connection with the largest drift, the drift, and its likely cause.
fn drift(losses: &Losses) -> Option<String> {
    let audit = &losses.audit;
    if audit.is_well() {
        return None;
    }
    let Some(worst) = &audit.worst else {
        return Some(
            "DRIFT: bytes that were reported missing are counted now: a call took longer than an interval"
                .to_owned(),
        );
    };
    let ways = [(worst.drift.rx, "in"), (worst.drift.tx, "out")];
    let ways = ways.into_iter().filter(|(bytes, _)| *bytes != 0);
    let ways: Vec<String> = ways
        .map(|(bytes, way)| {
            let amount = units::bytes(bytes.unsigned_abs());
            match bytes > 0 {
                true => format!("{amount} {way} not counted"),
                false => format!("{amount} {way} counted twice"),
            }
        })
        .collect();
    Some(format!(
        "DRIFT: {} (pid {}), tcp {} to {}: {}, by the kernel's own counters; likely {}; {} of {} agree",
        sanitized(&worst.comm),
        worst.key.tgid,
        worst.key.local,
        worst.key.remote,
        ways.join(", "),
        likely(losses, &worst.drift),
        audit.agreeing,
        units::count(audit.connections, "connection"),
    ))
}

/// Returns the likely cause of drift.
const fn likely(losses: &Losses, drift: &Drift) -> &'static str {
    if losses.missed_events > 0 {
        return "the probes missed events: use --backend auto";
    }
    if drift.rx < 0 || drift.tx < 0 {
        "a bug in flowtop: report it"
    } else if drift.tx == 0 {
        "a receive path that no probe sees (splice(), zero-copy receive), or a call that has not returned"
    } else {
        "the probes were switched off or missed events, or a call has not returned"
    }
}

fn name(holder: &SlotHolder) -> String {
    sanitized(&holder.comm)
}

fn sanitized(comm: &Comm) -> String {
    units::sanitize(&comm.to_string_lossy()).into_owned()
}

/// Returns a sentence if the kernel does not count missed events.
pub fn unknown(method: &Method) -> Option<&'static str> {
    method.misses_unknown.then_some(
        "whether the probes miss events is unknown: this kernel is preemptible and does not count missed events \
         (Linux 6.7 and later do)",
    )
}

/// Returns one sentence for each limit of this kernel.
pub fn unseen(method: &Method) -> impl Iterator<Item = &'static str> + '_ {
    method.unseen.iter().map(|&name| {
        UNSEEN_NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(name, |(_, meaning)| meaning)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::flow::{Counters, Endpoint, FlowKey, Protocol};
    use crate::model::interval::{Audit, DriftingConnection};

    fn full_table() -> Losses {
        Losses {
            untracked: Counters {
                rx_bytes: 1_200_000,
                rx_msgs: 3,
                ..Counters::default()
            },
            ..Losses::default()
        }
    }

    #[test]
    fn all_is_well_is_one_word() {
        let (none, method) = (Losses::default(), Method::default());
        assert_eq!(summary(&none, &method), "exact");
        assert!(!is_degraded(&none));
        assert!(losses(&none).is_empty());
    }

    #[test]
    fn a_full_table_is_not_silent() {
        let method = Method::default();
        assert_eq!(summary(&full_table(), &method), "1.20 MB untracked");
        assert!(is_degraded(&full_table()));
        assert!(losses(&full_table())[0].contains("--max-flows"));
    }

    #[test]
    fn a_process_that_fills_the_flow_table_is_named() {
        let full = Losses {
            full: Some(SlotHolder {
                tgid: 123,
                comm: Comm::new(b"spr\x1bay"),
                flows: 49152,
                slots: 65536,
            }),
            ..Losses::default()
        };
        let method = Method::default();
        assert_eq!(summary(&full, &method), r"flow table full (spr\x1bay)");
        assert!(is_degraded(&full));
        let line = &losses(&full)[0];
        for part in [
            r"spr\x1bay (pid 123) holds 49152 of 65536 flows",
            "--max-flows",
            "'not pid 123'",
        ] {
            assert!(line.contains(part), "{line}");
        }
    }

    fn audited(drift: Drift) -> Losses {
        let end = |port| Endpoint::new("192.0.2.1".parse().unwrap(), port);
        let key = FlowKey::new(Protocol::Tcp, end(443), end(5000), 77);
        let comm = Comm::new(b"ng\x1binx");
        Losses {
            audit: Audit {
                connections: 40,
                agreeing: if drift.is_zero() { 40 } else { 39 },
                drift,
                worst: (!drift.is_zero()).then_some(DriftingConnection { key, comm, drift }),
                ..Audit::default()
            },
            ..Losses::default()
        }
    }

    #[test]
    fn the_number_of_connections_that_agree_is_shown() {
        let all_agree = audited(Drift::default());
        assert_eq!(
            summary(&all_agree, &Method::default()),
            "exact (40 audited)"
        );
        assert!(!is_degraded(&all_agree));
        assert!(losses(&all_agree).is_empty());
    }

    #[test]
    fn a_connection_that_drifts_is_named_with_the_likely_cause() {
        let method = Method::default();
        let drift = Drift {
            rx: 1_200_000,
            tx: 0,
        };
        let missing = audited(drift);
        assert_eq!(summary(&missing, &method), "1.20 MB drift");
        assert!(is_degraded(&missing));
        let line = &losses(&missing)[0];
        for part in [
            r"ng\x1binx (pid 77), tcp 192.0.2.1:443 to 192.0.2.1:5000: 1.20 MB in not counted",
            "receive path that no probe sees",
            "39 of 40 connections agree",
        ] {
            assert!(line.contains(part), "{line}");
        }
        let missed = Losses {
            missed_events: 3,
            ..missing
        };
        assert!(losses(&missed)[1].contains("missed events"));
        let twice = audited(Drift { rx: 0, tx: -5 });
        assert!(
            losses(&twice)[0].contains("5 B out counted twice"),
            "{:?}",
            losses(&twice)
        );
        // The connection had drift before, and still moves bytes.
        let mut later = missing;
        later.audit.drift = Drift::default();
        assert_eq!(summary(&later, &method), "1 connection off");
        assert!(losses(&later)[0].contains("1.20 MB in not counted"));
    }

    #[test]
    fn owners_that_are_only_partly_known_are_counted() {
        let losses = Losses {
            unknown: Unknown {
                processes: 1,
                cgroups: 477,
                answers: 3,
            },
            ..Losses::default()
        };
        let method = Method::default();
        assert_eq!(
            summary(&losses, &method),
            "1 owner unknown, 477 cgroups unknown, 3 DNS answers unknown"
        );
        assert!(is_degraded(&losses));
        let lines = super::losses(&losses);
        assert!(lines[0].contains("name and user of 1 owner;"), "{lines:?}");
        assert!(lines[1].contains("unit of 477 owners;"), "{lines:?}");
        assert!(lines[2].contains("no room for 3 DNS answers,"), "{lines:?}");
    }

    #[test]
    fn a_limit_of_the_kernel_is_a_mark_and_no_alarm() {
        let mut method = Method::default();
        assert_eq!(state(&method), "exact");
        method.unseen.push("splice_read");
        assert_eq!(state(&method), "exact ?");
        method.misses_unknown = true;
        assert_eq!(state(&method), "limits ?");
    }

    #[test]
    fn unknown_misses_are_no_zero() {
        let method = Method {
            misses_unknown: true,
            ..Method::default()
        };
        let none = Losses::default();
        assert_eq!(summary(&none, &method), "missed unknown");
        assert!(!is_degraded(&none));
        assert!(unknown(&method).unwrap().contains("unknown"));
        let some = Losses {
            missed_events: 2,
            ..none
        };
        assert_eq!(summary(&some, &method), "2 missed");
        assert_eq!(unknown(&Method::default()), None);
    }

    #[test]
    fn missed_events_and_unseen_paths_are_named() {
        let mut method = Method {
            unseen: vec!["splice_read"],
            ..Method::default()
        };
        let losses = Losses {
            missed_events: 3,
            ..Losses::default()
        };
        assert_eq!(summary(&losses, &method), "3 missed, 1 limit");
        assert!(unseen(&method).next().unwrap().contains("splice()"));
        method.unseen.push("udp_recv_peer");
        assert_eq!(summary(&Losses::default(), &method), "exact, 2 limits");
        assert!(!is_degraded(&Losses::default()));
    }
}
