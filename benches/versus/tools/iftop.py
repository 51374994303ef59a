"""iftop: packets by pair of hosts and ports; it names no process."""

import re

TITLE = "iftop"
LAYER = "ip"
WHERE = "near"
CLAIMS = {"tcp", "udp", "icmp", "sctp", "raw"}
FLOWS = True
OWNERS = False
SIGNAL = "INT"
# Text comes every 2 s, but only if a packet comes; flows without traffic leave the list after 40 s.
NUDGE = True
SECONDS = (3, 7)
VERSION = "iftop -h"
SETTINGS = "-t -n -N -P -B -L 1000"
COMMAND = "stdbuf -oL iftop -t -n -N -P -B -L 1000 -i $device"
DIGITS = 3

LINE = re.compile(r"^\s*\d*\s+(\S+)\s+(=>|<=)\s+\S+\s+\S+\s+\S+\s+([\d.]+)([KMGT]?)B\s*$")
FACTOR = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def rows(text, run):
    """The largest cumulative figure of each pair."""
    totals = {}
    local = None
    for line in text.splitlines():
        found = LINE.match(line)
        if not found:
            continue
        end, arrow, number, unit = found.groups()
        amount = round(float(number) * FACTOR[unit])
        if arrow == "=>":
            local, sent = end, amount
        elif local is not None:
            known = totals.setdefault((local, end), [0, 0])
            known[0], known[1] = max(known[0], amount), max(known[1], sent)
    for (local, remote), (rx, tx) in totals.items():
        # What is sent to make it print, and the answers to that: ICMP, which has no ports.
        is_nudge = remote.endswith(":9") or (":" not in remote and run.scenario[:3] not in ("s05", "s10"))
        if is_nudge:
            continue
        yield {"pid": None, "name": None, "flow": None, "rx": rx, "tx": tx}
