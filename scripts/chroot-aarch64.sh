#!/usr/bin/env bash
# Makes a Debian root file system with all that builds flowtop for aarch64 on another
# architecture, and prints the directory it is in:
#
#   scripts/chroot-aarch64.sh      about 3 minutes and 2 GB, once; needs root
#
#   $FLOWTOP_CACHE/aarch64-chroot
#
# A root of its own, since Rust's library, the C library and libelf of another architecture
# come with the compiler that they were made for, and Debian's stable release has them all,
# Rust from its backports. The machine's own packages stay as they are.
#
# FLOWTOP_CACHE          the cache         (~/.cache/flowtop)
# and what scripts/debian.sh knows
set -euo pipefail

# Bump when what is in it changes.
layout=1
suite=trixie

die() { printf 'chroot-aarch64: %s\n' "$*" >&2; exit 1; }
say() { printf 'chroot-aarch64: %s\n' "$*" >&2; }
PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)

cache=${FLOWTOP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flowtop}
root=$cache/aarch64-chroot
complete() { [ "$(cat "$root/flowtop-layout" 2>/dev/null)" = "$layout" ]; }
if complete; then
    echo "$root"
    exit 0
fi
mkdir -p "$cache"
exec 9>"$cache/.aarch64-chroot.lock"
flock 9
if complete; then
    echo "$root"
    exit 0
fi

[ "$(id -u)" -eq 0 ] || die "making $root needs root: run 'sudo -E $0' once"
command -v debootstrap >/dev/null || die "needs debootstrap (Debian and Ubuntu: apt-get install debootstrap)"
# shellcheck source=scripts/debian.sh
. "$here/debian.sh"

log=$cache/aarch64-chroot.log
: >"$log"
# quietly COMMAND…: its output is shown only if it fails.
quietly() { "$@" >>"$log" 2>&1 || { tail -n 20 "$log" >&2; die "'$*' failed (above; all of it in $log)"; }; }
work=$root.new
# Whatever an earlier run left there; nothing is mounted in it at that point.
rm -rf --one-file-system "$work"

say "making $root: Debian $suite with compilers for aarch64 (2 GB)"
quietly debootstrap --variant=minbase --keyring="$keyring" --include=ca-certificates "$suite" "$work" "$mirror"
printf 'deb %s %s main\n' "$mirror" "$suite" "$mirror" "$suite-backports" >"$work/etc/apt/sources.list"
# Backports keep a Release file for a week, mirrors some longer; the signature is checked all the same.
echo 'Acquire::Check-Valid-Until "false";' >"$work/etc/apt/apt.conf.d/90flowtop"
quietly chroot "$work" dpkg --add-architecture arm64
quietly chroot "$work" apt-get -q update
in_chroot=(env DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$work")
# The release's own first: the kernel headers of backports are newer than libbpf can compile with.
quietly "${in_chroot[@]}" apt-get -qy --no-install-recommends install \
    clang make pkg-config gcc libc6-dev libelf-dev zlib1g-dev \
    gcc-aarch64-linux-gnu libc6-dev:arm64 libelf-dev:arm64 zlib1g-dev:arm64
quietly "${in_chroot[@]}" apt-get -qy --no-install-recommends install -t "$suite-backports" \
    cargo rustc libstd-rust-dev:arm64
chroot "$work" apt-get clean
rm -rf "$work"/var/lib/apt/lists/*
echo "$layout" >"$work/flowtop-layout"
rm -rf --one-file-system "$root"
mv "$work" "$root"
say "made: $(chroot "$root" rustc --version), $(du -shx "$root" | cut -f 1)"
echo "$root"
