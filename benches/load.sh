#!/usr/bin/env bash
# What traffic still gets through beside flowtop, and beside the peers that are on this machine:
# runs with and without in pairs, one right after the other, so that what else the machine does
# strikes both. Natively, over loopback, each program in a terminal of its own, as one would use it.
#
#   benches/load.sh [SUBJECT]…     bare, flowtop-BACKEND, nethogs, iftop, bandwhich, rustnet;
#                                  whatever works here if none is named
#
# Writes target/bench/load.jsonl, a pair a line, and a table of medians on stdout; `bare` is pairs
# without anything: their distance from 1 is noise. Both ends on one CPU, where processor time is
# all there is and runs differ least, and on two, where waking up weighs more than any counting.
# All of it runs ahead of whatever else the machine does (nice -20).
# Needs root, tmux and two CPUs; builds what it runs.
# PAIRS=7, SECONDS_EACH=0.3, KINDS="stream small pingpong udp churn", FLOWTOP=… another binary.
#
# nethogs and iftop come from the distribution, bandwhich and rustnet by
#   cargo install --locked --root ~/.cache/flowtop/peers bandwhich rustnet-monitor
set -euo pipefail
cd "$(dirname "$0")/.."

. benches/common.sh
build
as_root "$@"
PATH=$PATH:$cache/peers/bin
read -ra kinds <<<"${KINDS:-stream small pingpong udp churn}"
pairs=${PAIRS:-7} seconds=${SECONDS_EACH:-0.3}
command -v tmux >/dev/null || { echo "load: needs tmux: make deps-test" >&2; exit 1; }

first $$

command_of() { # SUBJECT
    case $1 in
    bare) echo "sleep 1000" ;;
    flowtop-*) echo "$flowtop --backend ${1#flowtop-}" ;;
    nethogs) echo "nethogs -a lo" ;;
    iftop) echo "iftop -i lo -n -P" ;;
    bandwhich) echo "bandwhich -i lo -n" ;;
    rustnet) echo "rustnet -i lo --show-localhost" ;;
    esac
}

subjects=("$@")
if [ $# -eq 0 ]; then
    subjects=(bare)
    for backend in tracepoint fentry kprobe; do
        if "$flowtop" --backend $backend --batch -c 1 -i 0.01 >/dev/null 2>&1; then subjects+=("flowtop-$backend"); fi
    done
    for peer in nethogs iftop bandwhich rustnet; do
        if command -v $peer >/dev/null; then subjects+=("$peer"); else echo "load: no $peer on this machine" >&2; fi
    done
fi

socket=flowtop-bench-$$
pid=
start() { # SUBJECT
    tmux -L $socket -f /dev/null new-session -d -x 160 -y 50 "exec env LC_ALL=C.UTF-8 $(command_of "$1")"
    pid=$(tmux -L $socket list-panes -F '#{pane_pid}')
    first "$pid"
    sleep 1 # a peer does not say when it is ready; flowtop takes 0.2 s
    kill -0 "$pid" 2>/dev/null || { echo "load: $1 does not run here: $(command_of "$1")" >&2; exit 1; }
}
stop() {
    kill "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    tmux -L $socket kill-server 2>/dev/null || true
    pid=
}
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
    tmux -L $socket kill-server 2>/dev/null || true
    [ ! -e /proc/$$/autogroup ] || echo 0 >/proc/$$/autogroup
}
trap cleanup EXIT

# Processor time of the subject so far, in seconds.
used() { awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / tick }' "/proc/$pid/stat"; }
# Runs a kind of traffic with both ends on one CPU, and on two.
traffic() { # KIND
    local one two
    one=$("$load" traffic "$1" --seconds "$seconds" --near-cpu 0 --far-cpu 0)
    two=$("$load" traffic "$1" --seconds "$seconds" --near-cpu 0 --far-cpu 1)
    echo "{\"one\":$one,\"two\":$two}"
}

: >"$results/load.jsonl"
for pair in $(seq "$pairs"); do
    for subject in "${subjects[@]}"; do
        for kind in "${kinds[@]}"; do
            # By turns first and second: neither always gets the machine the other warmed.
            if [ $((pair % 2)) -eq 1 ]; then off=$(traffic "$kind"); fi
            start "$subject"
            before=$(used)
            on=$(traffic "$kind")
            after=$(used)
            stop
            if [ $((pair % 2)) -eq 0 ]; then off=$(traffic "$kind"); fi
            # own: processor time of the subject itself, as a share of one CPU.
            jq -cn --arg subject "$subject" --arg kind "$kind" --argjson off "$off" --argjson on "$on" \
                --argjson own "$(awk "BEGIN { print ($after - $before) / $seconds / 2 }")" '
                ("one", "two") as $cpus | {subject: $subject, kind: $kind, cpus: $cpus, own: $own,
                    through: ($on[$cpus].rate / $off[$cpus].rate),
                    processor: ($on[$cpus].processor_ns / $off[$cpus].processor_ns)}' >>"$results/load.jsonl"
        done
    done
    printf '\rload: pair %d of %d' "$pair" "$pairs" >&2
done
echo >&2

jq -rn --arg kinds "${kinds[*]}" '
    def median: sort | .[length / 2 | floor];
    def two: . * 1000 | round / 1000 | tostring;
    [inputs] as $all | ($kinds / " ") as $kinds
    | ($all | map(.subject) | reduce .[] as $s ([]; if index($s) then . else . + [$s] end)) as $subjects
    | (["", ("one", "two" | . as $cpus | $kinds[] | "\(.) \($cpus)"), "own"] | @tsv),
      ($subjects[] as $s | [$s, (("one", "two") as $cpus | $kinds[] as $k
          | $all | map(select(.subject == $s and .kind == $k and .cpus == $cpus).through) | median | two),
          ($all | map(select(.subject == $s).own) | median | two)] | @tsv)
    ' "$results/load.jsonl" | column -t -s $'\t'
