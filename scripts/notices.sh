#!/usr/bin/env bash
# Writes the licence notices of everything that is linked into the static binary to standard output:
#
#   scripts/notices.sh TRIPLE      x86_64-unknown-linux-gnu or aarch64-unknown-linux-gnu
#   scripts/notices.sh --list TRIPLE      only the crates, as NAME VERSION
#
# MIT, BSD and Zlib ask for their notices in whatever is passed on. Every crate has its own files of them,
# and some bring C code with files of its own; these are written as they are. It needs no network after
# cargo fetch.
#
# CARGO   cargo
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
die() { printf 'notices: %s\n' "$*" >&2; exit 1; }
only_list=
if [ "${1:-}" = --list ]; then only_list=yes; shift; fi
triple=${1:?usage: scripts/notices.sh [--list] TRIPLE}

# No crates that only build or that only make code: these are not in the binary.
crates=$($cargo tree --locked --quiet --edges normal,no-proc-macro --features static --target "$triple" \
    --prefix none --no-dedupe --format '{p}|{l}' | sed 's/ (proc-macro)//' | sort -u)
crates=$(sed -n 's/^\([^ ]*\) v\([^ |]*\)\( ([^)]*)\)\{0,1\}|\(.*\)$/\1 \2 \4/p' <<<"$crates" | grep -v '^flowtop ')
[ -n "$crates" ] || die "cargo tree names no crate"
if [ -n "$only_list" ]; then
    cut -d ' ' -f 1,2 <<<"$crates"
    exit
fi

# One line a crate: where its sources are, in the registry or among vendored ones.
manifests=$($cargo metadata --locked --quiet --format-version 1 --features static --filter-platform "$triple" |
    grep -o '"manifest_path":"[^"]*"' | cut -d '"' -f 4 | sort -u)
folder_of() {
    local folder
    folder=$(grep -m 1 -F "/$1-$2/Cargo.toml" <<<"$manifests" || grep -m 1 -F "/$1/Cargo.toml" <<<"$manifests") ||
        die "the sources of $1 $2 are not there: run cargo fetch"
    printf '%s\n' "${folder%/Cargo.toml}"
}
# Files with a notice, down to those of C libraries in a crate.
notices_in() {
    find "$1" -maxdepth 3 -type f \( -iname 'licen[sc]e*' -o -iname 'copying*' -o -iname 'copyright*' -o \
        -iname 'notice*' -o -iname 'unlicense*' \) ! -path '*/tests/*' ! -name '*.rs' ! -name '*.py' | LC_ALL=C sort
}

cat <<'TEXT'
Licence notices of what is linked into flowtop
==============================================

flowtop's own licences are in LICENSE-MIT, LICENSE-APACHE, LICENSE-GPL-2.0 and LICENSE-BSD-2-Clause. The C
library, libelf and zlib come from the machine that flowtop was built on; their licences are named in
/usr/share/doc/flowtop/copyright. What follows are the notices of the Rust crates and of the code in them.
A text that several crates share is written once. Rust's standard library is under MIT or Apache-2.0 as well,
copyright The Rust Project Developers.
TEXT
declare -A seen=()
while read -r name version licence; do
    folder=$(folder_of "$name" "$version")
    files=$(notices_in "$folder")
    [ -n "$files" ] || die "$name $version brings no notice; find its text and add it here"
    printf '\n%s\n%s %s\n%s\n' "$(printf '%078d' 0 | tr 0 -)" "$name" "$version" "$licence"
    while IFS= read -r file; do
        sum=$(cksum <"$file")
        shown=${file#"$folder"/}
        if [ -n "${seen[$sum]:-}" ]; then
            printf '\n%s: as %s\n' "$shown" "${seen[$sum]}"
        else
            seen[$sum]="$shown of $name $version"
            printf '\n%s:\n\n' "$shown"
            cat "$file"
            echo
        fi
    done <<<"$files"
done <<<"$crates"
