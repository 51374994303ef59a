#!/usr/bin/env bash
# Prints the path of nu, which the test of docs/RECIPES.md runs: a package of the npm registry with the binary in
# it, 24 MB to fetch. Fetches it if it is not there.
#
# FLOWTOP_CACHE   the cache   (~/.cache/flowtop)
set -euo pipefail

version=0.115.1
die() { printf 'nushell: %s\n' "$*" >&2; exit 1; }
case $(uname -m) in
x86_64) package=@nushell/linux-x64 ;;
aarch64) package=@nushell/linux-arm64 ;;
*) die "no package for $(uname -m)" ;;
esac
cache=${FLOWTOP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flowtop}
nu=$cache/nushell-$version/package/bin/nu
mkdir -p "$cache"
exec 9>"$cache/.nushell.lock"
flock 9
if ! [ -x "$nu" ]; then
    command -v npm >/dev/null || die "needs npm (Debian and Ubuntu: apt-get install npm)"
    work=$(mktemp -d "$cache/.nushell.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && npm pack --silent "$package@$version" >/dev/null) || die "cannot fetch $package from npm"
    mkdir -p "$work/unpacked"
    tar -xzf "$work"/*.tgz -C "$work/unpacked"
    rm -rf "$cache/nushell-$version"
    mv "$work/unpacked" "$cache/nushell-$version"
fi
printf '%s\n' "$nu"
