#!/usr/bin/env bash
# Makes a container image of the static binary, and says its name:
#
#   scripts/image.sh      localhost/flowtop:VERSION
#
# Nothing is fetched: the image is the binary alone.
#
# BUILDER   podman, buildah or docker   (the first that is there)
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'image: %s\n' "$*" >&2; exit 1; }
binary=${CARGO_TARGET_DIR:-target}/$(uname -m)-unknown-linux-gnu/release/flowtop
[ -s "$binary" ] || die "there is no $binary: make static builds it"
builder=${BUILDER:-}
for candidate in podman buildah docker; do
    [ -n "$builder" ] || ! command -v "$candidate" >/dev/null || builder=$candidate
done
[ -n "$builder" ] || die "needs podman, buildah or docker (Debian and Ubuntu: apt-get install podman)"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
context=$(mktemp -d)
trap 'rm -r "$context"' EXIT
install -m 755 "$binary" "$context/flowtop"
"$builder" build -q -t "localhost/flowtop:$version" -f packaging/Containerfile "$context" >/dev/null
printf 'localhost/flowtop:%s\n' "$version"
