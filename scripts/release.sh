#!/usr/bin/env bash
# Makes the files of a release from the static binaries that are built, and prints the folder they are in:
#
#   scripts/release.sh [--allow-dirty] [x86_64|aarch64]…      target/dist/VERSION
#
# For each architecture a tarball, a .deb, an RPM if rpmbuild is there, and a bill of materials (CycloneDX); for all
# of them SHA256SUMS. The tarball has the files of the packages. The same commit and the same binary make the same files.
#
# CARGO   cargo
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'release: %s\n' "$*" >&2; exit 1; }
dirty=
if [ "${1:-}" = --allow-dirty ]; then dirty=yes; shift; fi
[ $# -gt 0 ] || set -- "$(uname -m)"
[ -n "$dirty" ] || [ -z "$(git status --porcelain)" ] ||
    die "the tree has changes that are in no commit: commit them, or use --allow-dirty"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
dist=target/dist/$version
rm -rf "$dist"
mkdir -p "$dist"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

for arch in "$@"; do
    scripts/package-files.sh "$arch"
    name=flowtop-$version-$arch-linux
    folder=$work/$name
    staged=target/package
    install -D -m 755 "$staged/flowtop" "$folder/bin/flowtop"
    install -D -m 644 "$staged/flowtop.8bpf" "$folder/share/man/man8/flowtop.8bpf"
    install -D -m 644 "$staged/flowtop.bash" "$folder/share/bash-completion/completions/flowtop"
    install -D -m 644 "$staged/flowtop.zsh" "$folder/share/zsh/site-functions/_flowtop"
    install -D -m 644 "$staged/flowtop.fish" "$folder/share/fish/vendor_completions.d/flowtop.fish"
    # Tarballs are unpacked into /usr/local.
    sed 's,/usr/bin/,/usr/local/bin/,' packaging/flowtop-record.service |
        install -D -m 644 /dev/stdin "$folder/lib/systemd/system/flowtop-record.service"
    doc=$folder/share/doc/flowtop
    install -D -m 644 -t "$doc" README.md SECURITY.md CHANGELOG.md LICENSE-* "$staged/NOTICES.gz"
    install -D -m 644 -t "$doc/docs" docs/*.md
    cp -r contrib "$doc/examples"
    chmod -R u=rwX,go=rX "$doc"
    LC_ALL=C tar --create --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
        -C "$work" "$name" | gzip -9n >"$dist/$name.tar.gz"
    scripts/sbom.sh "$arch" >"$dist/$name.cdx.json"
    cp "$(scripts/deb.sh "$arch")" "$dist/"
    if command -v rpmbuild >/dev/null; then
        cp "$(scripts/rpm.sh "$arch")" "$dist/"
    else
        echo "release: no RPM: rpmbuild is not installed" >&2
    fi
done
(cd "$dist" && LC_ALL=C sha256sum -- *.* >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" .)
printf '%s\n' "$dist"
