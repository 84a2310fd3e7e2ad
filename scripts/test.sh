#!/usr/bin/env bash
# Unit, property and end-to-end tests: the real models, a real broker, a real stream.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

say "the renderer's and the scorer's own tests"
scripts/setup.sh python
.cache/python/bin/python -m unittest models.render.test_render models.evaluate.test_score_clip \
    models.evaluate.test_score

say "building"
cargo build --workspace --bins --quiet
say "tests"
cargo test --workspace --no-fail-fast

say "the models on a fixed rendered set, against models/evaluate/baseline.json"
scripts/fixed_set.sh
cargo build --release --quiet --package milepost
sets=()
for set in .cache/fixed-set/rendered-*; do
    find "$set" -name '*.png' | sort | xargs -d '\n' target/release/milepost read --json > "$set.jsonl"
    sets+=("$set=$set.jsonl")
done
.cache/python/bin/python -m models.evaluate.score "${sets[@]}" --baseline models/evaluate/baseline.json
