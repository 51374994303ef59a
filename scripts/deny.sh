#!/usr/bin/env bash
# Checks what flowtop is built of: licences, crates that are there twice, where they come from; and
# known vulnerabilities, for which RustSec's database is fetched. Where that cannot be reached,
# it says so and checks the rest; with ADVISORIES=required it fails.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo-deny >/dev/null || { echo "deny: there is no cargo-deny: cargo install --locked cargo-deny" >&2; exit 1; }
# Crates of other platforms are in Cargo.lock too, and a build fetches none of them.
cargo fetch --locked --quiet
cargo deny --locked --offline check licenses bans sources
if cargo deny --locked fetch db >/dev/null 2>&1; then
    cargo deny --locked check advisories
else
    echo "deny: NOT CHECKED: advisories: RustSec's database cannot be fetched from here" >&2
    [ "${ADVISORIES:-}" != required ]
fi
