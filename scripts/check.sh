#!/usr/bin/env bash
# Format, lints, licences and sources of every dependency.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

say "format"
cargo fmt --all --check
say "lints"
cargo clippy --workspace --all-targets --quiet -- -D warnings

say "licences, bans, sources"
deny=.cache/tools/bin/cargo-deny
version=0.20.2
if [ "$("$deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
    # Unoptimised: it takes longer to build than to run.
    cargo install --quiet --debug --locked --root .cache/tools --version "$version" cargo-deny
fi
"$deny" --all-features --log-level error check --hide-inclusion-graph licenses bans sources

say "advisories"
# The advisory database is a git repository of its own; where it can't be reached the check is
# named as not done, it is not taken as passed.
if timeout 60 "$deny" --log-level error fetch db 2>/dev/null; then
    "$deny" --all-features --log-level error check --hide-inclusion-graph advisories
else
    say "NOT DONE: the advisory database can't be reached from here"
fi
