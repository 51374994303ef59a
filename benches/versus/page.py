"""Writes docs/VERSUS.md from what versus.py left in target/versus."""

import json
import statistics

import versus

BYTES = {"exact": "**0**", "pass": "{:+.1%}", "partial": "{:+.0%} ~", "fail": "{:+.0%} ✗", "n/a": "n/a", "absent": "—"}
OWNER = {"pass": "yes", "partial": "seen, not named", "fail": "no", "n/a": "n/a", "absent": "—"}
LAYERS = {"call": "payload of socket calls", "frame": "frames of the link", "ip": "IP packets",
          "transport": "segments and datagrams with their headers"}


def cell(score):
    text = BYTES[score["bytes"]]
    text = text.format(score["off"]) if "{" in text else text
    return text.replace("+0.0%", "0.0 %").replace("-0.0%", "0.0 %").replace("%", " %").replace("  %", " %").replace("-", "−")


def counts(scores, field, words):
    return " / ".join(str(sum(score[field] == word for score in scores.values())) for word in words)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join([" --- "] + [" ---: "] * (len(head) - 1)) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def losses(runs):
    """Where flowtop itself was not exact, or saw less than all."""
    found = []
    for where, scores in runs:
        for scenario, score in scores.items():
            if score["bytes"] in ("absent", "exact") and score["owner"] in ("pass", "absent"):
                continue
            said = []
            if score.get("missed"):
                said.append(f"missed_events {score['missed']}")
            if score.get("untracked"):
                said.append(f"untracked {score['untracked']} bytes")
            short = scenario[:3]
            path = {"s22": "splice_read", "s23": "udp_recv_peer", "s24": "udp_recv_peer", "s04": "udp_recv_peer"}.get(short)
            if path in score.get("unseen", []):
                said.append(f"`unseen`: {path}")
            found.append([where, scenario, cell(score), OWNER[score["owner"]], ", ".join(said) or "nothing"])
    return found


def page():
    native = json.loads((versus.RESULTS / "native.json").read_text())
    guests = [json.loads(path.read_text()) for path in sorted(versus.RESULTS.glob("guest-*.json"))]
    tools = {name: native["tools"][name] for name in versus.TOOLS if name in native["tools"]}
    ran = {name: result for name, result in tools.items() if "scores" in result}
    module = {name: versus.tool(name) for name in versus.TOOLS if versus.tool(name)}
    machine = native["machine"]
    out = []
    say = out.append
    say("# Side by side\n\n"
        "Written by `make versus`; do not edit. 24 scenarios of traffic run beside flowtop and beside other programs, "
        "each by itself.\nReproduce it in two commands:\n\n"
        "```sh\nmake bench-peers     # installs the programs\nmake versus          # runs everything, writes this page: "
        "half an hour\n```\n\n"
        f"Natively on {machine['date']}: Linux {machine['kernel']}, {machine['cpus']} CPUs"
        + (", a 32nd of the bytes at full speed" if versus.QUICK else "") + ". "
        "The machine was not idle: the table of cost has its load, of which packet captures suffer more than others.\n")
    runs = [(f"Linux {machine['kernel']}, native", ran["flowtop"]["scores"])] if "flowtop" in ran else []
    for guest in guests:
        for name, result in guest["tools"].items():
            if name.startswith("flowtop"):
                runs.append((f"Linux {guest['kernel']}, guest, {result['backend']}", result["scores"]))
    say("## Where flowtop was not exact\n")
    found = losses(runs)
    if found:
        say(table(["where", "scenario", "bytes", "owner", "flowtop said"], found))
    else:
        say("Nowhere in these runs.\n")
    absent = sorted({f"{scenario} ({where})" for where, scores in runs for scenario, score in scores.items()
                     if score["bytes"] == "absent"})
    if absent:
        say(f"Not run, because the kernel has no such socket: {', '.join(absent)}.\n")
    say("What flowtop does not do at all: forwarded traffic, packets on the wire, what is inside them. "
        "[COMPARISON.md](COMPARISON.md) names who does.\n")
    say("## How it is scored\n\n"
        "- **Truth** is what the system calls of the scenario's program returned. For programs that look at packets it "
        "is what the counters of\n  the link moved, at the layer that the program counts; on loopback (s16), where both "
        "ends share the link, again the calls.\n"
        "- **0**: no byte too many or too few, each way; of programs that show flows and count calls, for every flow "
        "and process. A program\n  that rounds its output passes if it is within its own rounding.\n"
        "- Otherwise the difference of the direction that is off by most: within ±10 % it passes as in other "
        "benchmarks, `~` within ±25 %, `✗` beyond.\n"
        "- **Owner**: `yes` if nine tenths of the bytes have the program's name or process id.\n"
        "- **n/a**: the program does not claim the protocol. `—`: the kernel lacks it.\n"
        "- Each program starts anew for each scenario, counts before the traffic begins, and has time to print "
        "afterwards. Of several\n  trials the best counts, of flowtop the worst.\n")
    say(table(["program", "version", "settings", "counts", "trials"],
              [[module[name].TITLE, result["version"], f"`{module[name].SETTINGS}`", LAYERS[module[name].LAYER],
                str(result["trials"])]
               for name, result in ran.items()]))
    say("## Result\n")
    say(table(["program", "bytes: 0 / ±10 % / ±25 % / beyond / n/a", "owner: yes / not named / no / n/a", "CPU, mean", "PSS, mean",
               "load of the machine"],
              [[module[name].TITLE, counts(result["scores"], "bytes", ["exact", "pass", "partial", "fail", "n/a"]),
                counts(result["scores"], "owner", ["pass", "partial", "fail", "n/a"]),
                f"{statistics.mean(result['cpu']):.1%}".replace("%", " %"), f"{statistics.mean(result['pss']) / 1000:.1f} MB",
                f"{result.get('load', 0):.0f}"] for name, result in ran.items()]))
    for field, title, text in [("bytes", "Bytes", cell), ("owner", "Owner", lambda score: OWNER[score["owner"]])]:
        say(f"### {title}\n")
        traps = versus.scenarios()
        names = [name for name in ran if field == "bytes" or module[name].OWNERS]
        say(table(["scenario", *(module[name].TITLE for name in names)],
                  [[f"{scenario[:3]} {traps[scenario]}", *(text(ran[name]["scores"][scenario]) for name in names)]
                   for scenario in traps]))
    if guests:
        say("## Stock kernels\n\nDebian's kernels in virtual machines, emulated, with "
            f"{'the same sizes' if not guests[0].get('quick') else 'a 32nd of the bytes at full speed'}: "
            "bytes 0 / ±10 % / ±25 % / beyond / n/a, then owner yes / not named / no / n/a.\n")
        rows = []
        for guest in guests:
            for name, result in guest["tools"].items():
                if "scores" in result:
                    rows.append([guest["kernel"], result["title"],
                                 counts(result["scores"], "bytes", ["exact", "pass", "partial", "fail", "n/a"]),
                                 counts(result["scores"], "owner", ["pass", "partial", "fail", "n/a"]),
                                 str(sum(score["bytes"] == "absent" for score in result["scores"].values()))])
                else:
                    rows.append([guest["kernel"], name, result["reason"], "", ""])
        say(table(["kernel", "program", "bytes", "owner", "absent"], rows))
    say("flowtop alone, with every backend of four stock kernels and a 32nd of the bytes: rows `s01` to `s24` of "
        "[EXACTNESS.md](EXACTNESS.md).\n")
    say("## Not measured here\n")
    missing = [[name, tools[name]["reason"]] for name in tools if "reason" in tools[name]]
    missing += [[name, reason] for name, reason in versus.NOT_RUN.items()]
    say(table(["program", "why"], missing))
    return "\n".join(out)
