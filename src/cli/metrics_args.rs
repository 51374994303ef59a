//! The options of metrics, and of runs without output.

use std::time::Duration;

use clap::error::ErrorKind;

use super::args::Args;
use super::usage::usage_error;
use crate::options::ListenOptions;
use crate::view::Group;

/// The default of Prometheus for `scrape_interval`.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(60);

/// Returns where to serve metrics, of which groups and of how many.
pub(super) fn listen(args: &Args, top_n: Option<usize>) -> Option<ListenOptions> {
    args.listen.map(|addr| ListenOptions {
        addr,
        group: match args.group {
            // Grouping by flow would have an unbounded number of series.
            None | Some(Group::Flow) => Group::Process,
            Some(group) => group,
        },
        top_n,
        scrape_interval: args.scrape_interval.unwrap_or(SCRAPE_INTERVAL),
        host_names: args.listen_host.clone(),
    })
}

/// Rejects a run without any output.
pub(super) fn require_output(args: &Args) -> Result<(), clap::Error> {
    let is_used = args.listen.is_some() || args.record.is_some() || args.publish.is_some();
    if !args.quiet || is_used || args.exit_when.is_some() {
        return Ok(());
    }
    Err(usage_error(
        ErrorKind::MissingRequiredArgument,
        "--quiet needs --record, --listen, --publish or --exit-when: add one of them, or leave --quiet out",
    ))
}

#[cfg(test)]
mod tests {
    use crate::cli::request::tests::parsed;
    use crate::options::Output;
    use crate::view::Group;

    #[test]
    fn metrics_are_served_to_this_machine_unless_an_address_is_said() {
        let listen = |args: &[&str]| parsed(args).map(|config| config.listen.unwrap());
        for (message, addr) in [
            ("9435", "127.0.0.1:9435"),
            ("localhost:9435", "127.0.0.1:9435"),
            ("[::1]:9435", "[::1]:9435"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            ("[::]:9435", "[::]:9435"),
            (":9435", "[::]:9435"),
            ("*:9435", "[::]:9435"),
        ] {
            let listen = listen(&["--listen", message]).unwrap();
            assert_eq!(listen.addr.to_string(), addr);
            assert_eq!(listen.group, Group::Process);
        }
        for message in [
            "",
            ":",
            "::9435",
            "*",
            ":65536",
            "**:9435",
            "localhost:127.0.0.1:9435",
            "+9435",
            "65536",
            "-1",
            "::1:9435",
            "web:9435",
            "127.0.0.1",
            "localhost:x",
        ] {
            let error = listen(&["--listen", message]).unwrap_err();
            assert!(error.contains("[::1]:9435"), "{message}: {error}");
        }
        let group = |args: &[&str]| listen(&[&["--listen", "1"], args].concat()).unwrap().group;
        assert_eq!(group(&["-g", "unit"]), Group::Unit);
        assert_eq!(group(&["-g", "flow"]), Group::Process, "not one a flow");
        assert!(
            parsed(&["--listen", "1", "-g", "thread"])
                .unwrap()
                .capture
                .by_thread
        );
    }

    #[test]
    fn readers_of_metrics_are_described_by_options_of_listen() {
        let listen = |args: &[&str]| {
            let args = [&["--listen", "1"], args].concat();
            parsed(&args).map(|config| config.listen.unwrap())
        };
        let plain = listen(&[]).unwrap();
        assert_eq!(plain.scrape_interval.as_secs(), 60);
        assert!(plain.host_names.is_empty());
        let given = [
            "--scrape-interval",
            "15s",
            "--listen-host",
            "a.example,web-2.",
        ];
        let given = listen(&given).unwrap();
        assert_eq!(given.scrape_interval.as_secs(), 15);
        assert_eq!(given.host_names, ["a.example", "web-2"]);
        for (option, value, error) in [
            ("--scrape-interval", "3m", "at most 2m"),
            ("--scrape-interval", "0", "at most 2m"),
            ("--listen-host", "web:9435", "without a port"),
            ("--listen-host", "*", "without a port"),
            ("--listen-host", "", "without a port"),
        ] {
            let message = listen(&[option, value]).unwrap_err();
            assert!(message.contains(error), "{option} {value}: {message}");
        }
        let error = parsed(&["--listen-host", "web"]).unwrap_err();
        assert!(
            error.contains("--listen is missing: --scrape-interval"),
            "{error}"
        );
    }

    #[test]
    fn quiet_is_for_what_is_recorded_or_served() {
        for args in [
            &["--listen", "9435", "-q"][..],
            &["--record", "/nonexistent/x", "--quiet"],
        ] {
            assert_eq!(parsed(args).unwrap().output, Output::Quiet);
        }
        let error = parsed(&["-q"]).unwrap_err();
        assert!(
            error.contains("--quiet needs --record, --listen"),
            "{error}"
        );
        let error = parsed(&["-q", "--listen", "1", "--json"]).unwrap_err();
        assert!(error.contains("cannot be used with"), "{error}");
        let error = parsed(&["--listen", "1", "--replay", "/dev/null"]).unwrap_err();
        assert!(error.contains("cannot be used with"), "{error}");
    }
}
