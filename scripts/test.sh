#!/usr/bin/env bash
# Unit, property and end-to-end tests: the real models, a real broker, a real stream.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

say "the renderer's and the scorer's own tests"
scripts/setup.sh python
.cache/python/bin/python -m unittest models.render.test_render models.evaluate.test_score_clip

say "building"
cargo build --workspace --bins --quiet
say "tests"
cargo test --workspace --no-fail-fast
