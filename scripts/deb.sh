#!/usr/bin/env bash
# Makes a Debian package of the static binary, and says where it is:
#
#   scripts/deb.sh [x86_64|aarch64]      target/package/flowtop_VERSION_ARCH.deb
#
# What is in it stands in Cargo.toml. cargo-deb is built into the cache when it is not there.
#
# FLOWTOP_CACHE   the cache   (~/.cache/flowtop)
# CARGO           cargo
set -euo pipefail
cd "$(dirname "$0")/.."

cargo_deb=3.8.0
cargo=${CARGO:-cargo}
die() { printf 'deb: %s\n' "$*" >&2; exit 1; }

arch=${1:-$(uname -m)}
target=${CARGO_TARGET_DIR:-target}
command -v dpkg-deb >/dev/null || die "needs dpkg-deb (apt-get install dpkg; dnf install dpkg)"
scripts/package-files.sh "$arch"

tools=${FLOWTOP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flowtop}/cargo-deb-$cargo_deb
if [ ! -x "$tools/bin/cargo-deb" ]; then
    echo "Building cargo-deb $cargo_deb into $tools" >&2
    # Where it is called by its path it need not be in the PATH.
    $cargo install --quiet --locked --root "$tools" --version $cargo_deb --no-default-features --features lzma cargo-deb
fi

out=target/package
# Of this commit, not of this minute: the same sources make the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
metadata() { sed -n "s/^$1 = \"\(.*\)\"/\1/p" Cargo.toml | head -n 1; }
# In the form that Debian's tools read; what changed stands in CHANGELOG.md.
printf 'flowtop (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' \
    "$(metadata version)" "$(metadata maintainer)" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" |
    gzip -9n >"$out/changelog.gz"
unpacked=$(mktemp -d)
trap 'rm -r "$unpacked"' EXIT
package=$(CARGO_TARGET_DIR=$target "$tools/bin/cargo-deb" --quiet --no-build --no-strip --target "$arch-unknown-linux-gnu" \
    -o "$unpacked/")
package=${package:-$(ls "$unpacked"/*.deb)}
# With the sums that `dpkg -V flowtop` compares, which cargo-deb leaves out.
scripts/md5sums.sh "$package"
mv "$package" "$out/"
ls "$out/$(basename "$package")"
