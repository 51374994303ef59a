#!/bin/sh
# Runs in the VM: flowtop is killed and ended, and nothing of it may stay in the
# kernel: no program, map, link, probe, trampoline or pin. Kernels take things down
# after a grace period, so that is awaited, with a bound.
#
#   leftover.sh BACKEND…
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
wait_seconds=30

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

before=$(snapshot)
passed=0 failed=0
for backend in "$@"; do
    for signal in KILL TERM; do
        what="$backend, SIG$signal"
        : >/tmp/flowtop.out
        flowtop --backend "$backend" --batch -i 300ms >/tmp/flowtop.out 2>/tmp/flowtop.err &
        pid=$!
        if ! await 90 shows || gone; then
            echo "FAILED $what: flowtop did not come up:"
            sed 's/^/    /' /tmp/flowtop.err
            failed=$((failed + 1))
            kill -KILL $pid 2>/dev/null
            wait $pid 2>/dev/null
            await $wait_seconds clean
            break # nor will it for the other signal
        fi
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
            echo "FAILED $what: left in the kernel after $wait_seconds s:"
            echo "$before" >/tmp/before
            snapshot | grep -vxF -f /tmp/before | sed 's/^/    /'
            failed=$((failed + 1))
        fi
    done
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
