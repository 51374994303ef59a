#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A read-only MCP server over stdio: an assistant asks who uses this machine's network, and what recordings hold.

It runs flowtop with fixed options, hands over its JSON, and writes nothing: no file is named but recordings below
FLOWTOP_RECORDINGS, and no option but those below can be given. Standard library only; one request at a time.

    {"mcpServers": {"flowtop": {"command": "flowtop_mcp.py"}}}

FLOWTOP is the command that runs flowtop, as in "sudo -n flowtop" (the default is "flowtop").
"""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

FLOWTOP = shlex.split(os.environ.get("FLOWTOP", "flowtop"))
RECORDINGS = os.environ.get("FLOWTOP_RECORDINGS")
PROTOCOL = "2025-06-18"
MAX_ROWS = 100
MAX_SECONDS = 60
MAX_TEXT = 100_000

GROUP = {"type": "string", "description": "flow, program, process, user, container, pod, namespace, compose, job, "
         "unit, remote, net/24, port or class"}
ROWS = {"type": "integer", "minimum": 1, "maximum": MAX_ROWS, "description": "rows each way"}
FILTER = {"type": "string", "description": "flowtop's filter, as in: tcp and port 443 and not process ssh"}
FILE = {"type": "string", "description": "name of a recording or ledger in the folder of recordings"}


def tool(name, description, properties, required=()):
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return {"name": name, "description": description, "inputSchema": schema,
            "annotations": {"readOnlyHint": True, "openWorldHint": False}}


TOOLS = [
    tool("network_now", "Counts this machine's network traffic for some seconds, exact to the byte, and returns the "
         "largest rows: JSON Lines, an interval record with totals and losses, then a record for each row.",
         {"group": GROUP, "rows": ROWS, "filter": FILTER,
          "seconds": {"type": "number", "minimum": 0.1, "maximum": MAX_SECONDS}}),
    tool("network_health", "Whether flowtop works on this machine, and what its kernel cannot report: JSON.", {}),
]
if RECORDINGS:
    TOOLS += [
        tool("recordings", "Names and sizes of recordings and ledgers.", {}),
        tool("network_usage", "Adds up recordings or ledgers by hour, day, month or year: JSON Lines.",
             {"file": FILE, "by": {"type": "string", "enum": ["hour", "day", "month", "year", "all"]},
              "group": GROUP, "rows": ROWS}, ["file"]),
        tool("network_changes", "What changed between two recordings, beyond their noise: JSON Lines.",
             {"before": FILE, "after": FILE, "group": GROUP, "rows": ROWS}, ["before", "after"]),
    ]


class Refused(Exception):
    pass


def recording(name):
    """The path of a recording: a plain name, so that nothing outside of the folder can be meant."""
    path = pathlib.Path(RECORDINGS or "", name)
    if not RECORDINGS or not re.fullmatch(r"[\w][\w.-]*", name) or not path.is_file():
        raise Refused(f"{name!r} is no recording: ask for the list of recordings")
    return str(path)


def checked(name, given):
    """Arguments as the tool's schema has them."""
    schema = next((tool["inputSchema"] for tool in TOOLS if tool["name"] == name), None)
    if schema is None:
        raise Refused(f"{name!r} is no tool")
    kinds = {"string": str, "integer": int, "number": (int, float)}
    for key, value in given.items():
        known = schema["properties"].get(key)
        if known is None or isinstance(value, bool) or not isinstance(value, kinds[known["type"]]):
            raise Refused(f"{key}: not an argument of {name}, or of another type")
        if not known.get("minimum", value) <= value <= known.get("maximum", value):
            raise Refused(f"{key}: between {known['minimum']} and {known['maximum']}")
        if value not in known.get("enum", [value]):
            raise Refused(f"{key}: one of {', '.join(known['enum'])}")
        # Neither an option nor more than one argument.
        if key == "group" and not re.fullmatch(r"[a-z]+(/\d+(,\d+)?)?", value):
            raise Refused("group: a word, as in program")
    missing = [key for key in schema["required"] if key not in given]
    if missing:
        raise Refused(f"{missing[0]} is missing")
    return given


def arguments(name, given):
    """The options of flowtop for a tool."""
    shape = ["--json", "-n", str(given.get("rows", 10))]
    shape += ["-g", given["group"]] if "group" in given else []
    match name:
        case "network_now":
            found = [*shape, "--once", "-i", str(given.get("seconds", 1))]
            # After `--` nothing is an option.
            return found + (["--", given["filter"]] if given.get("filter") else [])
        case "network_health":
            return ["--doctor", "--json"]
        case "network_usage":
            return ["usage", recording(given["file"]), "--by", given.get("by", "day"), *shape]
        case "network_changes":
            return ["diff", recording(given["before"]), recording(given["after"]), *shape]


def call(name, given):
    given = checked(name, given)
    if name == "recordings":
        found = sorted(path for path in pathlib.Path(RECORDINGS).iterdir() if path.is_file())
        return "\n".join(json.dumps({"name": path.name, "bytes": path.stat().st_size}) for path in found)
    ended = subprocess.run([*FLOWTOP, *arguments(name, given)], stdin=subprocess.DEVNULL, capture_output=True,
                           timeout=MAX_SECONDS + 60, text=True, errors="replace")
    # 1 of the doctor is a finding, 3 of a comparison a change.
    if ended.returncode not in (0, 3) and not (name == "network_health" and ended.stdout):
        raise Refused(ended.stderr.strip() or f"flowtop ended with {ended.returncode}")
    text = ended.stdout + "".join(f"note: {line}\n" for line in ended.stderr.splitlines())
    if len(text) > MAX_TEXT:
        raise Refused(f"the answer has {len(text)} characters: ask for fewer rows")
    return text


def answer(request):
    """The result of a request; None if it is unknown."""
    match request.get("method"):
        case "initialize":
            asked = request.get("params", {}).get("protocolVersion", PROTOCOL)
            return {"protocolVersion": min(asked, PROTOCOL), "capabilities": {"tools": {}},
                    "serverInfo": {"name": "flowtop", "version": "1"}}
        case "ping":
            return {}
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            params = request.get("params", {})
            try:
                text, is_error = call(params.get("name"), params.get("arguments") or {}), False
            except (Refused, subprocess.TimeoutExpired, OSError) as error:
                text, is_error = str(error), True
            return {"content": [{"type": "text", "text": text}], "isError": is_error}


def main():
    for line in sys.stdin:
        try:
            request = json.loads(line)
        except ValueError:
            reply = {"id": None, "error": {"code": -32700, "message": "this is not JSON"}}
        else:
            if not isinstance(request, dict) or "id" not in request:
                continue
            result = answer(request)
            reply = {"id": request["id"]}
            if result is None:
                reply["error"] = {"code": -32601, "message": f"unknown method {request.get('method')!r}"}
            else:
                reply["result"] = result
        print(json.dumps({"jsonrpc": "2.0", **reply}), flush=True)


if __name__ == "__main__":
    main()
