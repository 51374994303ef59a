#!/usr/bin/env bash
# Installs the peers that benches/load.sh holds flowtop against: nethogs, iftop and tcptop from the
# distribution, bandwhich and rustnet by cargo into the cache of the benchmarks (~/.cache/flowtop/peers),
# nowhere else. Does nothing, quickly, for those that are there.
set -euo pipefail
cd "$(dirname "$0")/.."

. benches/common.sh
scripts/deps.sh peers
# CRATE, and its PROGRAM. Built outside of this tree: neither its settings nor its target directory.
for peer in "bandwhich bandwhich" "rustnet-monitor rustnet"; do
    read -r crate program <<<"$peer"
    if [ -x "$cache/peers/bin/$program" ]; then continue; fi
    echo "Installing, to measure beside it: $crate"
    (cd / && env -u CARGO_TARGET_DIR "${CARGO:-cargo}" install --quiet --locked --root "$cache/peers" "$crate")
done
