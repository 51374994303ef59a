#!/usr/bin/env bash
# What traffic still gets through beside flowtop, and beside the peers that are on this machine:
# runs without, with, without, with …, the programs by turns. Each run with a program is held against
# the mean of the runs without just before and just after it, so that what else the machine does, and
# how it drifts, strikes both. Natively, over loopback, each program in a terminal of its own, as one
# would use it.
#
#   benches/load.sh [SUBJECT]…     bare, empty-raw_tracepoint, empty-tracepoint, flowtop-BACKEND, nethogs,
#                                  iftop, bandwhich, rustnet, tcptop;
#                                  whatever works here if none is named
#
# Writes target/bench/load.jsonl, a pair a line, and a table on stdout: medians, each with the 95 %
# confidence interval of the median by the order of the pairs, which assumes nothing of how they are
# spread. `bare` is pairs without anything: its distance from 1 is noise. Both ends on one CPU, where
# processor time is all there is and runs differ least, with the program on the other; and on two, with
# the program where it likes, where waking up weighs more than any counting. All of it runs ahead of whatever else the machine does (nice -20).
# Needs root, tmux and two CPUs; builds what it runs. `make bench-peers` installs the peers.
# PAIRS=21 (ten minutes with four peers), SECONDS_EACH=0.15, KINDS="stream small pingpong udp churn",
# CPUS="one two", FLOWTOP=… another binary. `empty` is a pair of programs that do nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

. benches/common.sh
build
as_root "$@"
PATH=$PATH:$cache/peers/bin
read -ra kinds <<<"${KINDS:-stream small pingpong udp churn}"
read -ra cpu_counts <<<"${CPUS:-one two}"
pairs=${PAIRS:-21} seconds=${SECONDS_EACH:-0.15}
command -v tmux >/dev/null || { echo "load: needs tmux: make deps-test" >&2; exit 1; }

clang -O2 -g -target bpf -Wall -Werror -c benches/empty.bpf.c -o "$results/empty.bpf.o"
first $$

command_of() { # SUBJECT
    case $1 in
    bare) echo "sleep 1000" ;;
    empty-raw_tracepoint) echo "$load empty $results/empty.bpf.o rt_send rt_recv" ;;
    # libbpf looks for the tracepoint in tracefs.
    empty-tracepoint)
        echo "unshare -m sh -c '[ -e /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing
            exec $load empty $results/empty.bpf.o tp_send tp_recv'"
        ;;
    flowtop-*) echo "$flowtop --backend ${1#flowtop-}" ;;
    nethogs) echo "nethogs -a lo" ;;
    iftop) echo "iftop -i lo -n -P" ;;
    bandwhich) echo "bandwhich -i lo -n" ;;
    rustnet) echo "rustnet -i lo --show-localhost" ;;
    tcptop) echo tcptop ;;
    *) echo "load: no such subject: $1" >&2; exit 2 ;;
    esac
}

socket=flowtop-bench-$$
pid=
start() { # SUBJECT: fails if it does not run here
    tmux -L $socket -f /dev/null new-session -d -x 160 -y 50 "exec env LC_ALL=C.UTF-8 $(command_of "$1")"
    pid=$(tmux -L $socket list-panes -F '#{pane_pid}') || return 1
    first "$pid" || return 1
    sleep 1 # a peer does not say when it is ready; flowtop takes 0.2 s
    kill -0 "$pid" 2>/dev/null
}
stop() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
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

runs_here() { # SUBJECT
    case $1 in
    flowtop-*) "$flowtop" --backend "${1#flowtop-}" --batch -c 1 -i 0.01 >/dev/null 2>&1 ;;
    *)
        # Some find out late that they lack something.
        local runs=1
        { start "$1" && sleep 3 && kill -0 "$pid"; } 2>/dev/null || runs=0
        stop
        [ $runs = 1 ]
        ;;
    esac
}

subjects=("$@")
if [ $# -eq 0 ]; then
    subjects=(bare)
    for subject in empty-{raw_tracepoint,tracepoint} flowtop-{raw_tracepoint,tracepoint,fentry,kprobe} nethogs iftop bandwhich rustnet tcptop; do
        if [[ $subject != flowtop-* && $subject != empty-* ]] && ! command -v "$subject" >/dev/null; then
            echo "load: no $subject on this machine: make bench-peers" >&2
        elif runs_here "$subject"; then
            subjects+=("$subject")
        else
            echo "load: $subject does not run here" >&2
        fi
    done
fi

# Processor time of the subject so far, in seconds.
used() { awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / tick }' "/proc/$pid/stat"; }
# Runs every kind of traffic with both ends on one CPU, and on two: an object a line.
traffic() {
    local kind cpus
    for cpus in "${cpu_counts[@]}"; do
        [ -z "$pid" ] || taskset -acp "$([ $cpus = one ] && echo 1 || echo 0,1)" "$pid" >/dev/null
        for kind in "${kinds[@]}"; do
            "$load" traffic "$kind" --seconds "$seconds" --near-cpu 0 --far-cpu $([ $cpus = one ] && echo 0 || echo 1) |
                jq -c --arg kind "$kind" --arg cpus $cpus '. + {kind: $kind, cpus: $cpus}'
        done
    done
}

: >"$results/load.jsonl"
before=$(traffic)
for pair in $(seq "$pairs"); do
    for subject in "${subjects[@]}"; do
        start "$subject" || { echo "load: $subject does not run: $(command_of "$subject")" >&2; exit 1; }
        began=$(used) clock=$EPOCHREALTIME
        with=$(traffic)
        # own: processor time of the subject itself meanwhile, as a share of one CPU.
        own=$(awk "BEGIN { print ($(used) - $began) / ($EPOCHREALTIME - $clock) }")
        stop
        after=$(traffic)
        jq -cn --arg subject "$subject" --argjson own "$own" --slurpfile before <(echo "$before") \
            --slurpfile with <(echo "$with") --slurpfile after <(echo "$after") '
            range($with | length) as $i | $with[$i] as $on | [$before[$i], $after[$i]] as $off
            | {subject: $subject, kind: $on.kind, cpus: $on.cpus, own: $own,
                through: ($on.rate * 2 / ($off | map(.rate) | add)),
                processor: ($on.processor_ns * 2 / ($off | map(.processor_ns) | add))}' >>"$results/load.jsonl"
        before=$after
    done
    printf '\rload: pair %d of %d' "$pair" "$pairs" >&2
done
echo >&2

jq -rn --arg kinds "${kinds[*]}" "$(cat benches/median.jq)"'
    [inputs] as $all | ($kinds / " ") as $kinds | ($all | map(.cpus) | unique) as $counts
    | ($all | map(.subject) | reduce .[] as $s ([]; if index($s) then . else . + [$s] end)) as $subjects
    | (["", ($counts[] | . as $cpus | $kinds[] | "\(.) \($cpus)"), "own"] | @tsv),
      ($subjects[] as $s | [$s, ($counts[] as $cpus | $kinds[] as $k
          | $all | map(select(.subject == $s and .kind == $k and .cpus == $cpus).through) | median_interval),
          ($all | map(select(.subject == $s).own) | median | round_to(100))] | @tsv)
    ' "$results/load.jsonl" | column -t -s $'\t'
