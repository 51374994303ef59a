//! What holds of CSV and of metrics: whatever reads tables finds the names in their cells and labels.

use super::{GROUPS, written};
use crate::flow::Owner;
use crate::interval::{Interval, Machine};
use crate::metrics::fuzz::{pages, samples};
use crate::report::csv::Csv;
use crate::report::json::Json;
use crate::table::Group;
use crate::units::{is_hostile, sanitize};

/// Every row has all columns, no cell is a formula, and the name of the process is in its cell.
pub fn csv(interval: &Interval, owner: &Owner, filter: &str) {
    for group in GROUPS.into_iter().map(Some).chain([None]) {
        let mut report = Csv::new(Json {
            filter: Some(filter.to_owned()),
            ..Json::default()
        });
        let text = written(&mut report, interval, group);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns = reader.headers().cloned().unwrap_or_default();
        let rows: Result<Vec<csv::StringRecord>, _> = reader.records().collect();
        let Ok([untracked, row]) = rows.as_deref() else {
            panic!("{text:?} has other rows than two: {rows:?}");
        };
        for cell in untracked.iter().chain(row) {
            assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell:?}");
        }
        if group.is_none_or(|group| group == Group::Process) {
            let cell = columns.iter().position(|column| column == "comm");
            let cell = cell.and_then(|at| row.get(at)).unwrap_or_default();
            let comm = owner.comm.to_string_lossy();
            let comm = sanitize(&comm);
            assert_eq!(cell.strip_prefix('\'').unwrap_or(cell), unquoted(&comm));
        }
    }
}

/// Without the quote that CSV puts before a formula, and that a name may begin with itself.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('\'').unwrap_or(text)
}

/// Every line is a comment or a sample, as many as of a harmless name; host and filter are in their
/// labels.
pub fn metrics(interval: &Interval, host: &str, filter: &str) {
    let machine = Machine {
        host: host.to_owned(),
        ..Machine::default()
    };
    for group in GROUPS {
        let [text, open] = pages(interval, group, &machine, filter);
        assert!(!text.contains("# EOF") || host.contains("# EOF") || filter.contains("# EOF"));
        assert!(open.ends_with("\n# EOF\n"));
        let [text, open] = [text, open].map(|page| {
            assert!(
                !page.chars().any(|c| c != '\n' && is_hostile(c)),
                "{page:?}"
            );
            samples(&page)
        });
        // They differ in how families are called, and not in their samples.
        assert_eq!(text, open);
        let grouped = |(name, _): &&(String, _)| name == "flowtop_group_rx_bytes_total";
        assert_eq!(text.iter().filter(grouped).count(), 2, "a group and other");
        let info = text.iter().find(|(name, _)| name == "flowtop_info");
        for (label, value) in [("host", host), ("filter", filter)] {
            let expected = (label.to_owned(), sanitize(value).into_owned());
            assert!(info.is_some_and(|(_, labels)| labels.contains(&expected)));
        }
    }
}
