#!/usr/bin/env bash
# Writes the pictures in docs/: the real binary beside traffic made for it, in a terminal of its own
# (tmux), seen as the terminal sees it. Needs root, tmux and python3.
#   scripts/screenshots.sh [FLOWTOP [TRAFFIC]]
# ONLY=detail makes that picture alone.
set -euo pipefail
cd "$(dirname "$0")/.."

flowtop=${1:-target/release/flowtop}
traffic=${2:-target/release/examples/traffic}
socket=flowtop-pictures-$$

# From a neutral place and, where that can be, as a unit of its own: both are in the pictures.
place=$(mktemp -d /tmp/demo.XXXX)
cp "$traffic" "$place/traffic"
unit=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)/demo.service
mkdir "$unit" 2>/dev/null || unit=
(
    if [ -n "$unit" ]; then echo "$BASHPID" >"$unit/cgroup.procs" || true; fi
    exec "$place/traffic" demo --seconds 600 >/dev/null 2>&1
) &
generator=$!
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    tmux -L "$socket" kill-server 2>/dev/null || true
    kill "$generator" 2>/dev/null || true
    wait "$generator" 2>/dev/null || true
    rm -rf "$place"
    if [ -n "$unit" ]; then rmdir "$unit" 2>/dev/null || true; fi
}
trap cleanup EXIT
sleep 3

# picture NAME COLUMNS ROWS dark|light SECONDS KEY...
picture() {
    local name=$1 columns=$2 rows=$3 ground=$4 seconds=$5
    shift 5
    if [ -n "${ONLY:-}" ] && [ "$ONLY" != "$name" ]; then return; fi
    local fgbg="15;0"
    if [ "$ground" = light ]; then fgbg="0;15"; fi
    tmux -L "$socket" -f /dev/null new-session -d -x "$columns" -y "$rows" \
        "env LANG=C.UTF-8 LC_ALL=C.UTF-8 TERM=xterm-256color COLORTERM=truecolor COLORFGBG='$fgbg' $flowtop"
    tmux -L "$socket" set-option -g default-terminal tmux-256color
    tmux -L "$socket" set-option -ga terminal-overrides ',*:Tc'
    tmux -L "$socket" set-option -g status off
    tmux -L "$socket" resize-window -x "$columns" -y "$rows"
    sleep "$seconds"
    for key in "$@"; do
        tmux -L "$socket" send-keys "$key"
        sleep 0.3
    done
    sleep 1.2
    # The local part of a kernel's release says more about a machine than about flowtop.
    tmux -L "$socket" capture-pane -e -p |
        perl -pe 's/(Linux [\d.]+)(-[-\w.]+)/$1 . " " x length($2)/e' |
        scripts/screen-to-svg.py "$columns" "$rows" "$ground" "flowtop: $name" >"docs/$name.svg"
    tmux -L "$socket" kill-server
    sleep 0.3
}

mkdir -p docs
picture main-80x24 80 24 dark "${WAIT:-45}"
picture main-160x50 160 50 dark "${WAIT:-70}" Down
picture detail 120 40 dark "${WAIT:-45}" Down Enter
picture processes 100 30 dark "${WAIT:-20}" g
picture light 100 30 light "${WAIT:-30}"
ls -l docs/*.svg
