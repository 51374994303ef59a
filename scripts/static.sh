#!/usr/bin/env bash
# Builds one binary that needs nothing of the machine it runs on, and says where it is:
#
#   scripts/static.sh [CARGO BUILD OPTION]…      target/TRIPLE/release/flowtop, and NOTICES beside it
#
# glibc, libelf and zlib are linked in from the archives that their development packages
# bring. What it must not have in it is looked for before its symbols are taken out: glibc's
# name services load modules when they are asked, which a static binary cannot.
#
# TRIPLE          x86_64-unknown-linux-gnu, the machine's own, or aarch64-unknown-linux-gnu
# CARGO           cargo
# TOOLS           what binutils and gcc are called before their names, as aarch64-linux-gnu-
# BUDGET          bytes that it may have (7.25 MiB)
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
host=$(rustc -vV | sed -n 's/^host: //p')
triple=${TRIPLE:-$host}
tools=${TOOLS:-}
budget=${BUDGET:-7602176}
target=${CARGO_TARGET_DIR:-target}/$triple/release
die() { printf 'static: %s\n' "$*" >&2; exit 1; }

# archives TRIPLE TOOLS: libelf and zlib of an architecture, where libbpf-sys is told to look.
archives() {
    local name path out symbols paths=()
    for name in libc.a libelf.a libz.a; do
        path=$("$2gcc" -print-file-name=$name)
        [[ $path == /* ]] || die "there is no $name for $1.
  Debian and Ubuntu: apt-get install libc6-dev libelf-dev zlib1g-dev
  Fedora: dnf install glibc-static elfutils-libelf-devel-static zlib-static"
        [ $name = libc.a ] || paths+=("$path")
    done
    # Cargo looks at the path alone: others are elsewhere.
    out=${CARGO_TARGET_DIR:-target}/$1/archives-$(cat "${paths[@]}" scripts/static.sh | cksum | cut -d ' ' -f 1)
    mkdir -p "$out"
    cp "${paths[@]}" "$out/"
    # From elfutils 0.189 on libelf can read sections that zstd compressed. flowtop reads no ELF file
    # but the object in itself, so zstd (0.5 MB) is left out: what is weak may be missing.
    "$2objcopy" --wildcard --weaken-symbol 'ZSTD_*' "$out/libelf.a"
    # Debian 13's libelf.a (elfutils 0.192) lacks two functions of its own. The tree that they make and
    # free is made of zeros, as calloc left it, and nothing of what is linked here puts anything into it.
    symbols=$("$2nm" "$out/libelf.a" 2>/dev/null)
    if grep -q ' U eu_search_tree_init' <<<"$symbols" && ! grep -q ' T eu_search_tree_init' <<<"$symbols"; then
        echo 'void eu_search_tree_init(void *tree) {} void eu_search_tree_fini(void *tree, void *free) {}' |
            "$2gcc" -O2 -fPIC -w -x c -c - -o "$out/tree.o"
        "$2ar" q "$out/libelf.a" "$out/tree.o"
    fi
    export "LIBBPF_SYS_LIBRARY_PATH_${1//-/_}=$(realpath "$out")"
}
# Cargo turns libbpf-sys's features on for build scripts too.
archives "$host" ''
[ "$triple" = "$host" ] || archives "$triple" "$tools"

# Panics name source files. Where these are on this machine is in no binary, so that each build of a commit is the same.
$cargo fetch --quiet --locked --target "$triple"
remap="--remap-path-prefix=$PWD=flowtop --remap-path-prefix=$(realpath "${CARGO_TARGET_DIR:-target}")=flowtop/target"
for crates in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
    remap+=" --remap-path-prefix=${crates%/}=registry/src/crates.io"
done
env_triple=${triple//-/_}
export "CARGO_TARGET_${env_triple^^}_RUSTFLAGS=-C target-feature=+crt-static $remap"
if [ -n "$tools" ]; then
    export "CARGO_TARGET_${env_triple^^}_LINKER=${tools}gcc" "CC_$env_triple=${tools}gcc" "AR_$env_triple=${tools}ar"
    # libbpf-sys only looks whether there is one.
    export PKG_CONFIG_ALLOW_CROSS=1
fi
# Symbols stay in until they were looked at.
export CARGO_PROFILE_RELEASE_STRIP=none

$cargo build --locked --release --features static --target "$triple" --bin flowtop "$@"

program=$target/flowtop
"${tools}readelf" --wide --program-headers --dynamic "$program" | grep -E 'INTERP|NEEDED' &&
    die "$program is not static (above)"
name_services='(getaddrinfo|gethostby[a-z]*|getnameinfo|getpw[a-z]*|getgr(nam|gid|ent)[a-z_]*|getserv[a-z]*|__nss_[a-z_]*)'
"${tools}nm" --defined-only "$program" | grep -E " [TtWi] $name_services(_r)?\$" &&
    die "$program has in it what loads modules of the C library when it runs (above)"
"${tools}strip" "$program" -o "$program.stripped"
mv "$program.stripped" "$program"
size=$(stat -c %s "$program")
[ "$size" -le "$budget" ] || die "$program has $size bytes, more than $budget"
# Who passes the binary on passes these on too.
CARGO=$cargo scripts/notices.sh "$triple" >"$target/NOTICES"
printf '%s: static, no name services, %d kB\n' "$program" $((size / 1000))
