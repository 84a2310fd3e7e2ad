#!/usr/bin/env bash
# Does a table of faults to the outbox and the uplink and prints what held, as Markdown:
#   scripts/torture.sh [--quick] [--rows kill,power,…] [--seed N] [--unit N] [--runs N]
# Loop devices and mounts need root; rows that need what is missing are named NOT DONE. PROFILE=debug
# runs the debug build. Failing runs keep their folders in .cache/torture. Exit code 3: nothing failed, and a row
# could not be done here.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-release}
flags=()
[ "$profile" = debug ] || flags=(--profile "$profile")
cargo build --quiet --package milepost --package milepost-tests --bin milepost --bin torture "${flags[@]}"
mkdir -p .cache/torture
"target/$profile/torture" "$@" | tee .cache/torture/table.md
