#!/usr/bin/env bash
# Writes the bill of materials of the static binary to standard output, as CycloneDX 1.6:
#
#   scripts/sbom.sh [x86_64|aarch64]
#
# It names what is linked into the binary and nothing else: the crates of scripts/notices.sh, and the packages of
# Debian that the C library, libelf and zlib came from. syft reads Cargo.lock and dpkg's list of packages. Crates that
# only build or test flowtop are removed, and so are the CPE names, which syft guesses.
#
# CARGO   cargo
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'sbom: %s\n' "$*" >&2; exit 1; }
arch=${1:-$(uname -m)}
target=${CARGO_TARGET_DIR:-target}
triple=$arch-unknown-linux-gnu
in_root=() root=/ gcc=gcc binary=$target/$triple/release/flowtop
if [ "$arch" != "$(uname -m)" ]; then
    root=$(scripts/chroot-aarch64.sh) gcc=aarch64-linux-gnu-gcc binary=$target/aarch64/$triple/release/flowtop
    in_root=(chroot "$root")
fi
[ -s "$binary" ] || die "there is no $binary: make static builds it (make build-aarch64 that for aarch64)"
for program in jq dpkg-query; do
    command -v "$program" >/dev/null || die "needs $program: the C libraries are named by their Debian packages"
done
syft=$(scripts/syft.sh)

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
mkdir -p "$work/scanned/var/lib/dpkg" "$work/scanned/etc"
cp Cargo.lock "$work/scanned/"
cp -L "$root/etc/os-release" "$work/scanned/etc/"
for archive in libc.a libelf.a libz.a; do
    path=$("${in_root[@]}" "$gcc" -print-file-name=$archive)
    package=$("${in_root[@]}" dpkg-query -S "$("${in_root[@]}" realpath "$path")") ||
        die "$path belongs to no Debian package"
    "${in_root[@]}" dpkg-query -s "${package%%: *}"
    echo
done >"$work/scanned/var/lib/dpkg/status"
"$syft" scan -q "dir:$work/scanned" -o "cyclonedx-json=$work/all.json"

scripts/notices.sh --list "$triple" >"$work/linked"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
# Of this commit, not of this minute: the same sources make the same bill.
jq --rawfile linked "$work/linked" --arg version "$version" --arg epoch "$epoch" \
    --arg sum "$(sha256sum "$binary" | cut -d ' ' -f 1)" '
    ($linked | split("\n") | map(select(. != ""))) as $linked |
    def bare: del(.cpe) | .properties |= map(select(.name | startswith("syft:cpe") | not));
    (.components[] | select(.name == "flowtop")["bom-ref"]) as $flowtop |
    [.components[] | select((.type == "library") and
        ((.purl | startswith("pkg:deb/")) or ("\(.name) \(.version)" | IN($linked[])))) | bare] as $kept |
    ([$kept[]["bom-ref"]] + [$flowtop]) as $refs |
    [$kept[] | select(.purl | startswith("pkg:deb/"))["bom-ref"]] as $packages |
    (if [$kept[] | select(.purl | startswith("pkg:cargo/"))] | length != ($linked | length)
        then error("syft found other crates than scripts/notices.sh") else . end) |
    del(.serialNumber) | .components = $kept |
    .dependencies = [.dependencies[] | select(.ref | IN($refs[])) |
        .dependsOn |= map(select(IN($refs[]))) | if .ref == $flowtop then .dependsOn += $packages else . end] |
    .metadata.timestamp = ($epoch | tonumber | todate) |
    .metadata.component = {"bom-ref": $flowtop, type: "application", name: "flowtop", version: $version,
        purl: "pkg:cargo/flowtop@\($version)", hashes: [{alg: "SHA-256", content: $sum}],
        licenses: [{expression: "(MIT OR Apache-2.0) AND (GPL-2.0-only OR BSD-2-Clause)"}]}' "$work/all.json"
