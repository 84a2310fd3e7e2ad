#!/usr/bin/env bash
# The rendered set that CI scores the models on, drawn once into .cache/fixed-set.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.cache/fixed-set/stamp
want=$(cat models/render/*.py models/render/fonts/*.ttf models/evaluate/fixed_set.py models/formats.toml models/render/requirements.txt | sha256sum)
[ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && exit 0
rm -rf .cache/fixed-set
.cache/python/bin/python -m models.evaluate.fixed_set --out .cache/fixed-set
printf '%s' "$want" > "$stamp"
