#!/usr/bin/env bash
# Prints the table of faults as Markdown, from the reports of the test run:
#
#   scripts/fault-table.sh target/faults
set -euo pipefail

reports=$1
command -v jq >/dev/null || { echo "fault-table: needs jq: make deps-test" >&2; exit 1; }
shopt -s nullglob
files=("$reports"/native.jsonl "$reports"/[0-9]*.jsonl)
[ ${#files[@]} -gt 0 ] || { echo "fault-table: no reports in $reports: run 'make test' or 'make test-faults' first" >&2; exit 1; }

cat <<'TEXT'
# Faults

The tests provoke each fault, on the machine's own kernel and on stock Debian kernels in virtual machines, beside
a load that knows to the byte what its system calls returned. Lost bytes are those in no number of flowtop: in
no flow, no `other` and no `untracked`. `make test docs-faults` writes this page; `make test-faults` takes
minutes instead of seconds, with a million flows.

- `traffic faults` provokes them (`tests/exact/traffic/faults`).
- `tests/vm/leftover.sh` shows that nothing stays in the kernel, whatever ends flowtop at whatever moment: programs,
  maps, links, probe events, kprobes, trampolines and pins, before and after.
- `—`: the fault is impossible on this kernel.

TEXT

jq -rn '
  def text: gsub("\\|"; "\\|") | gsub("<"; "&lt;");
  [inputs] as $rows
  | ($rows | map(.kernel) | unique) as $kernels
  | (reduce $rows[] as $r ([]; if index($r.fault) then . else . + [$r.fault] end)) as $faults
  | ($rows | INDEX(.fault + " " + .kernel)) as $at
  | "| fault | kernel | bytes lost | what happened | where it is said |", "|---|---|---:|---|---|",
    ($faults[] as $f | $kernels[] as $k | $at[$f + " " + $k] | select(. != null)
      | "| \(.what) | \(.kernel) | \(if .result == "absent" then "—" elif .result == "ok" then .lost else "**FAILED**" end) | \(.happened | text) | \(.said | text) |"),
    "",
    "\($rows | length) results: \($rows | map(select(.result == "ok")) | length) as they should be, \($rows
      | map(select(.result == "absent")) | length) absent, \($rows | map(select(.result == "FAIL")) | length) failed."
' "${files[@]}"

jobs=$reports/jobs.md
[ -e "$jobs" ] || exit 0
cat <<'TEXT'

## Terminals and signals

What the live table does in every relation to a terminal that a program can have, and with every signal whose
default is to stop, continue or end a process, beside less(1). The test `jobs` writes the table. SIGTSTP and SIGSTOP
go to the whole job, all others to the program alone.

- In the background flowtop waits, stopped, until it is brought to the foreground. SIGTERM ends it there too.
- A session leader has no shell that could continue it, so the kernel drops `^Z` and SIGTSTP.
- SIGSTOP cannot be caught: the terminal stays as it is until the job is continued.
- The test watches less for half a second and requires nothing of it: on a busy machine what less does later reads
  `goes on`.

| run | event | flowtop | less |
|---|---|---|---|
TEXT
cat "$jobs"
