#!/bin/sh
# Runs in the VM, where nothing is but busybox and the static flowtop: no library, no loader. It
# counts what is sent and received over loopback, to the byte, and knows names of hosts.
#
#   alone.sh BACKEND…
export PATH=/bin:/sbin:/usr/bin:/usr/sbin

if find / -xdev \( -name '*.so' -o -name '*.so.*' -o -name 'ld-*' \) -type f | grep .; then
    echo "there are shared libraries (above): what runs here proves nothing"
    exit 1
fi
bytes=1234567
head -c $bytes /dev/zero >/tmp/sent
# A standard input that does not end: nc would hang up at its end.
mkfifo /tmp/open
exec 3<>/tmp/open

# transfer: sends it once over loopback.
transfer() {
    port=$((port + 1))
    timeout 30 nc -l -p $port <&3 >/tmp/received &
    listener=$!
    until grep -q "$(printf ':%04X .* 0A ' $port)" /proc/net/tcp /proc/net/tcp6; do usleep 100000; done
    timeout 30 nc 127.0.0.1 $port </tmp/sent
    wait $listener
}

# await PATTERN: until it stands in flowtop's output.
await() {
    tries=450
    until grep -q "$1" /tmp/flowtop.out || [ $tries -eq 0 ]; do
        tries=$((tries - 1))
        usleep 200000
    done
}

passed=0 failed=0 port=4000
for backend in "$@"; do
    : >/tmp/flowtop.out # what an earlier one wrote is no sign of this one
    flowtop --backend "$backend" --json -n 0 -i 300ms -x >/tmp/flowtop.out 2>/tmp/flowtop.err &
    pid=$!
    await interval
    # Twice: a name is looked up when an address is first shown, and there from then on.
    transfer
    await '"process":"nc"'
    transfer
    kill -TERM $pid
    wait $pid
    # The sums over all intervals of what nc moved: the sender's and the receiver's.
    sums=$(grep '"process":"nc"' /tmp/flowtop.out | sed 's/.*"rx_bytes":\([0-9]*\),"tx_bytes":\([0-9]*\),.*/\1 \2/' |
        awk '{ rx += $1; tx += $2 } END { print rx, tx }')
    if [ "$sums" = "$((2 * bytes)) $((2 * bytes))" ] && grep -q '"remote_name":"localhost"' /tmp/flowtop.out; then
        echo "ok     $backend: 2 * $bytes bytes both ways, of localhost"
        passed=$((passed + 1))
    else
        echo "FAILED $backend: $sums bytes received and sent by nc, not twice $bytes each, or no name:"
        tail -n 20 /tmp/flowtop.out /tmp/flowtop.err
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
