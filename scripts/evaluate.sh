#!/usr/bin/env bash
# Recall and accuracy as a table: the rendered demo clip and the fixed rendered set always, real photos where they
# are present; with a page of figures by condition and of every miss.
# The real photos are measured on, never tuned on (models/README.md).
set -euo pipefail
cd "$(dirname "$0")/.."

data=${DATA:-../shared/data}
out=.cache/evaluate
milepost=target/release/milepost
scripts/setup.sh report
python=.cache/python/bin/python
mkdir -p "$out"

"$milepost" replay .cache/clip/demo.mp4 --json > "$out/clip.jsonl"
"$python" -m models.evaluate.score_clip .cache/clip/truth.json "$out/clip.jsonl"


sets=()
# measure FOLDER: reads every photo of it. A broken photo is an error line in the result and is counted there.
measure() {
    local name
    name=$(basename "$1")
    find -L "$1" -maxdepth 1 \( -name '*.jpg' -o -name '*.png' -o -name '*.jpeg' \) | sort |
        xargs -r -d '\n' "$milepost" read --json > "$out/$name.jsonl" || true
    if [ "$(wc -l < "$out/$name.jsonl")" != "$(find -L "$1" -maxdepth 1 \( -name '*.jpg' -o -name '*.png' -o -name '*.jpeg' \) | wc -l)" ]; then
        echo "$1: not every photo was answered" >&2
        return 1
    fi
    sets+=("$1=$out/$name.jsonl")
}

scripts/setup.sh fixed_set
measure .cache/fixed-set/rendered-scenes
measure .cache/fixed-set/rendered-two-rows
measure .cache/fixed-set/rendered-nothing
if [ -d "$data/evaluate" ]; then
    for set in us-scenes eu-scenes us-crops no-plate; do measure "$data/evaluate/$set"; done
else
    printf '\nReal photos: none at %s (DATA=… names their folder); not measured.\n' "$data"
fi
printf '\n'
"$python" -m models.evaluate.score "${sets[@]}"
printf '\nFigures by condition, calibration and every miss: '
"$python" -m models.evaluate.report --out "$out/report/index.html" "${sets[@]}"
