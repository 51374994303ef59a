//! What holds of CSV and of metrics: whatever reads tables finds the names in their cells and
//! labels.

use super::written;
use crate::jsonl::writer::Json;
use crate::model::flow::Owner;
use crate::model::interval::{Interval, Machine};
use crate::output::csv::Csv;
use crate::output::metrics::fuzz::{Labels, page, samples};
use crate::text::sanitize::{is_unsafe_char, sanitize, visible};
use crate::view::Group;

/// Every row has all columns, no cell is a formula, and the name of the process is in its cell.
pub fn csv(interval: &Interval, group: Option<Group>, owner: &Owner, filter: &str) {
    let mut report = Csv::new(Json {
        filter: Some(filter.to_owned()),
        ..Json::default()
    });
    let text = written(&mut report, interval, group);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let columns = reader.headers().cloned().unwrap_or_default();
    let rows: Result<Vec<csv::StringRecord>, _> = reader.records().collect();
    let Ok([row]) = rows.as_deref() else {
        panic!("{text:?} has other rows than one: {rows:?}");
    };
    for cell in row {
        assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell:?}");
    }
    if group.is_none_or(|group| group == Group::Process) {
        let cell = columns.iter().position(|column| column == "process");
        let cell = cell.and_then(|at| row.get(at)).unwrap_or_default();
        let comm = owner.comm.to_string_lossy();
        let comm = visible(&comm);
        assert_eq!(unquoted(cell), unquoted(&comm));
    }
}

/// Without the quotes that CSV puts before formulas, and that a name may have itself.
fn unquoted(text: &str) -> String {
    text.replace('\'', "")
}

/// Both formats of metrics have the same samples, besides the times at which OpenMetrics says
/// counters began.
pub fn metrics(interval: &Interval, group: Group, host: &str, filter: &str) {
    let page = page(interval, group, &machine(host), filter, false);
    assert!(!page.contains("# EOF") || host.contains("# EOF") || filter.contains("# EOF"));
    let mut open = open_metrics(interval, group, host, filter);
    open.retain(|(name, _)| !name.ends_with("_created"));
    assert_eq!(samples_of(&page), open);
}

/// Every line of a page in the format of OpenMetrics is a comment or a sample, as many as of a
/// harmless name; host and filter are in their labels. Returns the samples.
pub fn open_metrics(
    interval: &Interval,
    group: Group,
    host: &str,
    filter: &str,
) -> Vec<(String, Labels)> {
    let page = page(interval, group, &machine(host), filter, true);
    assert!(page.ends_with("\n# EOF\n"));
    let samples = samples_of(&page);
    let grouped = |(name, _): &&(String, _)| name == "flowtop_group_rx_bytes_total";
    assert_eq!(
        samples.iter().filter(grouped).count(),
        2,
        "a group and other"
    );
    let info = samples.iter().find(|(name, _)| name == "flowtop_info");
    for (label, value) in [("host", host), ("filter", filter)] {
        let expected = (label.to_owned(), sanitize(value).into_owned());
        assert!(info.is_some_and(|(_, labels)| labels.contains(&expected)));
    }
    samples
}

fn machine(host: &str) -> Machine {
    Machine {
        host: host.to_owned(),
        ..Machine::default()
    }
}

fn samples_of(page: &str) -> Vec<(String, Labels)> {
    assert!(
        !page.chars().any(|c| c != '\n' && is_unsafe_char(c)),
        "{page:?}"
    );
    samples(page)
}
