#!/usr/bin/env bash
# Builds the static binary of a commit twice, in two directories, and compares both byte by byte:
#
#   scripts/reproduce.sh [COMMIT]
#
# Takes two whole release builds. With the same compilers (rustc, clang, cc) and the same libelf and
# zlib, another machine gets that binary too.
set -euo pipefail
cd "$(dirname "$0")/.."

commit=$(git rev-parse "${1:-HEAD}")
triple=$(rustc -vV | sed -n 's/^host: //p')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
epoch=$(git log -1 --format=%ct "$commit")
for place in one another/longer/place; do
    mkdir -p "$work/$place"
    git archive "$commit" | tar -x -C "$work/$place"
    (cd "$work/$place" && CARGO_INCREMENTAL=0 SOURCE_DATE_EPOCH=$epoch CARGO_TARGET_DIR=$PWD/target scripts/static.sh) >&2
    mv "$work/$place/target/$triple/release/flowtop" "$work/$place/flowtop"
    # A second target directory would take another gigabyte.
    rm -r "$work/$place/target"
    sha256sum "$work/$place/flowtop" | tee -a "$work/sums"
done
rustc --version
clang --version | head -n 1
if [ "$(cut -d' ' -f1 "$work/sums" | uniq | wc -l)" -eq 1 ]; then
    echo "the same: $(cut -d' ' -f1 "$work/sums" | head -n 1), commit $commit"
else
    echo "not the same:"
    cmp "$work"/{one,another/longer/place}/flowtop || true
    exit 1
fi
