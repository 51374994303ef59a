#!/usr/bin/env bash
# Records samples/demo.jsonl.zst anew: 40 seconds of the traffic of `make demo`, for demonstrations and
# tests that need no kernel. Of the machine it says no name and no local version of its kernel.
#
#   scripts/record-sample.sh FLOWTOP TRAFFIC      (as root)
set -euo pipefail

flowtop=$(realpath "$1") traffic=$(realpath "$2")
sample=$(dirname "$(realpath "$0")")/../samples/demo.jsonl.zst
work=$(mktemp -d)
"$traffic" demo --seconds 50 >/dev/null 2>&1 &
generator=$!
trap 'kill "$generator" 2>/dev/null || true; wait "$generator" 2>/dev/null || true; rm -r "$work"' EXIT
sleep 3 # all of it is up and moving

unshare --uts bash -c 'hostname demo; exec "$@"' - \
    "$flowtop" --batch --duration 40 --record "$work/demo.jsonl" 'comm demo-*' >/dev/null
sed -E 's/"kernel_release":"([0-9]+\.[0-9]+)[^"]*"/"kernel_release":"\1"/' "$work/demo.jsonl" |
    zstd -19 -q -f -o "$sample"
ls -l "$sample"
