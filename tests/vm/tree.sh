#!/bin/sh
# Runs in the VM: `flowtop run` and the filter word `tree` count every byte of a process and its
# descendants, those that come later and those whose parent has ended, and of no other process.
#
#   tree.sh BACKEND…
export PATH=/bin:/sbin:/usr/bin:/usr/sbin

# listen N: N listeners, each for one connection, whose bytes belong to no tree of this test.
listen() {
    ports='' n=$1
    while [ "$n" -gt 0 ]; do
        port=$((port + 1)) n=$((n - 1))
        nc -l -p $port >/dev/null &
        ports="$ports $port"
        until grep -q "$(printf ':%04X .* 0A ' $port)" /proc/net/tcp /proc/net/tcp6; do usleep 100000; done
    done
}

# sent FILE: the number of flows in it that sent bytes, and their sum.
sent() {
    sed 's/{/\n/g' "$1" | grep -v '"type":"\(interval\|run\)"' | sed -n 's/.*"tx_bytes":\([0-9]*\)[,}].*/\1/p' |
        awk '$1 > 0 { flows++; sum += $1 } END { print flows + 0, sum + 0 }'
}

# check WHAT FOUND EXPECTED FILE
check() {
    if [ "$2" = "$3" ]; then
        echo "ok     $1: $2"
        passed=$((passed + 1))
    else
        echo "FAILED $1: $2, not $3:"
        cat "$4"
        failed=$((failed + 1))
    fi
}

# The shell, a child, and a grandchild that waits until its parent has ended. Then the exit code.
cat >/tmp/family <<'TEXT'
traffic send 127.0.0.1:$1 1111
(traffic send 127.0.0.1:$2 2222)
mkfifo /tmp/ended /tmp/sent
((read -r _ </tmp/ended; traffic send 127.0.0.1:$3 3333; echo >/tmp/sent) &)
echo >/tmp/ended
read -r _ </tmp/sent
rm /tmp/ended /tmp/sent
exit 7
TEXT

passed=0 failed=0 port=4000
for backend in "$@"; do
    listen 3
    # shellcheck disable=SC2086 # a list
    flowtop run --backend "$backend" --json -- sh /tmp/family $ports 2>/tmp/run
    check "$backend, run: exit code" $? 7 /tmp/run
    tail -n 1 /tmp/run >/tmp/summary
    check "$backend, run: senders and bytes" "$(sent /tmp/summary)" "3 6666" /tmp/run

    listen 4
    outsider=${ports##* }
    mkfifo /tmp/go
    # shellcheck disable=SC2016,SC2086
    sh -c 'read -r _ </tmp/go; sh /tmp/family "$@"; true' sh $ports &
    root=$!
    : >/tmp/tree
    flowtop --backend "$backend" --json -n 0 -i 300ms tree $root >/tmp/tree 2>/tmp/tree.err &
    pid=$!
    until grep -q '"type":"interval"' /tmp/tree || ! kill -0 $pid; do usleep 100000; done
    echo >/tmp/go
    traffic send "127.0.0.1:$outsider" 5555
    wait $root
    kill -TERM $pid
    wait $pid
    rm /tmp/go
    check "$backend, tree: senders and bytes" "$(sent /tmp/tree)" "3 6666" /tmp/tree
done
wait
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
