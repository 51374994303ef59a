#!/usr/bin/env python3
"""Runs the 24 scenarios of the exactness suite beside flowtop and other programs, and writes docs/VERSUS.md.

    benches/versus/versus.py run [TOOL]...     natively; all that work here if none is named
    benches/versus/versus.py guest KERNEL...   flowtop in stock kernels, and what else tools.GUEST names
    benches/versus/versus.py page              the page, from all runs in target/versus

Each program has a module in tools/: its settings, what it claims, and how its output is read. collect.sh runs them.
"""

import datetime
import importlib.util
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RESULTS = TARGET / "versus"
TRAFFIC = pathlib.Path(os.environ.get("TRAFFIC", TARGET / "release/examples/traffic"))
FLOWTOP = pathlib.Path(os.environ.get("FLOWTOP", TARGET / "release/flowtop"))
CACHE = pathlib.Path(os.environ.get("FLOWTOP_CACHE", pathlib.Path.home() / ".cache/flowtop"))
PATH = f"{FLOWTOP.resolve().parent}:{HERE}:{CACHE}/peers/bin:{os.environ['PATH']}:/usr/sbin:/sbin"
# QUICK=1 moves a 32nd of the bytes at full speed: to try an adapter, not for the page.
QUICK = bool(os.environ.get("QUICK"))
TICKS = os.sysconf("SC_CLK_TCK")

# In the order of columns. The reason of those that have no adapter is tried or read, and dated.
TOOLS = ["flowtop", "nethogs", "iftop", "bandwhich", "rustnet", "picosnitch", "tcptop", "tcptop_bcc", "tcplife_bt", "sysdig"]
# Programs without an adapter, and why.
NOT_RUN = {
    "netwatch": "no adapter yet",
    "Sniffnet": "it has no output without a display",
    "Little Snitch": "not a package of Debian, crates.io or PyPI",
}
# What a scenario puts on the wire, and by which kind of socket where that is not the same.
WIRE = {"s05": "icmp", "s08": "sctp", "s10": "raw"}
UDP = {"s04", "s06", "s09", "s12", "s15", "s23", "s24"}
# Bytes of headers in each packet, below the layer that a program counts.
HEADERS = {"frame": 0, "ip": 14, "transport": 34}


def tool(name):
    path = HERE / "tools" / f"{name}.py"
    if not path.exists():
        return None
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scenarios():
    listed = subprocess.run([TRAFFIC, "list"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^(s(\d\d)_\w+)\s+(.*)$", listed, re.M)
    return {name: trap for name, number, trap in found if 1 <= int(number) <= 24}


def kind(scenario, layer):
    """What a scenario asks for: frames of a packet socket carry UDP, for those who look at packets."""
    short = scenario[:3]
    if short == "s12" and layer == "call":
        return "frames"
    return WIRE.get(short) or ("udp" if short in UDP else "tcp")


class Run:
    """One scenario beside one program."""

    def __init__(self, folder, scenario, module):
        self.scenario, self.module = scenario, module
        part = lambda suffix: (folder / f"{scenario}.{suffix}").read_text(errors="replace")
        self.netns = int((folder / "netns").read_text())
        self.output = part("out")
        self.truth = [json.loads(line) for line in part("truth").splitlines()]
        self.notes = part("notes")
        self.device = "lo" if scenario.startswith("s16") else "near"
        self.before, self.after = (self.counters(part(word)) for word in ("before", "after"))
        costs = [list(map(float, line.split())) for line in part("cost").splitlines()]
        (began, used, _), (ended, now, self.pss) = costs
        self.cpu = (now - used) / TICKS / (ended - began)

    def counters(self, text):
        fields = re.search(rf"{self.device}:(.*)", text).group(1).split()
        return {"rx": (int(fields[0]), int(fields[1])), "tx": (int(fields[8]), int(fields[9]))}

    @property
    def is_absent(self):
        return "absent" in self.notes

    @property
    def program(self):
        return [row for row in self.truth if row["process"] != "peer"]

    def wire(self, direction):
        """What the link moved at the layer that the program counts."""
        (bytes0, packets0), (bytes1, packets1) = self.before[direction], self.after[direction]
        headers = HEADERS[self.module.LAYER]
        # IPv6's header is 20 bytes longer.
        headers += 20 if headers == 34 and self.scenario[:3] in ("s07", "s24") else 0
        return bytes1 - bytes0 - headers * (packets1 - packets0)

    def expected(self):
        """Bytes each way: of calls, or of packets. Of loopback nobody knows whose packets are whose."""
        calls = {way: sum(row[f"{way}_bytes"] for row in self.program) for way in ("rx", "tx")}
        if self.module.LAYER == "call" or self.device == "lo":
            return calls
        return {way: self.wire(way) for way in ("rx", "tx")}

    def score(self):
        """Result of bytes and owner, with the difference in percent."""
        if self.is_absent:
            return {"bytes": "absent", "owner": "absent"}
        if kind(self.scenario, self.module.LAYER) not in self.module.CLAIMS:
            return {"bytes": "n/a", "owner": "n/a"}
        pids = {row["pid"] for row in self.program}
        names = {row["process"] for row in self.program if row["process"]}
        names.add(self.scenario.replace("_", "-"))
        peers = {row["pid"] for row in self.truth} - pids
        mine = lambda row: row["pid"] in pids or (row["pid"] is None and row["name"] in names)
        rows = [row for row in self.module.rows(self.output, self)
                if row["pid"] not in peers and row["name"] != "peer"]
        expected = self.expected()
        seen = {way: sum(row[way] for row in rows) for way in expected}
        if self.device == "lo" and self.module.LAYER != "call":
            # Nor which way they go.
            seen, expected = ({"rx": sum(both.values()), "tx": 0} for both in (seen, expected))
        # Requests of a few bytes the other way decide nothing.
        calls = {way: sum(row[f"{way}_bytes"] for row in self.program) for way in ("rx", "tx")}
        main = [way for way in calls if calls[way] * 10 >= max(calls.values())]
        off = max(((seen[way] - expected[way]) / expected[way] for way in main), key=abs)
        verdict = "pass" if abs(off) <= 0.1 else "partial" if abs(off) <= 0.25 else "fail"
        if self.agrees(rows, seen, expected) and (self.module.LAYER != "call" or self.flows_agree(rows)):
            verdict = "exact"
        total = sum(row[way] for row in rows for way in main)
        owned = sum(row[way] for row in rows for way in main if mine(row))
        owner = "fail" if total == 0 else "pass" if owned >= 0.9 * total else "partial"
        if not self.module.OWNERS:
            owner = "n/a"
        return {"bytes": verdict, "owner": owner, "off": off, "seen": seen, "expected": expected}

    def agrees(self, rows, seen, expected):
        """Whether sums are equal, within what the program rounds each row by."""
        digits = getattr(self.module, "DIGITS", None)
        for way in expected:
            room = sum(row.get("room", 0) for row in rows)
            if digits:
                room += sum(10 ** max(0, len(str(row[way])) - digits) / 2 for row in rows)
            if abs(seen[way] - expected[way]) > room:
                return False
        return True

    def flows_agree(self, rows):
        """Every flow of every process, to the byte, and none besides."""
        if not self.module.FLOWS:
            return True
        got, truth = {}, {}
        for row in rows:
            sums = got.setdefault((row["pid"], *row["flow"]), [0, 0])
            sums[0] += row["rx"]
            sums[1] += row["tx"]
        for row in self.program:
            flow = (row["proto"], row["local_port"], row["remote_port"])
            sums = truth.setdefault((row["pid"], *flow), [0, 0])
            sums[0] += row["rx_bytes"]
            sums[1] += row["tx_bytes"]
        if got == truth:
            return True
        # Where a kernel does not tell the peer of a datagram, flowtop says so in `unseen`, and the port is 0.
        return without_peer(got) == without_peer(truth)


def without_peer(flows):
    """Sums by process, protocol and local port."""
    sums = {}
    for flow, moved in flows.items():
        known = sums.setdefault(flow[:3], [0, 0])
        known[0] += moved[0]
        known[1] += moved[1]
    return sums


def program(module):
    """What has to be installed: the command, or what a script of this folder runs."""
    command = re.sub(r"^stdbuf -oL ", "", module.COMMAND).split()[0]
    return command.removesuffix(".sh")


def works(module):
    """Why a program does not run here; None if it does."""
    if not shutil.which(program(module), path=PATH):
        return "not installed here"
    command = module.COMMAND.replace("$device", "lo")
    patience = getattr(module, "PATIENCE", 8)
    try:
        ended = subprocess.run(["sh", "-c", f"exec {command}"], env={**os.environ, "PATH": PATH}, timeout=patience,
                               capture_output=True, text=True, stdin=subprocess.DEVNULL, errors="replace")
    except subprocess.TimeoutExpired:
        return None
    trouble = getattr(module, "TROUBLE", "error|fail|unable|unknown")
    said = [line for line in (ended.stdout + ended.stderr).splitlines() if re.search(trouble, line, re.I)]
    return f"does not run here: {said[-1].strip() if said else f'exit code {ended.returncode}'}"


def version(module):
    said = subprocess.run(["sh", "-c", module.VERSION], env={**os.environ, "PATH": PATH}, capture_output=True, text=True)
    found = re.search(r"\d+(\.\d+)+(~?pre\d+|pre\d+)?(-\d+)?", said.stdout + said.stderr)
    return found.group(0) if found else "?"


def ahead():
    """Puts this process and what it starts ahead of whatever else the machine does; not with SHARED=1."""
    if os.environ.get("SHARED"):
        return
    if os.getpid() != os.getsid(0):
        # A session of its own: the kernel weighs sessions first (sched_autogroup), and the caller's stays as it is.
        os.execvp("setsid", ["setsid", "--wait", sys.executable, *sys.argv])
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    autogroup = pathlib.Path("/proc/self/autogroup")
    if autogroup.exists():
        autogroup.write_text("-20")


def run(names):
    if not TRAFFIC.exists() or not FLOWTOP.exists():
        sys.exit("versus: build first: make versus")
    ahead()
    state = RESULTS / "native.json"
    known = json.loads(state.read_text()) if state.exists() else {}
    known["machine"] = {"kernel": os.uname().release, "cpus": os.cpu_count(),
                        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")}
    for name in names or TOOLS:
        module = tool(name)
        if module is None:
            continue
        reason = works(module)
        if reason:
            print(f"versus: {name}: {reason}", file=sys.stderr)
            known.setdefault("tools", {})[name] = {"reason": reason}
            save(state, known)
            continue
        folder = RESULTS / "native" / name
        if not os.environ.get("MORE"):
            shutil.rmtree(folder, ignore_errors=True)
        env = {**os.environ, "PATH": PATH, "TRAFFIC_ARGS": "--case-timeout 120" + (" --full-scenarios" if not QUICK else "")}
        if getattr(module, "NUDGE", False):
            env["NUDGE"] = "1"
        warm, settle = map(str, module.SECONDS)
        for _ in range(int(os.environ.get("TRIALS") or 1)):
            trial = folder / str(len(list(folder.glob("*"))) + 1)
            trial.parent.mkdir(parents=True, exist_ok=True)
            print(f"versus: {name}, trial {trial.name}", file=sys.stderr)
            subprocess.run([HERE / "collect.sh", trial, TRAFFIC, module.WHERE, module.SIGNAL, warm, settle,
                            " ".join(scenarios()), module.COMMAND], env=env, check=True)
        load = os.getloadavg()[2]
        known = json.loads(state.read_text()) | {"machine": known["machine"]} if state.exists() else known
        known.setdefault("tools", {})[name] = trials(module, folder) | {"version": version(module), "load": load}
        save(state, known)


# From the best result to the worst.
RESULTS_OF_BYTES = ["absent", "n/a", "exact", "pass", "partial", "fail"]
RESULTS_OF_OWNER = ["absent", "n/a", "pass", "partial", "fail"]


def is_whole(trial):
    return all((trial / f"{name}.cost").exists() for name in scenarios())


def trials(module, folder):
    """The best trial of each scenario, of flowtop the worst: a busy machine makes a packet capture lose packets."""
    all_trials = [evaluated(module, trial) for trial in sorted(folder.iterdir()) if is_whole(trial)]
    pick = max if module.TITLE == "flowtop" else min
    rank = lambda score: (RESULTS_OF_BYTES.index(score["bytes"]), RESULTS_OF_OWNER.index(score["owner"]),
                          abs(score.get("off", 0)))
    return {"trials": len(all_trials),
            "scores": {name: pick((trial["scores"][name] for trial in all_trials), key=rank) for name in scenarios()},
            "cpu": [cpu for trial in all_trials for cpu in trial["cpu"]],
            "pss": [pss for trial in all_trials for pss in trial["pss"]]}


def evaluated(module, folder):
    result = {"scores": {}, "cpu": [], "pss": []}
    for scenario in scenarios():
        one = Run(folder, scenario, module)
        result["scores"][scenario] = one.score()
        result["cpu"].append(one.cpu)
        result["pss"].append(one.pss)
        if hasattr(module, "own_losses"):
            missed, untracked, unseen = module.own_losses(one.output)
            result["scores"][scenario] |= {"missed": missed, "untracked": untracked, "unseen": sorted(unseen)}
    return result


def save(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", *names]:
            run(names)
        case ["again", *names]:
            # Evaluates what was collected once more.
            state = RESULTS / "native.json"
            known = json.loads(state.read_text())
            for name in names or known["tools"]:
                if (RESULTS / "native" / name).exists():
                    known["tools"][name] |= trials(tool(name), RESULTS / "native" / name)
            save(state, known)
        case ["guest", *kernels]:
            sys.path.insert(0, str(HERE))
            import guests
            guests.run(kernels)
        case ["page"]:
            sys.path.insert(0, str(HERE))
            import page
            print(page.page(), end="")
        case _:
            sys.exit(__doc__)
