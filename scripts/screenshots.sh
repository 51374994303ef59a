#!/usr/bin/env bash
# Writes the pictures in docs/: the real binary beside traffic made for it, as a terminal (tmux) shows it, on a stock
# kernel in a virtual machine. Needs tmux and python3; the pictures are made side by side, in two minutes and the
# start of the machine.
#
#   scripts/screenshots.sh [FLOWTOP [TRAFFIC]]      target/release/flowtop target/debug/examples/traffic
#
# KERNEL=6.12     the kernel
# ONLY=detail     makes this picture alone
# NATIVE=1        on this machine and its kernel, as root, without a virtual machine
set -euo pipefail
cd "$(dirname "$0")/.."

flowtop=${1:-target/release/flowtop}
traffic=${2:-target/debug/examples/traffic}
work=$(mktemp -d /tmp/flowtop.XXXXXX)
trap 'rm -rf "$work"' EXIT

# NAME COLUMNS ROWS dark|light SECONDS KEY...: the seconds fill sparklines and chart. Of `tour` each key is a screen
# of an animation, and `-` is no key.
pictures=$(grep -E "^${ONLY:-.*} " <<'TEXT'
main-80x24 80 24 dark 45
main-160x50 160 50 dark 70 Down
detail 120 40 dark 45 Down Enter
processes 100 30 dark 45 2 Down Right
containers 100 30 dark 45 5 Down Right
light 100 30 light 30
tour 100 28 dark 40 - - Down Enter - Escape 2 Down Right - Enter - Escape / e d g e Enter
TEXT
) || { echo "screenshots: no picture is called '$ONLY'" >&2; exit 1; }
printf '%s\n' "$pictures" >"$work/pictures"

# For busybox's sh. Traffic is in control groups of its own, which are in the pictures.
cat >"$work/guest" <<'TEXT'
export LANG=C.UTF-8 LC_ALL=C.UTF-8
# FLOWTOP TRAFFIC DIRECTORY, which has `pictures` and gets what is on the screens.
flowtop=$1 traffic=$2 out=$3
groups=/sys/fs/cgroup
[ -e "$groups/cgroup.procs" ] || groups=$groups/unified
groups=$groups/flowtop-pictures-$$
for place in lxc.payload.store lxc.payload.shop lxc.payload.db lxc.payload.edge \
    backup.service replica.service batch.service logd.service camera.service dns.service; do
    mkdir -p "$groups/$place"
done
"$traffic" demo --full --cgroups "$groups" --seconds 3000 >/dev/null 2>&1 &
generator=$!

# NAME COLUMNS ROWS GROUND SECONDS KEY...: one picture, on a tmux server of its own.
picture() {
    name=$1 columns=$2 rows=$3 ground=$4 seconds=$5
    shift 5
    fgbg='15;0'
    [ "$ground" = dark ] || fgbg='0;15'
    mux() { tmux -u -L "flowtop-picture-$name" -f /dev/null "$@"; }
    mux new-session -d -x "$columns" -y "$rows" \
        "env TERM=xterm-256color COLORTERM=truecolor COLORFGBG='$fgbg' '$flowtop'"
    mux set-option -g status off
    mux resize-window -x "$columns" -y "$rows"
    tries=0
    until mux capture-pane -p | grep -q Ingress; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { echo "screenshots: no table for $name" >&2; mux kill-server; return 1; }
        sleep 1
    done
    sleep "$seconds"
    screen=10
    for key in "$@"; do
        [ "$key" = - ] || mux send-keys "$key"
        sleep 1
        [ "$name" != tour ] || mux capture-pane -e -N -p >"$out/$name.$screen"
        screen=$((screen + 1))
    done
    sleep 3
    mux capture-pane -e -N -p >"$out/$name"
    mux kill-server
}

pictures=
while read -r line; do
    # shellcheck disable=SC2086 # words
    picture $line &
    pictures="$pictures $!"
done <"$out/pictures"
failed=0
for job in $pictures; do wait "$job" || failed=1; done
kill "$generator"
wait "$generator" 2>/dev/null
rmdir "$groups"/* "$groups" 2>/dev/null
exit $failed
TEXT

mkdir -p "$work/out"
if [ -n "${NATIVE:-}" ]; then
    cp "$work/pictures" "$work/out/pictures"
    # Its path is in the pictures.
    cp "$traffic" "$work/traffic"
    sh "$work/guest" "$(realpath "$flowtop")" "$work/traffic" "$work/out"
else
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
    hosts='127.0.0.40 edge.example.net\n127.0.0.41 viewer.example.net\n'
    tests/vm/run.sh --kernel "${KERNEL:-6.12}" --timeout 1800 --out "$work/out" "${files[@]}" -- \
        "printf '$hosts' >>/etc/hosts; cp /root/pictures /out; sh /root/guest /usr/bin/flowtop /root/traffic /out"
fi

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
