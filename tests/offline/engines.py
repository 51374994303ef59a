"""Runs what contrib/fleet has in the engines it is for, and prints the answer of each query as one JSON line.

    engines.py duckdb NAME=VALUE… SCRIPT…     with these variables; `memory` is the limit of memory
    engines.py clickhouse SCRIPT FILES TIMES  the script so many times, of these files instead of flows/*/*
    engines.py vector YAML LINES SQL          the remap over lines, its events into the table of the script
    engines.py otlp SCRIPT GROUPS             the script sends to a collector, which hands on to a server here
    engines.py kubernetes YAML                the objects of a manifest, each held against its schema
    engines.py helm CHART VALUES              what Helm makes of a chart with values (JSON), held against schemas
"""

import json
import re
import socket
import sys
import tempfile
from unittest.mock import MagicMock


def duckdb(args):
    import duckdb

    db = duckdb.connect()
    db.execute("set threads = 2")
    for arg in args:
        name, is_variable, value = arg.partition("=")
        if name == "memory":
            db.execute(f"set memory_limit = '{value}'")
            db.execute("set max_temp_directory_size = '0MB'")
        elif is_variable:
            db.execute(f"set variable {name} = '{value}'")
        else:
            for statement in duckdb.extract_statements(open(name).read()):
                answer = db.execute(statement)
                if statement.type == duckdb.StatementType.SELECT:
                    names = [column[0] for column in answer.description]
                    print(json.dumps([dict(zip(names, row)) for row in answer.fetchall()], default=str))


class ClickHouse:
    def __init__(self):
        # Imported to hand over results as its own.
        sys.modules["pyarrow"] = MagicMock()
        from chdb import session

        self.folder = tempfile.TemporaryDirectory()
        self.session = session.Session(self.folder.name)

    def query(self, statement):
        answer = str(self.session.query(statement, "JSONEachRow"))
        return [json.loads(row) for row in answer.splitlines() if row]

    def script(self, text):
        statements = (re.sub(r"--.*", "", statement).strip() for statement in text.split(";\n"))
        for statement in filter(None, statements):
            rows = self.query(statement)
            if statement.startswith("select"):
                print(json.dumps(rows))

    def sums(self):
        print(json.dumps(self.query("""
            select host, process, any(user) as user, any(uid) as uid, any(proto) as proto, any(cgroup) as cgroup,
                   max(local_port) > 0 and max(remote_port) > 0 as ports, any(container) as container,
                   any(pod) as pod, sum(rx_bytes) as rx, sum(tx_bytes) as tx, count() as rows
            from flowtop_records final where type = 'flow' group by host, process order by host, process
        """)))


def clickhouse(args):
    script, files, times = args
    engine = ClickHouse()
    for _ in range(int(times)):
        engine.script(open(script).read().replace("flows/*/*.jsonl.zst", files))
    engine.sums()


def vector(args):
    import vector_vrl

    yaml, lines, script = args
    block = re.search(r"^( +)source: \|\n((?:\1 +.*\n)+)", open(yaml).read(), re.M)
    messages = open(lines).read().splitlines()
    results = vector_vrl.execute_vrl(block[2], [json.dumps({"message": message}) for message in messages])
    failed = [result for result in results if "error" in result and "original" in result]
    events = [result for result in results if result not in failed]
    print(json.dumps({"events": len(events), "failed": [str(result["error"]) for result in failed]}))
    engine = ClickHouse()
    # All but the table itself is for files.
    engine.query(re.sub(r"--.*", "", open(script).read().split(";\n")[0]))
    for _ in range(2):
        rows = "\n".join(json.dumps(event) for event in events)
        # As the sink asks for it.
        engine.session.query("insert into flowtop_records settings input_format_skip_unknown_fields = 1, "
                             f"date_time_input_format = 'best_effort' format JSONEachRow {rows}")
    engine.sums()


def kubernetes(args):
    hold(open(args[0]).read())


def hold(text):
    """Prints the objects of a manifest; ends with an error if one of Kubernetes' own kinds does not fit its schema."""
    import kubernetes_validate
    import yaml

    for manifest in yaml.safe_load_all(text):
        # Schemas of other groups, as that of PodMonitor, come with what serves them.
        if "." not in manifest["apiVersion"]:
            kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
        print(json.dumps(manifest))


def helm(args):
    import helm_python

    chart, values = args[0], json.loads(args[1])
    found = helm_python.lint(chart, values=values, strict=True)
    # 1 is a remark: that there is no icon.
    bad = [message for message in found["messages"] if message["severity"] > 1]
    assert not bad and not found["errors"], found
    with helm_python.Chart.load(chart) as loaded:
        loaded.validate_schema(values)
        for name, text in loaded.render(values, name="flowtop", namespace="flowtop").items():
            if name.endswith(".yaml") and text.strip():
                hold(text)


def fields(message):
    """Numbers and values of the fields of a message of protobuf."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        kind = tag & 7
        if kind == 0:
            yield tag >> 3, varint()
            continue
        size = varint() if kind == 2 else {1: 8, 5: 4}[kind]
        yield tag >> 3, message[at:at + size]
        at += size


def descend(message, *path):
    """All messages at a path of field numbers."""
    if not path:
        yield message
        return
    for number, value in fields(message):
        if number == path[0]:
            yield from descend(value, *path[1:])


def otlp(args):
    import gzip
    import http.server
    import os
    import subprocess
    import sysconfig
    import threading
    import time

    import rotel

    script, groups = args
    sums, points = {}, [0]

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
            # ResourceMetrics, ScopeMetrics, Metric, Sum, NumberDataPoint.
            for metric in descend(body, 1, 2, 2):
                name = next(descend(metric, 1)).decode()
                for point in descend(metric, 7, 1):
                    attributes = {}
                    for pair in descend(point, 7):
                        key = next(descend(pair, 1)).decode()
                        value = next(descend(pair, 2))
                        attributes[key] = next(fields(value))[1]
                    octets = int.from_bytes(next(descend(point, 6)), "little")
                    key = [name, attributes["flowtop.group"].decode(), attributes["network.io.direction"].decode()]
                    sums[" ".join(key)] = sums.get(" ".join(key), 0) + octets
                    points[0] += 1
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    agent = os.path.join(os.path.dirname(rotel.__file__), "rotel-agent")
    os.chmod(agent, 0o755)
    ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    http_port, grpc_port = (port.getsockname()[1] for port in ports)
    for port in ports:
        port.close()
    # It is linked with the library of Python.
    environment = dict(os.environ, LD_LIBRARY_PATH=sysconfig.get_config_var("LIBDIR"))
    collector = subprocess.Popen(
        [agent, "start", "--otlp-http-endpoint", f"127.0.0.1:{http_port}", "--otlp-grpc-endpoint",
         f"127.0.0.1:{grpc_port}", "--exporter", "otlp", "--otlp-exporter-protocol", "http",
         "--otlp-exporter-endpoint", f"http://127.0.0.1:{server.server_port}"],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # It listens soon; until then intervals wait, of which otlp.py keeps 60.
        with open(groups) as lines:
            subprocess.run([sys.executable, script, f"http://127.0.0.1:{http_port}"], stdin=lines, check=True)
        sent = 0
        for line in open(groups):
            record = json.loads(line)
            sent += record["type"] != "interval" and (record["rx_bytes"] > 0) + (record["tx_bytes"] > 0)
        begun = time.monotonic()
        while points[0] < sent and time.monotonic() - begun < 30:
            time.sleep(0.05)
        print(json.dumps({"points": points[0], "sent": sent, "sums": sums}))
    finally:
        collector.kill()
        collector.wait()


engine, *rest = sys.argv[1:]
{"duckdb": duckdb, "clickhouse": clickhouse, "vector": vector, "kubernetes": kubernetes,
 "helm": helm, "otlp": otlp}[engine](rest)
