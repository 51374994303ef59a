#!/usr/bin/env bash
# Shows flowtop beside traffic made for it, over loopback. `make demo` calls it.
#
#   scripts/demo.sh FLOWTOP TRAFFIC [ARGUMENT OF FLOWTOP]…
set -euo pipefail

flowtop=$1 traffic=$2
shift 2
seconds=3600 # the generator never outlives this, whatever happens to us
if [ $# -eq 0 ] && ! [ -t 1 ]; then
    set -- --batch -c 5
    seconds=60
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
    sudo -v # asks for the password before the traffic starts
fi

# Containers and units are control groups of the demo's own, where there is cgroup v2 and root may make them.
groups=
if [ -e /sys/fs/cgroup/cgroup.procs ]; then
    groups=/sys/fs/cgroup/flowtop-demo-$$
    for place in lxc.payload.{store,shop,db,edge} {backup,replica,batch,logd,camera,dns}.service; do
        ${as_root[@]+"${as_root[@]}"} mkdir -p "$groups/$place" 2>/dev/null || groups=
        [ -n "$groups" ] || break
    done
fi
# As root only to enter the control groups.
as_generator=()
[ -z "$groups" ] || as_generator=(${as_root[@]+"${as_root[@]}"})
${as_generator[@]+"${as_generator[@]}"} "$traffic" demo --full ${groups:+--cgroups "$groups"} \
    --seconds "$seconds" >/dev/null 2>&1 &
generator=$!
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    ${as_generator[@]+"${as_generator[@]}"} kill "$generator" 2>/dev/null || true
    wait "$generator" 2>/dev/null || true
    [ -z "$groups" ] || ${as_root[@]+"${as_root[@]}"} rmdir "$groups"/* "$groups" 2>/dev/null || true
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

${as_root[@]+"${as_root[@]}"} "$flowtop" "$@"
if ! ${as_generator[@]+"${as_generator[@]}"} kill -0 "$generator" 2>/dev/null; then
    echo "demo: the traffic generator ended early; run '$traffic demo --seconds 5' to see why" >&2
    exit 1
fi
