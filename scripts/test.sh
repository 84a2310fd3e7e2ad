#!/usr/bin/env bash
# Unit, property and end-to-end tests: the real models, a real broker, a real stream.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

say "the renderer's and the scorer's own tests"
scripts/setup.sh python
.cache/python/bin/python -m unittest models.render.test_render models.evaluate.test_score_clip \
    models.evaluate.test_score models.data.test_align models.data.test_detect models.data.test_labels \
    models.data.test_overlap

say "building"
cargo build --workspace --bins --quiet
say "tests"
cargo test --workspace --no-fail-fast

say "faults by the dozen (make torture-quick)"
# 3: a row needs what is not here.
PROFILE=ci scripts/torture.sh --quick --seed 7 || [ $? -eq 3 ]

say "the models on a fixed rendered set, against models/evaluate/baseline.json"
scripts/setup.sh fixed_set
cargo build --profile ci --quiet --package milepost --package milepost-tests --bin milepost --bin torture
sets=()
for set in rendered-scenes rendered-two-rows rendered-nothing; do
    find ".cache/fixed-set/$set" -name '*.png' | sort | xargs -d '\n' target/ci/milepost read --json > ".cache/fixed-set/$set.jsonl"
    sets+=(".cache/fixed-set/$set=.cache/fixed-set/$set.jsonl")
done
.cache/python/bin/python -m models.evaluate.score "${sets[@]}" --baseline models/evaluate/baseline.json
