"""flowtop: every flow of every interval, as JSON Lines."""

import json

TITLE = "flowtop"
# What is counted: payload of socket calls.
LAYER = "call"
WHERE = "host"
CLAIMS = {"tcp", "udp", "icmp", "sctp", "raw", "frames"}
FLOWS = True
OWNERS = True
SIGNAL = "INT"
SECONDS = (2, 2)
VERSION = "flowtop --version"
SETTINGS = "--json -n 0"
COMMAND = "flowtop --json -n 0"


def rows(text, run):
    """Flows of the near end's network namespace, summed over all intervals."""
    for line in text.splitlines():
        record = json.loads(line)
        if record["type"] == "flow" and record["netns"] == run.netns:
            yield {
                "pid": record["pid"],
                "name": record["process"],
                "flow": (record["proto"], record["local_port"], record["remote_port"]),
                "rx": record["rx_bytes"],
                "tx": record["tx_bytes"],
            }


def own_losses(text):
    """What flowtop itself said that it did not see."""
    missed = untracked = 0
    unseen = set()
    for line in text.splitlines():
        record = json.loads(line)
        if record["type"] == "interval":
            missed += record.get("missed_events", 0)
            untracked += record["untracked_rx_bytes"] + record["untracked_tx_bytes"]
            unseen.update(record["unseen"])
    return missed, untracked, unseen
