#!/usr/bin/env bash
# What an event costs once its flow is known, on one CPU and on two at once: on one flow, on flows far
# apart, and on flows made one after the other, whose slots share cache lines. Natively, as nothing
# emulated has cache lines; each thread ahead of all else on a CPU of its own (SCHED_FIFO).
#
#   benches/contention.sh          writes target/bench/contention.jsonl, and a table on stdout
#
# Needs root, two CPUs and Linux 5.17 (bpf_loop); builds what it runs.
set -euo pipefail
cd "$(dirname "$0")/.."

. benches/common.sh
build
as_root "$@"
headers=$(find "$target/release/build" -path '*/out/include/bpf/bpf_helpers.h' -print -quit)
case $(uname -m) in
x86_64) arch=x86 ;;
aarch64) arch=arm64 ;;
*) echo "contention: no such architecture: $(uname -m)" >&2; exit 1 ;;
esac
clang -O2 -g -target bpf -mcpu=v3 -Wall -Werror "-D__TARGET_ARCH_$arch" -Ivmlinux -Ibpf \
    -isystem "${headers%/bpf/bpf_helpers.h}" -c benches/contention.bpf.c -o "$results/contention.bpf.o"
"$load" contention "$results/contention.bpf.o" >"$results/contention.jsonl"
jq -rn '["level", "protocol", "alone", "apart", "one flow", "neighbours", "worst"], (inputs
    | [.level, .protocol, .alone, .apart, .one_flow, .neighbours_mean, .neighbours_worst]) | @tsv' \
    "$results/contention.jsonl" | column -t -s $'\t'
