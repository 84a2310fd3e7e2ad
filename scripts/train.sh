#!/usr/bin/env bash
# The shipped models again, from the photos and the renderer: data, three trainings, export, golden pictures.
# About ten hours on two cores; MINUTES_… shorten a part. With DEVICE=cuda the reader, most of it, is trained on a GPU in
# nine minutes, which is enough for an H200 beside 16 cores. All is made in .cache/build (OUT=…), and only a whole
# set replaces what lies in models/.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${DATA:-../shared/data}
out=${OUT:-.cache/build}
device=${DEVICE:-cpu}
case $device in
    cpu) minutes=400 reader=() ;;
    cuda) minutes=9 reader=(--device cuda --workers "$(($(nproc) > 1 ? $(nproc) - 1 : 1))" --batch 256 --rate 3e-3 --every 400000) ;;
    *) echo "DEVICE=$device: cpu or cuda" >&2; exit 1 ;;
esac
version=${VERSION:-rebuilt-$(date +%Y%m%d)}
[ -d "$data/train" ] || { echo "no training photos at $data (DATA=… names their folder)" >&2; exit 1; }
stamp=.cache/train/stamp want=$(sha256sum models/requirements.txt)
if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    /usr/bin/python3 -m venv --clear .cache/train
    .cache/train/bin/pip install --quiet --disable-pip-version-check --requirement models/requirements.txt
    printf '%s' "$want" > "$stamp"
fi
python=$PWD/.cache/train/bin/python
# Without these every activation is mapped and zeroed anew.
export MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=16000000000

new=$out/models
mkdir -p "$new"
onnx() { "$python" -m models.export.to_onnx "$1" --checkpoint "$out/$1/last.pt" --folder "$new" --version "$version" "${@:2}"; }

"$python" -m models.data.build --data "$data" --out "$out"
cp "$out/data.md" "$new/data.md"
"$python" -m models.train.detector --data "$data" --scenes "$out/scenes" --out "$out/detector" \
    --minutes "${MINUTES_DETECTOR:-110}" --seed 20
onnx detector --threshold 0.45
"$python" -m models.train.aligner --data "$data" --out "$out/aligner" --minutes "${MINUTES_ALIGNER:-30}" --seed 40
onnx aligner
"$python" -m models.train.reader --data "$data" --negatives "$out/negatives.npz" --photos "$out/photo_plates.npz" \
    --out "$out/reader" --minutes "${MINUTES_READER:-$minutes}" --threads 2 --seed 50 "${reader[@]}"
onnx reader
"$python" -m models.export.quantize --data "$data" --folder "$new"
"$python" -m models.evaluate.golden --seed 11 --models "$new" --out "$new/golden"
"$python" -m models.evaluate.plots --data "$data" --models "$new" --out "$new/plots"
cp -r "$new"/. models/
