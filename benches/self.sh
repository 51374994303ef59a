#!/usr/bin/env bash
# What flowtop itself takes: processor time and memory with few and many live flows, time to start,
# memory of its maps, size of its binary.
#
#   benches/self.sh            writes target/bench/{self,start,maps}.json*, tables on stdout
#
# Natively; needs root and tmux; builds what it runs. FLOWTOP=… measures another binary,
# SECONDS_EACH=30 is for how long processor time is counted, FLOWS="0 1000" with how many flows.
set -euo pipefail
cd "$(dirname "$0")/.."

. benches/common.sh
build
as_root "$@"
seconds=${SECONDS_EACH:-30}
first $$

socket=flowtop-bench-$$
generator='' pid=''
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    [ -z "$generator" ] || kill "$generator" 2>/dev/null || true
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    tmux -L $socket kill-server 2>/dev/null || true
    [ ! -e /proc/$$/autogroup ] || echo 0 >/proc/$$/autogroup
}
trap cleanup EXIT

# User and system time of flowtop so far, in ticks.
used() { sed 's/.*) //' "/proc/$pid/stat" | cut -d' ' -f12,13; }

# Processor time of all its threads so far, in nanoseconds: an idle flowtop takes less than a tick.
used_ns() { cat "/proc/$pid"/task/*/schedstat | awk '{ sum += $1 } END { printf "%d", sum }'; }

: >"$results/self.jsonl"
for flows in ${FLOWS:-0 1000 10000 65536}; do
    if [ $flows -gt 0 ]; then
        "$load" flows $flows >"$results/generator" &
        generator=$!
        until grep -q sending "$results/generator"; do kill -0 $generator && sleep 0.1; done
    fi
    for output in table json; do
        command="$flowtop"
        if [ $output = json ]; then command="$flowtop --json >/dev/null"; fi
        tmux -L $socket -f /dev/null new-session -d -x 160 -y 50 "exec env LC_ALL=C.UTF-8 $command"
        pid=$(tmux -L $socket list-panes -F '#{pane_pid}')
        sleep 12 # what was silent for 10 s goes; from then on it stays as it is
        read -r user system < <(used)
        ns=$(used_ns)
        sleep "$seconds"
        read -r user_after system_after < <(used)
        ns=$(($(used_ns) - ns))
        jq -cn --argjson flows $flows --arg output $output --argjson tick "$(getconf CLK_TCK)" --argjson seconds "$seconds" \
            --argjson user $((user_after - user)) --argjson system $((system_after - system)) \
            --argjson rss "$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")" \
            --argjson ns "$ns" --argjson pss "$(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup")" \
            --argjson anon "$(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status")" '
            {flows: $flows, output: $output, user: ($user / $tick / $seconds * 100), system: ($system / $tick / $seconds * 100),
             rss_mib: ($rss / 1024), pss_mib: ($pss / 1024), anonymous_mib: ($anon / 1024), percent: ($ns / $seconds / 1e7)}' >>"$results/self.jsonl"
        if [ $flows -eq 0 ] && [ $output = table ]; then
            "$load" maps "$pid" >"$results/maps.json"
        fi
        kill "$pid"
        while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
        pid=
        tmux -L $socket kill-server 2>/dev/null || true
    done
    if [ -n "$generator" ]; then
        kill $generator
        wait $generator 2>/dev/null || true
        generator=
    fi
done
echo "percent of one core at 1 s, and resident memory in MiB"
jq -rn '["flows", "output", "user", "system", "both", "resident", "PSS", "of it anonymous"], (inputs
    | [.flows, .output, (.user, .system, .percent, .rss_mib, .pss_mib, .anonymous_mib | . * 100 | round / 100)]) | @tsv' \
    "$results/self.jsonl" | column -t -s $'\t'

"$load" start "$flowtop" | jq -c --argjson bytes "$(stat -c %s "$flowtop")" '. + {binary_bytes: $bytes}' >"$results/start.json"
cat "$results/start.json" "$results/maps.json"
