//! The part of HTTP/1.1 (RFC 9112) that scrapes need, for clients that may be slow or hostile: one
//! thread, at most [`MAX_CLIENTS`] connections, each with one short request, one response and
//! [`TIMEOUT`]; no client ever blocks the thread. `httparse` reads the requests.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::system::uname;

use super::{Format, authority};

/// Most connections at once. A further one replaces the oldest.
const MAX_CLIENTS: usize = 64;
/// Longest time of a connection, from its beginning to its end.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a request.
pub(super) const MAX_REQUEST: usize = 8192;
/// Most header fields of a request.
const MAX_FIELDS: usize = 64;

/// Path of the metrics.
const PATH: &str = "/metrics";

/// A server that has not been started.
pub(super) struct MetricsServer<F> {
    listener: TcpListener,
    stopped: UnixStream,
    /// Names of this machine besides its own.
    host_names: Vec<String>,
    metrics: F,
}

struct Client {
    stream: TcpStream,
    peer: IpAddr,
    until: Instant,
    request: Vec<u8>,
    response: Option<Response>,
}

struct Response {
    bytes: Vec<u8>,
    sent: usize,
}

impl<F: Fn(Format) -> String> MetricsServer<F> {
    /// `metrics` writes the metrics. The server ends when `stopped` is closed.
    pub(super) fn new(
        listener: TcpListener,
        stopped: UnixStream,
        host_names: Vec<String>,
        metrics: F,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            stopped,
            host_names,
            metrics,
        })
    }

    /// Serves until `stopped` is closed.
    pub(super) fn run(self) {
        let mut clients = VecDeque::with_capacity(MAX_CLIENTS);
        while self.wait(&clients) {
            self.accept(&mut clients);
            let now = Instant::now();
            clients.retain_mut(|client| now < client.until && self.serve(client).is_ok());
        }
    }

    /// Waits for the next event; returns false once the server is stopped.
    fn wait(&self, clients: &VecDeque<Client>) -> bool {
        let mut fds = vec![
            PollFd::new(&self.stopped, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        fds.extend(clients.iter().map(|client| {
            let events = match client.response {
                Some(_) => PollFlags::OUT,
                None => PollFlags::IN,
            };
            PollFd::new(&client.stream, events)
        }));
        // The oldest connection times out first.
        let left = clients
            .front()
            .map(|client| client.until.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        // EINTR: the caller retries.
        let _ = poll(&mut fds, left.as_ref());
        fds[0].revents().is_empty()
    }

    fn accept(&self, clients: &mut VecDeque<Client>) {
        for _ in 0..MAX_CLIENTS {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    if stream.set_nonblocking(true).is_err() {
                        continue;
                    }
                    if clients.len() == MAX_CLIENTS {
                        clients.pop_front();
                    }
                    clients.push_back(Client {
                        stream,
                        peer: peer.ip(),
                        until: Instant::now() + TIMEOUT,
                        request: Vec::new(),
                        response: None,
                    });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The client has already closed the connection.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    // Out of file descriptors or memory: closing a connection frees some, and time
                    // frees others.
                    if clients.pop_front().is_none() {
                        thread::sleep(Duration::from_millis(100));
                    }
                    return;
                }
            }
        }
    }

    /// Continues a connection without waiting. An error ends the connection, as does its regular
    /// end.
    fn serve(&self, client: &mut Client) -> io::Result<()> {
        if client.response.is_none() {
            let mut bytes = [0; MAX_REQUEST];
            let room = MAX_REQUEST - client.request.len();
            match client.stream.read(&mut bytes[..room]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => client.request.extend_from_slice(&bytes[..read]),
                Err(error) if would_block(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
            let from = Origin {
                peer: client.peer,
                host_names: &self.host_names,
            };
            let bytes = response(&client.request, &from, &self.metrics);
            client.response = bytes.map(|bytes| Response { bytes, sent: 0 });
        }
        let Some(answer) = &mut client.response else {
            return Ok(());
        };
        while let rest @ [_, ..] = &answer.bytes[answer.sent..] {
            match client.stream.write(rest) {
                Ok(sent) => answer.sent += sent,
                Err(error) if would_block(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        client.stream.shutdown(Shutdown::Write)?;
        Err(ErrorKind::ConnectionReset.into())
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Origin of a request, and the names of this machine.
pub(super) struct Origin<'a> {
    pub peer: IpAddr,
    /// Names of this machine besides its own.
    pub host_names: &'a [String],
}

/// Returns the response to a request; `None` while the request is incomplete.
pub(super) fn response(
    request: &[u8],
    from: &Origin<'_>,
    metrics: &impl Fn(Format) -> String,
) -> Option<Vec<u8>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let mut accepts_gzip = false;
    let (status, kind, body, is_head) = match parsed.parse(request) {
        Ok(httparse::Status::Partial) if request.len() < MAX_REQUEST => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            let message = "the request is too long\n".to_owned();
            ("431 Request Header Fields Too Large", TEXT, message, false)
        }
        Err(error) => {
            let message = format!("this is no HTTP request: {error}\n");
            ("400 Bad Request", TEXT, message, false)
        }
        Ok(httparse::Status::Complete(_)) => {
            let is_head = parsed.method == Some("HEAD");
            // Read for each request: a machine's name may change.
            let system = uname();
            let machine = system.nodename().to_string_lossy();
            let (status, kind, body) = match authority::path(&parsed, &machine, from) {
                Ok(path) => {
                    accepts_gzip = path == PATH && accepts(parsed.headers, "gzip");
                    page(parsed.method, path, accepted(parsed.headers), metrics)
                }
                Err(refusal) => (refusal.status, TEXT, format!("{}\n", refusal.reason)),
            };
            (status, kind, body, is_head)
        }
    };
    let is_compressed = accepts_gzip && !body.is_empty() && status.starts_with("200");
    let body = match is_compressed {
        true => compressed(body.as_bytes()),
        false => body.into_bytes(),
    };
    let length = body.len();
    let allow = match status.starts_with("405") {
        true => "Allow: GET, HEAD\r\n",
        false => "",
    };
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{allow}").into_bytes();
    // The length that GET would have is unknown for HEAD.
    if !(is_head && body.is_empty()) {
        bytes.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
    }
    if is_compressed {
        bytes.extend_from_slice(b"Content-Encoding: gzip\r\n");
    }
    bytes.extend_from_slice(b"Connection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n");
    if !is_head {
        bytes.extend_from_slice(&body);
    }
    Some(bytes)
}

fn compressed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

/// Returns status, type and text for a path. `accepted` lists the types that the client accepts.
fn page(
    method: Option<&str>,
    path: &str,
    accepted: &str,
    metrics: &impl Fn(Format) -> String,
) -> (&'static str, &'static str, String) {
    match (method, path) {
        (Some("GET"), PATH) => {
            let format = Format::accepted_by(accepted);
            ("200 OK", format.content_type(), metrics(format))
        }
        // A response to HEAD has no body.
        (Some("HEAD"), PATH) => ("200 OK", Format::Text.content_type(), String::new()),
        (Some("GET" | "HEAD"), "/") => {
            let message = format!("flowtop's metrics are at {PATH}\n");
            ("200 OK", TEXT, message)
        }
        (Some("GET" | "HEAD"), _) => ("404 Not Found", TEXT, format!("there is only {PATH}\n")),
        _ => {
            let message = "only GET and HEAD\n".to_owned();
            ("405 Method Not Allowed", TEXT, message)
        }
    }
}

/// Returns the content types that the client accepts, as far as they are text.
fn accepted<'a>(fields: &[httparse::Header<'a>]) -> &'a str {
    let field = fields
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("accept"));
    field
        .and_then(|field| std::str::from_utf8(field.value).ok())
        .unwrap_or_default()
}

/// Returns whether `Accept-Encoding` names this coding with a weight above 0 (RFC 9110, 12.5.3).
fn accepts(fields: &[httparse::Header<'_>], coding: &str) -> bool {
    fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("accept-encoding"))
        .filter_map(|field| std::str::from_utf8(field.value).ok())
        .flat_map(|value| value.split(','))
        .any(|offer| {
            let mut parts = offer.split(';').map(str::trim);
            let is_named = parts
                .next()
                .is_some_and(|it| it.eq_ignore_ascii_case(coding));
            let weight = parts.find_map(|it| it.strip_prefix("q=")?.parse::<f32>().ok());
            is_named && weight.is_none_or(|weight| weight > 0.0)
        })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::Ipv4Addr;

    use super::*;

    const LOOPBACK: Origin<'_> = Origin {
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        host_names: &[],
    };

    fn respond_to(request: &str) -> Option<String> {
        let response = response(request.as_bytes(), &LOOPBACK, &|format| {
            format!("{format:?}")
        });
        response.map(|response| String::from_utf8(response).unwrap())
    }

    #[test]
    fn a_request_is_answered_once_it_is_complete() {
        let request = "GET /metrics?x=1 HTTP/1.1\r\nHost: [::1]\r\n\r\n";
        for length in 0..request.len() {
            assert_eq!(respond_to(&request[..length]), None, "{length}");
        }
        let response = respond_to(request).unwrap();
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(response.contains("Content-Length: 4\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\nText"), "{response}");
        let request = request.replace(
            "\r\n\r\n",
            "\r\naccept: application/openmetrics-text;version=1.0.0\r\n\r\n",
        );
        assert!(
            respond_to(&request)
                .unwrap()
                .ends_with("\r\n\r\nOpenMetrics")
        );
    }

    #[test]
    fn metrics_are_compressed_for_clients_that_accept_gzip() {
        for (accepted, is_compressed) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=1.0, *;q=0", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("xgzip, br", false),
            ("", false),
        ] {
            let request = format!(
                "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {accepted}\r\n\r\n"
            );
            let bytes = response(request.as_bytes(), &LOOPBACK, &|_| "x 1\n".repeat(1000)).unwrap();
            let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
            let (head, body) = (str::from_utf8(&bytes[..end]).unwrap(), &bytes[end + 4..]);
            assert_eq!(
                head.contains("Content-Encoding: gzip"),
                is_compressed,
                "{accepted}"
            );
            assert!(
                head.contains(&format!("Content-Length: {}\r\n", body.len())),
                "{head}"
            );
            let mut text = String::new();
            match is_compressed {
                true => flate2::read::GzDecoder::new(body).read_to_string(&mut text),
                false => { body }.read_to_string(&mut text),
            }
            .unwrap();
            assert_eq!(text, "x 1\n".repeat(1000));
        }
        // Nothing but metrics, which alone are long.
        let refused =
            respond_to("GET /x HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n");
        assert!(!refused.unwrap().contains("Content-Encoding"));
    }

    #[test]
    fn what_is_no_good_is_told_why() {
        let long = format!("GET /metrics HTTP/1.1\r\nx: {}", "y".repeat(MAX_REQUEST));
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
        for (request, status) in [
            (
                "POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "405 Method Not Allowed\r\n",
            ),
            (
                "GET /metricsx HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "404 Not Found\r\n",
            ),
            (
                "HEAD /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "404 Not Found\r\n",
            ),
            ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "200 OK\r\n"),
            ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request\r\n"),
            ("GET / HTTP/1.0\r\n\r\n", "200 OK\r\n"),
            (
                "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
                "421 Misdirected Request\r\n",
            ),
            (
                "HEAD /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
                "421 Misdirected Request\r\n",
            ),
            ("\x16\x03\x01\x02\x00\x01", "400 Bad Request\r\n"),
            ("GET /metrics HTTP/9\r\n\r\n", "400 Bad Request\r\n"),
            (&long, "431 Request Header Fields Too Large\r\n"),
            (&many, "431 Request Header Fields Too Large\r\n"),
        ] {
            let response = respond_to(request).unwrap();
            assert!(
                response.starts_with(&format!("HTTP/1.1 {status}")),
                "{response}"
            );
            assert!(response.contains("Connection: close\r\n"), "{response}");
            let (_, body) = response.split_once("\r\n\r\n").unwrap();
            assert_eq!(body.is_empty(), request.starts_with("HEAD"), "{response}");
        }
    }
}
