# What the benchmark scripts share; they source it from the top of the tree.
# shellcheck shell=bash disable=SC2034 # they use it
target=${CARGO_TARGET_DIR:-target}
results=$target/bench
load=$target/release/examples/load
flowtop=$(realpath -m "${FLOWTOP:-$target/release/flowtop}") # FLOWTOP=… measures another binary
cache=${FLOWTOP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flowtop}
PATH=$PATH:/usr/sbin:/sbin
sudo=()
if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
mkdir -p "$results"

# first PID: goes ahead of whatever else the machine does, for measurements in time. Where the kernel
# weighs sessions first (sched_autogroup), the session does: put it back at the end.
first() {
    renice -n -20 -p "$1" >/dev/null
    if [ -e "/proc/$1/autogroup" ]; then echo -20 >"/proc/$1/autogroup"; fi
}

# Before anything is run as root: nothing is ever built by it for someone else.
build() {
    if [ -n "${BENCH_BUILT:-}" ]; then return; fi
    "${CARGO:-cargo}" build --quiet --locked --release --bin flowtop --example load
}

# as_root ARGUMENT…: runs the calling script again as root, if it is not. It has built everything.
as_root() {
    if [ ${#sudo[@]} -eq 0 ]; then return; fi
    exec sudo env BENCH_BUILT=1 PATH="$PATH" FLOWTOP="$flowtop" FLOWTOP_CACHE="$cache" CARGO_TARGET_DIR="$target" \
        PAIRS="${PAIRS:-}" SECONDS_EACH="${SECONDS_EACH:-}" KINDS="${KINDS:-}" CPUS="${CPUS:-}" FLOWS="${FLOWS:-}" "$0" "$@"
}
