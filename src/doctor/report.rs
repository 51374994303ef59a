//! The results of the checks, as text and as JSON.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::{CheckState, DoctorReport, setcap};
use crate::kernel::NoBackend;
use crate::text::units;
use crate::text::wrap::wrap;

/// Version of the JSON form.
const SCHEMA: u32 = 1;
/// Width of the column of titles, in characters.
const TITLES: usize = 19;
/// Width of the column of results, in characters.
const VALUES: usize = 72;

/// Returns one line per check, with its fix below it.
pub(super) fn text(report: &DoctorReport) -> String {
    let (release, machine) = uname();
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!("flowtop {version}, Linux {release} {machine}\n");
    let mut message: BTreeSet<&str> = BTreeSet::new();
    for section in &report.sections {
        let _ = write!(text, "\n{}\n", section.title);
        for check in &section.checks {
            let state = match check.state {
                CheckState::Ok | CheckState::Note => check.state.as_str(),
                // In capitals, so that it is not overlooked.
                CheckState::Fail => "FAIL",
            };
            let value = units::sanitize(&check.value);
            let mut lines = wrap(&value, VALUES).into_iter();
            let first = lines.next().unwrap_or_default();
            let _ = writeln!(text, "  {state:<4}  {:<TITLES$}  {first}", check.title);
            for line in lines {
                let _ = writeln!(text, "        {:<TITLES$}  {line}", "");
            }
            if let Some(fix) = &check.fix {
                // In one line, however long: people copy it.
                let fix = match message.insert(fix.as_str()) {
                    true => units::sanitize(fix),
                    false => "as above".into(),
                };
                let _ = writeln!(text, "        {:<TITLES$}  fix: {fix}", "");
            }
        }
    }
    let verdict = match &report.backend {
        Some(backend) => format!("flowtop works here, with the {backend} backend."),
        None => "flowtop does not work here: fix the checks marked FAIL.".to_owned(),
    };
    let _ = write!(text, "\n{verdict}\n");
    text
}

/// Returns the report as one JSON object; docs/DOCTOR.md describes its fields.
pub(super) fn json(report: &DoctorReport) -> Result<String> {
    let (release, machine) = uname();
    let checks = report.sections.iter().flat_map(|section| {
        section.checks.iter().map(|check| {
            let mut object = json!({
                "section": section.title,
                "id": check.id,
                "state": check.state.as_str(),
                "value": check.value,
            });
            if let Some(fix) = &check.fix {
                object["fix"] = json!(fix);
            }
            object
        })
    });
    let backends = report.trials.iter().map(|trial| match &trial.outcome {
        Ok(outcome) => {
            let flows = outcome.ends.iter().map(|end| {
                json!({
                    "proto": end.protocol.to_string(),
                    "family": if end.local.is_ipv4() { "ipv4" } else { "ipv6" },
                    "rx_bytes": end.moved.0,
                    "tx_bytes": end.moved.1,
                    "counted_rx_bytes": end.counted.0,
                    "counted_tx_bytes": end.counted.1,
                })
            });
            json!({
                "backend": trial.backend,
                "attaches": true,
                "exact": outcome.is_exact(),
                "missed_events": match outcome.missed {
                    0 if outcome.misses_unknown => None,
                    missed => Some(missed),
                },
                "audit": {
                    "connections": outcome.audit.connections,
                    "agreeing": outcome.audit.agreeing,
                    "exempt": outcome.audit.exempt,
                    "drift_rx_bytes": outcome.audit.drift.rx,
                    "drift_tx_bytes": outcome.audit.drift.tx,
                },
                "flows": flows.collect::<Vec<_>>(),
            })
        }
        Err(error) => json!({
            "backend": trial.backend,
            "attaches": false,
            "exact": false,
            "error": reason(error),
        }),
    });
    let object = json!({
        "type": "doctor",
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "kernel": release,
        "machine": machine,
        "works": report.backend.is_some(),
        "backend": report.backend,
        "setcap": setcap(),
        "checks": checks.collect::<Vec<Value>>(),
        "backends": backends.collect::<Vec<Value>>(),
    });
    Ok(format!("{}\n", serde_json::to_string(&object)?))
}

/// Returns the reason without the name of the backend, which is a field of its own.
fn reason(error: &anyhow::Error) -> String {
    match error.downcast_ref::<NoBackend>() {
        Some(NoBackend(refusals)) => {
            let texts = refusals.iter().map(|refusal| refusal.text.as_str());
            texts.collect::<Vec<_>>().join("; ")
        }
        None => format!("{error:#}"),
    }
}

fn uname() -> (String, String) {
    let uname = rustix::system::uname();
    let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
    (text(uname.release()), text(uname.machine()))
}
