#!/bin/sh
# Runs in the VM: on a host with the pids controller as a hierarchy of its own (v1,
# hybrid), a process in a container's group there is shown with that group, one in
# its root with that of cgroup v2, also when both are gone when the interval ends.
#
#   hybrid.sh BACKEND…
export PATH=/bin:/sbin:/usr/bin:/usr/sbin

id=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
v1=/tmp/pids v2=/sys/fs/cgroup
mkdir $v1
mount -t cgroup -o pids none $v1 || exit 1

passed=0 failed=0
for backend in "$@"; do
    flowtop --backend "$backend" --json -n 0 -i 1s >/tmp/flowtop.out 2>/tmp/flowtop.err &
    pid=$!
    tries=450
    until [ -s /tmp/flowtop.out ] || [ $tries -eq 0 ]; do
        tries=$((tries - 1))
        usleep 200000
    done
    mkdir -p $v1/docker/$id $v2/system.slice/cron.service
    nc -l -p 4000 >/tmp/first &
    first=$!
    nc -l -p 4001 >/tmp/second &
    second=$!
    for port in 0FA0 0FA1; do
        until grep -q ":$port .* 0A " /proc/net/tcp /proc/net/tcp6; do usleep 100000; done
    done
    traffic send 127.0.0.1:4000 1234 --cgroup $v1/docker/$id --cgroup $v2/system.slice/cron.service
    traffic send 127.0.0.1:4001 4321 --cgroup $v2/system.slice/cron.service
    wait $first $second
    rmdir $v1/docker/$id $v1/docker $v2/system.slice/cron.service $v2/system.slice
    kill -INT $pid
    wait $pid
    for expected in "1234 /docker/$id" "4321 /system.slice/cron.service"; do
        bytes=${expected% *} path=${expected#* }
        if grep "\"cgroup\":\"$path\"" /tmp/flowtop.out | grep -q "\"tx_bytes\":$bytes,"; then
            echo "ok     $backend: $bytes bytes of $path"
            passed=$((passed + 1))
        else
            echo "FAILED $backend: $bytes bytes of $path are not there:"
            cat /tmp/flowtop.out /tmp/flowtop.err
            failed=$((failed + 1))
        fi
    done
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
