"""picosnitch: socket calls by fexit, summed by connection and process. picosnitch.sh prints its feed of events."""

import json

TITLE = "picosnitch"
LAYER = "call"
WHERE = "host"
CLAIMS = {"tcp", "udp", "icmp", "sctp", "raw"}
FLOWS = True
OWNERS = True
SIGNAL = "TERM"
SECONDS = (12, 10)
# Until it has loaded its programs, or has failed to.
PATIENCE = 40
TROUBLE = "BPF program load failed"
# In an emulated machine it takes a minute to start.
GUEST_SECONDS = (60, 20)
VERSION = "picosnitch version"
SETTINGS = "start-no-daemon, default configuration, events.sock"
COMMAND = "picosnitch.sh"
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp", 136: "udplite"}


def rows(text, run):
    """Connections of the near end's network namespace, summed over all events."""
    for line in text.splitlines():
        event = json.loads(line)
        if event.get("netns") == run.netns and "send" in event:
            proto = PROTOCOLS.get(event["protocol"], "raw")
            yield {
                "pid": event["pid"],
                "name": event["name"],
                "flow": (proto, event["lport"], event["rport"]),
                "rx": event["recv"],
                "tx": event["send"],
            }
