"""rustnet: packets by connection and process, found by BPF where the kernel lets it, else in /proc."""

import json

TITLE = "rustnet"
# Its own length of a packet: 14 bytes of Ethernet and what the IP header says.
LAYER = "frame"
WHERE = "near"
CLAIMS = {"tcp", "udp", "icmp"}
FLOWS = True
OWNERS = True
SIGNAL = "INT"
SECONDS = (4, 4)
VERSION = "rustnet --version"
SETTINGS = "--headless --show-localhost --no-dpi -r 500"
COMMAND = "rustnet --headless --show-localhost --no-dpi --no-resolve-dns -r 500 -i $device"


def rows(text, run):
    """The largest sums of each connection: a snapshot has those of its time, and its ids never return."""
    totals = {}
    for line in text.splitlines():
        if not line.startswith("{"):
            continue
        snapshot = json.loads(line)
        if snapshot["schema_version"] != 1:
            raise ValueError(f"rustnet: unknown schema {snapshot['schema_version']}")
        for connection in snapshot["connections"]:
            known = totals.setdefault(connection["id"], {"rx": 0, "tx": 0, "pid": None, "name": None})
            known["rx"] = max(known["rx"], connection["traffic"]["bytes_received"])
            known["tx"] = max(known["tx"], connection["traffic"]["bytes_sent"])
            known["flow"] = (connection["protocol"].lower(), connection["local"]["port"], connection["remote"]["port"])
            process = connection["process"] or {}
            known["pid"] = process.get("pid") or known["pid"]
            known["name"] = process.get("name") or known["name"]
    yield from totals.values()
