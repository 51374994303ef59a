#!/usr/bin/env bash
# Prints the table of faults as Markdown, from the reports of the test run:
#
#   scripts/fault-table.sh target/faults
set -euo pipefail

reports=$1
command -v jq >/dev/null || { echo "fault-table: needs jq: make deps-test" >&2; exit 1; }
shopt -s nullglob
files=("$reports"/native.jsonl "$reports"/[0-9]*.jsonl)
[ ${#files[@]} -gt 0 ] || { echo "fault-table: no reports in $reports: run 'make test' or 'make faults' first" >&2; exit 1; }

cat <<'TEXT'
# Faults

Each was provoked for real, on the machine's own kernel and on stock Debian kernels in virtual machines,
beside a load that knows to the byte what its system calls returned. Bytes lost are those that are in no
number flowtop gave: in no flow, no `other` and no `untracked`. Made by `make test fault-table`; `make
faults` does the same for minutes instead of seconds, with a million flows.

- `traffic faults` makes them (`tests/exact/traffic/faults`), `tests/faults.rs` and `tests/vm.rs` run them.
- That nothing stays in the kernel, whatever ends flowtop at whatever moment, is `tests/vm/leftover.sh`'s to
  show: programs, maps, links, probe events, kprobes, trampolines and pins, before and after.
- `—`: the fault cannot be there.

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

What becomes of the live table in every relation to a terminal that a program can have, and with every signal
whose default is to stop, continue or end a process, beside less(1) at the same. `tests/jobs.rs` makes the
table and holds flowtop to it. SIGTSTP and SIGSTOP go to the whole job, all others to the program alone.

- In the background flowtop waits, stopped, until it is brought to the foreground. SIGTERM ends it there too.
- A session leader has no shell that could continue it, so the kernel drops `^Z` and SIGTSTP.
- SIGSTOP cannot be caught: the terminal stays as it is until the job is continued.
- less is watched for half a second and held to nothing: on a busy machine what it does later reads `goes on`.

| run | event | flowtop | less |
|---|---|---|---|
TEXT
cat "$jobs"
