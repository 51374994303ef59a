#!/usr/bin/env bash
# Fuzzes, one target after the other, on one core, and says what came of it:
#
#   scripts/fuzz.sh [TARGET…]        all of them when none is named
#
#   SECONDS_EACH   how long each is fuzzed (60)
#   RUNS           how many executions instead, as in RUNS='filter=300000 1000000': those of
#                  one target, and of all others
#
# Needs cargo-fuzz and a nightly toolchain: cargo install cargo-fuzz; rustup toolchain
# install nightly. What is found stands in fuzz/artifacts, what was learnt in fuzz/corpus;
# a line of figures for each target in target/fuzz/figures.tsv.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'fuzz: %s\n' "$@" >&2; exit 1; }
command -v cargo-fuzz >/dev/null || die "there is no cargo-fuzz: cargo install cargo-fuzz"
cargo +nightly --version >/dev/null 2>&1 || die "there is no nightly toolchain: rustup toolchain install nightly"

[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | grep -v flowtop-fuzz)
figures=target/fuzz/figures.tsv
mkdir -p target/fuzz
# Memory is safe outside of the kernel side: an address sanitizer would cost time and find nothing in
# the rest.
cargo +nightly fuzz build --sanitizer none

failed=0
for target in "$@"; do
    limit=(-max_total_time="${SECONDS_EACH:-60}")
    for runs in ${RUNS:-}; do
        case $runs in
        "$target"=*) limit=(-runs="${runs#*=}"); break ;;
        *=*) ;;
        *) limit=(-runs="$runs") ;;
        esac
    done
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    log=target/fuzz/$target.log
    result=ok
    fuzz/target/*/release/"$target" "${limit[@]}" -max_len=4096 -timeout=120 -rss_limit_mb=2048 \
        -artifact_prefix="fuzz/artifacts/$target/" "fuzz/corpus/$target" "fuzz/seeds/$target" \
        >"$log" 2>&1 || { result=FAILED failed=1; tail -n 30 "$log" >&2; }
    runs=$(sed -n 's/^Done \([0-9]*\) runs in .*/\1/p' "$log")
    spent=$(sed -n 's/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "$log")
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$target" "${runs:-0}" "${spent:-0}" "${edges:-0}" "$result" \
        "$(date -u +%F)" "$(git rev-parse --short HEAD)" | tee -a "$figures"
done
exit $failed
