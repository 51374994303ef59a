#!/bin/sh
# Runs in the VM: flowtop is killed and ended, and nothing of it may stay in the
# kernel: no program, map, link, probe, trampoline or pin. Kernels take things down
# after a grace period, so that is awaited, with a bound.
#
#   leftover.sh MOMENTS BACKEND…
#
# MOMENTS: how many more it is killed at, at random, while it starts or has just begun.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
wait_seconds=120
moments=$1
shift

# Everything that flowtop could leave. bpftool's own helpers come and go with it.
snapshot() {
    for kind in prog map link; do
        bpftool $kind list | sed -n "/pid_iter\|libbpf_/d; s/^\([0-9][0-9]*:.*\)/$kind \1/p"
    done
    sed 's/^/kprobe event /' /sys/kernel/tracing/kprobe_events
    sed 's/^[0-9a-f]* */kprobe /' /sys/kernel/debug/kprobes/list
    sed 's/^/ftrace /' /sys/kernel/tracing/enabled_functions
    find /sys/fs/bpf -mindepth 1
}

# await SECONDS COMMAND…: until it succeeds.
await() {
    tries=$(($1 * 5))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        usleep 200000
    done
}
clean() { [ "$(snapshot)" = "$before" ]; }
# Until it is waited for, a dead child is a zombie that kill -0 still finds.
gone() { ! grep -q ') [^ZX] ' "/proc/$pid/stat" 2>/dev/null; }
shows() { [ -s /tmp/flowtop.out ] || gone; }
# Hundredths of a second since boot.
now() { sed 's/\([0-9]*\)\.\([0-9]*\) .*/\1\2/' /proc/uptime; }
start() {
    : >/tmp/flowtop.out
    flowtop --backend "$backend" --batch -i 300ms >/tmp/flowtop.out 2>/tmp/flowtop.err &
    pid=$!
}
left() {
    echo "FAILED $1: left in the kernel after $wait_seconds s:"
    echo "$before" >/tmp/before
    snapshot | grep -vxF -f /tmp/before | sed 's/^/    /'
    failed=$((failed + 1))
}

before=$(snapshot)
passed=0 failed=0
for backend in "$@"; do
    for signal in KILL TERM; do
        what="$backend, SIG$signal"
        began=$(now)
        start
        if ! await 90 shows || gone; then
            echo "FAILED $what: flowtop did not come up:"
            sed 's/^/    /' /tmp/flowtop.err
            failed=$((failed + 1))
            kill -KILL $pid 2>/dev/null
            wait $pid 2>/dev/null
            await $wait_seconds clean
            continue 2 # nor will it again
        fi
        took=$(($(now) - began))
        # The list is worth something only if it sees flowtop while it runs.
        seen=$(snapshot)
        kill -$signal $pid
        if ! await $wait_seconds gone; then
            echo "FAILED $what: it is still there after $wait_seconds s"
            failed=$((failed + 1))
            kill -KILL $pid
        fi
        wait $pid 2>/dev/null
        if ! echo "$seen" | grep -q '^prog '; then
            echo "FAILED $what: bpftool saw no program of flowtop's while it ran"
            failed=$((failed + 1))
        elif await $wait_seconds clean; then
            echo "ok     $what: $(echo "$seen" | grep -c .) objects while it ran, none after it"
            passed=$((passed + 1))
        else
            left "$what"
        fi
    done
    # Any moment of the start, and a little of what follows.
    i=0 when=
    while [ $i -lt "$moments" ]; do
        i=$((i + 1))
        moment=$(((RANDOM * 32768 + RANDOM) % (took * 5 / 4 + 1)))
        start
        usleep $((moment * 10000))
        kill -KILL $pid 2>/dev/null
        wait $pid 2>/dev/null
        when="$when $((moment * 10))"
        if ! await $wait_seconds clean; then
            left "$backend, SIGKILL after $((moment * 10)) ms"
            break
        fi
    done
    if [ "$moments" -gt 0 ] && clean; then
        echo "ok     $backend, SIGKILL after (ms):$when: nothing stayed"
        passed=$((passed + 1))
    fi
    # Whoever kills the guard of the probe events too leaves them to the next flowtop.
    case $backend in *kprobe*)
        start
        await 90 shows
        kill -KILL $pid $(pidof flowtop-guard) 2>/dev/null
        wait $pid 2>/dev/null
        start
        await 90 shows
        kill -TERM $pid
        wait $pid 2>/dev/null
        if await $wait_seconds clean; then
            echo "ok     $backend, SIGKILL of the guard too: the next flowtop cleared up"
            passed=$((passed + 1))
        else
            left "$backend, SIGKILL of the guard too, and a flowtop after it"
        fi
        ;;
    esac
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
