"""nethogs: packets by process, found in /proc."""

TITLE = "nethogs"
LAYER = "frame"
WHERE = "near"
CLAIMS = {"tcp", "udp"}
FLOWS = False
OWNERS = True
SIGNAL = "INT"
SECONDS = (2, 3)
VERSION = "nethogs -V"
# -C: UDP too; -v 2: totals in bytes, of which six digits are printed.
SETTINGS = "-t -a -C -v 2"
COMMAND = "stdbuf -oL nethogs -t -a -C -v 2 $device"
DIGITS = 6


def rows(text, run):
    """The largest total of each process: totals of ended processes leave the list."""
    totals = {}
    for line in text.splitlines():
        parts = line.split("\t")
        if len(parts) != 3 or parts[0].count("/") < 2:
            continue
        name, pid, _ = parts[0].rsplit("/", 2)
        tx, rx = (round(float(part)) for part in parts[1:])
        known = totals.setdefault((name, pid), [0, 0])
        known[0], known[1] = max(known[0], rx), max(known[1], tx)
    for (name, pid), (rx, tx) in totals.items():
        yield {"pid": int(pid) or None, "name": name, "flow": None, "rx": rx, "tx": tx}
