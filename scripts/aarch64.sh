#!/usr/bin/env bash
# Builds the static binary for aarch64 on another architecture, and the generator of the
# exactness suite, in the root file system that scripts/chroot-aarch64.sh makes:
#
#   scripts/aarch64.sh      target/aarch64/aarch64-unknown-linux-gnu/release/flowtop
#                           target/aarch64/aarch64-unknown-linux-gnu/release/examples/traffic
#
# Needs root, for chroot. It has a target directory of its own since its compiler is another.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

root=$(scripts/chroot-aarch64.sh)
here=$PWD
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/aarch64
home=$(realpath "${CARGO_HOME:-$HOME/.cargo}")
mkdir -p "$target"
[ "$(id -u)" -eq 0 ] || exec sudo -E "$0" "$@"

# What is mounted goes with this process: neither can be left behind. Sources cannot be written.
# shellcheck disable=SC2016 # for the inner shell
exec unshare --mount sh -euc '
root=$1 here=$2 target=$3 home=$4
shift 4
for directory in "$here" "$target" "$home"; do
    mkdir -p "$root$directory"
    mount --bind "$directory" "$root$directory"
done
mount -o remount,bind,ro "$root$here"
mount --bind "$target" "$root$target"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
for file in /etc/ssl/certs/ca-certificates.crt; do [ ! -e "$file" ] || cp -L "$file" "$root$file"; done
exec chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C \
    CARGO_HOME="$home" CARGO_TARGET_DIR="$target" CARGO="/usr/bin/cargo" \
    TRIPLE=aarch64-unknown-linux-gnu TOOLS=aarch64-linux-gnu- "$@" \
    "$here/scripts/static.sh" --example traffic
' sh "$root" "$here" "$target" "$home" "$@"
