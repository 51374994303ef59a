"""Runs what contrib/fleet has in the engines it is for, and prints the answer of each query as one JSON line.

    engines.py duckdb NAME=VALUE… SCRIPT…     with these variables; `memory` is the limit of memory
    engines.py clickhouse SCRIPT FILES TIMES  the script so many times, of these files instead of flows/*/*
    engines.py vector YAML LINES SQL          the remap over lines, its events into the table of the script
    engines.py kubernetes YAML                the objects of a manifest, each held against its schema
"""

import json
import re
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
    import kubernetes_validate
    import yaml

    for manifest in yaml.safe_load_all(open(args[0])):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
        print(json.dumps(manifest))


engine, *rest = sys.argv[1:]
{"duckdb": duckdb, "clickhouse": clickhouse, "vector": vector, "kubernetes": kubernetes}[engine](rest)
