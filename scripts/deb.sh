#!/usr/bin/env bash
# Makes a Debian package of the static binary, and says where it is:
#
#   scripts/deb.sh [x86_64|aarch64]      target/package/flowtop_VERSION_ARCH.deb
#
# There also if CARGO_TARGET_DIR says otherwise: Cargo.toml names the files in it by that path.
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
native=$target/$(uname -m)-unknown-linux-gnu/release/flowtop
case $arch in
"$(uname -m)") binary=$native ;;
aarch64) binary=$target/aarch64/aarch64-unknown-linux-gnu/release/flowtop ;;
*) die "no architecture is known as '$arch' on this machine; known are $(uname -m) and aarch64" ;;
esac
command -v dpkg-deb >/dev/null || die "needs dpkg-deb (apt-get install dpkg; dnf install dpkg)"
for file in "$binary" "$native" "$(dirname "$binary")/NOTICES"; do
    [ -s "$file" ] || die "there is no $file: make static builds it (make build-aarch64 that for aarch64)"
done

tools=${FLOWTOP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flowtop}/cargo-deb-$cargo_deb
if [ ! -x "$tools/bin/cargo-deb" ]; then
    echo "Building cargo-deb $cargo_deb into $tools"
    # Where it is called by its path it need not be in the PATH.
    $cargo install --quiet --locked --root "$tools" --version $cargo_deb --no-default-features --features lzma cargo-deb
fi

# What the program says of itself, by the one that runs here.
out=target/package
mkdir -p "$out"
# Its manual section has an extension: netsniff-ng has a flowtop(8).
"$native" --man | sed '1s/ 8 / 8bpf /' >"$out/flowtop.8bpf"
for shell in bash fish zsh; do "$native" --completions $shell >"$out/flowtop.$shell"; done
install -m 755 "$binary" "$out/flowtop"
gzip -9n <"$(dirname "$binary")/NOTICES" >"$out/NOTICES.gz"

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
