#!/usr/bin/env bash
# Brings a Debian 12 machine to where Milepost builds, runs and is tested. Safe to run again: what
# is there is left alone, so that a second run takes a second.
#
#   scripts/setup.sh [apt] [onnxruntime] [python] [report] [clip] [fixed_set]     (apt, onnxruntime and clip by default)
set -euo pipefail
cd "$(dirname "$0")/.."

cache=.cache
mkdir -p "$cache"

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

retry() {
    local try
    for try in 1 2 3; do
        "$@" && return
        say "failed (try $try of 3): $*"
        sleep $((try * 5))
    done
    return 1
}

# Build, run and test needs, by Debian package.
packages=(
    pkg-config g++ clang libclang-dev cmake
    libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstrtspserver-1.0-dev libopencv-dev
    gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
    gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav
    mosquitto mosquitto-clients openssl python3-venv ca-certificates
    faketime e2fsprogs util-linux
)

setup_apt() {
    local missing=() package
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    retry "${sudo[@]}" apt-get update -qq
    retry "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"
    # Debian starts a broker of its own on port 1883; ours is started by what needs it.
    "${sudo[@]}" systemctl disable --now mosquitto >/dev/null 2>&1 || true
}

setup_onnxruntime() {
    local library=$cache/onnxruntime/libonnxruntime.so stamp=$cache/onnxruntime/stamp want
    want=$(sha256sum scripts/onnxruntime.txt)
    [ -e "$library" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && return 0
    say "fetching ONNX Runtime ($(uname -m))"
    local wheels
    wheels=$(mktemp -d)
    # 3.11 whatever the machine's Python: only the library inside the wheel is used.
    retry /usr/bin/python3 -m venv "$cache/pip"
    retry "$cache/pip/bin/pip" download --quiet --disable-pip-version-check --no-deps \
        --only-binary=:all: --python-version 3.11 --implementation cp \
        --platform "manylinux_2_28_$(uname -m)" \
        --require-hashes --dest "$wheels" --requirement scripts/onnxruntime.txt
    rm -rf "$cache/onnxruntime"
    mkdir -p "$cache/onnxruntime"
    /usr/bin/python3 - "$wheels"/*.whl "$cache/onnxruntime" <<'PY'
import pathlib, sys, zipfile
wheel, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as files:
    for name in files.namelist():
        if name.startswith("onnxruntime/capi/libonnxruntime") or "LICENSE" in name or "ThirdParty" in name:
            pathlib.Path(target, pathlib.Path(name).name).write_bytes(files.read(name))
PY
    ln -s "$(basename "$(ls "$cache"/onnxruntime/libonnxruntime.so.*)")" "$library"
    rm -rf "$wheels"
    printf '%s' "$want" > "$stamp"
}

setup_python() {
    local stamp=$cache/python/stamp want
    want=$(sha256sum models/render/requirements.txt)
    [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && return 0
    say "installing the renderer's Python packages"
    /usr/bin/python3 -m venv --clear "$cache/python"
    retry "$cache/python/bin/pip" install --quiet --disable-pip-version-check --requirement models/render/requirements.txt
    printf '%s' "$want" > "$stamp"
}

# What only the report of `make evaluate` needs.
setup_report() {
    setup_python
    local stamp=$cache/python/report want
    want=$(sha256sum models/evaluate/requirements.txt)
    [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && return 0
    say "installing the report's Python packages"
    retry "$cache/python/bin/pip" install --quiet --disable-pip-version-check --requirement models/evaluate/requirements.txt
    printf '%s' "$want" > "$stamp"
}

# What follows from the renderer's sources and a seed: drawn FOLDER WHAT MODULE ARGUMENT…
drawn() {
    local folder=$cache/$1 what=$2 module=$3 want
    want=$(cat models/render/*.py models/render/fonts/*.ttf models/formats.toml models/render/requirements.txt "${module//.//}.py" | sha256sum)
    [ "$(cat "$folder/stamp" 2>/dev/null)" = "$want" ] && return 0
    setup_python
    say "rendering $what (once, a minute or two)"
    rm -rf "$folder"
    "$cache/python/bin/python" -m "$module" --out "$folder" "${@:4}"
    printf '%s' "$want" > "$folder/stamp"
}

setup_clip() { drawn clip "the demo clip" models.render.clip --seed 1; }

# The photos that CI scores the models on.
setup_fixed_set() { drawn fixed-set "the fixed set" models.evaluate.fixed_set; }

for step in "${@:-apt onnxruntime clip}"; do
    for part in $step; do "setup_$part"; done
done
