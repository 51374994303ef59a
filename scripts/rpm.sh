#!/usr/bin/env bash
# Makes an RPM of the static binary, and prints its path:
#
#   scripts/rpm.sh [x86_64|aarch64]      target/package/flowtop-VERSION-1.ARCH.rpm
#
# packaging/flowtop.spec says what is in it. Needs rpmbuild.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'rpm: %s\n' "$*" >&2; exit 1; }
command -v rpmbuild >/dev/null || die "needs rpmbuild (apt-get install rpm; dnf install rpm-build)"
arch=${1:-$(uname -m)}
scripts/package-files.sh "$arch"
out=$PWD/target/package
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# Of this commit, not of this minute: the same sources make the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
rpmbuild --quiet -bb --target "$arch-linux" \
    --define "_topdir $work" --define "version $version" --define "top $PWD" --define "staged $out" \
    --define "_binary_payload w19.zstdio" --define "_buildhost localhost" \
    --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" \
    packaging/flowtop.spec >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; die "rpmbuild failed (above)"; }
mv "$work/RPMS/$arch/flowtop-$version-1.$arch.rpm" "$out/"
ls "$out/flowtop-$version-1.$arch.rpm"
