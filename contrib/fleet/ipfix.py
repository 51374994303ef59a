#!/usr/bin/env python3
"""Sends flowtop's records as IPFIX (RFC 7011) over UDP, for collectors of NetFlow.

    sudo flowtop --json -n 0 -i 10 | contrib/fleet/ipfix.py 192.0.2.1:4739
    flowtop --json -n 0 --replay day.jsonl.zst | contrib/fleet/ipfix.py '[2001:db8::1]:4739'

A record of flowtop becomes up to two flows, one for each direction that moved bytes, so the sums of all
flows are the sums of all records. The program stands in applicationName (96), which few collectors keep:
IPFIX has no place for the process. Octets are payload. Packets are the packets of TCP segments or datagrams
where flowtop knows them, else calls.

Reads standard input, and needs nothing but Python 3.8.
"""

import ipaddress
import json
import socket
import struct
import sys
import time
from datetime import datetime

# By the words of docs/OUTPUT.md; a socket without a protocol of IP (packet) has 255, which is reserved.
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "dccp": 33, "icmp6": 58, "sctp": 132, "udplite": 136}
# Number and length of the information elements, for IPv4 and IPv6 addresses: source and destination address,
# ports, protocolIdentifier, flowDirection, octetDeltaCount, packetDeltaCount, flowStartMilliseconds,
# flowEndMilliseconds, applicationName.
VARIABLE = 65535
REST = [(7, 2), (11, 2), (4, 1), (61, 1), (1, 8), (2, 8), (152, 8), (153, 8), (96, VARIABLE)]
TEMPLATES = {4: (256, [(8, 4), (12, 4)] + REST), 6: (257, [(27, 16), (28, 16)] + REST)}
INGRESS, EGRESS = 0, 1
# Smaller than what any path takes in one piece (RFC 7011, 10.3.3).
MAX_MESSAGE = 1400
# How often templates are sent again, in messages: UDP may lose them.
TEMPLATES_EVERY = 50


def template_set():
    templates = b""
    for number, elements in TEMPLATES.values():
        fields = b"".join(struct.pack("!HH", *element) for element in elements)
        templates += struct.pack("!HH", number, len(elements)) + fields
    return struct.pack("!HH", 2, 4 + len(templates)) + templates


def flows(record):
    """Version of IP and bytes of each flow of a record."""
    end = int(datetime.fromisoformat(record["time"].replace("Z", "+00:00")).timestamp() * 1000)
    start = end - round(record["seconds"] * 1000)
    ends = []
    for side in ("local", "remote"):
        addr = record.get(side + "_addr", "*")
        ends.append((addr, record.get(side + "_port", 0)))
    # The family of the end that is known.
    version = 6 if any(":" in addr for addr, _ in ends) else 4
    nowhere = "::" if version == 6 else "0.0.0.0"
    packed = []
    for addr, port in ends:
        addr = nowhere if addr == "*" else addr.split("%")[0]
        packed.append((ipaddress.ip_address(addr).packed, port))
    (local, local_port), (remote, remote_port) = packed
    protocol = PROTOCOLS.get(record["proto"], 255)
    if record["proto"] == "raw":
        protocol, local_port = local_port & 0xFF, 0
    name = record.get("process", "").encode()[:254]
    for way, direction in (("rx", INGRESS), ("tx", EGRESS)):
        octets = record[way + "_bytes"]
        if octets == 0:
            continue
        packets = record.get(way + "_packets", record[way + "_msgs"])
        addrs, ports = local + remote, (local_port, remote_port)
        if direction == INGRESS:
            addrs, ports = remote + local, (remote_port, local_port)
        fields = struct.pack("!HHBBQQQQ", *ports, protocol, direction, octets, packets, start, end)
        yield version, addrs + fields + bytes([len(name)]) + name


class Exporter:
    def __init__(self, addr):
        host, _, port = addr.rpartition(":")
        family, kind, _, _, self.addr = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
        self.socket = socket.socket(family, kind)
        self.messages = self.sequence = self.records = 0
        self.version, self.set = None, b""

    def add(self, version, record):
        if version != self.version or len(self.set) + len(record) > MAX_MESSAGE:
            self.flush()
        self.version = version
        self.set += record
        self.records += 1

    def flush(self):
        if not self.records:
            return
        sets = template_set() if self.messages % TEMPLATES_EVERY == 0 else b""
        sets += struct.pack("!HH", TEMPLATES[self.version][0], 4 + len(self.set)) + self.set
        # The sequence counts the data records before this message.
        header = struct.pack("!HHIII", 10, 16 + len(sets), int(time.time()), self.sequence & 0xFFFFFFFF, 0)
        self.socket.sendto(header + sets, self.addr)
        self.messages += 1
        self.sequence += self.records
        self.records, self.set = 0, b""
        if self.messages % 20 == 0:
            # UDP has no flow control, and a replay is faster than any collector.
            time.sleep(0.005)


def main():
    if len(sys.argv) != 2 or not sys.argv[1].rpartition(":")[2].isdigit():
        sys.exit("usage: flowtop --json -n 0 | ipfix.py ADDRESS:PORT")
    exporter = Exporter(sys.argv[1])
    untracked = 0
    for line in sys.stdin:
        record = json.loads(line)
        if record["type"] == "interval":
            # Of the last interval: nothing waits for the next one.
            exporter.flush()
            untracked += record["untracked_rx_bytes"] + record["untracked_tx_bytes"]
        elif record["type"] == "flow":
            for flow in flows(record):
                exporter.add(*flow)
        elif record["rx_bytes"] or record["tx_bytes"]:
            sys.exit("ipfix.py: the input has sums of several flows: call flowtop with --json -n 0, without -g")
    exporter.flush()
    if untracked:
        sys.exit(f"ipfix.py: {untracked} bytes have no process (untracked), and are in no flow")


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        pass
