//! Tests of command lines and the requests they become.

use super::*;
use crate::options::Backend;
use crate::text::units::Units;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

fn terminal() -> Environment {
    Environment {
        is_lent: false,
        terminal: true,
        columns: Some(80),
        no_color: false,
        draws_unicode: true,
        config_files: Vec::new(),
        prompt_file: None,
        pid_namespace: None,
    }
}

fn requested(args: &[&str], environment: &Environment) -> Result<Request, String> {
    let all = std::iter::once("flowtop").chain(args.iter().copied());
    parse(all, environment).map_err(|error| error.to_string())
}

pub(crate) fn parsed_in(args: &[&str], environment: &Environment) -> Result<Config, String> {
    match requested(args, environment)? {
        Request::Run(config) => Ok(*config),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn parsed(args: &[&str]) -> Result<Config, String> {
    parsed_in(args, &terminal())
}

#[test]
fn without_arguments_a_terminal_gets_the_table_and_a_pipe_gets_text() {
    assert_eq!(
        parsed(&[]).unwrap(),
        Config {
            output: Output::Table,
            table: TableOptions {
                color: true,
                ascii: false,
                ..TableOptions::default()
            },
            ..Config::default()
        }
    );
    assert_eq!(
        parsed_in(&[], &Environment::default()).unwrap(),
        Config::default()
    );
    assert_eq!(parsed(&["--batch"]).unwrap().output, Output::Text);
    assert_eq!(parsed(&["--json"]).unwrap().output, Output::Json);
}

#[test]
fn zero_means_all_flows() {
    assert_eq!(parsed(&["-n", "0"]).unwrap().stream.top_n, None);
    assert_eq!(parsed(&["-n3"]).unwrap().stream.top_n, Some(3));
}

fn tasks(config: &Config) -> (Vec<u32>, Vec<u32>) {
    let tasks = config.capture.filter.kernel_filter.tasks.clone();
    (tasks.tgids, tasks.tids)
}

#[test]
fn pids_and_tids_are_not_swapped() {
    let config = parsed(&["-p", "10", "-t", "20"]).unwrap();
    assert_eq!(tasks(&config), (vec![10], vec![20]));
    let config = parsed(&["--tid", "7", "--pid", "5"]).unwrap();
    assert_eq!(tasks(&config), (vec![5], vec![7]));
}

#[test]
fn ids_can_be_repeated_and_separated_by_commas() {
    let config = parsed(&["-p", "3,1", "-p", "2", "-p", "1"]).unwrap();
    assert_eq!(config.capture.filter.kernel_filter.tasks.tgids, [1, 2, 3]);
}

#[test]
fn at_most_64_ids_and_the_message_says_so() {
    let many = |n: u32| {
        (1..=n)
            .map(|id| id.to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(
        parsed(&["-p", &many(64)])
            .unwrap()
            .capture
            .filter
            .kernel_filter
            .tasks
            .tgids
            .len(),
        64
    );
    let message = parsed(&["-t", &many(65)]).unwrap_err();
    assert!(message.contains("--tid takes at most 64 ids"), "{message}");
}

#[test]
fn ids_outside_what_linux_gives_out_are_refused() {
    for bad in ["0", "-1", "4194305", "init", "", "1,,2", "4294967297"] {
        let message = parsed(&[&format!("--pid={bad}")]).unwrap_err();
        assert!(message.contains("from 1 to 4194304"), "{bad}: {message}");
    }
    assert_eq!(
        parsed(&["-p", "4194304"])
            .unwrap()
            .capture
            .filter
            .kernel_filter
            .tasks
            .tgids,
        [4_194_304]
    );
}

#[test]
fn intervals_take_fractions_and_units() {
    for (text, millis) in [
        ("0.01", 10),
        ("1", 1000),
        ("2.5", 2500),
        ("500ms", 500),
        ("2s", 2000),
        ("1m", 60_000),
        ("1.5min", 90_000),
        ("1m30s", 90_000),
        ("1h30m", 5_400_000),
        ("1 s", 1000),
        ("24h", 86_400_000),
        ("86400", 86_400_000),
    ] {
        assert_eq!(
            parsed(&["-i", text]).unwrap().timing.interval,
            Duration::from_millis(millis),
            "{text}"
        );
    }
}

#[test]
fn intervals_that_cannot_be_are_refused_with_the_range() {
    for bad in [
        "0", "0.009", "86401", "-1", "1x", "inf", "nan", "1e3", "", "s", "1h ago", "1month",
        "-1h30m", "25h", "23h61m",
    ] {
        let message = parsed(&[&format!("-i={bad}")]).unwrap_err();
        assert!(
            message.contains("give 0.01 to 86400 seconds"),
            "{bad}: {message}"
        );
    }
}

#[test]
fn sizes_and_counts_have_limits() {
    assert_eq!(
        parsed(&["--max-flows", "16"]).unwrap().capture.max_flows,
        Some(16)
    );
    assert!(
        parsed(&["--max-flows", "15"])
            .unwrap_err()
            .contains("from 16 to 16777216")
    );
    assert!(parsed(&["--max-flows", "16777217"]).is_err());
    assert_eq!(parsed(&["-c", "1"]).unwrap().timing.count, Some(1));
    assert!(parsed(&["-c", "0"]).unwrap_err().contains("from 1 up"));
}

#[test]
fn batch_and_json_exclude_each_other() {
    let message = parsed(&["--batch", "--json"]).unwrap_err();
    assert!(message.contains("cannot be used with"), "{message}");
}

#[test]
fn every_backend_has_its_name() {
    for name in ["raw_tracepoint", "tracepoint", "fentry", "kprobe"] {
        let parsed = parsed(&["--backend", name]).unwrap();
        assert_eq!(parsed.capture.backend.map(Backend::as_str), Some(name));
    }
    for auto in [&["--backend", "auto"][..], &[]] {
        assert_eq!(parsed(auto).unwrap().capture.backend, None);
    }
    assert!(
        parsed(&["--backend", "xdp"])
            .unwrap_err()
            .contains("kprobe")
    );
}

#[test]
fn the_arguments_are_consistent() {
    Args::command().debug_assert();
}

#[test]
fn colours_are_for_terminals_and_no_color_is_heard() {
    let plain = Environment {
        no_color: true,
        ..terminal()
    };
    let color = |args: &[&str], environment: &Environment| {
        parsed_in(args, environment).unwrap().table.color
    };
    assert!(color(&[], &terminal()));
    assert!(!color(&[], &plain));
    assert!(color(&["--color", "always"], &plain));
    assert!(!color(&["--color=never"], &terminal()));
    assert!(!color(&[], &Environment::default()));
    let message = parsed(&["--color", "alway"]).unwrap_err();
    assert!(message.contains("did you mean \"always\"?"), "{message}");
}

#[test]
fn ascii_is_for_who_asks_and_where_the_locale_is_not_utf_8() {
    assert!(!parsed(&[]).unwrap().table.ascii);
    assert!(parsed(&["--ascii"]).unwrap().table.ascii);
    let other = Environment {
        draws_unicode: false,
        ..terminal()
    };
    assert!(parsed_in(&[], &other).unwrap().table.ascii);
}

#[test]
fn the_table_is_as_asked_for() {
    let config = parsed(&["-g", "process", "--sort", "60s:asc", "--units", "bits"]).unwrap();
    assert_eq!(config.table.group, Group::Process);
    assert_eq!(config.table.sort, SortKey::by(Column::Avg60).reversed());
    assert_eq!(config.table.units, Units::Bits);
    assert_eq!(config.table.columns, None);
    let config = parsed(&["--columns", "rate,process,rate", "--columns", "pid"]).unwrap();
    let columns = vec![Column::Rate, Column::Process, Column::Pid];
    assert_eq!(config.table.columns, Some(columns));
}

#[test]
fn wrong_words_are_answered_with_the_right_ones() {
    for (args, fix) in [
        (["--group", "proces"], "did you mean \"process\"?"),
        (["--sort", "totl"], "did you mean \"total\"?"),
        (
            ["--sort", "rate:down"],
            "unknown order \"down\": use asc or desc",
        ),
        (["--columns", "rate,nme"], "unknown column \"nme\""),
        (["--units", "bit"], "did you mean \"bits\"?"),
    ] {
        let message = parsed(&args).unwrap_err();
        assert!(message.contains(fix), "{args:?}: {message}");
    }
}

#[test]
fn what_only_the_table_has_is_not_ignored_elsewhere() {
    for args in [["--sort", "60s"], ["--columns", "rate"]] {
        for output in ["--json", "--batch"] {
            let message = parsed(&[args[0], args[1], output]).unwrap_err();
            assert!(message.contains("the live table"), "{message}");
        }
        assert!(parsed_in(&args, &Environment::default()).is_err());
    }
    assert!(parsed(&["--units", "bits", "--batch"]).is_ok());
}

#[test]
fn text_json_and_csv_are_sorted_by_the_columns_of_one_interval() {
    for output in ["--json", "--csv", "--batch"] {
        assert_eq!(parsed(&[output]).unwrap().stream.sort, None);
        for column in Column::ALL {
            let sorted = parsed(&["--sort", column.as_str(), output]);
            match sorted {
                Ok(config) => assert_eq!(config.stream.sort, Some(SortKey::by(column))),
                Err(message) => {
                    let what = format!("--sort {}: only the live table", column.as_str());
                    assert!(message.contains(&what), "{message}");
                    assert!(message.contains("rate, rx, tx, total"), "{message}");
                    assert!(!column.is_of_one_interval());
                }
            }
        }
    }
    let rows = parsed(&["--sort", "pid:desc", "--csv"])
        .unwrap()
        .stream
        .sort;
    assert_eq!(rows, Some(SortKey::by(Column::Pid).reversed()));
    let quiet = parsed(&["--sort", "total", "-q", "--listen", "9435"]);
    assert!(quiet.unwrap_err().contains("--quiet"));
}

fn shown_group(config: &Config) -> Group {
    match config.output {
        Output::Table => config.table.group,
        _ => config.stream.group,
    }
}

#[test]
fn host_names_need_the_answers_of_name_servers() {
    for by_name in [
        &["-g", "host"][..],
        &["host", "api.example"],
        &["not", "domain", "example"],
    ] {
        let args = [&["--batch"], by_name].concat();
        assert!(parsed(&args).is_ok(), "{args:?}");
        let message = parsed(&[&["--batch", "--no-dns-names"], by_name].concat()).unwrap_err();
        assert!(message.contains("leave --no-dns-names out"), "{message}");
    }
    assert!(parsed(&["--batch", "--no-dns-names", "host", "10.0.0.1"]).is_ok());
}

#[test]
fn every_output_has_groups_and_threads_are_told_apart_for_theirs() {
    for output in ["--json", "--batch", "-v"] {
        for group in Group::ALL {
            let arg = group.to_string();
            let args = ["-g", &arg, output];
            if group == Group::Zone {
                assert!(parsed(&args).unwrap_err().contains("needs --zones FILE"));
                continue;
            }
            let config = parsed(&args).unwrap();
            assert_eq!(shown_group(&config), group, "{output}");
            assert_eq!(config.capture.by_thread, group == Group::Thread, "{output}");
        }
        assert_eq!(shown_group(&parsed(&[output]).unwrap()), Group::Flow);
        let message = parsed(&["-g", "net/0", output]).unwrap_err();
        assert!(message.contains("write net/24"), "{message}");
    }
    // Machine-readable output ignores the user's configuration file.
    let file = File::with("group", "group = \"thread\"\n");
    let path = file.0.to_str().unwrap();
    for (output, group) in [
        ("--json", Group::Flow),
        ("--batch", Group::Flow),
        ("-v", Group::Thread),
    ] {
        let config = parsed(&["--config", path, output]).unwrap();
        assert_eq!(shown_group(&config), group, "{output}");
        assert_eq!(config.capture.by_thread, group == Group::Thread, "{output}");
    }
}

#[test]
fn text_is_wide_where_a_line_is_or_by_wish() {
    let wide = |args: &[&str], columns| {
        let environment = Environment {
            columns,
            ..Environment::default()
        };
        parsed_in(args, &environment).unwrap().stream.wide
    };
    assert!(!wide(&[], None) && !wide(&[], Some(139)));
    assert!(wide(&[], Some(140)) && wide(&["--wide"], None));
    let message = parsed(&["--wide", "--json"]).unwrap_err();
    assert!(message.contains("cannot be used with"), "{message}");
}

/// A temporary file, removed when the value is dropped.
struct File(PathBuf);

impl File {
    fn with(name: &str, text: &str) -> Self {
        let name = format!("flowtop-{name}-{}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn arguments_go_before_the_file_and_the_file_before_what_is_usual() {
    let file = File::with(
        "before",
        "units = \"bits\"\nsort = \"total\"\ncolor = \"always\"\nascii = \"always\"\n",
    );
    let plain = Environment {
        no_color: true,
        config_files: vec![ConfigOrigin {
            path: file.0.clone(),
            owner: None,
            explicit: false,
        }],
        ..terminal()
    };
    let config = parsed_in(&["--sort", "peak"], &plain).unwrap();
    assert_eq!(config.table.units, Units::Bits);
    assert_eq!(config.table.sort, SortKey::by(Column::Peak));
    assert!(config.table.color && config.table.ascii);
    // Settings of the table in the file do not affect text.
    let text = parsed_in(&["--batch"], &plain).unwrap();
    assert_eq!(
        (text.output, text.stream.units),
        (Output::Text, Units::Bits)
    );
}

#[test]
fn a_named_file_must_be_there_and_right() {
    let message = parsed(&["--config", "/nonexistent/x.toml"]).unwrap_err();
    assert!(message.contains("read /nonexistent/x.toml"), "{message}");
    let file = File::with("wrong", "\nunits = \"byte\"\n");
    let path = file.0.to_str().unwrap();
    let message = parsed(&["--config", path]).unwrap_err();
    let wrong = format!("{path}: line 2: units: unknown unit \"byte\": did you mean \"bytes\"?");
    assert!(message.contains(&wrong), "{message}");
}

#[test]
fn what_is_printed_is_what_was_asked_for() {
    let print = [
        "--print-config",
        "--units",
        "bits",
        "-g",
        "user",
        "--ascii",
        "--json",
    ];
    let text = match requested(&print, &terminal()).unwrap() {
        Request::Print(text) => text,
        other => panic!("{other:?}"),
    };
    let settings = Settings::parse(&text).unwrap();
    assert_eq!(
        settings,
        Settings {
            units: Units::Bits,
            group: Group::User,
            ascii: When::Always,
            ..Settings::default()
        }
    );
}

#[test]
fn what_is_said_by_options_and_by_words_must_both_hold() {
    let filter = |args: &[&str]| parsed(args).unwrap().capture.filter.text();
    assert_eq!(filter(&[]), None);
    assert_eq!(filter(&["-p", "2,1"]).unwrap(), "pid (1 or 2)");
    assert_eq!(filter(&["-t", "3", "-p1"]).unwrap(), "pid 1 or tid 3");
    assert_eq!(
        filter(&["-p", "1", "tcp", "-t", "3", "port", "80"]).unwrap(),
        "(pid 1 or tid 3) and tcp and port 80"
    );
    assert_eq!(
        filter(&["-p", "1", "udp or port 80"]).unwrap(),
        "pid 1 and (udp or port 80)"
    );
}

#[test]
fn processes_in_the_filter_are_those_that_the_kernel_is_told() {
    let config = parsed(&["pid 7 or 5 and comm ssh"]).unwrap();
    assert_eq!(config.capture.filter.kernel_filter.tasks.tgids, [5, 7]);
    assert_eq!(
        config.capture.filter.rest.unwrap().to_string(),
        "process ssh"
    );
    let config = parsed(&["--no-pushdown", "-p7"]).unwrap();
    assert!(
        config.capture.filter.kernel_filter.tasks.tgids.is_empty()
            && config.capture.filter.kernel_filter.is_empty()
    );
    let config = parsed(&["pid 7 or port 80"]).unwrap();
    assert!(
        config.capture.filter.kernel_filter.tasks.tgids.is_empty() && !config.capture.by_thread
    );
    let config = parsed(&["tid 7 or port 80"]).unwrap();
    assert!(config.capture.filter.kernel_filter.tasks.is_empty() && config.capture.by_thread);
    assert!(!parsed(&["-t7"]).unwrap().capture.by_thread);
}

#[test]
fn an_end_can_be_said_in_several_ways() {
    let config = parsed(&["--once", "--duration", "5m", "--exit-when", "tx rate>8Mbit"]).unwrap();
    assert_eq!(config.timing.count, Some(1));
    assert_eq!(config.timing.duration, Some(Duration::from_secs(300)));
    assert_eq!(
        config.timing.exit_when.unwrap().to_string(),
        "tx rate > 1MB"
    );
    for (text, seconds) in [
        ("90", 90.0),
        ("1.5h", 5400.0),
        ("1h30m", 5400.0),
        ("1d12h", 129_600.0),
        ("1d", 86_400.0),
        ("100ms", 0.1),
    ] {
        let config = parsed(&["--duration", text]).unwrap();
        assert_eq!(
            config.timing.duration.unwrap().as_secs_f64(),
            seconds,
            "{text}"
        );
    }
}

#[test]
fn a_recording_is_filtered_by_user_space_and_has_its_own_intervals() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/demo.jsonl.zst");
    let config = parsed(&["-p7", "port 80", "--replay", sample]).unwrap();
    assert_eq!(
        config.capture.filter.rest.unwrap().to_string(),
        "pid 7 and port 80"
    );
    assert!(config.capture.filter.kernel_filter.is_empty());
    assert_eq!(config.replay.unwrap().interval, None);
    let config = parsed(&["--replay", sample, sample, "-i5", "--csv"]).unwrap();
    assert_eq!(config.output, Output::Csv);
    let replay = config.replay.unwrap();
    assert_eq!(
        (replay.files.len(), replay.interval),
        (2, Some(Duration::from_secs(5)))
    );
    assert_eq!(parsed(&[]).unwrap().timing.interval, Duration::from_secs(1));
}

#[test]
fn the_doctor_takes_the_settings_of_a_run() {
    let typed = ["--doctor", "--json", "--max-flows", "4096"];
    let Request::Doctor(config) = requested(&typed, &terminal()).unwrap() else {
        panic!("not the doctor");
    };
    assert_eq!(
        (config.output, config.capture.max_flows),
        (Output::Json, Some(4096))
    );
    assert!(!config.keep_privileges);
    assert!(parsed(&["--no-sandbox"]).unwrap().keep_privileges);
}

#[test]
fn ids_that_only_user_space_could_compare_are_refused_in_a_pid_namespace() {
    let container = Environment {
        pid_namespace: Some(4_026_532_177),
        ..Environment::default()
    };
    let message = |args: &[&str]| parsed_in(args, &container).unwrap_err();
    for args in [
        &["pid 5 or port 80"][..],
        &["-p", "5", "--no-pushdown"],
        &["-p", "5", "-t", "6", "pid 7"],
    ] {
        let message = message(args);
        assert!(message.contains("pid:[4026532177]"), "{message}");
        assert!(message.contains("--pid=host"), "{message}");
        assert!(parsed(args).is_ok(), "{args:?}");
    }
    assert!(parsed_in(&["-p", "5", "port", "80"], &container).is_ok());
    assert!(parsed_in(&["comm a or port 80"], &container).is_ok());
    // In a recording, PIDs are those that columns show.
    assert!(
        parsed_in(
            &[
                "--replay",
                "samples/demo.jsonl.zst",
                "--",
                "pid 5 or port 80"
            ],
            &container
        )
        .is_ok()
    );

    let explained =
        |environment: &Environment| match requested(&["--explain-filter", "pid", "5"], environment)
        {
            Ok(Request::Print(text)) => text,
            other => panic!("{other:?}"),
        };
    let text = explained(&container);
    assert!(
        text.contains("flowtop's pid namespace (pid:[4026532177])"),
        "{text}"
    );
    assert!(!explained(&terminal()).contains("namespace"));
}
