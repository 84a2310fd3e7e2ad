#!/usr/bin/env bash
# Recall and accuracy as a table: the rendered demo clip always, real photos where they are present.
# The real photos are measured on, never tuned on (models/README.md).
set -euo pipefail
cd "$(dirname "$0")/.."

data=${DATA:-../shared/data}
out=.cache/evaluate
milepost=target/release/milepost
scripts/setup.sh python
python=.cache/python/bin/python
mkdir -p "$out"

"$milepost" replay .cache/clip/demo.mp4 --json > "$out/clip.jsonl"
"$python" -m models.evaluate.score_clip .cache/clip/truth.json "$out/clip.jsonl"

if [ ! -d "$data/evaluate" ]; then
    printf '\nReal photos: none at %s (DATA=… names their folder); not measured.\n' "$data"
    exit 0
fi
for set in us-scenes eu-scenes us-crops no-plate; do
    # A broken photo is an error line in the result and is counted there.
    find -L "$data/evaluate/$set" -maxdepth 1 \( -name '*.jpg' -o -name '*.png' -o -name '*.jpeg' \) | sort |
        xargs -d '\n' "$milepost" read --json > "$out/$set.jsonl" || true
done
"$python" -m models.evaluate.score "$data/evaluate/us-scenes=$out/us-scenes.jsonl" \
    "$data/evaluate/eu-scenes=$out/eu-scenes.jsonl" "$data/evaluate/us-crops=$out/us-crops.jsonl" \
    "$data/evaluate/no-plate=$out/no-plate.jsonl"
