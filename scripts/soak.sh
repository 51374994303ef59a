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
#
# The samples are in target/soak/KERNEL.jsonl.
set -euo pipefail
built=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."

kernel=${KERNEL:-7.2} seconds=${SECONDS_LONG:-3600}
mkdir -p target/soak
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
tests/vm/run.sh --kernel "$kernel" --mem 3G --timeout $((seconds + 900)) --log "target/soak/$kernel.console" \
    --out "$work" --file "$built/flowtop:/bin/flowtop" --file "$built/examples/traffic:/bin/traffic" -- \
    "traffic soak --flowtop /bin/flowtop --backend ${BACKEND:-auto} --seconds $seconds --samples /out/samples.jsonl" ||
    status=$?
[ ! -f "$work/samples.jsonl" ] || cp "$work/samples.jsonl" "target/soak/$kernel.jsonl"
exit $status
