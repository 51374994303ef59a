#!/usr/bin/env bash
# From the flip to the rows, with real flows: the drain (flip, in-kernel drain, records turned into
# flows) and the ranking, in processor time, which leaves out the wait for running programs.
#
#   benches/drain.sh [native] [audit] [guests]       all of them if none is named
#
# native: this machine, 1,000 to 1,000,000 flows, milliseconds. audit: the same with connections of TCP, in
# pairs with and without the audit (PAIRS=9). guests: kernel 6.1 with 2 to 128
# possible CPUs, of which one is there, counting instructions as time (tests/vm/run.sh --icount);
# later kernels do not count CPUs as possible that this emulator might add.
# Writes target/bench/drain-{native,audit,guests}.jsonl. Needs root (native); builds what it runs.
set -euo pipefail
cd "$(dirname "$0")/.."

what=("$@")
if [ $# -eq 0 ]; then what=(native audit guests); fi
. benches/common.sh
build

native() {
    for flows in 1000 10000 65536 1000000; do
        "${sudo[@]}" "$load" drain $flows --rounds $((flows > 100000 ? 3 : 9))
    done
}

audit() {
    local flows pair
    for flows in 9000 65536; do
        for pair in $(seq "${PAIRS:-9}"); do
            "${sudo[@]}" "$load" drain $flows --tcp --rounds 5
            "${sudo[@]}" "$load" drain $flows --tcp --rounds 5 --without-audit
        done
    done
}

guests() {
    local cpus
    for cpus in 2 8 32 128; do
        flows='1000 16384 65536'
        if [ $cpus -eq 2 ]; then flows="$flows 1000000"; fi
        tests/vm/run.sh --kernel 6.1 --icount --smp 1,maxcpus=$cpus --mem 4G --timeout 3600 --quiet \
            --log "$results/drain-$cpus.console" --file "$load:/bin/load" -- \
            "for flows in $flows; do load drain \$flows --rounds \$((flows > 100000 ? 1 : 3)) || exit; done" |
            jq -c --argjson cpus $cpus 'if .cpus == $cpus then . else error("\(.cpus) possible CPUs, not \($cpus)") end'
    done
}

for which in "${what[@]}"; do
    "$which" >"$results/drain-$which.jsonl"
    case $which in
    native | audit) echo "milliseconds of processor time, this machine" ;;
    guests) echo "million instructions, kernel 6.1" ;;
    esac
    jq -rn '["possible CPUs", "flows", "drain", "rank", "both", "a flow, ns or insn", "all as JSON", "audited"],
        (inputs | [.cpus, .flows, .drain_ms, .rank_ms, .all_ms, (.all_ms / .flows * 1e6 | round), .json_all_ms, .audited]) | @tsv' \
        "$results/drain-$which.jsonl" | column -t -s $'\t'
done
