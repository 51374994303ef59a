#!/usr/bin/env bash
# Soaks flowtop in a virtual machine: two of them, one that writes JSON and one on a terminal with
# somebody at its keys, beside traffic of every kind; memory, descriptors, threads and processor time
# must stay as they are, and every byte be counted.
#
#   scripts/soak.sh target/release
#
#   SECONDS_LONG   how long (3600)
#   KERNEL         on which kernel (7.2)
#   BACKEND        by which backend (auto)
#   INTERVAL       seconds between two flips of the maps of the one that writes JSON (1)
#   PAUSE          milliseconds between two calls of a thread of the traffic (10)
#   PREEMPT        preemption modes, each for its share of the time ("lazy full"); the kernel's own without
#
# The samples are in target/soak/KERNEL.jsonl.
set -euo pipefail
built=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."

kernel=${KERNEL:-7.2} seconds=${SECONDS_LONG:-3600}
read -ra modes <<<"${PREEMPT:-}"
append=() prepare=
if [ ${#modes[@]} -gt 0 ]; then
    append=(--append "preempt=${modes[0]}")
    switch=/sys/kernel/debug/sched/preempt
    # A mode that the kernel does not know would be ignored, and the soak with it.
    prepare="grep -F '(${modes[0]})' $switch || exit 1; ("
    for mode in "${modes[@]:1}"; do
        prepare+="sleep $((seconds / ${#modes[@]})); echo $mode >$switch; grep -F '($mode)' $switch; "
    done
    prepare+=":) & "
fi
mkdir -p target/soak
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
tests/vm/run.sh --kernel "$kernel" --mem 3G --timeout $((seconds + 900)) --log "target/soak/$kernel.console" \
    --out "$work" "${append[@]}" --file "$built/flowtop:/bin/flowtop" --file "$built/examples/traffic:/bin/traffic" -- \
    "${prepare}traffic soak --flowtop /bin/flowtop --backend ${BACKEND:-auto} --seconds $seconds \
    --interval ${INTERVAL:-1} --pause ${PAUSE:-10} --samples /out/samples.jsonl" ||
    status=$?
[ ! -f "$work/samples.jsonl" ] || cp "$work/samples.jsonl" "target/soak/$kernel.jsonl"
exit $status
