"""Runs scenarios beside flowtop, and what else works there, in stock kernels in virtual machines."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import versus

# flowtop with each backend that a kernel has, by its own choice first.
BACKENDS = {"5.10": ["auto"], "6.1": ["auto", "fentry"], "6.12": ["auto", "kprobe"], "7.2": ["auto", "kprobe"]}
# Programs that need a kernel with probes and nothing but their binary and libraries.
OTHERS = ["tcptop"]
# Of the whole virtual machine, in seconds.
LIMIT = 3000


def command(module):
    return module.COMMAND.removeprefix("stdbuf -oL ")


def guest(kernel, title, name, module, line):
    """Collects in a guest, and evaluates here."""
    folder = versus.RESULTS / f"guest-{kernel}" / title
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    program = line.split()[0]
    found = shutil.which(program, path=versus.PATH)
    if not found:
        return {"reason": "not installed here"}
    files = {found: f"/bin/{program}", versus.TRAFFIC: "/bin/traffic", versus.HERE / "collect.sh": "/bin/collect.sh"}
    given = " ".join(f"--file {shlex.quote(str(host))}:{inside}" for host, inside in files.items())
    full = "" if versus.QUICK else " --full-scenarios"
    warm, settle = module.SECONDS
    inside = (f"TRAFFIC_ARGS='--case-timeout 200{full}' sh /bin/collect.sh /out/{title} traffic {module.WHERE} {module.SIGNAL} "
              f"{warm} {settle} '{' '.join(versus.scenarios())}' '{line}' 3>&- 4>&-")
    ran = subprocess.run(f"{versus.ROOT}/tests/vm/run.sh --kernel {kernel} {given} --out {folder.parent} --timeout {LIMIT} "
                         f"-- {shlex.quote(inside)}", shell=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if ran.returncode != 0:
        said = [text for text in (ran.stdout + ran.stderr).splitlines() if text.strip()]
        return {"reason": f"does not run: {said[-1].strip() if said else ran.returncode}"}
    result = versus.evaluated(module, folder)
    first = (folder / f"{next(iter(versus.scenarios()))}.out").read_text(errors="replace").splitlines()
    backend = json.loads(first[0])["backend"] if name == "flowtop" and first else ""
    shown = f"flowtop, {backend}" + (" (its choice)" if title == "flowtop-auto" else "") if backend else module.TITLE
    return result | {"backend": backend, "title": shown}


def run(kernels):
    for kernel in kernels or BACKENDS:
        state = versus.RESULTS / f"guest-{kernel}.json"
        known = json.loads(state.read_text()) if state.exists() else {}
        known |= {"kernel": kernel, "quick": versus.QUICK}
        known.setdefault("tools", {})
        flowtop = versus.tool("flowtop")
        for backend in BACKENDS.get(kernel, ["auto"]):
            print(f"versus: {kernel}: flowtop {backend}", file=sys.stderr)
            title = f"flowtop-{backend}"
            known["tools"][title] = guest(kernel, title, "flowtop", flowtop, f"{command(flowtop)} --backend {backend}")
            versus.save(state, known)
        for name in OTHERS:
            module = versus.tool(name)
            print(f"versus: {kernel}: {name}", file=sys.stderr)
            known["tools"][name] = guest(kernel, name, name, module, command(module))
            versus.save(state, known)
