#!/usr/bin/env bash
# Prints docs/BENCHMARKS.md from what the other scripts left in target/bench:
#
#   benches/report.sh >docs/BENCHMARKS.md
#
# What has not been measured is said to be so.
# shellcheck disable=SC2016 # dollars are jq's
set -euo pipefail
cd "$(dirname "$0")/.."

. benches/common.sh
command -v jq >/dev/null || { echo "report: needs jq: make deps-test" >&2; exit 1; }
shopt -s nullglob

# All results in one object, a list for each file, empty where there is none.
all=$(for name in hotpath-{5.10,6.1,6.12,7.2,native} contention load drain-native drain-audit drain-guests self scale; do
    file=$results/$name.jsonl
    [ -e "$file" ] || file=/dev/null
    jq -cs --arg name "$name" '{($name): .}' "$file"
done | jq -s 'add')
for name in start maps; do
    file=$results/$name.json
    [ -e "$file" ] && all=$(jq --arg name $name --slurpfile it "$file" '.[$name] = $it[0]' <<<"$all")
done
table() { jq -r "$(cat benches/median.jq - <<'JQ'
    def row: "| \(map(. // "" | tostring) | join(" | ")) |";
    def rule: "|\(map("---") | join("|"))|";
    def hot($kernel; $method; $traffic): .["hotpath-\($kernel)"] | map(select(.method == $method and .traffic == $traffic)) | .[0];
    def pairs($subject; $kind; $cpus): .load | map(select(.subject == $subject and .kind == $kind and .cpus == $cpus).through);
    def through($subject; $kind; $cpus): pairs($subject; $kind; $cpus) | median;
    def drained($flows): .["drain-native"] | map(select(.flows == $flows)) | .[0].all_ms;
    def own($flows; $output): .self | map(select(.flows == $flows and .output == $output)) | .[0];
    def subjects: .load | map(.subject) | reduce .[] as $s ([]; if index($s) then . else . + [$s] end);
    def kinds: .load | map(.kind) | reduce .[] as $s ([]; if index($s) then . else . + [$s] end);
JQ
)
$1" <<<"$all"; }

cat <<'TEXT'
# Benchmarks

What flowtop costs, measured by `make bench`, which writes this file. Counts of instructions and
ratios say the same on other machines; milliseconds and nanoseconds are those of the machine below.

TEXT
printf 'Measured %s on %s CPUs (%s), Linux %s.\n\n' "$(date -u +%F)" "$(nproc)" \
    "$(sed -n 's/^model name\t*: //p' /proc/cpuinfo | head -n 1)" "$(uname -r | sed 's/-.*//')"

echo '## Budgets'
echo
table '
    def most($what; $unit; $budget; $value): [$what, "at most \($budget)\($unit)",
        if $value == null then "not measured" else "\($value)\($unit)" end,
        if $value == null then "" elif $value <= $budget then "met" else "**missed**" end];
    . as $all
    | def peers($kind; $cpus): $all | [subjects[] | select(. != "bare" and (startswith("flowtop") | not)) as $s | $all | through($s; $kind; $cpus)] | max;
      # On one CPU, where processor time is all there is, and beside it on two, as programs run. What the
      # confidence interval leaves open is said to be open.
      def load($what; $kind; $budget): ($all | pairs("flowtop-raw_tracepoint"; $kind; "one")) as $pairs | ($pairs | median) as $value
        | peers($kind; "one") as $peer
        | [$what, "at least \($budget), ahead of every peer", if $value == null then "not measured" else
            "\($pairs | median_interval), best peer \($peer | round_to(1000)), noise \($all | pairs("bare"; $kind; "one") | median_interval
            ); on two CPUs \($all | pairs("flowtop-raw_tracepoint"; $kind; "two") | median_interval), \(peers($kind; "two") | round_to(1000)), \(
            $all | pairs("bare"; $kind; "two") | median_interval)" end,
          if $value == null then "" else ($pairs | interval) as [$low, $high] | ([$budget, $peer // 0] | max) as $least
            | (if $value >= $budget and ($peer == null or $value > $peer) then "met" else "**missed**" end)
              + (if $low < $least and $least <= $high then ", within noise" else "" end) end];
    ["what", "budget", "measured", ""] | row, rule,
    (
    most("`raw_tracepoint`, 6.12: instructions a call, IPv4 TCP"; ""; 300; $all | hot("6.12"; "raw_tracepoint"; "tcp4").above),
    most("`tracepoint`, 7.2: the same"; ""; 430; $all | hot("7.2"; "tracepoint"; "tcp4").above),
    most("`fentry`, 6.1: the same"; ""; 350; $all | hot("6.1"; "fentry"; "tcp4").above),
    most("`kprobe`, 7.2: the same"; ""; 1000; $all | hot("7.2"; "kprobe"; "tcp4").above),
    load("throughput beside `raw_tracepoint`, both ends on one CPU: stream"; "stream"; 0.99),
    load("the same: writes of 100 B"; "small"; 0.91),
    load("the same: ping-pong of 1 B"; "pingpong"; 0.935),
    load("the same: UDP of 100 B"; "udp"; 0.955),
    most("flip to ranking, 65,536 flows, 2 CPUs"; " ms"; 10; $all | drained(65536) | round_to(10)),
    most("the same, 1,000,000 flows"; " ms"; 150; $all | drained(1000000) | round_to(1)),
    most("own processor time, idle machine"; " % of a core"; 0.03; $all | own(0; "json").percent | round_to(100)),
    most("the same, 1,000 flows"; " % of a core"; 0.15; $all | own(1000; "json").percent | round_to(100)),
    most("the same, 10,000 flows"; " % of a core"; 0.6; $all | own(10000; "json").percent | round_to(100)),
    most("PSS with 1,000 flows, JSON"; " MiB"; 5; $all | own(1000; "json").pss_mib | round_to(10)),
    most("the same, table"; " MiB"; 7; $all | own(1000; "table").pss_mib | round_to(10)),
    most("start to attached"; " ms"; 50; $all.start.attached_ms),
    most("first rows, after the first interval"; " ms"; 50; $all.start.first_after_interval_ms),
    most("release binary, stripped"; " MiB"; 4; $all.start.binary_bytes // null | if . == null then null else . / 1048576 end | round_to(100))
    | row)'

cat <<'TEXT'

## Hot path

Instructions that flowtop adds to one send or receive of 100 bytes over loopback, both ends in one
thread; the mean of sends and receives. Stock Debian kernels in emulated machines of one CPU whose
clock counts instructions (`make bench-hotpath`); runs lie 0.1 % apart. `empty` is a program that does
nothing on the same hook (on the IPv4 functions only): what is left above it is flowtop's own.

TEXT
table '. as $all | ["tcp4", "tcp6", "udp4", "unix"] as $traffic
    | (["kernel", "method", $traffic[]] | row), (["", "", $traffic[]] | rule),
    (("5.10", "6.1", "6.12", "7.2") as $kernel | $all["hotpath-\($kernel)"] | map(.method) | unique
      | sort_by([. != "none", (startswith("empty") | not)])[] as $method
      | [$kernel, $method, ($traffic[] as $t | $all | hot($kernel; $method; $t)
          | if . == null then "" elif $method == "none" then "\(.insn | round) in all" else .above end)] | row)'
printf '\nOn this machine as it is, in nanoseconds; medians of nine:\n\n'
table '. as $all | ["tcp4", "tcp6", "udp4", "unix"] as $traffic
    | (["method", $traffic[]] | row), (["", $traffic[]] | rule),
    ($all["hotpath-native"] | map(.method) | unique | sort_by([. != "none", (startswith("empty") | not)])[] as $method
      | [$method, ($traffic[] as $t | $all | hot("native"; $method; $t)
          | if . == null then "" elif $method == "none" then "\(.insn | round) in all" else .above end)] | row)'

cat <<'TEXT'

## CPUs that share flows

What an event costs once its flow is known, in nanoseconds on this machine (`benches/contention.sh`): on one
CPU alone, and on two at once, on flows far apart, on one flow, and on flows made one after the other,
whose slots share cache lines. `shared map` is flowtop without the rows of the CPUs.

TEXT
table '. as $all | (["level", "protocol", "alone", "apart", "one flow", "neighbours, mean", "worst"] | row, rule),
    ($all.contention[] | [.level, .protocol, .alone, .apart, .one_flow, .neighbours_mean, .neighbours_worst] | row)'

cat <<'TEXT'

## Load tax

What gets through beside a program, as a share of what gets through without it just before and just
after: medians, with their 95 % confidence intervals. Each program runs in a terminal of its own and
watches the loopback interface (`benches/load.sh`). Where both ends are on one CPU the program is on the other. `bare` is runs without a program: its distance from 1
is noise. `own` is the processor time of the program itself meanwhile, as a share of one core: on a
machine that has no CPU to spare it is taken from the traffic as well. `tcptop` is missing where the
kernel has no kprobes. Traffic that is written in small pieces shows what a count of calls costs and a capture of
packets does not: the kernel puts many writes into a packet.

TEXT
tax() { # one|two
    table '. as $all | (["", ($all | kinds[]), "own"] | row), (["", ($all | kinds[]), ""] | rule),
        ($all | subjects[] as $s | [$s, ($all | kinds[] as $k | $all | pairs($s; $k; "'"$1"'") | median_interval),
            ($all.load | map(select(.subject == $s).own) | median | . * 100 | round | "\(.) %")] | row)'
}
printf 'Throughput, the two ends on two CPUs:\n\n'
tax two
printf '\nThroughput, both ends on one CPU, where processor time is all there is:\n\n'
tax one
cat <<'TEXT'

## Drain and ranking

From the flip to the ranking with real flows, in processor time, which leaves out the wait for running
programs (`benches/drain.sh`). On this machine, in milliseconds; `wait` is that wait, with whatever else
the machine did:

TEXT
table '. as $all | (["flows", "drain", "ranking", "both", "ns a flow", "all flows as JSON", "wait"] | row, rule),
    ($all["drain-native"][] | [.flows, (.drain_ms, .rank_ms, .all_ms | round_to(100)), (.all_ms / .flows * 1e6 | round),
        (.json_all_ms, .wait_ms | round_to(10))] | row)'
cat <<'TEXT'

### The audit

The same with connections of TCP that all send in every interval, and without the audit (`benches/drain.sh audit`):
medians, and of the difference its 95 % confidence interval, in pairs of runs one after the other. Events cost the same:
the audit has no hook. It reads at most 1,024 sockets a second time in an interval.

TEXT
table '. as $all | (["connections", "drain without", "with", "difference", "ns a connection"] | row, rule),
    ($all["drain-audit"] | group_by(.flows)[] | .[0].flows as $flows
        | (map(select(.audited > 0).drain_ms)) as $with | (map(select(.audited == 0).drain_ms)) as $without
        | ([$with, $without] | transpose | map(.[0] - .[1])) as $more
        | [$flows, ($without | median | round_to(10)), ($with | median | round_to(10)),
            ($more | median_interval), ($more | median / $flows * 1e6 | round)] | row)'
printf '\nKernel 6.1 with few and many possible CPUs, one of them there, in million instructions:\n\n'
table '. as $all | (["possible CPUs", "flows", "drain", "ranking", "both", "instructions a flow", "all flows as JSON",
        "MiB taken by opening", "with room for"] | row, rule),
    ($all["drain-guests"][] | [.cpus, .flows, (.drain_ms, .rank_ms, .all_ms | round_to(100)), (.all_ms / .flows * 1e6 | round),
        (.json_all_ms | round_to(10)), .taken_mib, .max_flows] | row)'
cat <<'TEXT'

## Flowtop itself

At one interval a second, every flow moving bytes in each; percent of one core, and MiB:

TEXT
table '. as $all | (["flows", "output", "user", "system", "both", "resident", "PSS", "of it its own"] | row, rule),
    ($all.self[] | [.flows, .output, (.user, .system, .percent | round_to(1000)), (.rss_mib, .pss_mib, .anonymous_mib | round_to(10))] | row)'
echo
table 'select(.maps) | .maps | "The kernel'"'"'s memory of the flow maps with room for \(.entries) flows: \(.flow_maps / 1048576 * 10
    | round / 10) MiB, all maps \(.all / 1048576 * 10 | round / 10) MiB. [COUNTING.md](COUNTING.md#memory) has the formula.\n"'
table 'select(.start) | .start | "Start to attached \(.attached_ms) ms; the first interval'"'"'s rows \(.first_after_interval_ms
    ) ms after its end, the wait for running programs included; binary \(.binary_bytes / 1048576 * 100 | round / 100) MiB."'
cat <<'TEXT'

## Many flows

What flows take of user space, by simulated intervals of connections that all move bytes both ways, each
with a peer of its own and all that the kernel tells of it (`cargo bench --bench scale`). Milliseconds of
processor time, one interval; `grouped` are the ten largest groups:

TEXT
table '. as $all | (["flows", "top 10", "by process", "by unit", "by remote", "all in order", "JSON of the top 10", "JSON of all", "bytes of it",
        "table: taking in", "drawing", "a key that sorts", "that groups"] | row, rule),
    ($all.scale[] | select(.top_ms) | [.flows, (.top_ms, .by_process_ms, .by_unit_ms, .by_remote_ms, .all_ms, .json_top_ms, .json_all_ms | round_to(100)),
        .json_all_bytes, (.taken_ms, .drawn_ms, .sort_ms, .group_ms | round_to(100))] | row)'
cat <<'TEXT'

Memory in MiB: what the live table keeps, the most it took, an interval that came in included, and how
often it asked for memory in an interval; the most that ordering and writing all flows as JSON takes
beside the interval. Then of the whole program, from the collector on, after some seconds:

TEXT
table '. as $all | def run($flows; $output): $all.scale | map(select(.program == $output and .flows == $flows)) | .[0];
    (["flows", "table keeps", "at most", "allocations", "JSON of all, at most", "table, resident", "at most", "top 10 as JSON, resident", "at most"] | row, rule),
    ($all.scale[] | select(.top_ms) | . as $it | [.flows, (.kept_mib, .most_mib | round_to(10)), .allocations, (.stream_most_mib | round_to(10)),
        (("table", "json") as $output | run($it.flows; $output) | (.rss_mib, .most_rss_mib))] | row)'
if [ -s "$results/screen.txt" ]; then
    printf '\n## The live table\n\nTaking in an interval, ranking and drawing (`cargo bench --bench screen`):\n\n```\n'
    cat "$results/screen.txt"
    echo '```'
fi
