#!/usr/bin/env bash
# Prints the exactness table as Markdown, from the reports of the VM runs:
#
#   scripts/exact-table.sh target/exact              x86_64
#   scripts/exact-table.sh target/exact-aarch64      aarch64
#   scripts/exact-table.sh target/exact-kernels      kernels named by `make test-vm KERNEL=...`
set -euo pipefail

reports=$1
command -v jq >/dev/null || { echo "exact-table: needs jq: make deps-test" >&2; exit 1; }
shopt -s nullglob
files=("$reports"/*.jsonl)
[ ${#files[@]} -gt 0 ] || { echo "exact-table: no reports in $reports: run 'make test-vm' or 'make test-aarch64' first" >&2; exit 1; }

kernels='[EXACTNESS-kernels.md](EXACTNESS-kernels.md) that of more kernels'
case $reports in
*aarch64*) heading='Exactness on aarch64' made='make test-aarch64 docs-exactness-aarch64' other='[EXACTNESS.md](EXACTNESS.md) is the table of x86_64' ;;
*exact-kernels*) heading='Exactness on more kernels' made='make test-vm KERNEL=SUITE/PACKAGE' other='[EXACTNESS.md](EXACTNESS.md) is the table of the four kernels that every change is tested on' ;;
*) heading=Exactness made='make test-vm docs-exactness' other='[EXACTNESS-aarch64.md](EXACTNESS-aarch64.md) is the table of aarch64, '$kernels ;;
esac
cat <<TEXT
# $heading

What flowtop shows, minus what the system calls of the test program returned, in bytes, on stock Debian
kernels in virtual machines. Each row is one way for a program to use its sockets; \`traffic list\` names the
trap in each. \`$made\` writes this page;
$other.

- \`0\`: not one byte of difference, per flow, process and direction
- \`unseen\`: flowtop reports that this backend does not see the path
- \`missed\`: the backend could not see some events, and \`missed_events\` counts all of them: \`fentry\`, forced
  on a kernel that preempts itself, and \`raw_tracepoint\`, forced on 7.0 or later; \`auto\` takes neither there
- \`s01\` to \`s24\`: scenarios of a public benchmark of network monitors, over a veth pair between two network
  namespaces, with a 32nd of their sizes and at full speed; \`make test-vm SCENARIOS=full\` runs them in full
- \`—\`: the kernel does not have what the case is about
- **bold**: a failure, with the difference

TEXT

# A column per report: KERNEL-BACKEND.jsonl or RELEASE-BACKEND.jsonl, kernels in the order of their age.
jq -rn '
  def column: input_filename | sub(".*/"; "") | sub("\\.jsonl$"; "");
  def kernel: sub("(-aarch64)?-[a-z_]*$"; "");
  def version: [kernel | scan("[0-9]+") | tonumber];
  def cell:
    if . == null then "" elif .result == "absent" then "—" elif .result == "unseen" or .result == "missed" then .result
    elif .result == "ok" then "\(.diff)" else "**\(.diff)**" end;
  [inputs | . + {column: column}] as $rows
  | ($rows | map(.column) | unique | sort_by([version, .])) as $all
  | ($all | map(select(endswith("auto") | not))) as $columns
  | ($all | map(select(endswith("auto")))) as $autos
  | (reduce $rows[] as $r ([]; if index($r.case) then . else . + [$r.case] end)) as $cases
  | ($rows | INDEX(.column)) as $first
  | ($rows | INDEX(.case + " " + .column)) as $at
  | "| case | \($columns | map("\(kernel) \($first[.].backend)") | join(" | ")) |",
    "|---|\($columns | map("---:|") | join(""))",
    ($cases[] as $c | "| \($c) | \($columns | map($at[$c + " " + .] | cell) | join(" | ")) |"),
    "",
    ($autos[] as $c | "- `auto` takes \($first[$c].backend) on \($c | kernel): \($rows
      | map(select(.column == $c)) | length) cases, \($rows
      | map(select(.column == $c and .result == "FAIL")) | length) failed"),
    "",
    "Kernels: \($columns | map($first[.].kernel) | unique | join(", ")).",
    "",
    "\($rows | length) results: \($rows | map(select(.result == "ok")) | length) exact, \($rows
      | map(select(.result == "unseen")) | length) unseen, \($rows
      | map(select(.result == "missed")) | length) missed, \($rows
      | map(select(.result == "absent")) | length) absent, \($rows
      | map(select(.result == "FAIL")) | length) failed."
' "${files[@]}"
