#!/usr/bin/env python3
"""Sends flowtop's groups as metrics of OpenTelemetry, to a collector on this machine: OTLP as JSON over HTTP.

    sudo flowtop --json -n 0 -i 10 -g program | contrib/fleet/otlp.py http://127.0.0.1:4318

Each interval is one request with one metric, `process.network.io` of the semantic conventions: a sum of bytes
with delta temporality, one point for each group and direction, from the beginning of the interval to its end.
Attributes are network.io.direction, and what the group has of process.executable.name, process.pid,
process.owner, container.id, k8s.pod.uid and flowtop.group (its name). Untracked bytes have no group and are
reported on standard error at the end.

A collector that does not answer is tried again with the next interval; what waits is bounded, and what is lost
is reported. Reads standard input, and needs nothing but Python 3.8.
"""

import json
import sys
import urllib.error
import urllib.request
from datetime import datetime

PATH = "/v1/metrics"
# Seconds that a request may take.
TIMEOUT = 5
# Intervals that wait for a collector, at most.
MAX_WAITING = 60
DELTA = 1
ATTRIBUTES = {
    "process": "process.executable.name",
    "pid": "process.pid",
    "user": "process.owner",
    "container": "container.id",
    "pod": "k8s.pod.uid",
    "name": "flowtop.group",
}


def attribute(key, value):
    kind = "intValue" if isinstance(value, int) else "stringValue"
    return {"key": key, "value": {kind: str(value)}}


def points(record):
    end = round(datetime.fromisoformat(record["time"].replace("Z", "+00:00")).timestamp() * 1000) * 10**6
    start = end - round(record["seconds"] * 10**9)
    known = [attribute(key, record[field]) for field, key in ATTRIBUTES.items() if field in record]
    for field, direction in (("rx_bytes", "receive"), ("tx_bytes", "transmit")):
        if record[field]:
            yield {
                "attributes": known + [attribute("network.io.direction", direction)],
                "startTimeUnixNano": str(start),
                "timeUnixNano": str(end),
                # A number: decoders take both, and some take a text for nothing.
                "asInt": record[field],
            }


def request(interval, data):
    resource = [attribute("service.name", "flowtop")]
    if "host" in interval:
        resource.append(attribute("host.name", interval["host"]))
    metric = {
        "name": "process.network.io",
        "unit": "By",
        "sum": {"aggregationTemporality": DELTA, "isMonotonic": True, "dataPoints": data},
    }
    scope = {"scope": {"name": "flowtop"}, "metrics": [metric]}
    return {"resourceMetrics": [{"resource": {"attributes": resource}, "scopeMetrics": [scope]}]}


class Exporter:
    def __init__(self, url):
        self.url = url.rstrip("/") + PATH
        self.waiting = []
        self.lost = 0

    def send(self, body):
        self.waiting.append(json.dumps(body).encode())
        while self.waiting:
            asked = urllib.request.Request(self.url, self.waiting[0], {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(asked, timeout=TIMEOUT) as answer:
                    answer.read()
            except OSError as error:
                # Of these codes OTLP says that the request may be sent again.
                if isinstance(error, urllib.error.HTTPError) and error.code not in (429, 502, 503, 504):
                    sys.exit(f"otlp.py: {self.url}: {error}: {error.read().decode(errors='replace')[:200]}")
                if len(self.waiting) > MAX_WAITING:
                    self.waiting.pop(0)
                    self.lost += 1
                return
            self.waiting.pop(0)


def main():
    if len(sys.argv) != 2 or not sys.argv[1].startswith("http://"):
        sys.exit("usage: flowtop --json -n 0 -g program | otlp.py http://127.0.0.1:4318")
    exporter = Exporter(sys.argv[1])
    interval, data, untracked = None, [], 0
    for line in sys.stdin:
        record = json.loads(line)
        if record["type"] != "interval":
            data.extend(points(record))
            continue
        if data:
            exporter.send(request(interval, data))
        interval, data = record, []
        untracked += record["untracked_rx_bytes"] + record["untracked_tx_bytes"]
    if data:
        exporter.send(request(interval, data))
    lost = exporter.lost + len(exporter.waiting)
    if lost:
        sys.exit(f"otlp.py: {lost} intervals were lost: {exporter.url} did not answer")
    if untracked:
        sys.exit(f"otlp.py: {untracked} bytes have no process (untracked), and are in no point")


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        pass
