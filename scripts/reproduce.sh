#!/usr/bin/env bash
# Builds the commit that is checked out twice, in two directories, and says whether both give the same
# binary, to the byte:
#
#   scripts/reproduce.sh [COMMIT]
#
# Takes two whole release builds. With the same compilers (rustc, clang, cc) and the same libelf and
# zlib, another machine gets that binary too.
set -euo pipefail
cd "$(dirname "$0")/.."

commit=$(git rev-parse "${1:-HEAD}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
registry=${CARGO_HOME:-$HOME/.cargo}
epoch=$(git log -1 --format=%ct "$commit")
for place in one another/longer/place; do
    mkdir -p "$work/$place"
    git archive "$commit" | tar -x -C "$work/$place"
    # Where it was built stands in no panic message, and nowhere else.
    (cd "$work/$place" &&
        CARGO_INCREMENTAL=0 SOURCE_DATE_EPOCH=$epoch \
            RUSTFLAGS="--remap-path-prefix=$PWD=flowtop --remap-path-prefix=$registry=cargo" \
            cargo build --locked --release --bin flowtop --target-dir "$PWD/target") >&2
    sha256sum "$work/$place/target/release/flowtop" | tee -a "$work/sums"
done
rustc --version
clang --version | head -n 1
if [ "$(cut -d' ' -f1 "$work/sums" | uniq | wc -l)" -eq 1 ]; then
    echo "the same: $(cut -d' ' -f1 "$work/sums" | head -n 1), commit $commit"
else
    echo "not the same:"
    cmp "$work"/{one,another/longer/place}/target/release/flowtop || true
    exit 1
fi
