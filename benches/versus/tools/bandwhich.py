"""bandwhich: packets by connection and process, found in /proc."""

import re

TITLE = "bandwhich"
# IP's payload: the header of TCP or UDP, and data.
LAYER = "transport"
WHERE = "near"
CLAIMS = {"tcp", "udp"}
FLOWS = True
OWNERS = True
SIGNAL = "INT"
# Each second it prints the mean of the last five: their sum is the total if five seconds without traffic come
# before and after.
SECONDS = (6, 7)
VERSION = "bandwhich --version"
# -s: datagrams of port 53 too.
SETTINGS = "--raw -n -s"
COMMAND = "stdbuf -oL bandwhich --raw -n -s -i $device"

LINE = re.compile(r'^connection: <\d+> <\w+>:(\d+) => \S+:(\d+) \((\w+)\) up/down Bps: (\d+)/(\d+) process: "(.*)"')


def rows(text, run):
    """Rates of all seconds, summed by connection and process."""
    totals = {}
    for line in text.splitlines():
        found = LINE.match(line)
        if found:
            local, remote, proto, tx, rx, name = found.groups()
            known = totals.setdefault(((proto, int(local), int(remote)), name), [0, 0, 0])
            known[0] += int(rx)
            known[1] += int(tx)
            # Each mean is cut to whole bytes.
            known[2] += 1
    for (flow, name), (rx, tx, room) in totals.items():
        name = None if name == "<UNKNOWN>" else name
        yield {"pid": None, "name": name, "flow": flow, "rx": rx, "tx": tx, "room": room}
