#!/bin/sh
# Runs in the VM, as root: what flowtop needs, backend by backend, as the user nobody. With exactly these
# capabilities it counts and sees every path; while it runs it has given them up, in every thread and in
# its guard; without any single one it ends, or says what is unseen, and names the one that is missing.
# Then the doctor. Cells go to /out/privileges, one a line: backend, perf_event_paranoid, capabilities, left.
#
#   privileges.sh BACKEND…
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
paranoid=/proc/sys/kernel/perf_event_paranoid
passed=0 failed=0
ok() { passed=$((passed + 1)); echo "ok     $*"; }
bad() { failed=$((failed + 1)); echo "FAILED $*"; sed '/^libbpf: /d; s/^/    /' /tmp/err; }

# Before 5.11 maps are locked memory. Before 5.19 every bpf() call needs CAP_BPF.
case $(uname -r) in
5.10.*) memory=sys_resource bpf=0000008000000000 admin=0000000000200000 ;;
*) memory='' bpf=0000000000000000 admin=0000000000000000 ;;
esac

# as_nobody CAPABILITIES: the words before a command; util-linux's setpriv, as the applet does less.
as_nobody() {
    list=-all
    for capability in $1; do list=$list,+$capability; done
    echo "privset --reuid nobody --regid nogroup --clear-groups --bounding-set $list --inh-caps $list \
        --ambient-caps $list"
}

# given_up PID: whether each thread of it and of its guard is nobody's and has nothing but what is left.
given_up() {
    children=$(grep -lx "PPid:	$1" /proc/[0-9]*/status | cut -d / -f 3)
    for process in "$1" $children; do
        expected=$left
        # The guard needs no bpf() at all.
        [ "$process" = "$1" ] || expected=0000000000000000
        for status in /proc/"$process"/task/*/status; do
            for line in "CapPrm:	$expected" "CapEff:	$expected" 'NoNewPrivs:	1' 'Seccomp:	2' \
                'Uid:	65534	65534	65534	65534'; do
                grep -qx "$line" "$status" || { echo "$status: not $line" >>/tmp/err; return 1; }
            done
        done
    done
}

# any_of WORD VALUE…: as part of a filter.
any_of() {
    word=$1
    shift
    echo "$word ($(echo "$@" | sed 's/ / or /g'))"
}

# Every list of the kernel's part of a filter is full.
networks=$(for n in 1 2 3 4; do echo "10.$n.0.0/16 2001:db8:$n::/48"; done)
largest="($(any_of pid $(seq 100000 100063)) or $(any_of tid $(seq 200000 200063))) and \
$(any_of user $(seq 5000 5015)) and $(any_of netns $(seq 1 8)) and \
$(any_of 'local port' $(seq 1 2 31)) and $(any_of 'remote port' $(seq 1 2 31)) and \
$(any_of port $(seq 1 2 31)) and $(any_of 'local net' $networks) and \
$(any_of 'remote net' $networks) and $(any_of net $networks)"

# What this kernel has and no backend sees.
zcrx=$(grep -q ' io_zcrx_recv_skb$' /proc/kallsyms && echo '"uring_zcrx"')

with() { # COMMAND to start flowtop by; FILTER, if any
    : >/tmp/out # of the last one; its first line is waited for
    $1 flowtop --backend "$backend" --json -i 100ms ${2:+"$2"} >/tmp/out 2>/tmp/err &
    pid=$!
    until [ -s /tmp/out ] || ! kill -0 $pid 2>/dev/null; do usleep 20000; done
    given_up $pid || { kill $pid; wait $pid; return 1; }
    kill -INT $pid
    wait $pid && grep -q "\"unseen\":\[$zcrx\]" /tmp/out && ! grep -q 'too large' /tmp/out
}

without() { # CAPABILITIES MISSING
    run="$(as_nobody "$1") flowtop --backend $backend --json -c 1 -i 10ms"
    # What works all the same, for all but some paths; -v says why, and costs time.
    case $backend,$2 in
    fentry,dac_override) $run -v >/tmp/out 2>/tmp/err && 
        grep -q "\"unseen\":\[${zcrx:+$zcrx,}\"zerocopy_receive\"\]" /tmp/out ;;
    # Without kprobes it takes hooks of the root cgroup, which CAP_SYS_ADMIN may load; else it counts
    # every byte, and peers of unconnected UDP are unseen.
    raw_tracepoint,dac_override)
        $run -v >/tmp/out 2>/tmp/err && { [ $level = 3 ] || grep -q '"udp_send_peer"' /tmp/out; } ;;
    *) ! $run >/tmp/out 2>/tmp/err ;;
    esac && sed -i '/^libbpf: /d' /tmp/err && grep -qi "cap_$2" /tmp/err
}

# Root, who becomes nobody, needs nothing but what this kernel asks of every call.
echo 3 >$paranoid
for backend in "$@"; do
    left=$bpf
    if with '' "$largest"; then
        ok "$backend: root becomes nobody, and the verifier takes the largest filter"
        echo "$backend any root $left" >>/out/privileges
    else
        bad "$backend: root becomes nobody"
    fi
done

for level in 3 2; do
    echo $level >$paranoid
    for backend in "$@"; do
        # CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON.
        if [ $level = 3 ]; then needed=sys_admin left=$admin; else needed="bpf perfmon" left=$bpf; fi
        needed="$needed dac_override $memory"
        what="$backend, perf_event_paranoid $level"
        if with "$(as_nobody "$needed")"; then
            ok "$what: with $needed"
            echo "$backend $level $(echo $needed | tr ' ' ,) $left" >>/out/privileges
        else
            bad "$what: with $needed"
        fi
        for one in $needed; do
            rest=$(for each in $needed; do [ "$each" = "$one" ] || echo "$each"; done)
            if without "$rest" "$one"; then ok "$what: without $one: $(tail -n 1 /tmp/err | cut -c 1-110)"
            else bad "$what: without $one it does not say so"; fi
        done
    done
done

if flowtop --doctor >/tmp/err 2>&1 && [ "$(grep -c '^  ok .* exact: ' /tmp/err)" -gt $# ]; then
    ok 'the doctor finds every backend exact'
    cat /tmp/err
else
    bad 'the doctor:'
fi
if $(as_nobody '') flowtop --doctor >/tmp/err 2>&1 || ! grep -q 'FAIL .*capabilities' /tmp/err; then
    bad 'the doctor without privileges:'
else
    ok 'the doctor explains itself without privileges'
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
