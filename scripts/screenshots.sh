#!/usr/bin/env bash
# Writes the pictures in docs/: the real binary beside traffic made for it, on a stock kernel in a
# virtual machine, as a terminal (tmux) shows it. Needs tmux and python3; ten minutes.
#
#   scripts/screenshots.sh [FLOWTOP [TRAFFIC]]      target/release/flowtop target/debug/examples/traffic
#
# KERNEL=6.12     the kernel
# ONLY=detail     makes this picture alone
set -euo pipefail
cd "$(dirname "$0")/.."

flowtop=${1:-target/release/flowtop}
traffic=${2:-target/debug/examples/traffic}
work=$(mktemp -d "${TMPDIR:-/tmp}/flowtop-pictures.XXXXXX")
trap 'rm -rf "$work"' EXIT

# NAME COLUMNS ROWS dark|light SECONDS KEY...: the seconds fill sparklines and chart. Of `tour` each key is a screen
# of an animation, and `-` is no key.
pictures=$(grep -E "^${ONLY:-.*} " <<'TEXT'
main-80x24 80 24 dark 45
main-160x50 160 50 dark 70 Down
detail 120 40 dark 45 Down Enter
processes 100 30 dark 45 2 Down Right
light 100 30 light 30
tour 100 28 dark 40 - - Down Enter - Escape 2 - Down Right Enter - Escape / e d g e Enter -
TEXT
) || { echo "screenshots: no picture is called '$ONLY'" >&2; exit 1; }
printf '%s\n' "$pictures" >"$work/pictures"

# The guest has busybox's sh. Traffic is a unit of its own, which is in the pictures.
cat >"$work/guest" <<'TEXT'
export LANG=C.UTF-8 LC_ALL=C.UTF-8
groups=/sys/fs/cgroup/demo
for place in lxc.payload.store lxc.payload.shop lxc.payload.db lxc.payload.edge \
    backup.service replica.service batch.service logd.service camera.service dns.service; do
    mkdir -p "$groups/$place"
done
printf '%s\n' '127.0.0.40 edge.example.net' '127.0.0.41 viewer.example.net' >>/etc/hosts
/root/traffic demo --full --cgroups "$groups" --seconds 3000 >/dev/null 2>&1 &
while read -r name columns rows ground seconds keys; do
    fgbg='15;0'
    [ "$ground" = dark ] || fgbg='0;15'
    tmux -u -f /dev/null new-session -d -x "$columns" -y "$rows" \
        "env TERM=xterm-256color COLORTERM=truecolor COLORFGBG='$fgbg' /usr/bin/flowtop"
    tmux set-option -g status off
    tmux resize-window -x "$columns" -y "$rows"
    until tmux capture-pane -p | grep -q Ingress; do sleep 1; done
    sleep "$seconds"
    screen=10
    for key in $keys; do
        [ "$key" = - ] || tmux send-keys "$key"
        sleep 1
        [ "$name" != tour ] || tmux capture-pane -e -N -p >"/out/$name.$screen"
        screen=$((screen + 1))
    done
    sleep 3
    tmux capture-pane -e -N -p >"/out/$name"
    tmux kill-server
done </root/pictures
TEXT

files=()
add() { files+=(--file "$1:$2"); }
add "$flowtop" /usr/bin/flowtop
add "$traffic" /root/traffic
add "$(command -v tmux)" /usr/bin/tmux
add "$work/guest" /root/guest
add "$work/pictures" /root/pictures
# tmux takes UTF-8 from the locale, and its own terminal's description from terminfo.
for file in /usr/lib/locale/C.utf8/LC_CTYPE /lib/terminfo/t/tmux-256color /lib/terminfo/s/screen; do
    add "$file" "$file"
done
tests/vm/run.sh --kernel "${KERNEL:-6.12}" --timeout 1800 --out "$work/out" "${files[@]}" -- sh /root/guest

while read -r name columns rows ground _; do
    # The local part of a kernel's release says more about a machine than about flowtop.
    if [ "$name" = tour ]; then
        scripts/screen-to-svg.py --animate 1.6 "$columns" "$rows" "$ground" 'flowtop: a tour' \
            "$work/out/$name".* >"docs/$name.svg"
        continue
    fi
    perl -pe 's/(Linux [\d.]+)([-+][-+\w.]+)/$1 . " " x length($2)/e' "$work/out/$name" |
        scripts/screen-to-svg.py "$columns" "$rows" "$ground" "flowtop: $name" >"docs/$name.svg"
done <<<"$pictures"
ls -l docs/*.svg
