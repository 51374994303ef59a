#!/usr/bin/env bash
# Adds to a Debian package the MD5 sums of its files, for `dpkg -V`; the same package always becomes the same.
#
#   scripts/md5sums.sh PACKAGE
#
# SOURCE_DATE_EPOCH   time of what is added
set -euo pipefail

package=$1
root=$(mktemp -d)
trap 'rm -r "$root"' EXIT
dpkg-deb -R "$package" "$root/files"
(
    cd "$root/files"
    find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum >"$root/md5sums"
)
install -m 644 "$root/md5sums" "$root/files/DEBIAN/md5sums"
dpkg-deb --root-owner-group -Zxz -b "$root/files" "$package" >/dev/null
