#!/usr/bin/env bash
# Prints the table of capabilities as Markdown, from what the VM runs found:
#
#   scripts/privileges-table.sh target/privileges
set -euo pipefail

found=$1
shopt -s nullglob
files=("$found"/*.txt)
[ ${#files[@]} -gt 0 ] || { echo "privileges-table: nothing in $found: run 'make vm' first" >&2; exit 1; }

cat <<'TEXT'
# Privileges

What flowtop needs to count and to see every path, on stock Debian kernels in virtual machines, as a
user other than root. Each cell was tried: with exactly these capabilities it works; without any single
one it does not start, or names what it does not see, and names the capability. `left` is what the
process still holds while it counts, in every thread. Made by `make vm privileges-table`.

`perf_event_paranoid` is 3 on Debian and its kin unless someone changes it, 2 elsewhere. CAP_SYS_ADMIN
includes CAP_BPF and CAP_PERFMON. Root needs the same less CAP_DAC_OVERRIDE, as tracefs is root's. Where
tracefs is not mounted, mounting it takes CAP_SYS_ADMIN.

| kernel | backend | perf_event_paranoid | needs | left |
|---|---|---:|---|---|
TEXT
for file in $(printf '%s\n' "${files[@]}" | sort -V); do
    kernel=$(basename "$file" .txt)
    while read -r backend level capabilities left; do
        needs=$(tr ',' '\n' <<<"$capabilities" | sed 's/.*/CAP_\U&/' | paste -sd, | sed 's/,/, /g')
        case $left in
        0000000000000000) left=nothing ;;
        0000008000000000) left=CAP_BPF ;;
        0000000000200000) left=CAP_SYS_ADMIN ;;
        esac
        printf '| %s | %s | %s | %s | %s |\n' "$kernel" "$backend" "$level" "$needs" "$left"
    done <"$file"
done
