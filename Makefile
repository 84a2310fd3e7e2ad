# Milepost: the commands a developer and CI need. `make help` lists them.

# Every tool finds the ONNX Runtime that belongs to the `ort` crate.
export ORT_DYLIB_PATH := $(CURDIR)/.cache/onnxruntime/libonnxruntime.so
CLIP := .cache/clip/demo.mp4
# Real photos for evaluation, where they are present (models/README.md).
DATA ?= ../shared/data

.PHONY: help setup run test check bench torture torture-quick evaluate train clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | column -t -s "$$(printf '\t')"

setup: ## packages, ONNX Runtime, the demo clip
	@scripts/setup.sh apt onnxruntime clip

run: setup ## the main job on the demo clip: broker, agent and a subscriber that shows the reads
	@cargo build --quiet --release --package milepost
	@scripts/run.sh

check: ## format, lints, licences
	@scripts/check.sh

test: setup check ## everything that CI runs
	@scripts/test.sh

bench: setup ## ms a frame, frames/s, memory, time to receipt, reads/s kept and drained, bytes written: as a table
	@cargo build --quiet --release --package milepost
	@cargo build --quiet --release --package milepost-tests --bin outbox-bench
	@scripts/bench.sh

torture: setup ## faults of disk, power, broker and link, hundreds of each, as a table: about an hour, root (ARGS="--rows kill --seed 7")
	@scripts/torture.sh $(ARGS)

torture-quick: setup ## the same with few of each: five minutes
	@scripts/torture.sh --quick $(ARGS)

evaluate: setup ## recall and accuracy on the clip and, where present, on real photos: as a table
	@cargo build --quiet --release --package milepost
	@DATA=$(DATA) scripts/evaluate.sh

train: ## the models again from the photos and the renderer: some ten hours on two cores, less with DEVICE=cuda
	@scripts/setup.sh apt
	@DATA=$(DATA) scripts/train.sh

clean: ## what was built and fetched
	rm -rf target .cache
