#!/usr/bin/env bash
# What flowtop adds to a send or a receive, in instructions: emulated machines with one CPU whose
# clock counts instructions, so that a nanosecond is an instruction and a run repeats to 0.1 %.
#
#   benches/hotpath.sh [KERNEL]…     5.10, 6.1, 6.12, 7.2, native; all of them if none is named
#
# native is this machine as it is, in nanoseconds, with the backends that work here.
#
# Writes target/bench/hotpath-KERNEL.jsonl, and a table on stdout. Needs what `make deps-test`
# installs; builds what it runs. RUNS=3 runs of each, of which the least counts (9 natively, and the
# median). FLOWTOP=… measures another binary. TRAFFIC="tcp4 tcp6 udp4 unix" is what is sent by.
# BACKENDS="raw_tracepoint tracepoint fentry kprobe". POSSIBLE=128 gives the guest as many possible CPUs,
# of which one is there.
set -euo pipefail
cd "$(dirname "$0")/.."

kernels=("$@")
if [ $# -eq 0 ]; then kernels=(5.10 6.1 6.12 7.2 native); fi
. benches/common.sh
build
clang -O2 -g -target bpf -Wall -Werror -c benches/empty.bpf.c -o "$results/empty.bpf.o"

# In the guest, or here. Each measurement on a fresh load, so that runs differ in what they may differ in.
cat >"$results/hotpath-guest.sh" <<'GUEST'
measure() { # METHOD
    flows=0
    case $1 in *', full') flows=400 ;; esac
    for traffic in $TRAFFIC; do
        printf '{"run":%d,"method":"%s","traffic":"%s","insn":%s}\n' $run "$1" "$traffic" "$(load hot "$traffic" --flows $flows)" >>"$OUT/hotpath.jsonl"
    done
}
stop() { kill "$pid"; wait "$pid" 2>/dev/null; }
# await FILE WORD METHOD: until it stands there, or the process is gone.
await() {
    until grep -q "$2" "$1"; do
        kill -0 "$pid" 2>/dev/null || { echo "$3 does not attach:"; tail -n 3 "$1"; return 1; }
        sleep 0.1
    done
    sleep 1 # of the guest's time: its threads come to rest
}
empty() { # METHOD PROGRAM…
    method=$1
    shift
    : >"$OUT/log"
    load empty "$OBJECT" "$@" >"$OUT/log" 2>&1 &
    pid=$!
    if await "$OUT/log" attached "$method"; then measure "$method"; fi
    stop
}
backend() { # METHOD BACKEND [OPTION…]
    method=$1 backend=$2
    shift 2
    : >"$OUT/log"
    flowtop --json -v -i 1h --backend "$backend" "$@" >"$OUT/out" 2>"$OUT/log" &
    pid=$!
    if await "$OUT/log" "$backend backend: " "$method"; then measure "$method"; fi
    stop
}
run=0
while [ $run -lt "$RUNS" ]; do
    measure none
    for each in $BACKENDS; do
        case $each in
        raw_tracepoint)
            [ -d /sys/kernel/tracing/events/sock/sock_send_length ] || continue
            empty empty-raw_tracepoint rt_send rt_recv
            ;;
        tracepoint)
            [ -d /sys/kernel/tracing/events/sock/sock_send_length ] || continue
            empty empty-tracepoint tp_send tp_recv
            ;;
        fentry) empty empty-fentry fx_send fx_recv ;;
        kprobe)
            empty empty-kprobe kp_send kp_recv
            empty empty-kretprobe kr_send kr_recv
            empty empty-kprobe+kretprobe kp_send kp_recv kr_send kr_recv
            ;;
        esac
        backend "$each" "$each"
        # Traffic that a filter does not mean: what it costs that the kernel decides.
        backend "$each, not of pid 1" "$each" pid 1
        backend "$each, not of port 1" "$each" port 1
        # Flows of a process that has used up its share of the map.
        backend "$each, full" "$each" --max-flows 64
    done
    run=$((run + 1))
done
GUEST

for kernel in "${kernels[@]}"; do
    out=$results/hotpath-$kernel
    settings="TRAFFIC='${TRAFFIC:-tcp4 tcp6 udp4 unix}' BACKENDS='${BACKENDS:-raw_tracepoint tracepoint fentry kprobe}'"
    rm -rf "$out"
    mkdir -p "$out/bin"
    if [ "$kernel" = native ]; then
        cp "$flowtop" "$out/bin/flowtop"
        cp "$load" "$out/bin/load"
        # tracefs for oneself, as flowtop does; kprobes and trampolines only where the kernel has them.
        mount="[ -e /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing"
        can="[ -e /sys/kernel/tracing/kprobe_events ] && [ -e /sys/kernel/tracing/enabled_functions ]"
        # Ahead of all else, as a session of its own; see `first` in common.sh.
        first="renice -n -20 -p \$\$ >/dev/null; [ ! -e /proc/self/autogroup ] || echo -20 >/proc/self/autogroup"
        "${sudo[@]}" env PATH="$(realpath "$out/bin"):$PATH" setsid -w unshare -m sh -c "$first; $mount; $settings; $can || BACKENDS='${BACKENDS:-raw_tracepoint tracepoint}'
            RUNS=${RUNS:-9} OUT=$out OBJECT=$results/empty.bpf.o; . $results/hotpath-guest.sh" >&2
    else
        tests/vm/run.sh --kernel "$kernel" --icount ${POSSIBLE:+--smp "1,maxcpus=$POSSIBLE" --mem 2G} --timeout 3600 --out "$out" --log "$results/hotpath-$kernel.console" \
            --file "$flowtop:/bin/flowtop" --file "$load:/bin/load" \
            --file "$results/empty.bpf.o:/root/empty.bpf.o" --file "$results/hotpath-guest.sh:/root/guest.sh" -- \
            "$settings RUNS=${RUNS:-3} OUT=/out OBJECT=/root/empty.bpf.o; . /root/guest.sh" >&2
    fi
    # Above no program: of instructions the least, and how far the runs are apart; of nanoseconds the
    # median of what each run has above its own without, as the machine is not the same all the time.
    jq -cn --arg kernel "$kernel" '
        [inputs] as $all | ($all | map(select(.method == "none")) | INDEX("\(.run) \(.traffic)")) as $without
        | $all | group_by([.method, .traffic])
        | map(.[0] + {least: (map(.insn) | min), most: (map(.insn) | max)})
        | (map(select(.method == "none")) | INDEX(.traffic)) as $none
        | .[] | . as $it | {kernel: $kernel, method, traffic, insn: .least, apart: (.most - .least | round),
            above: (if $kernel == "native" then
                [$all[] | select(.method == $it.method and .traffic == $it.traffic)
                    | .insn - $without["\(.run) \(.traffic)"].insn] | sort | .[length / 2 | floor]
                else .least - $none[.traffic].least end | round)}
        ' "$out/hotpath.jsonl" >"$results/hotpath-$kernel.jsonl"
    unit=instructions
    if [ "$kernel" = native ]; then unit=nanoseconds; fi
    echo "$kernel: $unit per call above no program (runs apart by)"
    # shellcheck disable=SC2016
    jq -rn '
        [inputs] | (map(.traffic) | unique) as $traffic | INDEX("\(.method) \(.traffic)") as $at
        | (["method", $traffic[]] | @tsv),
          (map(.method) | unique | sort_by([. != "none", (startswith("empty") | not)]) | .[] as $m
            | [$m, ($traffic[] | $at["\($m) \(.)"]
              | if $m == "none" then "\(.insn) in all (\(.apart))" else "\(.above) (\(.apart))" end)] | @tsv)
        ' "$results/hotpath-$kernel.jsonl" | column -t -s $'\t'
done
