//! Parses the values of options. Errors name valid values.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::builder::PossibleValuesParser;

use crate::filter::{self, Expr, MAX_ID, NameTables};
use crate::options::{Backend, MAX_MAX_FLOWS, MIN_MAX_FLOWS};
use crate::source::{MAX_INTERVAL, MIN_INTERVAL};
use crate::text::units::Units;

/// The value of --backend that names none.
pub(super) const AUTO_BACKEND: &str = "auto";

pub(super) fn backend_names() -> PossibleValuesParser {
    PossibleValuesParser::new(iter::once(AUTO_BACKEND).chain(Backend::ALL.map(Backend::as_str)))
}

/// The backend of this name; `None` for [`AUTO_BACKEND`].
pub(super) fn backend_of(name: &str) -> Option<Backend> {
    let mut all = Backend::ALL.into_iter();
    all.find(|backend| backend.as_str() == name)
}

/// Smallest size at which a new recording may start, in bytes.
const MIN_SIZE: u64 = 10_000;

pub(super) fn parse_top_n(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| "give a number from 1 up, or 0 for all flows".to_owned())
}

pub(super) fn parse_id(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(id) if (1..=MAX_ID).contains(&id) => Ok(id),
        _ if is_name(text.trim()) => Err(format!(
            "give a number from 1 to {MAX_ID}; for a program write the filter process {}",
            text.trim()
        )),
        _ => Err(format!("give a number from 1 to {MAX_ID}")),
    }
}

/// Returns whether a text can be written as a word of a filter and in a message as it is.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_plain)
}

pub(super) fn parse_count(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("give a number from 1 up, or leave --count out to run until stopped".to_owned()),
    }
}

pub(super) fn parse_max_flows(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(flows) if (MIN_MAX_FLOWS..=MAX_MAX_FLOWS).contains(&flows) => Ok(flows),
        _ => Err(format!(
            "give a number from {MIN_MAX_FLOWS} to {MAX_MAX_FLOWS}"
        )),
    }
}

pub(super) fn parse_files(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(files) if files > 0 => Ok(files),
        _ => Err("give a number from 1 up, or leave --record-files out to keep all".to_owned()),
    }
}

pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    match filter::parse_bytes(text)? {
        size if size >= MIN_SIZE => Ok(size),
        _ => Err(format!(
            "give at least {}, as in 100MB",
            Units::Bytes.amount(MIN_SIZE)
        )),
    }
}

pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    // Without an address flowtop listens on this machine only: flows and names of processes are
    // private.
    let host = match text.rsplit_once(':') {
        None | Some(("localhost", _)) => Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
        // `:9435` means every address, of IPv6 and IPv4, as with other exporters.
        Some(("" | "*", _)) => Some(IpAddr::from(Ipv6Addr::UNSPECIFIED)),
        Some(_) => None,
    };
    let port = text.rsplit(':').next().unwrap_or_default();
    // Not "+9435", which `parse` takes.
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let addr = match host {
        Some(host) if is_number => port.parse().ok().map(|port| (host, port).into()),
        Some(_) => None,
        None => text.parse().ok(),
    };
    addr.ok_or_else(|| {
        "give a port, as in 9435 (reached from this machine only), :9435 for every address of this \
         machine (reached from the network), or one address and a port, as in 192.0.2.1:9435 or \
         [::1]:9435"
            .to_owned()
    })
}

pub(super) fn parse_condition(text: &str) -> Result<Expr, String> {
    let expr = filter::parse(text, &NameTables::default()).map_err(|error| {
        let message = error.message();
        match error
            .advice()
            .filter(|_| !message.starts_with("unknown word"))
        {
            Some(help) => format!("{message}: {help}"),
            None => format!("{message}: test rate or bytes, as in rate > 1Gbps"),
        }
    })?;
    if expr.is_about_amounts() {
        return Ok(expr);
    }
    Err("the condition is about the total of an interval: use only rate and bytes, with rx or tx for one \
         direction, as in rate > 1Gbps; use a FILTER to select flows"
        .to_owned())
}

pub(super) fn parse_interval(text: &str) -> Result<Duration, String> {
    match seconds(text) {
        Some(interval) if (MIN_INTERVAL..=MAX_INTERVAL).contains(&interval) => Ok(interval),
        _ => {
            let range = format!(
                "give {} to {} seconds, as in 0.5, 2s, 500ms or 1m30s",
                MIN_INTERVAL.as_secs_f64(),
                MAX_INTERVAL.as_secs()
            );
            Err(match filter::interface_hint(text) {
                Some(hint) => format!("-i is the length of an interval ({range}); {hint}"),
                None => range,
            })
        }
    }
}

pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    match seconds(text) {
        Some(length) if length >= MIN_INTERVAL => Ok(length),
        _ => Err(format!(
            "give {} seconds or more, as in 90, 30s, 5m, 1h30m or 1d",
            MIN_INTERVAL.as_secs_f64()
        )),
    }
}

/// Prometheus takes a series for stale after 5 minutes.
const MAX_SCRAPE_INTERVAL: Duration = Duration::from_secs(120);

pub(super) fn parse_scrape_interval(text: &str) -> Result<Duration, String> {
    match seconds(text) {
        Some(time) if (MIN_INTERVAL..=MAX_SCRAPE_INTERVAL).contains(&time) => Ok(time),
        _ => Err("give a time of at most 2m, as in 15s or 1m".to_owned()),
    }
}

/// Parses the name of a host (RFC 1123), which has no port.
pub(super) fn parse_host_name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_name = name.split('.').all(|label| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.bytes().all(is_part)
    });
    match is_name {
        true => Ok(name.to_owned()),
        false => Err("give a host name without a port, as in metrics.example.org".to_owned()),
    }
}

/// Parses a length of time: seconds, one number with a unit, or several, as in `1h30m`.
fn seconds(text: &str) -> Option<Duration> {
    let digits = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return compound(text),
    };
    // "inf", "nan" and "1e3" have letters that are no unit, which `compound` refuses.
    match number.parse::<f64>() {
        Ok(number) => Duration::try_from_secs_f64(number * seconds).ok(),
        Err(_) => compound(text),
    }
}

/// Parses several numbers with units; a day has 24 hours.
fn compound(text: &str) -> Option<Duration> {
    let span: jiff::Span = text.parse().ok()?;
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    span.to_duration(days).ok()?.try_into().ok()
}
