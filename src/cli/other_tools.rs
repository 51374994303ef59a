//! Options of other tools, and what to write in flowtop instead.

use std::ffi::OsString;

const INTERFACE: &str = "flowtop counts at sockets, not at interfaces: write interface eth0 for sockets bound to it, \
                         or filter by its addresses, as in flowtop local net 10.0.0.0/8";
const INTERVAL: &str = "use -i for the length of an interval, as in -i 2s";
const NAMES: &str = "flowtop asks no name server unless -x is given: leave this out; x in the live table \
                     shows numbers";

/// Options of iftop, nethogs, bandwhich, rustnet, tcpdump, top, ss and others.
const OPTIONS: [(&[&str], &str); 41] = [
    (
        &[
            "--interface",
            "--iface",
            "--device",
            "--dev",
            "--interfaces",
            "-I",
        ],
        INTERFACE,
    ),
    (
        &[
            "--delay",
            "--refresh",
            "--refresh-interval",
            "--period",
            "-d",
        ],
        INTERVAL,
    ),
    (&["--no-resolve", "--numeric", "--no-dns", "-N"], NAMES),
    (
        &[
            "--resolve",
            "--resolve-dns",
            "--dns",
            "--names",
            "--show-dns",
            "--hostnames",
        ],
        "use -x for host and service names",
    ),
    (
        &["-P", "--processes", "--process", "--by-process"],
        "ports are always shown; use -g process for one row per process, or the filter process nginx",
    ),
    (
        &["--connections"],
        "one row per flow is the default; leave this out",
    ),
    (
        &["-a", "--addresses", "--remote"],
        "flowtop counts all network namespaces; use -g remote for one row per remote address",
    ),
    (
        &["-F", "-G", "--net", "--network"],
        "write the network as a filter, as in flowtop net 10.0.0.0/8; for one row per network use -g net/24",
    ),
    (
        &["-f", "--filter"],
        "write the filter without an option, as in flowtop tcp and port 443",
    ),
    (&["--host"], "write a filter, as in flowtop host 192.0.2.1"),
    (
        &["--port", "--ports"],
        "write a filter, as in flowtop port 443; for one row per port use -g port",
    ),
    (
        &["--src", "--source"],
        "write a filter, as in flowtop src host 192.0.2.1",
    ),
    (
        &["--dst", "--destination"],
        "write a filter, as in flowtop dst port 443",
    ),
    (
        &["--user"],
        "write a filter, as in flowtop user www-data; for one row per user use -g user",
    ),
    (
        &["-u", "--udp"],
        "write the filter udp; for a user write user www-data",
    ),
    (&["--tcp"], "write the filter tcp"),
    (&["-4", "--ipv4", "--inet"], "write the filter ip"),
    (&["-6", "--ipv6", "--inet6"], "write the filter ip6"),
    (
        &["--container", "--containers"],
        "use -g container, or the filter container 4f2a",
    ),
    (
        &["--unit", "--service"],
        "use -g unit, or the filter unit nginx",
    ),
    (
        &["--cgroup"],
        "use -g container or -g unit, or the filters of these names",
    ),
    (
        &["--localhost", "--loopback", "--show-localhost"],
        "flowtop counts loopback; write the filter loopback or not loopback",
    ),
    (
        &["--listening", "-l", "-L"],
        "flowtop shows flows that move bytes; for listening sockets use ss -l",
    ),
    (
        &["-s", "--sort-by", "--order", "-o"],
        "use --sort, as in --sort total; the key s sorts the live table",
    ),
    (
        &["-b", "--text", "--no-ui", "--raw", "-r", "--plain"],
        "use --batch for plain text, --replay to show a recording",
    ),
    (
        &["-B", "--bytes"],
        "bytes are the default; use --units bits for bits",
    ),
    (
        &["--bits", "-k", "-m"],
        "use --units bits, bytes, bits-iec or bytes-iec",
    ),
    (
        &["--total", "--total-utilization", "-T"],
        "use --sort total; the key t shows totals in the live table",
    ),
    (
        &["-w", "--write", "--output", "-O"],
        "use --record FILE to record, or --json with a pipe",
    ),
    (&["--read", "--file"], "use --replay FILE"),
    (
        &["--limit", "--lines", "--top", "--num", "--rows"],
        "use -n, as in -n 20",
    ),
    (
        &["--iterations", "--loops", "--samples"],
        "use -c, as in -c 5",
    ),
    (
        &["--time", "--timeout", "--for"],
        "use --duration, as in --duration 5m",
    ),
    (&["--format"], "use --json, --csv or --batch"),
    (&["--jsonl", "--ndjson"], "use --json"),
    (
        &["--no-color", "--nocolor", "--no-colour", "--colour"],
        "use --color never, always or auto",
    ),
    (
        &["--prometheus", "--exporter", "--port-metrics"],
        "use --listen 9435",
    ),
    (&["--debug", "--trace"], "use -v, or --doctor"),
    (&["--check", "--diagnose", "--self-test"], "use --doctor"),
    (
        &["-A", "-X", "-D", "-e", "--promisc"],
        "flowtop captures no packets; for those use tcpdump",
    ),
    (
        &["-H", "--threads"],
        "use -g thread for one row per thread, or -t TID",
    ),
];

/// Returns what to write for an unknown option.
pub(super) fn option(option: &str) -> Option<&'static str> {
    let found = OPTIONS
        .iter()
        .find(|(options, _)| options.contains(&option));
    found.map(|(_, help)| *help)
}

/// Returns an example for an option without its value.
pub(super) fn needed_value(option: &str) -> &'static str {
    match option {
        "--top-n" => "give a number of rows, as in -n 20 (host names are off unless -x is given)",
        "--pid" => "give process ids, as in -p 1234; for a program write the filter process nginx",
        "--tid" => "give thread ids, as in -t 1234; for TCP only write the filter tcp",
        "--interval" => "give a time, as in -i 2s",
        "--count" => "give a number of intervals, as in -c 5",
        "--duration" => "give a time, as in --duration 5m",
        "--exit-when" => "give a condition, as in --exit-when 'rate > 1Gbps'",
        "--group" => "give what to group by, as in -g process",
        "--sort" => "give a column, as in --sort total",
        "--columns" => "give columns, as in --columns process,rate,remote",
        "--units" => "give bytes, bytes-iec, bits or bits-iec",
        "--color" => "give auto, always or never",
        "--listen" => "give a port or an address, as in --listen 9435",
        "--scrape-interval" => "give a time, as in --scrape-interval 15s",
        "--listen-host" => "give a host name, as in --listen-host metrics.example.org",
        "--record" => "give the name of a new file, as in --record day.jsonl.zst",
        "--replay" => "give a recording, as in --replay day.jsonl.zst",
        "--diff" => "give two recordings, as in flowtop diff monday.jsonl.zst tuesday.jsonl.zst",
        "--publish" => "give the name of a file, as in --publish /run/flowtop/processes",
        "--usage" => "give recordings or ledgers, as in flowtop usage ledger-*.zst",
        "--by" => "give hour, day, month, year or all, as in --by month",
        "--record-sums" => "give a time, as in --record-sums 1h",
        "--record-size" => "give a size, as in --record-size 100MB",
        "--record-time" => "give a time, as in --record-time 1h",
        "--record-files" => "give a number of files, as in --record-files 24",
        "--backend" => "give auto, raw_tracepoint, tracepoint, fentry or kprobe",
        "--max-flows" => "give a number of flows, as in --max-flows 65536",
        "--completions" => "give bash, fish or zsh",
        _ => "flowtop --help explains it",
    }
}

/// Returns a hint for `-v 3`, which sets a view of nethogs and would be a filter here.
pub(super) fn view_mode(args: &[OsString]) -> Option<&'static str> {
    let is_mode = |arg: &OsString| matches!(arg.to_str(), Some("0" | "1" | "2" | "3" | "4"));
    let found = args
        .windows(2)
        .any(|pair| pair[0] == "-v" && is_mode(&pair[1]));
    found.then_some(
        "-v takes no number: it explains what flowtop does; use --sort total or --units for other views of the \
         numbers",
    )
}
