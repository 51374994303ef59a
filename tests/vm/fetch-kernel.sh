#!/usr/bin/env bash
# Fetches a stock Debian cloud kernel into a cache outside the tree and prints
# the directory it is in:
#
#   tests/vm/fetch-kernel.sh VERSION [ARCH]   VERSION: 5.10, 6.1, 6.12 or 7.2, or SUITE/PACKAGE for any other
#                                             of Debian's, such as trixie/linux-image-rt-amd64
#                                             ARCH: x86_64 (the default) or aarch64
#
#   $FLOWTOP_CACHE/kernels/VERSION/vmlinuz   the kernel (VERSION-aarch64 for that one; SUITE_PACKAGE)
#                                 /config    what it was built with
#                                 /release   its `uname -r`
#                                 /modules/  lib/modules/RELEASE, cut to the few we load
#                                 /busybox   for another architecture than this machine's: a static one
#
# apt does the work, on a state directory of its own: it finds the newest build,
# checks the archive's signature and the package's SHA256, and the machine's own
# package lists stay as they are. A kernel that is in the cache needs no network.
#
# FLOWTOP_CACHE          the cache         (~/.cache/flowtop)
# and what scripts/debian.sh knows
set -euo pipefail

# Bump when the layout of the cache or the list of modules changes.
layout=4

# What tests use, and what the VM's own plumbing needs. A kernel that has one of
# them built in, or does not have it at all, is fine: the tests say what is absent.
wanted_modules=(virtio_pci virtio_blk tls gcm ghash_generic ctr ccm aes_generic aesni_intel cryptd chacha20poly1305
    tcp_diag udp_diag unix_diag veth dummy ipv6 tun cls_bpf sch_ingress vrf nbd dccp_ipv4 dccp_ipv6
    sctp hmac md5 sha1_generic sha256_generic crc32c_generic crc32c_cryptoapi)

die() { printf 'fetch-kernel: %s\n' "$*" >&2; exit 1; }
say() { printf 'fetch-kernel: %s\n' "$*" >&2; }

[ $# -eq 1 ] || [ $# -eq 2 ] || die "usage: tests/vm/fetch-kernel.sh VERSION [ARCH]   (5.10, 6.1, 6.12 or 7.2, or SUITE/PACKAGE; x86_64 or aarch64)"
version=$1
case ${2:-x86_64} in
x86_64) name=${version//\//_} debian=amd64 ;;
aarch64) name=${version//\//_}-aarch64 debian=arm64 wanted_modules+=(virtio_console aes_arm64 aes_ce_blk ghash_ce) ;;
*) die "no architecture is known as '$2'; known are x86_64 and aarch64" ;;
esac
case $version in
5.10) suite=bullseye security=yes ;;
6.1) suite=bookworm security=yes ;;
6.12) suite=trixie security=yes ;;
7.2) suite=sid security=no ;; # whatever Debian's newest is: it moves on, and that is the point
*/linux-image-*)
    suite=${version%%/*} image=${version#*/}
    case $suite in
    sid | *-*) security=no ;;
    *) security=yes ;;
    esac
    ;;
*) die "no kernel is known as '$version'; known are 5.10, 6.1, 6.12, 7.2 and SUITE/PACKAGE, as in trixie/linux-image-rt-amd64" ;;
esac
image=${image:-linux-image-cloud-$debian}

cache=${FLOWTOP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flowtop}/kernels
target=$cache/$name
mkdir -p "$cache"

complete() { [ "$(cat "$target/layout" 2>/dev/null)" = "$layout" ]; }
if complete; then
    echo "$target"
    exit 0
fi

# One download per kernel, whoever asks for it first.
exec 9>"$cache/.$name.lock"
flock 9
if complete; then
    echo "$target"
    exit 0
fi

for tool in apt-get apt-cache dpkg-deb depmod modprobe xz; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null ||
        die "needs '$tool' (Debian and Ubuntu: apt-get install apt dpkg kmod xz-utils)"
done
PATH=$PATH:/usr/sbin:/sbin

# shellcheck source=scripts/debian.sh
. "$(dirname "$0")/../../scripts/debian.sh"

work=$(mktemp -d "$cache/.$name.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{state/lists/partial,cache/archives/partial,debs,root,kernel}
: >"$work/status"
source="deb [arch=$debian target=Packages signed-by=$keyring]"
echo "$source $mirror $suite main" >"$work/sources.list"
if [ $security = yes ] && [ -n "$security_mirror" ]; then
    echo "$source $security_mirror $suite-security main" >>"$work/sources.list"
fi

# Everything apt reads and writes is below $work. Suites that get no more updates
# keep a Release file past its date; the signature is checked all the same.
apt=(-q -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=-
    -o "Dir::State=$work/state" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache"
    -o APT::Architecture=$debian -o APT::Architectures=$debian -o Acquire::Languages=none -o Acquire::Retries=3
    -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User="$(id -un)")

# quietly COMMAND…: its output is shown only if it fails.
quietly() {
    "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; die "'$1 ${*: -1}' failed for Debian $suite (above)"; }
}
quietly apt-get "${apt[@]}" update
! grep -qE '^(E|Err|W: Failed)' "$work/log" || { cat "$work/log" >&2; die "could not read Debian $suite's package lists"; }

# linux_depends PACKAGE: its own dependencies that make up a kernel. From 6.18 on
# the image is split into linux-image-, -binary-, -modules- and -base-.
linux_depends() {
    apt-cache "${apt[@]}" depends --no-recommends --no-suggests "$1" |
        sed -nE 's/^ *Depends: (linux-(image|binary|modules|base)-[0-9].*)$/\1/p'
}
packages=() queue=("$image")
# Without a version in its name it only leads to one that has.
[[ $image != linux-image-[0-9]* ]] || packages=("$image")
while [ ${#queue[@]} -gt 0 ]; do
    mapfile -t next < <(for p in "${queue[@]}"; do linux_depends "$p"; done | sort -u)
    # linux-base- is also what linux-binary- and linux-modules- hang on: once is enough.
    mapfile -t next < <(printf '%s\n' "${next[@]}" | grep -vxF -f <(printf '%s\n' none "${packages[@]}") | grep . || true)
    packages+=("${next[@]}")
    queue=("${next[@]}")
done
[ ${#packages[@]} -gt 0 ] || die "Debian $suite has no $image with a kernel behind it on $mirror"

say "downloading Debian $suite's $(printf '%s\n' "${packages[@]}" | sed -n 's/^linux-image-//p') for the $version tests"
(cd "$work/debs" && quietly apt-get "${apt[@]}" download "${packages[@]}")
for deb in "$work"/debs/*.deb; do
    dpkg-deb --extract "$deb" "$work/root"
done

kernel=$(find "$work/root" -name 'vmlinuz*' -type f | head -n 1)
[ -n "$kernel" ] || die "no vmlinuz in ${packages[*]}: Debian has changed the packages, teach $0 the new names"
modules=$(find "$work/root" -path '*/lib/modules/*/kernel' -type d -printf '%h\n' | head -n 1)
[ -n "$modules" ] || die "no modules in ${packages[*]}: Debian has changed the packages, teach $0 the new names"
release=${modules##*/}
config=$(find "$work/root" -name "config-$release" -o -path "*/$release/config" -type f | head -n 1)
[[ $version == */* || $release == "$version".* || $release == "$version"-* ]] ||
    say "note: Debian $suite is at $release now; it stands in for $version"

cp "$kernel" "$work/kernel/vmlinuz"
[ -z "$config" ] || cp "$config" "$work/kernel/config"

# modprobe reads the tree as it was built; the guest gets only what is wanted, with
# what that depends on, decompressed since busybox's modprobe may not know how.
base=$work/full
mkdir -p "$base/lib/modules"
mv "$modules" "$base/lib/modules/$release"
quietly depmod -b "$base" "$release"
out=$work/kernel/modules/lib/modules/$release
mkdir -p "$out"
for list in builtin builtin.modinfo order; do
    [ ! -f "$base/lib/modules/$release/modules.$list" ] || cp "$base/lib/modules/$release/modules.$list" "$out/"
done
for module in "${wanted_modules[@]}"; do
    # "insmod PATH" for each file to load, nothing for one that is absent.
    modprobe -d "$base" -S "$release" --show-depends "$module" 2>/dev/null |
        sed -nE 's/^insmod ([^ ]+).*/\1/p' || true
done | sort -u | while read -r file; do
    to=$out/${file#"$base/lib/modules/$release/"}
    mkdir -p "${to%/*}"
    case $file in
    *.xz) xz -dc "$file" >"${to%.xz}" ;;
    *.zst) zstd -qdc "$file" >"${to%.zst}" ;;
    *.gz) gzip -dc "$file" >"${to%.gz}" ;;
    *) cp "$file" "$to" ;;
    esac
done
quietly depmod -b "$work/kernel/modules" "$release"

if [ $debian != "$(dpkg --print-architecture)" ] && [ "$debian" != amd64 ]; then
    (cd "$work/debs" && quietly apt-get "${apt[@]}" download busybox-static)
    dpkg-deb --extract "$work"/debs/busybox-static_*.deb "$work/root"
    busybox=$(find "$work/root" -path '*/bin/busybox' -type f | head -n 1)
    [ -n "$busybox" ] || die "Debian $suite's busybox-static has no busybox in it"
    cp "$busybox" "$work/kernel/busybox"
fi

echo "$release" >"$work/kernel/release"
echo "$layout" >"$work/kernel/layout"

rm -rf "$target"
mv "$work/kernel" "$target"
say "$version is $release, in $target"
echo "$target"
