#!/usr/bin/env bash
# Shows where the time of the checks goes:
#
#   scripts/timed.sh NAME COMMAND…     runs the command, and adds its seconds to target/times
#   scripts/timed.sh --begin           empties target/times
#   scripts/timed.sh --table           prints target/times
#
# tests/vm.rs adds the seconds of each guest, indented.
set -euo pipefail

times=${CARGO_TARGET_DIR:-target}/times
case ${1:?see the head of this file} in
--begin)
    mkdir -p "$(dirname "$times")"
    : >"$times"
    ;;
--table)
    printf '\n=== time\n'
    [ ! -e "$times" ] || awk -F '\t' '{ printf "%5d s  %s\n", $1, $2 }' "$times"
    ;;
*)
    name=$1 started=$SECONDS status=0
    shift
    printf '%s\n' "$*"
    "$@" || status=$?
    [ $status -eq 0 ] || name="$name: failed with status $status"
    printf '%d\t%s\n' $((SECONDS - started)) "$name" >>"$times"
    exit $status
    ;;
esac
