#!/usr/bin/env bash
# The shipped models again, from the photos and the renderer: data, three trainings, export, golden pictures.
# About six hours on two cores; MINUTES_… shorten a part. Results lie in .cache/build and replace models/*.onnx.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${DATA:-../shared/data}
out=${OUT:-.cache/build}
[ -d "$data/train" ] || { echo "no training photos at $data (DATA=… names their folder)" >&2; exit 1; }
if [ ! -x .cache/train/bin/python ]; then
    /usr/bin/python3 -m venv .cache/train
    .cache/train/bin/pip install --quiet --disable-pip-version-check --requirement models/requirements.txt
fi
python=$PWD/.cache/train/bin/python
# Without these every activation is mapped and zeroed anew.
export MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=16000000000

"$python" -m models.data.build --data "$data" --out "$out"
"$python" -m models.train.detector --data "$data" --scenes "$out/scenes" --out "$out/detector" \
    --minutes "${MINUTES_DETECTOR:-110}" --seed 20
"$python" -m models.export.to_onnx detector --checkpoint "$out/detector/last.pt" --version "${VERSION:-0.0.0}" --threshold 0.45
"$python" -m models.train.aligner --data "$data" --out "$out/aligner" --minutes "${MINUTES_ALIGNER:-30}" --seed 40
"$python" -m models.export.to_onnx aligner --checkpoint "$out/aligner/last.pt" --version "${VERSION:-0.0.0}"
"$python" -m models.train.reader --data "$data" --negatives "$out/negatives.npz" --pseudo "$out/pseudo.npz" \
    --out "$out/reader" --minutes "${MINUTES_READER:-200}" --seed 30
"$python" -m models.export.to_onnx reader --checkpoint "$out/reader/last.pt" --version "${VERSION:-0.0.0}"
"$python" -m models.export.quantize --data "$data"
"$python" -m models.evaluate.golden --seed 11
