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
# Privileges

Every table on this page is made by tests. `make test privileges-table` writes it anew.

## What each mode keeps

flowtop takes the rights of its caller as its first act, raises its privilege to load and attach the BPF programs,
and gives the privilege away before it reads the first name or process. The table says who every thread is
from then on, on this machine's own kernel, and which capabilities it holds.

| mode | user | capabilities |
|---|---|---|
TEXT
cat "$lending/modes.md"
cat <<'TEXT'

- "The caller" is the real user, or the user who called sudo, doas or pkexec. Root without these becomes `nobody`.
- A recording that root rotates keeps the user root, without capabilities: only root can make files in
  root's folder. Landlock opens that folder, `/proc` and four files of `/etc` (hosts, passwd, resolv.conf,
  services), and nothing else.
- A recording that does not rotate is open before the privilege is given away, and needs no right to write.
- Sockets can be made only in the live table and with `-x`: plain TCP and UDP over IPv4 and IPv6. `--listen`
  opens its socket before, and can only accept connections later.
- `--no-sandbox` keeps everything. It is refused where the privilege comes from the file. Files are opened with the
  caller's rights all the same.

## What is lent

A user who may run flowtop with more privilege than their own (by file capabilities, or by a sudoers rule for
flowtop alone) gives it every path they can give, leading to everything of root's that could stand there. In each
cell nothing of root's was read, written, made, removed or told. "Refused by the kernel": the error is
"Permission denied", as the caller would get it. "Refused": flowtop gives a reason of its own. "Not opened":
flowtop runs as if the path were not there.

| lent by | path by | file of mode 0600 | no file, folder of mode 0755 | file in a folder of mode 0700 | device of mode 0600 | FIFO of mode 0600 | link to a file of mode 0600 |
|---|---|---|---|---|---|---|---|
TEXT
cat "$lending/setcap.md" "$lending/sudo.md"
cat <<'TEXT'

## What each kernel and backend needs

On stock Debian kernels in virtual machines, as a user other than root. With exactly these capabilities flowtop counts
and sees every path. Without any single one it does not start, or names what it does not see, and
names the capability. `left` is what every thread holds while flowtop counts; all of them are `nobody`'s then.

`perf_event_paranoid` is 3 on Debian and its kin unless someone changes it, 2 elsewhere. CAP_SYS_ADMIN
includes CAP_BPF and CAP_PERFMON. Root needs the same less CAP_DAC_OVERRIDE, as tracefs is root's. Where
tracefs is not mounted, mounting it takes CAP_SYS_ADMIN.

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
