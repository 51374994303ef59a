#!/usr/bin/env bash
# Runs integration tests beside each other, and prints what each of them wrote when it has ended:
#
#   scripts/beside.sh TEST…
#
# The tests of a binary mostly wait: for an interval, a process, a server. So it runs three for each CPU.
set -euo pipefail

logs=${CARGO_TARGET_DIR:-target}/tests
mkdir -p "$logs"
export logs CARGO=${CARGO:-cargo} threads=$((3 * $(nproc)))

# By xargs and not in the background of this shell, where children would ignore SIGINT.
# shellcheck disable=SC2016
printf '%s\n' "$@" | xargs -P 0 -I TEST bash -c '
    scripts/timed.sh tests/TEST "$CARGO" test --locked --test TEST -- --test-threads "$threads" \
        >"$logs/TEST" 2>&1 </dev/null
    status=$?
    cat "$logs/TEST"
    exit $status'
