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
#   PREEMPT        preemption modes, each in a machine of its own for its share of the time ("lazy full"); the
#                  kernel's own without
#
# The samples are in target/soak/KERNEL.jsonl, those of one mode after those of another.
set -euo pipefail
built=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."

kernel=${KERNEL:-7.2} seconds=${SECONDS_LONG:-3600}
read -ra modes <<<"${PREEMPT:-}"
[ ${#modes[@]} -gt 0 ] || modes=('')
each=$((seconds / ${#modes[@]}))
mkdir -p target/soak
samples=target/soak/$kernel.jsonl
rm -f "$samples"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
# A machine for each mode: changing it patches the code of running CPUs, which the emulator may execute
# half patched.
for mode in "${modes[@]}"; do
    append=() prepare=''
    if [ -n "$mode" ]; then
        append=(--append "preempt=$mode")
        # A mode that the kernel does not know would be ignored, and the soak with it.
        prepare="grep -F '($mode)' /sys/kernel/debug/sched/preempt && "
    fi
    rm -rf "${work:?}"/*
    tests/vm/run.sh --kernel "$kernel" --mem 3G --timeout $((each + 900)) --log "target/soak/$kernel${mode:+-$mode}.console" \
        --out "$work" "${append[@]}" --file "$built/flowtop:/bin/flowtop" --file "$built/examples/traffic:/bin/traffic" -- \
        "${prepare}traffic soak --flowtop /bin/flowtop --backend ${BACKEND:-auto} --seconds $each \
        --interval ${INTERVAL:-1} --pause ${PAUSE:-10} --samples /out/samples.jsonl" ||
        status=$?
    [ ! -f "$work/samples.jsonl" ] || cat "$work/samples.jsonl" >>"$samples"
done
exit $status
