#!/bin/sh
# Runs scenarios beside one program, and keeps what both wrote. For a plain POSIX shell, as guests have.
#
#   collect.sh OUT TRAFFIC WHERE SIGNAL WARM SETTLE 'SCENARIO…' COMMAND
#
# COMMAND, a line of shell, starts anew for each scenario: WHERE is `near` for the network namespace of the
# scenario's program, `host` for that of this shell. $device in it is the interface of the traffic. WARM and
# SETTLE are the seconds that COMMAND has before and after the traffic; SIGNAL ends it. TRAFFIC_ARGS has more
# arguments for `traffic run`.
#
# OUT gets, for each scenario: .out and .err of COMMAND, .truth and .notes of the generator, .before and .after
# (counters of interfaces), .cost (a line each before and after: uptime, clock ticks, PSS in kB).
set -u
out=$1 traffic=$2 where=$3 signal=$4 warm=$5 settle=$6 scenarios=$7 command=$8
mkdir -p "$out"

mkfifo "$out/hold"
"$traffic" link <"$out/hold" >"$out/link" &
exec 3>"$out/hold"
rm "$out/hold"
until [ -s "$out/link" ]; do sleep 0.1; done
TRAFFIC_LINK=$(cat "$out/link")
export TRAFFIC_LINK
near=${TRAFFIC_LINK%% *}
stat -L -c %i "$near" >"$out/netns"
# By then IPv6 has announced itself.
sleep 4

# Some programs read keys, and would not wait at the end of their input.
mkfifo "$out/keys"
exec 4<>"$out/keys"
rm "$out/keys"

counters() { nsenter --net="$near" cat /proc/self/net/dev; }
# The members of a process group, and their clock ticks.
members() { cat /proc/[0-9]*/stat 2>/dev/null | sed 's/ (.*) / /' | awk -v group="$1" '$4 == group { print $1, $13 + $14 }'; }
cost() {
    members "$1" | {
        ticks=0 memory=0
        while read -r process used; do
            pss=$(awk '$1 == "Pss:" { print $2 }' "/proc/$process/smaps_rollup" 2>/dev/null)
            ticks=$((ticks + used)) memory=$((memory + ${pss:-0}))
        done
        read -r uptime _ </proc/uptime
        echo "$uptime $ticks $memory"
    }
}

for scenario in $scenarios; do
    device=near keep=$out/$scenario
    case $scenario in s16*) device=lo ;; esac
    export device
    enter="nsenter --net=$near"
    [ "$where" = near ] || enter=
    # shellcheck disable=SC2086 # words
    setsid $enter sh -c "exec $command" <&4 >"$keep.out" 2>"$keep.err" 3>&- 4>&- &
    pid=$!
    # Its session comes as soon as this one.
    [ ! -e "/proc/$pid/autogroup" ] || cat /proc/self/autogroup 2>/dev/null | sed 's/.* //' >"/proc/$pid/autogroup" 2>/dev/null
    sleep "$warm"
    # A busy machine takes longer: every program here writes something when it counts.
    tries=0
    until [ -s "$keep.out" ] || [ $tries -ge 300 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    if ! kill -0 $pid 2>/dev/null; then
        echo "$scenario: the program ended by itself" >&2
        tail -n 3 "$keep.err" >&2
        exit 1
    fi
    cost $pid >"$keep.cost"
    counters >"$keep.before"
    # shellcheck disable=SC2086 # words
    "$traffic" run "$scenario" ${TRAFFIC_ARGS:-} >"$keep.truth" 2>"$keep.notes" 3>&-
    counters >"$keep.after"
    if [ -n "${NUDGE:-}" ]; then
        # A datagram to port 9, each second: some print only when a packet comes.
        to=10.99.0.2
        [ "$device" = near ] || to=127.0.0.1
        for _ in $(seq "$settle"); do
            nsenter --net="$near" bash -c "printf x >/dev/udp/$to/9"
            sleep 1
        done
    else
        sleep "$settle"
    fi
    cost $pid >>"$keep.cost"
    kill -s "$signal" $pid 2>/dev/null
    # What does not end by itself in five seconds is ended.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        kill -0 $pid 2>/dev/null || break
        sleep 0.5
    done
    kill -s KILL -- -$pid 2>/dev/null
    wait $pid 2>/dev/null
done
exec 3>&-
wait
