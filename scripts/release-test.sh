#!/usr/bin/env bash
# Tests the files of a release as their receiver does: sums, tarballs, packages and bills of materials:
#
#   scripts/release-test.sh [FOLDER]      target/dist/VERSION
#
# The bills are held to CycloneDX's own schema by its library from PyPI, and to the crates that the binary names.
#
# FLOWTOP_CACHE   the cache   (~/.cache/flowtop)
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'release-test: %s\n' "$*" >&2; exit 1; }
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
dist=$(realpath -e "${1:-target/dist/$version}")
packages=('cyclonedx-python-lib[json-validation]==11.12.0')
cache=${FLOWTOP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flowtop}
python=$cache/cyclonedx-11.12.0/bin/python
if ! "$python" -c 'import cyclonedx, jsonschema' 2>/dev/null; then
    rm -rf "$cache/cyclonedx-11.12.0"
    python3 -m venv "$cache/cyclonedx-11.12.0"
    "$python" -m pip install -q --disable-pip-version-check --only-binary :all: "${packages[@]}" ||
        die "cannot install ${packages[*]} from PyPI"
fi

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cd "$dist"
sha256sum --check --strict --quiet SHA256SUMS || die "the sums are wrong (above)"
[ "$(LC_ALL=C ls -- *.* | wc -l)" -eq "$(wc -l <SHA256SUMS)" ] || die "SHA256SUMS does not name every file"

tested=0
for tarball in flowtop-*-linux.tar.gz; do
    name=${tarball%.tar.gz} arch=${tarball%-linux.tar.gz}
    arch=${arch##*-}
    tar -xzf "$tarball" -C "$work"
    [ "$(ls "$work")" = "$name" ] || die "$tarball does not unpack into $name alone"
    binary=$work/$name/bin/flowtop
    # The bill is of this very binary.
    bill=$name.cdx.json
    [ "$(jq -r '.metadata.component.hashes[0].content' "$bill")" = "$(sha256sum "$binary" | cut -d ' ' -f 1)" ] ||
        die "$bill is of another binary"
    "$python" - "$bill" <<'PYTHON' || die "$bill is no CycloneDX 1.6 (above)"
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(None if error is None else str(error.data)[:2000])
PYTHON
    # The places of panics name crates: every one of them is in the bill.
    grep -aoE 'registry/src/[^/]+/[A-Za-z0-9_+.-]+/' "$binary" | cut -d / -f 4 | sort -u >"$work/in-binary"
    [ "$(wc -l <"$work/in-binary")" -gt 20 ] || die "$binary names no crates"
    jq -r '.components[] | select(.purl | startswith("pkg:cargo/")) | "\(.name)-\(.version)"' "$bill" | sort -u >"$work/in-bill"
    missing=$(comm -23 "$work/in-binary" "$work/in-bill")
    [ -z "$missing" ] || die "$bill lacks crates of the binary:" $missing
    for package in libc6 libelf zlib1g; do
        jq -e --arg package "$package" 'any(.components[]; .name | startswith($package))' "$bill" >/dev/null ||
            die "$bill does not name $package"
    done
    # What is in the packages is what is in the tarball.
    case $arch in x86_64) deb=amd64 ;; aarch64) deb=arm64 ;; *) deb=$arch ;; esac
    mkdir "$work/deb"
    dpkg-deb -x "flowtop_${version}_$deb.deb" "$work/deb"
    cmp "$binary" "$work/deb/usr/bin/flowtop"
    rpm=flowtop-$version-1.$arch.rpm
    if [ -e "$rpm" ]; then
        [ "$(rpm -qp --nosignature --qf '[%{FILENAMES} %{FILEDIGESTS}\n]' "$rpm" | sed -n 's,^/usr/bin/flowtop ,,p')" = \
            "$(sha256sum "$binary" | cut -d ' ' -f 1)" ] || die "$rpm has another binary"
    fi
    readelf -h "$binary" | grep -qi "machine:.*${arch//_/.}" || die "$binary is not of $arch"
    if [ "$arch" = "$(uname -m)" ]; then
        [ "$(env -i "$binary" --version)" = "flowtop $version" ] || die "$binary does not run"
        "$binary" --man | sed '1s/ 8 / 8bpf /' | cmp - "$work/$name/share/man/man8/flowtop.8bpf"
    fi
    rm -r "${work:?}"/*
    tested=$((tested + 1))
done
[ $tested -gt 0 ] || die "there is no tarball in $dist"
echo "release-test: $tested of $tested architectures are right in $dist"
