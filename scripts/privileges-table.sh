#!/usr/bin/env bash
# Prints the tables of privileges as Markdown, from what the tests found:
#
#   scripts/privileges-table.sh target/privileges target/lending
set -euo pipefail

found=$1 lending=$2
shopt -s nullglob
files=("$found"/*.txt)
[ ${#files[@]} -gt 0 ] && [ -e "$lending/setcap.md" ] || { echo "privileges-table: nothing in $found: run 'make test' first" >&2; exit 1; }

cat <<'TEXT'
# Privileges, as tested

Tests write every table on this page: `make test docs-privileges`. [SANDBOX.md](SANDBOX.md) explains what flowtop
needs, whose rights it uses, and what it drops.

## What each mode keeps

The user and the capabilities of every thread once flowtop counts, on this machine's own kernel. "The caller" is the
real user, or the user who called sudo, doas or pkexec. Root without these becomes `nobody`. "Files of root" are opened
with an id that only files know ([fsuid](SANDBOX.md#what-flowtop-drops)): a recording that rotates makes files in a
folder of root's, and where container engines keep files, a reader process finds
[names of containers](NAMES.md#containers-and-pods) in them.

| mode | user | capabilities |
|---|---|---|
TEXT
cat "$lending/modes.md"
cat <<'TEXT'

## What a caller can reach

A user who may run flowtop with more privilege than their own (by file capabilities, or by a sudoers rule for
flowtop alone) passes it every path that they can pass, leading to everything of root's that could be there. In
no cell was anything of root's read, written, created, removed or disclosed.

- refused by the kernel: the error is "Permission denied", as the caller would get it
- refused: flowtop gives a reason of its own
- not opened: flowtop runs as if the path did not exist

| lent by | path by | file of mode 0600 | no file, folder of mode 0755 | file in a folder of mode 0700 | device of mode 0600 | FIFO of mode 0600 | link to a file of mode 0600 |
|---|---|---|---|---|---|---|---|
TEXT
cat "$lending/setcap.md" "$lending/sudo.md"
cat <<'TEXT'

## What each kernel and backend needs

On stock Debian kernels in virtual machines, as a user other than root. With exactly these capabilities flowtop counts
and sees every path. Without any one of them it does not start, or names what it does not see and the missing
capability. `left` is what every thread holds while flowtop counts, as `nobody`.

`perf_event_paranoid` is 3 on Debian and its derivatives by default, 2 elsewhere. CAP_SYS_ADMIN includes CAP_BPF and
CAP_PERFMON. Root needs the same without CAP_DAC_OVERRIDE, because tracefs belongs to root. If tracefs is not
mounted, mounting it takes CAP_SYS_ADMIN.

| kernel | backend | perf_event_paranoid | needs | left |
|---|---|---:|---|---|
TEXT
for file in $(printf '%s\n' "${files[@]}" | sort -V); do
    kernel=$(basename "$file" .txt)
    while read -r backend level capabilities left; do
        [ "$capabilities" != root ] || needs=root
        [ "$capabilities" = root ] || needs=$(tr ',' '\n' <<<"$capabilities" | sed 's/.*/CAP_\U&/' | paste -sd, | sed 's/,/, /g')
        case $left in
        0000000000000000) left=nothing ;;
        0000008000000000) left=CAP_BPF ;;
        0000000000200000) left=CAP_SYS_ADMIN ;;
        esac
        printf '| %s | %s | %s | %s | %s |\n' "$kernel" "$backend" "$level" "$needs" "$left"
    done <"$file"
done
