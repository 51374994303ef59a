//! Decides by the host that a request names whether it was meant for this machine (RFC 9112, 3.2).
//!
//! A page of another site can make a browser ask this machine by the site's own name (DNS
//! rebinding), and then read the answer. So flowtop answers a request that names a foreign host
//! only if it came over the network and not from a browser: a scraper may call this machine by any
//! name.

use std::net::{IpAddr, Ipv6Addr};

use httparse::{Header, Request};

use super::http::Origin;

/// Header fields that every browser sends and no scraper does, or that only browsers send. A page
/// can change the value of `Accept-Language`, but not remove it.
const BROWSER_FIELDS: [&str; 3] = ["accept-language", "origin", "referer"];

/// The reason why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RefusedRequest {
    /// Status code with its name.
    pub status: &'static str,
    /// A sentence for the client.
    pub reason: String,
}

/// Returns the path of a request that is meant for this machine, whose name is `machine`.
pub(super) fn path<'a>(
    request: &Request<'_, 'a>,
    machine: &str,
    from: &Origin<'_>,
) -> Result<&'a str, RefusedRequest> {
    let target = request.path.unwrap_or_default();
    // RFC 9112, 3.2, requires that for all methods and targets.
    let field = host_field(request)?;
    let (host, path) = match absolute(target)? {
        Some((authority, path)) => (host(authority), path),
        None if field.is_empty() => return Ok(origin(target)),
        None => (host(field), origin(target)),
    };
    let host = host.filter(|host| !host.is_empty()).ok_or_else(|| {
        bad_request("the host is not of the form NAME:PORT, ADDRESS:PORT or [ADDRESS]:PORT")
    })?;
    let is_answered = is_own(host, machine)
        || is_given(host, from.host_names)
        || !is_of_browser(request.headers)
            && (!from.peer.to_canonical().is_loopback()
                || first_label(host) == first_label(machine));
    match is_answered {
        true => Ok(path),
        false => Err(RefusedRequest {
            status: "421 Misdirected Request",
            reason: format!(
                "{host} is not a name of this machine: ask by its address, by localhost or by {machine}, or add \
                 the name to flowtop --listen-host"
            ),
        }),
    }
}

fn bad_request(reason: &str) -> RefusedRequest {
    RefusedRequest {
        status: "400 Bad Request",
        reason: reason.to_owned(),
    }
}

/// Returns the value of the only `Host` field; empty for HTTP/1.0, which may lack it.
fn host_field<'a>(request: &Request<'_, 'a>) -> Result<&'a str, RefusedRequest> {
    let mut hosts = request
        .headers
        .iter()
        .filter(|field| is_called(field, "host"));
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version == Some(0) => Ok(""),
        (None, _) => Err(bad_request("HTTP/1.1 needs a Host field")),
        (Some(field), None) => std::str::from_utf8(field.value)
            .map(str::trim)
            .map_err(|_| bad_request("the Host field is not text")),
        (Some(_), Some(_)) => Err(bad_request("there is more than one Host field")),
    }
}

/// Returns authority and path of a target in absolute form, `http://host:port/path` (RFC 9112,
/// 3.2.2).
fn absolute(target: &str) -> Result<Option<(&str, &str)>, RefusedRequest> {
    let Some((scheme, rest)) = target.split_once("://") else {
        return Ok(None);
    };
    if scheme.contains(['/', '?']) {
        return Ok(None);
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(RefusedRequest {
            status: "421 Misdirected Request",
            reason: "flowtop serves http only".to_owned(),
        });
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    Ok(Some((authority, origin(path))))
}

/// Returns a path without its query.
fn origin(target: &str) -> &str {
    match target.split('?').next() {
        Some("") | None => "/",
        Some(path) => path,
    }
}

/// Returns the host of an authority without its port (RFC 3986, 3.2); `None` if the authority is
/// malformed. IPv6 addresses keep their brackets.
fn host(authority: &str) -> Option<&str> {
    let end = match authority.starts_with('[') {
        true => authority.find(']')? + 1,
        false => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let is_port = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    let is_host = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"[]:%-._~!$&'()*+,;=".contains(&byte));
    (is_port && is_host).then_some(host)
}

/// Whether a host is an address, `localhost` or below it (RFC 6761, 6.3), or the machine's name
/// with or without its domain. None of these can be another site's.
fn is_own(host: &str, machine: &str) -> bool {
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(addr) = bracketed {
        // A zone follows a `%`.
        let addr = addr.split('%').next().unwrap_or_default();
        return addr.parse::<Ipv6Addr>().is_ok();
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host.parse::<IpAddr>().is_ok()
        || host == "localhost"
        || host.ends_with(".localhost")
        || host == machine.to_ascii_lowercase()
        || host == first_label(machine)
}

/// Whether a host is one of the names that the user gave this machine.
fn is_given(host: &str, names: &[String]) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

fn first_label(name: &str) -> String {
    let label = name.split('.').next().unwrap_or_default();
    label.to_ascii_lowercase()
}

fn is_of_browser(fields: &[Header<'_>]) -> bool {
    fields.iter().any(|field| {
        BROWSER_FIELDS.iter().any(|name| is_called(field, name))
            || field.name.to_ascii_lowercase().starts_with("sec-")
            || is_called(field, "user-agent") && field.value.starts_with(b"Mozilla/")
    })
}

fn is_called(field: &Header<'_>, name: &str) -> bool {
    field.name.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &str = "127.0.0.1";
    const NETWORK: &str = "192.0.2.7";
    const SCRAPER: &str = "User-Agent: Prometheus/3.5.0\r\n";

    /// The path, or the code of the refusal.
    fn path_of(request: &str, peer: &str) -> Result<String, u16> {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut parsed = Request::new(&mut fields);
        assert!(parsed.parse(request.as_bytes()).unwrap().is_complete());
        let from = Origin {
            peer: peer.parse().unwrap(),
            host_names: &["metrics.example.org".to_owned()],
        };
        match path(&parsed, "web-1.example.com", &from) {
            Ok(path) => Ok(path.to_owned()),
            Err(refusal) => Err(refusal.status[..3].parse().unwrap()),
        }
    }

    /// Requests `/metrics` with this host name.
    fn requested_host(host: &str, fields: &str, peer: &str) -> Result<String, u16> {
        path_of(
            &format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"),
            peer,
        )
    }

    #[test]
    fn requests_by_an_own_name_are_answered_wherever_they_come_from() {
        for host in [
            "127.0.0.1:9435",
            "192.0.2.1",
            "[::1]:9435",
            "[fe80::1%25eth0]",
            "localhost:9435",
            "LocalHost.",
            "metrics.localhost",
            "web-1.example.com:9435",
            "WEB-1:9435",
            "web-1:",
            "metrics.example.org:9435",
            "Metrics.Example.Org.",
            "",
        ] {
            for (fields, peer) in [
                (SCRAPER, LOOPBACK),
                ("Accept-Language: de\r\n", LOOPBACK),
                ("User-Agent: Mozilla/5.0\r\n", NETWORK),
            ] {
                let path = requested_host(host, fields, peer);
                assert_eq!(path.as_deref(), Ok("/metrics"), "{host} {fields}");
            }
        }
    }

    #[test]
    fn a_foreign_name_is_refused_over_loopback_and_from_browsers() {
        let foreign = [
            "evil.example:9435",
            "web-2",
            "127.0.0.1.evil.example",
            "x.metrics.example.org",
        ];
        let own_label = ["web-1.evil.example", "web-1.internal:9435"];
        let browsers = [
            "Accept-Language: de\r\n",
            "accept-language:\r\n",
            "Origin: http://evil.example\r\n",
            "Referer: http://evil.example/\r\n",
            "Sec-Fetch-Site: same-origin\r\n",
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n",
        ];
        for host in foreign {
            assert_eq!(requested_host(host, SCRAPER, LOOPBACK), Err(421), "{host}");
            assert_eq!(
                requested_host(host, "", "::ffff:127.0.0.1"),
                Err(421),
                "{host}"
            );
            assert_eq!(requested_host(host, "", "::1"), Err(421), "{host}");
        }
        for host in foreign.iter().chain(&own_label) {
            for fields in browsers {
                for peer in [LOOPBACK, NETWORK] {
                    assert_eq!(
                        requested_host(host, fields, peer),
                        Err(421),
                        "{host} {fields}"
                    );
                }
            }
        }
        // A service's name, as Prometheus has it in a target.
        for host in foreign.iter().chain(&own_label) {
            assert!(requested_host(host, SCRAPER, NETWORK).is_ok(), "{host}");
        }
        for host in own_label {
            assert!(requested_host(host, SCRAPER, LOOPBACK).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_target_in_absolute_form_names_the_host_itself() {
        for (target, field, answer) in [
            (
                "http://127.0.0.1:9435/metrics",
                "evil.example",
                Ok("/metrics"),
            ),
            ("HTTP://localhost/metrics?x=http://y", "h", Ok("/metrics")),
            ("http://web-1", "h", Ok("/")),
            ("http://web-1?x", "h", Ok("/")),
            ("http://evil.example/metrics", "localhost", Err(421)),
            ("https://localhost/metrics", "localhost", Err(421)),
            ("http:///metrics", "localhost", Err(400)),
            ("http://u@localhost/metrics", "localhost", Err(400)),
            (
                "/metrics?x=http://evil.example",
                "localhost",
                Ok("/metrics"),
            ),
            ("?x", "localhost", Ok("/")),
        ] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {field}\r\n\r\n");
            let path = path_of(&request, LOOPBACK);
            assert_eq!(path.as_deref().map_err(|code| *code), answer, "{target}");
        }
    }

    #[test]
    fn a_request_has_one_host_field_that_is_well_formed() {
        for (fields, answer) in [
            ("", Err(400)),
            ("Host: localhost\r\nHost: localhost\r\n", Err(400)),
            ("Host: localhost:port\r\n", Err(400)),
            ("Host: local host\r\n", Err(400)),
            ("Host: u@localhost\r\n", Err(400)),
            ("Host: ::1\r\n", Err(400)),
            ("Host: [::1\r\n", Err(400)),
            ("Host: :9435\r\n", Err(400)),
            ("Host: [evil.example]\r\n", Err(421)),
        ] {
            let of_version = |version| {
                let request = format!("GET /metrics HTTP/1.{version}\r\n{fields}\r\n");
                path_of(&request, LOOPBACK)
            };
            assert_eq!(of_version(1), answer, "{fields}");
            match fields {
                "" => assert_eq!(of_version(0).as_deref(), Ok("/metrics")),
                _ => assert_eq!(of_version(0), answer, "{fields}"),
            }
        }
        // Whatever the target is.
        assert_eq!(
            path_of("GET http://localhost/ HTTP/1.1\r\n\r\n", LOOPBACK),
            Err(400)
        );
    }
}
