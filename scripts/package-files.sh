#!/usr/bin/env bash
# Puts what packages hold besides the project's own files into target/package: binary, manual page, completions
# and licence notices:
#
#   scripts/package-files.sh [x86_64|aarch64]
#
# target/package also if CARGO_TARGET_DIR says otherwise: Cargo.toml names the files in it by that path.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'package-files: %s\n' "$*" >&2; exit 1; }
arch=${1:-$(uname -m)}
target=${CARGO_TARGET_DIR:-target}
native=$target/$(uname -m)-unknown-linux-gnu/release/flowtop
case $arch in
"$(uname -m)") binary=$native ;;
aarch64) binary=$target/aarch64/aarch64-unknown-linux-gnu/release/flowtop ;;
*) die "no architecture is known as '$arch' on this machine; known are $(uname -m) and aarch64" ;;
esac
for file in "$binary" "$native" "$(dirname "$binary")/NOTICES"; do
    [ -s "$file" ] || die "there is no $file: make static builds it (make build-aarch64 that for aarch64)"
done

# What the program says of itself, by the one that runs here.
out=target/package
mkdir -p "$out"
# Its manual section has an extension: netsniff-ng has a flowtop(8).
"$native" --man | sed '1s/ 8 / 8bpf /' >"$out/flowtop.8bpf"
for shell in bash fish zsh; do "$native" --completions $shell >"$out/flowtop.$shell"; done
install -m 755 "$binary" "$out/flowtop"
gzip -9n <"$(dirname "$binary")/NOTICES" >"$out/NOTICES.gz"
