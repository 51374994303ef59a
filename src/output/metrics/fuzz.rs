//! What holds of any bytes as a request, and of any names on a page of metrics.

use std::cell::Cell;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use super::self_usage::UsageSample;
use super::series::{Series, SeriesKey};
use super::{ExporterInfo, Format, MAX_SERIES, MetricSums, Totals, exposition, http};
use crate::model::interval::{Interval, Machine};
use crate::resolve::owners::Owners;
use crate::stats::ranking::group_totals;
use crate::text::sanitize::is_unsafe_char;
use crate::view::Group;

const PAGE: &str = "flowtop_flows 1\n";
const STATUS: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.1 400 Bad Request",
    "HTTP/1.1 404 Not Found",
    "HTTP/1.1 405 Method Not Allowed",
    "HTTP/1.1 421 Misdirected Request",
    "HTTP/1.1 431 Request Header Fields Too Large",
];
const FIELDS: &[&str] = &[
    "Content-Type",
    "Allow",
    "Content-Length",
    "Content-Encoding",
    "Connection",
    "X-Content-Type-Options",
];

/// Any bytes are read as a request, over loopback or the network by the first of them. The answer
/// is one of HTTP, with no field that the request chose, and harmless to show; metrics are in it
/// only when it is a good one.
///
/// # Panics
/// When that is not so.
pub fn request(bytes: &[u8]) {
    let Some((directions, request)) = bytes.split_first() else {
        return;
    };
    let peer = match directions % 2 {
        0 => Ipv4Addr::LOCALHOST,
        _ => Ipv4Addr::new(192, 0, 2, 7),
    };
    let request = &request[..request.len().min(http::MAX_REQUEST)];
    let scrapes = Cell::new(0);
    let from = http::Origin {
        peer: IpAddr::V4(peer),
        host_names: &[],
    };
    let answer = http::response(request, &from, &|_| {
        scrapes.set(scrapes.get() + 1);
        PAGE.to_owned()
    });
    let scrapes = scrapes.get();
    let Some(answer) = answer else {
        assert!(request.len() < http::MAX_REQUEST && scrapes == 0);
        return;
    };
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        panic!("{answer:?} has no end of its head");
    };
    let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    assert!(STATUS.contains(&status), "{status:?}");
    let mut length = None;
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or_default();
        assert!(FIELDS.contains(&name), "{line:?}");
        if name == "Content-Length" {
            assert_eq!(length.replace(value.to_owned()), None, "{head:?}");
        }
    }
    assert!(body.is_empty() || length == Some(body.len().to_string()));
    let mut text = String::new();
    let is_text = match head.contains("\r\nContent-Encoding: gzip") {
        true => flate2::read::GzDecoder::new(body).read_to_string(&mut text),
        false => { body }.read_to_string(&mut text),
    };
    assert!(is_text.is_ok(), "{head:?}");
    let body = text;
    let mut shown = head.chars().chain(body.chars());
    assert!(!shown.any(|c| !"\r\n".contains(c) && is_unsafe_char(c)));
    assert_eq!(scrapes, u32::from(body == PAGE));
    assert!(scrapes == 0 || status.ends_with("200 OK"));
}

/// The page of one interval, in one of the formats: that of OpenMetrics, or plain text.
pub(crate) fn page(
    interval: &Interval,
    group: Group,
    machine: &Machine,
    filter: &str,
    is_open: bool,
) -> String {
    let owners = Owners::disabled();
    let mut sums = MetricSums {
        totals: Totals::default(),
        series: Series::new(MAX_SERIES, Duration::ZERO),
    };
    let groups = group_totals(interval, group, &owners);
    let groups = groups
        .iter()
        .map(|totals| (SeriesKey::of(totals, &owners), totals.counters));
    sums.add(interval, groups.collect(), Duration::ZERO);
    let about = ExporterInfo {
        machine: machine.clone(),
        filter: Some(filter.to_owned()),
        group,
        began: SystemTime::UNIX_EPOCH,
    };
    let snapshot = sums.series.snapshot();
    let format = match is_open {
        true => Format::OpenMetrics,
        false => Format::Text,
    };
    exposition::write(
        format,
        &about,
        &sums.totals,
        &snapshot,
        &UsageSample::default(),
    )
}

/// Labels of a sample, in their order.
pub(crate) type Labels = Vec<(String, String)>;

/// Name and labels of the samples on a page.
///
/// # Panics
/// When a line is neither a comment nor a sample, or a sample is there twice.
pub(crate) fn samples(page: &str) -> Vec<(String, Labels)> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let samples: Vec<_> = lines
        .map(|line| sample(line).unwrap_or_else(|| panic!("{line:?} is no sample")))
        .collect();
    for (n, sample) in samples.iter().enumerate() {
        assert!(!samples[..n].contains(sample), "{sample:?} is there twice");
    }
    samples
}

/// `name{label="value",…} number`, where values have `\\`, `\"` and `\n` for three characters.
fn sample(line: &str) -> Option<(String, Labels)> {
    let name_ends = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_ends);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, quoted) = rest.split_once("=\"")?;
            let (value, after) = unquoted(quoted)?;
            labels.push((label.to_owned(), value));
            if let Some(end) = after.strip_prefix('}') {
                rest = end;
                break;
            }
            rest = after.strip_prefix(',')?;
        }
    }
    rest.strip_prefix(' ')?.parse::<f64>().ok()?;
    let is_word = |word: &str| {
        let is_part = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        !word.is_empty() && word.bytes().all(is_part)
    };
    let is_good = is_word(name) && labels.iter().all(|(label, _)| is_word(label));
    is_good.then(|| (name.to_owned(), labels))
}

/// The text up to its closing quote, and what comes after it.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                c @ ('\\' | '"') => c,
                'n' => '\n',
                _ => return None,
            }),
            c => value.push(c),
        }
    }
}
